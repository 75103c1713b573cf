"""The tag that names a volume's VM, written by storpool-vm-hook as Vdsm runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import flows, hooks
from rigs.hook_stage import Starts
from rigs.shared_stage import new_id, post, queries, volumes, writes

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.hooks import Hooks

KEY = "cvm"


def tags(starts: Starts, disk: Disk) -> Any:
    """Return the tags of a disk's active volume."""
    return volumes(starts.stage.simulator)[disk.active]["tags"]


def vm_of(starts: Starts, disk: Disk, key: str = KEY) -> str:
    """Return the VM that a disk's active volume names."""
    return str(tags(starts, disk).get(key, ""))


def start(starts: Starts, host: int, vm: str, *disks: Disk, **looks: bool) -> None:
    """Start a VM of this id with these disks; who had them has stopped."""
    starts.hooks[host].before_vm_start(starts.xml(*attach(starts, host, *disks), **looks), vm)


def attach(starts: Starts, host: int, *disks: Disk) -> list[dict[str, Any]]:
    """Attach these, which nobody else has any more; return the devices."""
    for disk in disks:
        flows.stop_vm(starts.stage.domain, disk)
    return starts.attach(host, *disks)


def plug(starts: Starts, host: int, vm: str, disk: Disk) -> None:
    """Plug a disk into a VM that runs."""
    [device] = attach(starts, host, disk)
    starts.hooks[host].before_disk_hotplug(hooks.plug_xml(device), vm)


def updates(starts: Starts) -> int:
    """Count the updates of volumes since the last look."""
    return [call["query"] for call in writes(starts.stage.simulator)].count("VolumeUpdate")


def test_a_start_names_the_vm_once(starts: Starts) -> None:
    """T78: each disk gets the VM's id before the guest runs, with one update; the next starts, here
    and elsewhere, make none."""
    disks, vm = starts.disks(3), new_id()
    starts.stage.simulator.clear_calls()
    start(starts, 1, vm, *disks)
    assert updates(starts) == 3
    assert [vm_of(starts, disk) for disk in disks] == [vm] * 3
    for host in (1, 2, 2, 1):
        starts.stage.simulator.clear_calls()
        start(starts, host, vm, *disks)
        assert updates(starts) == 0
    other = new_id()
    starts.stage.simulator.clear_calls()
    start(starts, 1, other, disks[0])
    assert updates(starts) == 1
    assert [vm_of(starts, disk) for disk in disks] == [other, vm, vm]


def test_a_start_in_the_steady_state_costs_no_call(starts: Starts) -> None:
    """A VM whose disks name it starts with as many calls as one whose id nobody told."""
    disks, vm = starts.disks(2), new_id()
    start(starts, 1, vm, *disks)
    counted = []
    for told in ("", vm):
        document = starts.xml(*attach(starts, 1, *disks))
        starts.stage.simulator.clear_calls()
        starts.hooks[1].before_vm_start(document, told)
        counted.append(queries(starts.stage.simulator))
    assert counted[0] == counted[1]


def test_a_plug_names_the_vm(starts: Starts) -> None:
    """T78: also of a disk that another VM had."""
    [disk], vm = starts.disks(), new_id()
    start(starts, 1, new_id(), disk)
    starts.stage.simulator.clear_calls()
    plug(starts, 1, vm, disk)
    plug(starts, 1, vm, disk)
    assert updates(starts) == 1
    assert vm_of(starts, disk) == vm


def test_a_shareable_disk_names_none(starts: Starts) -> None:
    """T78, T81: what several VMs may have is in no VM's snapshot: a start and a plug take the tag
    away, and the mark is there."""
    [disk], vm = starts.disks(), new_id()
    start(starts, 1, vm, disk)
    start(starts, 1, vm, disk, shareable=True)
    assert vm_of(starts, disk) == ""
    assert tags(starts, disk)["ovirt-share"] == "1"
    given = {"tags": {**tags(starts, disk), KEY: vm}}
    post(starts.stage.simulator, f"VolumeUpdate/~{starts.global_id(disk)}", given)
    plug(starts, 2, vm, disk)
    assert vm_of(starts, disk) == ""
    start(starts, 1, vm, disk)
    assert vm_of(starts, disk) == vm


