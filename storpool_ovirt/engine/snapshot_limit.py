"""How many snapshots a disk may have (`sp_max_snapshots`): asked within the statement that writes
the intent to make one more, under the disk's lock.

What Engine has of a disk is counted: not what is only reserved, what no answer has told Engine of
yet and the next verb takes back, what is in the trash, and what others keep.
"""

from __future__ import annotations

from storpool_ovirt import errors, sentences
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.engine import database

_COUNTED = """
    node.kind = 'snapshot' AND node.state = 'live' AND NOT node.reserved
    AND NOT EXISTS (
        SELECT FROM storpool_ovirt.operation AS making
        WHERE making.node = node.uuid AND making.kind = 'make' AND making.state <> 'undone'
    )"""


def condition(roots: Sequence[str], most: int) -> tuple[str, tuple[object, ...]]:
    """Return SQL for whether each of these disks has room for one more, and its arguments."""
    return (
        f"""
        NOT EXISTS (
            SELECT FROM storpool_ovirt.node WHERE root = ANY (%s::uuid[]) AND {_COUNTED}
            GROUP BY root HAVING count(*) >= %s
        )""",
        (list(roots), most),
    )


def reached(session: database.Session, roots: Sequence[str], most: int) -> errors.Conflict:
    """Return the refusal for these disks, one of which has no room."""
    rows = session.rows(
        f"""
        SELECT root::text, count(*), (array_agg(uuid::text ORDER BY created_at, uuid))[1],
            to_char(min(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
        FROM storpool_ovirt.node WHERE root = ANY (%s::uuid[]) AND {_COUNTED}
        GROUP BY root HAVING count(*) >= %s ORDER BY root
        """,
        list(roots),
        most,
    )
    if not rows:  # one of them went just now
        return errors.Conflict(f"disk {roots[0]}", "had too many snapshots", "try again")
    disk, number, oldest, since = rows[0]
    has = sentences.counted(number, "snapshot")
    others = f", as {len(rows) - 1} more disks of its VM have" if len(rows) > 1 else ""
    alone = "" if len(roots) == 1 else "; no disk of the VM was snapshotted"
    return errors.Conflict(
        f"disk {disk}",
        f"has {has}{others}, and the domain's sp_max_snapshots allows {most}{alone}",
        f"delete snapshots of the VM in oVirt first; the oldest of this disk is {oldest} of"
        f" {since} UTC",
    )
