"""delete_copies.py: where the domain says so, a disk is copied to another location before it is
deleted, or it is not deleted; whatever dies or is lost makes no second copy of one delete."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from rigs import backup_yard, kills
from rigs.backup_yard import TO, BackupYard
from rigs.disk_rig import Fault
from rigs.yard import DISK
from storpool_ovirt import errors, names
from storpool_ovirt.engine import copies, copies_seen, disks
from storpool_ovirt.option_values import CopyTo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

MIB = 1 << 20
KEEP_SECONDS = 48 * 3600
_numbers = itertools.count(1)


@pytest.fixture(params=["given", "none"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[BackupYard]:
    """A yard whose domain copies and keeps what it deletes; bases may have the copies' tags, or
    none."""
    with backup_yard.opened(module_database, tmp_path, backup_base_tags=request.param) as opened:
        opened.given(backup_on_delete=TO, delete_delay_seconds=KEEP_SECONDS)
        yield opened


def is_there(yard: BackupYard, disk: str) -> bool:
    """Tell whether a disk's own volume is there."""
    return f"ovirt--{disk}" in {each["name"] for each in yard.ask("VolumesList")}


def far(yard: BackupYard, disk: str) -> set[str]:
    """Return the ids of the copies of a disk on the far side."""
    return {each for each, name in yard.there().items() if disk in name}


def test_a_deleted_disk_has_a_copy(yard: BackupYard) -> None:
    """F62: the delete returns while the data are on their way; they come though the volume is
    gone, and the table knows of which disk they are."""
    yard.given(
        backup_on_delete=CopyTo(TO.location, (("del", "y"),)), delete_delay_seconds=KEEP_SECONDS
    )
    yard.disk(DISK, b"x" * 4 * MIB)
    was = yard.checksum(f"ovirt--{DISK}")
    yard.sides.slow()
    yard.verb("delete", DISK)
    assert not is_there(yard, DISK)
    [seen] = yard.copies(DISK)
    assert (seen.state, seen.row.reason) == (copies_seen.ON_THE_WAY, copies.DELETED)
    yard.sides.cut()
    yard.simulator.advance(100)
    yard.sides.heal()
    [seen] = yard.waited([seen.row])
    assert seen.state == copies.THERE
    assert yard.far_checksum(seen.row.remote_id) == was
    tags = yard.sides.far.client().snapshot(f"~{seen.row.remote_id}").tags
    assert (tags["ovirt-root"], tags["del"]) == (DISK, "y")
    assert yard.sql("SELECT count(*) FROM storpool_ovirt.trash") == [(1,)]


def test_without_the_trash_the_copy_is_made_all_the_same(yard: BackupYard) -> None:
    """F62: the base here holds the data."""
    yard.given(backup_on_delete=TO)
    yard.disk(DISK, b"x" * 4 * MIB)
    was = yard.checksum(f"ovirt--{DISK}")
    yard.sides.slow()
    yard.verb("delete", DISK)
    [seen] = yard.waited([each.row for each in yard.copies()])
    assert yard.far_checksum(seen.row.remote_id) == was


def test_all_volumes_of_a_disk_are_copied_at_one_moment(yard: BackupYard) -> None:
    """F62: its own and that of a preview, by one call; its snapshots stand below them."""
    yard.disk(DISK, b"old")
    snapshot = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    yard.queries()
    yard.verb("delete", DISK)
    assert yard.queries().count("POST VolumesGroupBackup") == 1
    rows = [each.row for each in yard.copies(DISK)]
    assert {row.node for row in rows} == {DISK, preview}
    assert len({row.copy for row in rows}) == 1


@pytest.mark.parametrize("delay", [0, KEEP_SECONDS])
def test_what_engine_never_had_is_not_copied(yard: BackupYard, delay: int) -> None:
    """Failed makes, undone previews, single snapshots: there is nothing that anybody may miss."""
    yard.given(backup_on_delete=TO, delete_delay_seconds=delay)
    with contextlib.suppress(errors.Error):
        yard.verb("create", DISK, MIB, fault=Fault("reset_before", "VolumeCreate", times=50))
    yard.verb("delete", DISK)
    yard.undelivered("create", DISK, MIB)
    yard.verb("delete", DISK)
    yard.disk(DISK, b"data")
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("delete", yard.verb("preview", snapshot))
    yard.verb("remove", snapshot)
    assert far(yard, DISK) == set()
    assert yard.sql("SELECT count(*) FROM storpool_ovirt.backup") == [(0,)]


