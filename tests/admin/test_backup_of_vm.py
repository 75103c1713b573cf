"""backup.py: which disks a VM has: by Engine's own word, or by tags where Engine has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, VM
from rigs.yard import CLONE, DISK, OTHER
from storpool_ovirt import errors
from storpool_ovirt.admin import backup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase
    from rigs.yard import Yard

SNAPSHOT = "99999999-0000-4000-8000-000000000000"


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database: it knows two VMs with a disk each."""
    with policy_yard.engine_of(yard, database_server) as made:
        for disk, vm, name in ((DISK, VM, "web01"), (OTHER, OTHER_VM, "web02")):
            yard.verb("create", disk, GIB)
            policy_yard.has_disk(made, disk)
            policy_yard.has_vm(made, vm, name, disk)
        yield made


def target(yard: Yard, vm: str) -> backup.Target:
    """Return what a copy of this VM takes."""
    with yard.administrator("backup") as work:
        return backup.target(work, vm)


def has(engine: EngineDatabase, vm: str, disk: str, *, plugged: bool, snapshot: str | None) -> None:
    """Have Engine give a VM a disk more, or show it one through a snapshot."""
    row = "INSERT INTO vm_device (device_id, vm_id, is_plugged, snapshot_id)"
    engine.execute(f"{row} VALUES (%s, %s, %s, %s)", disk, vm, plugged, snapshot)


def test_another_vms_disk_that_is_shown_through_a_snapshot_is_none(
    yard: Yard, engine: EngineDatabase
) -> None:
    """F62: what is copied of it would be what the other VM writes now."""
    has(engine, VM, OTHER, plugged=True, snapshot=SNAPSHOT)
    assert target(yard, VM) == backup.Target((DISK,), VM)


def test_a_disk_that_is_not_plugged_in_is_one(yard: Yard, engine: EngineDatabase) -> None:
    """F62: the VM has it, and its data."""
    yard.verb("create", CLONE, GIB)
    policy_yard.has_disk(engine, CLONE)
    has(engine, VM, CLONE, plugged=False, snapshot=None)
    assert set(target(yard, VM).disks) == {DISK, CLONE}


def test_a_vm_that_has_no_disk_has_none_by_a_tag(yard: Yard, engine: EngineDatabase) -> None:
    """F62: the volume of a disk that went to another VM may still name this one."""
    engine.execute("UPDATE vm_device SET vm_id = %s WHERE device_id = %s", OTHER_VM, DISK)
    policy_yard.tag(yard, DISK, cvm=VM)
    with pytest.raises(errors.NotFound, match="of which this Engine has a disk in StorPool"):
        target(yard, VM)


def test_a_vm_that_engine_does_not_know_is_known_by_tags(
    yard: Yard, engine: EngineDatabase
) -> None:
    """F62: it is removed there, or its database was put back; the volumes still name it."""
    engine.execute("DELETE FROM vm_static WHERE vm_guid = %s", VM)
    policy_yard.tag(yard, DISK, cvm=VM)
    assert target(yard, VM).disks == (DISK,)


def test_what_is_not_in_storpool_is_told(yard: Yard, engine: EngineDatabase) -> None:
    """F62: nobody shall take the copy for all of the VM."""
    policy_yard.has_disk(engine, CLONE, "logs")
    has(engine, VM, CLONE, plugged=True, snapshot=None)
    found = target(yard, VM)
    assert found.disks == (DISK,)
    assert found.left_out == (f"disk {CLONE} (logs) of the VM is not in StorPool",)
