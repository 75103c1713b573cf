"""trash_restore.py: what is in the trash becomes a disk again, with the same data, size, template
and policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import TEMPLATE
from rigs.trash_yard import BACK, LATER, restored, thrown
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("a_disk")


def placeholder(yard: Yard, size_gib: int = 1, uuid: str = BACK) -> str:
    """Have oVirt make the disk that gets it; return its id."""
    yard.verb("create", uuid, size_gib * GIB)
    return uuid


def is_back(yard: Yard, digest: str, uuid: str = BACK, size_gib: int = 1) -> None:
    """Check that a disk has these data, is all that it should be, and takes the verbs of a disk."""
    assert trash_yard.digest(yard, uuid) == digest
    there = yard.see().things[f"ovirt--{uuid}"]
    row = yard.see().rows[uuid]
    assert (row.state, row.global_id, row.active) == ("live", there.global_id, uuid)
    assert row.size_bytes == there.size_bytes == size_gib * GIB
    assert yard.tags(uuid).items() <= there.tags.items()
    assert yard.entries() == 0
    assert yard.report().findings == ()


# What comes back


def test_a_disk_that_was_deleted_comes_back(yard: Yard) -> None:
    """T83: into a fresh disk that oVirt made: identical bytes; the trash keeps it as before."""
    trash_yard.write(yard, DISK, 7)
    digest = trash_yard.digest(yard, DISK)
    before = thrown(yard, DISK)
    placeholder(yard)
    told = restored(yard, DISK)
    assert len(told) == 1
    assert told[0].startswith(f"restored disk {DISK}, deleted at ")
    assert told[0].endswith(f"into disk {BACK}: 1 GiB")
    is_back(yard, digest)
    assert trash_yard.entries(yard) == before
    yard.verb("extend", BACK, 2 * GIB)
    yard.verb("snapshot", BACK)
    yard.verb("delete", BACK)


def test_it_comes_back_under_an_id_that_ovirt_uses_later(yard: Yard) -> None:
    """T1, T83: Engine's create_volume finds it, as one that an earlier try made."""
    trash_yard.write(yard, DISK, 8)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    told = restored(yard, DISK, LATER)
    assert f"id {LATER} and {GIB} bytes" in told[-1]
    yard.verb("create", LATER, GIB)
    is_back(yard, digest, LATER)
    with pytest.raises(errors.Conflict, match="exists with"):
        yard.verb("create", LATER, 2 * GIB)


def test_it_comes_back_under_its_own_id(yard: Yard) -> None:
    """T83: Engine forgot the disk, so its id is free."""
    trash_yard.write(yard, DISK, 9)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    restored(yard, DISK, DISK)
    yard.verb("create", DISK, GIB)
    is_back(yard, digest, DISK)


def test_the_snapshots_of_a_deleted_disk_can_be_restored_too(yard: Yard) -> None:
    """T83: each as a disk of its own, with the data of its time."""
    trash_yard.write(yard, DISK, 1)
    first = trash_yard.digest(yard, DISK)
    snapshot = yard.verb("snapshot", DISK)
    trash_yard.write(yard, DISK, 2)
    last = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    for uuid, into in ((snapshot, BACK), (DISK, LATER)):
        placeholder(yard, uuid=into)
        restored(yard, uuid, into)
    is_back(yard, first, BACK)
    is_back(yard, last, LATER)


def test_a_preview_that_the_vm_wrote_is_what_comes_back(yard: Yard) -> None:
    """T83: the disk's id means the volume that its VM wrote, an entry's id that entry."""
    trash_yard.write(yard, DISK, 1)
    first = trash_yard.digest(yard, DISK)
    snapshot = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    trash_yard.write(yard, preview, 3)
    written = trash_yard.digest(yard, preview)
    found = thrown(yard, DISK)
    assert [each.node for each in found if each.active] == [preview]
    placeholder(yard)
    restored(yard, DISK)
    is_back(yard, written)
    own = next(each.entry for each in found if each.node == DISK)
    placeholder(yard, uuid=LATER)
    restored(yard, own, LATER)
    is_back(yard, first, LATER)


