"""Engine's flows replayed step by step with real data, by the programs that Engine and Vdsm run.

After each the cluster must hold exactly what it held before: fixture `play`. Snapshots and
previews are in test_flows_snapshots.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import flows, vdsm
from ovirt_demo.engine import VerbFailed
from rigs.flow_stage import BOTH, PIECE, Guest, Play, told
from rigs.shared_stage import GIB, post, read, state, volumes

BESIDE = True  # StorPool's services make passes all the while

# Create, run, stop, plug (3.1 to 3.5)


@BOTH
def test_create_run_and_stop(play: Play) -> None:
    """3.1, 3.3, 3.4, T27: a new disk reads zeros; what a VM writes on one host it finds again on
    another."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    assert guest.size_bytes() == GIB
    assert [guest.read(place) for place in range(4)] == [""] * 4
    guest.write(2, "written on host 1")
    assert play.on_hosts(disk.id) == {1}
    play.stop(disk, guest)
    assert play.on_hosts(disk.id) == set()
    assert play.reads(disk, "", "", "written on host 1")
    assert play.on_hosts(disk.id) == set()
    flows.delete_disk(play.domain, disk)


def test_a_vm_with_several_disks(play: Play) -> None:
    """3.3, 3.4: the disks are attached and detached one after the other, and none is taken for
    another."""
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    devices = flows.run_vm(play.domain, play.host1, *disks)
    guests = [play.guest(play.host1, device) for device in devices]
    for number, guest in enumerate(guests):
        guest.write(0, f"disk {number}")
    assert [guest.read(0) for guest in guests] == ["disk 0", "disk 1"]
    for guest in guests:
        guest.stop()
    flows.stop_vm(play.domain, *disks)
    assert play.reads(disks[1], "disk 1")
    for disk in disks:
        flows.delete_disk(play.domain, disk)


def test_hot_plug_and_unplug(play: Play) -> None:
    """3.2, 3.5: a disk comes to a running VM and goes, twice on the same host."""
    disk = flows.create_disk(play.domain, 1)
    for text in ("first", "second"):
        guest = play.guest(play.host1, flows.hot_plug(play.domain, play.host1, disk))
        assert guest.read(0) == ("first" if text == "second" else "")
        guest.write(0, text)
        guest.stop()
        flows.hot_unplug(play.domain, disk)
        assert play.on_hosts(disk.id) == set()
    flows.delete_disk(play.domain, disk)


def test_hot_unplug_after_a_commit_leaks_what_a_delete_finds(play: Play) -> None:
    """3.5: Engine names the wrong id, so the volume stays attached: no harm to other hosts, and the
    disk can go."""
    disk = flows.create_disk(play.domain, 1)
    snapshot = flows.create_snapshot(play.domain, disk)
    preview = flows.preview(play.domain, disk, snapshot)
    flows.commit_preview(play.domain, disk)
    flows.hot_plug(play.domain, play.host1, disk)
    flows.hot_unplug(play.domain, disk)
    assert play.on_hosts(preview) == {1}
    assert play.reads(disk, "")
    assert play.on_hosts(preview) == {1}
    flows.delete_disk(play.domain, disk)


