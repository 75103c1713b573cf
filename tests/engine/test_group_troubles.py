"""Snapshots of VMs in trouble: StorPool makes no group or a part of one, a disk is busy, an answer
is read by nobody, a correlation id comes again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import vm_ground
from vm_ground import Action

from rigs import shared_stage
from rigs.yard import MANY_TIMES
from storpool_ovirt import errors
from storpool_ovirt.engine import disks, holds, operations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rigs.yard import Yard

GROUP = "VolumesGroupSnapshot"
HASTY_SECONDS = 1  # of a verb that waits for what nobody gives back

# What StorPool may say to the group; a name in capitals is a kind of fault, the others are errors
REFUSALS = (
    "invalidParam",
    "objectDoesNotExist",
    "objectExists",
    "insufficientResources",
    "busy",
    "preconditionViolation",
    "notPermitted",
    "internalError",
    "unheardOf",
)
# What takes effect or not, and is never answered with sense
LOST = ("reset_before", "reset_after", "bad_gateway", "transient")


def check_failed_as_a_whole(yard: Yard, volumes: Sequence[str], action: Action) -> None:
    """Check that every verb failed, that it costs the VM's next snapshot nothing, and that nothing
    is left then."""
    assert action.told == []
    again = vm_ground.act(yard, volumes)
    assert again.is_whole
    assert vm_ground.wrong(yard.see(), again) == []
    assert vm_ground.unsettled(yard, again) == []


def check_whole(yard: Yard, *actions: Action) -> None:
    """Check that every verb succeeded, each action's at one moment, and that there is no more."""
    for action in actions:
        assert action.is_whole
        assert vm_ground.wrong(yard.see(), action) == []
    assert vm_ground.unsettled(yard, *actions) == []


@pytest.mark.parametrize("name", REFUSALS)
def test_a_group_that_storpool_refuses_fails_every_verb(yard: Yard, name: str) -> None:
    """T78: whatever the error is called: no verb of the action succeeds, so that Engine takes all
    back."""
    vm = vm_ground.running(yard)
    with yard.trouble("error_200", query=GROUP, name=name):
        action = vm_ground.act(yard, vm.disks)
    check_failed_as_a_whole(yard, vm.disks, action)


@pytest.mark.parametrize("kind", LOST)
def test_a_group_without_an_answer_fails_every_verb(yard: Yard, kind: str) -> None:
    """T78, T87: lost again and again, made or not: what may have been made is removed."""
    vm = vm_ground.running(yard)
    with yard.trouble(kind, query=GROUP, times=MANY_TIMES), _unseen(yard):
        action = Action(shared_stage.new_id())
        vm_ground.ask(yard, action, vm.disks[0])
    for disk in vm.disks[1:]:
        vm_ground.ask(yard, action, disk)
    check_failed_as_a_whole(yard, vm.disks, action)


@contextlib.contextmanager
def _unseen(yard: Yard) -> Iterator[None]:
    """Let nobody look for what an unanswered group has made."""
    yard.simulator.faults.add("reset_before", query="Snapshot", times=MANY_TIMES)
    yield


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "transient", "bad_gateway"])
def test_a_group_whose_answer_is_lost_once_is_made_once(yard: Yard, kind: str) -> None:
    """T87, T78: the effect is there once, and every verb has its part of it."""
    vm = vm_ground.running(yard)
    with yard.trouble(kind, query=GROUP):
        action = vm_ground.act(yard, vm.disks)
    check_whole(yard, action)


@pytest.mark.parametrize("made", [1, 2])
@pytest.mark.parametrize("heard", ["reset_after", None])
@pytest.mark.parametrize("partial", ["none", "error", "listed"])
def test_a_group_that_is_made_in_part_fails_every_verb(
    yard: Yard, partial: str, heard: str | None, made: int
) -> None:
    """T78: a disk has reached its most snapshots, say: what StorPool made of the others all the
    same goes again."""
    yard.simulator.switches.set({"group_partial": partial})
    vm = vm_ground.running(yard)
    with yard.trouble("part", query=GROUP, changes=made, times=MANY_TIMES):
        if heard is not None:
            yard.simulator.faults.add(heard, query=GROUP)
        action = vm_ground.act(yard, vm.disks)
    check_failed_as_a_whole(yard, vm.disks, action)


