"""storpool-vm-hook run as Vdsm runs it: what it takes, from whom, what it leaves alone, and what it
asks StorPool.

What it refuses is in test_vm_hook_refusals.py.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ovirt_demo import flows, hooks, vdsm
from rigs.hook_stage import Starts, Writer, last_refusal
from rigs.shared_stage import new_id, post, queries, volumes, writes

CALLS = [
    "ClientsConfigDump",
    "AttachmentsList",
    "VolumesReassignWait",
    "AttachmentsList",
    "ClientsConfigDump",
]
"""Of every start, beside one Volume for each disk."""


def test_a_start_leaves_the_disks_to_this_host_alone(starts: Starts) -> None:
    """T53, T80: what another host still has is taken from it in one request for all disks of the
    VM."""
    disks = starts.disks(2)
    starts.attach(1, *disks)
    devices = starts.attach(2, *disks)
    writers = [Writer(starts.device(1, disk)) for disk in disks]
    starts.stage.simulator.clear_calls()
    starts.hooks[2].before_vm_start(starts.xml(*devices))
    [request] = [call["body"] for call in writes(starts.stage.simulator)]
    assert queries(starts.stage.simulator) == ["KV/Set", "Volume", "Volume", *CALLS]
    assert request["reassign"] == [
        {"volume": f"~{starts.global_id(disk)}", "rw": [2], "detach": "all", "force": True}
        for disk in disks
    ]
    assert [starts.on_hosts(disk) for disk in disks] == [{(2, "rw")}] * 2
    assert [writer.write(1) for writer in writers] == [False, False]
    for writer in writers:
        writer.stop()
    with starts.writing(2, disks[0]) as new:
        assert new.write(2)


def test_an_ordinary_start(starts: Starts) -> None:
    """A disk that only this host has stays attached, also where its device is open, for a handful
    of calls."""
    [disk] = starts.disks()
    devices = starts.attach(1, disk)
    with starts.writing(1, disk) as writer:
        queries(starts.stage.simulator)
        starts.hooks[1].before_vm_start(starts.xml(*devices))
        assert queries(starts.stage.simulator) == ["KV/Set", "Volume", *CALLS]
        assert writer.write(1)
    assert starts.on_hosts(disk) == {(1, "rw")}


def test_the_hook_says_nothing_and_leaves_the_xml_as_it_was(starts: Starts, tmp_path: Path) -> None:
    """Byte for byte, and the file itself is not even opened for writing: what Vdsm starts is what
    Engine wrote."""
    [disk] = starts.disks()
    document = starts.xml(*starts.attach(1, disk)).replace("><", ">\n\t <") + "<!-- é \n -->  \n"
    assert starts.hooks[1].before_vm_start(document) == document
    run = starts.hooks[1].runs[-1]
    assert (run.returncode, run.stderr) == (0, "")
    file = tmp_path / "hook.xml"
    file.write_text(document)
    before = (
        hashlib.sha256(file.read_bytes()).hexdigest(),
        file.stat().st_mtime_ns,
        file.stat().st_ino,
    )
    assert starts.run_by_hand(1, file).returncode == 0
    assert (
        hashlib.sha256(file.read_bytes()).hexdigest(),
        file.stat().st_mtime_ns,
        file.stat().st_ino,
    ) == before


@pytest.mark.parametrize("managed", [True, False], ids=["run link", "by id"])
def test_both_ways_in_which_engine_names_a_disk(starts: Starts, managed: bool) -> None:
    """Cluster level 4.7 names Vdsm's run link, older ones the path that the helper returned."""
    [disk] = starts.disks()
    starts.attach(1, disk)
    starts.hooks[2].before_vm_start(starts.xml(*starts.attach(2, disk), managed=managed))
    assert starts.on_hosts(disk) == {(2, "rw")}


