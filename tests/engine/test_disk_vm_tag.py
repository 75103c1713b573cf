"""vm_tag.py: the tag that names a disk's VM goes with the disk's active volume, over starts, plugs,
unplugs, previews, their undo, and moves from host to host."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from rigs import kept_tags
from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import config, names
from storpool_ovirt.cluster import api, attachments, vm_tags
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import domain_xml, plug, takeover, unplug, vm_policy
from storpool_ovirt.log import Log

VMS = ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002")
VM, OTHER = VMS
THIRD = "cccccccc-0000-4000-8000-000000000003"
KEY = names.TAG_VM


class Host:
    """A host of the yard, with the hooks' work in this process."""

    def __init__(self, yard: Yard, client_id: int) -> None:
        self.yard, self.client_id = yard, client_id
        root = yard.root(client_id)
        deadline = Deadline(40, yard.clock)
        self.client = api.Client(config.host(root).api, deadline, yard.clock.sleep, lambda: 0.5)
        self.client.be_current()
        log = Log("test", str(yard.folder / "hooks.log"))
        self.side = attachments.HostSide(client_id, root, deadline, log, yard.clock.sleep)

    def start(self, vm: str, *volumes: str) -> None:
        """Attach these, and start a VM with them."""
        disks = [self._attached(each) for each in volumes]
        wished = vm_policy.Wish(vm_tags.Tag(KEY, vm))
        takeover.take(self.client, self.side, disks, "os", wished)

    def plug(self, vm: str, volume: str) -> None:
        """Attach it, and plug it into a VM."""
        wished = vm_policy.Wish(vm_tags.Tag(KEY, vm))
        plug.take(self.client, self.side, [self._attached(volume)], "os", wished)

    def unplug(self, vm: str, volume: str) -> None:
        """Unplug it from a VM, and detach it."""
        disks = [self._disk(self.yard.verb("connection", volume)["data"])]
        unplug.untag(self.client, self.side, disks, "os", vm_tags.Tag(KEY, vm))
        self.stop(volume)

    def stop(self, *volumes: str) -> None:
        """Detach these."""
        for each in volumes:
            self.yard.detach(self.client_id, self.yard.verb("connection", each)["data"])

    def _attached(self, volume: str) -> tuple[str, domain_xml.Disk]:
        data = self.yard.verb("connection", volume)["data"]
        self.yard.attach(self.client_id, data)
        return self._disk(data)

    def _disk(self, data: dict[str, str]) -> tuple[str, domain_xml.Disk]:
        path = names.device_path(data["global_id"])
        return data["global_id"], domain_xml.Disk(path, data["volume"])


def tagged(yard: Yard) -> dict[str, str]:
    """Return the VMs that volumes name, by oVirt's id of the volume."""
    found = {name[7:]: names.vm_of(each.tags, KEY) for name, each in yard.see().things.items()}
    return {uuid: vm for uuid, vm in found.items() if vm}


def check(yard: Yard) -> None:
    """No disk is in a VM twice, each object is still its disk's, and all of it fits."""
    seen = yard.see()
    members = Counter()
    for name, each in seen.things.items():
        row = seen.rows.get(name[7:])
        length = len(name) + sum(len(key) + len(value) for key, value in each.tags.items())
        assert length <= 199, (name, length)
        root = names.root_of(each.tags) or name[7:]
        assert row is None or row.root == root
        if vm := names.vm_of(each.tags, KEY):
            members[vm, root] += 1
    assert not [each for each, count in members.items() if count > 1], members


def test_a_preview_takes_the_tag_over_and_its_undo_gives_it_back(yard: Yard) -> None:
    """T78: first it is taken away, then written, so at no moment a disk is in the VM twice."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    host = Host(yard, 1)
    host.start(VM, DISK)
    host.stop(DISK)
    yard.simulator.calls.clear()
    volume = yard.verb("preview", snapshot)
    bodies = [each.body for each in yard.simulator.calls.list() if "VolumeUpdate" in each.path]
    assert [body["tags"].get(KEY, "") for body in bodies] == ["", VM]
    assert tagged(yard) == {volume: VM}
    second = yard.verb("preview", snapshot)
    assert tagged(yard) == {second: VM}
    yard.verb("delete", second)
    assert tagged(yard) == {volume: VM}
    yard.verb("delete", volume)
    assert tagged(yard) == {DISK: VM}
    check(yard)


def test_a_disk_that_names_no_vm_costs_nothing(yard: Yard) -> None:
    """It is asked once, as it may have a class too, and not written."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.queries()
    volume = yard.verb("preview", snapshot)
    first = yard.queries()
    assert not [each for each in first if "Update" in each]
    yard.verb("delete", volume)
    yard.verb("connection", DISK)
    yard.queries()
    yard.verb("preview", snapshot)
    second = yard.queries()
    assert len(second) == len(first)
    assert not [each for each in second if "Update" in each]


