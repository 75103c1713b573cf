"""Random lives of disks with an operator who reverts volumes in between, whatever that does to
their global ids."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import random_lives
from disk_life import DISKS, FOREIGN, choose
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from test_disks_stateful import OVERCOME, Disks, numbers, sizes_gib, variants

from rigs import kept_tags
from rigs.disk_model import GIB, LIVE, Node
from rigs.disk_rig import DiskRig, Fault
from rigs.reverts import IDENTITIES

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

LIVES, STEPS = 8, 40  # about twenty seconds

told_first = st.sampled_from(("true", "false"))
overcome = st.one_of(st.none(), st.builds(Fault, st.sampled_from(OVERCOME), st.none()))


class RevertedDisks(Disks):
    """The lives of test_disks_stateful.py, and an operator."""

    @initialize(
        variant=variants,
        gib=sizes_gib,
        identity=st.sampled_from(IDENTITIES),
        preserved=told_first,
        policy=st.sampled_from([{}, kept_tags.DOMAIN]),
    )
    def start(  # type: ignore[override]
        self,
        variant: dict[str, Any],
        gib: int,
        identity: str,
        preserved: str,
        policy: dict[str, str],
    ) -> None:
        """A new cluster, of one of the kinds that StorPool may be, and a disk."""
        switches = {**variant["switches"], "revert_identity": identity, "preserved_id": preserved}
        folder = self.folder / str(next(self.folders))
        folder.mkdir()
        host = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        variant = {**variant, "switches": switches, "policy": policy}
        self.rig = DiskRig(folder, self.database, FOREIGN, host, **variant)
        self.foreign = self.rig.see().foreign
        self.ask("create", DISKS[0], gib * GIB)

    def revertible(self) -> list[Node]:
        """Volumes that no host has."""
        held = {uuid for uuid, _ in self.model.attached}
        return [
            each
            for each in self.model.nodes.values()
            if (each.kind, each.state) == ("volume", LIVE) and each.exists and each.uuid not in held
        ]

    @precondition(lambda self: not self.model.pending and self.revertible())
    @rule(number=numbers, times=st.integers(1, 3), verb=numbers, fault=overcome)
    def an_operator_reverts(self, number: int, times: int, verb: int, fault: Fault | None) -> None:
        """The next verb on the volume finds it, with the snapshot's data, and heals its row."""
        volume = choose(self.revertible(), number)
        self.ask("connection", volume.uuid)
        if not self.snapshots_of(volume):
            self.ask("snapshot", volume.uuid)
        frozen = choose(self.snapshots_of(volume), number)
        self.log("revert", volume.uuid, "to", frozen.uuid, times, fault)
        for _ in range(times):
            self.the_rig.revert(f"ovirt--{volume.uuid}", f"ovirt--{frozen.uuid}")
        volume.data = copy.copy(frozen.data)
        volume.global_id = self.the_rig.see().things[f"ovirt--{volume.uuid}"].global_id
        what: list[tuple[Any, ...]] = [
            ("connection", volume.uuid),
            ("snapshot", volume.uuid),
            ("preview", volume.uuid),
        ]
        self.ask(*choose(what, verb), fault=fault)

    def snapshots_of(self, volume: Node) -> list[Node]:
        """The snapshots of a volume's disk."""
        return [
            each
            for each in self.model.tree(volume.root)
            if (each.kind, each.state) == ("snapshot", LIVE) and each.exists
        ]


def test_random_lives_of_disks_that_are_reverted(database: Database, tmp_path: Path) -> None:
    """T1, T7 to T11, T14, T17, T18, T20, T76, T79: all of it holds also where StorPool gives
    volumes other global ids by a revert."""
    random_lives.lived(RevertedDisks, LIVES, STEPS, database, tmp_path)
