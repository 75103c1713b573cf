"""Steps of random lives of VMs: migrations, and hosts that are lost and come back.

A step gets numbers, with which it chooses among what there is at that moment; where it makes no
sense then, it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vm_lives import Moving, Qemu
from vm_lives_parts import attach_all, choose, down, is_destination, is_frozen, process_down

from ovirt_demo import flows, hooks, vdsm
from storpool_ovirt import errors

if TYPE_CHECKING:
    from vm_lives import Life, Vm
    from vm_lives_site import LiveHost


def migrate(life: Life, vm_number: int, host_number: int, how: int) -> bool:
    """Engine attaches the disks on the destination; at times that fails at one of them."""
    runs = [
        vm
        for vm in life.vms
        if vm.moving is None and vm.at and not vm.at.lost and life.there(vm, vm.at)
    ]
    if not runs:
        return False
    vm = choose(runs, vm_number)
    hosts = [
        host
        for host in life.site.hosts.values()
        if not host.lost and not life.there(vm, host) and not is_frozen(life, host)
    ]
    source = vm.at and life.there(vm, vm.at)
    if not hosts or source is None:
        return False
    host = choose(hosts, host_number)
    if how % 4 == 0:
        for _ in range(how // 4 % len(vm.disks)):
            life.site.simulator.faults.add("delay", query="VolumesReassignWait", seconds=0)
        life.site.simulator.faults.add("error_200", query="VolumesReassignWait")
    try:
        devices = flows.start_migration(life.domain, host, *vm.disks)
    except vdsm.VdsmError:
        life.counts["migration refused by the destination"] += 1
        life.site.simulator.faults.forget()
        with life.engine("clean-up of a migration"):
            flows.fail_migration(life.domain, *vm.disks)
        return True
    life.site.simulator.faults.forget()
    try:
        life.hook(source.host, devices, hooks.BEFORE_VM_MIGRATE_SOURCE)
    except errors.Conflict:
        life.counts["migration of a VM without its disk refused by the source"] += 1
        with life.engine("clean-up of a migration"):
            flows.fail_migration(life.domain, *vm.disks)
        return True
    vm.moving = Moving(source, host, life.paths(devices))
    life.counts["migration began"] += 1
    return True


def migrate_further(life: Life, vm_number: int, _b: int, how: int) -> bool:
    """The source makes the destination's QEMU, or hands over to it, or both; Engine learns that
    when it can.

    The source does this by itself, also when Engine has lost it.
    """
    vm = choose([vm for vm in life.vms if vm.moving] or life.vms, vm_number)
    moving = vm.moving
    if moving is None or moving.source not in life.qemus:
        return False
    if moving.incoming is None:
        moving.incoming = life.launch(vm, moving.destination, moving.paths)
        if moving.incoming is None:
            life.counts["destination could not open"] += 1
            _give_up(life, vm)
            return True
        moving.incoming.guest, moving.incoming.partner = False, moving.source
        life.counts["destination opened"] += 1
        if how % 2:
            return True
        life.check()
    _hand_over(life, vm, moving, moving.incoming, how)
    return True


def migration_fails(life: Life, vm_number: int, _b: int, how: int) -> bool:
    """The destination's QEMU ends; Engine detaches there, or forgets to, as when it tries another
    host."""
    vm = choose(life.vms, vm_number)
    if vm.moving is None:
        return False
    if vm.moving.incoming is not None:
        life.kill(vm.moving.incoming)
    by_engine = vm.moving_by_engine
    vm.moving = None
    if by_engine and how % 3:
        with life.engine("clean-up of a migration"):
            flows.fail_migration(life.domain, *vm.disks)
    for disk in vm.disks:
        disk.destination = None
    life.counts["migration failed"] += 1
    return True


def lose(life: Life, host_number: int, _b: int, how: int) -> bool:
    """Engine loses a host and takes its VMs for dead, wrongly: what runs there goes on."""
    host = choose(list(life.site.hosts.values()), host_number)
    if host.lost or sum(each.lost for each in life.site.hosts.values()) > 1:
        return False
    host.lost = True
    if how % 3 == 0 and not is_frozen(life, host):  # else StorPool waits for it, for seconds
        life.site.simulator.set_client(host.number, running=False)
    for vm in life.vms:
        if vm.moving_by_engine and vm.moving and vm.moving.destination is host:
            _give_up(life, vm, keep=True)
        if vm.at is host:
            if vm.moving is not None and how % 2:
                _give_up(life, vm, keep=True)
            for disk in vm.disks:
                disk.destination = None
            process_down(life, vm)
            vm.at = None
    life.counts["host lost"] += 1
    return True


def comes_back(life: Life, host_number: int, _b: int, how: int) -> bool:
    """A lost host comes back: rebooted, or as it was."""
    host = choose(list(life.site.hosts.values()), host_number)
    if not host.lost:
        return False
    host.lost = False
    life.site.simulator.set_client(host.number, running=True)
    rebooted = how % 2 == 0
    if rebooted:
        for frozen in life.frozen:
            frozen.clock.dead = frozen.clock.dead or frozen.host is host
        for qemu in [each for each in life.qemus if each.host is host]:
            life.kill(qemu)
        for vm in life.vms:
            if vm.moving and host in (vm.moving.destination, vm.moving.source.host):
                _forget_move(life, vm)
        host.reboot()
    else:
        _take_for_running(life, host)
    life.counts["host rebooted" if rebooted else "host came back as it was"] += 1
    return True


def stray_attach(life: Life, host_number: int, number: int, _how: int) -> bool:
    """T56: a request that a host's helper sent before the host was lost, or sent twice, takes
    effect now.

    Not where the host has a start frozen between hook and QEMU, or a migration on its way there:
    what is then, tells test_vm_lives.py.
    """
    host = choose(list(life.site.hosts.values()), host_number)
    volumes = [volume for volume in life.site.volumes if volume.uuid in host.rows]
    if not volumes or is_frozen(life, host):
        return False
    if is_destination(life, host):
        return False
    volume = choose(volumes, number)
    if (volume.global_id, host.number) not in life.site.attached():
        life.counts["stray attach took effect"] += 1
    life.site.reassign({"volume": f"~{volume.global_id}", "rw": [host.number]})
    return True


def client_down(life: Life, host_number: int, vm_number: int, _how: int) -> bool:
    """The StorPool client of a host goes down between its attach and the hook: the VM does not
    start there."""
    vm, host = down(life, vm_number), choose(list(life.site.hosts.values()), host_number)
    if vm is None or host.lost or not life.hooked or life.frozen:
        return False
    devices = attach_all(life, vm, host)
    if devices is None:
        return True
    life.site.simulator.set_client(host.number, running=False)
    before, refused = life.site.attached(), life.counts["start refused: ClientDown"]
    assert life.start(vm, host, devices) is None
    assert life.counts["start refused: ClientDown"] == refused + 1
    assert life.site.attached() == before, "something was taken for a host that cannot use it"
    life.site.simulator.set_client(host.number, running=True)
    return True


def restart(life: Life, _a: int, _b: int, _how: int) -> bool:
    """The simulator is started again; guests see errors, as its devices end with it."""
    if life.frozen or any(host.lost for host in life.site.hosts.values()):
        return False
    for qemu in [*life.qemus]:
        if life.site.simulator.devices != "loop":
            life.kill(qemu)
        for each in qemu.disks:
            each.cut = True
    life.site.restart()
    life.counts["simulator restarted"] += 1
    return True


def visit(life: Life, number: int) -> None:
    """StorPool's services look at all volumes, whoever writes them: VolumeCare takes backups of
    them, or storpool_qos sets their limits."""
    life.site.services.play(number)
    life.counts["VolumeCare took backups" if number % 2 else "storpool_qos looked"] += 1


def _hand_over(life: Life, vm: Vm, moving: Moving, incoming: Qemu, how: int) -> None:
    source, vm.moving = moving.source, None
    source.guest, source.partner = False, incoming
    incoming.guest, incoming.partner = True, None
    lingers = how % 4 == 0  # as after post-copy: the detach comes while the source's QEMU is there
    if not lingers:
        life.kill(source)
    life.counts["handed over"] += 1
    if vm.at is None and not incoming.host.lost:
        vm.at = incoming.host  # Engine finds it there
    elif vm.at is source.host and incoming.host.lost:
        vm.at = None
    elif vm.at is source.host:
        vm.at = incoming.host
        with life.engine("detach of the source"):
            flows.finish_migration(life.domain, *vm.disks)
        for disk in vm.disks:
            disk.attached_to, disk.destination = incoming.host, None
            still = any(
                each.volume is life.volume(disk) and not each.cut for each in incoming.disks
            )
            attached = (life.volume(disk).global_id, incoming.host.number) in life.site.attached()
            assert attached or not still, "T69"
        life.counts["migrated"] += 1
    life.check()
    if lingers:
        life.kill(source)


def _give_up(life: Life, vm: Vm, *, keep: bool = False) -> None:
    """Engine gives a migration up; `keep`: what runs on the destination goes on waiting for its
    source."""
    if vm.moving is not None and vm.moving_by_engine:
        with life.engine("clean-up of a migration"):
            flows.fail_migration(life.domain, *vm.disks)
    for disk in vm.disks:
        disk.destination = None
    if not keep:
        _forget_move(life, vm)


def _forget_move(life: Life, vm: Vm) -> None:
    if vm.moving is not None and vm.moving.incoming is not None:
        life.kill(vm.moving.incoming)
    vm.moving = None


def _take_for_running(life: Life, host: LiveHost) -> None:
    """Engine finds VMs on a host that has come back: those that it did not start elsewhere are
    there again."""
    for vm in life.vms:
        if vm.at is None and life.there(vm, host) is not None:
            vm.at = host
