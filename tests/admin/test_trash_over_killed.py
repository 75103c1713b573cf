"""engine/overwriting.py: a restore over data that is killed before each request and statement, that
is refused, or meanwhile a host attaches the disk; what the disk had is never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.trash_yard import BACK, restored, thrown
from rigs.yard import DISK, MANY_TIMES, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import trash_restore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storpool_ovirt.engine import trash

STEPS_MIN, STEPS_MAX = 12, 60  # requests and statements of a restore

pytestmark = pytest.mark.usefixtures("a_disk")


@pytest.fixture
def wanted(yard: Yard) -> str:
    """Have a disk in the trash; return the checksum of what it had."""
    trash_yard.write(yard, DISK, 7)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    return digest


@pytest.fixture
def before(yard: Yard) -> str:
    """Have a disk with data; return their checksum."""
    yard.verb("create", BACK, GIB)
    trash_yard.write(yard, BACK, 5)
    return trash_yard.digest(yard, BACK)


def over(yard: Yard, fault: Fault | None = None, dies_at: int | None = None) -> list[str]:
    """Restore over the data of the disk."""
    return restored(yard, DISK, over_data=True, fault=fault, dies_at=dies_at)


def deaths(yard: Yard, first: int = 0, every: int = 1) -> Iterator[int]:
    """Have it die before each request and statement in turn, or some of them; the disk has its data
    of before when it begins, and nothing was written over yet."""
    for step in range(first, STEPS_MAX, every):
        try:
            over(yard, dies_at=step)
        except Death:
            yield step
        else:
            assert step > STEPS_MIN
            return
        trash_yard.write(yard, BACK, 5)
        for copy in copies(yard):
            yard.sql("DELETE FROM storpool_ovirt.trash WHERE entry = %s", copy.entry)
            yard.ask(f"SnapshotDelete/~{copy.global_id}", {})
    raise AssertionError("it never ends")


def copies(yard: Yard) -> list[trash.Entry]:
    """Return what the trash has of what was written over."""
    return [each for each in trash_yard.entries(yard) if each.is_safety]


def state(yard: Yard, wanted: str, before: str) -> str:
    """Return what the disk has, and check that nothing of before is lost, that it is the disk that
    it was, and that nothing is open on it."""
    found = trash_yard.digest(yard, BACK)
    assert found in (wanted, before)
    if found == wanted:
        assert before in [trash_yard.kept_digest(yard, each) for each in copies(yard)]
    there = yard.see().things[f"ovirt--{BACK}"]
    row = yard.see().rows[BACK]
    assert (row.state, row.global_id, row.active) == ("live", there.global_id, BACK)
    assert (there.size_bytes, yard.entries()) == (row.size_bytes, 0)
    assert yard.tags(BACK).items() <= there.tags.items()
    return found


def test_killed_anywhere_it_is_done_when_repeated(yard: Yard, wanted: str, before: str) -> None:
    """T71, T83: and what the disk had is in the trash."""
    for _ in deaths(yard, 0, 2):
        over(yard)
        assert state(yard, wanted, before) == wanted


def test_killed_anywhere_the_next_verb_ends_it(yard: Yard, wanted: str, before: str) -> None:
    """T72, T83: not repeated: the disk has all of the one or all of the other; from the point on at
    which it has begun, what was restored."""
    seen = []
    for _ in deaths(yard, 1, 2):
        yard.verb("extend", BACK, GIB)
        seen.append(state(yard, wanted, before))
    assert set(seen) == {wanted, before}
    assert seen == sorted(seen, key=lambda each: each == wanted)


def test_killed_anywhere_the_start_of_a_vm_ends_it(yard: Yard, wanted: str, before: str) -> None:
    """No host is told of the disk before it is known what it has."""
    for _ in deaths(yard, 0, 4):
        yard.verb("connection", BACK)
        assert yard.entries() == 0
        state(yard, wanted, before)


def test_killed_anywhere_it_is_named_and_reconciled(yard: Yard, wanted: str, before: str) -> None:
    """T72: the audit names what died, and reconcile ends it."""
    told = 0
    for _ in deaths(yard, 1, 4):
        found = [each for each in yard.report().findings if each.kind == "unfinished"]
        told += len(found)
        if found:
            assert "restore" in found[0].cause
            assert "what it had is in the trash" in found[0].mend
            yard.reconcile()
        state(yard, wanted, before)
    assert told


def test_killed_anywhere_the_disk_can_be_deleted(yard: Yard, wanted: str) -> None:
    """T71: nothing is left of it but the trash."""
    yard.verb("create", BACK, GIB)
    for _ in deaths(yard, 2, 4):
        yard.verb("delete", BACK)
        assert BACK not in yard.see().rows
        assert f"ovirt--{BACK}" not in yard.see().things
        assert yard.see().pending == []
        yard.verb("create", BACK, GIB)
    assert wanted


def test_lost_answers_are_overcome(yard: Yard, wanted: str, before: str) -> None:
    """T71: each request's answer is lost once."""
    for query in ("VolumeSnapshot", "VolumeRevert", "VolumeUpdate", "Snapshot", "AttachmentsList"):
        for kind in ("reset_after", "reset_before", "transient", "bad_gateway"):
            over(yard, fault=Fault(kind, query=query))
            assert state(yard, wanted, before) == wanted
            trash_yard.write(yard, BACK, 5)


