"""How the tests of rebuild lose, save and compare the mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER, TABLES

if TYPE_CHECKING:
    from rigs.yard import Yard

Rows = dict[str, dict[str, Any]]


def rows(yard: Yard) -> Rows:
    """Return the rows by id, each by the names of its fields."""
    return {uuid: row._asdict() for uuid, row in yard.see().rows.items()}


def lose(yard: Yard) -> str:
    """Lose the database; return the location that it had, which the adapter's log tells."""
    lost = yard.location
    yard.sql("DROP SCHEMA storpool_ovirt CASCADE")
    return lost


def back_up(yard: Yard) -> None:
    """Save the tables."""
    for table in TABLES:
        yard.sql(f"DROP TABLE IF EXISTS storpool_ovirt.saved_{table}")
        yard.sql(f"CREATE TABLE storpool_ovirt.saved_{table} AS TABLE storpool_ovirt.{table}")


def restore(yard: Yard) -> None:
    """Write the tables back that were saved, as on another server."""
    for table in TABLES:
        yard.sql(f"TRUNCATE storpool_ovirt.{table} CASCADE")
        yard.sql(f"INSERT INTO storpool_ovirt.{table} TABLE storpool_ovirt.saved_{table}")
        yard.sql(f"DROP TABLE storpool_ovirt.saved_{table}")
    yard.restored()


def comparable(before: Rows, wanted: Rows) -> Rows:
    """Return rows without what no tag and no list tells; `wanted` are those before the loss.

    Of a first volume that is removed there is no object any more, so its size and global id are
    gone; of what is gone nothing is known, so it is no `source` and is not `replaced`; a volume's
    clone stands on an automatic snapshot; a disk of which nothing is left but its id is unknown.
    """
    told = {}
    lone = {uuid for uuid in wanted if [row["root"] for row in wanted.values()].count(uuid) == 1}
    for uuid, row in before.items():
        if row["state"] == "removed" and uuid in lone:
            continue
        told[uuid] = dict(row)
        first = wanted.get(uuid, row)
        if row["state"] == "removed":
            told[uuid].update(global_id=None, size_bytes=0, source=None)
        source = wanted.get(first["source"], {"state": "removed"})
        if source["state"] == "removed" or (first["root"] == uuid and source["kind"] == "volume"):
            told[uuid]["source"] = None
        if first["replaced"] not in wanted:
            told[uuid]["replaced"] = None
    return told


def check_equal(yard: Yard, before: Rows) -> None:
    """Check that all rows are what they were."""
    assert comparable(rows(yard), before) == comparable(before, before)


def flow(yard: Yard) -> tuple[str, str]:
    """Live a life: a disk that was extended, snapshotted, previewed; a clone of it, a second
    disk."""
    yard.verb("extend", DISK, 2 * GIB)
    snapshot = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    yard.verb("clone", snapshot, CLONE)
    yard.verb("create", OTHER, 3 * GIB)
    yard.verb("snapshot", preview)
    return snapshot, preview