def test_a_disk_that_was_taken_before_the_start(starts: Starts) -> None:
    """T56: between Vdsm's attach and the start another host took it: it is not taken back, and
    Engine starts anew."""
    [disk] = starts.disks()
    devices = starts.attach(1, disk)
    starts.start(2, disk)
    with starts.writing(2, disk) as vm:
        with pytest.raises(vdsm.VdsmError):
            starts.hooks[1].before_vm_start(starts.xml(*devices))
        assert "is not attached to client 1 any more: somebody took it" in last_refusal(
            starts.hooks[1]
        )
        assert vm.write(1)


def test_shareable_disks_are_left_alone(starts: Starts) -> None:
    """T81: a disk that two VMs on two hosts write is taken from nobody when one starts; that one's
    other disks are."""
    shared, own = starts.disks(2)
    starts.attach(1, shared, own)
    first, second = starts.attach(2, shared, own)
    with starts.writing(1, shared) as one, starts.writing(2, shared) as two:
        queries(starts.stage.simulator)
        starts.hooks[2].before_vm_start(
            hooks.domain_xml(hooks.disk_xml(first, shareable=True), hooks.disk_xml(second, "vdb"))
        )
        requests = [
            call["body"]
            for call in starts.stage.simulator.calls()
            if call["query"] == "VolumesReassignWait"
        ]
        assert [each["volume"] for request in requests for each in request["reassign"]] == [
            f"~{starts.global_id(own)}"
        ]
        assert one.write(1)
        assert two.write(2)
    assert starts.on_hosts(shared) == {(1, "rw"), (2, "rw")}
    assert starts.on_hosts(own) == {(2, "rw")}


def test_a_vm_without_our_disks_asks_nobody(starts: Starts) -> None:
    """Disks of other storage, and no disks at all, start without a call, without storpool.conf,
    without a look."""
    host = starts.stage.hosts[1]
    other = host.local("/dev/other")
    other.touch()
    link = host.local("/run/vdsm/managedvolumes") / f"{new_id()}_{new_id()}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(other)
    conf = host.local("/etc/storpool.conf")
    hidden = conf.rename(conf.with_name("hidden"))
    try:
        queries(starts.stage.simulator)
        for path in (
            f"/run/vdsm/managedvolumes/{link.name}",
            "/dev/other",
            "/rhev/data-center/x",
            "/dev/none",
        ):
            starts.hooks[1].before_vm_start(starts.xml({"managed_path": path, "vol_id": new_id()}))
        starts.hooks[1].before_vm_start(starts.xml())
        assert queries(starts.stage.simulator) == []
    finally:
        hidden.rename(conf)
        link.unlink()
        other.unlink()


def test_what_is_not_ovirts_is_left_alone(starts: Starts) -> None:
    """S6: a volume of another orchestrator that somebody gave to a VM by its path is nobody's to
    take."""
    name = f"cloud-{new_id()}"
    post(
        starts.stage.simulator,
        "VolumeCreate",
        {"name": name, "size": 1 << 30, "template": "hybrid", "tags": {"virt": "cs"}},
    )
    post(
        starts.stage.simulator,
        "VolumesReassignWait",
        {"reassign": [{"volume": name, "rw": [1, 2]}]},
    )
    [disk] = starts.disks()
    starts.attach(1, disk)
    foreign = {"managed_path": f"/dev/storpool/{name}", "vol_id": new_id()}
    starts.hooks[2].before_vm_start(starts.xml(foreign, *starts.attach(2, disk)))
    assert starts.clients_of(name) == {1, 2}
    assert starts.on_hosts(disk) == {(2, "rw")}
    starts.hooks[2].before_vm_start(starts.xml(foreign))
    assert starts.clients_of(name) == {1, 2}


