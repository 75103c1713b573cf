"""Disks that come to a running virtual machine, grow and go, and one that two machines share."""

from __future__ import annotations

import dataclasses

from vm_fixtures import VIRTUAL, Machines, serial
from vm_stream import BLOCK

from ovirt_demo import flows
from rigs.shared_stage import GIB

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while

HALF = 4096  # the place where the second writer of a shared disk begins
LAST = 2 * GIB // BLOCK - 8


def test_plug_grow_and_unplug(machines: Machines) -> None:
    """3.2, 3.5, 3.7, T38: a guest writes to a plugged disk and behind its old end; then nobody has
    it."""
    play = machines.play
    root, disk = (flows.create_disk(play.domain, 1) for _ in range(2))
    vm = machines.writing(play.host1, root)
    flows.hot_plug(play.domain, play.host1, disk)
    drive = machines.drive(play.host1, disk)
    vm.plug(drive)
    vm.run(f"stream {serial(disk)} 0 &")
    machines.goes_on(vm, disk)
    flows.extend_disk(play.domain, disk, 2)
    vm.resize(drive, 2 * GIB)
    vm.run(f"size {serial(disk)} {2 * GIB}")
    machines.goes_on(vm, root, disk)
    end = machines.halt(vm, disk)
    vm.run(f"rm /run/stop-{serial(disk)}; stream {serial(disk)} {LAST} {LAST + 8}")
    vm.unplug(drive)
    flows.hot_unplug(play.domain, disk)
    assert play.on_hosts(disk.id) == set()
    stream = machines.stream(disk)
    assert [*stream.writers] == [*range(end), *range(LAST, LAST + 8)]
    assert not stream.broken

    flows.hot_plug(play.domain, play.host1, disk)
    vm.plug(machines.drive(play.host1, disk))
    vm.run(f"size {serial(disk)} {2 * GIB}")
    vm.unplug(drive)
    flows.hot_unplug(play.domain, disk)
    machines.goes_on(vm, root)
    machines.ends_whole(vm, root)
    machines.delete(disk)


def test_two_vms_share_a_disk(machines: Machines) -> None:
    """3.8: both write at once, each its half; one ends, and the other has its disk and writes
    on."""
    play = machines.play
    disk = flows.create_disk(play.domain, 1)
    its = dataclasses.replace(disk)  # Engine remembers a host for each VM
    flows.run_vm(play.domain, play.host1, disk)
    flows.run_vm(play.domain, play.host2, its)
    vms = [machines.power_on(host, disk, shared=True) for host in (play.host1, play.host2)]
    for vm, first in zip(vms, (0, HALF)):
        vm.ready().run(f"stream {serial(disk)} {first} &")
        vm.until("stream", serial(disk), first)
    for vm in vms:
        machines.goes_on(vm, disk)
    end = machines.halt(vms[0], disk)
    machines.stop(vms[0], disk)
    assert play.on_hosts(disk.id) == {2}
    machines.goes_on(vms[1], disk)
    behind = machines.halt(vms[1], disk)
    machines.stop(vms[1], its)
    stream = machines.stream(disk)
    assert not stream.broken
    assert [stream.of(vm.boot_id) for vm in vms] == [[*range(end)], [*range(HALF, behind)]]
    machines.delete(disk)
