"""The locks on disks: PostgreSQL's own, which end with the connection, also by the death of its
process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_ovirt import errors, names
from storpool_ovirt.engine import database, process

if TYPE_CHECKING:
    from storpool_ovirt.engine.database import Session


def hold(session: Session, disk: str, shared: bool = False) -> None:
    """Hold a disk (by its root's id) until the connection ends; `shared`: against changes only.

    Raises Locked, naming who holds it, when that one does not end in time.
    """
    if not session.lock(disk, shared):
        seconds = min(database.LOCK_SECONDS, session.deadline.seconds)
        raise errors.Locked(f"disk {disk}", seconds, _holder(session, disk))


def hold_all(session: Session, disks: Sequence[str]) -> None:
    """Hold these disks as `hold` does, in this order: all who hold several take them in the same
    one."""
    if session.lock_all(disks):
        return
    seconds = min(database.LOCK_SECONDS, session.deadline.seconds)
    busy = next((each for each in disks if not session.try_lock(each)), disks[-1])
    raise errors.Locked(f"disk {busy}", seconds, _holder(session, busy))


def _holder(session: Session, disk: str) -> str:
    """Return in words who holds a disk; "" where the journal does not tell."""
    key = database.lock_key(disk) & ((1 << 64) - 1)
    rows = session.rows(
        """
        SELECT verb, correlation_id, process,
            to_char(started_at AT TIME ZONE 'UTC', 'HH24:MI:SS')
        FROM pg_locks
        JOIN pg_stat_activity USING (pid)
        JOIN storpool_ovirt.operation
            ON backend = pid AND started_at >= backend_start AND operation.state = 'running'
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND classid::bigint = %s AND objid::bigint = %s
        ORDER BY id DESC
        LIMIT 1
        """,
        key >> 32,
        key & 0xFFFFFFFF,
    )
    if not rows:
        return ""
    verb, correlation_id, by, since = rows[0]
    return f"{verb} with correlation id {correlation_id}, process {_pid(by)}, since {since} UTC"


def _pid(text: str) -> int | str:
    """Return a process's number, or the text that others wrote in its place."""
    try:
        return process.parse(text).pid
    except ValueError:
        return names.shown(text)