def test_template_and_policy_come_back_and_the_vm_does_not(yard: Yard) -> None:
    """T79, T83: services find their tags; a VM's tag, and another object's, would be a lie."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"template": TEMPLATE})
    tags = {"qc": "gold", "vc-policy": "daily", "cvm": OTHER, "backup": "yes", "ovirt-share": "1"}
    thrown(yard, DISK, **tags)
    placeholder(yard)
    restored(yard, DISK)
    there = yard.see().things[f"ovirt--{BACK}"]
    assert {key: there.tags.get(key) for key in ("qc", "vc-policy", "backup")} == {
        "qc": "gold",
        "vc-policy": "daily",
        "backup": "yes",
    }
    assert not {"cvm", "ovirt-share", "ovirt-trash"} & there.tags.keys()
    (raw,) = yard.ask(f"Volume/~{there.global_id}")
    assert raw["templateName"] == TEMPLATE


@pytest.mark.parametrize(
    ("tags", "back"),
    [
        ({"qc": "iron", "virtp": "p-silver"}, {"qc": "silver", "vc-policy": "no"}),
        ({"vc-policy": "daily", "virtp": "-v"}, {"qc": "gold", "vc-policy": "no"}),
        ({"qc": "iron", "virtp": "a-silver"}, {"qc": "iron", "vc-policy": "no"}),
        ({}, {"qc": "gold", "vc-policy": "no"}),
    ],
)
def test_the_class_that_comes_back_is_the_disks_own(
    yard: Yard, tags: dict[str, str], back: dict[str, str]
) -> None:
    """What its VM's property had put there is the VM's; where it had none the domain gives one."""
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": tags})
    thrown(yard, DISK)
    yard.given(qos_class="gold", vc_policy="no")
    restored(yard, DISK, placeholder(yard))
    found = yard.see().things[f"ovirt--{BACK}"].tags
    assert {key: value for key, value in found.items() if key in (*back, "virtp")} == back


@pytest.mark.parametrize("tags", [{}, {"qc": "gold"}])
def test_the_domains_limits_are_those_of_what_comes_back(yard: Yard, tags: dict[str, str]) -> None:
    """policy.md 1: sp_iops and sp_bw are of each of the domain's disks that has no class."""
    thrown(yard, DISK, **tags)
    yard.given(iops=500, bandwidth_mib=20)
    restored(yard, DISK, placeholder(yard))
    (found,) = yard.ask(f"Volume/{yard.address(BACK)}")
    limits = ("-", "-") if tags else (500, 20 * 1024)
    assert (found["iops"], found["bw"]) == limits


def test_tags_without_room_are_left_out_and_told(yard: Yard) -> None:
    """T83: the class goes before what is not known; StorPool takes 199 bytes of name and tags."""
    thrown(yard, DISK, qc="gold", backup="a" * 40, zone="b" * 40)
    placeholder(yard)
    told = restored(yard, DISK)
    assert told[-1] == "  without the tags zone: StorPool has no room for them"
    assert yard.see().things[f"ovirt--{BACK}"].tags["qc"] == "gold"


def test_a_larger_disk_keeps_its_size(yard: Yard) -> None:
    """T82: Engine believes its own size, so the volume has it; the rest of it is zeros."""
    trash_yard.write(yard, DISK, 4)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    placeholder(yard, 3)
    assert "3 GiB (it had 1 GiB)" in restored(yard, DISK)[0]
    is_back(yard, digest, BACK, 3)


