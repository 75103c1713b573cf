"""The clock of tests: a time that is a number, so that patience costs none."""

from __future__ import annotations


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
        self.now += seconds
        self.slept.append(seconds)
