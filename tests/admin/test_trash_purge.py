"""trash_purge.py: what is in the trash goes before its time, if it is ours in every way; what
stands on it keeps its data."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.trash_yard import BACK, entries, purged, restored, thrown
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt import errors, trash_names
from storpool_ovirt.admin import trash, trash_purge
from storpool_ovirt.admin.trash_purge import Which
from storpool_ovirt.engine import trash as entries_of_trash

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("a_disk")


def in_cluster(yard: Yard) -> set[str]:
    """Return the entries of what is in the trash in StorPool."""
    return {*yard.see().trash}


def a_tree(yard: Yard, disk: str = DISK) -> str:
    """Give a disk a snapshot, with data before and after it; return the snapshot's id."""
    trash_yard.write(yard, disk, 1)
    snapshot: str = yard.verb("snapshot", disk)
    trash_yard.write(yard, disk, 2)
    return snapshot


@pytest.mark.parametrize("by", ["disk", "deletion", "entry of it"])
def test_all_of_a_deletion_goes(yard: Yard, by: str) -> None:
    """T83: by the disk's id or the deletion's; by an entry's only that."""
    a_tree(yard)
    found = thrown(yard, DISK)
    uuid = {"disk": DISK, "deletion": found[0].deletion, "entry of it": found[1].entry}[by]
    assert purged(yard, Which(uuid)) == []
    left = [found[0]] if by == "entry of it" else []
    assert entries(yard) == left
    assert len(in_cluster(yard)) == len(left)
    assert yard.report().findings == ()


def test_by_age_and_the_oldest(yard: Yard) -> None:
    """T83: what was deleted first goes first."""
    first = thrown(yard, DISK)[0]
    yard.verb("create", OTHER, GIB)
    second = thrown(yard, OTHER)[0]
    yard.sql(
        "UPDATE storpool_ovirt.trash SET deleted_at = deleted_at - interval '1 day'"
        " WHERE entry = %s",
        first.entry,
    )
    assert purged(yard, Which(older_seconds=2 * 86400)) == []
    assert len(entries(yard)) == 2
    assert purged(yard, Which(older_seconds=3600)) == []
    assert entries(yard) == [second]
    thrown_again = [second]
    yard.verb("create", DISK, GIB)
    thrown_again += thrown(yard, DISK)
    assert purged(yard, Which(oldest=1)) == []
    assert entries(yard) == thrown_again[1:]
    assert purged(yard, Which(all=True)) == []
    assert (entries(yard), in_cluster(yard)) == ([], set())


def test_it_tells_what_it_frees_and_for_whom_storpool_keeps_it(yard: Yard) -> None:
    """T83: data that a restored disk needs are not freed, and that disk reads them afterwards."""
    a_tree(yard)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    with yard.administrator() as work:
        (whole,) = trash.look(work).deletions
    assert whole.freed_bytes
    yard.verb("create", BACK, GIB)
    restored(yard, DISK)
    with yard.administrator() as work:
        [purge] = trash_purge.plan(work, trash.look(work), Which(DISK))
        told = list(trash_purge.told(purge))
    assert told[0].endswith("2 objects, frees 0 B")
    assert told[1] == f"  StorPool keeps the data of volume {DISK} for volume {BACK}"
    assert purged(yard, Which(DISK)) == []
    assert entries(yard) == []
    assert trash_yard.digest(yard, BACK) == digest
    assert yard.report().findings == ()


# Refused


def _renamed(yard: Yard, global_id: str) -> None:
    yard.ask(f"SnapshotUpdate/~{global_id}", {"rename": "mine"})


def _others_location(yard: Yard, global_id: str) -> None:
    yard.ask(f"SnapshotUpdate/~{global_id}", {"tags": {"ovirt-loc": "ffffffff"}})


def _another_platform(yard: Yard, global_id: str) -> None:
    yard.ask(f"SnapshotUpdate/~{global_id}", {"tags": {"virt": "pve"}})


def _unmarked(yard: Yard, global_id: str) -> None:
    yard.ask(f"SnapshotUpdate/~{global_id}", {"tags": {"ovirt-trash": ""}})


def _attached(yard: Yard, global_id: str) -> None:
    item = {"snapshot": f"~{global_id}", "ro": [3]}
    yard.ask("VolumesReassignWait", {"reassign": [item]})


REFUSED: dict[str, tuple[Callable[[Yard, str], None], str]] = {
    "renamed": (_renamed, "is not what .* was: name changed"),
    "another location": (_others_location, "belongs to the Engine of location ffffffff"),
    "another platform": (_another_platform, "belongs to another platform"),
    "no mark": (_unmarked, "tag ovirt-trash changed"),
    "a host has it": (_attached, "is attached to client 3: detach it there"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_ours_any_more_stays(yard: Yard, what: str) -> None:
    """T76: and the others of the same deletion go."""
    a_tree(yard)
    found = thrown(yard, DISK)
    spoil, said = REFUSED[what]
    spoil(yard, found[0].global_id)
    (reason,) = purged(yard, Which(DISK))
    assert re.search(said, reason)
    assert entries(yard) == [found[0]]
    (there,) = yard.ask(f"Snapshot/~{found[0].global_id}")
    assert not there["deleted"]
    assert [each.kind for each in yard.report().findings] == ["trash"]


@pytest.mark.parametrize("tag", ["cs", "csi_name", "nloc", "pve-loc"])
def test_what_another_platform_uses_too_stays(yard: Yard, tag: str) -> None:
    """T76: as with a delete of a disk; also where a purge of it was begun."""
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"tags": {tag: "1"}})
    (why,) = purged(yard, Which(DISK))
    assert f'too (tag {tag}="1")' in why
    trash_yard.age(yard, [entry.entry], entries_of_trash.PURGED_AT)
    with pytest.raises(errors.Foreign, match="is used by"):
        yard.reconcile()
    assert in_cluster(yard) == {each.entry for each in entries(yard)} == {entry.entry}
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"tags": {tag: ""}})
    assert purged(yard, Which(DISK)) == []
    assert in_cluster(yard) == set()


