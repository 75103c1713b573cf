"""Which guests have stopped to write, by what the kernel has counted of their disks.

A frozen guest writes nothing, and to freeze a file system writes once more. So on a host with many
VMs those are asked first that wrote since they were asked last, and have stopped. It is a hint:
who writes nothing, and a disk that nobody counts, is asked in its turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storpool_ovirt import errors
from storpool_ovirt.cluster import devices

Run = tuple[str, int]  # a VM, and which run of it


@dataclass
class Writer:
    """What is known of one guest: the devices that it writes, how much was written at the last
    look, since which look nothing more (None: it still writes), and whether it wrote since it was
    asked."""

    paths: Sequence[str] = ()
    count: int | None = None
    quiet_since: float | None = None
    has_written: bool = False

    def look(self, now: float) -> None:
        """See whether it has written since the last look."""
        count = self._counted()
        if count is None or self.count is None or count != self.count:
            self.has_written = self.has_written or self.count != count
            self.quiet_since = None
        elif self.quiet_since is None:
            self.quiet_since = now
        self.count = count

    @property
    def has_stopped(self) -> bool:
        """Whether it wrote since it was asked, and has stopped."""
        return self.has_written and self.quiet_since is not None

    def _counted(self) -> int | None:
        try:
            return sum(map(devices.writes, self.paths)) if self.paths else None
        except (errors.NotFound, errors.Unseen):
            return None  # detached just now


def longest(writers: Mapping[Run, Writer], most: int) -> set[Run]:
    """Return which of these have stopped, at most so many.

    Who stopped first comes first: it would write again, were it not frozen.
    """
    stopped = sorted(
        (each.quiet_since or 0.0, run) for run, each in writers.items() if each.has_stopped
    )
    return {run for _, run in stopped[:most]}
