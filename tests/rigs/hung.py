"""A test that hangs ends its process, and says where it stood.

A pytest plugin, named in conftest.py. Without it the whole run waits, until whoever started it has
no more patience, and nobody learns which test it was. pytest-xdist tells the test of the process
that ended, and goes on with another one. The limit of a whole run is overdue.py's.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Some three times as long as the longest test takes on a busy machine, its stage included
LONGEST_SECONDS = 600.0
STDERR = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--longest-seconds",
        type=float,
        default=LONGEST_SECONDS,
        help="a test that takes longer hangs: its process ends (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch each test."""
    config.pluginmanager.register(Watch(config.getoption("--longest-seconds")))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep the pipes of a worker from its children, now that all plugins have opened theirs."""
    if hasattr(session.config, "workerinput"):
        _keep_pipes_from_children()


class Watch:
    """What ends the process; a thread below Python, which a forked child has not."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stderr = os.dup(2)  # pytest takes the other one while a test runs

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Say where each thread stands, and end, when the test's time is over."""
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _keep_pipes_from_children() -> None:
    """Let no forked child keep the pipes by which others hear that this worker has ended: where a
    child hangs too, pytest-xdist would wait for ever, and so would who reads what it says."""
    pipes = {number: name for number, name in _open_files().items() if name.startswith("pipe:")}

    def let_go() -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, _ in pipes.items() & _open_files().items():
            os.dup2(nothing, number, inheritable=False)
        os.close(nothing)

    os.register_at_fork(after_in_child=let_go)


def _open_files() -> dict[int, str]:
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(each.name)] = str(each.readlink())
    return {number: name for number, name in found.items() if number > STDERR}