@pytest.mark.parametrize(
    ("uuid", "error"), [(OTHER, errors.NotFound), ("disk7", errors.InputError)]
)
def test_what_is_not_in_the_trash_is_refused(yard: Yard, uuid: str, error: type[Exception]) -> None:
    """T61: nothing changes."""
    thrown(yard, DISK)
    before = yard.world()
    with pytest.raises(error):
        purged(yard, Which(uuid))
    assert yard.world() == before


def test_a_disk_that_was_deleted_twice_is_purged_by_its_deletion(yard: Yard) -> None:
    """T61: the disk's id names two."""
    first = thrown(yard, DISK)
    yard.verb("create", DISK, GIB)
    second = thrown(yard, DISK)
    with pytest.raises(errors.Conflict, match="was deleted 2 times"):
        purged(yard, Which(DISK))
    assert purged(yard, Which(first[0].deletion)) == []
    assert entries(yard) == second


def test_another_cluster_proves_nothing(yard: Yard) -> None:
    """T77: an address that leads elsewhere has nothing of ours, and no row goes."""
    thrown(yard, DISK)
    with yard.another_cluster() as there, yard.administrator(cluster=there) as work:
        plan = trash_purge.plan(work, trash.look(work), Which(DISK))
        (reason,) = trash_purge.carry_out(work, plan[0])
    assert "lives in StorPool cluster" in reason
    assert len(entries(yard)) == 1


# Killed


def test_a_purge_that_is_killed_anywhere_is_named_and_goes_on(yard: Yard) -> None:
    """T71, T72: repeated or reconciled, it ends; nothing of it is taken for lost."""
    told = 0
    for step in range(60):
        a_tree(yard)
        thrown(yard, DISK)
        try:
            purged(yard, Which(DISK), dies_at=step)
        except Death:
            ended = False
        else:
            ended = True
        found = yard.report().findings
        assert all("purge" in each.cause for each in found)
        told += len(found)
        if step % 2:
            yard.reconcile()
            assert yard.report().findings == ()
        if entries(yard):
            purged(yard, Which(all=True))
        assert (entries(yard), in_cluster(yard)) == ([], set())
        assert yard.report().findings == ()
        if ended:
            assert step > 10
            assert told
            return
        yard.verb("create", DISK, GIB)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("what", ["a host has it", "renamed"])
def test_a_purge_that_was_refused_goes_on_by_nobody(yard: Yard, what: str) -> None:
    """T71, T72: what its repetition was refused, no reconcile does later; it is kept until
    StorPool's own date."""
    (entry,) = thrown(yard, DISK)
    with trash_yard.dying_before("snapshotDelete"):
        purged(yard, Which(DISK))
    assert entries(yard)[0].ends_at == entries_of_trash.PURGED_AT
    REFUSED[what][0](yard, entry.global_id)
    (why,) = purged(yard, Which(DISK))
    assert re.search(REFUSED[what][1], why)
    assert abs(entries(yard)[0].ends_at - entry.ends_at) <= 2
    _released(yard, entry)
    assert yard.reconcile() == []
    assert in_cluster(yard) == {entry.entry}
    assert yard.report().findings == ()


def test_a_refused_purge_of_what_has_no_date_goes_on_by_nobody(yard: Yard) -> None:
    """T71: it stays for ever then, which the audit tells, as before."""
    (entry,) = thrown(yard, DISK)
    with trash_yard.dying_before("snapshotDelete"):
        purged(yard, Which(DISK))
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"deleteAfter": 0})
    _attached(yard, entry.global_id)
    assert purged(yard, Which(DISK))
    _released(yard, entry)
    assert yard.reconcile() == []
    assert in_cluster(yard) == {entry.entry}
    (found,) = yard.report().findings
    assert "StorPool has no date for it" in found.cause


def _released(yard: Yard, entry: entries_of_trash.Entry) -> None:
    """Have nobody use an entry's snapshot any more, and give it the name that it had."""
    item = {"snapshot": f"~{entry.global_id}", "detach": "all"}
    yard.ask("VolumesReassignWait", {"reassign": [item]})
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"rename": trash_names.name(entry.entry)})


def test_lost_answers_of_a_purge(yard: Yard) -> None:
    """T71: the delete is done once, and what is gone is gone."""
    for kind in ("reset_after", "reset_before", "transient", "bad_gateway"):
        thrown(yard, DISK)
        assert purged(yard, Which(DISK), Fault(kind, query="SnapshotDelete")) == []
        assert (entries(yard), in_cluster(yard)) == ([], set())
        yard.verb("create", DISK, GIB)


def test_what_is_gone_already_is_forgotten(yard: Yard) -> None:
    """T7: absent is fine."""
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotDelete/~{entry.global_id}", {})
    assert purged(yard, Which(DISK)) == []
    assert entries(yard) == []


def test_what_was_prolonged_by_hand_is_purged_by_name_only(yard: Yard) -> None:
    """T76: reconcile leaves what StorPool keeps longer than the row says."""
    (entry,) = thrown(yard, DISK)
    trash_yard.age(yard, [entry.entry], time.time() - 86400)
    assert [each.kind for each in yard.report().findings] == ["trash"]
    yard.reconcile()
    assert len(entries(yard)) == 1
    assert in_cluster(yard)