@pytest.mark.parametrize("verb", ["preview", "undo"])
def test_killed_in_between(yard: Yard, verb: str) -> None:
    """T71, T78: between the two steps no volume of the disk names the VM, and the VM's next start
    writes what is missing."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    host = Host(yard, 1)
    host.start(VM, DISK)
    host.stop(DISK)
    argument = snapshot
    if verb == "undo":
        argument = yard.verb("preview", snapshot)
    yard.die_when(lambda: not tagged(yard), "preview" if verb == "preview" else "delete", argument)
    assert tagged(yard) == {}
    yard.verb("snapshot", DISK)
    active = yard.active()
    assert active is not None
    Host(yard, 1).start(VM, active)
    assert tagged(yard) == {active: VM}
    check(yard)


@pytest.mark.parametrize("kind", ["error_200", "reset_before", "reset_after"])
@pytest.mark.parametrize("verb", ["preview", "undo"])
def test_a_tag_that_cannot_be_written_fails_no_verb(yard: Yard, verb: str, kind: str) -> None:
    """T78: the verb has done its work, and says so; no disk is in the VM twice."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    host = Host(yard, 1)
    host.start(VM, DISK)
    host.stop(DISK)
    fault = Fault(kind, "VolumeUpdate", times=1000)
    if verb == "preview":
        yard.verb("preview", snapshot, fault=fault)
    else:
        yard.verb("delete", yard.verb("preview", snapshot), fault=fault)
    check(yard)
    active = str(yard.active())
    Host(yard, 2).start(VM, active)
    assert tagged(yard)[active] == VM


def test_an_unplug_leaves_what_is_anothers(yard: Yard) -> None:
    """T78: the tag goes where it is this VM's, and where this host has the volume, and no other
    one: that of a VM that is down nobody has, and what it says is no matter of an unplug."""
    for disk in (DISK, CLONE):
        yard.verb("create", disk, GIB)
    one, two = Host(yard, 1), Host(yard, 2)
    one.start(VM, DISK)
    one.plug(VM, CLONE)
    assert tagged(yard) == {DISK: VM, CLONE: VM}
    one.unplug(OTHER, CLONE)
    assert tagged(yard) == {DISK: VM, CLONE: VM}
    two.start(VM, CLONE)
    yard.attach(1, yard.verb("connection", CLONE)["data"])
    one.unplug(VM, CLONE)
    assert tagged(yard) == {DISK: VM, CLONE: VM}
    two.unplug(VM, CLONE)
    assert tagged(yard) == {DISK: VM}
    one.stop(DISK)
    disks = [two._disk(yard.verb("connection", DISK)["data"])]
    unplug.untag(two.client, two.side, disks, "os", vm_tags.Tag(KEY, VM))
    assert tagged(yard) == {DISK: VM}