@pytest.mark.parametrize("query", ["VolumeSnapshot", "VolumeRevert", "VolumeUpdate"])
def test_a_cluster_that_never_answers(yard: Yard, wanted: str, before: str, query: str) -> None:
    """T73: the command fails, and the next one ends what it has begun."""
    with pytest.raises(errors.ApiUnavailable):
        over(yard, fault=Fault("reset_before", query=query, times=MANY_TIMES))
    over(yard)
    assert state(yard, wanted, before) == wanted


def test_what_storpool_refuses_changes_nothing(yard: Yard, wanted: str, before: str) -> None:
    """T83: the disk has its data, and nothing is open on it."""
    refusal = {"name": "invalidParam", "descr": "it does not like that"}
    for query in ("VolumeSnapshot", "VolumeRevert"):
        with yard.trouble("error_200", query=query, **refusal), pytest.raises(errors.Error):
            over(yard)
        assert state(yard, wanted, before) == before


def test_a_host_that_attaches_meanwhile(yard: Yard, wanted: str, before: str) -> None:
    """Whenever it does: it is refused, or was done; nothing is lost in either case."""
    ends = []
    for step in range(0, STEPS_MAX, 2):
        try:
            with (
                yard.administrator("trash-restore") as work,
                trash_yard.happening(step, lambda: yard.hold(yard.address(BACK))),
            ):
                trash_restore.restore(work, DISK, BACK, over_data=True)
        except errors.Conflict as error:
            refused = "is attached to client 2" in str(error)
            assert refused or "was attached to client 2 while" in str(error)
        clients = [each for each in yard.ask("AttachmentsList") if each["client"] == 2]
        yard.detach(2, yard.verb("connection", BACK)["data"])
        ends.append(state(yard, wanted, before))
        if not clients:
            break
        trash_yard.write(yard, BACK, 5)
    assert set(ends) == {wanted, before}
    assert not clients


def begun(yard: Yard) -> None:
    """Have it die when the disk was copied, and nothing was sent yet that writes over it."""
    with trash_yard.dying_before("volumeRevert"):
        over(yard)
    assert copies(yard)


def reverted(yard: Yard) -> None:
    """Have it die when the disk has the other data."""
    with trash_yard.dying_before("volumeUpdate"):
        over(yard)


def test_what_somebody_has_attached_since_is_left_as_it_is(
    yard: Yard, wanted: str, before: str
) -> None:
    """By hand, past Engine: who has it, and what was written since, counts for more."""
    begun(yard)
    yard.hold(yard.address(BACK))
    yard.verb("extend", BACK, GIB)
    assert yard.entries() == 0
    yard.detach(2, yard.verb("connection", BACK)["data"])
    assert state(yard, wanted, before) == before


