"""`policy explain`: which level decides, what nobody can tell, and what StorPool's services make of
what StorPool has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard
from rigs.disk_model import GIB
from rigs.policy_yard import VM, explained, put, sync, tag, told
from rigs.yard import DISK, OTHER, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM of two disks."""
    yard.given(qos_classes=("gold", "silver"))
    for disk in (DISK, OTHER):
        yard.verb("create", disk, GIB)
    with policy_yard.engine_of(yard, database_server) as made:
        policy_yard.has_disk(made, DISK, "root")
        policy_yard.has_disk(made, OTHER, "data")
        policy_yard.has_vm(made, VM, "web01", DISK, OTHER)
        for disk in (DISK, OTHER):
            tag(yard, disk, cvm=VM)
        yield made


def test_a_vm_is_told_disk_by_disk(yard: Yard, engine: EngineDatabase) -> None:
    """F50: all levels, the one that decides marked, and the VM's backups as one."""
    policy_yard.set_properties(engine, VM, sp_qos=f"silver,{DISK}:gold", sp_vc_policy="hourly")
    sync(yard)
    lines = told(yard, "web01")
    assert lines[0] == f"VM {VM} (web01): 2 disks"
    assert lines[1] == f"disk {DISK} (root), of VM {VM} (web01)"
    assert lines[2:9] == [
        "  QoS class: gold, by its VM's property, for this disk",
        "       an administrator, on the disk: says nothing",
        "       an administrator, on its VM: says nothing",
        "    -> its VM's property, for this disk: gold",
        "       its VM's property, for all: silver",
        "       its own, of its making: says nothing",
        lines[8],
    ]
    assert lines[8].endswith("for new disks: says nothing")
    assert lines.count("    VolumeCare: takes the VM's disks at one moment, by hourly") == 2


def test_what_differs_and_what_is_ignored(yard: Yard, engine: EngineDatabase) -> None:
    """A class that there is not, a VM with several policies, a tag that somebody changed."""
    tag(yard, DISK, qc="glod", vc_policy="hourly")
    lines = told(yard, DISK)
    assert any("glod is none of gold, silver; do you mean gold?" in line for line in lines)
    assert "    VolumeCare: ignores the VM, as its disks have hourly and none" in lines
    put(yard, DISK, qos="gold")
    tag(yard, DISK, qc="silver")
    line = f"    StorPool has qc silver: storpool-ovirt policy sync {DISK} writes it"
    assert line in told(yard, DISK)
    assert engine.release


def test_a_property_that_makes_no_sense(yard: Yard, engine: EngineDatabase) -> None:
    """It is told, and nobody knows what it says."""
    policy_yard.set_properties(engine, VM, sp_qos="glod")
    found = explained(yard, DISK)["disks"][0]["qos"]
    assert found["unknown"] == ["property_disk", "property_vm"]
    assert "do you mean gold?" in found["fault"]
    assert "       its VM's property, for all: not known" in told(yard, DISK)


def test_without_engine(yard: Yard, engine: EngineDatabase) -> None:
    """What came by a property is told as such by its note; the VM is the tag's."""
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    sync(yard)
    engine.execute("DROP TABLE vm_static")
    found = explained(yard, DISK)["disks"][0]
    assert (found["vm"], found["vm_told_by"], found["name"]) == (VM, "tag", None)
    assert (found["qos"]["value"], found["qos"]["level"]) == ("gold", "property_vm")
    assert told(yard, DISK)[0].endswith("Engine's database cannot be asked, or does not have it")


def test_a_shareable_disk_and_one_without_a_vm(yard: Yard, engine: EngineDatabase) -> None:
    """VolumeCare takes both alone."""
    engine.execute("UPDATE base_disks SET shareable = true WHERE disk_id = %s", OTHER)
    sync(yard)
    lines = told(yard, OTHER)
    assert lines[0] == f"disk {OTHER} (data), which several VMs may have"
    alone = (
        "    VolumeCare: takes it alone, by what it has for the template, as its volume names no VM"
    )
    assert lines[-1] == alone
    policy_yard.unplug(engine, DISK)
    sync(yard)
    put(yard, DISK, vc="no")
    assert "VolumeCare: takes it alone, not at all" in told(yard, DISK)[-1]