def test_stop_and_start_overlap(play: Play) -> None:
    """3.4: the end of a VM is processed without a lock: it runs on host 2 before host 1 was
    detached, and goes on."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before")
    guest.stop()
    ended = flows.Disk(disk.id, 1, disk.active, disk.images, attached_to=disk.attached_to)
    guest = play.start(disk, play.host2)
    flows.stop_vm(play.domain, ended)
    assert play.on_hosts(disk.id) == {2}
    assert guest.read(0) == "before"
    guest.write(0, "after")
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


# Extend (3.7)


@BOTH
def test_extend_while_the_vm_runs(play: Play) -> None:
    """3.7, T20, T38: the device of the running VM has the new size; old data stays and the new part
    reads zeros."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "old")
    flows.extend_disk(play.domain, disk, 3)
    assert guest.size_bytes() == 3 * GIB
    last = 3 * GIB // PIECE - 1
    assert [guest.read(0), guest.read(GIB // PIECE), guest.read(last)] == ["old", "", ""]
    guest.write(last, "at the very end")
    flows.extend_disk(play.domain, disk, 3)
    with pytest.raises(VerbFailed):
        flows.extend_disk(play.domain, disk, 2)
    assert guest.read(last) == "at the very end"
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


def test_extend_after_a_commit(play: Play) -> None:
    """3.7, 3.11: the verb names the disk, and the previewed volume that the VM uses is what
    grows."""
    disk = flows.create_disk(play.domain, 1)
    snapshot = flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, snapshot)
    flows.commit_preview(play.domain, disk)
    flows.extend_disk(play.domain, disk, 2)
    guest = play.start(disk, play.host1)
    assert guest.size_bytes() == 2 * GIB
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


# Live migration (3.8)


@BOTH
def test_migration(play: Play) -> None:
    """3.8, T69: both hosts have the volume while the guest moves; the source loses it, the running
    destination not."""
    disk = flows.create_disk(play.domain, 1)
    source = play.start(disk, play.host1)
    source.write(0, "written at the source")
    moved: list[Guest] = []

    def move() -> None:
        assert play.on_hosts(disk.id) == {1, 2}
        source.write(1, "last words")
        source.stop()
        link = f"{vdsm.RUN_FOLDER}/{play.domain.id}_{disk.id}"
        moved.append(Guest(play.host2.local(link).resolve()))
        moved[0].write(2, "written at the destination")

    flows.migrate(play.domain, play.host2, disk, move=move)
    assert play.on_hosts(disk.id) == {2}
    texts = [moved[0].read(place) for place in range(3)]
    assert texts == ["written at the source", "last words", "written at the destination"]
    moved[0].write(3, "life goes on")
    play.stop(disk, moved[0])
    assert play.reads(disk, *texts, "life goes on")
    flows.delete_disk(play.domain, disk)


@pytest.mark.parametrize("query", ["Volume", "VolumesReassignWait", "the move itself"])
def test_migration_that_fails(play: Play, query: str) -> None:
    """3.8 a to d, T69: it fails at connect, at attach or on the way: the source runs on and alone
    has the disks."""
    disks = [flows.create_disk(play.domain, 1) for _ in range(1 if "move" in query else 2)]
    guests = [
        play.guest(play.host1, device) for device in flows.run_vm(play.domain, play.host1, *disks)
    ]

    def move() -> None:
        raise InterruptedError

    if query.startswith("V"):
        # The first disk comes over; the second fails.
        flows.start_migration(play.domain, play.host2, disks[0])
        play.cluster.inject("error_200", query=query, name="invalidParam")
        with pytest.raises((VerbFailed, vdsm.VdsmError)):
            flows.migrate(play.domain, play.host2, disks[1], move=move)
        flows.fail_migration(play.domain, *disks)
    else:
        with pytest.raises(InterruptedError):
            flows.migrate(play.domain, play.host2, *disks, move=move)
    for number, (disk, guest) in enumerate(zip(disks, guests)):
        assert play.on_hosts(disk.id) == {1}
        guest.write(0, f"disk {number} goes on")
        assert guest.read(0) == f"disk {number} goes on"
        guest.stop()
    flows.stop_vm(play.domain, *disks)
    for disk in disks:
        flows.delete_disk(play.domain, disk)


def test_migration_that_engine_takes_for_a_success(play: Play, tmp_path: Path) -> None:
    """3.8 f: the VM is still at the source when Engine detaches it there: the open device stays,
    and loses nothing."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    flows.start_migration(play.domain, play.host2, disk)
    play.fails_to_finish_migration(disk, tmp_path)
    guest.write(0, "still at the source")
    assert guest.read(0) == "still at the source"
    guest.stop()
    play.host1.detach_volume(play.domain.id, disk.active)
    flows.stop_vm(play.domain, disk)
    assert play.reads(disk, "still at the source")
    flows.delete_disk(play.domain, disk)


# Leaks that a delete meets (3.6, 3.9, 3.17)


def test_a_disk_removed_from_a_running_vm(play: Play) -> None:
    """3.6, T9: Engine tells nobody: an open device keeps the disk whole; once the guest let it go,
    the disk goes."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "not yet")
    flows.remove_from_running_vm(disk)
    with pytest.raises(VerbFailed, match="is open at client 1"):
        flows.delete_disk(play.domain, disk)
    assert guest.read(0) == "not yet"
    guest.write(1, "works")
    guest.stop()
    flows.delete_disk(play.domain, disk)


def test_a_host_reboots_with_stale_rows(play: Play) -> None:
    """3.17, 8.19: the VM went on elsewhere; the host comes back with its old row and takes the disk
    again."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before the crash")
    guest.stop()
    play.host1.reboot()
    item = {
        "volume": f"~{volumes(play.cluster)[disk.id]['globalId']}",
        "detach": [1],
        "force": True,
    }
    post(
        play.cluster, "VolumesReassign", [item]
    )  # what fences a host; here nobody has the device open
    guest = play.start(disk, play.host2)
    guest.write(1, "after it")
    play.stop(disk, guest)
    assert disk.id in play.host1.rows
    guest = play.start(disk, play.host1)
    assert (guest.read(0), guest.read(1)) == ("before the crash", "after it")
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


def test_storpool_restarts_in_the_middle(play: Play) -> None:
    """A power cut of the management: attached volumes, snapshots and data are there, and every flow
    goes on."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before")
    snapshot = flows.create_snapshot(play.domain, disk)
    guest.write(0, "after")
    guest.stop()
    before = state(play.cluster)
    play.cluster.kill()
    play.cluster.start()
    assert state(play.cluster) == before
    device = play.host1.local(f"{vdsm.RUN_FOLDER}/{play.domain.id}_{disk.id}").resolve()
    guest = Guest(device)
    assert guest.read(0) == "after"
    play.stop(disk, guest)
    flows.preview(play.domain, disk, snapshot)
    assert play.reads(disk, "before")
    flows.undo_preview(play.domain, disk)
    flows.delete_disk(play.domain, disk)


