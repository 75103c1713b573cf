"""A virtual machine's life with snapshots: taken while it writes to two disks, previewed, undone,
committed; and with backups of VolumeCare's, which is beside all of it."""

from __future__ import annotations

import uuid

from vm_fixtures import VIRTUAL, Machines, serial
from vm_machine import Machine

from ovirt_demo import flows
from ovirt_demo.flows import Disk
from rigs import services

pytestmark = VIRTUAL
BESIDE = True

BATCH = 8  # blocks that a stream may have on the disk beyond its last report


def test_a_live_snapshot_previewed_undone_and_committed(machines: Machines) -> None:
    """3.10, 3.11: a VM in preview boots on what its disks were; an undo brings all back, a commit
    that state alone."""
    play = machines.play
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    vm = machines.writing(play.host1, *disks)
    snapshots, bounds = [], []
    for disk in disks:
        reported = written(vm, disk)
        snapshots.append(flows.create_snapshot(play.domain, disk))
        bounds.append(range(reported, written(vm, disk) + BATCH + 1))
    machines.goes_on(vm, *disks)
    ends = [machines.halt(vm, disk) for disk in disks]
    machines.stop(vm, *disks)

    for disk, snapshot in zip(disks, snapshots):
        flows.preview(play.domain, disk, snapshot)
    lengths = [old_state(machines, disk, vm, bound) for disk, bound in zip(disks, bounds)]
    preview = machines.run(play.host2, *disks)
    for disk, length in zip(disks, lengths):
        assert seen(preview, disk) == {vm.boot_id: length}
        preview.run(f"stream {serial(disk)} {length} {length + 2 * BATCH}")
    machines.stop(preview, *disks)
    for disk in disks:
        flows.undo_preview(play.domain, disk)
    for disk, end in zip(disks, ends):
        stream = machines.stream(disk)
        assert stream.whole()
        assert stream.of(vm.boot_id) == [*range(end)]

    for disk, snapshot in zip(disks, snapshots):
        flows.preview(play.domain, disk, snapshot)
        flows.commit_preview(play.domain, disk)
    committed = machines.run(play.host1, *disks)
    assert [seen(committed, disk) for disk in disks] == [{vm.boot_id: length} for length in lengths]
    machines.stop(committed, *disks)
    assert [old_state(machines, disk, vm, bound) for disk, bound in zip(disks, bounds)] == lengths
    machines.delete(*disks)


def test_volumecare_takes_back_what_a_guest_has_written(machines: Machines) -> None:
    """T76: a backup of both disks, taken while the guest writes them, is what they are after
    StorPool's own tool has taken the VM back; and Engine's verbs go on with them."""
    play = machines.play
    there = services.of(play.cluster)
    assert there is not None
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    vm_id = str(uuid.uuid4())
    vm = machines.start(vm_id, play.host1, *disks)
    for disk in disks:
        vm.run(f"stream {serial(disk)} 0 &")
    machines.goes_on(vm, *disks)
    before = [written(vm, disk) for disk in disks]
    there.volumecare()
    backup = there.backup_of(vm_id)
    bounds = [range(least, written(vm, disk) + BATCH + 1) for least, disk in zip(before, disks)]
    machines.goes_on(vm, *disks)
    for disk in disks:
        machines.halt(vm, disk)
    machines.stop(vm, *disks)
    there.revert(vm_id, backup)
    lengths = [old_state(machines, disk, vm, bound) for disk, bound in zip(disks, bounds)]
    for disk in disks:
        flows.preview(play.domain, disk, flows.create_snapshot(play.domain, disk))
        flows.commit_preview(play.domain, disk)
    assert [old_state(machines, disk, vm, bound) for disk, bound in zip(disks, bounds)] == lengths
    machines.delete(*disks)


def written(machine: Machine, disk: Disk) -> int:
    """Tell how many blocks a stream has reported until now."""
    machine.run("true")
    return machine.reports["stream", serial(disk)]


def seen(machine: Machine, disk: Disk) -> dict[str, int]:
    """Tell how many blocks of whom the guest itself finds on its disk, from the beginning on."""
    *found, _ = machine.run(f"look {serial(disk)} 0")
    return {boot_id: int(count) for _, boot_id, count in (line.split() for line in found)}


def old_state(machines: Machines, disk: Disk, writer: Machine, bound: range) -> int:
    """Check that a disk has the beginning of a stream and nothing else, as long as it can have
    been; return that."""
    stream = machines.stream(disk)
    assert stream.whole()
    assert stream.of(writer.boot_id) == [*range(stream.end)]
    assert stream.end in bound
    return stream.end
