"""backup.py, backups.py: a command that dies at any request or statement leaves nothing that is not
told, and no copy that nobody knows."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from rigs import backup_yard, kills
from rigs.backup_yard import TO, BackupYard
from storpool_ovirt.admin import backup
from storpool_ovirt.engine import copies, copies_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

_numbers = itertools.count(1)


@pytest.fixture(params=["given", "none"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[BackupYard]:
    """A yard with a far side; bases may have the tags of their copies, or none."""
    with backup_yard.opened(module_database, tmp_path, backup_base_tags=request.param) as opened:
        opened.sides.take_dates(60)
        yield opened


def new_disk(yard: BackupYard) -> str:
    """Make a small disk with data of its own."""
    disk = f"d0000000-0000-4000-8000-{next(_numbers):012d}"
    yard.disk(disk, disk.encode(), size_bytes=1 << 20)
    return disk


def settled(yard: BackupYard, disk: str) -> list[copies_seen.Seen]:
    """Return how the copies of a disk are when nothing can come any more, and check that each on
    the far side is known, and holds the disk."""
    yard.copies(disk)
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '2 hours'")
    seen = yard.copies(disk)
    far = {each for each, name in yard.there().items() if disk in name}
    assert far == {each.row.remote_id for each in seen if each.state != copies.GIVEN_UP}
    for each in seen:
        assert yard.far_checksum(each.row.remote_id) == yard.checksum(f"ovirt--{disk}")
    return seen


def test_a_backup_may_die_anywhere(yard: BackupYard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71, T72: the copy was made and is listed, or was not and nothing is left of it; another one
    can be made."""

    def trial(dying: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        disk = new_disk(yard)
        with contextlib.ExitStack() as stack:
            stack.enter_context(dying())
            with yard.administrator("backup") as work:
                backup.make(work, backup.target(work, disk), TO)
        left = settled(yard, disk)
        assert len(left) <= 1
        assert all(each.state == copies.THERE for each in left)
        yard.waited(yard.backup(disk))
        assert len(settled(yard, disk)) == len(left) + 1

    labels = kills.each_point(monkeypatch, trial)
    assert "volumesGroupBackup" in labels
    assert yard.report().findings == ()


def test_a_retention_may_die_anywhere(yard: BackupYard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71: a copy is given up once or still there, and the next run ends it."""

    def trial(dying: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        disk = new_disk(yard)
        for _ in range(2):
            yard.waited(yard.backup(disk))
        yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")
        with contextlib.ExitStack() as stack:
            stack.enter_context(dying())
            with yard.administrator("backup-expire") as work:
                backup.give_up_old(work, backup.look(work, disk), 7 * 86400)
        with yard.administrator("backup-expire") as work:
            done = backup.give_up_old(work, backup.look(work, disk), 7 * 86400)
        assert done.failed == ""
        states = sorted(each.state for each in yard.copies(disk))
        assert states == [copies.GIVEN_UP, copies.THERE]
        yard.simulator.advance(3700)
        assert [each.state for each in yard.copies(disk)] == [copies.THERE]

    labels = kills.each_point(monkeypatch, trial)
    assert "snapshotsRemoteUnexport" in labels
