"""trash_restore.py, engine/overwriting.py, engine/safety.py: what is in the trash is written over
the data of a disk, which are in the trash then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, DELAY_SECONDS, LATER, restored, thrown
from rigs.yard import DISK, HOUR, OTHER, Yard, opened_yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database
    from storpool_ovirt.engine import trash

pytestmark = pytest.mark.usefixtures("a_disk")


def used(yard: Yard, uuid: str = BACK, byte: int = 5, size_gib: int = 1) -> str:
    """Have a disk that a VM has written; return the checksum of its data."""
    yard.verb("create", uuid, size_gib * GIB)
    trash_yard.write(yard, uuid, byte)
    return trash_yard.digest(yard, uuid)


def deleted(yard: Yard, byte: int = 7) -> str:
    """Have a disk with data in the trash; return their checksum."""
    trash_yard.write(yard, DISK, byte)
    digest = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    return digest


def other(folder: Path) -> Path:
    """Return a folder for a yard beside that of this module."""
    made = folder / "other"
    made.mkdir()
    return made


def copies(yard: Yard) -> list[trash.Entry]:
    """Return what the trash has of disks that were written over."""
    return [each for each in trash_yard.entries(yard) if each.is_safety]


def over(yard: Yard, uuid: str = DISK, into: str = BACK, **more: bool) -> list[str]:
    """Restore over the data of a disk."""
    return restored(yard, uuid, into, over_data=True, **more)


def is_whole(yard: Yard) -> None:
    """Check that nothing is unfinished, and that the audit finds nothing."""
    assert yard.entries() == 0
    assert yard.report().findings == ()


def test_a_disk_gets_other_data_and_stays_what_it_is(yard: Yard) -> None:
    """T79, T83: id, name, tags, size and snapshots; what it had is in the trash, with a date."""
    wanted, before = deleted(yard), used(yard)
    snapshot = yard.verb("snapshot", BACK)
    yard.ask(f"VolumeUpdate/{yard.address(BACK)}", {"tags": {"qc": "gold", "cvm": OTHER}})
    there = yard.see().things[f"ovirt--{BACK}"]
    told = over(yard)
    now = yard.see().things[f"ovirt--{BACK}"]
    assert trash_yard.digest(yard, BACK) == wanted
    kept = {key: value for key, value in now.tags.items() if key != "ovirt-src"}
    assert kept == {key: value for key, value in there.tags.items() if key != "ovirt-src"}
    assert now.size_bytes == there.size_bytes
    assert trash_yard.digest(yard, snapshot) == before
    (copy,) = copies(yard)
    assert told[0].startswith(f"restored disk {DISK}, deleted at ")
    assert told[0].endswith(f"over the data of disk {BACK}: 1 GiB")
    assert f"trash restore {copy.entry} --into {BACK} --over-data" in told[1]
    assert copy.tags["cvm"] == OTHER
    (raw,) = yard.ask(f"Snapshot/~{copy.global_id}")
    assert (raw["tags"]["qc"], "cvm" in raw["tags"]) == ("gold", False)
    assert abs(raw["targetDeleteDate"] - raw["creationTimestamp"] - DELAY_SECONDS) <= 2
    is_whole(yard)
    yard.verb("extend", BACK, 2 * GIB)
    yard.verb("delete", BACK)


def test_what_was_written_over_comes_back_as_well(yard: Yard) -> None:
    """T83: by its own id: the two change places as often as somebody wants."""
    wanted, before = deleted(yard), used(yard)
    over(yard)
    (first,) = copies(yard)
    told = over(yard, first.entry)
    assert f"restored disk {BACK} as it was before it was written over at " in told[0]
    assert trash_yard.digest(yard, BACK) == before
    (second,) = [each for each in copies(yard) if each != first]
    over(yard, second.entry)
    assert trash_yard.digest(yard, BACK) == wanted
    is_whole(yard)


def test_a_copy_is_no_deletion(yard: Yard) -> None:
    """A disk's id means what was deleted of it, also where it was written over before that."""
    deleted(yard)
    used(yard)
    over(yard)
    (copy,) = copies(yard)
    yard.verb("create", LATER, GIB)
    restored(yard, BACK, LATER)  # nothing of it was deleted: it can only mean the copy
    yard.verb("delete", LATER)
    trash_yard.write(yard, BACK, 9)
    last = trash_yard.digest(yard, BACK)
    thrown(yard, BACK)
    yard.verb("create", LATER, GIB)
    restored(yard, BACK, LATER)
    assert trash_yard.digest(yard, LATER) == last
    assert copies(yard) == [copy]


