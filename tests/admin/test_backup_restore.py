"""backup_restore.py: a copy in another location becomes a disk again, with the same bytes; whatever
dies on the way, its repetition ends it, and nothing is left over."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from rigs import backup_yard, kills
from rigs.backup_yard import SIZE_BYTES, BackupYard
from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER
from storpool_ovirt import errors
from storpool_ovirt.admin import backup_restore
from storpool_ovirt.engine import copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

MIB = 1 << 20
_numbers = itertools.count(1)


@pytest.fixture(params=["forward", "refuse"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[BackupYard]:
    """A yard with a far side; data that are still coming can be read over the bridge, or not."""
    with backup_yard.opened(module_database, tmp_path, recovering_use=request.param) as opened:
        yield opened


def copied(yard: BackupYard, disk: str = DISK, size_bytes: int = SIZE_BYTES) -> copies.Copy:
    """Make a disk that has data, and a copy that is there."""
    yard.disk(disk, disk.encode() * 1000, size_bytes=size_bytes)
    return yard.waited(yard.backup(disk))[0].row


def restored(
    yard: BackupYard, row: copies.Copy, into: str, *, from_remote: bool = True
) -> list[str]:
    """Restore."""
    with yard.administrator("backup-restore") as work:
        return backup_restore.restore(work, f"~{row.remote_id}", into, from_remote=from_remote)


def fetched(yard: BackupYard) -> list[str]:
    """Return the copies that are here."""
    return [
        each["name"]
        for each in yard.ask("SnapshotsList")
        if each["name"].startswith("ovirt-copy--")
    ]


def test_a_copy_comes_back(yard: BackupYard) -> None:
    """F63: into a disk that oVirt has just made; the bytes are those of the moment of the copy, and
    the disk that was copied may be gone."""
    row = copied(yard)
    was = yard.checksum(f"ovirt--{DISK}")
    yard.verb("delete", DISK)
    yard.verb("create", OTHER, SIZE_BYTES)
    yard.sides.slow()
    assert restored(yard, row, OTHER)
    assert yard.checksum(f"ovirt--{OTHER}") == was
    yard.simulator.advance(5)
    assert fetched(yard) == []
    assert yard.there().keys() == {row.remote_id}
    yard.verb("connection", OTHER)
    assert [each.state for each in yard.copies()] == [copies.THERE]
    assert "has it already" in restored(yard, row, OTHER)[0]
    yard.simulator.advance(5)
    assert fetched(yard) == []


def test_a_restore_is_repeated_at_once(yard: BackupYard) -> None:
    """F63: while StorPool still drops what the first one fetched: nothing is fetched again, and no
    bridge is blamed."""
    row = copied(yard)
    yard.verb("create", OTHER, SIZE_BYTES)
    assert restored(yard, row, OTHER)
    assert restored(yard, row, OTHER) == [
        f"disk {OTHER} has it already: it was restored from copy ~{row.remote_id} of disk {DISK}"
        " in rem"
    ]
    yard.simulator.advance(5)
    assert fetched(yard) == []


def test_into_an_id_that_ovirt_is_about_to_use(yard: BackupYard) -> None:
    """F63: oVirt makes the disk afterwards, and finds it as made."""
    row = copied(yard, size_bytes=GIB)
    was = yard.checksum(f"ovirt--{DISK}")
    restored(yard, row, OTHER)
    yard.verb("create", OTHER, GIB)
    assert yard.checksum(f"ovirt--{OTHER}") == was


def test_what_is_refused(yard: BackupYard) -> None:
    """A disk with data, a copy that is not ours or not here, no copy at all: nothing is changed."""
    row = copied(yard)
    yard.disk(CLONE, b"mine")
    with pytest.raises(errors.Conflict, match="give --from-remote"):
        restored(yard, row, OTHER, from_remote=False)
    with pytest.raises(errors.Conflict, match="has data"):
        restored(yard, row, CLONE)
    with pytest.raises(errors.InputError, match="is no global id"):
        restored(yard, row._replace(remote_id="x"), OTHER)
    with pytest.raises(errors.NotFound, match="backup list"):
        restored(yard, row._replace(remote_id="loc.a.zzz"), OTHER)
    assert fetched(yard) == []


@pytest.mark.parametrize(
    "why", ["has data", "is attached", "extend the disk in oVirt", "no fresh disk", "given"]
)
def test_a_wrong_disk_is_refused_before_anything_is_fetched(yard: BackupYard, why: str) -> None:
    """F63: who has to wait for hours is told at once; the disk is as it was."""
    row = copied(yard)
    yard.disk(
        OTHER,
        b"mine" if why == "has data" else b"",
        SIZE_BYTES // (1 + (why == "extend the disk in oVirt")),
    )
    if why == "no fresh disk":
        yard.verb("snapshot", OTHER)
    elif why == "given":
        yard.verb("connection", OTHER)
    elif why == "is attached":
        volume = yard.ask(f"Volume/ovirt--{OTHER}")[0]
        yard.ask("VolumesReassign", [{"volume": volume["name"], "rw": [1]}])
    was = yard.checksum(f"ovirt--{OTHER}")
    yard.sides.slow(100)
    yard.queries()
    with pytest.raises(errors.Conflict, match=why) as refused:
        restored(yard, row, OTHER)
    assert "--over-data" not in str(refused.value)  # there is no such option here
    assert not any("SnapshotFromRemote" in each for each in yard.queries())
    assert fetched(yard) == []
    assert yard.checksum(f"ovirt--{OTHER}") == was


def test_a_disk_that_is_used_while_the_copy_comes_is_refused_then(yard: BackupYard) -> None:
    """F63: it is looked at again; what was fetched stays, and is taken up without --from-remote."""
    row = copied(yard)
    yard.disk(OTHER)
    yard.sides.slow(10)
    sleep, due = yard.clock.sleep, [lambda: yard.write(OTHER, b"mine")]

    def write(seconds: float) -> None:
        while due:
            due.pop()()
        sleep(seconds)

    yard.clock.sleep = write  # type: ignore[method-assign]
    with pytest.raises(errors.Conflict, match="has data"):
        restored(yard, row, OTHER)
    assert len(fetched(yard)) == 1
    yard.disk(CLONE)
    assert restored(yard, row, CLONE, from_remote=False)


def test_a_fetch_goes_on_over_a_cut(yard: BackupYard) -> None:
    """F63: the bridge is cut in the middle; the command waits until its time is over, and the next
    one goes on where it was."""
    row = copied(yard)
    was = yard.checksum(f"ovirt--{DISK}")
    yard.verb("create", OTHER, SIZE_BYTES)
    yard.sides.slow(100)
    yard.meanwhile_cut()
    with pytest.raises(errors.DeadlineExceeded, match="the data of copy"):
        restored(yard, row, OTHER)
    assert len(fetched(yard)) == 1
    yard.sides.heal()
    restored(yard, row, OTHER, from_remote=False)
    assert yard.checksum(f"ovirt--{OTHER}") == was


def test_a_restore_may_die_anywhere(yard: BackupYard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71: repeated, the disk has the data, and nothing that was fetched is left."""
    row = copied(yard, size_bytes=MIB)
    was = yard.checksum(f"ovirt--{DISK}")

    def trial(dying: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        disk = f"a0000000-0000-4000-8000-{next(_numbers):012d}"
        yard.verb("create", disk, MIB)
        with contextlib.ExitStack() as stack:
            stack.enter_context(dying())
            restored(yard, row, disk)
        yard.simulator.advance(5)
        restored(yard, row, disk)
        yard.simulator.advance(5)
        assert yard.checksum(f"ovirt--{disk}") == was
        assert fetched(yard) == []
        yard.verb("connection", disk)

    labels = kills.each_point(monkeypatch, trial)
    assert "snapshotFromRemote" in labels
    assert yard.there().keys() == {row.remote_id}
