"""snapshots.py: where one disk of a VM cannot be snapshotted, none is: the verbs of the others fail
at once, so that Engine takes the whole snapshot back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import vm_ground
from moment_ground import (
    KEY,
    OTHER_KEY,
    X,
    Y,
    Z,
    all_moments,
    calls,
    log,
    plug,
    reserved,
    snapshot,
    world,
)

from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.yard import MANY_TIMES, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.engine import disks, moments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.yard import Yard

GROUP = "VolumesGroupSnapshot"


@pytest.fixture(params=["none", "error", "listed"])
def stingy(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Yard]:
    """Give a cluster where a snapshot of a group can fail, with each thing that may come of the
    others."""
    with opened_yard(module_database, tmp_path, group_partial=request.param) as made:
        plug(made, X, Y, Z)
        yield made


@pytest.fixture
def vm(yard: Yard) -> Yard:
    """Give a VM with three disks."""
    plug(yard, X, Y, Z)
    return yard


def refused(yard: Yard, *disks: str, key: str = KEY) -> None:
    """See that Engine's verbs for these disks fail, without a call of StorPool."""
    yard.queries()
    for disk in disks:
        with pytest.raises(errors.Conflict, match="the snapshot of its VM's disks has failed"):
            snapshot(yard, disk, key)
    assert calls(yard) == []


def as_one(yard: Yard, key: str) -> None:
    """See that the VM's next snapshot is of one moment, and that nothing else is left then."""
    made = {snapshot(yard, disk, key) for disk in (X, Y, Z)}
    assert yard.uuids() == {X, Y, Z, *made}
    assert yard.see().pending == []
    assert reserved(yard) == set()
    assert yard.report().findings == ()


def test_a_group_that_cannot_be_whole_is_not_made(stingy: Yard) -> None:
    """Also where StorPool has made a part of it: that is deleted (T78)."""
    before = world(stingy)
    with stingy.trouble("part"), pytest.raises(errors.Error):
        snapshot(stingy, X)
    assert world(stingy) == before
    [moment] = all_moments(stingy)
    assert (moment.state, moment.volumes, moment.told) == (moments.FAILED, (X, Y, Z), (X,))
    refused(stingy, Y, Z)
    as_one(stingy, OTHER_KEY)


def test_a_cluster_without_room_is_told_by_the_volumes(vm: Yard) -> None:
    """Not by snapshots that were never made; the verbs after it have the reason in a sentence with
    one step to take."""
    full = {"query": GROUP, "name": "insufficientResources", "descr": "0 GiB left"}
    reason = f"StorPool has no room for snapshots of the volumes {X}, {Y}, {Z} (0 GiB left)"
    with vm.trouble("error_200", **full), pytest.raises(errors.NoSpace) as raised:
        snapshot(vm, X)
    assert str(raised.value) == f"{reason}: free space or choose another template"
    with pytest.raises(errors.Conflict) as later:
        snapshot(vm, Y)
    assert str(later.value) == (
        f"volume {Y} is not snapshotted, as the snapshot of its VM's disks has failed with"
        f' "{raised.value}": make the VM\'s snapshot again'
    )


def test_the_same_key_may_be_used_again(vm: Yard) -> None:
    """Of a client that gives one for all of its requests: when Engine was told of the failure for
    all disks, the next verb is of a new action."""
    with vm.trouble("part"), pytest.raises(errors.Error):
        snapshot(vm, X)
    refused(vm, Y, Z)
    as_one(vm, KEY)


def test_a_lost_answer_is_looked_for(vm: Yard) -> None:
    """The group was made: it is found by its names."""
    with vm.trouble("reset_after", query=GROUP):
        snapshot(vm, X)
    assert reserved(vm) == {Y, Z}
    assert {snapshot(vm, disk) for disk in (Y, Z)} <= vm.uuids()
    assert vm.entries() == 0


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_where_nobody_knows_what_was_made_all_of_it_goes(vm: Yard, kind: str) -> None:
    """Each disk's next verb undoes its part (T19)."""
    with (
        vm.trouble(kind, query=GROUP, times=MANY_TIMES),
        vm.trouble("reset_before", query="Snapshot", times=MANY_TIMES),
        pytest.raises(errors.ApiUnavailable),
    ):
        snapshot(vm, X)
    assert vm.entries() == 3
    vm.queries()
    for disk in (Y, Z):
        with pytest.raises(errors.Conflict, match="has failed"):
            snapshot(vm, disk)
    assert GROUP not in calls(vm)
    vm.clock.sleep(60)
    vm.age(60)
    as_one(vm, OTHER_KEY)


@pytest.mark.parametrize("made", [False, True])
def test_a_death_at_the_group_leaves_nothing(vm: Yard, made: bool) -> None:
    """Killed before the call, or between it and its result: later verbs of the action fail, and
    what was made goes with the next verb of each disk (T78, T19)."""
    before = vm.uuids()

    def due() -> bool:
        return vm.uuids() != before if made else vm.entries() > 0

    with pytest.raises(Death):
        snapshot(vm, X, fault=Fault("death", when=due))
    assert vm.entries() == 3
    for disk in (Y, Z):
        with pytest.raises(errors.Conflict, match="broken off"):
            snapshot(vm, disk)
    vm.age(60)
    as_one(vm, OTHER_KEY)


def test_a_death_before_anything_is_written_is_nothing(vm: Yard) -> None:
    """The next disk's verb makes the group."""
    vm.queries()
    with pytest.raises(Death):
        snapshot(vm, X, fault=Fault("death", when=lambda: len(vm.simulator.calls.list()) > 2))
    assert all_moments(vm) == []
    as_one(vm, KEY)


