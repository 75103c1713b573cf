"""The clock of tests, so that patience costs none; and how to wait for what really takes time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Ours: all that is waited for comes within moments where nothing is wrong, and a loaded machine
# gets some room.
LIMIT_SECONDS = 60.0
PAUSE_SECONDS = 0.005


class Clock:
    """Seconds that pass only where somebody sleeps, or a test says so."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and keep how much."""
        self.now = self() + seconds
        self.slept.append(seconds)


def wait_until(
    condition: Callable[[], object],
    what: str = "what comes soon",
    *,
    limit_seconds: float = LIMIT_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    """Return as soon as the condition is true; `what`: what is waited for, for the failure."""
    end = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < end, f"waited {limit_seconds:.0f} s for {what}"
        time.sleep(pause_seconds)
