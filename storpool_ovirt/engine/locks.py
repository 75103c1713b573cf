"""The locks on disks: PostgreSQL's own, which end with the connection, also by the death of its
process."""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.engine import database, holds, process
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from storpool_ovirt.engine.database import Session
    from storpool_ovirt.engine.holds import Hold


def hold(session: Session, disk: str, shared: bool = False) -> None:
    """Hold a disk (by its root's id) until the connection ends; `shared`: against changes only.

    Raises Locked, naming who holds it, when that one does not end in time.
    """
    if not session.lock(disk, shared):
        raise _locked(session, disk)


def hold_all(session: Session, disks: Sequence[str]) -> None:
    """Hold these disks as `hold` does, in this order: all who hold several take them in the same
    one."""
    if session.lock_all(disks):
        return
    raise _locked(session, _busy(session, disks))


def read(
    session: Session, wanted: Hold, query: str, *args: object, before: str = ""
) -> tuple[frozenset[str], list[tuple[Any, ...]]]:
    """Hold disks as `hold` does, and return which, and the rows of `query` as they are then."""
    found = session.read_held(wanted, query, *args, before=before)
    if found is not None:
        return found
    disks = [disk for disk, _ in session.rows(wanted.sql, *wanted.args)]
    if not disks:  # it went meanwhile, or never was there, and a table was what others held
        return read(session, wanted, query, *args, before=before)
    raise _locked(session, _busy(session, disks) if len(disks) > 1 else disks[0])


def _busy(session: Session, disks: Sequence[str]) -> str:
    """Return which of several disks another one holds."""
    return next((each for each in disks if not session.try_lock(each)), disks[-1])


def _locked(session: Session, disk: str) -> errors.Locked:
    seconds = min(database.LOCK_SECONDS, session.deadline.seconds)
    return errors.Locked(f"disk {disk}", seconds, _holder(session, disk))


def _holder(session: Session, disk: str) -> str:
    """Return in words who holds a disk; "" where the journal does not tell."""
    rows = session.rows(
        f"""
        SELECT verb, correlation_id, process,
            to_char(started_at AT TIME ZONE 'UTC', 'HH24:MI:SS')
        FROM (SELECT {holds.key("%s")} AS key) AS wanted, pg_locks
        JOIN pg_stat_activity USING (pid)
        JOIN storpool_ovirt.operation
            ON backend = pid AND started_at >= backend_start AND operation.state = 'running'
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND classid::bigint = (key >> 32) & 4294967295
            AND objid::bigint = key & 4294967295
        ORDER BY id DESC
        LIMIT 1
        """,
        disk,
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
