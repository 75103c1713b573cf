"""Which process an operation is of, and whether that one still runs.

A pid alone is not enough, as it is used again: the machine's boot and name space and the start of
the process tell two of one pid apart. The journal keeps all three in one text, `machine:pid:start`.
"""

from __future__ import annotations

import os

from storpool_ovirt import processes
from storpool_ovirt.light import NamedTuple

# What a process is said to be where /proc does not tell its machine, or its start.
UNTOLD, UNKNOWN_START = "-", 0
_PID_MAX = 1 << 22  # the kernel's, proc(5)
_DIGITS_MAX = 19  # of a number that the kernel's 64 bits hold


class Process(NamedTuple):
    """One process of one boot of a machine; `start` is in clock ticks since that boot."""

    machine: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.machine}:{self.pid}:{self.start}"

    def runs(self) -> bool | None:
        """Return whether it runs beside this process; None where nobody here can tell.

        This process itself does not run beside: it is at one operation at a time, so what it left
        before is over.
        """
        if not self._is_here() or self.machine == UNTOLD:
            return None
        if self.pid == os.getpid() or not _exists(self.pid):
            return False
        found = _started(self.pid)
        # Another user's process may be hidden (proc(5), hidepid): it is there, and nobody can tell
        # since when.
        return found == self.start if found is not None and self.start != UNKNOWN_START else None

    def age_seconds(self) -> float | None:
        """Return how long ago it was started; None for this process, and for another machine's."""
        if not self._is_here() or self == own():
            return None
        return processes.Told(0, self.start).age_seconds()

    def _is_here(self) -> bool:
        return self.machine == _machine()


def parse(text: str) -> Process:
    """Return the process that the journal names; raise ValueError for what none can be called."""
    machine, pid, start = text.split(":")
    if not _is_number(pid) or not _is_number(start) or int(pid) > _PID_MAX:
        raise ValueError(text)
    return Process(machine, int(pid), int(start))


def own() -> Process:
    """Return this process."""
    pid = os.getpid()
    return Process(_machine(), pid, _started(pid) or UNKNOWN_START)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _machine() -> str:
    """Return this machine's boot and name space of pids; UNTOLD where /proc does not open."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read().decode("ascii").strip()
        space = os.readlink("/proc/self/ns/pid")[5:-1]
    except OSError:
        return UNTOLD
    return f"{boot}/{space}"


def _started(pid: int) -> int | None:
    """Return when a process was started, None where /proc does not tell it."""
    found = processes.told(pid)
    return None if found is None else found.start


def _exists(pid: int) -> bool:
    """Return whether there is a process of this number, whoever may look at it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