def test_volumes_of_the_cinder_driver_are_ovirts_too(starts: Starts) -> None:
    """oVirt's stock path: the name that Cinder's driver gives tells oVirt's id, and the disk is
    taken as ours are."""
    image = new_id()
    name = f"os--volume-{image}"
    post(
        starts.stage.simulator,
        "VolumeCreate",
        {"name": name, "size": 1 << 30, "template": "hybrid"},
    )
    post(
        starts.stage.simulator,
        "VolumesReassignWait",
        {"reassign": [{"volume": name, "rw": [1, 2]}]},
    )
    host = starts.stage.hosts[2]
    run_link = f"/run/vdsm/managedvolumes/{new_id()}_{image}"
    host.local(run_link).parent.mkdir(parents=True, exist_ok=True)
    host.local(run_link).symlink_to(host.local(f"/dev/storpool/{name}"))
    starts.hooks[2].before_vm_start(starts.xml({"managed_path": run_link, "vol_id": image}))
    assert starts.clients_of(name) == {2}


def test_a_volume_that_lost_its_tags(starts: Starts) -> None:
    """S8: a revert by hand takes the tags; the name still tells whose disk it is, and the VM
    starts."""
    [disk] = starts.disks()
    starts.attach(1, disk)
    devices = starts.attach(2, disk)
    tags = dict.fromkeys(volumes(starts.stage.simulator)[disk.id]["tags"], "")
    post(starts.stage.simulator, f"VolumeUpdate/~{starts.global_id(disk)}", {"tags": tags})
    starts.hooks[2].before_vm_start(starts.xml(*devices))
    assert starts.on_hosts(disk) == {(2, "rw")}


def test_snapshots_are_nobodys_to_take(starts: Starts) -> None:
    """A snapshot that a VM reads is attached read-only, as everybody's: nobody can write to it."""
    [disk] = starts.disks()
    snapshot = flows.create_snapshot(starts.stage.domain, disk)
    disk.active = snapshot
    starts.attach(1, disk)
    starts.hooks[2].before_vm_start(starts.xml(*starts.attach(2, disk)))
    assert starts.clients_of(f"ovirt--{snapshot}") == {1, 2}


@pytest.mark.parametrize("fenced", [False, True], ids=["its own", "shareable"])
def test_before_a_migration_the_source_only_looks(starts: Starts, fenced: bool) -> None:
    """T45: a VM that has its disks may leave, for calls that change nothing; one that lost a disk
    may not.

    A shareable one is lost by a fence: a guest that goes on after the errors would write to it anew
    elsewhere.
    """
    shared, own = starts.disks(2)
    devices = starts.attach(1, shared, own)
    document = hooks.domain_xml(
        hooks.disk_xml(devices[0], shareable=True), hooks.disk_xml(devices[1], "vdb")
    )
    with starts.writing(1, own) as vm:
        starts.attach(2, own)
        starts.stage.simulator.clear_calls()
        assert starts.hooks[1].before_vm_migrate_source(document) == document
        assert queries(starts.stage.simulator) == ["KV/Set", "AttachmentsList"]
        assert vm.write(1)
    gone = {"volume": f"~{starts.global_id([own, shared][fenced])}", "detach": [1], "force": True}
    post(starts.stage.simulator, "VolumesReassignWait", {"reassign": [gone]})
    with pytest.raises(vdsm.VdsmError):
        starts.hooks[1].before_vm_migrate_source(document)
    assert "was taken from client 1, on which its VM runs" in last_refusal(starts.hooks[1])


def test_the_hook_writes_one_line_for_each_change(starts: Starts) -> None:
    """What was taken from whom is in the log, with the VM's id."""
    [disk] = starts.disks()
    starts.attach(1, disk)
    log = starts.stage.hosts[2].local("/var/log/vdsm/storpool-hook.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    vm_id = new_id()
    starts.hooks[2].before_vm_start(starts.xml(*starts.attach(2, disk)), vm_id)
    lines = [line.split("] ", 1)[1] for line in log.read_text().splitlines()]
    global_id = starts.global_id(disk)
    assert "way by=itself why=" in lines[0]
    assert lines[1:] == [
        f"{vm_id} taken volume=ovirt--{disk.id} global_id={global_id} client=1 by=2",
        f"{vm_id} vm_tagged volume=ovirt--{disk.id} global_id={global_id} vm={vm_id}",
        f"{vm_id} disks_alone disks={global_id} client=2 left_alone=-",
    ]
