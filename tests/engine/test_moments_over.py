"""moments.py, snapshots.py: when the action of a moment is over, so that what nobody asked for may
be deleted: not because another verb came, whose tag may be wrong, and never on an old row alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import vm_ground
from moment_ground import KEY, OTHER_KEY, X, Y, Z, log, marks, plug, reserved, snapshot

from rigs import engine_database
from storpool_ovirt.engine import settlement

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from rigs.yard import Yard

OVER_SECONDS = 61  # after the last claim
OLD_SECONDS = 3 * 86400
W = "70000000-0000-4000-8000-0000000000dd"


@pytest.fixture
def vm(yard: Yard) -> Yard:
    """Give a VM with two disks."""
    plug(yard, X, Y)
    return yard


@pytest.fixture
def images(vm: Yard, module_database: Database) -> None:
    """Give Engine's own database beside the mapping: it has the volumes, and no snapshot yet."""
    engine_database.with_images(module_database, vm.folder, X, Y)


def test_verbs_that_wait_for_each_other_are_of_one_moment(vm: Yard) -> None:
    """T78: a minute counts from the verb before, not from the first one."""
    plug(vm, Z)
    made = []
    for disk in (X, Y, Z):
        made.append(snapshot(vm, disk))
        vm_ground.age(vm, 40)
    assert len(marks(vm, *made)) == 1


def test_a_wrong_tag_takes_nothing_from_an_action_that_goes_on(vm: Yard) -> None:
    """T78: a disk of another VM, whose start could not write the tag, is snapshotted meanwhile."""
    plug(vm, W)
    first = snapshot(vm, X)
    other = snapshot(vm, W, key=OTHER_KEY)
    second = snapshot(vm, Y)
    assert len(marks(vm, first, second)) == 1
    assert not vm_ground.gone(vm.see(), [first, second, other])


def test_two_actions_in_turns_keep_what_they_were_told(vm: Yard) -> None:
    """T78: a client has two ids, and uses them in turns: nothing that may be claimed is deleted."""
    first = snapshot(vm, X)
    other = snapshot(vm, X, key=OTHER_KEY)
    told = [first, other, snapshot(vm, Y), snapshot(vm, Y, key=OTHER_KEY)]
    assert not vm_ground.gone(vm.see(), told)


def test_a_leftover_that_is_about_to_go_is_not_claimed(vm: Yard) -> None:
    """T78, T72: its row says so before StorPool is asked, whatever becomes of the answer; the next
    snapshot goes on with it."""
    snapshot(vm, X)
    vm_ground.age(vm, OVER_SECONDS)
    with vm.trouble("reset_before", query="SnapshotDelete", times=1000):
        told = [snapshot(vm, X, key=OTHER_KEY)]
    states = vm.sql("SELECT state FROM storpool_ovirt.node WHERE reserved ORDER BY moment")
    assert states == [("deleting",), ("live",)]
    told.append(snapshot(vm, Y, key=OTHER_KEY))
    vm_ground.age(vm, OVER_SECONDS)
    last = str(uuid.uuid4())
    told += [snapshot(vm, disk, key=last) for disk in (X, Y)]
    assert not vm_ground.gone(vm.see(), told)
    assert reserved(vm) == set()
    assert vm.report().findings == ()


def put_back(yard: Yard) -> list[str]:
    """An action, of whose second verb the rows know nothing, as they were put back from an image of
    the server, days later; return what Engine was told."""
    told = [snapshot(yard, X)]
    saved = yard.save()
    told.append(snapshot(yard, Y))
    yard.put_back(saved)
    vm_ground.age(yard, OLD_SECONDS)
    yard.sql(
        "UPDATE storpool_ovirt.operation SET started_at = started_at - interval '3 days',"
        " until = until - interval '3 days'"
    )
    return told


def test_an_old_row_alone_deletes_nothing(vm: Yard) -> None:
    """T72: an image of the server that was put back has the same marks of its own as before."""
    told = put_back(vm)
    assert vm_ground.act(vm, [X, Y]).is_whole
    assert not vm_ground.gone(vm.see(), told)
    assert "Engine's own database does not say" in log(vm, "left_over_kept")[0]["reason"]


@pytest.mark.usefixtures("images")
def test_what_engines_own_database_has_is_kept(vm: Yard) -> None:
    """T72: also where the row is old and says that nobody has it."""
    told = put_back(vm)
    vm.sql("INSERT INTO images VALUES (%s)", told[1])
    assert vm_ground.act(vm, [X, Y]).is_whole
    assert not vm_ground.gone(vm.see(), told)


@pytest.mark.usefixtures("images")
def test_what_engines_own_database_is_without_goes(vm: Yard) -> None:
    """T78: a disk that was unticked last night costs no space after tonight."""
    first = snapshot(vm, X)
    vm_ground.age(vm, settlement.FRESH_SECONDS + OVER_SECONDS)
    action = vm_ground.act(vm, [X, Y])
    assert reserved(vm) == set()
    assert {first, *action.told} | {X, Y} == vm.uuids()


@pytest.mark.usefixtures("images")
def test_another_engines_database_proves_nothing(vm: Yard) -> None:
    """T72: one that has not even the volume says nothing of its snapshot."""
    snapshot(vm, X)
    vm.sql("DELETE FROM images")
    vm_ground.age(vm, settlement.FRESH_SECONDS + OVER_SECONDS)
    assert vm_ground.act(vm, [X, Y]).is_whole
    assert log(vm, "left_over_kept")


def test_a_tag_that_is_no_vms_id_names_no_vm(yard: Yard) -> None:
    """T78: volumes of two VMs may have the same word in it."""
    plug(yard, X, Y, vm="production")
    snapshot(yard, X, key=KEY)
    [line] = log(yard)
    assert (line["consistency"], line["why"]) == ("disk", "its tag cvm is not the id of a VM")
