"""deadline.py: one limit for everything that waits."""

from __future__ import annotations

import signal
import threading

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline, enforced


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_time_runs_out_with_the_name_of_what_was_waited_for() -> None:
    """What is left shrinks with the clock; at its end the error tells what was waited for and how long."""
    clock = Clock()
    deadline = Deadline(10, clock)
    clock.now = 4
    assert deadline.left("the API") == 6
    clock.now = 10
    with pytest.raises(errors.DeadlineExceeded, match=r"waited for the API, .* 10 s"):
        deadline.left("the API")
    assert deadline.remaining() == 0


def test_a_part_never_reaches_beyond_the_whole() -> None:
    """A limit within a limit is the shorter of both; an extension gives an undo its own time."""
    clock = Clock()
    deadline = Deadline(10, clock)
    clock.now = 7
    assert deadline.within(5).remaining() == 3
    assert deadline.within(1).remaining() == 1
    clock.now = 20
    deadline.extend(8)
    assert deadline.left("the undo") == 8


def test_what_blocks_is_broken_off() -> None:
    """T73: a wait that nothing else ends is ended by the last net, and the alarm is put back as it was."""
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(errors.DeadlineExceeded, match="the verb to end"),
        enforced(Deadline(0.01), "the verb to end", 0),
    ):
        threading.Event().wait(30)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
