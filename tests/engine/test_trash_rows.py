"""trash.py: the rows of the trash, apart from those of disks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import changes, database_url, journal, mapping, trash

if TYPE_CHECKING:
    from ovirt_demo.database import Database

DISK = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
SNAPSHOT = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
ENTRIES = tuple(f"{number}0000000-0000-4000-8000-00000000000e" for number in range(1, 5))
DELETIONS = tuple(f"{number}0000000-0000-4000-8000-00000000000d" for number in range(1, 3))
ENDS_AT = 1_900_000_000.0


@contextlib.contextmanager
def opened(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does."""
    address = database_url.parse(database.url)
    caller = journal.Caller("corr-1", "delete_volume")
    with mapping.opened(address, Deadline(20), caller) as there:
        yield there


def made(there: mapping.Mapping, generation: int) -> None:
    """Write the rows of a disk and its snapshot."""
    disk = mapping.Node(DISK, "volume", DISK, None, 1 << 30, mapping.PLANNED, active=DISK)
    snapshot = mapping.Node(SNAPSHOT, "snapshot", DISK, DISK, 1 << 30, mapping.PLANNED)
    for node in (disk, snapshot):
        there.plan(node, {})
        there.complete(node.uuid, f"sim.a.{generation}{node.kind[0]}")


def trashed(there: mapping.Mapping, generation: int, entries: tuple[str, ...]) -> None:
    """Write that both are in the trash."""
    moved = [
        trash.Moved(entry, node, f"sim.a.{generation}{kind}t", "hybrid", {"qc": "gold"})
        for entry, node, kind in zip(entries, (DISK, SNAPSHOT), "vs")
    ]
    part = trash.moved(DELETIONS[generation], ENDS_AT + generation, moved, "corr-1")
    there.write(changes.forgotten([DISK, SNAPSHOT]).after(part))


def test_rows_of_a_disk_become_rows_of_the_trash(database: Database) -> None:
    """T83: in one statement, with all that the rows tell."""
    with opened(database) as there:
        made(there, 0)
        trashed(there, 0, ENTRIES[:2])
        assert there.tree(DISK) == []
        disk, snapshot = sorted(trash.entries(there), key=lambda each: each.entry)
        forgotten = [each.entry for each in trash.entries(there)]
        there.write(trash.forgotten(forgotten))
        assert trash.entries(there) == []
    assert (disk.entry, disk.deletion, disk.disk, disk.node) == (
        ENTRIES[0],
        DELETIONS[0],
        DISK,
        DISK,
    )
    assert (disk.kind, disk.global_id, disk.source, disk.active) == (
        "volume",
        "sim.a.0vt",
        None,
        True,
    )
    assert (snapshot.kind, snapshot.source, snapshot.active) == ("snapshot", DISK, False)
    assert (disk.size_bytes, disk.template, disk.tags) == (1 << 30, "hybrid", {"qc": "gold"})
    assert (disk.ends_at, disk.correlation_id) == (ENDS_AT, "corr-1")
    assert 0 < disk.created_at <= disk.deleted_at


def test_a_disk_of_the_same_id_is_another_one(database: Database) -> None:
    """T83: Engine may use the id of a disk again, and what was deleted each time stays apart."""
    with opened(database) as there:
        made(there, 0)
        trashed(there, 0, ENTRIES[:2])
        made(there, 1)
        assert len(there.tree(DISK)) == 2
        trashed(there, 1, ENTRIES[2:])
        assert [each.deletion for each in trash.of(there, DISK)] == [
            *[DELETIONS[0]] * 2,
            *[DELETIONS[1]] * 2,
        ]
        assert {each.entry for each in trash.of(there, DELETIONS[1])} == set(ENTRIES[2:])
        assert {each.entry for each in trash.of(there, SNAPSHOT)} == {ENTRIES[1], ENTRIES[3]}
        assert [each.global_id for each in trash.of(there, ENTRIES[2])] == ["sim.a.1vt"]
        assert {each.entry for each in trash.expired(there, ENDS_AT)} == set(ENTRIES[:2])
        assert trash.expired(there, ENDS_AT - 1) == []


def test_an_entry_that_is_there_stays_as_it_is(database: Database) -> None:
    """T83: what is written a second time, after an answer of the database was lost, is nothing
    new."""
    with opened(database) as there:
        made(there, 0)
        trashed(there, 0, ENTRIES[:2])
        before = trash.entries(there)
        made(there, 0)
        trashed(there, 0, ENTRIES[:2])
        assert trash.entries(there) == before


def test_what_was_found_is_written_as_it_is(database: Database) -> None:
    """T83: for a rebuild from the tags; and a purge says first that it has begun."""
    with opened(database) as there:
        made(there, 0)
        trashed(there, 0, ENTRIES[:2])
        before = trash.entries(there)
        there.write(trash.forgotten(ENTRIES[:2]))
        there.write(trash.written(before))
        assert trash.entries(there) == before
        there.write(trash.purged(ENTRIES[:1]))
        [one] = trash.of(there, ENTRIES[0])
        assert one.ends_at == 0
        assert trash.of(there, ENTRIES[1])[0].ends_at == ENDS_AT
        there.write(trash.written([]))
