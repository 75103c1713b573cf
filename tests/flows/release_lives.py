"""Lives of VMs on two hosts whose Vdsm is updated, up and down, whenever somebody likes, while
Engine knows of it late or never; and who can write to which disk, after each step.

A QEMU is a disk held open (`hook_stage.Writer`). Steps get numbers, with which each chooses among
what there is; one that makes no sense at that moment says so, and another is tried.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Callable

from ovirt_demo import engine, flows, releases, vdsm, vdsm_rows

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.vdsm import Host
    from rigs.hook_stage import Writer
    from rigs.release_stage import Site

VMS = 3
KEY, NONE = "storpool_volume_type", "none"
RELEASES = (releases.VDSM_4_50_5_1, *releases.VDSMS[1:])  # all that take a volume of ours


class Unexpected(AssertionError):
    """Something was refused that has to work."""


@dataclasses.dataclass
class Vm:
    """A VM with one disk: where Engine believes it to run, and what has its disk open where."""

    disk: Disk
    at: Host | None = None
    qemus: dict[int, Writer] = dataclasses.field(default_factory=dict)


class Life:
    """One history on a site; `counts` tells what has happened in it."""

    def __init__(self, site: Site, counts: collections.Counter[str]) -> None:
        self.site = site
        self.counts = counts
        self.lost: set[int] = set()
        self.known = set(site.stage.hosts)  # Engine has asked them since their last start
        self.vms = [Vm(flows.create_disk(site.domain, 1)) for _ in range(VMS)]
        self._stamp = 0

    def host(self, number: int) -> tuple[int, Host]:
        """Return one of the hosts."""
        client_id = 1 + number % 2
        return client_id, self.site.stage.hosts[client_id]

    # Steps

    def start(self, vm_number: int, host_number: int, _c: int) -> bool:
        """Start a VM that is down, or was on a host that is lost."""
        vm, (number, host) = self.vms[vm_number % VMS], self.host(host_number)
        down = vm.at is None or self.site.number(vm.at) in self.lost
        if not down or number in self.lost or number in vm.qemus:
            return False
        if not self._attached(host, vm, lambda: self.site.attach(host, vm.disk)):
            return True
        self.counts["start after a loss" if vm.at else "start"] += 1
        vm.at = host
        vm.qemus[number] = self.site.writer(host, vm.disk)
        return True

    def stop(self, vm_number: int, _b: int, _c: int) -> bool:
        """Stop a VM on a host that Engine reaches."""
        vm = self.vms[vm_number % VMS]
        if vm.at is None or (number := self.site.number(vm.at)) in self.lost:
            return False
        vm.qemus.pop(number).stop()
        flows.stop_vm(self.site.domain, vm.disk)
        vm.at = None
        self.counts["stop"] += 1
        return True

    def migrate(self, vm_number: int, _b: int, _c: int) -> bool:
        """Migrate a VM to the other host."""
        vm = self.vms[vm_number % VMS]
        if vm.at is None or self.lost:
            return False
        source = self.site.number(vm.at)
        number, host = self.host(source)
        if number in vm.qemus:
            return False

        def attach() -> None:
            try:
                flows.start_migration(self.site.domain, host, vm.disk)
            except (vdsm.VdsmError, engine.VerbFailed):
                flows.fail_migration(self.site.domain, vm.disk)
                raise

        if not self._attached(host, vm, attach):
            return True
        vm.qemus.pop(source).stop()
        vm.qemus[number] = self.site.writer(host, vm.disk)
        flows.finish_migration(self.site.domain, vm.disk)
        vm.at = host
        self.counts["migration"] += 1
        return True

    def lose(self, host_number: int, _b: int, _c: int) -> bool:
        """Lose a host, unless the other one is lost already."""
        number, host = self.host(host_number)
        if self.lost:
            return False
        self.lost.add(number)
        self.site.lose(host)
        self.counts["host lost"] += 1
        return True

    def come_back(self, reboots: int, _b: int, _c: int) -> bool:
        """Have the lost host back, rebooted or not; Engine ends there what it runs elsewhere."""
        was_lost = bool(self.lost)
        for number in [*self.lost]:
            host = self.site.stage.hosts[number]
            for vm in self.vms:
                moved = vm.at is not host
                if number in vm.qemus and (moved or reboots % 2):
                    vm.qemus.pop(number).stop()
                if not moved and reboots % 2:
                    vm.at = vm.disk.attached_to = None
            self.site.come_back(host)
            self.lost.clear()
            if reboots % 2:
                self.site.software[number].reboot()
                self.known.discard(number)
            self.counts["reboot" if reboots % 2 else "host back"] += 1
        return was_lost

    def flap(self, host_number: int, _b: int, _c: int) -> bool:
        """Lose a host, start its VMs on the other one, and have it back as it was: its Vdsm knows
        nothing of what was taken."""
        number, host = self.host(host_number)
        if self.lost or not any(vm.at is host for vm in self.vms):
            return False
        self.lose(number + 1, 0, 0)
        for at, vm in enumerate(self.vms):
            if vm.at is host:
                self.start(at, number, 0)
        self.check()
        return self.come_back(0, 0, 0)

    def install(self, host_number: int, release: int, _c: int) -> bool:
        """Put the files of a release there, and restart nothing: a package manager's moment."""
        number, _ = self.host(host_number)
        if number in self.lost:
            return False
        self.site.software[number].release = RELEASES[release % len(RELEASES)]
        self.site.software[number].install()
        self.counts["files of another release"] += 1
        return True

    def restart(self, host_number: int, _b: int, _c: int) -> bool:
        """Restart vdsmd with the files that are there."""
        number, _ = self.host(host_number)
        if number in self.lost:
            return False
        self.site.software[number].restart()
        self.known.discard(number)
        self.counts["restart"] += 1
        return True

    def change(self, host_number: int, release: int, _c: int) -> bool:
        """Update Vdsm, up or down, under whatever runs."""
        return self.install(host_number, release, 0) and self.restart(host_number, 0, 0)

    def refresh(self, host_number: int, _b: int, _c: int) -> bool:
        """Engine asks a host what it says."""
        number, _ = self.host(host_number)
        if number in self.lost:
            return False
        self.site.refresh(number)
        self.known.add(number)
        self.counts["capabilities"] += 1
        return True

    def ask(self, host_number: int, _b: int, _c: int) -> bool:
        """Somebody else asks a host what it says; Engine hears nothing of it."""
        number, host = self.host(host_number)
        if number in self.lost:
            return False
        host.helper(vdsm.CONNECTOR_INFO, None).document()
        self.counts["capabilities for others"] += 1
        return True

    # After each step

    def check(self) -> None:
        """Have everybody write: who may, can, and nobody else."""
        for vm in self.vms:
            rightful = {self.site.number(vm.at)} if vm.at else set()
            self._stamp += 1
            order = sorted(vm.qemus, key=lambda number: number in rightful)
            wrote = {number for number in order if vm.qemus[number].write(self._stamp % 255 + 1)}
            assert wrote == rightful, f"{wrote} wrote to {vm.disk.id}, {rightful} may"

    def end(self) -> None:
        """Leave nothing."""
        for vm in self.vms:
            for writer in vm.qemus.values():
                writer.stop()
        self.site.empty()
        for vm in self.vms:
            flows.delete_disk(self.site.domain, vm.disk)

    def _attached(self, host: Host, vm: Vm, attach: Callable[[], object]) -> bool:
        """Attach on a host; whether it did, where it may be refused. Raises Unexpected."""
        told = host.connector_info.get(KEY, "storpool")
        takes = told in host.release.driver_types or self.site.number(host) in self.known
        link = host.local(vdsm_rows.link(self.site.domain.id, vm.disk.active))
        dangling = link.is_symlink() and not link.exists()
        row = vm.disk.active in host.rows
        try:
            attach()
        except (vdsm.VdsmError, engine.VerbFailed) as error:
            code = getattr(error, "code", None)
            may = {vdsm.UNSUPPORTED_DRIVER, vdsm.CONNECTION_MISMATCH} if not takes else set()
            if (
                host.release.by_link and row and dangling
            ):  # docs/host.md, "A fence without a reboot"
                may.add(vdsm.ALREADY_ATTACHED)
            if code not in may:
                raise Unexpected(f"{host.name}, {host.release.name}, {told}: {error}") from error
            vm.disk.attached_to, vm.disk.destination = vm.at, None
            self.counts[f"refused: {code}"] += 1
            return False
        self.counts[f"attached as {self._type(host, vm)} on {host.release.name}"] += 1
        return True

    def _type(self, host: Host, vm: Vm) -> str:
        kind: str = host.rows[vm.disk.active]["connection_info"]["driver_volume_type"]
        return kind


# How often each is tried
WEIGHTS: dict[Callable[[Life, int, int, int], bool], int] = {
    Life.start: 5,
    Life.stop: 2,
    Life.migrate: 6,
    Life.lose: 1,
    Life.flap: 5,
    Life.come_back: 3,
    Life.install: 1,
    Life.restart: 1,
    Life.change: 3,
    Life.refresh: 5,
    Life.ask: 1,
}
STEPS = tuple(step for step, weight in WEIGHTS.items() for _ in range(weight))