def test_another_key_for_the_tag(starts: Starts) -> None:
    """The host's storpool.conf says which."""
    [disk], vm = starts.disks(), new_id()
    with starts.conf(1, SP_OVIRT_VM_TAG="nvm"):
        start(starts, 1, vm, disk)
    assert (vm_of(starts, disk, "nvm"), vm_of(starts, disk)) == (vm, "")


@pytest.mark.parametrize("key", ["virt", "ovirt-uuid", "qc", "a" * 17, "c/m"])
def test_a_key_that_cannot_be_used_refuses_no_start(starts: Starts, key: str) -> None:
    """A wrong SP_OVIRT_VM_TAG is a line of the log, and the VM starts without the tag."""
    [disk] = starts.disks()
    before = tags(starts, disk)
    with starts.conf(1, SP_OVIRT_VM_TAG=key):
        start(starts, 1, new_id(), disk)
    assert tags(starts, disk) == before
    assert "vm_tag_unusable" in log(starts, 1)


@pytest.mark.parametrize("kind", ["error_200", "reset_before", "bad_gateway"])
def test_a_tag_that_cannot_be_written_refuses_no_start(
    starts: Starts, hasty_hook: Hooks, kind: str
) -> None:
    """T78: StorPool says no, or nothing, to the update: the VM starts, its disks are this host's
    alone, the log has a line, and the next start writes the tag."""
    [disk], vm = starts.disks(), new_id()
    document = starts.xml(*starts.attach(2, disk))
    starts.stage.simulator.inject(kind, query="VolumeUpdate", times=1000)
    hasty_hook.before_vm_start(document, vm)
    starts.stage.simulator.clear_faults()
    assert starts.on_hosts(disk) == {(2, "rw")}
    assert vm_of(starts, disk) == ""
    assert f"vm_not_tagged volume=ovirt--{disk.active}" in log(starts, 2)
    hasty_hook.before_vm_start(document, vm)
    assert vm_of(starts, disk) == vm


def test_a_vm_whose_id_is_none(starts: Starts) -> None:
    """What is no UUID is written on nothing."""
    [disk] = starts.disks()
    for vm in ("", "-", "web1", "A" * 36):
        start(starts, 1, vm, disk)
        assert vm_of(starts, disk) == ""


def test_a_preview_has_its_vm_too(starts: Starts) -> None:
    """T5, T78: the longest of our volumes has room for it, and Engine's verbs go on with it."""
    [disk], vm = starts.disks(), new_id()
    start(starts, 1, vm, disk)
    flows.stop_vm(starts.stage.domain, disk)
    snapshot = flows.create_snapshot(starts.stage.domain, disk)
    flows.preview(starts.stage.domain, disk, snapshot)
    start(starts, 1, vm, disk)
    assert vm_of(starts, disk) == vm
    assert len(tags(starts, disk)["ovirt-root"]) == 22
    flows.create_snapshot(starts.stage.domain, disk)


def test_vdsm_hands_a_vms_properties_over(starts: Starts) -> None:
    """T78: in the hook's environment; none of them takes the place of what Vdsm says of the VM."""
    [disk], vm = starts.disks(), new_id()
    hostile = {"vmId": new_id(), "_hook_domxml": "/etc/shadow"}
    document = starts.xml(*attach(starts, 1, disk))
    starts.hooks[1].before_vm_start(document, vm, {"sp_qos": "gold", **hostile})
    assert (vm_of(starts, disk), tags(starts, disk)["qc"]) == (vm, "gold")
    device = {"managed_path": starts.run_link(disk), "vol_id": disk.id}
    starts.hooks[1].after_disk_hotunplug(hooks.plug_xml(device), vm, {"sp_qos": "gold", **hostile})
    assert (vm_of(starts, disk), tags(starts, disk).get("qc", "")) == ("", "")


