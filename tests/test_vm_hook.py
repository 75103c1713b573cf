"""storpool-vm-hook run as Vdsm runs it: what it takes, from whom, what it leaves alone, and what it asks StorPool."""

from __future__ import annotations

from hook_stage import Starts, Writer
from shared_stage import queries


def test_a_start_leaves_the_disks_to_this_host_alone(starts: Starts) -> None:
    """T53, T80: what another host still has is taken from it in one request for all disks of the VM."""
    disks = starts.disks(2)
    starts.attach(1, *disks)
    devices = starts.attach(2, *disks)
    writers = [Writer(starts.device(1, disk)) for disk in disks]
    queries(starts.stage.simulator)
    starts.hooks[2].before_vm_start(starts.xml(*devices))
    assert queries(starts.stage.simulator) == [
        "Volume", "Volume", "ClientsConfigDump", "AttachmentsList", "VolumesReassignWait", "AttachmentsList",
        "ClientsConfigDump",
    ]  # fmt: skip
    assert [starts.on_hosts(disk) for disk in disks] == [{(2, "rw")}] * 2
    assert [writer.write(1) for writer in writers] == [False, False]
    for writer in writers:
        writer.stop()
    new = Writer(starts.device(2, disks[0]))
    assert new.write(2)
    new.stop()
