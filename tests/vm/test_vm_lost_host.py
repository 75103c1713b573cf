"""A host is lost while its virtual machine writes, and Engine starts the VM on another one.

The worst kind of loss: nothing is dead. The VM's process is stopped in the midst of its writes,
with all that it has in memory and on the way, and goes on later. What then may still come from it,
the start hook keeps off the disk; the last test shows what it would do there.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from vm_fixtures import VIRTUAL, Machines, serial
from vm_machine import Machine
from vm_stream import Stream

from ovirt_demo import flows, hooks, vdsm
from ovirt_demo.flows import Disk
from ovirt_demo.hooks import Hooks
from rigs.flow_stage import Play
from rigs.hook_stage import installed
from rigs.shared_stage import post, volumes

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while

OVERLAP_BLOCKS = (
    64  # of the new writer's, before the old one wakes up and writes to the same places
)
OVERLAP_FILES = 10


@dataclasses.dataclass
class Lost:
    """A VM on host 1, stopped while it writes blocks to `data` and works on the ext4 of `files`."""

    machine: Machine
    data: Disk
    files: Disk

    @property
    def disks(self) -> tuple[Disk, Disk]:
        """All that the VM has."""
        return self.data, self.files


@pytest.fixture
def vdsm_hooks(play: Play) -> Iterator[dict[int, Hooks]]:
    """Give both hosts' hooks, with storpool-vm-hook installed."""
    hosts = {1: play.host1, 2: play.host2}
    yield {number: installed(host) for number, host in hosts.items()}
    play.cluster.set_client(1, status="running")
    for host in hosts.values():
        shutil.rmtree(host.local(hooks.FOLDER))


def lose(machines: Machines, **facts: Any) -> Lost:
    """Run a VM on host 1 and lose the host."""
    play = machines.play
    data, files = (flows.create_disk(play.domain, 1) for _ in range(2))
    flows.run_vm(play.domain, play.host1, data, files)
    machines.make_file_system(play.host1, files)
    machine = machines.power_on(play.host1, data, files, **facts).ready()
    works(machine, data, files, first=0)
    machine.freeze()
    return Lost(machine, data, files)


def works(machine: Machine, data: Disk, files: Disk, first: int) -> None:
    """Have a guest write to both disks; return when it does."""
    machine.run(f"mounted {serial(files)}")
    machine.run(f"churn {serial(files)} of-{machine.name} &")
    machine.run(f"stream {serial(data)} {first} &")
    machine.until("stream", serial(data), first + 16)
    machine.further("churn", f"of-{machine.name}", 8)


def start_elsewhere(machines: Machines, lost: Lost, hooks_of_host: Hooks | None) -> None:
    """What Engine and Vdsm do on host 2 before QEMU starts there: attach, and run the hooks with
    the domain."""
    devices = flows.run_vm(machines.play.domain, machines.play.host2, *lost.disks)
    if hooks_of_host:
        hooks_of_host.before_vm_start(
            hooks.domain_xml(*(hooks.disk_xml(device) for device in devices))
        )


def is_shut_out(old: Machine, data: Disk) -> None:
    """Check that no write of a VM that is awake succeeds: its guest is told and goes on, and so
    each time it tries."""
    name = serial(data)
    for _ in range(2):
        old.until("broken", name)
        assert old.status() == "running"
        del old.reports["broken", name]
        old.run(f"stream {name} 0 &")
    old.until("broken", name)
    assert ("ended", name) not in old.reports


def stands_still(old: Machine, data: Disk) -> None:
    """Check that no write to a disk that was plugged succeeds: the VM pauses, each time that it is
    told to go on."""
    old.until_status("io-error")
    for _ in range(2):
        old.monitor.events.clear()
        old.monitor.ask("cont")
        old.monitor.event("BLOCK_IO_ERROR")
        old.until_status("io-error")
    assert ("broken", serial(data)) not in old.reports
    assert ("ended", serial(data)) not in old.reports


def ends(machines: Machines, machine: Machine, data: Disk, files: Disk) -> int:
    """End all that a guest does and stop it, and the VM; return where its stream ended."""
    end = machines.halt(machine, data)
    machine.run(f"touch /run/stop-of-{machine.name}")
    machine.until("ended", f"of-{machine.name}")
    machine.run(f"umount /run/{serial(files)}")
    assert machine.troubles() == []
    machines.stop(machine, data, files)
    return end


def check_nothing_lost(
    machines: Machines, lost: Lost, taken: Stream, new: Machine, end: int
) -> None:
    """Check both disks: what was there when the new VM came, then its own writes alone, and all
    that was reported."""
    stream = machines.stream(lost.data)
    assert stream.whole()
    assert taken.whole()
    assert stream.before(taken.end) == taken
    assert taken.of(lost.machine.boot_id) == [*range(taken.end)]
    assert stream.of(new.boot_id) == [*range(taken.end, end)]
    lost.machine.catch_up()
    assert lost.machine.reports["stream", serial(lost.data)] <= taken.end
    code, said = machines.check(lost.files)
    assert code == 0, said


