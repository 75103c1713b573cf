"""Rows in memory, their indexes, and the record of what the current change has touched.

A change is written down or taken back as a whole: the journal keeps each touched row as it was
before. A `Past` shows a table as it was at one moment, and costs nothing but the rows that were
touched since then.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Callable, Generic, Protocol, TypeVar

Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)
# A touched row as it was: kind, key, row or None.
Touched = tuple[str, Any, Any]


class _Restorable(Protocol):
    kind: str

    def restore(self, key: Hashable, row: object) -> None: ...

    def now(self, key: Hashable) -> object: ...


class Watcher(Protocol):
    """Somebody who has to know a row before it changes."""

    def remember(self, kind: str, key: Any, row: Any) -> None:
        """Take note of a row, None when there is none yet."""


class Journal:
    """The touched rows of all tables, as they were."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, Hashable], tuple[_Restorable, object]] = {}
        self._watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()

    def watch(self, watcher: Watcher) -> None:
        """Tell a watcher, for as long as it lives, of each row before it changes."""
        self._watchers.add(watcher)

    def watchers(self) -> int:
        """Return how many watch."""
        return len(self._watchers)

    def touch(self, table: _Restorable, key: Hashable, before: object) -> None:
        """Remember a row before its first change."""
        if (table.kind, key) not in self._before:
            self._before[table.kind, key] = (table, before)
            for watcher in self._watchers:
                watcher.remember(table.kind, key, before)

    def changed(self) -> list[tuple[str, str, object]]:
        """Return the rows to write: kind, key, row or None."""
        changed = []
        for (kind, key), (table, before) in self._before.items():
            row = table.now(key)
            if row != before:
                changed.append((kind, _text(key), row))
        return changed

    def before(self) -> list[Touched]:
        """Return the touched rows as they were before the change."""
        return [(kind, key, before) for (kind, key), (_, before) in self._before.items()]

    def forget(self) -> None:
        """Begin a new change: the last one is written."""
        self._before.clear()

    def restore(self) -> None:
        """Take the change back."""
        for (_, key), (table, before) in reversed(list(self._before.items())):
            table.restore(key, before)
        self._before.clear()


class Index(Generic[Key, Row]):
    """The keys of the rows that have a value, oldest first; None is no value.

    Most values belong to one row, so a single key is kept as it is, and several as a dict.
    """

    def __init__(self, value_of: Callable[[Row], Hashable]) -> None:
        self.value_of = value_of
        self._keys: dict[Hashable, Any] = {}

    def keys(self, value: Hashable) -> tuple[Key, ...]:
        """Return the keys of the rows that have the value."""
        found = self._keys.get(value)
        if found is None:
            return ()
        return tuple(found) if type(found) is dict else (found,)

    def count(self, value: Hashable) -> int:
        """Return how many rows have the value."""
        found = self._keys.get(value)
        if found is None:
            return 0
        return len(found) if type(found) is dict else 1

    def load(self, rows: Mapping[Key, Row]) -> None:
        """Take in rows that came all together."""
        value_of, add = self.value_of, self._add
        for key, row in rows.items():
            value = value_of(row)
            if value is not None:
                add(value, key)

    def move(self, key: Key, old: Row | None, new: Row | None) -> None:
        """Follow a row that changes, comes or goes."""
        old_value = None if old is None else self.value_of(old)
        new_value = None if new is None else self.value_of(new)
        if old_value == new_value:
            return
        if old_value is not None:
            self._take(old_value, key)
        if new_value is not None:
            self._add(new_value, key)

    def _add(self, value: Hashable, key: Key) -> None:
        found = self._keys.setdefault(value, key)
        if type(found) is dict:
            found[key] = None
        elif found != key:
            self._keys[value] = {found: None, key: None}

    def _take(self, value: Hashable, key: Key) -> None:
        found = self._keys[value]
        if type(found) is dict and len(found) > 1:
            del found[key]
        else:
            del self._keys[value]


def _nothing(_old: object, _new: object) -> None:
    """Do nothing about a change."""


