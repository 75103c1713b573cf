"""The life of VMs with several disks in one cluster, and what Engine knows of their snapshots: the
steps that the machine of test_vms_stateful.py is made of.

The model knows what Engine was told and what guests wrote, and nothing of groups: whatever the
product does, the snapshots of one action have to have what was written at one moment of it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import vm_ground
from hypothesis import note
from vm_ground import Action

from rigs import kept_tags, shared_stage
from rigs.disk_rig import Death, Fault
from rigs.yard import Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import disks, holds, operations

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

GIB = shared_stage.GIB
READER = 3  # the host on which snapshots are read
MOST_DISKS = 4
# A client's own id for all that it does, and one that no group can have for its key
CONSTANT, ODD = "c0000000-0000-4000-8000-00000000000c", "nightly-backup"
# What a fault of a verb allows: that it fails, with one clear error
GIVEN_UP = ("refuse", "error_200", "death", "lost", "part", "undelivered", "busy")
HASTY_SECONDS = 1  # of a verb that waits for a lock that nobody gives back


@dataclass
class Guest:
    """A VM: its tag, its host, and its volumes; those that are not `plugged` no host has."""

    tag: str
    client: int
    volumes: list[str] = field(default_factory=list)
    plugged: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in a verb of an action: the one in this `turn`."""

    turn: int
    fault: Fault

    @property
    def may_fail(self) -> bool:
        """Whether the verb may give up."""
        return self.fault.kind in GIVEN_UP


