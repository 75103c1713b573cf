"""Steps of random lives of VMs: starts, ends and disks, whatever Engine, the hook and the network
do.

A step gets numbers, with which it chooses among what there is at that moment; where it makes no
sense then, it says so.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable

from vm_lives import PLUGGED, VMS, Life, Qemu, Vm
from vm_lives_parts import (
    attach_all,
    check_alone,
    choose,
    down,
    is_destination,
    is_frozen,
    late_start,
    process_down,
    trouble,
)
from vm_lives_site import JOIN_SECONDS, LiveHost, Volume

from ovirt_demo import flows, hooks
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where a start freezes: in the helper's request, before the hook reads, before its request, with
# its request on the way, behind the request, and between hook and QEMU.
FREEZES: dict[str, tuple[str, ...]] = {
    "attach": ("VolumesReassignWait",),
    "reading": ("Volume",),
    "before the request": ("AttachmentsList",),
    "request on its way": ("VolumesReassignWait",),
    "behind the request": ("AttachmentsList", "AttachmentsList"),
    "before QEMU": (),
}
LONG = 100.0  # seconds: beyond every deadline


def start(life: Life, vm_number: int, host_number: int, how: int) -> bool:
    """Start a VM that is down, where Engine reaches a host; at times something goes wrong in the
    hook."""
    vm, host = down(life, vm_number), choose(list(life.site.hosts.values()), host_number)
    if vm is None or host.lost:
        return False
    devices = attach_all(life, vm, host)
    if devices is None:
        return True
    with trouble(life, how):
        qemu = life.start(vm, host, devices)
    if qemu is None:
        if how % 2:
            process_down(life, vm)
        return True
    check_alone(life, vm, host)
    vm.at = host
    life.counts["started"] += 1
    return True


def start_freezes(life: Life, vm_number: int, host_number: int, how: int) -> bool:
    """A start freezes somewhere, and Engine gives it up."""
    vm, host = down(life, vm_number), choose(list(life.site.hosts.values()), host_number)
    if vm is None or host.lost or is_frozen(life, host):
        return False
    what = choose(list(FREEZES), how)
    if what == "attach":
        if is_destination(life, host):
            return False
        disk = choose(vm.disks, how)
        info = life.volume(disk).connection()

        def work(_pause: Callable[[], None]) -> None:
            with life.engine("late attach"):
                host.attach_volume(life.domain.id, disk.active, info)
                life.counts["late attach took effect"] += 1
    else:
        devices = attach_all(life, vm, host)
        if devices is None:
            return True

        def work(pause: Callable[[], None]) -> None:
            late_start(life, vm, host, devices, pause if what == "before QEMU" else lambda: None)

    frozen = life.site.freeze(host, what, FREEZES[what] if life.hooked else (), work)
    if frozen is not None:
        life.frozen.append(frozen)
        life.counts[f"frozen: {what}"] += 1
    return True


def thaw(life: Life, _a: int, _b: int, how: int) -> bool:
    """What is frozen goes on: in time, or when it is too late for it."""
    if not life.frozen:
        return False
    for each in life.frozen:
        each.clock.now += LONG * (how % 2)
        life.counts["went on too late" if how % 2 else "went on in time"] += 1
    frozen, life.frozen = life.frozen, []
    life.site.thaw(frozen)
    return True


def race(life: Life, vm_number: int, host_number: int, _how: int) -> bool:
    """Engine starts a VM on one host, gives up and starts it on another one: both hooks run at
    once."""
    vm = down(life, vm_number)
    hosts = [host for host in life.site.hosts.values() if not host.lost]
    if vm is None or len(hosts) < 2 or life.frozen:
        return False
    first, second = choose(hosts, host_number), choose(hosts, host_number + 1)
    devices = [attach_all(life, vm, first), attach_all(life, vm, second)]
    if None in devices or life.there(vm, first) or life.there(vm, second):
        return True
    together = threading.Barrier(2)

    def work(host: LiveHost, own: Sequence[dict[str, Any]]) -> None:
        together.wait(JOIN_SECONDS)
        late_start(life, vm, host, own, lambda: None)

    pairs = list(zip((first, second), devices))
    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive()
    life.counts["two starts at once"] += 1
    life.check()
    alive = [
        each
        for each in life.qemus
        if each.vm is vm and each.guest and not any(one.cut for one in each.disks)
    ]
    vm.at = alive[0].host if alive else None
    return True


def stop(life: Life, vm_number: int, _b: int, how: int) -> bool:
    """A VM ends, by itself or not; Engine detaches its disks now, or so late that it may run again
    by then."""
    vm = choose(life.vms, vm_number)
    if vm.at is None or vm.at.lost or vm.moving_by_engine:
        return False
    qemu = life.there(vm, vm.at)
    if qemu is not None:
        life.kill(qemu)
    if how % 2:
        life.late += [(disk.attached_to, disk) for disk in vm.disks if disk.attached_to is not None]
    else:
        process_down(life, vm)
    vm.at = None
    life.counts["stopped"] += 1
    return True


def late_detach(life: Life, number: int, _b: int, how: int) -> bool:
    """T88: the detach for the end of an earlier run comes when the disk may be in use again."""
    if not life.late:
        return False
    host, disk = life.late.pop(number % len(life.late))
    in_use = [qemu for qemu in life.qemus if qemu.host is host and _uses(life, qemu, disk)]
    with life.engine("late detach"):
        host.detach_volume(life.domain.id, disk.active)
        life.counts["late detach"] += 1
    disk.attached_to = None  # Engine forgets where it is, also when that is somewhere else by now
    if in_use:
        life.counts["late detach met a disk in use"] += 1
        assert (life.volume(disk).global_id, host.number) in life.site.attached()
    return True


def detach_freezes(life: Life, vm_number: int, number: int, _how: int) -> bool:
    """A detach is on its way to StorPool for long."""
    vm = choose(life.vms, vm_number)
    disk = choose(vm.disks, number)
    host = disk.attached_to
    if vm.at is not None or not isinstance(host, LiveHost) or host.lost:
        return False
    if is_frozen(life, host):
        return False

    def work(_pause: Callable[[], None]) -> None:
        with life.engine("frozen detach"):
            host.detach_volume(life.domain.id, disk.active)

    frozen = life.site.freeze(host, "detach", ("VolumesReassignWait",), work)
    if frozen is not None:
        life.frozen.append(frozen)
        life.counts["frozen: detach"] += 1
    return True


def again(life: Life, vm_number: int, host_number: int, how: int) -> bool:
    """A call comes again: an attach that was made, or a disconnect, which names no host."""
    vm, host = choose(life.vms, vm_number), choose(list(life.site.hosts.values()), host_number)
    disk = choose(vm.disks, how)
    if is_frozen(life, host):
        return False
    if how % 3 and disk.active in host.rows and not is_destination(life, host):
        with life.engine("repeated attach"):
            host.attach_volume(life.domain.id, disk.active, life.volume(disk).connection())
    else:
        life.domain.ask("disconnect_volume", disk.active)
    life.counts["repeated call"] += 1
    return True


def detach_of_what_runs(life: Life, number: int, which: int, _how: int) -> bool:
    """Engine has a disk detached where its VM runs, as after a migration that it misunderstood:
    nothing is lost."""
    running = [
        qemu
        for qemu in life.qemus
        if not qemu.host.lost and not is_frozen(life, qemu.host) and qemu.disks
    ]
    opened = [(qemu, each) for qemu in running for each in qemu.disks if not each.cut]
    if not opened:
        return False
    qemu, each = choose(opened, number + which)
    with life.engine("detach of what runs"):
        qemu.host.detach_volume(life.domain.id, each.volume.uuid)
    assert (each.volume.global_id, qemu.host.number) in life.site.attached()
    return True


def hot_plug(life: Life, vm_number: int, which: int, how: int) -> bool:
    """A disk is plugged into a running VM, or out of it; at times the mark that it is shareable was
    lost by then."""
    vm = choose([vm for vm in life.vms if vm.name in PLUGGED], vm_number)
    qemu = vm.at and not vm.at.lost and life.there(vm, vm.at)
    if not qemu or vm.moving is not None or is_frozen(life, vm.at):
        return False
    extra = [disk for disk in vm.disks if life.volume(disk).number not in VMS[vm.name]]
    if extra and (which % 2 or not vm.spare):
        _hot_unplug(life, vm, qemu, choose(extra, how))
        return True
    if not vm.spare:
        return False
    # More often the shareable one, as it is on that host already, or nowhere, in most lives.
    disk = sorted(vm.spare, key=lambda each: life.volume(each).shareable == (how % 4 == 0))[0]
    volume = life.volume(disk)
    if volume.shareable and how % 2:
        life.site.forget_mark(volume)
    marked = life.site.is_marked(volume)
    with life.engine("hot-plug"), trouble(life, how):
        device = flows.hot_plug(life.domain, qemu.host, disk)
        if volume.shareable and not marked:
            life.lost_shared.update((volume.global_id, number) for number in life.site.down())
        try:
            life.hook(qemu.host, [device], hooks.BEFORE_DISK_HOTPLUG)
        except errors.Error:
            life.counts["hot-plug refused by the hook"] += 1
            life.counts["hot-plug without a mark refused"] += volume.shareable and not marked
        else:
            if life.plug(qemu, device["managed_path"], volume):
                vm.disks.append(disk)
                vm.spare.remove(disk)
                life.counts["hot-plugged"] += 1
                life.counts["hot-plugged beside others"] += (
                    volume.shareable and len(_holders(life, volume)) > 1
                )
    return True


def _hot_unplug(life: Life, vm: Vm, qemu: Qemu, disk: flows.Disk) -> None:
    life.unplug(qemu, life.volume(disk))
    with life.engine("hot-unplug"):
        flows.hot_unplug(life.domain, disk)
    vm.disks.remove(disk)
    vm.spare.append(disk)
    life.counts["hot-unplugged"] += 1


def _holders(life: Life, volume: Volume) -> set[int]:
    return {number for global_id, number in life.site.attached() if global_id == volume.global_id}


def _uses(life: Life, qemu: Qemu, disk: flows.Disk) -> bool:
    return any(each.volume is life.volume(disk) and not each.cut for each in qemu.disks)
