"""trash_restore.py, trash_purge.py: killed at any line, with requests lost or under way, repeated
and not; nothing is lost, and nothing is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.trash_yard import BACK, LATER, restored, thrown
from rigs.yard import DISK, HOUR, MANY_TIMES, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS_MIN, STEPS_MAX = 8, 80  # requests and statements of a restore
DELETE_STEPS = 24  # and more than those of a delete

pytestmark = pytest.mark.usefixtures("a_disk")


def deaths(yard: Yard, into: str, *, made: bool) -> Iterator[int]:
    """Have a restore die before each request and statement in turn, on a disk that oVirt has made
    or not; the disk is taken away again after each."""
    trash_yard.write(yard, DISK, 7)
    thrown(yard, DISK)
    for line in range(STEPS_MAX):
        if made:
            yard.verb("create", into, GIB)
        try:
            restored(yard, DISK, into, dies_at=line)
        except Death:
            yield line
        else:
            assert line > STEPS_MIN
            return
        yard.verb("delete", into)
    raise AssertionError("it never ends")


def is_right(yard: Yard, digest: str, uuid: str) -> None:
    """Check that the disk has the data, and that there is one volume of it."""
    assert yard.see().rows[uuid].state == "live"
    assert trash_yard.digest(yard, uuid) == digest
    named = [each for each in yard.see().things if each == f"ovirt--{uuid}"]
    assert len(named) == 1


@pytest.fixture
def digest(yard: Yard) -> str:
    """Return the checksum of what the disk has when it is deleted."""
    trash_yard.write(yard, DISK, 7)
    return trash_yard.digest(yard, DISK)


def test_a_restore_that_is_killed_anywhere_goes_forward_when_repeated(
    yard: Yard, digest: str
) -> None:
    """T71, T83: whatever had been done, the same command ends it."""
    for _ in deaths(yard, BACK, made=True):
        restored(yard, DISK)
        is_right(yard, digest, BACK)
        assert yard.entries() == 0


def test_a_restore_that_is_killed_anywhere_is_ended_by_the_next_verb(
    yard: Yard, digest: str
) -> None:
    """T72, T83: not repeated: Engine's next verb on the disk ends it, and the disk is what was
    restored, or empty as before."""
    yard.verb("create", LATER, GIB)
    empty = trash_yard.digest(yard, LATER)
    seen = set()
    for _ in deaths(yard, BACK, made=True):
        yard.verb("extend", BACK, GIB)
        seen.add(trash_yard.digest(yard, BACK))
        assert yard.see().rows[BACK].state == "live"
        assert yard.entries() == 0
    assert seen == {digest, empty}


def test_a_restore_that_is_killed_anywhere_is_named_and_reconciled(yard: Yard, digest: str) -> None:
    """T72: the audit names what died, and reconcile ends it."""
    told = 0
    for _ in deaths(yard, BACK, made=True):
        found = yard.report().findings
        told += len(found)
        if found:
            assert [each.kind for each in found] == ["unfinished"]
            assert "restore" in found[0].cause
            assert "storpool-ovirt reconcile" in found[0].mend
            yard.reconcile()
            is_right(yard, digest, BACK)
        assert yard.report().findings == ()
        assert yard.entries() == 0
    assert told


def test_a_restore_that_is_killed_anywhere_takes_a_delete(yard: Yard) -> None:
    """T71: Engine deletes the disk, and nothing of it is left but the trash."""
    for _ in deaths(yard, BACK, made=True):
        yard.verb("delete", BACK)
        assert BACK not in yard.see().rows
        assert f"ovirt--{BACK}" not in yard.see().things
        assert yard.see().pending == []
        yard.verb("create", BACK, GIB)


def test_one_under_a_new_id_that_is_killed_goes_forward_when_repeated(
    yard: Yard, digest: str
) -> None:
    """T71, T83: the same where oVirt has not made the disk yet."""
    for _ in deaths(yard, LATER, made=False):
        restored(yard, DISK, LATER)
        is_right(yard, digest, LATER)
        yard.verb("create", LATER, GIB)
        is_right(yard, digest, LATER)


def test_lost_answers_are_overcome(yard: Yard, digest: str) -> None:
    """T71: each request's answer is lost once: it is looked for, and done once."""
    thrown(yard, DISK)
    for query in ("VolumeDelete", "VolumeCreate", "VolumesSpace", "Snapshot", "AttachmentsList"):
        for kind in ("reset_after", "reset_before", "transient", "bad_gateway"):
            yard.verb("create", BACK, GIB)
            try:
                restored(yard, DISK, fault=Fault(kind, query=query))
            except errors.ApiUnavailable:
                restored(yard, DISK)  # what looks at all objects is asked once
            is_right(yard, digest, BACK)
            assert yard.entries() == 0
            yard.verb("delete", BACK)


@pytest.mark.parametrize("query", ["VolumeDelete", "VolumeCreate"])
def test_a_cluster_that_never_answers_ends_it(yard: Yard, digest: str, query: str) -> None:
    """T73: the command fails, and what it has begun is ended by the next one."""
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    lost = Fault("reset_before", query=query, times=MANY_TIMES)
    with pytest.raises(errors.ApiUnavailable):
        restored(yard, DISK, fault=lost)
    assert yard.entries() == 1
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("connection", BACK, fault=lost)
    restored(yard, DISK)
    is_right(yard, digest, BACK)


def die_begun(yard: Yard) -> None:
    """Have a restore die that has only written what it is about to do."""
    for step in range(STEPS_MAX):
        with pytest.raises(Death):
            restored(yard, DISK, dies_at=step)
        if yard.entries():
            return


