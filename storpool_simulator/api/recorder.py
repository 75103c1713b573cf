"""A record of the API's calls, for tests that count them."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable

KEPT = 100_000  # our own limit: a simulator that runs for weeks must not grow without end


@dataclass
class Record:
    """One call; `status` is None until it is answered, and for ever when it never is."""

    method: str
    query: str
    path: str
    body: Any
    status: int | None = None
    at: float = field(default_factory=time.time)


class Recorder:
    """The records since the last `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: collections.deque[Record] = collections.deque(maxlen=KEPT)
        self._counts: collections.Counter[str] = collections.Counter()
        self._watcher: Callable[[Record], object] | None = None

    def watch(self, watcher: Callable[[Record], object]) -> None:
        """Call the watcher with each call from now on, before it is made.

        It is for what happens at one moment: the watcher runs in the thread that answers the call.
        """
        self._watcher = watcher

    def add(self, record: Record) -> Record:
        """Keep a call, and return its record."""
        with self._lock:
            self._records.append(record)
            self._counts[record.query] += 1
        if self._watcher is not None:
            self._watcher(record)
        return record

    def list(self) -> list[Record]:
        """Return all records, oldest first."""
        with self._lock:
            return [*self._records]

    def queries(self) -> tuple[str, ...]:
        """Return the queries of all records, oldest first."""
        return tuple(record.query for record in self.list())

    def counts(self) -> dict[str, int]:
        """Return how many calls there were of each query, also of those with no record any more."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget all records, and count from 0."""
        with self._lock:
            self._records.clear()
            self._counts.clear()