def test_several_copies_are_told_apart(yard: Yard) -> None:
    """The sentence names the entries to choose from."""
    deleted(yard)
    used(yard)
    over(yard)
    trash_yard.write(yard, BACK, 8)
    over(yard)
    assert len(copies(yard)) == 2
    with pytest.raises(errors.Conflict, match="was written over 2 times: give one of these entr"):
        over(yard, BACK)


def test_a_second_run_does_it_once_more(yard: Yard) -> None:
    """Whether somebody has written meanwhile nobody can tell for certain, so nothing rests on it,
    nor on the tag that tells what a disk was made of."""
    wanted = deleted(yard)
    used(yard)
    over(yard)
    trash_yard.write(yard, BACK, 6)
    between = trash_yard.digest(yard, BACK)
    over(yard)
    assert trash_yard.digest(yard, BACK) == wanted
    over(yard, copies(yard)[1].entry)
    assert trash_yard.digest(yard, BACK) == between
    is_whole(yard)


def test_a_disk_is_not_taken_for_what_it_was_made_of(yard: Yard) -> None:
    """It came out of the trash, and was written over by something else since: a restore of the
    first says nothing of having it already."""
    deleted(yard)
    yard.verb("create", BACK, GIB)
    restored(yard, DISK)
    used(yard, LATER)
    thrown(yard, LATER)
    over(yard, LATER)
    with pytest.raises(errors.Conflict):
        restored(yard, DISK)


def test_an_empty_disk_and_a_larger_one(yard: Yard) -> None:
    """T82: a disk keeps its size, of which the rest is zeros."""
    wanted = deleted(yard)
    yard.verb("create", BACK, 2 * GIB)
    over(yard)
    assert trash_yard.digest(yard, BACK) == wanted
    assert yard.see().things[f"ovirt--{BACK}"].size_bytes == 2 * GIB
    is_whole(yard)


@pytest.mark.parametrize("identity", ["all", "unnamed"])
@pytest.mark.parametrize("size", ["grow", "snapshot"])
def test_whatever_a_revert_changes_of_a_volume(
    module_database: Database, tmp_path: Path, identity: str, size: str
) -> None:
    """T79: another global id, and another size (python-storpool 76ce668, pve a536de7): the row
    follows, and the volume is as large as Engine believes."""
    switches = {"revert_identity": identity, "revert_size": size}
    with opened_yard(module_database, other(tmp_path), **switches) as yard:
        yard.verb("create", DISK, GIB)
        wanted = deleted(yard)
        used(yard, size_gib=2)
        trash_yard.noted(yard)
        over(yard)
        row, there = yard.see().rows[BACK], yard.see().things[f"ovirt--{BACK}"]
        assert row.global_id == there.global_id
        assert there.size_bytes == row.size_bytes == 2 * GIB
        assert trash_yard.digest(yard, BACK) == wanted
        is_whole(yard)


def test_what_a_vm_writes_is_written_over_where_that_is_a_preview(yard: Yard) -> None:
    """The disk's first volume, and what the preview was made of, stay as they are."""
    wanted, before = deleted(yard), used(yard)
    snapshot = yard.verb("snapshot", BACK)
    preview = yard.verb("preview", snapshot)
    trash_yard.write(yard, preview, 3)
    told = over(yard)
    assert told[1] == f"  its VM writes its preview {preview}: that has it"
    assert trash_yard.digest(yard, preview) == wanted
    assert trash_yard.digest(yard, BACK) == before == trash_yard.digest(yard, snapshot)
    assert [each.node for each in copies(yard)] == [preview]
    is_whole(yard)
    yard.verb("delete", preview)
    assert trash_yard.digest(yard, BACK) == before


def test_clones_of_the_disk_stay_as_they_are(yard: Yard) -> None:
    """A clone has the data that its source had then."""
    deleted(yard)
    before = used(yard)
    yard.verb("clone", BACK, LATER)
    over(yard)
    assert trash_yard.digest(yard, LATER) == before
    is_whole(yard)


# What is refused; nothing has changed then


def is_refused(yard: Yard, match: str, error: type[errors.Error] = errors.Conflict) -> None:
    """Check that it is refused with a sentence, and that all is as before."""
    before = yard.world()
    with pytest.raises(error, match=match):
        over(yard)
    assert yard.world() == before


@pytest.mark.parametrize("is_open", [True, False])
def test_a_disk_that_a_host_has_is_refused(yard: Yard, is_open: bool) -> None:
    """No data change below a VM, whatever StorPool would do with it."""
    deleted(yard)
    used(yard)
    yard.shut(BACK, declared_open=is_open)
    is_refused(yard, "is attached to client 1.*stop its VM")


