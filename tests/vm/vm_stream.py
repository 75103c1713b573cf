"""What a guest wrote to its disk, read back: numbered blocks, each with its writer's boot id and a
checksum."""

from __future__ import annotations

import dataclasses
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

BLOCK = 4096
LINES = 64  # a block is one line so many times: half a block is seen
LINE = re.compile(rb"(sp ([0-9a-f-]{36}) (\d{14}) )([0-9a-f]{8})\n")


@dataclasses.dataclass(frozen=True)
class Stream:
    """The blocks of a disk: the writer's boot id by the block's place; `broken` are the places with
    anything else."""

    writers: dict[int, str]
    broken: tuple[int, ...]

    @property
    def end(self) -> int:
        """The first place behind all blocks."""
        return max(self.writers, default=-1) + 1

    def whole(self) -> bool:
        """Whether there is a right block in each place from the first to the last, and nothing else
        on the disk."""
        return not self.broken and len(self.writers) == self.end

    def of(self, boot_id: str) -> list[int]:
        """List the places of this writer's blocks."""
        return [place for place, writer in self.writers.items() if writer == boot_id]

    def before(self, end: int) -> Stream:
        """Return the beginning, up to a place."""
        writers = {place: writer for place, writer in self.writers.items() if place < end}
        return Stream(writers, tuple(place for place in self.broken if place < end))


def read(data: Path) -> Stream:
    """Read all that there is of a volume, from the sparse file in which the simulator keeps it."""
    writers: dict[int, str] = {}
    broken = []
    for place, block in _blocks(data):
        writer = _writer(place, block)
        if writer is None:
            broken.append(place)
        else:
            writers[place] = writer
    return Stream(writers, tuple(broken))


def _writer(place: int, block: bytes) -> str | None:
    line = block[: BLOCK // LINES]
    found = LINE.fullmatch(line)
    right = (
        found
        and block == line * LINES
        and int(found[3]) == place
        and zlib.adler32(found[1]) == int(found[4], 16)
    )
    return found[2].decode() if found and right else None


def _blocks(data: Path) -> Iterator[tuple[int, bytes]]:
    """Give what is not zeros; holes are passed over."""
    descriptor = os.open(data, os.O_RDONLY)
    at = 0
    try:
        while True:
            try:
                at = os.lseek(descriptor, at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:  # nothing but a hole up to the end
                return
            end = os.lseek(descriptor, at, os.SEEK_HOLE)
            while at < end:
                block = os.pread(descriptor, BLOCK, at)
                if any(block):
                    yield at // BLOCK, block
                at += BLOCK
    finally:
        os.close(descriptor)
