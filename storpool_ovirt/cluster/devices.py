"""What a host has of an object: its device node, and the lock for who attaches it.

StorPool's own client makes the nodes; nothing here makes or removes one.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from storpool_ovirt import errors, names, presence, rights
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, dataclass
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Callable

LOCK_FOLDER = "/run/storpool-ovirt"
# The kernel counts a block device's size in these, whatever its sectors are
# (Documentation/ABI/stable/sysfs-block).
SYSFS_SECTOR_BYTES = 512
# Which numbers of `stat` count what a device was asked to keep; older kernels lack the last ones.
_WRITES = (4, 11, 15)


@dataclass(frozen=True)
class Target:
    """A volume or snapshot to attach or detach.

    `name` helps where older releases list no global ids.
    """

    global_id: str
    name: str | None
    kind: str = "volume"

    def __str__(self) -> str:
        return f"{self.kind} {self.name or names.address(self.global_id)}"


@dataclass(frozen=True)
class HostSide:
    """What an attach needs of the host: who it is, where its folders are, and its time."""

    client_id: int
    root: str
    deadline: Deadline
    log: Log
    sleep: Callable[[float], None] = time.sleep
    lock_folder: str = LOCK_FOLDER
    limits: Limits = LIMITS


def wait_for_device(host: HostSide, global_id: str) -> None:
    """Wait for the device node of an object on this host; raise DeviceMissing when it does not come
    in time.

    Raises Unseen, at once, where its folder cannot be looked at: waiting mends none.
    """
    path = host.root + names.device_path(global_id)
    for _ in polls(host.deadline.within(host.limits.device_seconds), host.sleep):
        if presence.there(path):
            return
    raise errors.DeviceMissing(path, host.limits.device_seconds)


def wait_for_size(client: api.Client, host: HostSide, target: Target) -> int:
    """Wait until the device on this host is as large as the volume is in StorPool, and return its
    size in bytes.

    Raises NotFound when it is not attached here, Unseen when the device cannot be looked at,
    DeadlineExceeded when this host does not see the new size in time.
    """
    client.be_current()  # somebody else has just let it grow
    expected = client.volume(names.address(target.global_id)).size_bytes
    path = host.root + names.device_path(target.global_id)
    limit = host.deadline.within(host.limits.device_seconds)
    for _ in polls(limit, host.sleep):
        size = size_bytes(path)
        if size >= expected:
            return size
    raise errors.DeadlineExceeded(f"{path} to grow from {size} to {expected} bytes", limit.seconds)


def stays(host: HostSide, target: Target, seconds: float = 0.0) -> bool:
    """Return whether this host has a device of an object, and still has it after so many seconds.

    Raises Unseen.
    """
    path = host.root + names.device_path(target.global_id)
    return all(presence.there(path) for _ in polls(host.deadline.within(seconds), host.sleep))


def still_here(target: Target) -> errors.Conflict:
    """Return the error for a device of which StorPool says that it is not attached here."""
    return errors.Conflict(
        str(target),
        "has a device here though StorPool has it detached from this client",
        "check SP_OURID and the cluster",
    )


@contextmanager
def locked(host: HostSide, target: Target, seconds: float | None = None) -> Iterator[None]:
    """Hold this volume against other attaches and detaches on this host: Vdsm itself has no lock.

    Raises Locked when another one does not end within `seconds` (the host's limit where none is
    given), ConfigError when there can be no lock.
    """
    seconds = host.limits.lock_seconds if seconds is None else seconds
    folder = host.root + host.lock_folder
    try:
        file = rights.private(folder, f"{target.global_id}.lock")
    except OSError as error:
        raise errors.ConfigError(
            f"the folder of locks {folder}", f"cannot be used ({error.strerror})"
        ) from error
    try:
        if not any(_taken(file) for _ in polls(host.deadline.within(seconds), host.sleep)):
            raise errors.Locked(f"{target} on this host", seconds)
        yield
    finally:
        os.close(file)


def size_bytes(path: str) -> int:
    """Return the size of a device in bytes without opening it: an open device could not be detached
    meanwhile."""
    return _told(path, "size", lambda said: int(said) * SYSFS_SECTOR_BYTES, lambda it: it.st_size)


def writes(path: str) -> int:
    """Return how often a device was written to, as the kernel counts it (writes, discards and
    flushes of Documentation/ABI/stable/sysfs-block, `stat`), without opening it.

    Of a file it is when that was last.
    """
    return _told(path, "stat", _writes, lambda it: it.st_mtime_ns)


def _writes(said: bytes) -> int:
    counts = said.split()
    return sum(int(each) for number, each in enumerate(counts) if number in _WRITES)


def _told(
    path: str, what: str, read: Callable[[bytes], int], of_file: Callable[[os.stat_result], int]
) -> int:
    """Return what the kernel tells of a device, or its folder of a file in the place of one."""
    try:
        status = os.stat(path)
        if not stat.S_ISBLK(status.st_mode):
            return of_file(status)
        device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        with open(f"/sys/dev/block/{device}/{what}", "rb") as file:
            return read(file.read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.NotFound("device", path, "on this host: attach the volume first") from error
    except OSError as error:
        raise presence.unseen(path, error) from error


def _taken(file: int) -> bool:
    """Take the lock of an open file, and return whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
