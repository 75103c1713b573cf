"""The custom properties of a VM from Vdsm's environment, through the hook, the real sudo and root's
door, to its disks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ovirt_demo import hooks
from rigs.door_stage import DoorStage, Volume
from rigs.shared_stage import new_id
from storpool_ovirt.host import domain_xml, vm_request
from storpool_ovirt.policy import properties, values

if TYPE_CHECKING:
    from collections.abc import Mapping

# Keys of storpool.conf, what is for other programs, and what Vdsm says itself.
OTHERS = {
    "SP_API_HTTP_HOST": "192.0.2.1",
    "SP_API_HTTP_PORT": "1",
    "SP_AUTH_TOKEN": "9" * 19,
    "SP_OURID": "2",
    "SP_CLUSTER_ID": "z.z",
    "SP_OVIRT_VM_TAG": "theirs",
    "SP_OVIRT_QOS_CLASSES": "none.of.them",
    "SP_OVIRT_QOS_CLASS": "theirs",
    "SP_OVIRT_VC_POLICY": "theirs",
    "SP_OVIRT_TAGS": "theirs=1",
    "SP_OVIRT_IOPS": "1",
    "SP_OVIRT_BW": "1",
    "SP_OVIRT_MULTICLUSTER": "yes",
    "SP_OVIRT_TRANSPORT": "binding",
    "ENGINE_LOG": "/nowhere",
    "sp_tags": "theirs=1",
    "SP_QOS": "theirs",
    "sp_qos ": "theirs",
    "qc": "theirs",
    "vc-policy": "theirs",
    "sp_template": "theirs",
    "_hook_json": "/etc/shadow",
    "_hook_domxml": "/etc/shadow",
}


def bronze(doors: DoorStage) -> Volume:
    """A disk with a class of its own, on this host."""
    volume = Volume(doors.cluster, [1])
    given_tags = {**volume.tags, "qc": "bronze"}
    doors.cluster.api(f"VolumeUpdate/{volume.name}", {"tags": given_tags})
    return volume


def tags(doors: DoorStage, volume: Volume) -> dict[str, str]:
    """Return what a volume says now."""
    [found] = [each for each in doors.cluster.api("VolumesList") if each["name"] == volume.name]
    return {key: value for key, value in found["tags"].items() if value}


def policy(doors: DoorStage, *volumes: Volume) -> list[tuple[str, str]]:
    """Return class and policy of each."""
    found = [tags(doors, each) for each in volumes]
    return [(each.get("qc", ""), each.get("vc-policy", "")) for each in found]


def started(doors: DoorStage, *volumes: Volume, **variables: str) -> list[str]:
    """Have the hook do its work; return what it asked StorPool, in order."""
    doors.cluster.clear_calls()
    done = doors.start(*volumes, **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return [call["query"].partition("/")[0] for call in doors.cluster.calls()]


def test_what_a_vm_says_comes_to_its_disks_by_root(doors: DoorStage) -> None:
    """T78: all disks, and one otherwise; said again it is no call more than nothing said; what
    makes no sense starts the VM, sets and clears nothing, and is told; an unplug gives back what
    the disk has of its own."""
    vm, one, two = new_id(), bronze(doors), bronze(doors)
    nothing = started(doors, one, two, vmId=vm)
    nothing = started(doors, one, two, vmId=vm)
    assert "VolumeUpdate" not in nothing
    said = {"sp_qos": f"gold,{two.id}:silver", "sp_vc_policy": "daily"}
    assert started(doors, one, two, vmId=vm, **said).count("VolumeUpdate") == 2
    assert policy(doors, one, two) == [("gold", "daily"), ("silver", "daily")]
    assert started(doors, one, two, vmId=vm, **said) == nothing
    assert not any("by=itself" in line for line in doors.lines(doors.log))
    doors.lines(doors.door_log)
    assert started(doors, one, two, vmId=vm, **{**said, "sp_qos": "gold,web01:x"}) == nothing
    [told] = [line for line in doors.lines(doors.door_log) if "property_unusable" in line]
    assert told.startswith("property_unusable property=sp_qos ")
    assert policy(doors, one, two) == [("gold", "daily"), ("silver", "daily")]
    started(doors, two, vmId=vm, point="after_disk_hotunplug", **said)
    assert policy(doors, one, two) == [("gold", "daily"), ("bronze", "")]
    started(doors, two, vmId=vm, point="before_disk_hotplug", **said)
    assert policy(doors, one, two) == [("gold", "daily"), ("silver", "daily")]


def test_what_was_said_of_a_vm_stays_at_a_plug(doors: DoorStage) -> None:
    """The adapter has written it, and not whose it is: the disk names its VM then, whose property
    is weaker, and an unplug gives back what the disk has of its own."""
    vm, volume = new_id(), Volume(doors.cluster, [1])
    given_tags = {**volume.tags, "vc-policy": "daily", "virtp": "-vweekly"}
    doors.cluster.api(f"VolumeUpdate/{volume.name}", {"tags": given_tags})
    said = {"vmId": vm, "sp_vc_policy": "hourly"}
    calls = started(doors, volume, point="before_disk_hotplug", **said)
    assert calls.count("VolumeUpdate") == 1
    assert tags(doors, volume) == {**given_tags, "cvm": vm}
    started(doors, volume, point="after_disk_hotunplug", **said)
    assert tags(doors, volume) == {**volume.tags, "vc-policy": "weekly"}


@pytest.mark.parametrize("way", ["root", "itself"])
def test_no_other_property_is_followed(doors: DoorStage, way: str) -> None:
    """Whatever an administrator lets VMs have, also by the names of our settings: the same is asked
    of the same StorPool, and the disk says the same."""
    if way == "itself":
        doors.forbid()
        doors.conf.chmod(0o644)
    vm, volume = new_id(), bronze(doors)
    started(doors, volume, vmId=vm, sp_qos="gold")
    before, alone = tags(doors, volume), started(doors, volume, vmId=vm, sp_qos="gold")
    assert doors.lines(doors.log)[-1 if way == "root" else -2].startswith(f"way by={way}")
    assert started(doors, volume, vmId=vm, sp_qos="gold", **OTHERS) == alone
    assert tags(doors, volume) == before
    assert policy(doors, volume) == [("gold", "")]


HOSTILE = [
    ("gold\nsilver", '"},"point":"before_vm_migrate_source","x":{"y":"'),
    ("\udcff\udcfe", "\u2028\x1b[0m\x7f"),
    ("$(touch /ran);`id`,$IFS", "g" * 100_000),
]


def test_hostile_words_start_the_vm(doors: DoorStage) -> None:
    """T78: they come to root as one that makes no sense, and to the log as a word that can be
    read."""
    vm, volume = new_id(), bronze(doors)
    started(doors, volume, vmId=vm)
    doors.lines(doors.door_log)
    for qos, vc in HOSTILE:
        assert "VolumeUpdate" not in started(doors, volume, vmId=vm, sp_qos=qos, sp_vc_policy=vc)
        lines = doors.lines(doors.door_log)
        assert [line.startswith("property_unusable ") for line in lines].count(True) == 2
        assert all(line.isprintable() and len(line) < 1000 for line in lines)
    assert policy(doors, volume) == [("bronze", "")]


words = some.text(max_size=40) | some.lists(
    some.sampled_from(["gold", "none", ",", ";", ":", " ", new_id(), "\n", '"', "\\", "x" * 9000]),
    max_size=6,
).map("".join)
names_of_others = some.sampled_from(sorted(OTHERS)) | some.text(min_size=1, max_size=12)
ID, DISK = new_id(), domain_xml.Disk("/dev/storpool-byid/a.b.c", new_id(), False)


@settings(max_examples=150)
@given(
    some.dictionaries(some.sampled_from(vm_request.PROPERTIES), words, max_size=2),
    some.dictionaries(names_of_others, words, max_size=4),
)
def test_a_request_is_of_its_vm_whatever_that_says(
    ours: Mapping[str, str], others: Mapping[str, str]
) -> None:
    """Point, VM and disks are Vdsm's, other variables are nowhere in it, and each of ours is read
    as what it says, or as one that makes no sense; a value that is followed is one of StorPool's
    tags."""
    others = {key: said for key, said in others.items() if key not in vm_request.PROPERTIES}
    found = vm_request.properties({**others, **ours})
    request = vm_request.Request(hooks.BEFORE_VM_START, ID, [("a.b.c", DISK)], found)
    line = vm_request.write(request)
    assert vm_request.read(line, [hooks.BEFORE_VM_START]) == request
    assert (line.count(b"\n"), line.isascii()) == (1, True)
    assert set(json.loads(line)) <= {"disks", "point", "properties", "vm"}
    for field, name in properties.NAME.items():
        read, fault = properties.read(field, found.get(name))
        told = ours.get(name, "")
        assert (read is None) == bool(fault)
        if fault:
            continue
        assert (read, "") == properties.read(field, told)
        said = [read.every, *(value for _, value in read.disks)] if read else []
        for value in filter(None, said):
            assert values.given(field, value) == value
            assert value in told
