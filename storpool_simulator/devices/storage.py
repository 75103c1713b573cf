"""The data of volumes and snapshots: one sparse file for each, named by its global id.

What has never held data has no file, and reads zeros: `ensure` makes one before somebody writes.

Nothing here is flushed to the disk: the promise is that a killed simulator loses nothing, not that
a machine without power keeps everything. A file appears or changes its inode by rename: a crash
leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FICLONE = 0x40049409  # linux/fs.h, not in Python's fcntl before 3.14
PUNCH_HOLE = 0x03  # linux/falloc.h: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
BLOCK = 512  # the unit of st_blocks, whatever the file system's own block is
CHUNK = 1 << 20  # our choice: what a copy by hand moves at once
PRIVATE = 0o600  # data of guests is for the simulator's own user
UNFINISHED = "~"  # no global id begins with it
# What file systems answer to FICLONE, copy_file_range and punching when they cannot.
NOT_POSSIBLE_HERE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EPERM}
)


class Storage:
    """The data files in `folder`; a global id belongs to at most one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"{folder}{os.sep}"
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{UNFINISHED}*"):
            leftover.unlink(missing_ok=True)

    def check_size(self, size_bytes: int) -> None:
        """Raise OSError (EFBIG) when no file can be so large here; none may be needed yet."""
        with tempfile.TemporaryFile(dir=self._folder, prefix=UNFINISHED) as probe:
            probe.truncate(size_bytes)

    def path(self, global_id: str) -> Path:
        """Return where the data of this object is, or would be."""
        return self._folder / global_id

    def create(self, global_id: str, size_bytes: int) -> None:
        """Make the file, which reads zeros everywhere.

        A file that an earlier object of this id left is discarded.
        """
        _make(self.path(global_id), size_bytes)

    def ensure(self, global_id: str, size_bytes: int) -> None:
        """Make the file unless there is one."""
        if not self.path(global_id).exists():
            self.create(global_id, size_bytes)

    def copy(self, source_id: str, target_id: str, size_bytes: int) -> None:
        """Make `target_id` with the content of `source_id`, cut or grown with zeros.

        It shares the data where the file system can (XFS, Btrfs); else it copies what is not a
        hole.
        """
        copy_file(self.path(source_id), self.path(target_id), size_bytes)

    def take_over(self, path: Path, global_id: str) -> None:
        """Have a file of another cluster under our name too: who has it open writes to ours.

        A file that an earlier object of this id left is discarded.
        """
        unfinished = _unfinished(self.path(global_id))
        unfinished.unlink(missing_ok=True)
        os.link(path, unfinished)
        unfinished.replace(self.path(global_id))

    def take_copy(self, path: Path, global_id: str, size_bytes: int) -> None:
        """Make `global_id` with the content of a file of another cluster."""
        copy_file(path, self.path(global_id), size_bytes)

    def overwrite(self, source_id: str, target_id: str, size_bytes: int) -> None:
        """Give `target_id` the content of `source_id` in place, so that its devices stay attached.

        When it is killed in the middle it leaves a mixture; repeating it heals that.
        """
        if not self.path(target_id).exists():
            self.copy(source_id, target_id, size_bytes)
            return
        try:
            source = os.open(self.path(source_id), os.O_RDONLY)
        except FileNotFoundError:
            self._clear(target_id, size_bytes)
            return
        try:
            with _changeable(self.path(target_id)) as target:
                _fill(source, target, size_bytes)
        finally:
            os.close(source)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Grow the file with zeros, or cut it; one that is absent stays so."""
        with contextlib.suppress(FileNotFoundError), _changeable(self.path(global_id)) as fd:
            os.ftruncate(fd, size_bytes)

    def remove(self, global_id: str) -> None:
        """Forget its data; absent is fine."""
        self.path(global_id).unlink(missing_ok=True)

    def stored_bytes(self, global_id: str) -> int:
        """Return what it takes on the disk now: holes take nothing, nor does what has no file."""
        return self.file_bytes(global_id) or 0

    def file_bytes(self, global_id: str) -> int | None:
        """Return what its file takes on the disk now; None when it has none."""
        try:
            return os.stat(f"{self._prefix}{global_id}").st_blocks * BLOCK  # noqa: PTH116  six times as fast as Path
        except FileNotFoundError:
            return None

    def ids(self) -> Iterator[str]:
        """Yield the global ids of all data files."""
        return iter(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Return the length of each data file in bytes, by global id."""
        with os.scandir(self._folder) as found:
            return {
                one.name: one.stat(follow_symlinks=False).st_size
                for one in found
                if not one.name.startswith(UNFINISHED)
            }

    def _clear(self, global_id: str, size_bytes: int) -> None:
        """Make the file read zeros, in place."""
        with _changeable(self.path(global_id)) as fd:
            old_bytes = os.fstat(fd).st_size
            if old_bytes:
                zero(fd, 0, old_bytes)
            os.ftruncate(fd, size_bytes)