def test_both_forms_of_a_disks_id_side_by_side(yard: Yard) -> None:
    """T76, T78: an object whose disk is written short is as much its disk's as one with the long
    form: for verbs, audit and rebuild."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    volume = yard.verb("preview", snapshot)
    Host(yard, 1).start(VM, volume)
    Host(yard, 1).stop(volume)
    things = yard.see().things
    short, long = (things[f"ovirt--{each}"].tags[names.TAG_ROOT] for each in (volume, snapshot))
    assert len(short) == 22
    assert long == DISK
    assert yard.report().findings == ()
    later = yard.verb("snapshot", volume)
    yard.verb("extend", volume, 2 * GIB)
    rows = {uuid: (row.kind, row.root) for uuid, row in yard.see().rows.items()}
    yard.sql("DELETE FROM storpool_ovirt.node")
    yard.sql("DELETE FROM storpool_ovirt.operation")
    yard.rebuild(yard.location)
    assert {uuid: (row.kind, row.root) for uuid, row in yard.see().rows.items()} == rows
    assert yard.report().findings == ()
    yard.verb("remove", later)
    yard.verb("delete", DISK)
    assert yard.see().things == {}


class Life:
    """Two VMs, three disks that go from one to the other, and two hosts; each step is done where
    Engine would do it."""

    def __init__(self, yard: Yard, chance: random.Random) -> None:
        self.yard, self.chance = yard, chance
        self.owner: dict[str, str] = {}
        self.runs: dict[str, int] = {}
        self.snapshots: dict[str, list[str]] = {disk: [] for disk in (DISK, CLONE, THIRD)}
        self.before: dict[str, int] = dict.fromkeys(self.snapshots, 0)
        yard.given(**kept_tags.DOMAIN)
        for disk in self.snapshots:
            yard.verb("create", disk, GIB)

    def step(self) -> str:
        """Do something to a VM or a disk, if it may be done now; return what."""
        what = self.chance.choice(
            (self.turn, self.give, self.hot, self.snap, self.preview, self.look)
        )
        what(self.chance.choice(VMS), self.chance.choice([*self.snapshots]))
        return what.__name__

    def turn(self, vm: str, _disk: str) -> None:
        """Start it where it is down, else stop it."""
        own = [self.active(disk) for disk, each in self.owner.items() if each == vm]
        if vm in self.runs:
            Host(self.yard, self.runs.pop(vm)).stop(*own)
        elif own:
            self.runs[vm] = self.chance.choice((1, 2))
            Host(self.yard, self.runs[vm]).start(vm, *own)

    def give(self, vm: str, disk: str) -> None:
        """Give a disk that nobody uses to a VM that is down."""
        if vm not in self.runs and not self.is_used(disk):
            self.owner[disk] = vm

    def hot(self, vm: str, disk: str) -> None:
        """Plug it, or unplug it."""
        if vm not in self.runs:
            return
        host = Host(self.yard, self.runs[vm])
        if self.owner.get(disk) == vm:
            del self.owner[disk]
            host.unplug(vm, self.active(disk))
        elif not self.is_used(disk):
            self.owner[disk] = vm
            host.plug(vm, self.active(disk))

    def snap(self, _vm: str, disk: str) -> None:
        """Take a snapshot."""
        self.snapshots[disk].append(self.yard.verb("snapshot", self.active(disk)))

    def preview(self, _vm: str, disk: str) -> None:
        """Preview a snapshot of it, or undo that."""
        if self.is_used(disk) or not self.snapshots[disk]:
            return
        if self.before[disk] and self.chance.random() < 0.5:
            self.before[disk] -= 1
            self.yard.verb("delete", self.active(disk))
        else:
            self.before[disk] += 1
            self.yard.verb("preview", self.chance.choice(self.snapshots[disk]))

    def look(self, _vm: str, disk: str) -> None:
        """Have one of StorPool's services make a pass."""
        self.yard.beside().play([*self.snapshots].index(disk))

    def active(self, disk: str) -> str:
        """Return a disk's active volume."""
        return str(self.yard.active(disk))

    def is_used(self, disk: str) -> bool:
        """Return whether a VM that runs has it."""
        return self.owner.get(disk) in self.runs

    def used(self) -> dict[str, str]:
        """Return the VM of each volume that is in use."""
        return {self.active(disk): vm for disk, vm in self.owner.items() if vm in self.runs}


@pytest.mark.parametrize("seed", range(4))
def test_no_life_of_two_vms_has_a_disk_in_one_twice(yard: Yard, seed: int) -> None:
    """T5, T78: starts, stops, plugs, unplugs, snapshots, previews and their undo, on two hosts, of
    disks that go from VM to VM: each volume in use names its VM, no disk is in one twice, and
    VolumeCare finds no VM with several policies."""
    life = Life(yard, random.Random(seed))
    for _ in range(30):
        what = life.step()
        check(yard)
        kept_tags.check(yard)  # T79
        assert yard.beside().misled(yard.ask("VolumesList")) == [], what
        assert life.used().items() <= tagged(yard).items(), what
