"""`policy sync`: what no hook sees, and what somebody changed by hand."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard, trash_yard
from rigs.deaths import Death, Fault, dying
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, VM, findings, put, sync, tag, tags
from rigs.yard import CLONE, DISK, MANY_TIMES, OTHER, Yard
from storpool_ovirt import names
from storpool_ovirt.admin import dry_run, policy_sync
from storpool_ovirt.cluster import attachments, vm_tags
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import vm_policy
from storpool_ovirt.policy import properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM of two disks, which is down, and a disk of none."""
    for disk in (DISK, OTHER, CLONE):
        yard.verb("create", disk, GIB)
    with policy_yard.engine_of(yard, database_server) as made:
        for disk in (DISK, OTHER, CLONE):
            policy_yard.has_disk(made, disk)
        policy_yard.has_vm(made, VM, "web01", DISK, OTHER)
        yield made


def writes(yard: Yard) -> int:
    """Return how many volumes were updated since the last look."""
    return yard.queries().count("POST VolumeUpdate")


def test_a_vm_that_is_down_gets_its_properties(yard: Yard, engine: EngineDatabase) -> None:
    """With the name of its VM, one update for each disk; again, nothing is written."""
    policy_yard.set_properties(engine, VM, sp_qos=f"gold,{OTHER}:silver", sp_vc_policy="hourly")
    yard.queries()
    sync(yard)
    assert writes(yard) == 2
    assert tags(yard, DISK)["qc"] == "gold"
    assert tags(yard, OTHER)["qc"] == "silver"
    for disk in (DISK, OTHER):
        assert (tags(yard, disk)["cvm"], tags(yard, disk)["vc-policy"]) == (VM, "hourly")
    assert tags(yard, CLONE) == {}
    assert sync(yard).groups == ()
    assert writes(yard) == 0


def test_a_property_that_went_is_taken_back(yard: Yard, engine: EngineDatabase) -> None:
    """What the disk has of its own comes back."""
    tag(yard, DISK, qc="bronze")
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    sync(yard)
    assert tags(yard, DISK)["qc"] == "gold"
    policy_yard.set_properties(engine, VM)
    sync(yard)
    assert tags(yard, DISK) == {"cvm": VM, "qc": "bronze"}
    assert tags(yard, OTHER) == {"cvm": VM}


def test_a_property_that_makes_no_sense_changes_nothing(yard: Yard, engine: EngineDatabase) -> None:
    """Nothing is set, and what an earlier one has set is not cleared."""
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    sync(yard)
    policy_yard.set_properties(engine, VM, sp_qos="?! gold")
    sync(yard)
    assert {tags(yard, each)["qc"] for each in (DISK, OTHER)} == {"gold"}


def test_a_disk_that_was_moved_cold(yard: Yard, engine: EngineDatabase) -> None:
    """F53: detached from one VM and attached to another, both down: it is the other one's; plugged
    into none it has neither VM nor policy."""
    policy_yard.set_properties(engine, VM, sp_vc_policy="hourly")
    policy_yard.has_vm(engine, OTHER_VM, "web02", properties="sp_vc_policy=daily")
    sync(yard)
    engine.execute("UPDATE vm_device SET vm_id = %s WHERE device_id = %s", OTHER_VM, OTHER)
    sync(yard)
    assert (tags(yard, DISK)["cvm"], tags(yard, DISK)["vc-policy"]) == (VM, "hourly")
    assert (tags(yard, OTHER)["cvm"], tags(yard, OTHER)["vc-policy"]) == (OTHER_VM, "daily")
    policy_yard.unplug(engine, OTHER)
    sync(yard)
    assert tags(yard, OTHER) == {}


def test_what_a_host_has_keeps_its_vm(yard: Yard, engine: EngineDatabase) -> None:
    """There the hooks know better, and sooner than Engine's tables: its name stays."""
    tag(yard, OTHER, cvm=OTHER_VM)
    yard.shut(OTHER, 1, declared_open=True)
    sync(yard)
    assert tags(yard, OTHER)["cvm"] == OTHER_VM
    assert tags(yard, DISK)["cvm"] == VM
    assert engine.release