class VmLife:
    """Two VMs, Engine and an administrator; `database` and `folders` are set by the test."""

    database: Database
    folders: itertools.count[int]
    folder: Path

    def __init__(self) -> None:
        super().__init__()  # of the machine
        self.guests: list[Guest] = []
        self.told: dict[str, int] = {}  # what each snapshot has that Engine knows
        self.shared: set[str] = set()
        self.roots: dict[str, str] = {}
        self.replaced: dict[str, str] = {}
        self.turn = 0
        self.ids = random.Random(0)
        self.is_fresh = True  # nothing of the constant id's last action is left to be claimed
        self.is_sound = False
        self.rig: Yard | None = None

    # Steps that rules share

    def open(self, switches: dict[str, str], clients: Sequence[int]) -> None:
        """Begin with two VMs of two disks."""
        folder = self.folder / str(next(self.folders))
        folder.mkdir()
        self.rig = Yard(folder, self.database, **switches)
        self.rig.given(**kept_tags.DOMAIN)
        for number, client in enumerate(clients):
            self.guests.append(Guest(f"a{number}000000-0000-4000-8000-0000000000aa", client))
            for _ in range(2):
                self.plug(self.guests[-1], self.make())

    def new_id(self) -> str:
        """Return an id that is the same when the same life is lived again."""
        return str(uuid.UUID(int=self.ids.getrandbits(128), version=4))

    def make(self) -> str:
        """Make a disk."""
        disk = vm_ground.made(self.yard, self.new_id())
        self.roots[disk] = disk
        return disk

    def plug(self, guest: Guest, volume: str) -> None:
        """Give a VM a volume, as the hooks do."""
        vm_ground.plug(self.yard, volume, guest.client)
        vm_ground.tag(self.yard, volume, "" if volume in self.shared else guest.tag)
        if volume not in guest.volumes:
            guest.volumes.append(volume)
        guest.plugged.add(volume)

    def unplug(self, guest: Guest, volume: str, *, hook: bool) -> None:
        """Take a volume from its VM's host; without the hook its tag stays."""
        vm_ground.unplug(self.yard, volume, guest.client)
        if hook:
            vm_ground.tag(self.yard, volume, "")
        guest.plugged.discard(volume)

    @contextlib.contextmanager
    def stopped(self, volume: str) -> Iterator[Guest]:
        """Stop the VM that has a volume, and start it again; tags stay meanwhile."""
        [guest] = [each for each in self.guests if volume in each.volumes]
        plugged = [each in guest.plugged for each in guest.volumes]
        for each in sorted(guest.plugged):
            self.unplug(guest, each, hook=False)
        yield guest
        for each, is_plugged in zip([*guest.volumes], plugged):
            if is_plugged:
                self.plug(guest, each)

    def replace_by_preview(self, snapshot: str) -> None:
        """Put a preview in the place of the volume that its disk has now."""
        root = self.yard.see().rows[snapshot].root
        every = [each for guest in self.guests for each in guest.volumes]
        [volume] = [each for each in every if self.roots[each] == root]
        if volume in self.replaced or volume in self.shared:
            return
        with self.stopped(volume) as guest:
            made = self.yard.verb("preview", snapshot)
            self.roots[made], self.replaced[made] = root, volume
            guest.volumes[guest.volumes.index(volume)] = made

    def undo_preview(self, volume: str) -> None:
        """Put the volume back in whose place a preview is."""
        self.shared.discard(volume)
        with self.stopped(volume) as guest:
            self.yard.verb("delete", volume)
            guest.volumes[guest.volumes.index(volume)] = self.replaced.pop(volume)

    def delete_disk(self, guest: Guest, volume: str) -> None:
        """Delete a disk with all that it has."""
        if volume in guest.plugged:
            self.unplug(guest, volume, hook=True)
        guest.volumes.remove(volume)
        root = self.roots[volume]
        rows = self.yard.see().rows
        self.told = {uuid: turn for uuid, turn in self.told.items() if rows[uuid].root != root}
        self.replaced.pop(volume, None)
        self.yard.verb("delete", root)

    def grow(self, volume: str, size_bytes: int, death: int) -> None:
        """Grow a disk, or die while at it; what would make it smaller is refused."""
        self.log("extend", volume, size_bytes, death)
        fault = Fault("death", lines=death) if death else None
        with contextlib.suppress(errors.Conflict, *([Death] if death else [])):
            self.yard.verb("extend", volume, size_bytes, fault=fault)

    def mark_shared(self, guest: Guest, volume: str) -> None:
        """Make a disk shareable; or one VM's, where it was that."""
        self.shared ^= {volume}
        is_shared = volume in self.shared
        vm_ground.tag(self.yard, volume, "" if is_shared else guest.tag, shared=is_shared)

    def let_a_minute_pass(self) -> None:
        """Let all that is known of actions be a minute older."""
        vm_ground.age(self.yard, vm_ground.A_MINUTE)
        self.yard.age(vm_ground.A_MINUTE)

    def put_right(self) -> None:
        """Reconcile, when no action goes on any more, and find nothing but what Engine knows, and
        all in agreement."""
        self.let_a_minute_pass()
        self.is_fresh = True
        self.yard.reconcile()
        self.check_nothing_else()
        wrong = vm_ground.disagreements(self.yard.see())
        assert not wrong, wrong

    def end_well(self) -> None:
        """Snapshot both VMs once more, reconcile, delete everything, and find nothing."""
        for guest in self.guests:
            for volume in guest.volumes:
                if volume not in guest.plugged:
                    self.plug(guest, volume)
            self.let_a_minute_pass()
            self.act([guest.volumes], self.new_id(), None)
            self.check_left(guest)
        self.put_right()
        for root in sorted({*self.roots.values()}):
            self.yard.verb("delete", root)
        seen = self.yard.see()
        assert (seen.rows, seen.things) == ({}, {})

    def grouped(self, guest: Guest) -> list[str]:
        """The volumes of a VM whose snapshots have to be of one moment."""
        return [each for each in guest.volumes if each in guest.plugged - self.shared]

    def together(self) -> list[str]:
        """The same of all VMs."""
        return [volume for guest in self.guests for volume in self.grouped(guest)]

    def write(self) -> None:
        """All guests write to all of their disks, one after the other, which turn it is."""
        self.turn += 1
        for guest in self.guests:
            for volume in sorted(guest.plugged):
                with self.device(guest.client, volume).open("r+b") as device:
                    device.write(self.turn.to_bytes(vm_ground.TURN_BYTES, "big"))

    def device(self, client: int, uuid: str) -> Path:
        """The device of a volume or a snapshot on a host."""
        return self.yard.device(client, self.yard.global_id(uuid))

    def read(self, snapshot: str) -> int:
        """Return which turn it was when a snapshot was made."""
        address = f"ovirt--{snapshot}"
        item: dict[str, Any] = {"snapshot": address, "ro": [READER]}
        self.yard.ask("VolumesReassignWait", {"reassign": [item]})
        with self.device(READER, snapshot).open("rb") as device:
            found = int.from_bytes(device.read(vm_ground.TURN_BYTES), "big")
        item = {"snapshot": address, "detach": [READER], "force": False}
        self.yard.ask("VolumesReassignWait", {"reassign": [item]})
        return found

    # A snapshot of a VM

    def asked(self, guest: Guest, number: int, unticked: int = 0) -> list[str]:
        """The volumes of a VM in one of the orders in which Engine may ask, without the first
        ones."""
        orders = [*itertools.permutations(guest.volumes)]
        order = [*orders[number % len(orders)]]
        return order[min(unticked, len(order) - 1) :]

    def act(
        self, orders: Sequence[Sequence[str]], correlation_id: str, trouble: Trouble | None
    ) -> None:
        """Snapshot these volumes of one VM, or of several one after the other, as Engine does."""
        began = self.turn
        self.log("snapshot", correlation_id, orders, trouble)
        for order in orders:
            action = Action(correlation_id)
            known = vm_ground.traces(self.yard, correlation_id)
            for volume in order:
                self.write()
                self.ask(action, volume, trouble, known)
                trouble = trouble and Trouble(trouble.turn - 1, trouble.fault)
            self.judge(action, began)

    def ask(
        self, action: Action, volume: str, trouble: Trouble | None, known: set[tuple[str, int]]
    ) -> None:
        """Ask for one snapshot; `known` are the traces of this key that were there before."""
        troubled = trouble is not None and trouble.turn == 0
        failed = None in action.answers.values()
        try:
            action.answers[volume] = self.run(
                volume, action, trouble.fault if trouble is not None and troubled else None
            )
        except (errors.Error, Death) as error:
            self.log("  failed:", repr(error))
            may_fail = trouble is not None and trouble.turn <= 0 and trouble.may_fail
            if not may_fail:
                raise
            action.answers[volume] = None
            if not failed:
                new = vm_ground.traces(self.yard, action.correlation_id) - known
                action.was_written = bool(new) and volume in self.together()

    def run(self, volume: str, action: Action, fault: Fault | None) -> str:
        """Run one verb with a fault, or with a fault of the cluster's."""
        kind = fault.kind if fault is not None else ""
        given: dict[str, Any] = {"correlation_id": action.correlation_id}
        if kind == "undelivered":
            with self.yard.engine("snapshot", **given) as work:
                disks.snapshot(work, volume)
                work.mapping.journal.failed(operations.UNDELIVERED, "nobody read it")
            raise errors.NotDelivered("nobody read it")
        if fault is not None and kind in ("lost", "part"):
            with self.clusters_fault(fault):
                return str(self.yard.verb("snapshot", volume, **given))
        if fault is not None and kind == "busy":
            with self.held(fault.times):
                return str(self.yard.verb("snapshot", volume, seconds=HASTY_SECONDS, **given))
        return str(self.yard.verb("snapshot", volume, fault=fault, **given))

    @contextlib.contextmanager
    def clusters_fault(self, fault: Fault) -> Iterator[None]:
        """Have the group be lost for good, with or without an effect, or be made in part."""
        faults, query = self.yard.simulator.faults, "VolumesGroupSnapshot"
        if fault.kind == "part":
            faults.add("part", query=query, times=fault.lines or 1, changes=fault.times)
        if fault.query is not None:
            faults.add(fault.query, query=query, times=fault.lines or 1)
        try:
            yield
        finally:
            faults.clear()

    @contextlib.contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Hold one of the disks of all VMs against all verbs."""
        every = sorted(self.roots[each] for guest in self.guests for each in guest.volumes)
        disk = every[number % len(every)]
        self.yard.sql(f"SELECT pg_advisory_lock({holds.key('%s')})", disk)
        try:
            yield
        finally:
            self.yard.sql(f"SELECT pg_advisory_unlock({holds.key('%s')})", disk)

    def judge(self, action: Action, began: int) -> None:
        """Hold what Engine was told of an action against what it may expect."""
        together = self.together()
        alone = action.correlation_id == ODD
        found = vm_ground.wrong(self.yard.see(), action, [] if alone else together)
        assert not found, found
        turns = {
            volume: self.read(snapshot)
            for volume, snapshot in action.answers.items()
            if snapshot is not None
        }
        for volume, snapshot in action.answers.items():
            if snapshot is not None:
                assert snapshot not in self.told, "an id was answered twice"
                self.told[snapshot] = turns[volume]
        now = [turns[each] for each in together if each in turns]
        assert all(began < turn <= self.turn for turn in now), f"older than it: {turns}"
        assert alone or len({*now}) <= 1, f"not of one moment: {turns}"

    # What always holds

    def check_told(self) -> None:
        """What Engine knows is there, and has what it had; all objects have their tags (T79), and
        VolumeCare finds each disk once, in a VM with one policy."""
        kept_tags.check(self.yard)
        assert self.yard.beside().misled(self.yard.ask("VolumesList")) == []
        seen = self.yard.see()
        missing = vm_ground.gone(seen, self.told)
        assert not missing, f"told and gone: {missing}"
        reserved = vm_ground.unclaimed(self.yard) & self.told.keys()
        assert not reserved, f"told and still reserved: {reserved}"
        self.is_sound = True

    def check_left(self, guest: Guest) -> None:
        """A group of all of a VM's disks has removed what actions that are over left of them;
        a single disk's snapshot leaves that to the next one."""
        volumes = self.grouped(guest)
        if len(volumes) > 1:
            self.check_nothing_else(volumes)

    def check_nothing_else(self, volumes: Sequence[str] | None = None) -> None:
        """There is no snapshot that Engine does not know; of the disks of these volumes, if they
        are given."""
        roots = None if volumes is None else {self.roots[each] for each in volumes}
        seen = self.yard.see()
        there = {
            name.removeprefix("ovirt--")
            for name, thing in seen.things.items()
            if thing.kind == "snapshot"
        }
        left = {
            uuid
            for uuid in there - self.told.keys()
            if roots is None or uuid not in seen.rows or seen.rows[uuid].root in roots
        }
        assert not left, f"nobody knows {left}"

    @property
    def yard(self) -> Yard:
        """The rig of this life."""
        assert self.rig is not None
        return self.rig

    def log(self, *words: object) -> None:
        """Tell the step; and until all is seen to be well after it, it may not be."""
        self.is_sound = False
        note(" ".join(str(word) for word in words if word is not None))