@pytest.mark.parametrize("partial", ["error", "listed"])
def test_what_reconcile_finds_of_a_group_in_part(yard: Yard, partial: str) -> None:
    """T72: without another snapshot of the VM, reconcile removes what is left."""
    yard.simulator.switches.set({"group_partial": partial})
    vm = vm_ground.running(yard)
    with yard.trouble("part", query=GROUP), yard.trouble("reset_after", query=GROUP):
        action = vm_ground.act(yard, vm.disks)
    yard.reconcile()
    assert vm_ground.unsettled(yard, action) == []


def test_a_name_that_is_taken_fails_every_verb_and_stays(yard: Yard) -> None:
    """T76, T78: a snapshot of somebody else's has the name of one of ours: it is left alone."""
    vm = vm_ground.running(yard)
    action = Action(shared_stage.new_id())
    taken: list[str] = []

    def take(call: Any) -> None:
        if call.query == GROUP and not taken:
            name = call.body["volumes"][1]["name"]
            taken.append(name)
            yard.ask("VolumeSnapshot/somebody-elses", {"name": name, "tags": {"virt": "cs"}})

    yard.simulator.calls.watch(take)
    for disk in vm.disks:
        vm_ground.ask(yard, action, disk)
    check_failed_as_a_whole(yard, vm.disks, action)
    assert taken[0] in [each["name"] for each in yard.ask("SnapshotsList")]


@pytest.mark.parametrize("asked", [0, 1, 2])
@pytest.mark.parametrize("busy", [0, 1, 2])
def test_a_busy_member_fails_all_and_is_not_left_out(yard: Yard, busy: int, asked: int) -> None:
    """T78: another verb holds one of the disks, and ends right after the verb that waited: the
    others fail all the same."""
    vm = vm_ground.running(yard)
    order = [vm.disks[asked], *(each for each in vm.disks if each != vm.disks[asked])]
    action = Action(shared_stage.new_id())
    with held(yard, vm.disks[busy]):
        error = vm_ground.ask(yard, action, order[0], seconds=HASTY_SECONDS)
    assert isinstance(error, errors.Locked)
    for disk in order[1:]:
        vm_ground.ask(yard, action, disk)
    check_failed_as_a_whole(yard, vm.disks, action)


def test_a_busy_disk_fails_its_verb_and_those_after_it(yard: Yard) -> None:
    """T78: its snapshot is made, and cannot be answered now: a missing member fails the rest, and
    what was told stays."""
    vm = vm_ground.running(yard)
    action = vm_ground.act(yard, vm.disks[:1])
    with held(yard, vm.disks[1]):
        error = vm_ground.ask(yard, action, vm.disks[1], seconds=HASTY_SECONDS)
    assert isinstance(error, errors.Locked)
    vm_ground.ask(yard, action, vm.disks[2])
    assert vm_ground.wrong(yard.see(), action) == []
    again = vm_ground.act(yard, vm.disks)
    assert again.is_whole
    assert vm_ground.unsettled(yard, action, again) == []


@contextlib.contextmanager
def held(yard: Yard, disk: str) -> Iterator[None]:
    """Hold a disk, as a verb on it does."""
    yard.sql(f"SELECT pg_advisory_lock({holds.key('%s')})", disk)
    try:
        yield
    finally:
        yard.sql(f"SELECT pg_advisory_unlock({holds.key('%s')})", disk)


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("state", [operations.UNDELIVERED, operations.DONE])
def test_an_answer_that_nobody_got_fails_the_verbs_after_it(
    yard: Yard, state: str, turn: int
) -> None:
    """T78: Engine does not know that snapshot; what it was told before stays."""
    vm = vm_ground.running(yard)
    action = vm_ground.act(yard, vm.disks[:turn])
    with yard.engine("snapshot", correlation_id=action.correlation_id) as work:
        disks.snapshot(work, vm.disks[turn])
        if state == operations.UNDELIVERED:
            work.mapping.journal.failed(state, "nobody read it")
    action.answers[vm.disks[turn]] = None
    action.was_written = True
    for disk in vm.disks[turn + 1 :]:
        vm_ground.ask(yard, action, disk)
    assert vm_ground.wrong(yard.see(), action) == []
    again = vm_ground.act(yard, vm.disks)
    assert again.is_whole
    assert vm_ground.unsettled(yard, action, again) == []


