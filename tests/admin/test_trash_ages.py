"""trash.py, trash_purge.py, trash_rows.py: how long ago something was deleted is told by the
clock of the database, and never as longer than it can be known."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import DELAY_SECONDS, entries
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt.admin import trash, trash_purge, trash_restore, trash_text
from storpool_ovirt.admin.trash_purge import Which

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine that keeps what is deleted, with a disk that has data."""
    yard.given(delete_delay_seconds=DELAY_SECONDS, snapshot_delete_delay_seconds=DELAY_SECONDS)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 1)
    yield yard
    assert yard.forced() == []


def older(yard: Yard, seconds: float, off: float = 0.0) -> list[str]:
    """Return of which disks a purge would take what is older, by an administrator whose clock is
    so far off."""
    with yard.administrator("trash-purge") as work:
        there = dataclasses.replace(work, now=lambda: time.time() + off)
        plan = trash_purge.plan(there, trash.look(there), Which(older_seconds=seconds))
        return [each.deletion.disk for each in plan]


@pytest.mark.parametrize("off", [-9 * DAY, 9 * DAY])
def test_the_clock_of_the_administrators_machine_tells_no_age(kept: Yard, off: float) -> None:
    """T83: neither what is young is purged as old, nor what is old kept as young; the list
    tells the same."""
    kept.verb("create", OTHER, GIB)
    kept.verb("delete", OTHER)
    kept.sql("UPDATE storpool_ovirt.trash SET deleted_at = deleted_at - interval '2 days'")
    kept.verb("delete", DISK)
    assert older(kept, DAY, off) == [OTHER]
    with kept.administrator("trash-list") as work:
        found = trash.look(dataclasses.replace(work, now=lambda: time.time() + off))
    titles = [line for line in trash_text.text(found) if line.startswith("disk ")]
    assert "(2 d ago)" in titles[0]
    assert " s ago)" in titles[1]


def test_what_a_restore_wrote_over_is_dated_by_the_database(kept: Yard) -> None:
    """T83: as what is deleted is."""
    kept.verb("delete", DISK)
    (deleted,) = entries(kept)
    kept.verb("create", OTHER, GIB)
    trash_yard.write(kept, OTHER, 2)
    kept.age(3600)
    with kept.administrator("trash-restore") as work:
        there = dataclasses.replace(work, now=lambda: time.time() - 60)
        trash_restore.restore(there, deleted.entry, OTHER, over_data=True)
    (copy,) = [each for each in entries(kept) if each.is_safety]
    assert copy.deleted_at >= deleted.deleted_at


# After a rebuild


def rebuilt(yard: Yard, which: str = "true") -> float:
    """Lose these rows of the trash, and have them made again a second later; return when."""
    yard.sql(f"DELETE FROM storpool_ovirt.trash WHERE {which}")
    yard.simulator.advance(1)
    at = time.time()
    yard.rebuild()
    return at


def test_a_snapshot_that_was_removed_alone_is_as_young_as_its_row(kept: Yard) -> None:
    """T83, T72: nothing in StorPool tells when it was removed; it may be years older itself."""
    kept.verb("remove", kept.verb("snapshot", DISK))
    at = rebuilt(kept)
    (entry,) = entries(kept)
    assert entry.deleted_at >= at
    assert entry.created_at < at


def test_what_went_with_a_volume_is_as_old_as_that(kept: Yard) -> None:
    """T83, T72: the volume's snapshot in the trash was made then; a row that is left tells it
    better."""
    kept.verb("snapshot", DISK)
    kept.verb("delete", DISK)
    kept.sql("UPDATE storpool_ovirt.trash SET deleted_at = now() - interval '1 day'")
    (was,) = {each.deleted_at for each in entries(kept)}
    rebuilt(kept, "kind = 'snapshot'")
    assert [each.deleted_at for each in entries(kept)] == [was, was]
    at = rebuilt(kept)
    found = entries(kept)
    (volume,) = [each for each in found if each.kind == "volume"]
    assert {each.deleted_at for each in found} == {volume.created_at}
    assert volume.created_at < at