def test_what_a_host_has_and_names_no_vm_gets_its_name(yard: Yard, engine: EngineDatabase) -> None:
    """The start could not write it, and is not repeated for as long as the VM runs: VolumeCare
    takes such a disk alone, which the audit tells."""
    for disk in (DISK, OTHER):
        tag(yard, disk, vc_policy="daily")
        yard.shut(disk)
    tag(yard, DISK, cvm=VM)
    [found] = findings(yard)
    assert (found.kind, found.severity, found.uuid) == ("policy drift", "warning", OTHER)
    sync(yard)
    assert tags(yard, OTHER) == {"cvm": VM, "vc-policy": "daily"}
    assert findings(yard) == []
    # Detached by oVirt while the VM is down, which no hook sees
    yard.ask(
        "VolumesReassignWait", {"reassign": [{"volume": yard.address(OTHER), "detach": "all"}]}
    )
    assert findings(yard) == []
    policy_yard.unplug(engine, OTHER)
    [found] = findings(yard)
    assert (found.kind, found.severity, found.uuid) == ("policy drift", "warning", OTHER)
    assert found.cause.endswith(f"no VM has it: VolumeCare takes it for a disk of VM {VM}")
    sync(yard)
    assert findings(yard) == []


def test_a_start_that_died_between_two_disks(yard: Yard, engine: EngineDatabase) -> None:
    """policy.md 2: its VM has several policies. The audit tells it, and a sync makes them one,
    whether the host still has the disks or not."""
    for client_id in (1, None):
        policy_yard.set_properties(engine, VM, sp_vc_policy="hourly")
        sync(yard)
        for disk in (DISK, OTHER) if client_id else ():
            yard.shut(disk, client_id)
        policy_yard.set_properties(engine, VM, sp_vc_policy="daily")
        with yard.administrator() as work:
            there = [work.client.volume(yard.address(disk)) for disk in (DISK, OTHER)]
            wished = vm_policy.Wish(
                vm_tags.Tag("cvm", VM), {"vc": properties.read("vc", "daily")[0]}
            )
            side = attachments.HostSide(1, "", Deadline(30), work.log)
            yard.queries()
            with pytest.raises(Death), dying(Fault("death", when=lambda: writes(yard) > 0)):
                vm_policy.silent_follow(work.client, side, wished, alone=there)
        assert sorted(tags(yard, disk)["vc-policy"] for disk in (DISK, OTHER)) == [
            "daily",
            "hourly",
        ]
        assert "mixed policies" in {each.kind for each in findings(yard)}
        sync(yard)
        assert {tags(yard, disk)["vc-policy"] for disk in (DISK, OTHER)} == {"daily"}
        assert findings(yard) == []


def test_what_somebody_changed_by_hand(yard: Yard, engine: EngineDatabase) -> None:
    """An administrator's word is written again, as a whole or a part of it was lost."""
    put(yard, DISK, qos="gold")
    put(yard, VM, vc="hourly")
    tag(yard, DISK, qc="silver")
    tag(yard, OTHER, vc_policy="", virtp="")
    plan = sync(yard)
    assert sum(len(each.disks) for each in plan.groups) == 2
    assert tags(yard, DISK)["qc"] == "gold"
    assert tags(yard, OTHER)["vc-policy"] == "hourly"
    assert engine.release


def test_one_target_alone(yard: Yard, engine: EngineDatabase) -> None:
    """A disk, or a VM by its name: no other is touched."""
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    sync(yard, OTHER)
    assert tags(yard, DISK) == {}
    assert tags(yard, OTHER)["qc"] == "gold"
    sync(yard, "web01")
    assert tags(yard, DISK)["qc"] == "gold"


def test_without_engine_only_our_own_word_counts(yard: Yard, engine: EngineDatabase) -> None:
    """Nobody knows the properties: what came by them stays, and what an administrator says is
    written."""
    policy_yard.set_properties(engine, VM, sp_qos="gold")
    sync(yard)
    put(yard, OTHER, qos="silver")
    tag(yard, OTHER, qc="bronze")
    engine.execute("DROP TABLE vm_static")
    plan = sync(yard)
    assert plan.is_blind
    assert tags(yard, DISK)["qc"] == "gold"
    assert tags(yard, OTHER)["qc"] == "silver"


def test_what_is_not_ours_is_left(yard: Yard, engine: EngineDatabase) -> None:
    """T76: a volume whose tags say another owner is nobody that a policy reaches."""
    put(yard, CLONE, qos="gold")
    tag(yard, CLONE, virt="one", qc="")
    assert sync(yard, None).groups == () or CLONE not in str(sync(yard, None).groups)
    (view,) = yard.ask(f"Volume/{yard.address(CLONE)}")
    assert not view["tags"].get("qc")
    assert engine.release


