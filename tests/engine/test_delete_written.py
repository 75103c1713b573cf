"""removal.py, disposal.py, delete_copies.py: what a delete keeps, here and in another location, of
a disk to which a program writes as long as it can."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from rigs import clusters, ordered_writes
from rigs.backup_yard import TO, BackupYard
from rigs.disk_rig import Fault
from rigs.trash_yard import entries
from rigs.yard import DISK
from storpool_ovirt import errors
from storpool_ovirt.engine import copies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

KEEP_SECONDS = 48 * 3600
TRIES_MAX = 500


@pytest.fixture
def kept(module_database: Database, tmp_path: Path) -> Iterator[BackupYard]:
    """Give a yard whose hosts have block devices, and whose domain keeps what it deletes; with a
    disk."""
    clusters.need_devices("loop", tmp_path / "tried")
    with contextlib.closing(BackupYard(tmp_path, module_database, devices="loop")) as yard:
        yard.given(delete_delay_seconds=KEEP_SECONDS)
        yard.disk(DISK)
        yield yard
        assert yard.forced() == []


def attached(yard: BackupYard) -> Path:
    """Attach the disk to host 1; return its device."""
    global_id = yard.global_id(DISK)
    yard.hold(f"~{global_id}", 1)
    return yard.device(1, global_id)


def here(yard: BackupYard, global_id: str) -> int:
    """Return the number that an object of this cluster holds."""
    return ordered_writes.number_in(yard.simulator.cluster.files.path(global_id))


def test_a_disk_that_is_written_is_neither_kept_nor_copied(kept: BackupYard) -> None:
    """T9, T83, F62: the delete is refused, before anything is made of it, and the writer goes
    on."""
    kept.given(delete_delay_seconds=KEEP_SECONDS, backup_on_delete=TO)
    with ordered_writes.writing(attached(kept)) as writer:
        before = kept.see()
        with pytest.raises(errors.InUse):
            kept.verb("delete", DISK)
        assert kept.see() == before
        assert (kept.there(), kept.copies()) == ({}, [])
        writer.go_on()
    assert here(kept, kept.global_id(DISK)) == writer.count


def test_nothing_that_was_written_is_missing_in_what_is_kept(kept: BackupYard) -> None:
    """T83, F62: a program opens the disk again and again. Once a delete has got hold of it the
    program gets no further, and both copies have its last number, or the one that it was about to
    write."""
    kept.given(delete_delay_seconds=KEEP_SECONDS, backup_on_delete=TO)
    with ordered_writes.writing(attached(kept), closes=True) as writer:
        for _ in range(TRIES_MAX):
            with contextlib.suppress(errors.InUse):
                kept.verb("delete", DISK)
                break
    assert writer.problem is not None
    [entry], [copied] = entries(kept), kept.copies(DISK)
    [seen] = kept.waited([copied.row])
    assert seen.state == copies.THERE
    found = here(kept, entry.global_id)
    assert found in (writer.count, writer.begun)
    far = kept.sides.far.simulator.cluster.files
    assert ordered_writes.number_in(far.path(str(seen.row.remote_id))) == found


def test_who_gets_the_disk_behind_its_copy_keeps_it(kept: BackupYard) -> None:
    """T9, T83: a host attaches it between its copy and its delete, and writes: the delete is
    refused, the copy goes, and nothing that was written is lost."""
    with contextlib.ExitStack() as writers:
        found: list[ordered_writes.Writer] = []

        def attach_late() -> bool:
            if kept.see().trash and not found:
                found.append(writers.enter_context(ordered_writes.writing(attached(kept))))
            return False

        with pytest.raises(errors.InUse):
            kept.verb("delete", DISK, fault=Fault("death", when=attach_late))
        assert kept.see().trash == {}
        assert entries(kept) == []
        found[0].go_on()
    assert found[0].problem is None
    assert here(kept, kept.global_id(DISK)) == found[0].count
