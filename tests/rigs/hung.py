"""A test that hangs ends its process, and says where it stood.

A pytest plugin, named in conftest.py. Without it the whole run waits, until whoever started it has
no more patience, and nobody learns which test it was. pytest-xdist tells the test of the process
that ended, and goes on with another one.
"""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Some three times as long as the longest test takes on a busy machine, its stage included
LONGEST_SECONDS = 600.0


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
