"""disposal.py, settlement.py: several deletes of one disk died on their way into the trash, and
what one has come to counts for all."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Death
from rigs.trash_yard import dying, entries
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DELAY = int(48 * HOUR)
TRIES = 3


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine whose domain keeps what is deleted, with a disk."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    yield yard
    assert yard.forced() == []


def by_verb(yard: Yard) -> None:
    """Have Engine ask for the disk."""
    yard.verb("connection", DISK)


def by_reconcile(yard: Yard) -> None:
    """Have the administrator mend it."""
    yard.reconcile()


@pytest.mark.parametrize("ended", [by_verb, by_reconcile])
def test_no_copy_is_left_of_either(kept: Yard, ended: Callable[[Yard], None]) -> None:
    """T83: the volume is there, so the disk is as before, and both copies go."""
    before = kept.see()
    for _ in range(2):
        seen = len(kept.see().trash)
        kept.die_when(lambda seen=seen: len(kept.see().trash) > seen, "delete", DISK)
    assert len(kept.see().trash) == 2
    ended(kept)
    after = kept.see()
    assert (after.trash, after.things, after.rows) == ({}, before.things, before.rows)
    assert (after.pending, entries(kept)) == ([], [])


def die_with_copies(yard: Yard) -> list[bytes]:
    """Have several deletes die, each as soon as it has copied the volume, to which somebody has
    written since the one before; return what was written."""
    written = [b"%08d" % number for number in range(TRIES)]
    global_id = yard.global_id(DISK)
    for data in written:
        yard.hold(f"~{global_id}", 1)
        with yard.device(1, global_id).open("r+b") as device:
            device.write(data)
        die_with_a_copy(yard)
    return written


def die_with_a_copy(yard: Yard) -> None:
    """Have a delete die as soon as it has copied the volume."""
    yard.simulator.calls.clear()
    calls = yard.simulator.calls.list
    yard.die_when(lambda: "VolumeSnapshot" in {each.query for each in calls()}, "delete", DISK)


def content(yard: Yard, global_id: str) -> bytes:
    """Return the first bytes of an object."""
    with yard.simulator.cluster.files.path(global_id).open("rb") as file:
        return file.read(8)


def test_many_of_them_leave_two_copies(kept: Yard) -> None:
    """T83: that of the last and the one before it, of which a request may delete the volume yet;
    one that ends leaves its own."""
    written = die_with_copies(kept)
    found = {content(kept, each.global_id) for each in kept.see().trash.values()}
    assert found == set(written[-2:])
    kept.verb("delete", DISK)
    [entry] = entries(kept)
    assert set(kept.see().trash) == {entry.entry}
    assert content(kept, entry.global_id) == written[-1]
    assert kept.see().pending == []


@pytest.mark.parametrize("ended", [by_verb, by_reconcile])
def test_after_many_of_them_the_newest_copy_counts(
    kept: Yard, ended: Callable[[Yard], None]
) -> None:
    """T83, T71: the request of one takes effect late."""
    written = die_with_copies(kept)
    kept.ask("VolumesReassignWait", {"reassign": [{"volume": f"ovirt--{DISK}", "detach": "all"}]})
    kept.ask(f"VolumeDelete/ovirt--{DISK}", {})
    try:
        ended(kept)
    except errors.NotFound:
        assert ended is by_verb
    [entry] = entries(kept)
    assert set(kept.see().trash) == {entry.entry}
    assert content(kept, entry.global_id) == written[-1]
    assert kept.see().pending == []


def test_a_copy_that_is_kept_longer_than_the_newest_stays(kept: Yard) -> None:
    """T83: the domain keeps less since; the first try has promised more."""
    die_with_a_copy(kept)
    [first] = kept.see().trash
    kept.given(delete_delay_seconds=DELAY // 2)
    for _ in range(TRIES):
        die_with_a_copy(kept)
    assert first in kept.see().trash
    assert len(kept.see().trash) == 3


@pytest.mark.parametrize("ended", [by_verb, by_reconcile])
def test_what_the_second_has_begun_is_not_taken_back_for_the_first(
    kept: Yard, ended: Callable[[Yard], None]
) -> None:
    """T83, T71: the first had only written what it was about to do; the second has deleted a volume
    of the disk that is not the active one. All of the disk goes to the trash."""
    snapshot = kept.verb("snapshot", DISK)
    preview = kept.verb("preview", snapshot)
    kept.die_planned("delete", DISK)
    kept.die_when(lambda: f"ovirt--{DISK}" not in kept.see().things, "delete", DISK)
    assert f"ovirt--{preview}" in kept.see().things
    try:
        ended(kept)
    except errors.NotFound:
        assert ended is by_verb
    seen, found = kept.see(), entries(kept)
    assert {each.node for each in found} == {DISK, snapshot, preview}
    assert {each.entry for each in found} == set(seen.trash)
    assert len({(each.deletion, each.ends_at) for each in found}) == 1
    assert (seen.rows, seen.things, seen.pending) == ({}, {}, [])


@pytest.fixture
def replaced(kept: Yard) -> tuple[str, str]:
    """Give a disk whose own first volume was replaced by a preview, as a commit does: the snapshot
    and the preview."""
    snapshot = kept.verb("snapshot", DISK)
    preview = kept.verb("preview", snapshot)
    kept.verb("connection", preview)
    return snapshot, preview


@pytest.mark.parametrize("ended", [by_verb, by_reconcile])
def test_a_remove_of_the_first_volume_is_no_delete_of_the_disk(
    kept: Yard, replaced: tuple[str, str], ended: Callable[[Yard], None]
) -> None:
    """T83, T71: it died when the volume was gone. It goes forward, and takes nothing else."""
    snapshot, preview = replaced
    kept.die_when(lambda: f"ovirt--{DISK}" not in kept.see().things, "remove", DISK)
    try:
        ended(kept)
    except errors.NotFound:
        assert ended is by_verb
    seen = kept.see()
    assert set(seen.things) == {f"ovirt--{snapshot}", f"ovirt--{preview}"}
    assert {uuid: row.state for uuid, row in seen.rows.items()} == {
        DISK: "removed",
        snapshot: "live",
        preview: "live",
    }
    assert [each.node for each in entries(kept)] == [DISK]
    assert set(seen.trash) == {each.entry for each in entries(kept)}
    kept.verb("connection", preview)
    assert kept.see().pending == []


@pytest.mark.parametrize("delay", [0, DELAY])
def test_a_delete_of_the_disk_is_no_earlier_try_of_a_remove_of_its_first_volume(
    kept: Yard, replaced: tuple[str, str], delay: int
) -> None:
    """T71: it is taken back before the volume goes, so that the rest of the disk is in use."""
    kept.given(delete_delay_seconds=delay, snapshot_delete_delay_seconds=0)
    kept.die_planned("delete", DISK)
    kept.verb("remove", DISK)
    snapshot, preview = replaced
    states = {uuid: row.state for uuid, row in kept.see().rows.items()}
    assert states == {DISK: "removed", snapshot: "live", preview: "live"}
    kept.verb("connection", preview)
    assert (kept.see().pending, kept.see().trash) == ([], {})


def test_a_delete_of_the_disk_that_has_begun_ends_before_a_remove_of_its_first_volume(
    kept: Yard, replaced: tuple[str, str]
) -> None:
    """T83: all of the disk is in the trash then, and there is nothing to remove."""
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=0)
    snapshot, preview = replaced
    for _ in range(2):  # the second finds what the first has marked
        kept.die_planned("delete", DISK)
    kept.die_when(lambda: f"ovirt--{preview}" not in kept.see().things, "delete", DISK)
    kept.verb("remove", DISK)
    assert {each.node for each in entries(kept)} == {DISK, snapshot, preview}
    seen = kept.see()
    assert (seen.rows, seen.things, seen.pending) == ({}, {}, [])


@pytest.mark.parametrize("deletes_that_died", [0, 1])
def test_a_remove_that_died_does_not_shorten_what_is_kept_of_its_disk(
    kept: Yard, deletes_that_died: int
) -> None:
    """T83: a snapshot was in the trash already, for less; all of the disk is kept for as long as a
    disk is, by the rows and by StorPool."""
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=int(6 * HOUR))
    snapshot = kept.verb("snapshot", DISK)
    kept.die_when(lambda: bool(kept.see().trash), "remove", snapshot)
    for _ in range(deletes_that_died):
        die_with_a_copy(kept)
    kept.verb("delete", DISK)
    found = entries(kept)
    assert {each.node for each in found} == {DISK, snapshot}
    there = {f"ovirt-trash--{each.entry}" for each in found}
    dates = [
        each["targetDeleteDate"] for each in kept.ask("SnapshotsList") if each["name"] in there
    ]
    ends = [*dates, *(each.ends_at for each in found)]
    assert len(ends) == 4
    assert min(ends) > time.time() + DELAY - HOUR
    assert kept.see().pending == []


def test_what_ends_first_does_not_forget_the_other(kept: Yard, replaced: tuple[str, str]) -> None:
    """T83, T71: a remove of the first volume died, then a delete of the disk that had brought most
    of it into the trash. Who ends the remove leaves the rest of the disk to be ended, too."""
    snapshot, preview = replaced
    kept.die_when(lambda: bool(kept.see().trash), "remove", DISK)
    kept.die_when(lambda: f"ovirt--{preview}" not in kept.see().things, "delete", DISK)
    kept.reconcile()
    found = entries(kept)
    assert {each.node for each in found} == {DISK, snapshot, preview}
    assert len({(each.deletion, each.ends_at) for each in found}) == 1
    seen = kept.see()
    assert {each.entry for each in found} == set(seen.trash)
    assert (seen.rows, seen.things, seen.pending) == ({}, {}, [])


def test_a_delete_of_the_disk_is_one_whatever_else_was_going(kept: Yard) -> None:
    """T71: its only snapshot was removed by a verb that died, and has gone from the trash since.
    Nothing of the disk is left then, and its id can be used again."""
    snapshot = kept.verb("snapshot", DISK)
    kept.die_when(lambda: bool(kept.see().trash), "remove", snapshot)
    (thing,) = kept.see().trash.values()
    kept.ask(f"SnapshotDelete/~{thing.global_id}", {})
    kept.die_when(lambda: f"ovirt--{DISK}" not in kept.see().things, "delete", DISK)
    kept.verb("remove", snapshot)
    seen = kept.see()
    assert (seen.rows, seen.things, seen.pending) == ({}, {}, [])
    assert [each.node for each in entries(kept)] == [DISK]
    kept.verb("create", DISK, GIB)


@pytest.mark.parametrize("first", ["remove", "connection"])
def test_a_delete_has_not_begun_by_what_was_removed_before(kept: Yard, first: str) -> None:
    """T83, T71: a remove of a snapshot died that had it in the trash; the delete of the disk after
    it had only written what it was about to do. The disk is taken back, by whatever comes next."""
    snapshot = kept.verb("snapshot", DISK)
    kept.die_when(lambda: bool(kept.see().trash), "remove", snapshot)
    kept.die_planned("delete", DISK)
    if first == "remove":
        kept.verb("remove", snapshot)
    kept.verb("connection", DISK)
    seen = kept.see()
    assert {uuid: row.state for uuid, row in seen.rows.items()} == {DISK: "live"}
    assert set(seen.things) == {f"ovirt--{DISK}"}
    assert [each.node for each in entries(kept)] == [snapshot]
    assert seen.pending == []


@pytest.mark.parametrize("verb", ["delete", "remove"])
def test_a_repetition_that_dies_before_it_writes_forgets_nothing(kept: Yard, verb: str) -> None:
    """T71: what the first try has begun is known until the second one's entry is written."""
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=0)
    snapshot = kept.verb("snapshot", DISK)
    named = kept.verb("preview", snapshot) if verb == "delete" else snapshot
    kept.die_planned(verb, named)
    for step in range(3, 9):
        with contextlib.suppress(Death), dying(step):
            kept.verb(verb, named)
        seen = kept.see()
        if named not in seen.rows:
            break
        assert (seen.rows[named].state, len(seen.pending)) == ("deleting", 1), step
    kept.verb(verb, named)
    assert named not in kept.see().rows
    assert kept.see().pending == []


def test_a_repetition_that_is_refused_leaves_what_is_gone_as_it_was(kept: Yard) -> None:
    """T71: without a trash the first try has deleted the disk's volume, and died; the second one
    is refused, as somebody has the snapshot open. The volume is none that is in use then."""
    kept.given(delete_delay_seconds=0, snapshot_delete_delay_seconds=0)
    snapshot = kept.verb("snapshot", DISK)
    kept.die_when(lambda: f"ovirt--{DISK}" not in kept.see().things, "delete", DISK)
    address = kept.address(snapshot)
    kept.ask("VolumesReassignWait", {"reassign": [{"snapshot": address, "ro": [3]}]})
    kept.declared[3] = {address[1:]}
    kept.declare(3)
    with pytest.raises(errors.InUse):
        kept.verb("delete", DISK)
    seen = kept.see()
    assert seen.rows[DISK].state == "deleting"
    assert seen.pending
    kept.declared[3] = set()
    kept.declare(3)
    kept.verb("delete", DISK)
    assert (kept.see().rows, kept.see().pending) == ({}, [])