@pytest.mark.parametrize(
    ("awake", "client"),
    [
        ("at last", "running"),
        ("at last", "down"),
        ("before the hook", "running"),
        ("before the disk is opened", "down"),
    ],
)
def test_the_lost_host_never_writes_again(
    machines: Machines, vdsm_hooks: dict[int, Hooks], awake: str, client: str
) -> None:
    """T52, T80: once the new VM opens its disks nothing of the old one gets there, whenever that
    one wakes up."""
    play = machines.play
    lost = lose(machines)
    old, data = lost.machine, lost.data
    play.cluster.set_client(1, status=client)
    if awake == "before the hook":
        old.wake()
        old.further("stream", serial(data), 16)
    start_elsewhere(machines, lost, vdsm_hooks[2])
    assert [play.on_hosts(disk.id) for disk in lost.disks] == [{2}] * 2
    if awake == "before the disk is opened":
        old.wake()
        is_shut_out(old, data)
    taken = machines.stream(data)
    new = machines.power_on(play.host2, *lost.disks).ready()
    assert new.run(f"look {serial(data)} 0") == [
        f"of {old.boot_id} {taken.end}",
        f"next {taken.end}",
    ]
    works(new, *lost.disks, first=taken.end)
    old.wake()
    is_shut_out(old, data)
    machines.goes_on(new, data)
    end = ends(machines, new, *lost.disks)
    check_nothing_lost(machines, lost, taken, new, end)
    old.kill()
    play.cluster.set_client(1, status="running")
    machines.delete(*lost.disks)


def test_the_lost_guest_goes_on_and_stays_where_it_is(
    machines: Machines, vdsm_hooks: dict[int, Hooks]
) -> None:
    """T45, T80: a guest is told of errors and goes on, so Engine would migrate it: the hook
    refuses.

    Its disk is attached to that host again, as for a migration of the new VM: the old one does not
    reach it by that.
    """
    play = machines.play
    lost = lose(machines)
    ids = [volumes(play.cluster)[each.active]["globalId"] for each in lost.disks]
    devices = [
        {"managed_path": f"{vdsm.RUN_FOLDER}/{play.domain.id}_{each.active}", "vol_id": each.id}
        for each in lost.disks
    ]
    start_elsewhere(machines, lost, vdsm_hooks[2])
    taken = machines.stream(lost.data)
    new = machines.power_on(play.host2, *lost.disks).ready()
    works(new, *lost.disks, first=taken.end)
    lost.machine.wake()
    is_shut_out(lost.machine, lost.data)
    lost.machine.until("spoilt", f"of-{lost.machine.name}")
    assert any("I/O error" in line for line in lost.machine.troubles())
    with pytest.raises(vdsm.VdsmError, match="was taken from client 1, on which its VM runs"):
        vdsm_hooks[1].before_vm_migrate_source(hooks.domain_xml(*map(hooks.disk_xml, devices)))
    again = [{"volume": f"~{each}", "rw": [1, 2]} for each in ids]
    post(play.cluster, "VolumesReassignWait", {"reassign": again})
    is_shut_out(lost.machine, lost.data)
    post(
        play.cluster,
        "VolumesReassignWait",
        {"reassign": [{**each, "rw": [2], "detach": [1]} for each in again]},
    )
    end = ends(machines, new, *lost.disks)
    check_nothing_lost(machines, lost, taken, new, end)
    lost.machine.kill()
    machines.delete(*lost.disks)


def test_a_guest_stops_at_the_loss_of_a_disk_that_was_plugged(
    machines: Machines, vdsm_hooks: dict[int, Hooks]
) -> None:
    """T80: Vdsm plugs with error_policy="stop": the VM that lost the disk pauses, and nothing of it
    lands."""
    play = machines.play
    root, data = (flows.create_disk(play.domain, 1) for _ in range(2))
    old = machines.writing(play.host1, root)
    flows.hot_plug(play.domain, play.host1, data)
    old.plug(machines.drive(play.host1, data))
    old.run(f"stream {serial(data)} 0 &")
    old.until("stream", serial(data), 16)
    old.freeze()
    [device] = flows.run_vm(play.domain, play.host2, data)
    vdsm_hooks[2].before_vm_start(hooks.domain_xml(hooks.disk_xml(device)))
    taken = machines.stream(data)
    new = machines.power_on(play.host2, data).ready()
    new.run(f"stream {serial(data)} {taken.end} &")
    new.until("stream", serial(data), taken.end + 16)
    old.wake()
    stands_still(old, data)
    machines.goes_on(new, data)
    end = machines.halt(new, data)
    machines.stop(new, data)
    stream = machines.stream(data)
    assert stream.whole()
    assert stream.before(taken.end) == taken
    assert stream.of(new.boot_id) == [*range(taken.end, end)]
    old.kill()
    play.host1.detach_volume(play.domain.id, root.active)
    machines.delete(root, data)


