"""vm_stream.py sees what the tests with virtual machines rely on it to see."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from vm_stream import BLOCK, LINES, Stream, read

OLD, NEW = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
PLACES = 6
DISK_BLOCKS = 1024


def block(number: int, writer: str = OLD) -> bytes:
    """Make a block as a guest does."""
    head = f"sp {writer} {number:014d} ".encode()
    return (head + f"{zlib.adler32(head):08x}\n".encode()) * LINES


def disk(folder: Path, changes: dict[int, bytes]) -> Stream:
    """Make a disk that begins with a whole stream, but for these changes (offset: bytes), and read
    it."""
    path = folder / "disk"
    path.write_bytes(b"".join(block(number) for number in range(PLACES)))
    with path.open("r+b") as file:
        file.truncate(DISK_BLOCKS * BLOCK)
        for offset, data in changes.items():
            file.seek(offset)
            file.write(data)
    return read(path)


def test_a_whole_stream(tmp_path: Path) -> None:
    """All blocks are found where they are, and whose they are."""
    stream = disk(tmp_path, {PLACES * BLOCK: block(PLACES, NEW)})
    assert stream.whole()
    assert (stream.of(OLD), stream.of(NEW)) == ([*range(PLACES)], [PLACES])
    assert stream.end == PLACES + 1
    assert stream.before(PLACES).of(NEW) == []


@pytest.mark.parametrize(
    "changes",
    [
        {2 * BLOCK: bytes(BLOCK)},
        {2 * BLOCK: bytes(BLOCK // 2)},
        {2 * BLOCK + BLOCK // 2: block(2, NEW)[BLOCK // 2 :]},
        {2 * BLOCK: block(3)},
        {2 * BLOCK: block(2).replace(b"4000", b"4001", LINES)},
        {(DISK_BLOCKS - 1) * BLOCK: b"x"},
        {(DISK_BLOCKS - 1) * BLOCK: block(DISK_BLOCKS - 1)},
    ],
    ids=[
        "missing",
        "half",
        "torn",
        "misplaced",
        "wrong checksum",
        "garbage far behind",
        "a block far behind",
    ],
)
def test_a_stream_that_is_not_whole(tmp_path: Path, changes: dict[int, bytes]) -> None:
    """Whatever is missing, torn, out of place, changed, or somewhere behind is seen."""
    assert not disk(tmp_path, changes).whole()
