"""Loop devices by the kernel's own calls (linux/loop.h, linux/fs.h).

There is no losetup, and no output of a tool to parse.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL = Path("/dev/loop-control")
LOOP_CLR_FD, LOOP_SET_CAPACITY, LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C01, 0x4C07, 0x4C0A, 0x4C82
BLKROSET = 0x125D
# LO_FLAGS_DIRECT_IO: without it the loop driver moves one page for each request of the file below.
DIRECT_IO = 16
LOOP_MAJOR = 7
SECTOR_BYTES = 512  # StorPool's SECTOR_SIZE [sptypes]
CONFIG = struct.Struct("=IIQQQQQIIII64s64s32sQQ64x")
"""struct loop_config: file, block size; of struct loop_info64: device, inode, rdevice, offset,
size limit; number, two of encryption, flags; file name, two of encryption; two of encryption."""
NODE_MODE = 0o660
# Our choice: GET_FREE reserves nothing, so any other program may be quicker, but not for ever.
MOST_TRIES = 1000


@dataclass(frozen=True)
class Loop:
    """One loop device that was made here."""

    path: Path
    user: int
    group: int
    mode: int
    """User, group and mode of its node before; given back at the end, as the node outlives it."""


def make(file: int) -> Loop:
    """Bind a free loop device to an open file, and return it.

    Raises OSError when other programs take every free one.
    """
    with _opened(CONTROL) as control:
        for _ in range(MOST_TRIES):
            path = _node(fcntl.ioctl(control, LOOP_CTL_GET_FREE))
            with contextlib.suppress(_TakenError), _opened(path) as device:
                facts = os.fstat(device)
                _configure(device, file)
                _set_read_only(device, False)
                return Loop(path, facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
    raise OSError(errno.EBUSY, "other programs took every free loop device", str(CONTROL))


def unmake(loop: Loop) -> None:
    """Let go of the file at once, or when the last one that has the device open closes it."""
    release(loop.path)
    os.chown(loop.path, loop.user, loop.group)
    loop.path.chmod(loop.mode)


def release(path: Path) -> None:
    """Let go of the file of any loop device; one that is free is fine."""
    try:
        with _opened(path) as device:
            # Read-only outlives the binding too, and would surprise the next user.
            _set_read_only(device, False)
            fcntl.ioctl(device, LOOP_CLR_FD)
    except OSError as problem:
        if problem.errno not in {errno.ENXIO, errno.ENODEV, errno.ENOENT}:
            raise


def set_read_only(path: Path, read_only: bool) -> None:
    """Change what the kernel lets those write who have it open, and who open it."""
    with _opened(path) as device:
        _set_read_only(device, read_only)


def follow_size(path: Path) -> None:
    """Take over the size that the file has now."""
    with _opened(path) as device:
        fcntl.ioctl(device, LOOP_SET_CAPACITY)


def flush(path: Path) -> None:
    """Write out the device's page cache; raise OSError when that failed."""
    with _opened(path) as device:
        os.fsync(device)


def drop_cache(path: Path) -> None:
    """Forget the device's page cache, after a last try to write it out."""
    # Not BLKFLSBUF: that would also sync a file system on it, which may wait for a lock for ever.
    with _opened(path) as device:
        with contextlib.suppress(OSError):
            os.fsync(device)
        os.posix_fadvise(device, 0, 0, os.POSIX_FADV_DONTNEED)


def is_over(path: Path, name: str) -> bool:
    """Return whether the device is still over the file of this name: not free, not another's."""
    backing = Path(f"/sys/block/{path.name}/loop/backing_file")
    try:
        file = backing.read_text(errors="replace").strip()
    except FileNotFoundError:
        return False
    return Path(file).name == name


def over_files(prefix: str) -> Iterator[Path]:
    """Yield the loop devices whose file's own name begins so."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # let go of in this moment
            if Path(backing.read_text(errors="replace")).name.startswith(prefix):
                yield Path("/dev") / backing.parent.parent.name


class _TakenError(Exception):
    """Another program was quicker."""


def _node(number: int) -> Path:
    path = Path(f"/dev/loop{number}")
    # A /dev without devtmpfs, as in containers, does not make the node by itself.
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFBLK | NODE_MODE, os.makedev(LOOP_MAJOR, number))
    return path


def _set_read_only(device: int, read_only: bool) -> None:
    fcntl.ioctl(device, BLKROSET, struct.pack("i", read_only))


def _configure(device: int, file: int) -> None:
    # A bytearray, not bytes: with bytes Python keeps its own lock while the kernel waits, and the
    # kernel waits for us.
    config = bytearray(
        CONFIG.pack(file, SECTOR_BYTES, 0, 0, 0, 0, 0, 0, 0, 0, DIRECT_IO, b"", b"", b"", 0, 0)
    )
    try:
        fcntl.ioctl(device, LOOP_CONFIGURE, config)
    except OSError as problem:
        if problem.errno in {errno.EBUSY, errno.ENXIO}:
            raise _TakenError from problem
        raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
