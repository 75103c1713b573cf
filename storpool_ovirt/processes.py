"""Processes of this machine, as proc(5) tells of them: whose child each is, and since when."""

from __future__ import annotations

import os
import time

from storpool_ovirt.light import NamedTuple


class Told(NamedTuple):
    """What the kernel tells of a process; `start` is in clock ticks since the machine's boot."""

    parent: int
    start: int

    def age_seconds(self) -> float:
        """Return how long ago it was started.

        The time since the machine's boot never goes back, whatever its clock does.
        """
        began = self.start / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def told(pid: int) -> Told | None:
    """Return what is told of a process; None where there is none, or it is hidden from us."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Counted behind the name in parentheses, which may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        return Told(int(fields[1]), int(fields[19]))
    except (OSError, IndexError, ValueError):
        return None


def words(pid: int) -> list[str]:
    """Return the words of a process's command line; none where there is none, or it is hidden."""
    return _parts(pid, "cmdline")


def real_user(pid: int) -> int | None:
    """Return the id of the user whose process it is; None where there is none, or it is hidden.

    The owner of its folder in /proc is root for whoever may not be dumped.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            line = next(each for each in file if each.startswith(b"Uid:"))
        return int(line.split()[1])
    except (OSError, StopIteration, IndexError, ValueError):
        return None


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty where it is not told."""
    pairs = (each.partition("=") for each in _parts(pid, "environ"))
    return {key: value for key, mark, value in pairs if mark}


def all_of_them() -> list[int]:
    """Return all processes that /proc shows us."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit())


def _parts(pid: int, name: str) -> list[str]:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            data = file.read()
    except OSError:
        return []
    # Whoever has changed its own words may have left out the last end.
    return [os.fsdecode(each) for each in data.removesuffix(b"\0").split(b"\0")] if data else []