def test_a_size_that_is_no_whole_gib_is_made_one(yard: Yard) -> None:
    """T82: oVirt has whole GiB only."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": GIB + 512})
    thrown(yard, DISK)
    told = restored(yard, DISK, LATER)
    assert f"{2 * GIB} bytes" in told[-1]
    yard.verb("create", LATER, 2 * GIB)


def test_a_repetition_changes_nothing(yard: Yard) -> None:
    """T1: also when a VM has used the disk since."""
    thrown(yard, DISK)
    placeholder(yard)
    restored(yard, DISK)
    trash_yard.write(yard, BACK, 5)
    before = yard.world()
    assert restored(yard, DISK) == [
        line for line in restored(yard, DISK) if line.startswith(f"disk {BACK} has it already")
    ]
    assert yard.world() == before


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("made_again", [False, True], ids=["its row", "its row made again"])
def test_a_clone_of_a_snapshot_was_not_restored_from_it(
    yard: Yard, *, made_again: bool, written: bool
) -> None:
    """T61, T83: its tag is that of a disk that was; it is refused, and keeps what was written."""
    yard.given(snapshot_delete_delay_seconds=trash_yard.DELAY_SECONDS)
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("clone", snapshot, CLONE)
    if written:
        trash_yard.write(yard, CLONE, 9)
    yard.verb("remove", snapshot)
    if made_again:
        yard.sql("DELETE FROM storpool_ovirt.node")
        yard.rebuild()
    trash_yard.noted(yard)
    before = yard.world()
    with pytest.raises(errors.Conflict, match=r"was cloned|was given to a host"):
        restored(yard, snapshot, CLONE)
    assert yard.world() == before


def test_a_restored_snapshot_is_there_already_until_a_vm_uses_it(yard: Yard) -> None:
    """T1, T83: repeated it is a success; after that nobody knows whether it was cloned."""
    yard.given(snapshot_delete_delay_seconds=trash_yard.DELAY_SECONDS)
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("remove", snapshot)
    placeholder(yard)
    restored(yard, snapshot)
    trash_yard.noted(yard)
    before = yard.world()
    assert f"disk {BACK} has it already" in restored(yard, snapshot)[0]
    assert yard.world() == before
    trash_yard.write(yard, BACK, 5)
    with pytest.raises(errors.Conflict, match="was given to a host"):
        restored(yard, snapshot)


def test_what_was_restored_outlives_the_trash(yard: Yard) -> None:
    """T83: StorPool keeps the data for the disk that stands on it."""
    trash_yard.write(yard, DISK, 6)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    placeholder(yard)
    restored(yard, DISK)
    yard.simulator.advance(trash_yard.DELAY_SECONDS + 3600)
    assert not yard.see().trash
    assert trash_yard.digest(yard, BACK) == digest


def test_a_dry_run_tells_the_calls_and_changes_nothing(yard: Yard) -> None:
    """T83: the calls are those that the restore makes."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"template": TEMPLATE})
    (entry,) = thrown(yard, DISK)
    placeholder(yard)
    empty = yard.address(BACK)
    trash_yard.noted(yard)
    before = yard.world()
    told = restored(yard, DISK, dry_run=True)
    assert yard.world() == before
    assert told[0] == f"  would send: POST VolumeDelete/{empty}"
    assert told[1].startswith("  would send: POST VolumeCreate {")
    assert all(each in told[1] for each in (f"~{entry.global_id}", str(GIB), f'"{TEMPLATE}"'))
    assert told[2:] == ["  would write to the mapping database"]
    yard.queries()
    restored(yard, DISK)
    changing = [each for each in yard.queries() if each.startswith("POST Volume")]
    assert changing == ["POST VolumeDelete", "POST VolumeCreate"]


# Refused


def _small(yard: Yard) -> tuple[str, str]:
    yard.verb("create", OTHER, 3 * GIB)
    thrown(yard, OTHER)
    return OTHER, placeholder(yard, 2)


def _full(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    placeholder(yard)
    client = 3  # by hand: oVirt knows nothing of it
    yard.hold(yard.address(BACK), client)
    with yard.device(client, yard.address(BACK)[1:]).open("r+b") as device:
        device.write(b"data")
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(BACK), "detach": [3]}]})
    return DISK, BACK


def _backed_up(yard: Yard) -> tuple[str, str]:
    found = _full(yard)
    yard.ask(f"VolumeSnapshot/{yard.address(BACK)}", {"name": "backup"})
    return found


def _attached(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    placeholder(yard)
    yard.hold(yard.address(BACK), 3)
    return DISK, BACK


def _used(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    placeholder(yard)
    yard.shut(BACK)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(BACK), "detach": [1]}]})
    return DISK, BACK


