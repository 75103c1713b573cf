"""settlement.py: whoever dies while it puts right what died before leaves nothing that the next one
cannot put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import disk_rig
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.yard import CLONE, DISK, OTHER, Yard

if TYPE_CHECKING:
    from collections.abc import Callable


DYING: dict[str, tuple[str, ...]] = {
    "create": ("create", "delete"),
    "clone": ("clone", "delete"),
    "snapshot": ("extend", "delete"),
    "preview": ("extend", "snapshot", "delete"),
    "remove": ("extend", "remove"),
    "delete": ("delete", "extend"),
}
# How many lines a verb runs for each entry that it finds, at most: with less it never gets further
# than where it leaves one more.
LINES_FOR_EACH = 15
PAIRS = [(died, then) for died, all_of in DYING.items() for then in all_of]


def die_everywhere(yard: Yard, verb: str, *arguments: object) -> None:
    """Run a verb until it dies no more, each time a little later; what each death left in the
    journal takes lines."""
    lines = 1
    for _ in range(200):
        before = yard.entries()
        try:
            yard.verb(verb, *arguments, fault=Fault("death", lines=lines))
        except Death:
            lines += 3 + LINES_FOR_EACH * max(0, yard.entries() - before)
            continue
        return
    raise AssertionError("it still dies")


@pytest.mark.parametrize(("died", "then"), PAIRS)
def test_dying_again_while_putting_right_what_died_loses_and_adds_nothing(
    yard: Yard, died: str, then: str
) -> None:
    """T71, T72: at whatever line, and however often: an undisturbed repetition reaches the same
    state as ever."""
    ids = _prepare(yard, died)
    arguments = {
        "create": (DISK, GIB),
        "clone": (OTHER, CLONE),
        "preview": (ids,),
        "remove": (ids,),
    }
    yard.die_when(_half_done(yard, died, ids), died, *arguments.get(died, (DISK,)))
    target = CLONE if died == "clone" else DISK
    again = arguments.get(then, (target, 2 * GIB)[: 2 if then == "extend" else 1])
    die_everywhere(yard, then, *again)
    if then != "snapshot":
        assert yard.verb(then, *again) is None, (
            "a repetition is answered as the first would have been"
        )
    seen = yard.see()
    assert seen.pending == []
    assert {f"ovirt--{uuid}" for uuid, row in seen.rows.items() if row.state != "removed"} == set(
        seen.things
    )
    assert all(
        seen.rows[uuid].size_bytes == seen.things[f"ovirt--{uuid}"].size_bytes
        for uuid in _live(seen)
    )
    expected = _expected(died, then, ids)
    assert len(_live(seen)) == expected


def test_dying_between_the_row_and_its_entry_leaves_no_entry(yard: Yard) -> None:
    """T71, T72: the repeated remove finds no row any more, and closes what is open about it all the
    same."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.die_when(lambda: f"ovirt--{snapshot}" not in yard.see().things, "remove", snapshot)
    yard.die_when(lambda: snapshot not in yard.see().rows, "remove", snapshot)
    yard.verb("remove", snapshot)
    assert yard.see().pending == []


def _prepare(yard: Yard, died: str) -> str:
    """Make what the verb needs; return the snapshot, if there is one."""
    if died == "clone":
        yard.verb("create", OTHER, GIB)
    if died in ("create", "clone"):
        return ""
    yard.verb("create", DISK, GIB)
    return yard.verb("snapshot", DISK) if died in ("preview", "remove", "delete") else ""


def _half_done(yard: Yard, died: str, snapshot: str) -> Callable[[], bool]:
    if died == "remove":
        return lambda: yard.see().rows[snapshot].state == "deleting"
    if died == "delete":
        return lambda: yard.see().rows[DISK].state == "deleting"
    before = set(yard.see().things)
    return lambda: set(yard.see().things) != before


def _live(seen: disk_rig.Seen) -> list[str]:
    return [uuid for uuid, row in seen.rows.items() if row.state != "removed"]


def _expected(died: str, then: str, snapshot: str) -> int:
    """Return how many objects there are at the end: the disk, its snapshot, a clone's source, a new
    snapshot."""
    others = 1 if died == "clone" else 0
    if then == "delete":
        return others
    return others + 1 + bool(snapshot and then != "remove") + (then == "snapshot")
