"""Random lives of disks whose domain has a trash: created, written, snapshotted, cloned, previewed,
deleted, made again with the same id, killed at any line, and looked at again when time has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import random_lives
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from trash_life import DISKS, HOUR, TrashLife

from rigs.disk_rig import Fault
from rigs.yard import MANY_TIMES, opened_yard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.yard import Yard

LIVES, STEPS = 30, 12

QUERIES = (
    "VolumeSnapshot",
    "VolumeDelete",
    "SnapshotUpdate",
    "Snapshot",
    "SnapshotDelete",
    "KV/Set",
)
places = st.integers(0, 11)
disks = st.sampled_from(DISKS)
faults = st.one_of(
    st.none(),
    st.builds(Fault, st.just("death"), lines=st.integers(1, 400)),
    st.builds(
        Fault,
        st.sampled_from(("reset_before", "reset_after", "transient")),
        st.sampled_from(QUERIES),
        st.sampled_from((1, 2, MANY_TIMES)),
    ),
)
then = st.sampled_from(("again", "other", "reconcile"))


class Lives(RuleBasedStateMachine):
    """One life after another in one cluster."""

    yard: ClassVar[Yard]
    is_sound = False  # whether the last step was looked at: the end of a failure tells nothing

    @initialize(hours=st.sampled_from((0, 6)))
    def begin(self, hours: int) -> None:
        """Begin with nothing; a snapshot alone is kept for these hours."""
        self.life = TrashLife(self.yard, hours * HOUR)

    @rule(disk=disks)
    def create(self, disk: str) -> None:
        """A disk is made."""
        self._do(self.life.create, disk)

    @rule(place=places, disk=disks)
    def clone(self, place: int, disk: str) -> None:
        """A disk is made of something."""
        self._do(self.life.clone, place, disk)

    @rule(place=places)
    def write(self, place: int) -> None:
        """A guest writes."""
        self._do(self.life.write, place)

    @rule(place=places)
    def snapshot(self, place: int) -> None:
        """A disk is snapshotted."""
        self._do(self.life.snapshot, place)

    @rule(place=places)
    def preview(self, place: int) -> None:
        """A snapshot is previewed."""
        self._do(self.life.preview, place)

    @rule(place=places, fault=faults, then=then)
    def undo(self, place: int, fault: Fault | None, then: str) -> None:
        """A preview is undone."""
        self._do(self.life.undo, place, fault, then)

    @rule(place=places, fault=faults, then=then)
    def remove(self, place: int, fault: Fault | None, then: str) -> None:
        """A snapshot, or a volume that was replaced, is deleted."""
        self._do(self.life.remove, place, fault, then)

    @rule(place=places, fault=faults, then=then)
    def delete(self, place: int, fault: Fault | None, then: str) -> None:
        """A disk is deleted."""
        self._do(self.life.delete, place, fault, then)

    @rule(hours=st.sampled_from((1, 7, 25)))
    def wait(self, hours: int) -> None:
        """Time passes."""
        self._do(self.life.wait, hours)

    def _do(self, step: Callable[..., None], *arguments: object) -> None:
        self.is_sound = False
        step(*arguments)

    @invariant()
    def is_as_it_has_to_be(self) -> None:
        """T83: nothing more and nothing less is in the trash, and nothing in use has a date."""
        if hasattr(self, "life"):
            self.life.check()
            self.is_sound = True

    def teardown(self) -> None:
        """T83: what is in use and what is in the trash has its bytes."""
        if self.is_sound:
            self.life.end()


def test_whatever_happens_the_trash_has_what_was_deleted(
    module_database: Database, tmp_path: Path
) -> None:
    """T83, T71: also where deletes die at any line, or lose any answer."""
    with opened_yard(module_database, tmp_path) as yard:
        machine = type("Here", (Lives,), {"yard": yard})
        random_lives.lived(machine, LIVES, STEPS, module_database, tmp_path)