def meanwhile(yard: Yard, query: str, happens: Callable[[], object]) -> None:
    """Have something happen once, just before StorPool gets this call."""
    due = [happens]

    def watcher(record: Any) -> None:
        if record.query.startswith(query) and due:
            due.pop()()

    yard.simulator.calls.watch(watcher)


def test_what_goes_from_the_trash_meanwhile_leaves_the_disk_as_it_was(yard: Yard) -> None:
    """T3: StorPool refuses to make the volume when the empty one has gone: that is made again."""
    (entry,) = thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    gone = f"SnapshotDelete/~{entry.global_id}"
    meanwhile(yard, "VolumeCreate", lambda: yard.ask(gone, {}))
    with pytest.raises(errors.NotFound):
        restored(yard, DISK)
    assert (yard.see().rows[BACK].state, yard.entries()) == ("live", 0)
    assert trash_yard.digest(yard, BACK) == trash_yard.digest(yard, BACK)
    assert [each.kind for each in yard.report().findings] == ["trash"]


def test_a_host_that_gets_it_meanwhile_keeps_it(yard: Yard) -> None:
    """T9: somebody attaches the empty volume by hand between the look and the delete: StorPool
    refuses to delete it, and the disk is as it was."""
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    was = yard.address(BACK)
    meanwhile(yard, "VolumeDelete", lambda: yard.hold(was, 3))
    with pytest.raises(errors.Conflict, match="is attached to client 3"):
        restored(yard, DISK)
    assert (yard.address(BACK), yard.entries()) == (was, 0)


def write_by_hand(yard: Yard, address: str) -> None:
    """Have somebody attach a volume by hand, write to it, and detach it."""
    yard.hold(address, 3)
    with yard.device(3, address[1:]).open("r+b") as device:
        device.write(b"data")
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": address, "detach": [3]}]})


@pytest.mark.parametrize("is_backed_up", [False, True])
def test_what_died_is_not_ended_over_data(yard: Yard, is_backed_up: bool) -> None:
    """T61: the empty volume of a restore that died has got data by hand since: it stays, and the
    disk has it. A backup of VolumeCare's may have them, so that the volume itself stores none."""
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    was = yard.address(BACK)
    die_begun(yard)
    write_by_hand(yard, was)
    if is_backed_up:
        yard.ask(f"VolumeSnapshot/{was}", {"name": "backup"})
    yard.verb("extend", BACK, GIB)
    assert (yard.address(BACK), yard.entries()) == (was, 0)
    with pytest.raises(errors.Conflict, match="has data"):
        restored(yard, DISK)


@pytest.mark.parametrize("step", range(DELETE_STEPS))
def test_what_died_is_deleted_as_the_disk_that_it_is(yard: Yard, step: int) -> None:
    """T61, T83: it has got data by hand since, and Engine deletes the disk: also where that delete
    dies anywhere, and an administrator mends what is left, the disk has them or the trash."""
    yard.verb("create", LATER, GIB)
    write_by_hand(yard, yard.address(LATER))
    written = trash_yard.digest(yard, LATER)
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    die_begun(yard)
    write_by_hand(yard, f"~{yard.see().things[f'ovirt--{BACK}'].global_id}")
    yard.given(delete_delay_seconds=int(48 * HOUR))
    try:
        with trash_yard.dying(step):
            yard.verb("delete", BACK)
    except Death:
        yard.reconcile()
    if BACK in yard.see().rows:
        assert trash_yard.digest(yard, BACK) == written
        yard.verb("delete", BACK)
    (kept,) = [each for each in trash_yard.entries(yard) if each.node == BACK]
    assert trash_yard.kept_digest(yard, kept) == written
    assert (BACK in yard.see().rows, yard.see().pending) == (False, [])


def test_what_died_when_it_had_its_volume_is_deleted_into_the_trash(
    yard: Yard, digest: str
) -> None:
    """T83: Engine had the disk, whatever the restore could not write any more."""
    yard.given(delete_delay_seconds=int(48 * HOUR))
    for _ in deaths(yard, BACK, made=True):
        is_there = f"ovirt--{BACK}" in yard.see().things
        before = len(trash_yard.entries(yard))
        yard.verb("delete", BACK)
        assert len(trash_yard.entries(yard)) == before + is_there
        yard.verb("create", BACK, GIB)


def test_the_word_of_a_backup_makes_nothing(yard: Yard) -> None:
    """T60: an entry that came back with the database deletes and makes nothing."""
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    was = yard.address(BACK)
    die_begun(yard)
    yard.restored()
    yard.verb("extend", BACK, GIB)
    assert yard.address(BACK) == was


def test_a_restore_that_has_done_its_work_is_closed_beside_a_backup(
    yard: Yard, digest: str
) -> None:
    """T61: it died before it could tell; VolumeCare has taken a snapshot of the disk since."""
    thrown(yard, DISK)
    yard.verb("create", BACK, GIB)
    for step in range(STEPS_MAX):
        with pytest.raises(Death):
            restored(yard, DISK, dies_at=step)
        if yard.entries() and yard.see().rows[BACK].state == "live":
            break
        yard.verb("delete", BACK)
        yard.verb("create", BACK, GIB)
    yard.ask(f"VolumeSnapshot/{yard.address(BACK)}", {"name": "backup"})
    yard.reconcile()
    assert yard.entries() == 0
    is_right(yard, digest, BACK)
