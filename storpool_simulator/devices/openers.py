"""Who really holds a device open: processes, mounts in any namespace, the kernel itself.

A process holds it by a descriptor or a memory map. It is seen with the eyes of the caller: an
ordinary user sees his own processes only. Not seen are descriptors that live nowhere in /proc:
those registered in an io_uring and closed since, and those on their way through a socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSERS_BY = frozenset({"systemd-udevd", "(udev-worker)"})
"""They look at every new device for a moment, as it appears: no host would count them."""

OUT_OF_SIGHT = "the kernel (swap, device-mapper or a mount out of sight)"

_probing = threading.Lock()  # so that one thread's probe is not another thread's finding


def pids() -> list[str]:
    """Return the processes that are looked at, all of this machine; a test in which nobody but
    itself opens devices has them be itself, as to look at all takes most of what a detach takes."""
    return [*filter(str.isdigit, os.listdir("/proc"))]


def of_device(path: Path, ignored_pid: int) -> tuple[str, ...]:
    """Return who holds this block device, through whichever node.

    `ignored_pid` is the simulator's own data path.
    """
    try:
        number = path.stat().st_rdev
    except FileNotFoundError:
        return ()
    with _probing:
        claimed = _is_claimed(path)
        found = _processes(_opens_device(number), ignored_pid)
        if claimed:
            return (*found, *(_mounts(number) or [OUT_OF_SIGHT]))
        return found or _processes(_maps_device(number, path.name), ignored_pid)


def of_file(path: Path) -> tuple[str, ...]:
    """Return who holds this plain file by exactly this path; its other hard links do not count."""
    if _is_unused(path):
        return ()
    name = str(path)
    return (
        _processes(_opens_file(name), ignored_pid=0)
        or _processes(_maps_file(name), ignored_pid=0)
        or tuple(f"loop device {loop}" for loop in _loops_over(name))
    )


def _is_unused(path: Path) -> bool:
    """Return whether the kernel says that this file is open and mapped nowhere, in any name.

    It is false where the kernel cannot say so. The kernel gives a lease on a file to its owner only
    then. To ask costs nothing beside a search through all processes. Whoever opens the file in this
    very moment waits until the lease is given back.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # The notice that somebody waits would end this process; this signal is ignored
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _is_claimed(path: Path) -> bool:
    """Return whether a mounted file system, swap or device-mapper has it.

    They open exclusively, and none of them is a process.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as problem:
        if problem.errno == errno.EBUSY:
            return True
        if problem.errno in {errno.ENXIO, errno.ENODEV, errno.ENOENT}:
            return False
        raise
    return False


def _processes(holds: Callable[[str], bool], ignored_pid: int) -> tuple[str, ...]:
    found = []
    for pid in pids():
        if int(pid) == ignored_pid:
            continue
        # A process may end, or not be ours to look into, at any line of this.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if holds(pid):
                name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
                if name not in PASSERS_BY:
                    found.append(f"pid {pid} {name}")
    return tuple(found)


def _opens_device(number: int) -> Callable[[str], bool]:
    def holds(pid: str) -> bool:
        folder = f"/proc/{pid}/fd"
        for fd in os.listdir(folder):
            try:
                facts = os.stat(f"{folder}/{fd}")
            except OSError:
                continue
            if facts.st_rdev == number and stat.S_ISBLK(facts.st_mode):
                return True
        return False

    return holds


def _opens_file(name: str) -> Callable[[str], bool]:
    def holds(pid: str) -> bool:
        folder = f"/proc/{pid}/fd"
        for fd in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{fd}") == name:
                    return True
            except OSError:
                continue
        return False

    return holds


def _maps_device(number: int, name: str) -> Callable[[str], bool]:
    ending = b"/" + name.encode()

    def holds(pid: str) -> bool:
        for line in _map_lines(pid, ending):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/map_files/{line.split()[0].decode()}").st_rdev == number:
                    return True
        return False

    return holds


def _maps_file(name: str) -> Callable[[str], bool]:
    return lambda pid: any(_map_lines(pid, b" " + os.fsencode(name)))


def _map_lines(pid: str, ending: bytes) -> Iterator[bytes]:
    maps = Path(f"/proc/{pid}/maps").read_bytes()
    if ending in maps:
        yield from (line for line in maps.splitlines() if line.endswith(ending))


def _mounts(number: int) -> list[str]:
    seen: set[int] = set()
    points: dict[str, None] = {}
    for pid in pids():
        with contextlib.suppress(OSError):
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace not in seen:
                seen.add(namespace)
                points.update(dict.fromkeys(_mount_points(pid, number)))
    return [f"mounted at {point}" for point in points]


def _mount_points(pid: str, number: int) -> list[str]:
    wanted = f"{os.major(number)}:{os.minor(number)}"
    mounts = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines()
    fields = [line.split() for line in mounts]
    return [one[4] for one in fields if one[2] == wanted]


def _loops_over(name: str) -> Iterator[str]:
    wanted = os.fsencode(name) + b"\n"
    for block in os.listdir("/sys/block"):
        if block.startswith("loop"):
            with (
                contextlib.suppress(OSError),
                Path(f"/sys/block/{block}/loop/backing_file").open("rb") as file,
            ):
                if file.read() == wanted:
                    yield block