@pytest.fixture(autouse=True)
def _logs(starts: Starts) -> None:
    for host in starts.stage.hosts:
        _log(starts, host).parent.mkdir(parents=True, exist_ok=True)


def log(starts: Starts, host: int) -> str:
    """Return what the hook has written on a host."""
    return _log(starts, host).read_text()


def _log(starts: Starts, host: int) -> Path:
    return starts.stage.hosts[host].local("/var/log/vdsm/storpool-hook.log")


# An unplug


def unplug(starts: Starts, host: int, vm: str, disk: Disk) -> int:
    """Have Vdsm run its hooks after an unplug; return how ours ended."""
    device = {"managed_path": starts.run_link(disk), "vol_id": disk.id}
    starts.hooks[host].after_disk_hotunplug(hooks.plug_xml(device), vm)
    return int(starts.hooks[host].runs[-1].returncode or 0)


def test_an_unplugged_disk_names_no_vm(starts: Starts) -> None:
    """T78: before it is detached, with one update; again, or for another VM, there is none."""
    [disk, other], vm = starts.disks(2), new_id()
    start(starts, 1, vm, disk, other)
    starts.stage.simulator.clear_calls()
    assert unplug(starts, 1, new_id(), disk) == 0
    assert queries(starts.stage.simulator) == ["KV/Set", "Volume"]
    starts.stage.simulator.clear_calls()
    assert unplug(starts, 1, vm, disk) == 0
    assert queries(starts.stage.simulator).count("VolumeUpdate") == 1
    assert unplug(starts, 1, vm, disk) == 0
    assert [vm_of(starts, each) for each in (disk, other)] == ["", vm]
    assert starts.on_hosts(disk) == {(1, "rw")}
    plug(starts, 1, vm, disk)
    assert vm_of(starts, disk) == vm


def test_an_unplug_leaves_a_disk_that_another_host_has(starts: Starts) -> None:
    """A VM may run on it there."""
    [disk], vm = starts.disks(), new_id()
    start(starts, 2, vm, disk)
    starts.attach(1, disk)
    assert unplug(starts, 1, vm, disk) == 0
    assert vm_of(starts, disk) == vm
    assert starts.on_hosts(disk) == {(1, "rw"), (2, "rw")}


@pytest.mark.parametrize("query", ["VolumeUpdate", "Volume", "KV/Set"])
def test_an_unplug_that_storpool_does_not_serve_is_over_soon(starts: Starts, query: str) -> None:
    """T78: Vdsm goes on within seconds: with its log's line where nothing could be asked."""
    [disk], vm = starts.disks(), new_id()
    start(starts, 1, vm, disk)
    starts.stage.simulator.inject("bad_gateway", query=query, times=10**6)
    try:
        code = unplug(starts, 1, vm, disk)
    finally:
        starts.stage.simulator.clear_faults()
    run = starts.hooks[1].runs[-1]
    assert code == (0 if query == "VolumeUpdate" else 1)
    assert run.stderr.startswith("StorPool: ") == (code == 1)
    assert run.seconds < 20
    assert ("vm_not_tagged" if code == 0 else "not_done") in log(starts, 1)
    assert vm_of(starts, disk) == vm


def test_an_unplug_whose_link_is_gone(starts: Starts) -> None:
    """Nothing is asked, and Vdsm's other hooks run."""
    [disk] = starts.disks()
    starts.stage.simulator.clear_calls()
    ran = starts.stage.hosts[1].local("/ran")
    other = starts.hooks[1].install("after_disk_hotunplug", Path("/bin/true"), "60_other")
    other.unlink()
    other.write_text(f"#!/bin/sh\ntouch {ran}\n")
    other.chmod(0o755)
    try:
        unplug(starts, 1, new_id(), disk)
    finally:
        other.unlink()
    assert ran.exists()
    assert queries(starts.stage.simulator) == []
