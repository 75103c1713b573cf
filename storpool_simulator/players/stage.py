"""When players play: in a simulator each pass has its moment on the clock, and nothing sleeps.

Who advances the clock by an hour sees what an hour brings: the clock goes from one due pass to the
next, and the passes have been made when the call returns. Between such calls a thread goes by the
clock as it runs by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from storpool_simulator import errors
from storpool_simulator.players import wire

_log = logging.getLogger(__name__)
_GRAIN = 0.001  # seconds: a clock that is moved by a sum of floats may stop that much early
_LOOK = 5.0  # seconds after which the thread looks at the clock again, which may be a test's


class Player(Protocol):
    """A program beside the cluster."""

    @property
    def name(self) -> str:
        """What the control port calls it."""

    @property
    def period(self) -> float:
        """How many seconds are between two passes."""

    def play(self) -> dict[str, Any]:
        """Make one pass; return what it did. Raises CallError, and ValueError for its settings."""


@dataclass
class Turn:
    """A player and its passes: how many were made, how many of these failed, when is the next."""

    player: Player
    next: float
    passes: int = 0
    failed: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    def play(self) -> None:
        """Make a pass."""
        try:
            self.last = self.player.play()
        except (wire.CallError, ValueError) as problem:
            _log.warning("%s: a pass failed: %s", self.player.name, problem)
            self.failed += 1
            self.last = {"error": str(problem)}
        self.passes += 1


class Stage:
    """The players of one simulator; one pass is made at a time."""

    def __init__(self, now: Callable[[], float], advance: Callable[[float], object]) -> None:
        self._now = now
        self._advance = advance
        self._lock = threading.RLock()
        self._turns: dict[str, Turn] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, players: Iterable[Player]) -> None:
        """Make the first pass of each, and go by the clock from then on."""
        with self._lock:
            for player in players:
                turn = self._turns[player.name] = Turn(player, self._now() + player.period)
                turn.play()
        if self._turns:
            self._thread = threading.Thread(target=self._go_on, daemon=True, name="players")
            self._thread.start()

    def advance(self, seconds: float) -> float:
        """Let the clock go on, with all passes that are due on the way; return the new time.

        It stops where it has come to when the players end meanwhile.
        """
        with self._lock:
            left = seconds
            while self._turns and not self._ended.is_set():
                step = max(0.0, min(turn.next for turn in self._turns.values()) - self._now())
                if step > left + _GRAIN:
                    break
                self._advance(min(step, left))
                left = max(0.0, left - step)
                self._play_due()
            if not self._ended.is_set():
                self._advance(left)
            return self._now()

    def play(self, name: str) -> dict[str, Any]:
        """Make a pass of one player at once; return what it did.

        When the next is due stays as it is. Raises NoSuchObjectError for a player that is not here.
        """
        with self._lock:
            if name not in self._turns:
                raise errors.NoSuchObjectError(f"there is no player '{name}' on this stage")
            self._turns[name].play()
            return self._turns[name].last

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each player, by its name."""
        return {
            name: {key: value for key, value in vars(turn).items() if key != "player"}
            for name, turn in self._turns.items()
        }

    def close(self) -> None:
        """End: the pass under way is waited for."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _go_on(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            with self._lock:
                self._play_due()
                due = min(turn.next for turn in self._turns.values())
            wait = min(max(due - self._now(), _GRAIN), _LOOK)

    def _play_due(self) -> None:
        for turn in self._turns.values():
            now = self._now()
            if turn.next <= now + _GRAIN and not self._ended.is_set():
                turn.play()
                missed = max(0.0, now + _GRAIN - turn.next) // turn.player.period
                turn.next += (missed + 1) * turn.player.period
