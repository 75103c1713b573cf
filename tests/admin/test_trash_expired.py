"""restoring.py: what is restored goes from the trash while a restore has died half-way."""

from __future__ import annotations

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Death
from rigs.trash_yard import BACK, LATER, restored, thrown
from rigs.yard import DISK, Yard

STEPS_MAX = 80


@pytest.mark.parametrize("verb", ["extend", "connection"])
def test_a_restore_that_died_ends_when_its_source_has_gone(yard: Yard, verb: str) -> None:
    """T71, T83: the disk has what was restored, or is empty as oVirt made it; it can be used."""
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 7)
    digest = trash_yard.digest(yard, DISK)
    yard.verb("create", LATER, GIB)
    empty = trash_yard.digest(yard, LATER)
    seen = set()
    for line in range(STEPS_MAX):
        [entry] = thrown(yard, DISK)
        yard.verb("create", BACK, GIB)
        try:
            restored(yard, entry.entry, dies_at=line)
        except Death:
            pass
        else:
            break
        yard.ask(f"SnapshotDelete/~{entry.global_id}", {})
        yard.verb(verb, BACK, *([GIB] if verb == "extend" else []))
        assert yard.see().rows[BACK].state == "live"
        seen.add(trash_yard.digest(yard, BACK))
        assert yard.entries() == 0
        yard.verb("delete", BACK)
        yard.verb("create", DISK, GIB)
        trash_yard.write(yard, DISK, 7)
    else:
        raise AssertionError("it never ends")
    assert seen == {digest, empty}
