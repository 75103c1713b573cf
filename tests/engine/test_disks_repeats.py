"""What a verb leaves that was refused or never answered: single cases that the random lives of
disks have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault, Rig
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

DISK, CLONE, FOREIGN = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "dcf")


@pytest.fixture
def make_rig(database: Database, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Give a function that starts a cluster of the kind that its switches say."""
    made: list[Rig] = []

    def make(**switches: str) -> Rig:
        made.append(
            Rig(
                tmp_path,
                database,
                FOREIGN,
                switches=switches,
                multicluster=False,
                pinned=False,
                template=None,
            )
        )
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Give a cluster with nothing but what is not ours."""
    return make_rig()


def attach(rig: Rig, uuid: str, open_there: bool = False) -> None:
    """Attach a node to host 1, which may hold it open."""
    data = rig.verb("connection", uuid)["data"]
    rig.attach(1, data)
    if open_there:
        rig.declared[1].add(data["global_id"])
        rig.declare(1)


def die_after(rig: Rig, done: Callable[[], bool], verb: str, *arguments: object) -> None:
    """Have a verb die at the first line where StorPool has done what it was asked."""
    with pytest.raises(Death):
        rig.verb(verb, *arguments, fault=Fault("death", when=done))


@pytest.mark.parametrize("refusal", ["busy", "invalidParam"])
def test_an_attached_snapshot_is_released_whatever_the_refusal_is_called(
    make_rig: Callable[..., Rig], refusal: str
) -> None:
    """T18, T9: StorPool's name for "is attached" is not documented; a closed device is detached in
    any case."""
    rig = make_rig(delete_attached_snapshot=refusal)
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    attach(rig, snapshot)
    rig.verb("remove", snapshot)
    assert set(rig.see().things) == {f"ovirt--{DISK}"}


def test_an_open_snapshot_keeps_its_whole_disk(rig: Rig) -> None:
    """T9, T10: a delete that fails because a device is open has deleted nothing."""
    rig.verb("create", DISK, GIB)
    attach(rig, rig.verb("snapshot", DISK), open_there=True)
    before = rig.see()
    with pytest.raises(errors.InUse):
        rig.verb("delete", DISK)
    assert rig.see() == before


def test_a_delete_that_fails_leaves_rows_of_any_state_as_they_were(rig: Rig) -> None:
    """T9: an intent stays an intent, a disk whose first volume is gone stays one."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    volume = rig.verb("preview", snapshot)
    rig.verb("remove", DISK)
    rig.verb("remove", snapshot)
    with pytest.raises(errors.ApiUnavailable):
        rig.verb("snapshot", volume, fault=Fault("reset_before", query="VolumeSnapshot", times=50))
    attach(rig, volume, open_there=True)
    before = rig.see()
    with pytest.raises(errors.InUse):
        rig.verb("delete", DISK)
    assert rig.see() == before


def test_a_disk_whose_delete_storpool_refuses_can_be_used_and_deleted(rig: Rig) -> None:
    """A clear no has changed nothing: the VM may be started again, and the delete repeated."""
    rig.verb("create", DISK, GIB)
    with pytest.raises(errors.Rejected):
        rig.verb("delete", DISK, fault=Fault("error_200", "VolumeDelete"))
    rig.verb("connection", DISK)
    rig.verb("delete", DISK)
    assert rig.see().rows == {}


def test_a_clone_is_repeatable_after_its_source_has_grown(rig: Rig) -> None:
    """T1: the size is no argument of a clone, so the same ids are the same clone."""
    rig.verb("create", DISK, GIB)
    rig.verb("clone", DISK, CLONE)
    rig.verb("extend", DISK, 2 * GIB)
    before = rig.see()
    rig.verb("clone", DISK, CLONE)
    assert rig.see() == before


def test_a_clone_that_died_is_finished_after_its_source_has_grown(rig: Rig) -> None:
    """T1: the repeat finds what the first try made, with the size of that time."""
    rig.verb("create", DISK, GIB)
    die_after(rig, lambda: f"ovirt--{CLONE}" in rig.see().things, "clone", DISK, CLONE)
    rig.verb("extend", DISK, 2 * GIB)
    rig.verb("clone", DISK, CLONE)
    assert rig.see().things[f"ovirt--{CLONE}"].size_bytes == rig.see().rows[CLONE].size_bytes == GIB


def test_a_disk_is_of_use_after_an_extend_that_died(rig: Rig) -> None:
    """T20, T82: what is made from it is never asked for with less than it has; it cannot shrink; a
    repeat works."""
    rig.verb("create", DISK, GIB)
    die_after(
        rig,
        lambda: rig.see().things[f"ovirt--{DISK}"].size_bytes == 3 * GIB,
        "extend",
        DISK,
        3 * GIB,
    )
    rig.verb("clone", DISK, CLONE)
    rig.verb("preview", rig.verb("snapshot", DISK))
    rig.verb("connection", DISK)  # which makes it the active volume again
    with pytest.raises(errors.Conflict):
        rig.verb("extend", DISK, 2 * GIB)
    rig.verb("extend", DISK, 3 * GIB)
    assert {thing.size_bytes for thing in rig.see().things.values()} == {3 * GIB}


def test_an_extend_that_never_reached_storpool_does_not_bind_the_next_one(rig: Rig) -> None:
    """T20: whether a size is smaller than the volume's, the volume itself decides."""
    rig.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        rig.verb(
            "extend", DISK, 4 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    rig.verb("extend", DISK, 2 * GIB)
    assert (
        rig.see().things[f"ovirt--{DISK}"].size_bytes == rig.see().rows[DISK].size_bytes == 2 * GIB
    )


def test_an_intent_for_a_name_that_others_have_can_be_taken_back(rig: Rig) -> None:
    """T76: what is another owner's is left alone, and does not keep our row for ever."""
    before = rig.see().foreign
    with pytest.raises(errors.ApiUnavailable):
        rig.verb("create", FOREIGN, GIB, fault=Fault("refuse"))
    rig.verb("delete", FOREIGN)
    assert (rig.see().rows, rig.see().foreign) == ({}, before)


def test_an_intent_outlives_a_repetition_that_storpool_refuses(rig: Rig) -> None:
    """T71: a first try whose result nobody knows, then one that StorPool refuses: the disk can
    still be deleted."""
    die_after(rig, lambda: f"ovirt--{DISK}" in rig.see().things, "create", DISK, GIB)
    with pytest.raises(errors.Rejected):
        rig.verb("create", DISK, GIB, fault=Fault("error_200", query="Volume"))
    rig.verb("delete", DISK)
    assert rig.see().things == {}


def test_a_removed_disk_is_removed_again_without_being_forgotten(rig: Rig) -> None:
    """T18: its first volume is gone, and the preview in its place too: its id stays known until it
    is deleted."""
    rig.verb("create", DISK, GIB)
    volume = rig.verb("preview", rig.verb("snapshot", DISK))
    rig.verb("remove", DISK)
    rig.verb("delete", volume)
    before = rig.see()
    rig.verb("remove", DISK)
    assert rig.see() == before
    rig.verb("delete", DISK)
    assert (rig.see().rows, rig.see().things) == ({}, {})
