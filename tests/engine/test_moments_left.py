"""snapshots.py: what no verb asked for goes with the VM's next snapshot, and what Engine may know
never does; a snapshot of a moment is like any other to all verbs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

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
)

from rigs.disk_model import GIB
from rigs.yard import MANY_TIMES
from storpool_ovirt import errors
from storpool_ovirt.engine import moments, tree

if TYPE_CHECKING:
    from rigs.yard import Yard

OVER_SECONDS = 61  # nothing of an action can be claimed any more


@pytest.fixture
def vm(yard: Yard) -> Yard:
    """Give a VM with three disks."""
    plug(yard, X, Y, Z)
    return yard


def test_what_no_verb_asked_for_goes_with_the_next(vm: Yard) -> None:
    """Engine's user has unticked a disk, and it cannot be asked for any more."""
    kept = {snapshot(vm, X), snapshot(vm, Y)}
    vm_ground.age(vm, OVER_SECONDS)
    made = {snapshot(vm, disk, OTHER_KEY) for disk in (X, Y, Z)}
    assert vm.uuids() == {X, Y, Z, *kept, *made}
    [line] = log(vm, "snapshot_deleted")
    assert (line["disk"], line["reason"]) == (Z, "no verb asked for it")
    assert vm.report().findings == ()


def test_a_moment_without_snapshots_is_forgotten_in_a_day(vm: Yard) -> None:
    """The others stay as long as their snapshots."""
    with vm.trouble("part"), pytest.raises(errors.Error):
        snapshot(vm, X)
    snapshot(vm, X, OTHER_KEY)
    vm.sql("UPDATE storpool_ovirt.moment SET made_at = made_at - interval '25 hours'")
    last = f"3{KEY[1:]}"
    snapshot(vm, X, last)
    assert [(each.key, each.state) for each in all_moments(vm)] == [
        (OTHER_KEY, moments.MADE),
        (last, moments.MADE),
    ]


def test_a_failure_is_forgotten_in_a_day_by_the_next(vm: Yard) -> None:
    """Also where that VM is never snapshotted again."""
    for key in (KEY, OTHER_KEY):
        vm.sql("UPDATE storpool_ovirt.moment SET made_at = made_at - interval '25 hours'")
        with vm.trouble("part"), pytest.raises(errors.Error):
            snapshot(vm, X, key)
    assert [(each.key, each.state) for each in all_moments(vm)] == [(OTHER_KEY, moments.FAILED)]


@pytest.mark.parametrize("known", ["connected", "source", "restored", "open"])
def test_what_engine_may_know_stays(vm: Yard, known: str) -> None:
    """A host asked for it, something was made of it, it came back with a backup, or the journal has
    something open on it."""
    snapshot(vm, X)
    [(left,)] = vm.sql(
        "SELECT uuid::text FROM storpool_ovirt.node WHERE reserved AND source = %s", Z
    )
    if known == "connected":
        vm.verb("connection", left)
        vm.sql("UPDATE storpool_ovirt.node SET connected = true WHERE uuid = %s", left)
    elif known == "source":
        vm.verb("preview", left)
    elif known == "restored":
        vm.sql("UPDATE storpool_ovirt.moment SET incarnation = ''")
    else:
        vm.sql(
            "INSERT INTO storpool_ovirt.operation (correlation_id, verb, arguments, kind, disk,"
            " node, plan, process, incarnation, until, state, note) SELECT 'c', 'v', '{}', 'make',"
            " root, uuid, '{\"kind\": \"snapshot\"}', '-:0:0', '', now(), 'undone', 'nothing came'"
            " FROM storpool_ovirt.node WHERE uuid = %s",
            left,
        )
    vm_ground.age(vm, OVER_SECONDS)
    snapshot(vm, X, OTHER_KEY)
    assert left in vm.uuids()


def test_what_cannot_be_deleted_harms_nothing(vm: Yard) -> None:
    """The new moment is whole, and the leftover waits for the next one."""
    snapshot(vm, X)
    left = reserved(vm)
    vm_ground.age(vm, OVER_SECONDS)
    with vm.trouble("reset_before", query="SnapshotDelete", times=MANY_TIMES):
        made = {snapshot(vm, X, OTHER_KEY)}
    assert log(vm, "left_over_kept")
    made |= {snapshot(vm, disk, OTHER_KEY) for disk in (Y, Z)}
    assert reserved(vm) == left == {Y, Z}
    snapshot(vm, X, f"3{KEY[1:]}")
    assert len(log(vm, "snapshot_deleted")) == 2
    assert made <= vm.uuids()


def test_one_that_is_gone_by_hand_is_forgotten(vm: Yard) -> None:
    """Its row goes."""
    snapshot(vm, X)
    for (left,) in vm.sql("SELECT global_id FROM storpool_ovirt.node WHERE reserved"):
        vm.ask(f"SnapshotDelete/~{left}", {})
    vm_ground.age(vm, OVER_SECONDS)
    snapshot(vm, X, OTHER_KEY)
    assert {each for each in vm.see().rows if each not in (X, Y, Z)} <= vm.uuids()


def test_a_disk_goes_with_what_is_reserved_of_it(vm: Yard) -> None:
    """Its delete takes the whole tree (T-ids of delete are elsewhere)."""
    snapshot(vm, X)
    vm.detach(1, vm.verb("connection", Z)["data"])
    vm.verb("delete", Z)
    assert Z not in vm.see().rows
    assert len(vm.uuids()) == 2 + 2
    assert reserved(vm) == {Y}


def test_members_are_like_any_snapshot(vm: Yard) -> None:
    """Removed, previewed and cloned one by one, whatever becomes of the others."""
    taken = {disk: snapshot(vm, disk) for disk in (X, Y, Z)}
    vm.verb("remove", taken[X])
    preview = vm.verb("preview", taken[Y])
    clone = f"8{X[1:]}"
    vm.verb("clone", taken[Z], clone)
    assert {taken[X]} & vm.uuids() == set()
    assert {preview, clone, taken[Y], taken[Z]} <= vm.uuids()
    assert {each.kind for each in vm.report().findings} <= {"stale attachment"}


def test_a_disk_that_nobody_knows_is_not_known_by_what_is_reserved(vm: Yard) -> None:
    """Its create was never answered, and a row that no verb answered is no knowledge of
    Engine's."""
    snapshot(vm, X)
    with vm.engine() as work:
        nodes = work.mapping.tree(Z)
        [of_disk] = [node for node in nodes if node.uuid == Z]
        others = [of_disk._replace(connected=False), *(node for node in nodes if node.uuid != Z)]
        operation = _create_of(Z)
        assert not tree.is_known(others, operation, None)
        claimed = [node._replace(reserved=False) for node in others]
        assert tree.is_known(claimed, operation, None)


def test_the_same_key_may_be_used_for_the_next_action(vm: Yard) -> None:
    """A client that gives one for all: each disk has its snapshot of the new moment."""
    first = {snapshot(vm, disk) for disk in (X, Y, Z)}
    vm.queries()
    second = {snapshot(vm, disk) for disk in (Y, X, Z)}
    assert len(first | second) == 6
    assert calls(vm).count("VolumesGroupSnapshot") == 1
    assert len(all_moments(vm)) == 2


def test_a_member_that_grows_afterwards_changes_nothing(vm: Yard) -> None:
    """Between the group and its claim."""
    snapshot(vm, X)
    vm.verb("extend", Y, 2 * GIB)
    assert vm.see().rows[snapshot(vm, Y)].size_bytes == GIB


def _create_of(disk: str) -> object:
    return SimpleNamespace(node=disk, disk=disk)