# Clone and copy (3.14, 3.15)


def test_clone_template_and_vm_from_template(play: Play) -> None:
    """3.14: a VM's disk, a template of it, a VM from that, and a clone of a snapshot: each is a
    disk of its own."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "golden")
    snapshot = flows.create_snapshot(play.domain, disk)
    guest.write(0, "changed")
    play.stop(disk, guest)
    template = flows.clone_disk(play.domain, disk)
    child = flows.clone_disk(play.domain, template)
    old = flows.clone_disk(play.domain, disk, snapshot)
    guest = play.start(child, play.host1)
    guest.write(1, "the child's own")
    play.stop(child, guest)
    assert play.reads(template, "changed", "")
    flows.delete_disk(play.domain, template)
    flows.delete_disk(play.domain, disk)
    assert play.reads(child, "changed", "the child's own")
    assert play.reads(old, "golden")
    for each in (child, old):
        assert play.nodes(each) == {each.id}
        flows.delete_disk(play.domain, each)


def test_copy_in_and_out(play: Play) -> None:
    """3.15: a disk comes from another kind of storage and goes to it; a copy that fails leaves
    nothing."""
    found: list[str] = []

    def write(device: dict[str, Any]) -> None:
        guest = Guest(play.host1.local(device["path"]))
        guest.write(0, "from elsewhere")
        guest.stop()

    def fail(_device: dict[str, Any]) -> None:
        raise InterruptedError

    disk = flows.copy_in(play.domain, play.host1, 1, write)
    assert play.on_hosts(disk.id) == set()
    flows.copy_out(
        play.domain,
        play.host2,
        disk,
        lambda device: found.append(told(read(play.host2.local(device["path"]), PIECE))),
    )
    assert found == ["from elsewhere"]
    assert play.on_hosts(disk.id) == set()
    before = state(play.cluster)
    with pytest.raises(InterruptedError):
        flows.copy_in(play.domain, play.host1, 1, fail)
    assert state(play.cluster) == before
    flows.delete_disk(play.domain, disk)