def test_a_constant_correlation_id_makes_a_new_moment_each_time(yard: Yard) -> None:
    """T78: the same client, the same disks, at once: each action has snapshots of its own."""
    vm = vm_ground.running(yard)
    key = shared_stage.new_id()
    actions = [vm_ground.act(yard, vm.disks, key) for _ in range(3)]
    check_whole(yard, *actions)
    marks = {
        yard.see().things[f"ovirt--{each}"].tags["ovirt-moment"]
        for action in actions
        for each in action.told
    }
    assert len(marks) == 3


def test_a_constant_correlation_id_after_a_failure(yard: Yard) -> None:
    """T78: that one action failed says nothing of the next one, however soon it comes."""
    vm = vm_ground.running(yard)
    key = shared_stage.new_id()
    with yard.trouble("error_200", query=GROUP):
        failed = vm_ground.act(yard, vm.disks, key)
    again = vm_ground.act(yard, vm.disks, key)
    assert failed.told == []
    check_whole(yard, again)


def test_the_same_correlation_id_with_other_disks(yard: Yard) -> None:
    """T78: one VM after another, as in an export of several: each at a moment of its own."""
    machines = [vm_ground.running(yard), vm_ground.running(yard)]
    key = shared_stage.new_id()
    check_whole(yard, *[vm_ground.act(yard, vm.disks, key) for vm in machines])


def test_two_vms_whose_verbs_alternate_under_one_correlation_id(yard: Yard) -> None:
    """T78: a group is one of a VM and its action, whatever else has the same id."""
    one, two = vm_ground.running(yard), vm_ground.running(yard)
    actions = [Action(shared_stage.new_id())] * 2
    actions[1] = Action(actions[0].correlation_id)
    for disks_of_both in zip(one.disks, two.disks):
        for action, disk in zip(actions, disks_of_both):
            assert vm_ground.ask(yard, action, disk) is None
    check_whole(yard, *actions)


def test_a_failure_of_one_vm_is_none_of_the_other(yard: Yard) -> None:
    """T78: two VMs under one correlation id: the second one's snapshot is whole."""
    one, two = vm_ground.running(yard), vm_ground.running(yard)
    key = shared_stage.new_id()
    with yard.trouble("error_200", query=GROUP):
        failed = vm_ground.act(yard, one.disks, key)
    whole = vm_ground.act(yard, two.disks, key)
    assert (failed.told, whole.is_whole) == ([], True)
    check_whole(yard, whole)


def test_what_was_unticked_goes_with_the_next_snapshot(yard: Yard) -> None:
    """T78: Engine does not ask for each disk: what it did not ask for is removed by the VM's next
    snapshot, and only that."""
    vm = vm_ground.running(yard)
    first = vm_ground.act(yard, vm.disks[:2])
    assert len(vm_ground.unclaimed(yard)) == 1
    vm_ground.age(yard, 61)
    second = vm_ground.act(yard, vm.disks)
    check_whole(yard, first, second)


def test_what_was_unticked_goes_by_reconcile(yard: Yard) -> None:
    """T72, T78: without another snapshot of that VM, too."""
    vm = vm_ground.running(yard)
    action = vm_ground.act(yard, vm.disks[:2])
    vm_ground.age(yard, 61)
    yard.reconcile()
    check_whole(yard, action)


def test_what_cannot_be_deleted_of_an_earlier_moment_harms_nothing(yard: Yard) -> None:
    """T78: the snapshot of now is whole, and the leftover goes with the one after it."""
    vm = vm_ground.running(yard)
    first = vm_ground.act(yard, vm.disks[:2])
    vm_ground.age(yard, 61)
    with yard.trouble("error_200", query="SnapshotDelete", times=MANY_TIMES):
        second = vm_ground.act(yard, vm.disks)
    assert second.is_whole
    third = vm_ground.act(yard, vm.disks)
    check_whole(yard, first, second, third)


def test_a_minute_later_nothing_is_claimed(yard: Yard) -> None:
    """T78: a snapshot of a minute ago is not that of an action of now, whatever its id."""
    vm = vm_ground.running(yard)
    key = shared_stage.new_id()
    first = vm_ground.act(yard, vm.disks[:1], key)
    vm_ground.age(yard, 61)
    second = vm_ground.act(yard, vm.disks[1:], key)
    assert first.is_whole
    assert second.is_whole
    old = yard.see().things[f"ovirt--{first.told[0]}"].tags["ovirt-moment"]
    new = yard.see().things[f"ovirt--{second.told[0]}"].tags["ovirt-moment"]
    assert old != new
    assert vm_ground.wrong(yard.see(), second) == []
