"""trash_restore.py: what somebody types by mistake is refused with what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard, trash_yard
from rigs.disk_model import GIB
from rigs.policy_yard import VM
from rigs.yard import DISK, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from ovirt_demo.database import Database


@pytest.mark.usefixtures("a_disk")
def test_a_vm_is_given_no_volume(yard: Yard, database_server: Database) -> None:
    """Its id is taken for that of a disk which oVirt makes later, unless Engine knows better:
    a volume would have the VM's id then, and no command would find the VM by it."""
    trash_yard.thrown(yard, DISK)
    before = yard.see()
    with policy_yard.engine_of(yard, database_server) as engine:
        policy_yard.has_vm(engine, VM, "web01")
        with pytest.raises(errors.Unnamed, match=f"{VM} is a VM: give the id of a disk"):
            trash_yard.restored(yard, DISK, VM)
    assert yard.see() == before


@pytest.mark.usefixtures("a_disk")
def test_a_disk_with_data_may_be_written_over_from_the_trash(yard: Yard) -> None:
    """The trash has a way for that, which is named."""
    trash_yard.thrown(yard, DISK)
    yard.verb("create", trash_yard.BACK, GIB)
    address = yard.address(trash_yard.BACK)
    yard.hold(address, 3)
    with yard.device(3, address[1:]).open("r+b") as device:
        device.write(b"data")
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": address, "detach": [3]}]})
    with pytest.raises(errors.Conflict, match="have it written over: --over-data"):
        trash_yard.restored(yard, DISK)
