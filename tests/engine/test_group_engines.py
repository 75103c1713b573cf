"""Snapshots of VMs by two Engines on one cluster, and by one whose database came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import vm_ground
from vm_ground import Action

from rigs import disk_rig, shared_stage, transports
from rigs.yard import fresh
from storpool_ovirt import config
from storpool_ovirt.engine import database_url, disks, journal
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.yard import Yard

GIB = shared_stage.GIB
VM = "b0000000-0000-4000-8000-00000000000b"


@pytest.fixture(scope="module")
def others_database(database_server: Database) -> Iterator[Database]:
    """Give the database of another Engine."""
    with fresh(database_server) as made:
        yield made


class Other:
    """Another Engine, on the same cluster."""

    def __init__(self, yard: Yard, database: Database) -> None:
        self.yard = yard
        self.database = database

    def verb(self, name: str, *arguments: Any, correlation_id: str = "test") -> Any:
        """Run a verb and return its answer."""
        simulator = self.yard.simulator
        settings = config.Api(simulator.host, simulator.port, Secret(disk_rig.TOKEN))
        settings = settings.preferring(transports.chosen())
        caller = journal.Caller(correlation_id, name)
        address = database_url.parse(self.database.url)
        with self.yard.working(caller, settings, disk_rig.VERB_SECONDS, address=address) as work:
            answer = getattr(disks, name)(work, *arguments)
            work.mapping.journal.delivered()
            return answer

    def disk(self) -> str:
        """Make a disk of VM, which runs on host 1, and return its id."""
        disk = shared_stage.new_id()
        self.verb("create", disk, GIB)
        self.yard.attach(1, self.verb("connection", disk)["data"])
        vm_ground.tag(self.yard, disk, VM)
        return disk


def test_two_engines_with_vms_of_one_name_on_one_host(
    yard: Yard, others_database: Database
) -> None:
    """T76, T78: a VM that was exported and imported, say: each Engine's group has its own disks,
    and neither removes what is the other's."""
    other = Other(yard, others_database)
    theirs = [other.disk() for _ in range(2)]
    vm = vm_ground.running(yard, 2, name=VM)
    key = shared_stage.new_id()
    for _ in range(2):
        action = Action(key)
        told = []
        for own, their in zip(vm.disks, theirs):
            assert vm_ground.ask(yard, action, own) is None
            told.append(other.verb("snapshot", their, correlation_id=key))
        assert vm_ground.wrong(yard.see(), action) == []
        objects = {each["name"]: each for each in yard.ask("SnapshotsList")}
        marks = {objects[f"ovirt--{each}"]["tags"]["ovirt-moment"] for each in told}
        assert len(marks) == 1
    every = {each["name"] for each in yard.ask("SnapshotsList")}
    assert len([each for each in every if each.startswith("ovirt--")]) == 8


def test_what_came_back_with_a_backup_is_not_taken_for_unknown(yard: Yard) -> None:
    """T78: a backup was made between two verbs: what it calls reserved was told to Engine since,
    and stays, whatever comes after."""
    vm = vm_ground.running(yard)
    action = vm_ground.act(yard, vm.disks[:1])
    saved = yard.save()
    for disk in vm.disks[1:]:
        vm_ground.ask(yard, action, disk)
    yard.put_back(saved)
    yard.restored()
    again = vm_ground.act(yard, vm.disks)
    assert again.is_whole
    vm_ground.age(yard, 3600)
    yard.reconcile()
    assert vm_ground.gone(yard.see(), [*action.told, *again.told]) == []


def test_a_backup_with_a_snapshot_that_was_told_since_is_claimed_by_nobody(yard: Yard) -> None:
    """T78: Engine asks under the same correlation id again: it gets another snapshot, of now."""
    vm = vm_ground.running(yard)
    action = vm_ground.act(yard, vm.disks[:1])
    saved = yard.save()
    for disk in vm.disks[1:]:
        vm_ground.ask(yard, action, disk)
    yard.put_back(saved)
    yard.restored()
    again = vm_ground.act(yard, vm.disks[1:], action.correlation_id)
    assert not {*action.told} & {*again.told}
    assert vm_ground.wrong(yard.see(), again) == []


@pytest.mark.parametrize("there", ["their tag", "no tag"])
def test_a_stranger_on_the_host_is_no_member(yard: Yard, there: str) -> None:
    """T76: a volume of another platform with the VM's tag, or any, is attached beside the disks: it
    is not snapshotted."""
    vm = vm_ground.running(yard, 2)
    tags = {"virt": "cs", **({"cvm": vm.tag} if there == "their tag" else {})}
    body = {"name": "stranger", "size": GIB, "template": disk_rig.TEMPLATE, "tags": tags}
    yard.ask("VolumeCreate", body)
    yard.hold("stranger", 1)
    action = vm_ground.act(yard, vm.disks)
    assert vm_ground.wrong(yard.see(), action) == []
    assert vm_ground.unsettled(yard, action) == []
    assert "stranger" not in [each.get("createdFrom") for each in yard.ask("SnapshotsList")]
    yard.simulator.calls.clear()