@pytest.mark.parametrize("victim", [X, Y])
def test_an_answer_that_was_not_delivered_fails_the_action(vm: Yard, victim: str) -> None:
    """Engine has no id of that disk: the verbs after it fail, and the snapshot that nobody knows
    goes."""
    for disk in (X, Y):
        if disk == victim:
            with vm.engine("create_snapshot", disk, correlation_id=KEY) as work:
                lost = disks.snapshot(work, disk)
                work.mapping.journal.failed("undelivered", "nobody read it")
            break
        snapshot(vm, disk)
    refused(vm, Z)
    assert lost in vm.uuids()
    snapshot(vm, victim, OTHER_KEY)
    assert lost not in vm.uuids()


def test_a_member_that_is_busy_fails_all(vm: Yard) -> None:
    """Its verb does not end in time: it is named, and is not left out (T78)."""
    with vm.holder(Z), pytest.raises(errors.Locked, match=f"disk {Z}.*extend_volume"):
        snapshot(vm, X)
    refused(vm, Y)
    with pytest.raises(errors.Conflict, match="has failed"):
        snapshot(vm, Z)
    assert vm.uuids() == {X, Y, Z}


def test_a_verb_that_cannot_come_to_claim_fails_those_after_it(vm: Yard) -> None:
    """Its disk is busy: Engine has no snapshot of it (T78)."""
    snapshot(vm, X)
    with vm.holder(Y), pytest.raises(errors.Locked):
        snapshot(vm, Y)
    refused(vm, Z)


def test_who_was_answered_before_a_failure_asks_for_another_action(vm: Yard) -> None:
    """Engine had that one's snapshot, and a person has deleted it there: the same key again is a
    client's next action, and is not refused for the last one (T78)."""
    first = snapshot(vm, X)
    with vm.holder(Y), pytest.raises(errors.Locked):
        vm.verb("snapshot", Y, correlation_id=KEY, seconds=1)
    refused(vm, Z)
    vm.verb("remove", first)
    as_one_from(vm, X)


def test_a_disk_that_is_busy_itself_fails_all(vm: Yard) -> None:
    """The verb has not seen the VM's other disks, and they fail with it all the same."""
    with vm.holder(X), pytest.raises(errors.Locked):
        snapshot(vm, X)
    for disk in (Y, Z):
        with pytest.raises(errors.Conflict, match="has failed"):
            snapshot(vm, disk)
    assert GROUP not in calls(vm)


def test_a_disk_that_cannot_be_read_fails_all(vm: Yard) -> None:
    """StorPool was away for the first verb, and is back for the second."""
    lost = Fault("reset_before", query="Volume", times=MANY_TIMES)
    with pytest.raises(errors.ApiUnavailable):
        snapshot(vm, X, fault=lost)
    with pytest.raises(errors.Conflict, match="has failed"):
        snapshot(vm, Y)


def test_a_failure_is_that_of_its_action_only_for_a_while(vm: Yard) -> None:
    """A constant correlation id does not fail for ever."""
    with vm.trouble("part"), pytest.raises(errors.Error):
        snapshot(vm, X)
    vm_ground.age(vm, moments.CLAIM_SECONDS + 1)
    as_one_from(vm, Y)


def test_a_verb_that_was_killed_at_the_end_of_its_time_fails_those_after_it(vm: Yard) -> None:
    """What it began is as old as itself (T78)."""
    with pytest.raises(Death):
        snapshot(vm, Y, fault=Fault("death", when=lambda: vm.entries() > 0))
    vm_ground.age(vm, 100)
    for disk in (X, Z):
        with pytest.raises(errors.Conflict, match="has failed"):
            snapshot(vm, disk)


def test_a_group_that_took_its_time_is_claimed(vm: Yard) -> None:
    """StorPool was slow to make it: it is as old as its snapshots are."""

    def slow() -> None:
        vm_ground.age(vm, moments.CLAIM_SECONDS + 1)

    with vm.trouble("reset_before", query=GROUP), pytest.MonkeyPatch.context() as patch:
        vm.meanwhile(patch, slow)
        snapshot(vm, X)
    assert {snapshot(vm, disk) for disk in (Y, Z)} <= vm.uuids()
    assert len(all_moments(vm)) == 1


def test_what_is_reserved_too_long_is_not_claimed(vm: Yard) -> None:
    """The snapshot would be of another time than Engine's action."""
    old = snapshot(vm, X)
    vm_ground.age(vm, moments.CLAIM_SECONDS + 1)
    as_one_from(vm, Y, old)


def test_what_came_back_with_a_backup_is_not_claimed(vm: Yard) -> None:
    """Engine may know it since."""
    snapshot(vm, X)
    vm.restored()
    refused(vm, Y, Z)
    snapshot(vm, X, OTHER_KEY)
    assert reserved(vm) == {Y, Z}
    assert len(vm.uuids()) == 3 + 6


def test_what_recovery_undid_is_not_claimed_in_part(vm: Yard) -> None:
    """The first snapshot was taken back, as nobody had its id."""
    with vm.engine("create_snapshot", X, correlation_id=KEY) as work:
        disks.snapshot(work, X)
    vm.verb("extend", X, 2 * GIB)
    refused(vm, Y, Z)


def as_one_from(yard: Yard, disk: str, *older: str) -> None:
    """See that a verb makes a new group, and that the rest claims it."""
    made = [snapshot(yard, each) for each in (disk, *sorted({X, Y, Z} - {disk}))]
    assert yard.uuids() == {X, Y, Z, *made, *older}
    marks: list[Any] = [each["moment"] for each in log(yard)[-3:]]
    assert len(set(marks)) == 1
