"""settlement.py: what a verb that died has grown or deleted is read, ended or taken back by the
next verb on the disk."""

from __future__ import annotations

import pytest

from rigs.disk_model import GIB
from rigs.yard import DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import findings
from storpool_ovirt.engine import intent, operations, settlement


@pytest.mark.parametrize("grown", [True, False])
def test_of_an_extend_that_died_the_size_is_read(yard: Yard, grown: bool) -> None:
    """T20, T82: the mapping tells what StorPool has, whether it came that far or not."""
    yard.verb("create", DISK, GIB)
    thing = f"ovirt--{DISK}"
    yard.die_when(
        lambda: (
            yard.see().things[thing].size_bytes == 2 * GIB if grown else bool(yard.see().pending)
        ),
        "extend",
        DISK,
        2 * GIB,
    )
    yard.verb("snapshot", DISK)
    assert (
        yard.see().rows[DISK].size_bytes
        == yard.see().things[thing].size_bytes
        == (2 if grown else 1) * GIB
    )
    assert yard.operations() == []


def test_a_delete_of_a_snapshot_that_did_not_begin_is_taken_back(yard: Yard) -> None:
    """T71: it is still there, so it is as before, and can be used and deleted."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    before = yard.see()
    yard.die_when(lambda: yard.see().rows[snapshot].state == "deleting", "remove", snapshot)
    yard.verb("connection", snapshot)
    assert yard.see() == before
    yard.verb("remove", snapshot)
    assert snapshot not in yard.see().rows


def test_a_delete_of_a_snapshot_that_took_effect_is_ended(yard: Yard) -> None:
    """T71: it is gone, so its row goes with the next verb on the disk."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.die_when(lambda: f"ovirt--{snapshot}" not in yard.see().things, "remove", snapshot)
    yard.verb("extend", DISK, GIB)
    assert set(yard.see().rows) == {DISK}
    assert yard.see().pending == []


def tree(yard: Yard) -> tuple[str, str]:
    """Make a disk, a snapshot and a preview, which is the active volume."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    return snapshot, yard.verb("preview", snapshot)


def test_a_delete_of_a_disk_that_took_nothing_is_taken_back(yard: Yard) -> None:
    """T71: the VM can be started again."""
    _, preview = tree(yard)
    before = yard.see()
    yard.die_when(lambda: yard.see().rows[DISK].state == "deleting", "delete", DISK)
    yard.verb("extend", DISK, GIB)
    assert yard.see() == before
    yard.verb("connection", preview)


def test_a_dead_delete_is_taken_back_by_a_remove_that_is_refused(yard: Yard) -> None:
    """T71: what the VM writes cannot be removed alone; the delete that died before is not forgotten
    over that."""
    yard.verb("create", DISK, GIB)
    before = yard.see()
    yard.die_when(lambda: yard.see().rows[DISK].state == "deleting", "delete", DISK)
    with pytest.raises(errors.Conflict, match="is the active volume"):
        yard.verb("remove", DISK)
    assert yard.see() == before


def test_a_delete_of_a_disk_that_took_another_volume_is_taken_back_for_the_rest(yard: Yard) -> None:
    """T71: the first volume is gone, the active one is there: the disk's id stays known."""
    snapshot, preview = tree(yard)
    yard.die_when(lambda: f"ovirt--{DISK}" not in yard.see().things, "delete", DISK)
    yard.verb("extend", DISK, 2 * GIB)
    states = {uuid: row.state for uuid, row in yard.see().rows.items()}
    assert states == {DISK: "removed", snapshot: "live", preview: "live"}
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB
    yard.verb("delete", DISK)
    assert (yard.see().rows, yard.see().things) == ({}, {})


def test_a_delete_of_a_disk_that_took_its_volume_stays_and_is_ended_by_its_repetition(
    yard: Yard,
) -> None:
    """T71, T72: a disk without its data never looks whole again; Engine repeats the delete."""
    yard.verb("create", DISK, GIB)
    yard.verb("snapshot", DISK)
    yard.die_when(lambda: f"ovirt--{DISK}" not in yard.see().things, "delete", DISK)
    for verb in ("snapshot", "connection"):
        with pytest.raises(errors.NotFound, match="a delete of it has begun"):
            yard.verb(verb, DISK)
    assert len(yard.see().pending) == 1
    yard.verb("delete", DISK)
    assert (yard.see().rows, yard.see().things, yard.see().pending) == ({}, {}, [])


