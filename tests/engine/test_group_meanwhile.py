"""Snapshots of VMs while something else happens to one of the disks, in front of each request of
the verb that makes the group.

What happens is another verb, which may have to wait until that one has ended, or somebody at
StorPool's own command line.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Callable

import pytest
import vm_ground
from vm_ground import Action, Vm

from rigs import shared_stage
from storpool_ovirt import errors

if TYPE_CHECKING:
    from rigs.yard import Yard

GIB = shared_stage.GIB
POLL_SECONDS = 0.02
# Of somebody who waits for the lock of a disk
_WAITS = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LIMIT_SECONDS = 60.0

Happens = Callable[["Yard", str], object]


def _reverted(yard: Yard, disk: str) -> None:
    """Detached, reverted and attached again, by hand."""
    vm_ground.unplug(yard, disk, 1)
    yard.revert(f"ovirt--{disk}", f"ovirt--{_a_snapshot(yard, disk)}")
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": f"ovirt--{disk}", "rw": [1]}]})


def _a_snapshot(yard: Yard, disk: str) -> str:
    rows = yard.see().rows
    return next(uuid for uuid, row in rows.items() if (row.root, row.kind) == (disk, "snapshot"))


# What changes nothing of a member that matters to the group
HARMLESS: dict[str, Happens] = {
    "is grown": lambda yard, disk: yard.verb("extend", disk, 2 * GIB),
    "is described to a host": lambda yard, disk: yard.verb("connection", disk),
    "is cloned": lambda yard, disk: yard.verb("clone", disk, shared_stage.new_id()),
    "is snapshotted alone": lambda yard, disk: yard.verb("snapshot", disk),
    "loses an older snapshot": lambda yard, disk: yard.verb("remove", _a_snapshot(yard, disk)),
}
# What takes it from the VM, or gives the disk another volume
FATAL: dict[str, Happens] = {
    "is deleted": lambda yard, disk: yard.verb("delete", disk),
    "is previewed": lambda yard, disk: yard.verb("preview", _a_snapshot(yard, disk)),
    "is detached": lambda yard, disk: vm_ground.unplug(yard, disk, 1),
    "is untagged": lambda yard, disk: vm_ground.tag(yard, disk, ""),
    "is another VM's": lambda yard, disk: vm_ground.tag(yard, disk, shared_stage.new_id()),
    "is on two hosts": lambda yard, disk: yard.ask(
        "VolumesReassignWait", {"reassign": [{"volume": f"ovirt--{disk}", "rw": [2]}]}
    ),
    "is deleted by hand": lambda yard, disk: (
        vm_ground.unplug(yard, disk, 1),
        yard.ask(f"VolumeDelete/ovirt--{disk}", {}),
    ),
    "is reverted by hand": _reverted,
}


class Meanwhile:
    """Something that happens in front of the n-th request from now on."""

    def __init__(self, yard: Yard, request: int, happens: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self.has_begun = False
        self._left = request
        self._own: set[int] = set()
        self._happens = happens
        self._thread = threading.Thread(target=self._run)
        yard.simulator.calls.watch(self._reached)
        self._stop = lambda: yard.simulator.calls.watch(lambda _: None)
        self._watching = yard.connected()

    def end(self) -> None:
        """Wait until it is done."""
        self._stop()
        self._watching.close()
        if self.has_begun:
            self._thread.join(LIMIT_SECONDS)
            assert not self._thread.is_alive()

    def _reached(self, _call: object) -> None:
        self._left -= not self.has_begun
        if self._left == 0 and not self.has_begun:
            self.has_begun = True
            self._thread.start()
            self._wait()

    def _wait(self) -> None:
        """Have the verb wait until it is done, or waits for the verb itself."""
        end = time.monotonic() + LIMIT_SECONDS / 2
        with self._watching.cursor() as cursor:
            while self._thread.is_alive() and time.monotonic() < end:
                cursor.execute(_WAITS)
                if cursor.fetchall():
                    break
                self._thread.join(POLL_SECONDS)

    def _run(self) -> None:
        try:
            self._happens()
        except (errors.Error, AssertionError, StopIteration) as error:
            self.error = error


def disturbed(yard: Yard, happens: Happens, request: int) -> tuple[Vm, Action, Meanwhile]:
    """Snapshot a VM of three disks, to the second of which that happens in front of a request of
    the first verb: also when that disk has been looked at, and its lock is not yet held."""
    for each in {each["volume"] for each in yard.ask("AttachmentsList") if each["client"] == 1}:
        item = {"volume": each, "detach": [1]}
        yard.ask("VolumesReassignWait", {"reassign": [item]})  # so that no others are looked at
    first, *others = (shared_stage.new_id() for _ in range(3))
    vm = vm_ground.running(yard, disks=(first, *sorted(others)))
    vm_ground.act(yard, vm.disks)
    action = Action(shared_stage.new_id())
    meanwhile = Meanwhile(yard, request, lambda: happens(yard, vm.disks[1]))
    try:
        vm_ground.ask(yard, action, vm.disks[0])
    finally:
        meanwhile.end()
    for disk in (vm.disks[2], vm.disks[1]):
        vm_ground.ask(yard, action, disk)
    return vm, action, meanwhile


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_no_business_of_the_group(yard: Yard, what: str) -> None:
    """T78, T19: whatever the other verb waits for, both succeed, and the snapshot is whole."""
    for request in range(1, MOST_REQUESTS):
        _, action, meanwhile = disturbed(yard, HARMLESS[what], request)
        assert meanwhile.error is None, request
        assert action.is_whole, request
        assert vm_ground.wrong(yard.see(), action) == [], request
        assert vm_ground.disagreements(yard.see()) == [], request
        if not meanwhile.has_begun:
            break
    assert not meanwhile.has_begun, "it has more requests than this test knows of"
    assert request > 3


@pytest.mark.parametrize("what", FATAL)
def test_a_member_that_is_lost_in_the_middle(yard: Yard, what: str) -> None:
    """T78: what is told of the other disks is of one moment, or all of it fails; nothing stays that
    nobody was told of, and the next snapshot of what is left is whole."""
    for request in range(1, MOST_REQUESTS):
        vm, action, meanwhile = disturbed(yard, FATAL[what], request)
        others = [vm.disks[0], vm.disks[2]]
        answers = [action.answers[each] for each in others]
        assert None not in answers or answers == [None, None], (request, answers)
        seen = yard.see()
        told = [each for each in answers if each is not None]
        assert vm_ground.gone(seen, told) == [], request
        marks = {seen.things[f"ovirt--{each}"].tags.get("ovirt-moment") for each in told}
        assert len(marks) <= 1, (request, marks)
        assert told == [] or None not in marks, request
        again = vm_ground.act(yard, others)
        assert again.is_whole, request
        assert vm_ground.wrong(yard.see(), again) == [], request
        left = {
            uuid
            for uuid, row in yard.see().rows.items()
            if row.root in others and row.kind == "snapshot"
        }
        assert vm_ground.unclaimed(yard) & left == set(), request
        if not meanwhile.has_begun:
            break
    assert not meanwhile.has_begun, "it has more requests than this test knows of"
    assert request > 3


def test_two_verbs_of_one_action_at_once(yard: Yard) -> None:
    """T78: Engine gave one up that still works, and asks for the next disk: there is one group, and
    each verb has its part of it, whoever comes first to hold all disks."""
    for request in range(1, MOST_REQUESTS):
        second, first = sorted(shared_stage.new_id() for _ in range(2))
        vm = vm_ground.running(yard, disks=(first, second), client=1 + request % 2)
        action = Action(shared_stage.new_id())
        yard.queries()
        meanwhile = Meanwhile(yard, request, functools.partial(vm_ground.ask, yard, action, second))
        try:
            vm_ground.ask(yard, action, first)
        finally:
            meanwhile.end()
        assert vm_ground.wrong(yard.see(), action) == [], request
        assert action.is_whole, request
        groups = [each for each in yard.queries() if each.endswith(" VolumesGroupSnapshot")]
        assert len(groups) == 1, (request, groups)
        for disk in vm.disks:
            vm_ground.unplug(yard, disk, vm.client)
        if not meanwhile.has_begun:
            break
    assert not meanwhile.has_begun, "it has more requests than this test knows of"
    assert request > 3


MOST_REQUESTS = 25