def test_a_disk_that_a_host_was_told_of_is_refused_for_a_while(yard: Yard) -> None:
    """It may be about to attach it by that."""
    deleted(yard)
    used(yard)
    yard.verb("connect", BACK, {"host": "node1"})
    is_refused(yard, "was given to host .* in the last 3 minutes")
    yard.sql(
        "UPDATE storpool_ovirt.asked SET hosts = jsonb_set(hosts, '{0,at}',"
        " to_jsonb((hosts->0->>'at')::float - 200))"
    )
    over(yard)


def test_a_smaller_disk_is_refused(yard: Yard) -> None:
    """T82: nobody makes it larger behind Engine's back."""
    yard.verb("extend", DISK, 2 * GIB)
    deleted(yard)
    used(yard)
    is_refused(yard, "has 1 GiB, and what is restored has 2 GiB: extend the disk")


def test_what_is_no_disk_or_is_not_there_is_refused(yard: Yard) -> None:
    """T76: and a disk that was never made cannot have data."""
    deleted(yard)
    is_refused(yard, BACK, errors.NotFound)
    used(yard)
    snapshot = yard.verb("snapshot", BACK)
    with pytest.raises(errors.Conflict, match="is a part of disk"):
        over(yard, into=snapshot)


def test_what_another_platform_uses_is_refused(yard: Yard) -> None:
    """T76."""
    deleted(yard)
    used(yard)
    yard.ask(f"VolumeUpdate/{yard.address(BACK)}", {"tags": {"csi_name": "pvc-1"}})
    is_refused(yard, "is used by Kubernetes", errors.Foreign)


def test_what_goes_soon_is_refused(yard: Yard) -> None:
    """It must not go while the work is under way."""
    trash_yard.write(yard, DISK, 7)
    thrown(yard, DISK, ends_at=time.time() + 600)
    used(yard)
    is_refused(yard, "is deleted by StorPool in less than 15 minutes")


def test_a_cluster_that_gives_no_date_is_refused(module_database: Database, tmp_path: Path) -> None:
    """T83: a copy would stay for ever: it goes again, and nothing is written over."""
    with opened_yard(module_database, other(tmp_path), deferred_deletion="off") as yard:
        yard.verb("create", DISK, GIB)
        deleted(yard)
        before = used(yard)
        with pytest.raises(errors.Conflict, match="does not delete its copy by itself"):
            over(yard)
        assert trash_yard.digest(yard, BACK) == before
        assert copies(yard) == []
        left = [each for each in yard.ask("SnapshotsList") if not each.get("deleted")]
        assert [each["tags"].get("ovirt-uuid") for each in left] == [DISK]
        assert yard.entries() == 0


# How long a copy is kept


@pytest.mark.parametrize(("delay", "kept"), [(0, 48 * HOUR), (60, HOUR), (5 * HOUR, 5 * HOUR)])
def test_how_long_a_copy_is_kept(yard: Yard, delay: float, kept: float) -> None:
    """As what is deleted, but at least an hour; no option turns it off."""
    deleted(yard)
    used(yard)
    yard.given(delete_delay_seconds=int(delay))
    over(yard)
    (copy,) = copies(yard)
    (raw,) = yard.ask(f"Snapshot/~{copy.global_id}")
    assert abs(raw["targetDeleteDate"] - raw["creationTimestamp"] - kept) <= 2
    assert copy.ends_at == raw["targetDeleteDate"]


def test_a_rebuild_knows_a_copy_for_what_it_is(yard: Yard) -> None:
    """By the mark in its tag; its row belongs to no deletion."""
    deleted(yard)
    used(yard)
    over(yard)
    (copy,) = copies(yard)
    yard.sql("DELETE FROM storpool_ovirt.trash WHERE entry = %s", copy.entry)
    yard.rebuild()
    (again,) = copies(yard)
    assert (again.entry, again.deletion, again.global_id, again.active) == (
        copy.entry,
        copy.entry,
        copy.global_id,
        True,
    )


def test_a_rehearsal_tells_each_request(yard: Yard) -> None:
    """Nothing is sent that changes anything."""
    deleted(yard)
    used(yard)
    before = yard.world()
    said = over(yard, dry_run=True)
    assert yard.world() == before
    sent = [line.split()[3].partition("/")[0] for line in said if "would send" in line]
    assert sent == ["VolumeSnapshot", "VolumeRevert", "VolumeUpdate"]
    assert said[-1] == "  would write to the mapping database"
