"""How much time is left: one limit per process, asked by everything that waits.

Engine counts its own time-out only after our output has ended and never kills us, and a guest may
be frozen while we work, so each program ends by itself.
"""

from __future__ import annotations

import time

from storpool_ovirt import errors
from storpool_ovirt.light import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from types import FrameType
else:  # which makes no enumerations of what is in it
    import _signal as signal

# With their names.
ENDING_SIGNALS: dict[int, str] = {
    signal.SIGTERM: "SIGTERM",
    signal.SIGINT: "SIGINT",
    signal.SIGHUP: "SIGHUP",
}
# The alarm comes again: the first one may fall into an undo, which keeps all failures to itself.
AGAIN_SECONDS = 2.0
# For the last line of the log and the answer, when the work is over: their reader needs moments.
END_SECONDS = 4.0
# The pause between two looks; the last look is so much after the end.
POLL_SECONDS = 0.05


class Deadline:
    """A moment on a monotonic clock. The clock is a parameter so that tests need not wait."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self, what: str) -> float:
        """Return the seconds that are left (more than 0).

        Raises DeadlineExceeded naming `what` when there are none.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise errors.DeadlineExceeded(what, self.seconds)
        return left

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when there are none."""
        return max(0.0, self._end - self._clock())

    def within(self, seconds: float) -> Deadline:
        """Return a limit of `seconds` from now that does not reach beyond this one."""
        return Deadline(min(seconds, self.remaining()), self._clock)

    def after(self, seconds: float) -> Deadline:
        """Return a limit of `seconds` from now, whatever is left of this one.

        It is for what has to be written at the end.
        """
        return Deadline(seconds, self._clock)

    def extend(self, seconds: float) -> None:
        """Add `seconds` to what is left, for an undo that must still run."""
        self._end = max(self._end, self._clock()) + seconds


def polls(
    limit: Deadline,
    sleep: Callable[[float], None],
    pause_seconds: float = POLL_SECONDS,
    longest_seconds: float | None = None,
) -> Iterator[float]:
    """Yield how long it has been, in seconds, once for each look at what is waited for.

    The first look is at once, even where no time is left; the last one is just after the end. The
    pause doubles up to `longest_seconds`; without that it stays the same. The caller ends the loop
    when what it waits for has come. Behind the loop it has not come: the error that is raised there
    names what was waited for, and `limit.seconds`.
    """
    longest_seconds = longest_seconds or pause_seconds
    while True:
        yield limit.seconds - limit.remaining()
        if limit.remaining() <= 0:
            return
        sleep(min(pause_seconds, limit.remaining() + POLL_SECONDS))
        pause_seconds = min(2 * pause_seconds, longest_seconds)


def limit_end(seconds: float = END_SECONDS) -> None:
    """Have this process killed when it has not ended by then.

    It is so whatever was ignored or blocked when the process was started. What is left to do may
    block where no handler of ours is ever run: a pipe that nobody reads, a log service that is
    stopped.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def enforced(
    deadline: Deadline, what: str, grace_seconds: float, again_seconds: float = AGAIN_SECONDS
) -> Iterator[Callable[[], None]]:
    """Break off whatever blocks in this process `grace_seconds` after the deadline.

    An undo that blocks then is broken off too. This is the net below all other limits: a peer that
    sends one byte now and then resets every socket time-out. A signal that asks the process to end
    does the same, so that what can be undone is undone, and an answer is given. Code that
    keeps the first alarm to itself meets the next one `again_seconds` later.

    It gives a function that ends this before the block does.
    """

    def expired(_signum: int, _frame: FrameType | None) -> None:
        raise errors.DeadlineExceeded(what, deadline.seconds)

    def interrupted(signum: int, _frame: FrameType | None) -> None:
        raise errors.Interrupted(what, ENDING_SIGNALS[signum])

    seconds = deadline.left(what) + grace_seconds
    # What was started with one of these ignored (nohup) goes on ignoring it.
    ending = [each for each in ENDING_SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, interrupted) for each in ending}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, expired)
    # Whoever started us may have blocked it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds, again_seconds)

    def end() -> None:
        if before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for each in [*before]:
            signal.signal(each, before[each])
            del before[each]

    try:
        yield end
    finally:
        end()
