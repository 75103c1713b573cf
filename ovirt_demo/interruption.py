"""Ctrl-C and SIGTERM for a program that must leave nothing behind.

A signal is noted, and looked for at chosen places. So it never falls between the making of a thing
and the note that it has to be taken away again. A user who cannot wait for such a place sends a
second one. While things are taken away, no signal counts.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class Watch:
    """The signal that has come in so far."""

    def __init__(self) -> None:
        self.seen: int | None = None
        self.leaving = False

    def check(self) -> None:
        """Raise Interrupted if a signal asked the program to end."""
        if self.seen is not None and not self.leaving:
            self.leaving = True
            raise Interrupted(self.seen)

    def note(self, number: int, _frame: object) -> None:
        """Take in a signal."""
        if self.seen is not None and not self.leaving:
            self.leaving = True
            raise Interrupted(number)
        self.seen = number


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Give a watch that notes the signals, in place of what they do otherwise."""
    watch = Watch()
    before = {number: signal.signal(number, watch.note) for number in SIGNALS}
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
