"""A virtual machine's life with snapshots: taken while it writes to two disks, previewed, undone,
committed."""

from __future__ import annotations

from vm_fixtures import VIRTUAL, Machines, serial
from vm_machine import Machine

from ovirt_demo import flows
from ovirt_demo.flows import Disk

pytestmark = VIRTUAL

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
