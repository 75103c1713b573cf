"""A program that writes the same number to several devices in turns, past all caches, then the next
one: a copy of all of them of one moment has one number on all, or two that follow each other, the
newer one in front."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from typing import TYPE_CHECKING

from rigs.clock import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK = 4096
JOIN_SECONDS = 20.0
PAUSE_SECONDS = 0.005
_NUMBERS = struct.Struct(f"<{BLOCK // 8}Q")


class Writer:
    """It writes from its start on; `count` is the newest number that all devices have, `begun` that
    which may be on some. Where it `closes`, it opens the devices for each number anew."""

    def __init__(self, devices: Sequence[Path], *, closes: bool = False) -> None:
        self.count = self.begun = 0
        self.problem: OSError | None = None
        self._devices = devices
        self._closes = closes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def go_on(self, count: int = 2) -> None:
        """Return as soon as so many more numbers are written; AssertionError where it has ended."""
        enough = self.count + count
        wait_until(lambda: self.count >= enough or not self._thread.is_alive(), "the writer")
        assert self.count >= enough, self.problem

    def end(self) -> None:
        """Return when it has ended."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        assert not self._thread.is_alive(), "it still writes"

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._write()
                self._stop.wait(PAUSE_SECONDS)  # with all of them closed
        except OSError as problem:
            self.problem = problem

    def _write(self) -> None:
        with contextlib.ExitStack() as opened, mmap.mmap(-1, BLOCK) as memory:
            files = [opened.enter_context(direct(each)) for each in self._devices]
            while True:
                self.begun += 1
                memory[:] = block(self.begun)
                for file in files:
                    os.pwrite(file, memory, 0)
                self.count = self.begun
                if self._closes or self._stop.is_set():
                    return


def block(number: int) -> bytes:
    """Return what is written of a number."""
    return _NUMBERS.pack(*[number] * (BLOCK // 8))


def number_in(file: Path) -> int:
    """Return the number that is in a copy; AssertionError for half of one."""
    with file.open("rb") as there:
        numbers = set(_NUMBERS.unpack(there.read(BLOCK)))
    assert len(numbers) == 1, f"the block is torn: {numbers}"
    return numbers.pop()


@contextlib.contextmanager
def direct(device: Path) -> Iterator[int]:
    """Open a device past the page cache."""
    descriptor = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(*devices: Path, closes: bool = False) -> Iterator[Writer]:
    """Write for as long as the block lasts."""
    writer = Writer(devices, closes=closes)
    try:
        writer.go_on()
        yield writer
    finally:
        writer.end()