def test_what_not_all_disks_of_a_vm_have_room_for_none_gets(
    yard: Yard, engine: EngineDatabase
) -> None:
    """As with a start: VolumeCare ignores a VM with two policies. The audit tells which disk has no
    room, and that all else is as it should be; the same where one disk alone is meant."""
    sync(yard)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    policy_yard.set_properties(engine, VM, sp_vc_policy="weekly-and-much-more", sp_qos="gold")
    sync(yard, OTHER)
    assert "vc-policy" not in tags(yard, OTHER)
    sync(yard)
    for each in (preview, OTHER):
        assert (tags(yard, each).get("qc"), tags(yard, each).get("vc-policy")) == ("gold", None)
    assert [each.kind for each in policy_yard.findings(yard)] == ["no room"]
    # One that all have room for all get, also where one disk alone is meant
    policy_yard.set_properties(engine, VM, sp_vc_policy="daily")
    sync(yard, OTHER)
    assert {tags(yard, each)["vc-policy"] for each in (preview, OTHER)} == {"daily"}


@pytest.mark.parametrize("way", ["property", "vm", "moved"])
def test_what_goes_goes_from_a_preview_too(yard: Yard, engine: EngineDatabase, way: str) -> None:
    """Both values have room there, and who gave them too: the VM's disks are alike all the time,
    also where the disk goes to another VM."""
    policy_yard.has_vm(engine, OTHER_VM, "web02")
    sync(yard)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    if way == "vm":
        put(yard, VM, qos="gold", vc="daily")
    else:
        policy_yard.set_properties(engine, VM, sp_qos="gold", sp_vc_policy="daily")
        sync(yard)
    both = {"cvm": VM, "qc": "gold", "vc-policy": "daily"}
    has = tags(yard, preview)
    assert both.items() <= has.items()
    if way == "vm":
        put(yard, VM, qos=None, vc=None)
    elif way == "property":
        policy_yard.set_properties(engine, VM)
    else:
        engine.execute("UPDATE vm_device SET vm_id = %s WHERE device_id = %s", OTHER_VM, DISK)
    sync(yard)
    assert tags(yard, preview) == {"cvm": OTHER_VM if way == "moved" else VM}


def test_what_names_a_vm_and_was_replaced(yard: Yard, engine: EngineDatabase) -> None:
    """A preview that died before it took the name off has left a disk in its VM twice: the audit
    tells, and it goes, with the policy; but for what a host has."""
    policy_yard.set_properties(engine, VM, sp_vc_policy="daily")
    sync(yard)
    snapshot = yard.verb("snapshot", DISK)
    lost = Fault("reset_before", query="VolumeUpdate", times=MANY_TIMES)
    preview = yard.verb("preview", snapshot, fault=lost)
    policy_yard.set_properties(engine, VM, sp_vc_policy="hourly")
    [told] = [each for each in policy_yard.findings(yard) if each.uuid == DISK]
    assert (told.kind, told.severity) == ("policy drift", "warning")
    yard.hold(yard.address(DISK))
    for target in (None, DISK):
        sync(yard, target)
        assert tags(yard, DISK)["cvm"] == VM
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(DISK), "detach": "all"}]})
    with yard.administrator("policy-sync") as work:
        plan = policy_sync.plan(work, None)
        assert "names VM" in "".join(policy_sync.told(plan.groups[0]))
        assert policy_sync.summary(plan, 0, True).startswith("1 of 3 disks would change")
        said: list[str] = []
        dry_run.played(work, said.append, partial(policy_sync.mend, plan.groups[0]))
        assert [each for each in said if "VolumeUpdate" in each and '"cvm": ""' in each], said
        assert tags(yard, DISK)["cvm"] == VM
    sync(yard)
    assert tags(yard, DISK) == {}
    assert (tags(yard, preview)["cvm"], tags(yard, preview)["vc-policy"]) == (VM, "hourly")
    assert policy_yard.findings(yard) == []


def test_what_was_replaced_is_cleared_wherever_it_dies(yard: Yard, engine: EngineDatabase) -> None:
    """T72: killed before each request and statement: what the VM writes keeps its name and policy,
    the volume that was replaced has both or none, and the next sync ends it."""
    policy_yard.set_properties(engine, VM, sp_vc_policy="daily")
    sync(yard)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    named = tags(yard, preview)
    assert named == {"cvm": VM, "vc-policy": "daily", names.TAG_MARK: "-p"}
    steps = itertools.count()
    while True:
        tag(yard, DISK, **named)
        with yard.administrator("policy-sync") as work:
            [group] = policy_sync.plan(work, None).groups
            assert [each.node.uuid for each in group.left] == [DISK]
            at = next(steps)
            with contextlib.suppress(Death), trash_yard.dying(at):
                policy_sync.mend(group, work)
                break
        assert tags(yard, preview) == named
        assert tags(yard, DISK) in ({}, named)
        sync(yard)
        assert (tags(yard, DISK), tags(yard, preview)) == ({}, named)
        assert findings(yard) == []
        assert not yard.see().pending
    assert at > 8