def test_what_was_written_since_is_left_as_it_is(yard: Yard, wanted: str) -> None:
    """T83: it is in no copy."""
    yard.verb("create", BACK, GIB)
    begun(yard)
    by_hand(yard)
    yard.verb("extend", BACK, GIB)
    assert trash_yard.digest(yard, BACK) != wanted
    assert yard.entries() == 0


def test_a_source_that_went_since_leaves_it_as_it_is(yard: Yard, wanted: str, before: str) -> None:
    """T83: as when its date has come."""
    begun(yard)
    (entry,) = [each for each in trash_yard.entries(yard) if not each.is_safety]
    yard.ask(f"SnapshotDelete/~{entry.global_id}", {})
    yard.verb("extend", BACK, GIB)
    assert state(yard, wanted, before) == before


def test_a_copy_that_went_since_leaves_it_as_it_is(yard: Yard, wanted: str, before: str) -> None:
    """T83: nothing is written over without one."""
    begun(yard)
    (copy,) = copies(yard)
    yard.ask(f"SnapshotDelete/~{copy.global_id}", {})
    yard.verb("extend", BACK, GIB)
    assert trash_yard.digest(yard, BACK) == before != wanted
    assert yard.entries() == 0


def test_an_entry_of_a_restored_backup_proves_nothing(yard: Yard, wanted: str, before: str) -> None:
    """Engine may have used the disk since."""
    begun(yard)
    yard.restored()
    yard.verb("extend", BACK, GIB)
    assert state(yard, wanted, before) == before


def test_snapshots_of_others_made_since_change_nothing(
    yard: Yard, wanted: str, before: str
) -> None:
    """VolumeCare takes them of a VM that is down, too: the volume stands on one of those then."""
    begun(yard)
    yard.ask(f"VolumeSnapshot/{yard.address(BACK)}", {})
    yard.verb("extend", BACK, GIB)
    assert state(yard, wanted, before) == wanted


def test_a_request_that_comes_late_is_waited_for(
    yard: Yard, wanted: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not come when a VM has the disk: who ends it waits until it cannot."""
    begun(yard)
    (entry,) = [each for each in trash_yard.entries(yard) if not each.is_safety]
    body = {"toSnapshot": f"~{entry.global_id}"}
    address = yard.address(BACK)
    yard.meanwhile(monkeypatch, lambda: yard.ask(f"VolumeRevert/{address}", body))
    yard.verb("connection", BACK)
    assert max(yard.clock.slept) > 25
    assert state(yard, wanted, before) == wanted


def test_what_stood_on_it_before_has_not_got_it_again(yard: Yard, wanted: str, before: str) -> None:
    """T83: it was restored and written once; a second restore died, and its copy went: StorPool
    has the volume stand on the same snapshot, with what was written, and nobody says otherwise."""
    over(yard)
    trash_yard.write(yard, BACK, 9)
    between = trash_yard.digest(yard, BACK)
    yard.sql("DELETE FROM storpool_ovirt.trash WHERE entry = deletion")
    begun(yard)
    (copy,) = copies(yard)
    yard.ask(f"SnapshotDelete/~{copy.global_id}", {})
    told = over(yard)
    assert "an earlier run" not in told[0]
    assert trash_yard.digest(yard, BACK) == wanted != before
    (last,) = [each for each in copies(yard) if each != copy]
    assert trash_yard.kept_digest(yard, last) == between


def by_hand(yard: Yard) -> None:
    """Have a host write to the disk, past Engine."""
    yard.hold(yard.address(BACK))
    with yard.device(2, yard.global_id(BACK)).open("r+b") as device:
        device.write(b"new" * 4096)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(BACK), "detach": [2]}]})


def test_a_run_that_a_restored_backup_tells_of_was_not_ended(
    yard: Yard, wanted: str, before: str
) -> None:
    """T83: Engine may have used the disk since, so it is done once more, and what it had is
    kept."""
    reverted(yard)
    yard.restored()
    by_hand(yard)
    told = over(yard)
    assert "an earlier run" not in told[0]
    assert trash_yard.digest(yard, BACK) == wanted != before
