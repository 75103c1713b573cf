"""Rows in memory, and the record of what the current change has touched.

A change is written down or taken back as a whole: the journal keeps each touched row as it was
before.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Callable, Generic, Protocol, TypeVar

Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


class _Restorable(Protocol):
    kind: str

    def restore(self, key: Hashable, row: object) -> None: ...

    def now(self, key: Hashable) -> object: ...


class Journal:
    """The touched rows of all tables, as they were."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, Hashable], tuple[_Restorable, object]] = {}

    def touch(self, table: _Restorable, key: Hashable, before: object) -> None:
        """Remember a row before its first change."""
        self._before.setdefault((table.kind, key), (table, before))

    def changed(self) -> list[tuple[str, str, object]]:
        """Return the rows to write: kind, key, row or None."""
        changed = []
        for (kind, key), (table, before) in self._before.items():
            row = table.now(key)
            if row != before:
                changed.append((kind, _text(key), row))
        return changed

    def before(self) -> list[tuple[str, Hashable, object]]:
        """Return the touched rows as they were before the change: kind, key, row or None."""
        return [(kind, key, before) for (kind, key), (_, before) in self._before.items()]

    def forget(self) -> None:
        """Begin a new change: the last one is written."""
        self._before.clear()

    def restore(self) -> None:
        """Take the change back."""
        for (_, key), (table, before) in reversed(list(self._before.items())):
            table.restore(key, before)
        self._before.clear()


class Table(Generic[Key, Row]):
    """Rows of one kind.

    `index(old, new)` is called for each change, also when it is taken back.
    """

    def __init__(
        self,
        kind: str,
        journal: Journal,
        key: Callable[[Row], Key],
        index: Callable[[Row | None, Row | None], None] = lambda _old, _new: None,
    ) -> None:
        self.kind = kind
        self._journal = journal
        self._key = key
        self._index = index
        self._rows: dict[Key, Row] = {}

    @property
    def rows(self) -> Mapping[Key, Row]:
        """All rows, oldest first."""
        return self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def get(self, key: Key) -> Row | None:
        """Return the row, or None."""
        return self._rows.get(key)

    def put(self, row: Row) -> Row:
        """Add or replace a row, and return it."""
        self._set(self._key(row), row)
        return row

    def drop(self, key: Key) -> None:
        """Remove a row that is there."""
        self._set(key, None)

    def load(self, row: Row) -> None:
        """Take in a row that is on disk already."""
        self._rows[self._key(row)] = row
        self._index(None, row)

    def now(self, key: Hashable) -> object:
        """Return the row, or None, to the journal."""
        return self._rows.get(key)  # type: ignore[arg-type]

    def restore(self, key: Hashable, row: object) -> None:
        """Put a row back as it was, for the journal."""
        self._apply(key, row)  # type: ignore[arg-type]

    def _set(self, key: Key, row: Row | None) -> None:
        self._journal.touch(self, key, self._rows.get(key))
        self._apply(key, row)

    def _apply(self, key: Key, row: Row | None) -> None:
        old = self._rows.get(key)
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row
        self._index(old, row)


def _text(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
