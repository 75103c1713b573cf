"""What a verb leaves that was refused or never answered: single cases that the random lives of
disks have shown."""

from __future__ import annotations

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, FOREIGN, Yard
from storpool_ovirt import errors


@pytest.mark.parametrize("refusal", ["busy", "invalidParam", "preconditionViolation"])
def test_an_attached_snapshot_is_released_whatever_the_refusal_is_called(
    yard: Yard, refusal: str
) -> None:
    """T18, T9: StorPool's name for "is attached" is not documented; a closed device is detached in
    any case."""
    yard.simulator.switches.set({"delete_attached_snapshot": refusal})
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.shut(snapshot)
    yard.verb("remove", snapshot)
    assert set(yard.see().things) == {f"ovirt--{DISK}"}


def test_an_open_snapshot_keeps_its_whole_disk(yard: Yard) -> None:
    """T9, T10: a delete that fails because a device is open has deleted nothing."""
    yard.verb("create", DISK, GIB)
    yard.shut(yard.verb("snapshot", DISK), declared_open=True)
    before = yard.see()
    with pytest.raises(errors.InUse):
        yard.verb("delete", DISK)
    assert yard.see() == before


def test_a_delete_that_fails_leaves_rows_of_any_state_as_they_were(yard: Yard) -> None:
    """T9: an intent stays an intent, a disk whose first volume is gone stays one."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    volume = yard.verb("preview", snapshot)
    yard.verb("remove", DISK)
    yard.verb("remove", snapshot)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("snapshot", volume, fault=Fault("reset_before", query="VolumeSnapshot", times=50))
    yard.shut(volume, declared_open=True)
    before = yard.see()
    with pytest.raises(errors.InUse):
        yard.verb("delete", DISK)
    assert yard.see() == before


def test_a_disk_whose_delete_storpool_refuses_can_be_used_and_deleted(yard: Yard) -> None:
    """A clear no has changed nothing: the VM may be started again, and the delete repeated."""
    yard.verb("create", DISK, GIB)
    with pytest.raises(errors.Rejected):
        yard.verb("delete", DISK, fault=Fault("error_200", "VolumeDelete"))
    yard.verb("connection", DISK)
    yard.verb("delete", DISK)
    assert yard.see().rows == {}


def test_a_clone_is_repeatable_after_its_source_has_grown(yard: Yard) -> None:
    """T1: the size is no argument of a clone, so the same ids are the same clone."""
    yard.verb("create", DISK, GIB)
    yard.verb("clone", DISK, CLONE)
    yard.verb("extend", DISK, 2 * GIB)
    before = yard.see()
    yard.verb("clone", DISK, CLONE)
    assert yard.see() == before


def test_a_clone_that_died_is_finished_after_its_source_has_grown(yard: Yard) -> None:
    """T1: the repeat finds what the first try made, with the size of that time."""
    yard.verb("create", DISK, GIB)
    yard.die_when(lambda: f"ovirt--{CLONE}" in yard.see().things, "clone", DISK, CLONE)
    yard.verb("extend", DISK, 2 * GIB)
    yard.verb("clone", DISK, CLONE)
    assert (
        yard.see().things[f"ovirt--{CLONE}"].size_bytes == yard.see().rows[CLONE].size_bytes == GIB
    )


def test_a_disk_is_of_use_after_an_extend_that_died(yard: Yard) -> None:
    """T20, T82: what is made from it is never asked for with less than it has; it cannot shrink; a
    repeat works."""
    yard.verb("create", DISK, GIB)
    yard.die_when(
        lambda: yard.see().things[f"ovirt--{DISK}"].size_bytes == 3 * GIB,
        "extend",
        DISK,
        3 * GIB,
    )
    yard.verb("clone", DISK, CLONE)
    yard.verb("preview", yard.verb("snapshot", DISK))
    yard.verb("connection", DISK)  # which makes it the active volume again
    with pytest.raises(errors.Conflict):
        yard.verb("extend", DISK, 2 * GIB)
    yard.verb("extend", DISK, 3 * GIB)
    assert {thing.size_bytes for thing in yard.see().things.values()} == {3 * GIB}


def test_an_extend_that_never_reached_storpool_does_not_bind_the_next_one(yard: Yard) -> None:
    """T20: whether a size is smaller than the volume's, the volume itself decides."""
    yard.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb(
            "extend", DISK, 4 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    yard.verb("extend", DISK, 2 * GIB)
    assert (
        yard.see().things[f"ovirt--{DISK}"].size_bytes
        == yard.see().rows[DISK].size_bytes
        == 2 * GIB
    )


def test_an_intent_for_a_name_that_others_have_can_be_taken_back(yard: Yard) -> None:
    """T76: what is another owner's is left alone, and does not keep our row for ever."""
    before = yard.see().foreign
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("create", FOREIGN, GIB, fault=Fault("refuse"))
    yard.verb("delete", FOREIGN)
    assert (yard.see().rows, yard.see().foreign) == ({}, before)


def test_an_intent_outlives_a_repetition_that_storpool_refuses(yard: Yard) -> None:
    """T71: a first try whose result nobody knows, then one that StorPool refuses: the disk can
    still be deleted."""
    yard.die_when(lambda: f"ovirt--{DISK}" in yard.see().things, "create", DISK, GIB)
    with pytest.raises(errors.Rejected):
        yard.verb("create", DISK, GIB, fault=Fault("error_200", query="Volume"))
    yard.verb("delete", DISK)
    assert yard.see().things == {}


def test_a_removed_disk_is_removed_again_without_being_forgotten(yard: Yard) -> None:
    """T18: its first volume is gone, and the preview in its place too: its id stays known until it
    is deleted."""
    yard.verb("create", DISK, GIB)
    volume = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.verb("remove", DISK)
    yard.verb("delete", volume)
    before = yard.see()
    yard.verb("remove", DISK)
    assert yard.see() == before
    yard.verb("delete", DISK)
    assert (yard.see().rows, yard.see().things) == ({}, {})