def test_a_plugged_disk_is_taken_from_the_lost_host(
    machines: Machines, vdsm_hooks: dict[int, Hooks]
) -> None:
    """T44, T80: the disk of a lost VM is plugged into one that runs elsewhere: that one alone
    writes to it.

    As long as StorPool has contact with the lost host, and the VM has it open there, the plug is
    refused.
    """
    play = machines.play
    lost = lose(machines)
    root = flows.create_disk(play.domain, 1)
    new = machines.writing(play.host2, root)
    its = dataclasses.replace(lost.data)
    device = flows.hot_plug(play.domain, play.host2, its)
    with pytest.raises(
        vdsm.VdsmError, match="is open at client 1, and nothing tells whether it is shareable"
    ):
        vdsm_hooks[2].before_disk_hotplug(hooks.plug_xml(device))
    assert play.on_hosts(its.id) == {1, 2}
    flows.hot_unplug(play.domain, its)
    play.cluster.set_client(1, status="down")
    for disk in lost.disks:
        device = flows.hot_plug(play.domain, play.host2, disk)
        vdsm_hooks[2].before_disk_hotplug(hooks.plug_xml(device))
        assert play.on_hosts(disk.id) == {2}
    taken = machines.stream(lost.data)
    for disk in lost.disks:
        new.plug(machines.drive(play.host2, disk))
    works(new, *lost.disks, first=taken.end)
    lost.machine.wake()
    is_shut_out(lost.machine, lost.data)
    machines.goes_on(new, root, lost.data)
    machines.halt(new, root)
    end = ends(machines, new, *lost.disks)
    flows.stop_vm(play.domain, root)
    check_nothing_lost(machines, lost, taken, new, end)
    lost.machine.kill()
    machines.delete(root, *lost.disks)


def test_a_shared_disk_is_left_to_the_others(
    machines: Machines, vdsm_hooks: dict[int, Hooks]
) -> None:
    """T81: a second VM starts with a shared disk, through the hook: the first one has it, and
    writes on."""
    play = machines.play
    disk = flows.create_disk(play.domain, 1)
    first = machines.writing(play.host1, disk, shared=True)
    its = dataclasses.replace(disk)
    [device] = flows.run_vm(play.domain, play.host2, its)
    vdsm_hooks[2].before_vm_start(hooks.domain_xml(hooks.disk_xml(device, shareable=True)))
    assert play.on_hosts(disk.id) == {1, 2}
    second = machines.power_on(play.host2, its, shared=True).ready()
    second.run(f"look {serial(disk)} 0")
    machines.goes_on(first, disk)
    machines.stop(second, its)
    machines.goes_on(first, disk)
    machines.ends_whole(first, disk)


def test_a_shared_disk_is_plugged_beside_the_others(
    machines: Machines, vdsm_hooks: dict[int, Hooks]
) -> None:
    """T81: a shared disk is plugged into a second VM, with what Vdsm hands over then: the first one
    writes on."""
    play = machines.play
    disk, root = (flows.create_disk(play.domain, 1) for _ in range(2))
    its = dataclasses.replace(disk)
    [device] = flows.run_vm(play.domain, play.host1, disk)
    vdsm_hooks[1].before_vm_start(hooks.domain_xml(hooks.disk_xml(device, shareable=True)))
    first = machines.power_on(play.host1, disk, shared=True).ready()
    first.run(f"stream {serial(disk)} 0 &")
    second = machines.writing(play.host2, root)
    device = flows.hot_plug(play.domain, play.host2, its)
    vdsm_hooks[2].before_disk_hotplug(hooks.plug_xml(device))
    assert play.on_hosts(disk.id) == {1, 2}
    drive = machines.drive(play.host2, its, shared=True)
    second.plug(drive)
    second.run(f"look {serial(disk)} 0")
    machines.goes_on(first, disk)
    second.unplug(drive)
    flows.hot_unplug(play.domain, its)
    machines.ends_whole(second, root)
    machines.goes_on(first, disk)
    machines.ends_whole(first, disk)


def test_without_the_hook_the_disks_are_destroyed(machines: Machines) -> None:
    """The test of these tests: the same without the hook: blocks are lost that were reported, files
    are in ruins."""
    play = machines.play
    lost = lose(machines)
    old, data = lost.machine, lost.data
    start_elsewhere(machines, lost, None)
    assert [play.on_hosts(disk.id) for disk in lost.disks] == [{1, 2}] * 2
    taken = machines.stream(data)
    new = machines.power_on(play.host2, *lost.disks).ready()
    works(new, *lost.disks, first=taken.end)
    reported = new.further("stream", serial(data), OVERLAP_BLOCKS)
    old.wake()
    for machine in (old, new) * 2:
        machine.further("stream", serial(data), 16)
        machine.further("churn", f"of-{machine.name}", OVERLAP_FILES, or_else="spoilt")
    old.kill()
    machines.halt(new, data)
    new.run(f"touch /run/stop-of-{new.name}")
    new.until("ended", f"of-{new.name}", or_else="spoilt")
    new.run(f"umount /run/{serial(lost.files)} || true")
    machines.stop(new, *lost.disks)
    stream = machines.stream(data)
    assert [place for place in stream.of(old.boot_id) if taken.end <= place < reported]
    code, said = machines.check(lost.files)
    assert code != 0, said
    play.host1.detach_volume(play.domain.id, data.active)
    play.host1.detach_volume(play.domain.id, lost.files.active)
    machines.delete(*lost.disks)
