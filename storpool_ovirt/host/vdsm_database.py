"""Vdsm's database of managed volumes: all rows read, one row removed, or described anew.

The file is Vdsm's (oVirt's vdsm, managedvolumedb.py), in a folder of user vdsm's, and what root
does there must not be more than vdsm may: SQLite opens what lies beside it too (-journal, -wal,
-shm), waits for a FIFO for ever, and carries out what a schema holds. So a child with the rights
of the file's owner does it, within a limit, and SQLite lets pass what belongs to the one table
alone: no view, no trigger, no function.
"""

from __future__ import annotations

import json
import os
import stat

from storpool_ovirt import errors, presence, rights
from storpool_ovirt.light import TYPE_CHECKING, closing, contextmanager
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.privilege import child

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from typing import Callable

FILE = "/var/lib/vdsm/storage/managedvolume.db"
# Some kilobytes for each volume that this host has.
MAX_BYTES = 32 << 20
MAX_ROWS = 20_000

Values = tuple["bytes | None", ...]

_COLUMNS = ("vol_id", "path", "connection_info", "attachment")
_BESIDE = ("-journal", "-wal")
# Vdsm's own changes keep the attachment beside the path.
_SAME = " AND ".join(f"CAST({each} AS BLOB) IS ?" for each in _COLUMNS[:3])


def rows(root: str, busy_seconds: float = LIMITS.busy_seconds) -> list[Values]:
    """Return vol_id, path, connection_info and attachment of all rows; none where Vdsm has no
    database.

    Raises InputError where it cannot be read.
    """
    where = root + FILE
    found: list[list[str | None]] = json.loads(
        _apart(lambda: _rows(where, busy_seconds), where, busy_seconds) or b"[]"
    )
    return [
        tuple(None if value is None else value.encode("latin-1") for value in row) for row in found
    ]


def remove(root: str, row: Values, busy_seconds: float = LIMITS.busy_seconds) -> None:
    """Remove the rows that have exactly this vol_id, path and connection_info; raise InputError
    where it cannot be."""
    where = root + FILE
    _apart(lambda: _remove(where, row[:3], busy_seconds), where, busy_seconds)


def redescribe(
    root: str,
    changes: Sequence[tuple[Values, bytes]],
    busy_seconds: float = LIMITS.busy_seconds,
) -> list[bool]:
    """Give another connection_info to rows, each with its new one; return for each whether it was
    still there with exactly this vol_id, path and connection_info.

    All of it is one transaction. Raises InputError where it cannot be, and no row is changed then.
    """
    where = root + FILE
    done = _apart(lambda: _redescribe(where, changes, busy_seconds), where, busy_seconds)
    found: list[bool] = json.loads(done)
    return found


def _apart(work: Callable[[], bytes], where: str, busy_seconds: float) -> bytes:
    # Before there is a child, which may not read where Python's modules lie.
    import sqlite3  # noqa: F401
    import urllib.parse  # noqa: F401

    try:
        return child.done(work, rights.of(where), 2 * busy_seconds)
    except (child.Failure, OSError) as error:
        raise errors.InputError(
            f"Vdsm's database {where}",
            f"cannot be used ({getattr(error, 'strerror', None) or error})",
            "free or repair it (`vdsm-tool configure` makes a new one), then restart vdsmd",
        ) from error


def _rows(where: str, busy_seconds: float) -> bytes:
    """Read the rows, as JSON of texts in which each character stands for a byte; nothing without a
    database."""
    if not _is_there(where):
        return b""
    # What a crash left in a journal is brought to an end first, which is writing.
    writes = any(presence.there(where + suffix) for suffix in _BESIDE)
    columns = ", ".join(f"CAST({each} AS BLOB)" for each in _COLUMNS)
    mode = "rw" if writes else "ro"
    with _opened(where, mode, busy_seconds, ("PRAGMA query_only = ON",)) as connection:
        query = f"SELECT {columns} FROM volumes ORDER BY vol_id LIMIT {MAX_ROWS + 1}"  # noqa: S608  our own text
        found = connection.execute(query).fetchall()
    if len(found) > MAX_ROWS:
        raise OSError(0, f"it has more than {MAX_ROWS} rows")
    texts = [[None if value is None else value.decode("latin-1") for value in row] for row in found]
    return json.dumps(texts).encode()


def _remove(where: str, row: Sequence[bytes | None], busy_seconds: float) -> bytes:
    if _is_there(where):
        with _opened(where, "rw", busy_seconds) as connection:
            connection.execute(f"DELETE FROM volumes WHERE {_SAME}", row)  # noqa: S608  our own text
    return b""


def _redescribe(where: str, changes: Sequence[tuple[Values, bytes]], busy_seconds: float) -> bytes:
    if not _is_there(where):
        return json.dumps([False for _ in changes]).encode()
    # The primary key's index finds the row, which is a text but where somebody else wrote it.
    change = (
        "UPDATE volumes SET connection_info = ?"  # noqa: S608  our own text
        f" WHERE vol_id IN (CAST(? AS TEXT), ?) AND {_SAME}"
    )
    with _opened(where, "rw", busy_seconds) as connection:
        done = [
            connection.execute(change, (info, row[0], row[0], *row[:3])).rowcount > 0
            for row, info in changes
        ]
    return json.dumps(done).encode()


def _is_there(where: str) -> bool:
    """Return whether there is a database; raise OSError for one that would be waited for, or is too
    large."""
    for suffix in ("", *_BESIDE, "-shm"):
        try:
            facts = os.stat(where + suffix)
        except FileNotFoundError:
            if not suffix:
                return False
            continue
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, f"{os.path.basename(where)}{suffix} is not a regular file")
        if facts.st_size > MAX_BYTES:
            raise OSError(0, f"{os.path.basename(where)}{suffix} has more than {MAX_BYTES} bytes")
    return True


@contextmanager
def _opened(
    where: str, mode: str, busy_seconds: float, pragmas: Sequence[str] = ()
) -> Iterator[sqlite3.Connection]:
    """Open the database, which is never made here; what was done is kept when the block ends
    without an error."""
    import sqlite3
    from urllib.parse import quote

    uri = f"file:{quote(where)}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_seconds)
    with closing(connection), connection:
        for pragma in ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", *pragmas):
            connection.execute(pragma)
        connection.set_authorizer(_allowed)
        connection.text_factory = bytes  # other vendors' rows may hold anything
        yield connection


def _allowed(
    action: int, first: str | None, second: str | None, _name: str | None, inside: str | None
) -> int:
    """Say to SQLite what its statements may do: read and remove rows of the one table and change
    their description, and never by view or trigger."""
    import sqlite3

    plain = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION)
    own = first == "volumes" and (
        action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_DELETE)
        or (action == sqlite3.SQLITE_UPDATE and second == "connection_info")
    )
    return sqlite3.SQLITE_OK if inside is None and (plain or own) else sqlite3.SQLITE_DENY