def _make(target: Path, size_bytes: int) -> None:
    unfinished = _unfinished(target)
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, PRIVATE)
    try:
        os.ftruncate(fd, size_bytes)
    finally:
        os.close(fd)
    unfinished.replace(target)


def copy_file(source: Path, target: Path, size_bytes: int) -> None:
    """Make `target` a new inode with the content of `source`, or leave it as it was.

    `source` may be `target` itself. Of a source without a file the copy has none either; a target
    that has one reads zeros then.
    """
    unfinished = _unfinished(target)
    try:
        source_fd = os.open(source, os.O_RDONLY)
    except FileNotFoundError:
        if target.exists():
            _make(target, size_bytes)
        return
    try:
        target_fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, PRIVATE)
        try:
            _fill(source_fd, target_fd, size_bytes)
        finally:
            os.close(target_fd)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(source_fd)


def zero(fd: int, start: int, length: int) -> None:
    """Make a range read zeros and take no space.

    Where the file system has no holes, zeros are written.
    """
    if _libc.fallocate(fd, PUNCH_HOLE, start, length) == 0:
        return
    number = ctypes.get_errno()
    if number not in NOT_POSSIBLE_HERE:
        raise OSError(number, os.strerror(number))
    zeros = bytes(min(CHUNK, length))
    for at in range(start, start + length, CHUNK):
        os.pwrite(fd, zeros[: start + length - at], at)


@contextlib.contextmanager
def _changeable(path: Path) -> Iterator[int]:
    """Open the file for writing, also when its mode is that of one attached read-only."""
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        fd = os.open(path, os.O_RDWR)
    except PermissionError:
        path.chmod(PRIVATE)
        try:
            fd = os.open(path, os.O_RDWR)
        finally:
            path.chmod(mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _unfinished(target: Path) -> Path:
    return target.with_name(UNFINISHED + target.name)


def _fill(source: int, target: int, size_bytes: int) -> None:
    length = min(os.fstat(source).st_size, size_bytes)
    if not _share(source, target):
        _copy_sparsely(source, target, length)
    # Cut to the source's length first: what the target held beyond it must not show in a target
    # that is larger.
    os.ftruncate(target, length)
    os.ftruncate(target, size_bytes)


def _share(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as problem:
        if problem.errno in NOT_POSSIBLE_HERE:
            return False
        raise
    return True


def _copy_sparsely(source: int, target: int, length: int) -> None:
    """Copy data, and make holes where the source has holes, also where the target has data."""
    old_length = os.fstat(target).st_size
    at = 0
    for start, end in _data_ranges(source, length):
        _zero_hole(target, at, min(start, old_length))
        _copy_range(source, target, start, end)
        at = end
    _zero_hole(target, at, min(length, old_length))


def _zero_hole(fd: int, start: int, end: int) -> None:
    if start < end:
        zero(fd, start, end - start)


def _data_ranges(fd: int, length: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < length:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # no data from here to the end
                return
            raise
        at = min(os.lseek(fd, start, os.SEEK_HOLE), length)
        if start < at:
            yield start, at


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            copied = os.copy_file_range(source, target, end - start, start, start)
        except OSError as problem:
            if problem.errno not in NOT_POSSIBLE_HERE:
                raise
            copied = os.pwrite(target, os.pread(source, min(CHUNK, end - start), start), start)
        if copied == 0:
            raise OSError(errno.EIO, "a data file became shorter while it was copied")
        start += copied


_libc = ctypes.CDLL(None, use_errno=True)
# Python offers posix_fallocate only, which cannot punch.
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
