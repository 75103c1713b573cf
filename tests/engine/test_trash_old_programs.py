"""A delete with trash that died, settled by a program from before the trash: on another machine, or
of packages that were put back.

Such a program does not read what the journal's entry keeps, so it takes the delete back or ends it
at once, as ever; nothing of that is lost without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, entries, restored
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import mend
from storpool_ovirt.admin.findings import CRITICAL, INFO, TRASH

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = int(48 * HOUR)


@pytest.fixture
def kept(yard: Yard) -> Iterator[tuple[Yard, str]]:
    """Give an Engine that keeps what is deleted, with a disk that has data and a snapshot."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 1)
    snapshot = yard.verb("snapshot", DISK)
    trash_yard.write(yard, DISK, 2)
    yield yard, snapshot
    assert yard.forced() == []


def copied(yard: Yard) -> bool:
    """The volume was copied."""
    return bool(yard.see().trash)


def gone(yard: Yard) -> bool:
    """The volume was deleted too."""
    return f"ovirt--{DISK}" not in yard.see().things


def moved(yard: Yard) -> bool:
    """The snapshot came into the trash too."""
    return not yard.see().things


def died(yard: Yard, when: Callable[[Yard], bool], verb: str, uuid: str) -> None:
    """Have a delete die then, and whoever comes after it be of before the trash."""
    yard.die_when(lambda: when(yard), verb, uuid)
    yard.sql("UPDATE storpool_ovirt.operation SET plan = plan - 'trash'")
    yard.given()


def newer(yard: Yard) -> None:
    """Have the programs of now come back."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)


@pytest.mark.parametrize("by", ["verb", "reconcile"])
def test_what_has_its_volume_is_taken_back(kept: tuple[Yard, str], by: str) -> None:
    """T71, T83: the disk is as it was; the copy stays until its date, and is told."""
    yard, snapshot = kept
    digest = trash_yard.digest(yard, DISK)
    died(yard, copied, "delete", DISK)
    if by == "verb":
        yard.verb("connection", DISK)
    else:
        assert yard.reconcile() == ["delete taken back for 2 of 2 objects"]
    newer(yard)
    assert {each.state for each in yard.see().rows.values()} == {"live"}
    assert {*yard.see().rows} == {DISK, snapshot}
    assert trash_yard.digest(yard, DISK) == digest
    assert [(each.kind, each.severity) for each in yard.report().findings] == [(TRASH, INFO)]
    yard.verb("delete", DISK)
    assert {each.node for each in entries(yard)} == {DISK, snapshot}


@pytest.mark.parametrize("when", [gone, moved])
def test_a_verb_leaves_what_has_lost_its_volume(
    kept: tuple[Yard, str], when: Callable[[Yard], bool]
) -> None:
    """T71, T83: the old program refuses all verbs but a delete, and one of now ends it: all of it
    is in the trash."""
    yard, snapshot = kept
    digest = trash_yard.digest(yard, DISK)
    plan = _plan_after(yard, when)
    with pytest.raises(errors.NotFound):
        yard.verb("connection", DISK)
    assert {*yard.see().rows} == {DISK, snapshot}
    newer(yard)
    yard.sql("UPDATE storpool_ovirt.operation SET plan = %s::text::jsonb", plan)
    assert yard.reconcile() == ["finished: it is in the trash"]
    assert {each.node for each in entries(yard)} == {DISK, snapshot}
    restored(yard, DISK)
    assert trash_yard.digest(yard, BACK) == digest


def _plan_after(yard: Yard, when: Callable[[Yard], bool]) -> str:
    """Have a delete die then; return its plan, which the old program leaves as it is."""
    yard.die_when(lambda: when(yard), "delete", DISK)
    [(plan,)] = yard.sql("SELECT plan::text FROM storpool_ovirt.operation")
    yard.sql("UPDATE storpool_ovirt.operation SET plan = plan - 'trash'")
    yard.given()
    return str(plan)


@pytest.mark.parametrize("when", [copied, gone, moved])
def test_a_delete_that_it_ends_leaves_the_copy(
    kept: tuple[Yard, str], when: Callable[[Yard], bool]
) -> None:
    """T83: snapshots go at once then, as that program does it; what the VM wrote comes back after a
    rebuild, as the audit says."""
    yard, _ = kept
    digest = trash_yard.digest(yard, DISK)
    died(yard, when, "delete", DISK)
    yard.verb("delete", DISK)
    newer(yard)
    assert (yard.see().rows, yard.see().things, yard.see().pending) == ({}, {}, [])
    (found,) = yard.report().findings
    assert (found.kind, found.uuid) == (TRASH, DISK)
    assert "rebuild" in found.mend
    yard.rebuild()
    assert [each.node for each in entries(yard)] == [DISK]
    restored(yard, DISK)
    assert trash_yard.digest(yard, BACK) == digest
    assert yard.report().findings == ()


def test_a_snapshot_that_it_takes_back_is_named_before_it_goes(kept: tuple[Yard, str]) -> None:
    """T83: it has a date and the trash's name already, which the old program does not look at: the
    audit is critical, and its command puts it right."""
    yard, snapshot = kept
    died(yard, copied, "remove", snapshot)
    yard.verb("extend", DISK, 2 * GIB)
    newer(yard)
    assert yard.see().rows[snapshot].state == "live"
    (found,) = yard.report().findings
    assert (found.severity, found.uuid) == (CRITICAL, snapshot)
    assert f"mend {snapshot}" in found.mend
    with yard.administrator("mend") as work:
        mend.mend(work, snapshot)
    assert yard.report().findings == ()
    yard.simulator.advance(2 * DELAY)
    yard.verb("preview", snapshot)
