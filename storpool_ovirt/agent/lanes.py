"""Threads for what may hang: a VM that hangs costs its own turn, and nobody else's.

A call of libvirt's cannot be broken off. So each is made by one of a few threads, each with a
connection of its own; a VM has one turn at a time. A thread that is in one call for long is given
up for another one, as often as there are spare ones; it ends when its call does. When no spare
one is left, what is asked waits: libvirt has few threads too, and Vdsm needs them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Callable

from storpool_ovirt import errors
from storpool_ovirt.agent.hypervisor import Hypervisor
from storpool_ovirt.log import Log

# Ours: above every limit within a turn (a thaw of 10 s, another's lock of 30 s, StorPool's 5 s).
STUCK_SECONDS = 60.0


@dataclass
class _Lane:
    thread: threading.Thread | None = None
    key: Hashable | None = None
    since: float = 0.0
    given_up: bool = False


class Lanes:
    """Some threads that work off turns.

    `size` is how many, and how many spare ones. `failed` is told of each turn that raised one of
    our errors.
    """

    def __init__(
        self,
        size: tuple[int, int],
        opened: Callable[[], Hypervisor],
        failed: Callable[[Hashable, errors.Error], None],
        log: Log,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        count, self._spare = size
        self._opened, self._failed, self._log = opened, failed, log
        self._stuck_seconds = stuck_seconds
        self._changed = threading.Condition()
        self._turns: deque[tuple[Hashable, Callable[[Hypervisor], None]]] = deque()
        self._keys: set[Hashable] = set()
        self._lanes = [_Lane() for _ in range(count)]

    def start(self) -> None:
        """Start the threads."""
        for lane in self._lanes:
            self._start(lane)

    def _start(self, lane: _Lane) -> None:
        lane.thread = threading.Thread(target=self._work, args=(lane,), daemon=True)
        lane.thread.start()

    def submit(self, key: Hashable, turn: Callable[[Hypervisor], None]) -> bool:
        """Have a turn done; return False where the last one of this key is not over."""
        with self._changed:
            if key in self._keys:
                return False
            self._keys.add(key)
            self._turns.append((key, turn))
            self._changed.notify()
        return True

    def tend(self) -> list[Hashable]:
        """Replace threads that hang, and return in what all hang that do."""
        now = time.monotonic()
        with self._changed:
            hang = [
                each
                for each in self._lanes
                if each.key is not None and now - each.since > self._stuck_seconds
            ]
            fresh = [each for each in hang if not each.given_up][: self._spares_left()]
            for each in fresh:
                each.given_up = True
            new = [_Lane() for _ in fresh]
            self._lanes += new
        for each in new:
            self._start(each)
        return [each.key for each in hang if each.key is not None]

    def _spares_left(self) -> int:
        return self._spare - sum(each.given_up for each in self._lanes)

    def _work(self, lane: _Lane) -> None:
        hypervisor = self._opened()
        while not lane.given_up:
            with self._changed:
                while not self._turns:
                    self._changed.wait()
                key, turn = self._turns.popleft()
                lane.key, lane.since = key, time.monotonic()
            self._done(key, turn, hypervisor)
            with self._changed:
                lane.key = None
                self._keys.discard(key)
                if lane.given_up:
                    self._lanes.remove(lane)
        hypervisor.close()

    def _done(
        self, key: Hashable, turn: Callable[[Hypervisor], None], hypervisor: Hypervisor
    ) -> None:
        try:
            turn(hypervisor)
        except errors.Error as error:
            self._failed(key, error)
        except Exception:  # the `main` of a thread: a bug costs one turn
            self._log.trace()
