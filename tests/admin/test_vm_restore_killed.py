"""engine/over_settlement.py: a restore of a VM that died between two of its disks, and what happens
to its backup and its copies before somebody ends it: all disks have one moment, or it is told, and
no VM starts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Callable

import pytest

from rigs import policy_yard, trash_yard
from rigs.deaths import Death
from rigs.disk_model import GIB
from rigs.policy_yard import VM
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt import errors, names
from storpool_ovirt.admin import vm_backups, vm_restore
from storpool_ovirt.admin.trash_purge import Which
from storpool_ovirt.cluster import volumes
from storpool_ovirt.engine import settlement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import trash, tree

DISKS = (DISK, OTHER)
BEFORE, NOW = 1, 2  # the bytes that both disks have
STEPS_MAX = 120


@pytest.fixture(autouse=True)
def at(yard: Yard, database_server: Database) -> Iterator[str]:
    """Have a VM of two disks, a backup of it, and what was written since; give its moment."""
    with policy_yard.engine_of(yard, database_server) as made:
        for disk in DISKS:
            yard.verb("create", disk, GIB)
            policy_yard.has_disk(made, disk)
            trash_yard.write(yard, disk, BEFORE)
        policy_yard.has_vm(made, VM, "web01", *DISKS)
        both = [{"volume": yard.address(disk)} for disk in DISKS]
        yard.ask("VolumesGroupSnapshot", {"volumes": both})
        for disk in DISKS:
            trash_yard.write(yard, disk, NOW)
        with yard.administrator("backups") as work:
            (found,) = vm_backups.look(work, vm_backups.found(work, VM)).moments
        yield found.stamp


@pytest.fixture
def half(yard: Yard, at: str) -> str:
    """Have one disk restored, when the restore died, and not the other one; return the latter."""
    with trash_yard.dying_before("volumeRevert", 2):
        restore(yard, at)
    first = min(DISKS)
    return next(each for each in DISKS if each != first)


def restore(yard: Yard, at: str) -> list[str]:
    """Take the VM back to a moment."""
    with yard.administrator("restore") as work:
        return vm_restore.restore(work, VM, at)


def backup_goes(yard: Yard) -> None:
    """Have StorPool delete the backup, as at its date."""
    for each in yard.ask("SnapshotsList"):
        if not names.uuid_of(each["name"]) and not each["name"].startswith("ovirt-trash--"):
            yard.ask(f"SnapshotDelete/~{each['globalId']}", {})


def backup_is_gone(yard: Yard) -> None:
    """Have nothing left of it, so that nothing is seen to stand on it."""
    backup_goes(yard)
    yard.simulator.advance(7200)


def copies_go_soon(yard: Yard) -> None:
    """Have StorPool delete what the disks had in ten minutes."""
    for each in copies(yard):
        yard.ask(f"SnapshotUpdate/~{each.global_id}", {"deleteAfter": 600})


def copies(yard: Yard) -> list[trash.Entry]:
    """Return what the trash has of what was written over."""
    return [each for each in trash_yard.entries(yard) if each.is_safety]


def has(yard: Yard) -> int:
    """Return the byte that both disks have, which has to be the same, and that nothing is open."""
    digests = {trash_yard.digest(yard, disk) for disk in DISKS}
    assert yard.entries() == 0
    (found,) = digests
    trash_yard.write(yard, DISK, BEFORE)
    return BEFORE if trash_yard.digest(yard, DISK) == found else NOW


def connected(disk: str) -> Callable[[Yard], object]:
    """Return what has a host told of a disk, as the start of a VM does."""
    return lambda yard: yard.verb("connection", disk)


ENDS = pytest.mark.parametrize(
    "end",
    [Yard.reconcile, connected(DISK), connected(OTHER)],
    ids=["reconcile", "start of one", "start of the other"],
)


@ENDS
@pytest.mark.parametrize("happens", [backup_goes, backup_is_gone, copies_go_soon])
@pytest.mark.usefixtures("half")
def test_a_disk_that_cannot_go_forward_takes_the_others_back(
    yard: Yard, happens: Callable[[Yard], None], end: Callable[[Yard], object]
) -> None:
    """T83: whoever ends it."""
    happens(yard)
    end(yard)
    assert has(yard) == NOW


@ENDS
@pytest.mark.usefixtures("half")
def test_all_go_forward_where_they_can(yard: Yard, end: Callable[[Yard], object]) -> None:
    """T71: also the disk of which nobody has asked."""
    end(yard)
    assert has(yard) == BEFORE


def test_a_disk_that_a_host_has_got_since_takes_the_others_back(yard: Yard, half: str) -> None:
    """By hand, past Engine: its data do not change below it."""
    yard.hold(yard.address(half))
    yard.reconcile()
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(half), "detach": [2]}]})
    assert has(yard) == NOW


def test_nothing_of_it_is_purged_before_it_has_ended(yard: Yard, half: str) -> None:
    """T83: nor the copies, which it may need to go back. All is purged then."""
    why = trash_yard.purged(yard, Which(all=True))
    assert len(why) == len(DISKS)
    assert all("is needed by a restore of disk" in each for each in why)
    assert f"disk {half}" in "".join(why)
    assert len(copies(yard)) == len(DISKS)
    assert all(each.ends_at for each in copies(yard))
    yard.reconcile()
    assert has(yard) == BEFORE
    assert trash_yard.purged(yard, Which(all=True)) == []


@pytest.mark.parametrize("happens", [backup_goes, None])
def test_killed_while_it_is_ended_the_next_one_ends_it(
    yard: Yard, at: str, happens: Callable[[Yard], None] | None
) -> None:
    """T71, T72: at each request and statement, either way."""
    with trash_yard.dying_before("volumeRevert", 2):
        restore(yard, at)
    if happens is not None:
        happens(yard)
    deaths = 0
    for step in range(STEPS_MAX):
        try:
            with trash_yard.dying(step):
                yard.verb("connection", OTHER)
        except Death:
            deaths += 1
        if not yard.entries():
            break
    assert deaths
    assert has(yard) == (BEFORE if happens is None else NOW)


def stuck(yard: Yard) -> None:
    """Have the backup gone, and the copies, past us."""
    backup_goes(yard)
    for each in copies(yard):
        yard.ask(f"SnapshotDelete/~{each.global_id}", {})


def in_use(yard: Yard) -> None:
    """Have a host with the disk that is not restored, and no copy of the other one."""
    first, second = sorted(DISKS)
    yard.hold(yard.address(second))
    for each in copies(yard):
        if each.disk == first:
            yard.ask(f"SnapshotDelete/~{each.global_id}", {})


@pytest.mark.parametrize("happens", [stuck, in_use])
def test_what_cannot_be_of_one_moment_is_told_and_does_not_start(
    yard: Yard, half: str, happens: Callable[[Yard], None]
) -> None:
    """T72: the audit names it as critical, with its disks; each verb says what to do, also when
    StorPool knows nothing of the backup any more."""
    happens(yard)
    first = next(each for each in DISKS if each != half)
    for seconds in (0, 7200):
        yard.simulator.advance(seconds)
        for disk in DISKS:
            with pytest.raises(errors.Conflict, match="of one VM may have data of two") as told:
                yard.verb("connection", disk)
            said = str(told.value)
            assert f"reconcile --keep {first}" in said
            assert (f"disk {half} cannot get it (it is attached" in said) == (happens is in_use)
        found = [each for each in yard.report().findings if each.kind == "unfinished"]
        assert [each.severity for each in found] == ["critical"] * len(DISKS)
        assert all("data of two moments" in each.cause for each in found)
        with contextlib.suppress(errors.Conflict):
            yard.reconcile()
        assert yard.entries() == len(DISKS)


def test_a_person_leaves_it_and_restores_another_moment(yard: Yard, half: str) -> None:
    """As the sentence says; the disks are as any others then."""
    both = [{"volume": yard.address(disk)} for disk in DISKS]
    stuck(yard)
    yard.keep(next(each for each in DISKS if each != half))
    assert yard.entries() == 0
    yard.ask("VolumesGroupSnapshot", {"volumes": both})
    with yard.administrator("backups") as work:
        (found,) = vm_backups.look(work, vm_backups.found(work, VM)).moments
    told = restore(yard, found.stamp)
    assert told[0].endswith("2 disks")
    yard.verb("connection", DISK)


def test_the_audit_tells_what_each_disk_has(yard: Yard, half: str) -> None:
    """T72: while it can still be ended."""
    found = [each for each in yard.report().findings if each.kind == "unfinished"]
    first = next(each for each in DISKS if each != half)
    for each in found:
        assert each.severity == "critical"
        assert f"disk {first} has what was restored" in each.cause
        assert f"disk {half} has what it had" in each.cause


def test_who_works_on_another_of_its_disks_is_waited_for(yard: Yard, half: str) -> None:
    """No disk goes forward alone."""
    first = next(each for each in DISKS if each != half)
    with yard.engine("extend_volume") as work:
        work.mapping.lock(first)
        with pytest.raises(errors.Locked, match=first):
            yard.verb("connection", half)
    yard.verb("connection", half)
    assert has(yard) == BEFORE


def test_an_entry_that_came_back_with_the_database_decides_nothing(yard: Yard, half: str) -> None:
    """T60, T72: also where a standby took over while the restore ran: one disk has what was
    restored, the other has not, and the VM does not start until a person has decided."""
    yard.restored()
    for disk in DISKS:
        with pytest.raises(errors.Conflict, match="of one VM may have data of two moments"):
            yard.verb("connection", disk)
    found = [each for each in yard.report().findings if each.kind == "unfinished"]
    assert [each.severity for each in found] == ["critical"] * len(DISKS)
    assert yard.entries() == len(DISKS)
    yard.keep(next(each for each in DISKS if each != half))
    yard.verb("connection", half)


THIRD = 3


@pytest.fixture
def by_hand(yard: Yard) -> Callable[[str], object]:
    """Have snapshots by hand of a third moment; give what reverts a disk to its own."""
    yard.simulator.advance(10)
    for disk in DISKS:
        trash_yard.write(yard, disk, THIRD)
        yard.ask(f"VolumeSnapshot/{yard.address(disk)}", {"name": f"hand-{disk}"})
        trash_yard.write(yard, disk, NOW)
    yard.simulator.advance(600)
    return lambda disk: yard.ask(
        f"VolumeRevert/{yard.address(disk)}", {"toSnapshot": f"hand-{disk}"}
    )


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_that_others_have_reverted_since_is_not_taken_for_what_it_was(
    yard: Yard, at: str, by_hand: Callable[[str], object], disk: str
) -> None:
    """T72: VolumeCare, or a person with StorPool's own tools: nobody knows of which moment the VM
    is to be."""
    with trash_yard.dying_before("volumeRevert", 2):
        restore(yard, at)
    by_hand(disk)
    with pytest.raises(errors.Conflict, match="of one VM may have data of two moments"):
        yard.verb("connection", min(DISKS))
    assert yard.entries() == len(DISKS)


@pytest.mark.parametrize("happens", [backup_goes, backup_is_gone, None])
def test_a_vm_that_others_have_reverted_as_a_whole_stays_so(
    yard: Yard,
    at: str,
    by_hand: Callable[[str], object],
    happens: Callable[[Yard], None] | None,
) -> None:
    """T83: what they have given it is not taken back; where the backup is gone nobody can tell that
    from it, and a person decides."""
    with trash_yard.dying_before("volumeRevert", 2):
        restore(yard, at)
    for disk in DISKS:
        by_hand(disk)
    if happens is not None:
        happens(yard)
        with pytest.raises(errors.Conflict, match="of one VM may have data of two moments"):
            yard.verb("connection", DISK)
        yard.keep(DISK)
    yard.verb("connection", DISK)
    assert yard.entries() == 0
    digests = {trash_yard.digest(yard, disk) for disk in DISKS}
    trash_yard.write(yard, DISK, THIRD)
    assert digests == {trash_yard.digest(yard, DISK)}


def test_a_revert_that_may_come_late_is_waited_for(
    yard: Yard, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71: its first try is lost on its way and its second one refused: before anybody may write,
    it cannot take effect any more."""
    (source,) = {each.plan.over.source for each in yard.operations() if each.disk == half}
    address, real = yard.address(half), volumes.revert
    late, waited = list[str](), list[float]()

    def revert(client: api.Client, volume: str, snapshot: str) -> api.Volume:
        if snapshot != source or late:
            return real(client, volume, snapshot)
        late.append(snapshot)
        client.tally.asked_again += 1
        raise errors.Rejected("VolumeRevert", "x", "busy")

    def slept(_work: tree.Work, _operation: object, seconds: float) -> None:
        if late:  # else it waits for those of who has died
            assert seconds >= settlement.LATE_SECONDS
            yard.ask(f"VolumeRevert/{address}", {"toSnapshot": f"~{source}"})
            waited.append(seconds)

    monkeypatch.setattr(volumes, "revert", revert)
    monkeypatch.setattr(settlement, "wait_for_late", slept)
    yard.verb("connection", half)
    assert len(waited) == 1
    has(yard)
