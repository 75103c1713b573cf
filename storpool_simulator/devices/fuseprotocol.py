"""The kernel's FUSE protocol 7.31 (linux/fuse.h), as far as one folder of plain files needs it."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 14, 15, 16, 17, 18, 20
FLUSH, INIT, INTERRUPT, BATCH_FORGET, FALLOCATE = 25, 26, 36, 42, 43
UNANSWERED = frozenset({FORGET, BATCH_FORGET, INTERRUPT})
MOVES_DATA = frozenset({READ, WRITE, FALLOCATE})
CHANGES_DATA = frozenset({WRITE, FALLOCATE})

# length, opcode, unique, node id, uid, gid, pid, extensions, padding
HEADER_IN = struct.Struct("=IIQQIIIHH")
HEADER_OUT = struct.Struct("=IiQ")  # length, -errno, unique
READ_IN = struct.Struct("=QQI")  # file handle, offset, size
WRITE_IN = struct.Struct("=QQIIQII")  # file handle, offset, size, flags, lock owner, flags, padding
FALLOCATE_IN = struct.Struct("=QQQII")  # file handle, offset, length, mode, padding
INIT_IN = struct.Struct("=IIII")  # major, minor, readahead, flags
# the same, background, congestion, max write, granularity, max pages
INIT_OUT = struct.Struct("=IIIIHHIIHH32x")
# node id, generation, two life times of 0: the kernel always asks again
ENTRY_OUT = struct.Struct("=QQQQII")
ATTR_OUT = struct.Struct("=QII")  # a life time of 0
ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
OPEN_OUT = struct.Struct("=QII")
WRITE_OUT = struct.Struct("=II")
STATFS_OUT = struct.Struct("=QQQQQIIII24x")

PROTOCOL = (7, 31)
ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22
DIRECT_IO, PARALLEL_DIRECT_WRITES = 1 << 0, 1 << 6
PAGE = 4096
MOST_PAGES = 256  # the kernel's own limit for one request
MOST_BYTES = PAGE * MOST_PAGES
# The largest that fits: requests of held volumes count, and at the limit all volumes would stop.
MOST_WAITING = 0xFFFF
ROOT = 1
# The kernel refuses to fill a shorter buffer.
LONGEST_REQUEST = HEADER_IN.size + WRITE_IN.size + MOST_BYTES + PAGE

PR_SET_IO_FLUSHER = 57
MS_NOSUID, MS_NODEV, MS_NOEXEC, MNT_DETACH = 2, 4, 8, 2


def mount(folder: Path, fuse: int) -> None:
    """Mount a FUSE connection on a folder, for root alone.

    Raises OSError where the kernel or a container forbids it.
    """
    options = f"fd={fuse},rootmode={stat.S_IFDIR:o},user_id={os.getuid()},group_id={os.getgid()}"
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    if _libc.mount(b"storpool-simulator", os.fsencode(folder), b"fuse", flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


def unmount(folder: Path) -> None:
    """Take a mount out of the tree, busy or not."""
    if _libc.umount2(os.fsencode(folder), MNT_DETACH):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


def serve_storage() -> None:
    """Say to the kernel that this thread is what storage waits for.

    Without that, both wait for each other when memory is short.
    """
    # Its failure is no error: not every kernel and container offers it.
    _libc.prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)


def init(request: bytes | memoryview) -> bytes:
    """Return the answer to INIT: large requests, many of them, each answered when we like."""
    _, _, readahead, flags = INIT_IN.unpack_from(request)
    flags &= ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES
    return INIT_OUT.pack(
        *PROTOCOL, readahead, flags, MOST_WAITING, MOST_WAITING, MOST_BYTES, 1, MOST_PAGES, 0
    )


def statfs() -> bytes:
    """Return the answer to STATFS.

    A loop device takes its block size for the unit of discard.
    """
    return STATFS_OUT.pack(0, 0, 0, 0, 0, PAGE, 255, PAGE, 0)


def entry(node_id: int, size_bytes: int) -> bytes:
    """Return the answer to LOOKUP for a file of this size."""
    return ENTRY_OUT.pack(node_id, 0, 0, 0, 0, 0) + _facts(node_id, size_bytes)


def attributes(node_id: int, size_bytes: int | None) -> bytes:
    """Return the answer to GETATTR for a file of this size, or for the folder when it is None."""
    return ATTR_OUT.pack(0, 0, 0) + _facts(node_id, size_bytes)


def opened() -> bytes:
    """Return the answer to OPEN.

    It asks for no page cache, so that two hosts see each other's writes, and for many writes at
    once.
    """
    return OPEN_OUT.pack(0, DIRECT_IO | PARALLEL_DIRECT_WRITES, 0)


def _facts(node_id: int, size_bytes: int | None) -> bytes:
    mode = stat.S_IFDIR | 0o700 if size_bytes is None else stat.S_IFREG | 0o600
    size = size_bytes or 0
    return ATTR.pack(node_id, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, PAGE, 0)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
