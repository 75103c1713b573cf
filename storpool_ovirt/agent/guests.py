"""What is done for one VM at its turn, and what is remembered of it until the next one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Callable

from storpool_ovirt import errors
from storpool_ovirt.agent import growth, quiet, thaw
from storpool_ovirt.agent.growth import Growth
from storpool_ovirt.agent.hypervisor import Disk, Domain, Hypervisor
from storpool_ovirt.agent.options import Options
from storpool_ovirt.agent.quiet import Run
from storpool_ovirt.cluster import devices
from storpool_ovirt.host import device_paths
from storpool_ovirt.log import Log

# A guest whose agent does not answer is asked again after so long, at first and at most. Ours: each
# question costs a thread seconds.
SILENT_SECONDS = 30.0
SILENT_MAX_SECONDS = 600.0
# Others talk to the agent just now (Vdsm, while it freezes the guest).
BUSY_SECONDS = 1.0
# A thaw that failed is tried again.
THAW_AGAIN_SECONDS = 5.0
# Ours: as many questions to all guests of a host, in one second. With more VMs each is asked less
# often, and so many more of those that have stopped to write.
ASKS_PER_SECOND = 20
QUIET_ASKS_PER_SECOND = 60


def key(domain: Domain) -> Run:
    """Return what tells one run of a VM from another."""
    return (domain.uuid, domain.run)


def global_ids(disk: Disk, root: str) -> list[str] | None:
    """Return the global ids of a disk of StorPool's, none for any other; None where nobody can
    tell."""
    if not disk.path:
        return []
    try:
        return device_paths.global_ids(disk.path, root)
    except (errors.NotFound, errors.Unseen):
        return None


def pause(guests: int, options: Options) -> float:
    """Return the seconds between two questions to one guest, of so many on this host."""
    return max(options.thaw_period, guests / ASKS_PER_SECOND)


class Growing:
    """Shows guests the new size of their disks."""

    def __init__(self, root: str, log: Log) -> None:
        self._root, self._log = root, log
        self._settled: dict[tuple[str, int, str], int] = {}

    def turn(self, hypervisor: Hypervisor, domain: Domain) -> None:
        """Look at all disks of a VM; a disk whose size is known to be shown costs no call."""
        for disk in domain.disks:
            if disk.writable and global_ids(disk, self._root):
                self._look(hypervisor, domain, disk)

    def forget(self, running: Iterable[Run]) -> None:
        """Forget VMs that do not run here any more."""
        left = set(running)
        for uuid, run, target in list(self._settled):
            if (uuid, run) not in left:
                self._settled.pop((uuid, run, target), None)

    def _look(self, hypervisor: Hypervisor, domain: Domain, disk: Disk) -> None:
        place = (*key(domain), disk.target)
        size = self._size(disk)
        if size is None or self._settled.get(place) == size:
            return
        shown = hypervisor.shown_bytes(domain, disk)
        wanted = growth.decided(size, shown, moving=False)
        if wanted is Growth.GROW:
            wanted = growth.decided(size, shown, moving=hypervisor.is_moving(domain))
        if wanted is Growth.LATER:
            return
        if wanted is Growth.GROW:
            if self._size(disk) != size:
                return  # it grows just now: the next look has its new size
            hypervisor.grow(domain, disk, size)
            self._tell("disk_grown", domain, disk, size, shown)
        elif wanted is Growth.SHRUNK:
            self._tell("disk_shrunk", domain, disk, size, shown)
        self._settled[place] = size

    def _size(self, disk: Disk) -> int | None:
        try:
            return devices.size_bytes(self._root + disk.path)
        except (errors.NotFound, errors.Unseen):
            return None  # detached just now

    def _tell(self, event: str, domain: Domain, disk: Disk, size: int, shown: int) -> None:
        self._log.line(
            event, vm=domain.uuid, disk=disk.target, path=disk.path, bytes=size, shown=shown
        )


@dataclass
class _Guest:
    """What is known of one run of a VM: when it is asked next, by a clock that never jumps; when
    it was not frozen last, by the host's; the snapshots that its disks stood on when StorPool was
    asked last; how it writes, where all its disks are ours."""

    next_at: float = 0.0
    silent_seconds: float = 0.0
    writer: quiet.Writer = field(default_factory=quiet.Writer)
    thawed_at: float | None = None
    freeze: thaw.Freeze | None = None
    stands: frozenset[str] = frozenset()
    told: bool = False


class Thawing:
    """Thaws guests that nothing needs frozen any more.

    `newest` returns the newest snapshot of each disk, as `snapshots.newest` does. `api_failed` is
    why StorPool could not be asked last, None where it could, or need not be.
    """

    def __init__(
        self,
        root: str,
        options: Options,
        log: Log,
        newest: Callable[[Sequence[Sequence[str]], str], list[thaw.Snapshot | None]],
    ) -> None:
        self._root, self._options, self._log, self._newest = root, options, log, newest
        # One that never jumps, and the host's; tests have others.
        self._clock: Callable[[], float] = time.monotonic
        self._now: Callable[[], float] = time.time
        self._guests: dict[Run, _Guest] = {}
        self._looks_at = 0.0
        self.api_failed: errors.Error | None = None

    def due(self, domains: Iterable[Domain]) -> tuple[list[Domain], float]:
        """Return the VMs to be asked now, of these, and in how many seconds the next one is."""
        now = self._clock()
        guests = {key(each): self._guest(each) for each in domains}
        first = self._stopped(guests, now)
        late = [each for each in domains if guests[key(each)].next_at <= now or key(each) in first]
        waits = [each.next_at - now for each in guests.values() if each.next_at > now]
        if self._is_crowded(len(guests)):
            waits.append(self._looks_at - now)
        return late, min(waits, default=self._options.period)

    def _is_crowded(self, guests: int) -> bool:
        return pause(guests, self._options) > self._options.thaw_period

    def _stopped(self, guests: dict[Run, _Guest], now: float) -> set[Run]:
        """Return who has stopped to write, where each of so many would be asked too late."""
        if now < self._looks_at or not self._is_crowded(len(guests)):
            return set()
        self._looks_at = now + self._options.thaw_period
        asked = {
            run: each for run, each in guests.items() if not (each.freeze or each.silent_seconds)
        }
        for each in asked.values():
            each.writer.look(now)
        most = int(QUIET_ASKS_PER_SECOND * self._options.thaw_period)
        return quiet.longest({run: each.writer for run, each in asked.items()}, max(1, most))

    def watched(self, domains: Iterable[Domain]) -> list[Domain]:
        """Return the VMs that have a disk of ours that is written, and an agent to ask."""
        found = []
        for each in domains:
            ours, mixed = self._ours(each)
            if each.has_agent and ours:
                found.append(each)
                paths = [self._root + disk.path for disk in each.disks if disk.writable]
                self._guest(each).writer.paths = [] if mixed else paths
        return found

    def forget(self, running: Iterable[Run]) -> None:
        """Forget VMs that do not run here any more."""
        left = set(running)
        for run in list(self._guests):
            if run not in left:
                self._guests.pop(run, None)

    def postpone(self, domain: Domain, guests: int) -> None:
        """Ask a VM again after the usual pause of so many guests; one that is frozen as often as
        the options say."""
        guest = self._guest(domain)
        guest.writer.has_written = False
        count = guests if guest.freeze is None else 1
        guest.next_at = self._clock() + pause(count, self._options)

    def turn(self, hypervisor: Hypervisor, domain: Domain) -> None:
        """Ask a guest whether it is frozen, and thaw it where nothing needs that any more."""
        guest = self._guest(domain)
        asked_at = self._now()
        try:
            frozen = hypervisor.is_frozen(domain)
        except errors.Locked:
            guest.next_at = self._clock() + BUSY_SECONDS
            return
        except errors.GuestSilent as silent:
            self._fall_silent(guest, domain, silent)
            return
        guest.silent_seconds = 0.0
        if not frozen:
            self._is_thawed(guest, asked_at)
            return
        if guest.freeze is None:
            guest.freeze = thaw.Freeze(self._clock(), guest.thawed_at, guest.stands)
        self._is_frozen(hypervisor, domain, guest, guest.freeze)

    def _guest(self, domain: Domain) -> _Guest:
        return self._guests.setdefault(key(domain), _Guest())

    def _fall_silent(self, guest: _Guest, domain: Domain, silent: errors.GuestSilent) -> None:
        if not guest.silent_seconds:
            self._log.line("guest_silent", vm=domain.uuid, reason=silent)
        doubled = max(SILENT_SECONDS, 2 * guest.silent_seconds)
        guest.silent_seconds = min(doubled, SILENT_MAX_SECONDS)
        guest.next_at = self._clock() + guest.silent_seconds

    def _is_thawed(self, guest: _Guest, asked_at: float) -> None:
        guest.freeze, guest.told, guest.thawed_at = None, False, asked_at

    def _is_frozen(
        self, hypervisor: Hypervisor, domain: Domain, guest: _Guest, freeze: thaw.Freeze
    ) -> None:
        disks, mixed = self._ours(domain)
        found = None if mixed else self._snapshots(domain, guest, disks)
        look = thaw.Look(self._clock(), self._now(), mixed, found)
        decision = thaw.decided(freeze, look, self._options)
        guest.freeze = decision.freeze
        if not decision.why:
            return
        facts = {
            "vm": domain.uuid,
            "why": decision.why,
            "frozen_seconds": f"{self._clock() - freeze.since:.1f}",
            "moment": thaw.moment(found or ()) or "-",
        }
        try:
            hypervisor.thaw(domain)
        except (errors.GuestSilent, errors.Locked) as failed:
            self._log.line("thaw_failed", **facts, reason=failed)
            guest.next_at = self._clock() + THAW_AGAIN_SECONDS
        else:
            self._log.line("guest_thawed", **facts)
            # Engine may freeze it again before the next look
            self._is_thawed(guest, self._now())

    def _ours(self, domain: Domain) -> tuple[list[list[str]], bool]:
        """Return the disks of ours that a VM writes, and whether it has, or may have, others."""
        written = [global_ids(each, self._root) for each in domain.disks if each.writable]
        ours = [each for each in written if each]
        return ours, len(ours) < len(written)

    def _snapshots(
        self, domain: Domain, guest: _Guest, disks: list[list[str]]
    ) -> list[thaw.Snapshot | None] | None:
        try:
            found = self._newest(disks, self._root)
        except errors.Error as error:
            if not guest.told:
                self._log.line("snapshots_unknown", vm=domain.uuid, reason=error)
            guest.told, self.api_failed = True, error
            return None
        self.api_failed, guest.stands = None, thaw.stands(found)
        return found