class Table(Generic[Key, Row]):
    """Rows of one kind.

    `indexes` are the values by which rows are looked up; `order` is what grows from row to row.
    `leaving(old, new)` is called before each change of a row and of the indexes, `arrived(old,
    new)` after it, also when it is taken back.
    """

    def __init__(
        self,
        kind: str,
        journal: Journal,
        key: Callable[[Row], Key],
        indexes: Mapping[str, Callable[[Row], Hashable]] | None = None,
        order: Callable[[Row], int] | None = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.order = order
        self.leaving: Callable[[Row | None, Row | None], None] = _nothing
        self.arrived: Callable[[Row | None, Row | None], None] = _nothing
        self.indexes: dict[str, Index[Key, Row]] = {
            name: Index(value_of) for name, value_of in (indexes or {}).items()
        }
        self._journal = journal
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

    def having(self, index: str, value: Hashable) -> tuple[Key, ...]:
        """Return the keys of the rows that have this value in an index."""
        return self.indexes[index].keys(value)

    def count_having(self, index: str, value: Hashable) -> int:
        """Return how many rows have this value in an index."""
        return self.indexes[index].count(value)

    def one_having(self, index: str, value: Hashable) -> Row | None:
        """Return the row that has this value in an index in which values belong to one row."""
        keys = self.having(index, value)
        return self.get(keys[-1]) if keys else None

    def put(self, row: Row) -> Row:
        """Add or replace a row, and return it."""
        self._set(self.key(row), row)
        return row

    def drop(self, key: Key) -> None:
        """Remove a row that is there."""
        self._set(key, None)

    def load(self, row: Row) -> None:
        """Take in a row that is on disk already."""
        self._apply(self.key(row), row)

    def load_all(self, rows: Iterable[Row]) -> None:
        """Take in all rows that are on disk, in their order, and call neither hook."""
        ordered = rows if self.order is None else sorted(rows, key=self.order)
        self._rows = {self.key(row): row for row in ordered}
        for index in self.indexes.values():
            index.load(self._rows)

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
        self.leaving(old, row)
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row
        for index in self.indexes.values():
            index.move(key, old, row)
        self.arrived(old, row)


class Past(Table[Key, Row]):
    """A table as it was at one moment, for reading in any thread without a lock.

    `undone` are the rows that were touched between that moment and now, as they were; `remember` is
    told of each row before it changes from now on. What is remembered is right whatever the present
    says, so the present is read first, and what is remembered after it.
    """

    def __init__(self, present: Table[Key, Row], undone: Mapping[Key, Row | None]) -> None:
        self.kind = present.kind
        self.key = present.key
        self.order = present.order
        self.indexes = present.indexes
        self._present = present
        self._before: dict[Key, Row | None] = {}
        self._moved: dict[str, dict[Hashable, dict[Key, None]]] = {
            name: {} for name in self.indexes
        }
        for key, row in undone.items():
            self.remember(key, row)

    @property
    def rows(self) -> Mapping[Key, Row]:
        """All rows."""
        return _Rows(self)

    def __iter__(self) -> Iterator[Row]:
        # One step of C: nobody changes the present meanwhile. What changes later is remembered.
        rows = list(self._present.rows.values())
        before = dict(self._before)
        yield from (self._undone(rows, before) if before else rows)

    def _undone(self, rows: Iterable[Row], before: dict[Key, Row | None]) -> list[Row]:
        then = [before.pop(self.key(row), row) for row in rows]
        found = [row for row in then if row is not None]
        gone = [row for row in before.values() if row is not None]
        found += gone
        if gone and self.order is not None:
            found.sort(key=self.order)
        return found

    def get(self, key: Key) -> Row | None:
        """Return the row as it was, or None."""
        now = self._present.get(key)
        return self._before.get(key, now)

    def having(self, index: str, value: Hashable) -> tuple[Key, ...]:
        """Return the keys of the rows that had this value in an index."""
        now = self._present.having(index, value)
        if not self._before:
            return now
        keys = dict.fromkeys((*now, *tuple(self._moved[index].get(value, ()))))
        return tuple(key for key in keys if self._had(index, value, key))

    def _had(self, index: str, value: Hashable, key: Key) -> bool:
        row = self.get(key)
        return row is not None and self.indexes[index].value_of(row) == value

    def count_having(self, index: str, value: Hashable) -> int:
        """Return how many rows had this value in an index."""
        return len(self.having(index, value))

    def remember(self, key: Key, row: Row | None) -> None:
        """Keep a row as it was, unless it is known already what it was."""
        if key in self._before:
            return
        self._before[key] = row
        if row is not None:
            for name, index in self.indexes.items():
                value = index.value_of(row)
                if value is not None:
                    self._moved[name].setdefault(value, {})[key] = None

    def _set(self, key: Key, row: Row | None) -> None:
        raise TypeError(f"{self.kind} {key}: nothing can be changed in the past, to {row}")


class _Rows(Mapping[Any, Any]):
    """The rows of a `Past` by their keys."""

    def __init__(self, past: Past[Any, Any]) -> None:
        self._past = past

    def __getitem__(self, key: Any) -> Any:
        row = self._past.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        return self._past.get(key) is not None

    def __iter__(self) -> Iterator[Any]:
        return map(self._past.key, self._past)

    def __len__(self) -> int:
        return sum(1 for _ in self._past)


def _text(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
