"""Blocks that tell who wrote them and when, a writer that never pauses, and what must be where by
its journal."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import mmap
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

BLOCK = 4096
LANES = 2  # writes under way at the same time: what a snapshot holds back is then more than one
MOST_WRITES = 200_000  # of one lane: a writer ends by itself, also when its test forgets it
JOIN_SECONDS = 30.0
_HEAD = struct.Struct("<16sQQ")  # who, place, sequence number
_SUM = hashlib.sha256().digest_size
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True)
class Block:
    """What a block says of itself: its writer and its number in the order of that writer's work."""

    author: str
    sequence: int


Image = dict[int, Optional[Block]]
"""What is at each place; None for zeros."""


def pack(author: str, place: int, sequence: int) -> bytes:
    """Make a block: who wrote it, its place, its number, random bytes, and a checksum over all of
    these."""
    body = _HEAD.pack(author.encode(), place, sequence) + os.urandom(BLOCK - _HEAD.size - _SUM)
    return body + hashlib.sha256(body).digest()


def unpack(data: bytes, place: int) -> Block | None:
    """Read a block that must be whole and at its place; None for zeros."""
    if data == _ZEROS:
        return None
    body, checksum = data[:-_SUM], data[-_SUM:]
    assert hashlib.sha256(body).digest() == checksum, f"block {place} is torn"
    author, there, sequence = _HEAD.unpack_from(body)
    assert there == place, f"block {place} holds what was written to {there}"
    return Block(author.rstrip(b"\0").decode(), sequence)


class Device:
    """An open device, past the page cache where it is a block device."""

    def __init__(self, path: Path, rights: int = os.O_RDONLY) -> None:
        self.block = path.is_block_device()
        self._descriptor = os.open(path, rights | (os.O_DIRECT if self.block else 0))

    def write(self, place: int, data: bytes) -> None:
        """Write one block, down to the storage."""
        with mmap.mmap(-1, BLOCK) as buffer:  # direct I/O wants whole pages
            buffer[:] = data
            assert os.pwrite(self._descriptor, buffer, place * BLOCK) == BLOCK
        os.fdatasync(self._descriptor)

    def read(self, place: int) -> bytes:
        """Read one block."""
        with mmap.mmap(-1, BLOCK) as buffer:
            assert os.preadv(self._descriptor, [buffer], place * BLOCK) == BLOCK
            return buffer[:]

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def read(path: Path, places: Iterable[int]) -> Image:
    """Read what is at some places."""
    with contextlib.closing(Device(path)) as device:
        return {place: unpack(device.read(place), place) for place in places}


@dataclass
class Write:
    """One write: its number, which is the moment when it was started, and when it was known to be
    stored."""

    sequence: int
    acknowledged: int | None = None


@dataclass
class Moment:
    """The time between the start and the end of a call, by the clock of a journal."""

    began: int
    ended: int = 0


class Journal:
    """What one writer did; its clock ticks at each start and each end of a write."""

    def __init__(self, author: str) -> None:
        self.author = author
        self.writes: defaultdict[int, list[Write]] = defaultdict(list)
        self._clock = itertools.count(1)

    def tick(self) -> int:
        """Return the time."""
        return next(self._clock)

    def check_newest(
        self, image: Mapping[int, Block | None], base: Mapping[int, Block | None] | None = None
    ) -> None:
        """Check a volume: the newest block that was stored or one begun after it; elsewhere what
        was there before."""
        for place, block in image.items():
            writes = self.writes.get(place, [])
            stored = max((write.sequence for write in writes if write.acknowledged), default=0)
            right: set[Block | None] = {
                Block(self.author, each.sequence) for each in writes if each.sequence >= stored
            }
            if not stored:
                right.add((base or {}).get(place))
            assert block in right, (
                f"place {place} has {block} in place of number {stored} or a newer one"
            )

    def check_moment(self, image: Mapping[int, Block | None], moment: Moment) -> None:
        """Check a copy: the volume as it was at ONE moment of the call.

        With all that was stored before the call, nothing begun after it; and where a block is
        there, so is every block that was stored before that one was begun.
        """
        shown = {place: self._sequence(place, block) for place, block in image.items()}
        newest = max(shown.values())
        assert newest < moment.ended, f"number {newest} was begun after the call had ended"
        for place, sequence in shown.items():
            lost = [
                each
                for each in self.writes.get(place, [])
                if each.sequence > sequence and each.acknowledged
            ]
            assert not [each for each in lost if each.acknowledged < moment.began], (
                f"place {place} is too old"
            )
            assert not [each for each in lost if each.acknowledged < newest], (
                f"place {place} is older than the others"
            )

    def _sequence(self, place: int, block: Block | None) -> int:
        if block is None:
            return 0
        numbers = {write.sequence for write in self.writes.get(place, [])}
        assert block.author == self.author, f"place {place} has a block of {block.author}"
        assert block.sequence in numbers, f"nobody wrote number {block.sequence} to {place}"
        return block.sequence


