"""drift.py, trash_findings.py, trash_purge.py: what the trash has of a volume that StorPool has no
more is named with the finding, no purge takes it, and the command that gives it back is one that
works."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, DELAY_SECONDS, entries, purged, restored, thrown
from rigs.yard import DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import reconcile
from storpool_ovirt.admin.trash_purge import Which

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


@pytest.mark.parametrize(
    "which", [Which(all=True), Which(oldest=1), Which(older_seconds=0), Which(DISK)]
)
def test_what_is_left_of_a_disk_in_the_mapping_is_not_purged(
    yard: Yard, back: str, which: Which
) -> None:
    """T83, T72: whatever the purge is asked for, and also where one of it was begun."""
    yard.rebuild()
    (entry,) = entries(yard)
    (why,) = purged(yard, which)
    assert f"is what is left of volume {DISK}" in why
    assert entries(yard) == [entry]
    yard.sql("UPDATE storpool_ovirt.trash SET ends_at = to_timestamp(0)")
    with pytest.raises(errors.Conflict, match="is what is left of volume"):
        yard.reconcile()
    (named,) = re.findall(r"storpool-ovirt trash restore (\S+) --into NEW", why)
    yard.verb("create", BACK, GIB)
    restored(yard, named)
    assert trash_yard.digest(yard, BACK) == back


def test_what_was_reverted_before_it_was_deleted_is_not_purged(yard: Yard) -> None:
    """T83: the row of the restored database has the global id of before the revert."""
    yard.given(delete_delay_seconds=DELAY_SECONDS)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 7)
    trash_yard.noted(yard)
    saved = yard.save()
    snapshot = yard.ask(f"VolumeSnapshot/{yard.address(DISK)}", {"name": "byhand"})
    yard.ask(f"VolumeRevert/ovirt--{DISK}", {"toSnapshot": f"~{snapshot['snapshotGlobalId']}"})
    yard.verb("delete", DISK)
    yard.put_back(saved)
    yard.rebuild()
    (why,) = purged(yard, Which(all=True))
    assert f"is what is left of volume {DISK}" in why


@pytest.mark.parametrize("left", ["another disk's", "a copy", "nothing in the mapping"])
def test_what_nobody_needs_is_purged(yard: Yard, back: str, left: str) -> None:
    """T83: an older one of an id that was used again; a copy of a volume that is there; and what
    somebody had the mapping forget."""
    if left == "nothing in the mapping":
        yard.rebuild()
        with yard.administrator("reconcile") as work:
            reconcile.remove(work, DISK, 0.0)
    elif left == "a copy":
        yard.sql("DELETE FROM storpool_ovirt.node")
        yard.verb("create", DISK, GIB)
        (there,) = yard.ask("SnapshotsList")
        yard.ask(f"SnapshotDelete/~{there['globalId']}", {})
        body = {"name": there["name"], "tags": there["tags"], "deleteAfter": 1000}
        yard.ask(f"VolumeSnapshot/{yard.address(DISK)}", body)
        yard.rebuild()
    else:
        yard.sql("DELETE FROM storpool_ovirt.node")
        yard.rebuild()
        yard.verb("create", DISK, GIB)
        yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    assert len(entries(yard)) == 1
    assert purged(yard, Which(all=True)) == []
    assert entries(yard) == []
