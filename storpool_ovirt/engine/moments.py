"""Moments: snapshots of several disks of one VM, made at one time (rows of the table `moment`).

begun -> made     all snapshots exist; one was answered, the others are `reserved`
   `---> failed   none is to be used: later verbs of the same action fail as well

Engine asks for them one after the other. The first verb makes all, each later one claims the row
that is reserved for its disk. What nobody claimed was never known to Engine.
"""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt.engine import database
from storpool_ovirt.engine.journal import INCARNATION

BEGUN, MADE, FAILED = "begun", "made", "failed"
# How long a reserved snapshot may be claimed, and how long a failure is that of the same action:
# Engine asks for one disk right after the other.
CLAIM_SECONDS = 60.0

_COLUMNS = f"""
    moment.id, mark, key, action, vm, client, moment.state, volumes::text[], moment.note,
    CASE WHEN isfinite(made_at)
        THEN greatest(0, extract(epoch FROM clock_timestamp() - made_at))::float
    END AS age_seconds,
    moment.incarnation = {INCARNATION} AS proved"""


class Moment(NamedTuple):
    """One row. `key` is the correlation id, `action` the id that Engine gave the action, or "".

    `volumes` are those whose snapshots it has; of one that failed: of which Engine was not told so
    yet. `proved`: it was written in this very database, and did not come back with a backup. The
    age is None where others have changed the time.
    """

    id: int
    mark: str
    key: str
    action: str
    vm: str
    client: int | None
    state: str
    volumes: tuple[str, ...]
    note: str
    age_seconds: float | None
    proved: bool


def all(session: database.Session) -> list[Moment]:  # noqa: A001  moments.all, as journal.all
    """Return every row, oldest first."""
    rows = session.rows(f"SELECT {_COLUMNS} FROM storpool_ovirt.moment ORDER BY id")
    return [Moment(*row)._replace(volumes=tuple(row[7])) for row in rows]
