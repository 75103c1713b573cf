"""policy_findings.py: what an audit finds of classes and policies, and that it is silent where all
is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, VM, findings, put, sync, tag
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import policy_changes, policy_targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase
    from storpool_ovirt.admin.findings import Finding


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM of two disks."""
    yard.given(qos_classes=("gold", "silver"))
    for disk in (DISK, OTHER):
        yard.verb("create", disk, GIB)
    with policy_yard.engine_of(yard, database_server) as made:
        for disk in (DISK, OTHER):
            policy_yard.has_disk(made, disk)
        policy_yard.has_vm(made, VM, "web01", DISK, OTHER)
        for disk in (DISK, OTHER):
            tag(yard, disk, cvm=VM)
        yield made


def only(yard: Yard, kind: str, severity: str) -> Finding:
    """Return the one finding that there is, of this kind."""
    [found] = findings(yard)
    assert (found.kind, found.severity) == (kind, severity)
    return found


def test_what_is_right_is_no_finding(yard: Yard, engine: EngineDatabase) -> None:
    """Policies on disks, VMs and by properties, all written; also where Engine is silent."""
    put(yard, VM, qos="silver", vc="hourly")
    put(yard, DISK, qos="gold")
    policy_yard.set_properties(engine, VM, sp_qos="gold", sp_vc_policy="daily")
    sync(yard)
    assert findings(yard) == []
    engine.execute("DROP TABLE vm_static")
    assert findings(yard) == []


@pytest.mark.usefixtures("engine")
def test_a_class_that_there_is_not(yard: Yard) -> None:
    """Typed into StorPool by hand: the nearest is told."""
    tag(yard, DISK, qc="glod")
    found = only(yard, "unknown class", "warning")
    assert "is none of gold, silver (do you mean gold?)" in found.cause
    assert found.disk == DISK


@pytest.mark.usefixtures("engine")
def test_a_vm_with_several_policies(yard: Yard) -> None:
    """F53: VolumeCare ignores it; the disks of each are told, and what gives all of them one."""
    tag(yard, DISK, vc_policy="hourly")
    found = only(yard, "mixed policies", "warning")
    assert f"hourly: {DISK}; none: {OTHER}" in found.cause
    assert f"policy set {VM} --vc-policy NAME" in found.mend


@pytest.mark.usefixtures("engine")
def test_what_drifted(yard: Yard) -> None:
    """An administrator's word is not what StorPool has: `policy sync` is the mending."""
    put(yard, DISK, qos="gold")
    tag(yard, DISK, qc="silver")
    found = only(yard, "policy drift", "warning")
    assert found.cause == (
        "it has qc silver, and is to have gold, by an administrator, on the disk"
    )
    sync(yard, DISK)
    assert findings(yard) == []


def test_a_vm_that_has_not_started_yet(yard: Yard, engine: EngineDatabase) -> None:
    """What its next start writes is for information, while no host has its disks."""
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    assert {(each.kind, each.severity) for each in findings(yard)} == {("policy drift", "info")}
    for client_id, disk in ((1, DISK), (1, OTHER)):
        yard.shut(disk, client_id)
    assert {each.severity for each in findings(yard)} == {"warning"}


def test_a_property_that_makes_no_sense(yard: Yard, engine: EngineDatabase) -> None:
    """Once for the VM, with what is wrong."""
    policy_yard.set_properties(engine, VM, sp_qos="glod")
    found = only(yard, "VM property", "warning")
    assert found.what == f"VM {VM} (web01)"
    assert "do you mean gold?" in found.cause


def test_a_policy_for_a_single_disk(yard: Yard, engine: EngineDatabase) -> None:
    """VolumeCare would ignore the VM: `policy sync` sets nothing by it, and it is told."""
    policy_yard.set_properties(engine, VM, sp_vc_policy=f"daily,{DISK}:weekly")
    assert sync(yard).groups == ()
    found = only(yard, "VM property", "warning")
    assert "VolumeCare ignores a VM whose disks have several" in found.cause


@pytest.mark.usefixtures("engine")
def test_another_default(yard: Yard) -> None:
    """For information."""
    yard.sql("INSERT INTO storpool_ovirt.policy (scope, id, qos) VALUES ('domain', 'a:81 -', 'x')")
    found = only(yard, "policy default", "info")
    assert "new disks get qc x by policy default" in found.cause


def test_what_has_no_room(yard: Yard, engine: EngineDatabase) -> None:
    """A property as long as Engine lets it be: what fits is written, what does not is told."""
    yard.given()
    policy_yard.set_properties(engine, VM, sp_qos="g" * 64)
    sync(yard)
    assert {each.kind for each in findings(yard)} == {"no room"}


def test_what_was_said_of_a_vm_that_is_gone(yard: Yard, engine: EngineDatabase) -> None:
    """Told where Engine says so, and cleared by its id, which is all that is left of it."""
    put(yard, VM, qos="silver", vc="hourly")
    for disk in (DISK, OTHER):
        yard.verb("delete", disk)
    for table in ("vm_device", "vm_static", "base_disks"):
        engine.execute(f"DELETE FROM {table}")
    found = only(yard, "policy of nobody", "info")
    assert "qc silver, vc-policy hourly by policy set" in found.cause
    with yard.administrator("policy-clear") as work:
        with pytest.raises(errors.NotFound):
            policy_targets.said_of(work, OTHER_VM)
        gone = policy_targets.said_of(work, VM)
        policy_changes.put(work, gone, {"qos": None})
        [told] = policy_changes.put(work, gone, {"vc": None})
    assert told == f"VM {VM}: nothing is said of it any more; no disk has to be changed"
    assert findings(yard) == []