def _snapshotted(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    placeholder(yard)
    yard.verb("snapshot", BACK)
    return DISK, BACK


def _a_snapshot(yard: Yard) -> tuple[str, str]:
    yard.verb("create", OTHER, GIB)
    thrown(yard, DISK)
    return DISK, yard.verb("snapshot", OTHER)


def _cloned(yard: Yard) -> tuple[str, str]:
    yard.verb("create", OTHER, GIB)
    yard.verb("clone", OTHER, BACK)
    thrown(yard, DISK)
    return DISK, BACK


def _another_one_came_back(yard: Yard) -> tuple[str, str]:
    yard.verb("create", OTHER, GIB)
    trash_yard.write(yard, OTHER, 1)
    thrown(yard, OTHER)
    placeholder(yard)
    restored(yard, OTHER)
    thrown(yard, DISK)
    return DISK, BACK


def _twice(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    yard.verb("create", DISK, GIB)
    thrown(yard, DISK)
    return DISK, placeholder(yard)


def _gone(yard: Yard) -> tuple[str, str]:
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotDelete/~{entry.global_id}", {})
    return DISK, placeholder(yard)


def _renamed(yard: Yard) -> tuple[str, str]:
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"rename": "mine"})
    return DISK, placeholder(yard)


def _anothers(yard: Yard) -> tuple[str, str]:
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"tags": {"ovirt-loc": "ffffffff"}})
    return DISK, placeholder(yard)


def _its_name_is_taken(yard: Yard) -> tuple[str, str]:
    thrown(yard, DISK)
    yard.by_hand(LATER)
    return DISK, LATER


REFUSED: dict[str, tuple[Callable[[Yard], tuple[str, str]], type[Exception], str]] = {
    "a smaller disk": (_small, errors.Conflict, "has 2 GiB, and .* 3 GiB: extend .* to 3 GiB"),
    "one with data": (_full, errors.Conflict, "has data, which would be lost"),
    "one whose data a backup has": (_backed_up, errors.Conflict, "has data, which would be lost"),
    "one that a host has": (_attached, errors.Conflict, "is attached to client 3"),
    "one that a VM used": (_used, errors.Conflict, "was given to a host already"),
    "one with snapshots": (_snapshotted, errors.Conflict, "is no fresh disk"),
    "a snapshot": (_a_snapshot, errors.Conflict, f"is a part of disk {OTHER}"),
    "a clone": (_cloned, errors.Conflict, "is no fresh disk"),
    "one that came back itself": (_another_one_came_back, errors.Conflict, "has data"),
    "deleted twice": (_twice, errors.Conflict, "was deleted 2 times: give one of these deletions"),
    "gone from the trash": (_gone, errors.NotFound, "there is no snapshot"),
    "renamed in the trash": (_renamed, errors.Foreign, "is not what .* was: name changed"),
    "another Engine's": (_anothers, errors.Foreign, "belongs to the Engine of location ffffffff"),
    "the name is taken": (_its_name_is_taken, errors.Conflict, "nothing proves"),
    "not in the trash": (lambda _: (OTHER, BACK), errors.NotFound, "storpool-ovirt trash list"),
    "no id": (lambda _: ("disk7", BACK), errors.InputError, "is not a UUID"),
    "no disk's id": (lambda _: (DISK, "disk7"), errors.InputError, "--into is not a UUID"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_may_not_be_restored_is_refused(yard: Yard, what: str, dry_run: bool) -> None:
    """T61, T76: nothing changes, and the reason is told with what to do."""
    spoil, error, said = REFUSED[what]
    uuid, into = spoil(yard)
    trash_yard.noted(yard)
    before = yard.world()
    with pytest.raises(error, match=said):
        restored(yard, uuid, into, dry_run=dry_run)
    assert yard.world() == before


def test_one_of_two_deletions_is_named(yard: Yard) -> None:
    """T61: each by its deletion, as the refusal says."""
    trash_yard.write(yard, DISK, 1)
    first = trash_yard.digest(yard, DISK)
    old = thrown(yard, DISK)[0].deletion
    yard.verb("create", DISK, GIB)
    thrown(yard, DISK)
    placeholder(yard)
    restored(yard, old)
    is_back(yard, first)