def test_without_a_copy_nothing_is_deleted(yard: BackupYard) -> None:
    """F62: an unknown location, a far side without room, a cut bridge: the verb fails with a
    sentence, the disk is as before, and is deleted when the copy can be made."""
    yard.disk(DISK, b"data")
    was = yard.checksum(f"ovirt--{DISK}")
    yard.given(backup_on_delete=CopyTo("nowhere"), delete_delay_seconds=KEEP_SECONDS)
    with pytest.raises(errors.Conflict, match="was not deleted") as refused:
        yard.verb("delete", DISK)
    assert str(refused.value).startswith(
        f"disk {DISK} was not deleted, as it has to be copied before: there is no location nowhere"
        " in the StorPool cluster at "
    )
    assert ": it knows rem: correct sp_backup_on_delete of the storage domain" in str(refused.value)
    assert yard.see().pending == []
    assert yard.sql("SELECT count(*) FROM storpool_ovirt.backup") == [(0,)]
    yard.verb("connection", DISK)
    yard.given(backup_on_delete=TO, delete_delay_seconds=KEEP_SECONDS)
    yard.sides.cut()
    with pytest.raises(errors.ApiUnavailable, match=f"disk {DISK} was not deleted"):
        yard.verb("delete", DISK)
    assert yard.checksum(f"ovirt--{DISK}") == was
    assert far(yard, DISK) == set()
    yard.sides.heal()
    yard.verb("connection", DISK)  # a VM may be started
    yard.verb("delete", DISK)
    assert not is_there(yard, DISK)
    assert len(far(yard, DISK)) == 1


@pytest.mark.parametrize("fault", [None, Fault("error_200", "LocationsList", times=9)])
def test_an_unknown_location_takes_no_domain_down(yard: BackupYard, fault: Fault | None) -> None:
    """F62: storage_stats works and says what is wrong; only a delete needs the location."""
    good = yard.verb("stats")
    assert names.BACKUP_FAULT not in good
    yard.given(backup_on_delete=CopyTo("nowhere"))
    found = yard.verb("stats", fault=fault)
    said = found.pop(names.BACKUP_FAULT)
    assert ("it knows rem" in said) == (fault is None)
    assert found == good
    yard.disk(DISK, b"data")
    yard.verb("connection", DISK)


def test_a_refused_copy_is_told_with_storpools_reason(yard: BackupYard) -> None:
    """F62: where the location is known, it is not blamed."""
    yard.disk(DISK, b"data")
    refusal = Fault("error_200", "VolumesGroupBackup", times=9)
    with pytest.raises(errors.Conflict, match=r"copied to location rem before, and StorPool ref"):
        yard.verb("delete", DISK, fault=refusal)
    assert is_there(yard, DISK)


@pytest.mark.parametrize("query", ["VolumesGroupBackup", "VolumeDelete"])
def test_a_lost_answer_makes_no_second_copy(yard: BackupYard, query: str) -> None:
    """T71: neither in the same verb nor in the next try."""
    yard.disk(DISK, b"data")
    with contextlib.suppress(errors.Error):
        yard.verb("delete", DISK, fault=Fault("reset_after", query))
    yard.verb("delete", DISK)
    assert not is_there(yard, DISK)
    assert len(far(yard, DISK)) == 1


def test_a_disk_that_was_used_since_is_copied_again(yard: BackupYard) -> None:
    """F62: a copy of a delete that died is not taken for that of a later one, once a verb has taken
    the first one back: the VM may have written."""
    yard.disk(DISK, b"then")
    yard.die_when(lambda: bool(far(yard, DISK)), "delete", DISK)
    yard.age(7200)
    yard.verb("connection", DISK)
    yard.write(DISK, b"now!")
    was = yard.checksum(f"ovirt--{DISK}")
    yard.verb("delete", DISK)
    sums = [yard.far_checksum(each.row.remote_id) for each in yard.copies(DISK)]
    assert (len(sums), sums[-1]) == (2, was)


def test_a_delete_may_die_anywhere(yard: BackupYard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71: repeated, the disk is gone and has one copy, with its data, wherever the first try died;
    not repeated, it is there as before, or it is in the trash and has its copy."""

    def trial(
        dying: Callable[[], contextlib.AbstractContextManager[Any]], is_repeated: bool
    ) -> None:
        disk = f"d0000000-0000-4000-8000-{next(_numbers):012d}"
        yard.disk(disk, disk.encode(), size_bytes=MIB)
        was = yard.checksum(f"ovirt--{disk}")
        with contextlib.ExitStack() as stack:
            stack.enter_context(dying())
            with yard.engine("delete") as work:
                disks.delete(work, disk)
                work.mapping.journal.delivered()
        if is_repeated:
            yard.verb("delete", disk)
            assert len(far(yard, disk)) == 1
        yard.age(7200)
        with contextlib.suppress(errors.NotFound):
            yard.verb("connection", disk)
        if is_there(yard, disk):
            assert not is_repeated
            assert yard.checksum(f"ovirt--{disk}") == was
            return
        [remote_id] = far(yard, disk)
        assert yard.far_checksum(remote_id) == was
        assert [each.row.remote_id for each in yard.copies(disk)] == [remote_id]

    for is_repeated in (True, False):
        labels = kills.each_point(monkeypatch, lambda dying: trial(dying, is_repeated))  # noqa: B023
        assert "volumesGroupBackup" in labels
