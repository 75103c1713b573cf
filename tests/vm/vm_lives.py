"""Lives of VMs on three hosts, and who can write to which disk: found out by writing, after each
step.

A QEMU is the descriptors that it has open; those of a lost host stay open, as of one that was only
stopped. Each tries to write to each of its disks, and what is on the disk is then what the
rightful one wrote last.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import mmap
import os
from typing import TYPE_CHECKING, Any, Callable

from vm_lives_site import DOMAIN_ID, LivesSite, Volume, domain

from ovirt_demo import flows, hooks, vdsm
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vm_lives_site import Frozen, LiveHost

BLOCK = 4096
# The disks of the VMs: one has several, one is in two VMs, and two are plugged into a running VM
# and out of it again, of which others may have one at the same time.
VMS = {"a": (0, 1), "b": (2, 5), "c": (3, 5)}
PLUGGED = {"a": (4, 5)}


class TwoWriters(AssertionError):
    """Two hosts can write to one disk."""


@dataclasses.dataclass
class Open:
    """A disk that a QEMU has open. `since` counts what had been taken by force by then."""

    volume: Volume
    descriptor: int
    since: int
    cut: bool = False


@dataclasses.dataclass
class Qemu:
    """A process that has a VM's disks open.

    `guest`: the guest runs in it. In a migration it is in one of two, and the other one, its
    `partner`, has the disks open as well, but nothing that would write.
    """

    vm: Vm
    host: LiveHost
    disks: list[Open]
    guest: bool = True
    partner: Qemu | None = None


@dataclasses.dataclass
class Moving:
    """A migration: from this QEMU, to this host, where another one may be by now."""

    source: Qemu
    destination: LiveHost
    paths: list[tuple[str, Volume]]
    incoming: Qemu | None = None


@dataclasses.dataclass
class Vm:
    """A VM as Engine knows it: its disks, those that may be plugged, and the host where Engine
    believes it to run."""

    name: str
    disks: list[flows.Disk]
    spare: list[flows.Disk]
    at: LiveHost | None = None
    moving: Moving | None = None

    @property
    def moving_by_engine(self) -> bool:
        """Tell whether Engine knows of the migration; a host that it has lost may go on with one by
        itself."""
        return self.moving is not None and self.at is self.moving.source.host


class Life:
    """One history. `hooked=False` leaves the hook out; `tell` is called with each step that is
    tried."""

    def __init__(
        self,
        site: LivesSite,
        counts: collections.Counter[str],
        *,
        hooked: bool = True,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.site = site
        self.counts = counts
        self.hooked = hooked
        self.tell = tell
        # Duck-typed: the demo's Engine starts a process for each verb.
        self.domain = flows.Domain(site.verbs, DOMAIN_ID)  # type: ignore[arg-type]
        self.vms = [
            Vm(
                name,
                [self._disk(each) for each in numbers],
                [self._disk(each) for each in PLUGGED.get(name, ())],
            )
            for name, numbers in VMS.items()
        ]
        self.qemus: list[Qemu] = []
        self.frozen: list[Frozen] = []
        self.late: list[tuple[LiveHost, flows.Disk]] = []
        # Shareable disks and hosts that were down when a plug took them away, as nothing told that
        # they are shareable.
        self.lost_shared: set[tuple[str, int]] = set()
        self._by_uuid = {volume.uuid: volume for volume in site.volumes}
        self._last: dict[int, bytes] = {}
        self._stamps = itertools.count(1)
        self._buffer = mmap.mmap(-1, BLOCK)  # direct I/O wants whole pages

    def end(self) -> None:
        """Let nothing be left."""
        try:
            self.site.thaw(self.frozen)
        finally:
            for qemu in [*self.qemus]:
                self.kill(qemu)
            self.site.clean()
            self._buffer.close()

    # What happens on hosts

    def volume(self, disk: flows.Disk) -> Volume:
        """Return what a disk is in StorPool."""
        return self._by_uuid[disk.active]

    def there(self, vm: Vm, host: LiveHost) -> Qemu | None:
        """Return the QEMU of a VM on a host; Vdsm makes no second one."""
        return next((each for each in self.qemus if each.vm is vm and each.host is host), None)

    def hook(
        self, host: LiveHost, devices: Sequence[dict[str, Any]], point: str = hooks.BEFORE_VM_START
    ) -> None:
        """Run the hook for these; raises errors.Error: the VM does not start."""
        if not self.hooked:
            return
        volumes = [self._by_uuid[device["vol_id"]] for device in devices]
        plug = point == hooks.BEFORE_DISK_HOTPLUG
        document = hooks.plug_xml(devices[0]) if plug else domain(devices, volumes)
        self.site.hook(host, point, document)
        self.counts["hook passed"] += 1

    def launch(self, vm: Vm, host: LiveHost, paths: Sequence[tuple[str, Volume]]) -> Qemu | None:
        """Open the disks of a VM as QEMU does; None when it cannot or another one is there: it does
        not start."""
        if self.there(vm, host) is not None:
            self.counts["start beside a QEMU refused"] += 1
            return None
        qemu = Qemu(vm, host, [])
        self.qemus.append(qemu)
        for path, volume in paths:
            if not self.plug(qemu, path, volume):
                self.kill(qemu)
                self.counts["QEMU found no device"] += 1
                return None
        return qemu

    def plug(self, qemu: Qemu, path: str, volume: Volume) -> bool:
        """Open one disk; false when its device is not there."""
        since = len(self.site.forced())
        with contextlib.suppress(OSError):
            direct = os.O_DIRECT if self.site.simulator.devices == "loop" else 0
            descriptor = os.open(qemu.host.local(path), os.O_RDWR | os.O_CLOEXEC | direct)
            qemu.disks.append(Open(volume, descriptor, since))
            return True
        return False

    def unplug(self, qemu: Qemu, volume: Volume) -> None:
        """Close one disk."""
        for each in [each for each in qemu.disks if each.volume is volume]:
            os.close(each.descriptor)
            qemu.disks.remove(each)

    def kill(self, qemu: Qemu) -> None:
        """End a QEMU."""
        for each in qemu.disks:
            os.close(each.descriptor)
        qemu.disks.clear()
        if qemu in self.qemus:
            self.qemus.remove(qemu)

    def start(
        self,
        vm: Vm,
        host: LiveHost,
        devices: Sequence[dict[str, Any]],
        pause: Callable[[], None] = lambda: None,
    ) -> Qemu | None:
        """Do Vdsm's part of a start: the hook, then QEMU; None when the VM does not start.

        `pause` is between them.
        """
        try:
            self.hook(host, devices)
        except errors.Error as error:
            self.counts["start refused"] += 1
            self.counts[f"start refused: {type(error).__name__}"] += 1
            return None
        pause()
        return self.launch(vm, host, self.paths(devices))

    def paths(self, devices: Sequence[dict[str, Any]]) -> list[tuple[str, Volume]]:
        """Return what QEMU opens of these."""
        return [(device["managed_path"], self._by_uuid[device["vol_id"]]) for device in devices]

    @contextlib.contextmanager
    def engine(self, what: str) -> Iterator[None]:
        """Have Engine do something that Vdsm may refuse."""
        try:
            yield
        except vdsm.VdsmError as error:
            self.counts[f"{what} refused: {error.code}"] += 1

    # Who can write

    def check(self) -> None:
        """Have everybody write to everything that he has open, and look who can."""
        attached = self.site.attached()
        for volume in self.site.volumes:
            opened = [
                (qemu, each) for qemu in self.qemus for each in qemu.disks if each.volume is volume
            ]
            if opened:
                self._check_volume(volume, opened, attached)
        self._check_shareable()

    def _check_volume(
        self, volume: Volume, opened: list[tuple[Qemu, Open]], attached: set[tuple[str, int]]
    ) -> None:
        forced = self.site.forced()
        for qemu, each in opened:
            each.cut = each.cut or (volume.global_id, qemu.host.number) in forced[each.since :]
            assert each.cut or (volume.global_id, qemu.host.number) in attached, (
                "an open device was detached"
            )
        live = [(qemu, each) for qemu, each in opened if not each.cut]
        for _, each in live:
            self._check_content(volume, each)
        reached = []
        for qemu, each in sorted(
            opened, key=lambda pair: not pair[1].cut
        ):  # those that must not, first
            stamp = self._stamp(qemu, volume)
            if self._write(each, stamp):
                reached.append(qemu)
                self._last[volume.number] = stamp
            if each.cut:
                self.counts["write of who lost it refused"] += qemu not in reached
                self.counts["lost host's write refused"] += qemu.host.lost
        if len({qemu.host.number for qemu in reached}) > 1 and not volume.shareable:
            self._check_migrating(volume, reached)
        if volume.shareable and len({qemu.host.number for qemu in reached}) > 1:
            self.counts["shareable disk written by two"] += 1
        assert [qemu for qemu, _ in live] == [qemu for qemu in self.qemus if qemu in reached], (
            "who may, can"
        )
        for _, each in live:
            self._check_content(volume, each)

    def _check_migrating(self, volume: Volume, reached: list[Qemu]) -> None:
        guests = [qemu for qemu in reached if qemu.guest]
        others = [qemu for qemu in reached if not qemu.guest]
        if len(guests) > 1 or any(qemu.partner not in guests for qemu in others):
            who = ", ".join(f"{each.vm.name} on {each.host.number}" for each in reached)
            raise TwoWriters(f"disk {volume.number} is written by {who}")
        self.counts["both sides of a migration wrote"] += 1

    def _check_content(self, volume: Volume, opened: Open) -> None:
        last = self._last.get(volume.number)
        if last is not None:
            assert self._read(opened) == last, f"disk {volume.number} has not what was written last"

    def _check_shareable(self) -> None:
        """T81: a host that is up never loses one."""
        taken = {
            global_id
            for global_id, number in self.site.forced()
            if (global_id, number) not in self.lost_shared
        }
        assert not any(each.global_id in taken for each in self.site.volumes if each.shareable), (
            "a shareable disk"
        )

    def _write(self, opened: Open, stamp: bytes) -> bool:
        """Write, and tell whether it landed."""
        self._buffer[:] = stamp
        try:
            if os.pwrite(opened.descriptor, self._buffer, 0) != BLOCK:
                return False
        except OSError:
            return False
        # A plain file lets whoever was cut off write to what is nobody's: what others see decides.
        return (
            not opened.cut or self.site.simulator.devices == "loop" or self._landed(opened, stamp)
        )

    def _landed(self, opened: Open, stamp: bytes) -> bool:
        with self.site.simulator.cluster.files.path(opened.volume.global_id).open("rb") as file:
            return file.read(BLOCK) == stamp

    def _read(self, opened: Open) -> bytes:
        assert os.preadv(opened.descriptor, [self._buffer], 0) == BLOCK
        return self._buffer[:]

    def _stamp(self, qemu: Qemu, volume: Volume) -> bytes:
        text = f"{next(self._stamps)} {qemu.vm.name} on {qemu.host.number} to {volume.number} "
        return text.encode().ljust(BLOCK, b".")

    def _disk(self, number: int) -> flows.Disk:
        uuid = self.site.volumes[number].uuid
        return flows.Disk(uuid, 1, uuid, {uuid: None})
