"""A run that takes too long ends by itself, and names the tests that were still running.

A pytest plugin, named in conftest.py; tox.ini sets `--whole-seconds`. Whoever started the run has a
limit too, and would learn nothing at that. Single tests that hang are ended by hung.py. This is for
a run that is slow as a whole, and for what hung.py does not see: a worker that is stopped, that
never begins, or that has ended while a child of its own keeps its pipes open.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# For the closing lines: pytest-xdist waits ten seconds for workers before it kills them.
GRACE_SECONDS = 90.0
AGAIN_SECONDS = 20.0  # what swallowed the exception meets it once more
STACKS = signal.SIGUSR1  # has a worker tell where it stands


class Overdue(KeyboardInterrupt):
    """The time of this run is over: pytest closes it as if somebody had interrupted it."""


class Process(NamedTuple):
    """A process; the start tells it from a later one with its number."""

    pid: int
    start: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--whole-seconds",
        type=float,
        default=0.0,
        help="a run that takes longer ends and names what still runs; 0: no limit",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch the run, in the process that was started."""
    seconds = config.getoption("--whole-seconds")
    if hasattr(config, "workerinput"):
        faulthandler.register(STACKS, file=os.dup(2))
    elif seconds and config.getoption("numprocesses", None):
        config.pluginmanager.register(Controller(seconds))
    elif seconds:
        config.pluginmanager.register(Alone(seconds))


class Alone:
    """The limit of a run in one process: no test begins after it; one that hangs meets hung.py."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Stop behind the test that was running when time was over."""
        try:
            return (yield)
        finally:
            if time.monotonic() > self._end:
                item.session.shouldstop = f"{_over(self._seconds)}: ended after {item.nodeid}"


class Controller:
    """The limit of a run with workers, in the process that waits for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stderr = os.dup(2)
        self._running: dict[str, float] = {}
        self._done = 0
        self._is_over = threading.Event()
        self._below: set[Process] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Set the time."""
        signal.signal(signal.SIGALRM, self._interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN_SECONDS)
        threading.Thread(target=self._end_surely, daemon=True).start()
        # Below Python, where not even a thread gets its turn
        last = self._seconds + 2 * GRACE_SECONDS
        faulthandler.dump_traceback_later(last, exit=True, file=self._stderr)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note what runs."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note what has ended."""
        self._running.pop(nodeid, None)
        self._done += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what ended with its process, which pytest-xdist tells in this way alone."""
        if report.when not in ("setup", "call", "teardown"):
            self.pytest_runtest_logfinish(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Interrupt once: what is done now is the end."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let the workers end; a thread goes on to wait for that."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name what was still running."""
        if self._is_over.is_set():
            terminalreporter.section(_over(self._seconds))
            terminalreporter.write("".join(self._lines()))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Leave nothing that was started."""
        _kill(self._below)

    def _interrupt(self, *_: object) -> NoReturn:
        self._is_over.set()
        self._below |= below(os.getpid())
        for each, parent in _parents().items():
            if parent == os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(each.pid, STACKS)
        raise Overdue(_over(self._seconds))

    def _end_surely(self) -> None:
        self._is_over.wait(self._seconds)
        time.sleep(GRACE_SECONDS)
        os.write(self._stderr, "".join([f"\n{_over(self._seconds)}\n", *self._lines()]).encode())
        _kill(self._below | below(os.getpid()))
        os._exit(pytest.ExitCode.INTERRUPTED)

    def _lines(self) -> list[str]:
        now = time.monotonic()
        running = [*self._running.items()]
        return [
            f"{self._done} tests had ended, {len(running)} were running\n",
            *(f"still running: {name}, for {now - since:.0f} s\n" for name, since in running),
        ]


def below(pid: int) -> set[Process]:
    """Return all that this process has started, and what those have."""
    parents = _parents()
    found: set[Process] = set()
    while True:
        above = {pid, *(each.pid for each in found)}
        grown = {each for each, parent in parents.items() if parent in above}
        if grown == found:
            return found
        found = grown


def _parents() -> dict[Process, int]:
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = place.read_text(errors="replace").rpartition(")")[2].split()
            found[Process(int(place.parent.name), words[19])] = int(words[1])
    return found


def _kill(those: Iterable[Process]) -> None:
    for each in _parents().keys() & {*those}:
        with contextlib.suppress(OSError):
            os.kill(each.pid, signal.SIGKILL)


def _over(seconds: float) -> str:
    return f"the tests are not over after {seconds:.0f} s"
