"""trash.py, trash_text.py: the trash names the copies that a disk has in other locations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rigs import backup_yard
from rigs.backup_yard import TO, BackupYard
from rigs.yard import DISK, OTHER
from storpool_ovirt.admin import trash, trash_text
from storpool_ovirt.engine import copies, copies_seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

KEEP_SECONDS = 48 * 3600


@pytest.fixture
def yard(module_database: Database, tmp_path: Path) -> Iterator[BackupYard]:
    """A yard with a far side, whose domain copies and keeps what it deletes."""
    with backup_yard.opened(module_database, tmp_path) as opened:
        opened.given(backup_on_delete=TO, delete_delay_seconds=KEEP_SECONDS)
        yield opened


def told(yard: BackupYard) -> tuple[list[str], dict[str, list[dict[str, Any]]]]:
    """Return the lines of the list, and the copies that its document has of each disk."""
    with yard.administrator("trash-list") as work:
        found = trash.look(work)
    document = json.loads(json.dumps(trash_text.document(found)))
    return list(trash_text.text(found)), {
        each["disk"]: each["copies"] for each in document["deletions"]
    }


def test_the_copies_of_a_disk_are_named(yard: BackupYard) -> None:
    """T83: that of the delete, as far as it was seen, and one that somebody made before; another
    disk has none of them. The lines tell what gives one back."""
    yard.disk(DISK, b"data")
    [before] = yard.waited(yard.backup(DISK))
    yard.sides.slow()
    yard.verb("delete", DISK)
    yard.given(delete_delay_seconds=KEEP_SECONDS)
    yard.disk(OTHER)
    yard.verb("delete", OTHER)
    lines, found = told(yard)
    assert [(each["state"], each["reason"]) for each in found[DISK]] == [
        (copies.THERE, copies.ASKED),
        (copies_seen.ON_THE_WAY, copies.DELETED),
    ]
    assert found[DISK][0]["global_id"] == before.row.remote_id
    assert found[OTHER] == []
    named = [line for line in lines if line.startswith("  copy ~")]
    assert [line.rsplit(": ", 1)[1] for line in named] == [copies.THERE, copies_seen.ON_THE_WAY]
    assert named[0].startswith(f"  copy ~{before.row.remote_id}, ")
    assert any("backup restore COPY --into NEW --from-remote" in line for line in lines)


def test_a_copy_of_a_preview_is_told_as_one(yard: BackupYard) -> None:
    """T83: a preview's copy names it; the look of `backup list` is seen here afterwards."""
    yard.disk(DISK, b"data")
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.verb("delete", DISK)
    yard.waited([each.row for each in yard.copies(DISK)])
    lines, found = told(yard)
    assert {(each["volume"], each["state"]) for each in found[DISK]} == {
        (DISK, copies.THERE),
        (preview, copies.THERE),
    }
    assert sum(f" of preview {preview}, " in line for line in lines) == 1


def test_without_copies_there_is_no_word_of_them(yard: BackupYard) -> None:
    """T83: neither in a line nor below the list."""
    yard.given(delete_delay_seconds=KEEP_SECONDS)
    yard.disk(DISK)
    yard.verb("delete", DISK)
    lines, found = told(yard)
    assert found == {DISK: []}
    assert not any("copy" in line or "copies" in line for line in lines)
