"""drift.py, trash_findings.py: what the trash has of a volume that StorPool has no more is named
with the finding, and the command that gives it back is one that works."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, DELAY_SECONDS, entries, restored, thrown
from rigs.yard import DISK, Yard

if TYPE_CHECKING:
    from storpool_ovirt.admin.findings import Finding

RESTORE = re.compile(r"storpool-ovirt trash restore (\S+) --into NEW")


@pytest.fixture
def back(yard: Yard) -> str:
    """Give the checksum of a disk whose delete the database has forgotten."""
    yard.given(delete_delay_seconds=DELAY_SECONDS)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 7)
    was = trash_yard.digest(yard, DISK)
    saved = yard.save()
    yard.verb("delete", DISK)
    yard.put_back(saved)
    return was


def ghost(yard: Yard) -> Finding:
    """Return the finding on the disk."""
    (found,) = [each for each in yard.report().findings if each.kind == "ghost"]
    assert found.uuid == DISK
    return found


def test_what_a_restored_database_lost_comes_back(yard: Yard, back: str) -> None:
    """T72, T83: with its entry's row made again first, which is told as long as there is none."""
    first = ghost(yard).mend
    assert "storpool-ovirt rebuild, then storpool-ovirt trash restore " in first
    yard.rebuild()
    mend = ghost(yard).mend
    assert "rebuild" not in mend
    (entry,) = RESTORE.findall(mend)
    assert [entry] == RESTORE.findall(first) == [each.entry for each in entries(yard)]
    assert mend.endswith(f"or storpool-ovirt reconcile --remove {DISK} forgets it")
    yard.verb("create", BACK, GIB)
    restored(yard, entry)
    assert trash_yard.digest(yard, BACK) == back


def test_the_newest_copy_is_named_with_its_time(yard: Yard) -> None:
    """T72: an id that was used again may have older ones, which are of another disk."""
    yard.verb("create", DISK, GIB)
    thrown(yard, DISK)
    yard.simulator.advance(5)
    yard.verb("create", DISK, GIB)
    (newest,) = thrown(yard, DISK)
    yard.verb("create", DISK, GIB)
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    mend = ghost(yard).mend
    assert RESTORE.findall(mend) == [newest.entry]
    assert re.match(r"the trash has it until \S+Z, as it was at \S+Z: ", mend)


@pytest.mark.parametrize("change", ["renamed", "purged", "of another Engine"])
def test_what_cannot_be_restored_is_not_named(yard: Yard, change: str) -> None:
    """T61, T83: the sentence of before stands."""
    yard.verb("create", DISK, GIB)
    (entry,) = thrown(yard, DISK)
    yard.verb("create", DISK, GIB)
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    if change == "purged":
        yard.sql("UPDATE storpool_ovirt.trash SET ends_at = to_timestamp(0)")
    else:
        wrong = {"rename": "mine"} if change == "renamed" else {"tags": {"ovirt-loc": "ffffffff"}}
        yard.ask(f"SnapshotUpdate/~{entry.global_id}", wrong)
    assert ghost(yard).mend.startswith("was it deleted by hand? if StorPool's trash still has it")
