"""The cluster's rows on disk: an sqlite file.

It survives the death of the process, not of the machine: `synchronous=OFF` leaves the write to the
kernel, which keeps it when we are killed. No more than that is promised.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import operator
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar, cast

from storpool_simulator import errors

Row = TypeVar("Row")
_encode = json.JSONEncoder(separators=(",", ":")).encode
_AT_ONCE = 5_000  # rows: measured, more make it no faster
_SCHEMA = """
create table if not exists row (
    kind text not null, key text not null, value text not null, primary key (kind, key)
) without rowid
"""


class Store:
    """Rows by kind and key, in one file; one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or make `folder`/cluster.sqlite.

        Raises StartError when another simulator has it, or the file is none of a simulator's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._guard = _hold(folder / "lock")
        self._base = sqlite3.connect(
            str(folder / "cluster.sqlite"), isolation_level=None, check_same_thread=False
        )
        try:
            self._base.execute("pragma journal_mode=wal")
            self._base.execute("pragma synchronous=off")
            self._base.execute(_SCHEMA)
        except sqlite3.DatabaseError as problem:
            self.close()
            raise errors.StartError(
                f"{folder / 'cluster.sqlite'} is no state of a simulator ({problem})"
            ) from None

    def read(self, kind: str, row_type: type[Row]) -> Iterator[Row]:
        """Yield all rows of a kind as values of this type.

        They are parsed many at a time: equal keys become one string then, and a call less is made
        for each row.
        """
        values_of = operator.itemgetter(*_names(cast("Any", row_type)))
        repeated: Sequence[str] = getattr(row_type, "REPEATED", ())
        shared: dict[object, object] = {}
        found = self._base.execute("select value from row where kind = ?", (kind,))
        while True:
            values = [value for (value,) in found.fetchmany(_AT_ONCE)]
            if not values:
                return
            for row in json.loads(f"[{','.join(values)}]"):
                for name in repeated:
                    if name in row:
                        row[name] = shared.setdefault(row[name], row[name])
                yield _made(row_type, values_of, row)

    def write(self, rows: Sequence[tuple[str, str, object]]) -> None:
        """Keep changed rows, drop those that are None: all of them or none."""
        if not rows:
            return
        cursor = self._base.cursor()
        cursor.execute("begin immediate")
        try:
            for kind, key, row in rows:
                if row is None:
                    cursor.execute("delete from row where kind = ? and key = ?", (kind, key))
                else:
                    value = _encode(_facts(row))
                    cursor.execute(
                        "insert or replace into row values (?, ?, ?)", (kind, key, value)
                    )
            cursor.execute("commit")
        except BaseException:
            cursor.execute("rollback")
            raise

    def close(self) -> None:
        """Close the file and let the next simulator have the folder."""
        self._base.close()
        os.close(self._guard)


@functools.cache
def _names(row_type: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(row_type))


def _facts(row: Any) -> dict[str, object]:
    """Return the fields of a row by name, without a copy of what is in them."""
    return {name: getattr(row, name) for name in _names(cast("Any", type(row)))}


def _made(
    row_type: type[Row],
    values_of: Callable[[dict[str, object]], tuple[object, ...]],
    row: dict[str, object],
) -> Row:
    try:
        return row_type(*values_of(row))  # by place: half of what it takes by name
    except KeyError:  # written before the type had all its fields
        return row_type(**row)


def _hold(path: Path) -> int:
    guard = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(guard)
        raise errors.StartError(
            f"the state folder {path.parent} is in use by another simulator"
        ) from None
    return guard
