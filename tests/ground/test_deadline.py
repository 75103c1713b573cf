"""deadline.py: one limit for everything that waits."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from rigs.clock import Clock
from storpool_ovirt import deadline, errors
from storpool_ovirt.deadline import Deadline, enforced


def test_time_runs_out_with_the_name_of_what_was_waited_for() -> None:
    """What is left shrinks with the clock; at its end the error tells what was waited for and how
    long."""
    clock = Clock()
    limit = Deadline(10, clock)
    clock.now = 4
    assert limit.left("the API") == 6
    clock.now = 10
    with pytest.raises(errors.DeadlineExceeded, match=r"waited for the API, .* 10 s"):
        limit.left("the API")
    assert limit.remaining() == 0


def test_a_part_never_reaches_beyond_the_whole() -> None:
    """A limit within a limit is the shorter of both; an extension gives an undo its own time."""
    clock = Clock()
    limit = Deadline(10, clock)
    clock.now = 7
    assert limit.within(5).remaining() == 3
    assert limit.within(1).remaining() == 1
    clock.now = 20
    limit.extend(8)
    assert limit.left("the undo") == 8


@pytest.mark.parametrize(
    ("seconds", "longest", "looks"),
    [
        (0.0, None, [0.0]),
        (0.12, None, [0.0, 0.05, 0.1, 0.12]),
        (0.6, 0.2, [0.0, 0.05, 0.15, 0.35, 0.55, 0.6]),
    ],
)
def test_a_wait_looks_until_its_time_is_up(
    seconds: float, longest: float | None, looks: list[float]
) -> None:
    """It looks at once, then after pauses that grow where they may, and once more at the end."""
    clock = Clock()

    def sleep(pause_seconds: float) -> None:
        clock.now += pause_seconds

    limit = Deadline(10, clock).within(seconds)
    waited = list(deadline.polls(limit, sleep, longest_seconds=longest))
    assert waited == pytest.approx(looks)
    assert clock.now <= seconds + deadline.POLL_SECONDS


def test_a_wait_ends_when_it_has_come() -> None:
    """Nobody sleeps once it is seen; a wait never lasts longer than the whole."""
    clock = Clock()
    whole = Deadline(1, clock)
    assert next(deadline.polls(whole.within(5), pytest.fail)) == 0
    clock.now = 2
    assert list(deadline.polls(whole.within(5), pytest.fail)) == [0]


def test_what_blocks_is_broken_off() -> None:
    """T73: a wait that nothing else ends is ended by the last net, and the alarm is put back as it
    was."""
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(errors.DeadlineExceeded, match="the verb to end"),
        enforced(Deadline(0.01), "the verb to end", 0),
    ):
        threading.Event().wait(30)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_alarm_comes_again() -> None:
    """T73: an undo that keeps the first alarm to itself does not end the limit."""
    swallowed = []
    with (
        pytest.raises(errors.DeadlineExceeded),
        enforced(Deadline(0.3), "the verb to end", 0, again_seconds=0.3),
    ):
        try:
            threading.Event().wait(30)
        except errors.Error as error:
            swallowed.append(error)
        threading.Event().wait(30)
    assert len(swallowed) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_is_told_to_end_can_undo(number: signal.Signals) -> None:
    """A signal that asks for the end is an error like any other, and its handler is put back as it
    was."""

    def handler(*_: object) -> None:
        raise AssertionError("whoever started the tests may have had it ignored")

    given = signal.signal(number, handler)
    try:
        with (
            pytest.raises(errors.Interrupted, match=number.name),
            enforced(Deadline(30), "the verb to end", 0),
        ):
            os.kill(os.getpid(), number)
            threading.Event().wait(30)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, given)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """What was started with nohup goes on when its terminal ends."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with enforced(Deadline(30), "the verb to end", 0):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