def half_deleted(yard: Yard, times: int = 1) -> str:
    """Have deletes of a disk with a snapshot die that have only begun; return the snapshot."""
    yard.verb("create", DISK, GIB)
    snapshot = str(yard.verb("snapshot", DISK))
    for _ in range(times):
        yard.die_planned("delete", DISK)
    return snapshot


def test_another_verb_waits_for_late_requests_of_a_delete(yard: Yard) -> None:
    """T71: only when no request of it can take effect any more, it is known what is left."""
    half_deleted(yard)
    before = yard.clock.now
    yard.verb("extend", DISK, GIB)
    assert settlement.LATE_SECONDS - 10 < yard.clock.now - before <= settlement.LATE_SECONDS


def test_a_delete_that_died_long_ago_is_not_waited_for(yard: Yard) -> None:
    """T71: nothing of it is under way."""
    half_deleted(yard)
    yard.age(settlement.LATE_SECONDS)
    before = yard.clock.now
    yard.verb("extend", DISK, GIB)
    assert yard.clock.now == before


@pytest.mark.parametrize("times", [2, 3])
def test_several_deletes_that_died_are_waited_for_at_once(yard: Yard, times: int) -> None:
    """T71: the time passes for all of them, so the verb neither waits longer nor fails."""
    half_deleted(yard, times)
    before = yard.clock.now
    yard.verb("extend", DISK, GIB)
    assert yard.clock.now - before <= settlement.LATE_SECONDS


def test_a_repeated_delete_waits_for_nothing(yard: Yard) -> None:
    """T71: what a late request deletes is what is to go."""
    half_deleted(yard)
    before = yard.clock.now
    yard.verb("delete", DISK)
    assert yard.clock.now == before
    assert (yard.see().rows, yard.see().things, yard.operations()) == ({}, {}, [])


def test_a_delete_that_was_taken_back_is_remembered(yard: Yard) -> None:
    """T72: should it take effect all the same, the audit knows the cause."""
    half_deleted(yard)
    yard.verb("extend", DISK, GIB)
    assert [(each.kind, each.state) for each in yard.operations()] == [
        (intent.DROP, operations.UNDONE)
    ]
    assert yard.see().pending == []


def restored_by_hand(yard: Yard, name: str, tags: dict[str, str]) -> str:
    """Make a snapshot whose delete dies at once, delete it, and make another one by hand."""
    yard.verb("create", DISK, GIB)
    snapshot = str(yard.verb("snapshot", DISK))
    yard.die_planned("remove", snapshot)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    made = {"name": name.format(snapshot), "tags": tags}
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", made)
    return snapshot


def test_a_dead_delete_is_not_taken_back_for_a_copy_with_our_tags(yard: Yard) -> None:
    """T71, T76, T85: somebody keeps a copy of what is gone. The disk goes on with the volume before
    it, and nobody is told to make the copy the disk's, which a delete of Engine's would then
    take."""
    yard.verb("create", DISK, GIB)
    snapshot = str(yard.verb("snapshot", DISK))
    preview = str(yard.verb("preview", snapshot))
    yard.die_planned("delete", preview)
    tags = yard.tags(preview, DISK)
    copy = {"name": "kept", "baseOn": f"ovirt--{preview}", "tags": tags}
    yard.ask("VolumeCreate", copy)
    yard.ask(f"VolumeDelete/{yard.address(preview)}", {})
    yard.verb("extend", DISK, 2 * GIB)
    assert preview not in yard.see().rows
    assert yard.see().rows[DISK].active == DISK
    found = [each for each in yard.report().findings if each.kind == findings.GHOST]
    assert found == []
    assert [each["name"] for each in yard.ask("VolumesList")].count("kept") == 1


def test_a_dead_delete_forgets_a_row_whose_name_is_another_owners(yard: Yard) -> None:
    """T71, T76: what has the name and another Engine's tags is not the object that was to go."""
    others = {"virt": "ovirt", "ovirt-uuid": DISK, "ovirt-loc": "elsewhere"}
    snapshot = restored_by_hand(yard, "ovirt--{}", others)
    yard.verb("extend", DISK, GIB)
    assert snapshot not in yard.see().rows
