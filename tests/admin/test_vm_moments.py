"""vm_backups.py: the snapshots that somebody took of one disk within a second of a backup of the VM
are no part of it; where nothing tells them from it, nothing is restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import policy_yard, trash_yard
from rigs.disk_model import GIB
from rigs.policy_yard import VM
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import vm_backups, vm_restore
from storpool_ovirt.admin.vm_backups import Backups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database

DISKS = (DISK, OTHER)
VOLUMECARE = {"vc-policy": "hourly", "vc-time": "1"}


@pytest.fixture(autouse=True)
def _vm(yard: Yard, database_server: Database) -> Iterator[None]:
    with policy_yard.engine_of(yard, database_server) as made:
        for disk in DISKS:
            yard.verb("create", disk, GIB)
            policy_yard.has_disk(made, disk)
            policy_yard.tag(yard, disk, cvm=VM)
        policy_yard.has_vm(made, VM, "web01", *DISKS)
        yield


def by_hand(yard: Yard, disk: str, **body: Any) -> None:
    """Take a snapshot of one disk."""
    yard.ask(f"VolumeSnapshot/{yard.address(disk)}", body)


def backup(yard: Yard, tags: dict[str, str]) -> None:
    """Take one of both disks, as VolumeCare does."""
    volumes = [{"volume": yard.address(disk), "tags": tags} for disk in DISKS]
    yard.ask("VolumesGroupSnapshot", {"volumes": volumes})


def look(yard: Yard) -> Backups:
    """Return the backups of the VM."""
    with yard.administrator("backups") as work:
        return vm_backups.look(work, vm_backups.found(work, VM))


def restore(yard: Yard, at: str) -> list[str]:
    """Take the VM back to a moment."""
    with yard.administrator("restore") as work:
        return vm_restore.restore(work, VM, at)


def whole(yard: Yard) -> list[set[str]]:
    """Return the global ids of the snapshots of each backup that has all disks."""
    found = look(yard)
    return [
        {each.global_id for each in moment.all()}
        for moment in found.moments
        if moment.is_whole(found.disks)
    ]


def snapshots(yard: Yard) -> set[str]:
    """Return the global ids of all snapshots."""
    return {each["globalId"] for each in yard.ask("SnapshotsList")}


@pytest.mark.parametrize("tags", [{}, VOLUMECARE], ids=["no tags", "VolumeCare's tags"])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("disk", DISKS)
def test_a_named_snapshot_of_one_disk_is_no_part_of_a_backup(
    yard: Yard, disk: str, tags: dict[str, str], is_first: bool
) -> None:
    """Whichever disk it is of, just before the backup or after it."""
    if is_first:
        by_hand(yard, disk, name="byhand")
    before = snapshots(yard)
    backup(yard, tags)
    made = snapshots(yard) - before
    if not is_first:
        by_hand(yard, disk, name="byhand")
    assert whole(yard) == [made]


def test_the_vm_gets_the_data_of_the_backup(yard: Yard) -> None:
    """Of both disks, though one was snapshotted by hand within the second."""
    trash_yard.write(yard, DISK, 2)
    was = trash_yard.digest(yard, DISK)
    trash_yard.write(yard, OTHER, 1)
    by_hand(yard, OTHER, name="byhand")
    trash_yard.write(yard, OTHER, 2)
    backup(yard, VOLUMECARE)
    for disk in DISKS:
        trash_yard.write(yard, disk, 3)
    found = look(yard)
    (at,) = [each.stamp for each in found.moments if each.is_whole(found.disks)]
    restore(yard, at)
    assert {trash_yard.digest(yard, disk) for disk in DISKS} == {was}


def test_a_snapshot_of_one_disk_makes_no_backup_with_that_of_another(yard: Yard) -> None:
    """VolumeCare has one disk of the VM, and somebody snapshots the other one just then."""
    by_hand(yard, DISK, name="byhand")
    by_hand(yard, OTHER, tags=VOLUMECARE)
    assert whole(yard) == []


def test_what_nothing_tells_from_a_backup_is_refused(yard: Yard) -> None:
    """It is told so, and restored once somebody who knows has deleted what is none of it."""
    by_hand(yard, OTHER)
    (aside,) = snapshots(yard)
    backup(yard, {})
    found = look(yard)
    (moment,) = found.moments
    assert f"several snapshots of disk {OTHER}, so" in list(vm_backups.text(found, 0))[1]
    (facts,) = vm_backups.document(found)["backups"]
    assert (facts["is_whole"], len(facts["snapshots"])) == (False, 3)
    before = yard.world()
    with pytest.raises(errors.Conflict, match=f"several snapshots of disk {OTHER}, .*~{aside}"):
        restore(yard, moment.stamp)
    assert yard.world() == before
    yard.ask(f"SnapshotDelete/~{aside}", {})
    (moment,) = look(yard).moments
    restore(yard, moment.stamp)


def test_a_backup_beside_one_of_somebodys_own(yard: Yard) -> None:
    """Both are whole, and neither has a snapshot of the other."""
    backup(yard, VOLUMECARE)
    first = snapshots(yard)
    backup(yard, {})
    assert {frozenset(each) for each in whole(yard)} == {
        frozenset(first),
        frozenset(snapshots(yard) - first),
    }