class Writer:
    """Writes blocks to random places without pause, some at a time, and keeps its journal.

    Each place belongs to one lane, so what is written there has an order.
    """

    def __init__(self, path: Path, author: str, places: Sequence[int]) -> None:
        self.journal = Journal(author)
        self.failure: BaseException | None = None
        self._device = Device(path, os.O_RDWR)
        self._done = 0
        self._news = threading.Condition()
        self._go, self._stopped = threading.Event(), threading.Event()
        self._go.set()
        self._turns = [threading.Lock() for _ in range(LANES)]
        self._lanes = [
            threading.Thread(target=self._run, args=(places[number::LANES], turn), daemon=True)
            for number, turn in enumerate(self._turns)
        ]
        for lane in self._lanes:
            lane.start()

    @contextlib.contextmanager
    def moment(self) -> Iterator[Moment]:
        """Note when a call starts and ends; a plain file is not written meanwhile."""
        with contextlib.ExitStack() as stack:
            if not self._device.block:  # nobody can hold back who writes to one: docs/devices.md
                stack.enter_context(self._held())
            moment = Moment(self.journal.tick())
            yield moment
            moment.ended = self.journal.tick()

    def go_on(self, count: int) -> None:
        """Return as soon as so many more blocks are stored."""
        with self._news:
            enough = self._done + count
            assert self._news.wait_for(
                lambda: self.failure or self._done >= enough, JOIN_SECONDS
            ), "it does not write"
        assert self.failure is None, self.failure

    def join(self) -> None:
        """Return when it has ended by itself."""
        for lane in self._lanes:
            lane.join(JOIN_SECONDS)
            assert not lane.is_alive(), "it still writes"

    def stop(self) -> None:
        """End it and close the device; raises what it failed with."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._go.set()
            self.join()
            self._device.close()
        if self.failure:
            raise self.failure

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self._go.clear()
        try:
            with contextlib.ExitStack() as stack:
                for turn in self._turns:
                    stack.enter_context(turn)
                yield
        finally:
            self._go.set()

    def _run(self, places: Sequence[int], turn: threading.Lock) -> None:
        try:
            for number in range(MOST_WRITES):
                if self._stopped.is_set() or self.failure:
                    return
                self._go.wait()
                with turn:
                    # All places once, then at random.
                    self._write(
                        places[number] if number < len(places) else places[_random(len(places))]
                    )
        except BaseException as failure:  # it is raised where the test waits
            self.failure = failure
        finally:
            with self._news:
                self._news.notify_all()

    def _write(self, place: int) -> None:
        write = Write(self.journal.tick())
        self.journal.writes[place].append(write)
        self._device.write(place, pack(self.journal.author, place, write.sequence))
        write.acknowledged = self.journal.tick()
        with self._news:
            self._done += 1
            self._news.notify_all()


@contextlib.contextmanager
def writing(path: Path, author: str, places: Sequence[int]) -> Iterator[Writer]:
    """Write to a device for as long as the block lasts; when it begins, each place has been
    written."""
    writer = Writer(path, author, places)
    try:
        writer.go_on(len(places))
        yield writer
    finally:
        with contextlib.suppress(
            OSError
        ):  # a test that wants to see it has stopped the writer itself
            writer.stop()


def _random(below: int) -> int:
    return int.from_bytes(os.urandom(4), "little") % below
