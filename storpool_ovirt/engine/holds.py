"""Locks of disks as SQL: taken in the same question that then reads what they protect.

A question of several statements is one transaction, of which each statement sees the tables as they
are when it begins: what stands after the locks is read after they were got, however long that took.
Locks that are taken so are held until the connection ends.
"""

from __future__ import annotations

from storpool_ovirt.engine import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Of which disks locks were taken in this question, each after a blank.
HELD = "current_setting('storpool_ovirt.held', true)"


class Hold:
    """Which locks are taken: `sql` for rows (disk, shared), in the order in which they are taken,
    and its arguments. Shared ones keep out only those that are not."""

    def __init__(self, sql: str, args: tuple[object, ...] = ()) -> None:
        self.sql = sql
        self.args = args


def of(*disks: str, shared: Sequence[str] = ()) -> Hold:
    """Return the locks of these disks, in this order."""
    rows = ", ".join(["(%s, %s)"] * len(disks))
    return Hold(f"VALUES {rows}", tuple(each for disk in disks for each in (disk, disk in shared)))


def of_node(uuid: str, or_itself: bool = False) -> Hold:
    """Return the lock of the disk that a node belongs to; `or_itself`: of this id as that of a disk
    where there is no such node."""
    root = "(SELECT root::text FROM storpool_ovirt.node WHERE uuid = %s)"
    if or_itself:
        return Hold(f"VALUES (coalesce({root}, %s), false)", (uuid, uuid))
    return Hold(f"SELECT root, false FROM {root} AS there (root)", (uuid,))


def of_both(disk: str, source: str) -> Hold:
    """Return the lock of a disk, and a shared one of the disk that the node `source` belongs to, in
    the order of their ids."""
    return Hold(
        """
        SELECT disk, bool_and(shared) FROM (
            SELECT %s, false
            UNION ALL SELECT root::text, true FROM storpool_ovirt.node WHERE uuid = %s
        ) AS both_ (disk, shared)
        GROUP BY disk ORDER BY disk COLLATE "C"
        """,
        (disk, source),
    )


def key(disk: str) -> str:
    """Return SQL for the number of the lock that has this name, itself SQL for a text.

    PostgreSQL's are 64 bits that the whole database shares, our schema's name in it.
    """
    digest = f"sha256(convert_to('{tables.SCHEMA}:' || {disk}, 'UTF8'))"
    return f"('x' || left(encode({digest}, 'hex'), 16))::bit(64)::bigint"


def taking(hold: Hold, condition: str) -> str:
    """Return the statement that takes locks, if a condition is met; it has the arguments of
    `hold`."""
    number = key("disk")
    return f"""
        SELECT
            CASE WHEN shared THEN pg_advisory_lock_shared({number})
                ELSE pg_advisory_lock({number}) END,
            set_config('storpool_ovirt.held', coalesce({HELD}, '') || ' ' || disk, true)
        FROM ({hold.sql}) AS wanted (disk, shared) WHERE {condition};"""
