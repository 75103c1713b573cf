"""Engine's flows replayed step by step with real data: contract section 3, by the programs that Engine and Vdsm run.

A test says which flow it is.  After each the cluster must hold exactly what it held before: fixture `play`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helper_stage import HASTY
from shared_stage import GIB, attached, post, read, snapshots, state, volumes
from stage_fixtures import Stage, make_stage

from storpool_ovirt.demo import flows, simulator, vdsm
from storpool_ovirt.demo.database import Database
from storpool_ovirt.demo.engine import VerbFailed
from storpool_ovirt.demo.flows import Disk

PIECE = 64 << 10
BOTH = pytest.mark.parametrize("play", ["loop", "file"], indirect=True)
"""On real block devices and on the plain files that ordinary users get; other flows take what there is."""


class Guest:
    """A VM with its disk open: writes and reads pieces of data, each at its place."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self._descriptor = os.open(device, os.O_RDWR)

    def write(self, place: int, text: str) -> None:
        """Write a piece, down to the storage."""
        assert os.pwrite(self._descriptor, piece(text), place * PIECE) == PIECE
        os.fsync(self._descriptor)

    def read(self, place: int) -> str:
        """Read what piece there is; "" for zeros."""
        return told(read(self.device, PIECE, place * PIECE))

    def size_bytes(self) -> int:
        """Tell how large the disk is."""
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    def stop(self) -> None:
        """Close the disk."""
        os.close(self._descriptor)


def piece(text: str) -> bytes:
    """Make a piece of data of a text."""
    return (text.encode() + b"\n") * (PIECE // (len(text) + 1)) + b"\0" * (PIECE % (len(text) + 1))


def told(data: bytes) -> str:
    """Return the text of which this is the piece, whole; "" for zeros."""
    text = data.partition(b"\n")[0].strip(b"\0").decode()
    assert data == (piece(text) if text else bytes(PIECE)), "half of one piece and half of another"
    return text


class Play:
    """The stage with the steps that several flows have in common."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cluster = stage.simulator
        self.domain = stage.domain
        self.host1, self.host2 = stage.host1, stage.host2

    def start(self, disk: Disk, host: vdsm.Host) -> Guest:
        """Run a VM with this disk."""
        [device] = flows.run_vm(self.domain, host, disk)
        return self.guest(host, device)

    def guest(self, host: vdsm.Host, device: dict[str, Any]) -> Guest:
        """Open the disk as QEMU does: by the run link, which is the same on every host."""
        return Guest(host.local(device["managed_path"]).resolve())

    def stop(self, disk: Disk, guest: Guest) -> None:
        """Stop the VM."""
        guest.stop()
        flows.stop_vm(self.domain, disk)

    def reads(self, disk: Disk, *places: str) -> bool:
        """Run the disk's VM for a moment on host 2: whether it reads this, one piece after the other."""
        guest = self.start(disk, self.host2)
        found = tuple(guest.read(place) for place in range(len(places)))
        self.stop(disk, guest)
        return found == places

    def nodes(self, disk: Disk) -> set[str]:
        """List the ids of what the cluster has of this disk: by its tags, as an audit would."""
        listed = [*volumes(self.cluster).values(), *snapshots(self.cluster).values()]
        tags = [each["tags"] for each in listed]
        return {each["ovirt-uuid"] for each in tags if disk.id in (each.get("ovirt-root"), each["ovirt-uuid"])}

    def on_hosts(self, image: str) -> set[int]:
        """List the clients that have this volume."""
        return {client for _, client, _ in attached(self.cluster, volumes(self.cluster)[image]["globalId"])}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory, database_server: Database) -> Iterator[Callable[[str], Play]]:
    """Give one stage for each kind of devices, started when it is first asked for; "" is the best that there is."""
    made: dict[str, Play] = {}

    def get(kind: str) -> Play:
        if not kind:
            try:
                return get("loop")
            except simulator.NoStart:
                return get("file")
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            hosts = {number: folder / f"host{number}" for number in (1, 2)}
            process = running.enter_context(simulator.running(folder / "simulator", hosts, devices=kind))
            database = database_server.fresh(f"flows_{kind}_{uuid.uuid4().hex[:8]}")
            running.callback(database.drop)
            made[kind] = Play(make_stage(folder, database, process))
        return made[kind]

    with contextlib.ExitStack() as running:
        yield get


@pytest.fixture
def play(request: pytest.FixtureRequest, plays: Callable[[str], Play]) -> Iterator[Play]:
    """Give the stage; whoever plays on it deletes the disks that he made, and nothing else may be left or gone."""
    try:
        play = plays(getattr(request, "param", ""))
    except simulator.NoStart as error:
        pytest.skip(str(error))
    before = state(play.cluster)
    yield play
    play.cluster.clear_faults()
    for host in (play.host1, play.host2):
        host.rows.clear()
        host.reboot()
    assert state(play.cluster) == before
    for host in (play.host1, play.host2):
        assert not [*host.local("/dev/storpool-byid").iterdir()]


# Create, run, stop, plug (3.1 to 3.5)


@BOTH
def test_create_run_and_stop(play: Play) -> None:
    """3.1, 3.3, 3.4, T27: a new disk reads zeros; what a VM writes on one host it finds again on another."""
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
    """3.3, 3.4: the disks are attached and detached one after the other, and none is taken for another."""
    disks = [flows.create_disk(play.domain, 1) for _ in range(3)]
    devices = flows.run_vm(play.domain, play.host1, *disks)
    guests = [play.guest(play.host1, device) for device in devices]
    for number, guest in enumerate(guests):
        guest.write(0, f"disk {number}")
    assert [guest.read(0) for guest in guests] == ["disk 0", "disk 1", "disk 2"]
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
    """3.5: Engine names the wrong id, so the volume stays attached: no harm to other hosts, and the disk can go."""
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
    """3.4: the end of a VM is processed without a lock: it runs on host 2 before host 1 was detached, and goes on."""
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
    """3.7, T20, T38: the device of the running VM has the new size; old data stays and the new part reads zeros."""
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
    """3.7, 3.11: the verb names the disk, and the previewed volume that the VM uses is what grows."""
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
    """3.8, T69: both hosts have the volume while the guest moves; the source loses it, the running destination not."""
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
    """3.8 a to d, T69: it fails at connect, at attach or on the way: the source runs on and alone has the disks."""
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    guests = [play.guest(play.host1, device) for device in flows.run_vm(play.domain, play.host1, *disks)]

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
    """3.8 f: the VM is still at the source when Engine detaches it there: the open device stays, and loses nothing."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    flows.start_migration(play.domain, play.host2, disk)
    program = tmp_path / "hasty-helper"
    program.write_text(HASTY.format(python=sys.executable))
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play.host1, "helper_path", program)
        with pytest.raises(vdsm.VdsmError, match="is open at client 1"):
            flows.finish_migration(play.domain, disk)
    assert play.on_hosts(disk.id) == {1, 2}
    guest.write(0, "still at the source")
    assert guest.read(0) == "still at the source"
    guest.stop()
    play.host1.detach_volume(play.domain.id, disk.active)
    flows.stop_vm(play.domain, disk)
    assert play.reads(disk, "still at the source")
    flows.delete_disk(play.domain, disk)


# Snapshot, preview, undo, commit (3.10 to 3.12)


@BOTH
def test_preview_and_undo(play: Play) -> None:
    """3.10, 3.11: a snapshot of a running VM is one point in time; a preview shows it, an undo brings back the rest."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "one")
    snapshot = flows.create_snapshot(play.domain, disk)
    guest.write(0, "two")
    guest.write(1, "more")
    play.stop(disk, guest)
    preview = flows.preview(play.domain, disk, snapshot)
    assert play.nodes(disk) == {disk.id, snapshot, preview}
    guest = play.start(disk, play.host1)
    assert (guest.read(0), guest.read(1)) == ("one", "")
    guest.write(0, "lost by the undo")
    play.stop(disk, guest)
    flows.undo_preview(play.domain, disk)
    assert play.nodes(disk) == {disk.id, snapshot}
    assert play.reads(disk, "two", "more")
    flows.remove_snapshot(play.domain, disk, snapshot)
    assert play.reads(disk, "two", "more")
    flows.delete_disk(play.domain, disk)


def test_the_worked_sequence_of_previews_and_commits(play: Play) -> None:
    """3.12, T10, T37: two commits of one snapshot, with remove_snapshot of a volume; each node keeps its own data."""
    disk = flows.create_disk(play.domain, 1)

    def write(text: str) -> None:
        guest = play.start(disk, play.host1)
        guest.write(0, text)
        play.stop(disk, guest)

    write("one")
    first = flows.create_snapshot(play.domain, disk)
    write("two")
    second = flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    flows.undo_preview(play.domain, disk)
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, second}
    v2 = flows.preview(play.domain, disk, first)
    assert flows.commit_preview(play.domain, disk) == [second]
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, v2}
    assert play.reads(disk, "one")
    write("three")
    third = flows.create_snapshot(play.domain, disk)
    v3 = flows.preview(play.domain, disk, third)
    assert flows.commit_preview(play.domain, disk) == []
    assert play.reads(disk, "three")
    write("four")
    v4 = flows.preview(play.domain, disk, first)
    assert flows.commit_preview(play.domain, disk) == [v2]
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, third, v3, v4}
    assert play.reads(disk, "one")
    flows.remove_snapshot(play.domain, disk, first)
    assert play.nodes(disk) == {*disk.images} == {disk.id, third, v3, v4}
    clone = flows.clone_disk(play.domain, disk, third)
    assert play.reads(clone, "three")
    assert play.reads(disk, "one")
    flows.delete_disk(play.domain, disk)
    assert play.nodes(disk) == set()
    assert play.reads(clone, "three")
    flows.delete_disk(play.domain, clone)


def test_delete_in_the_middle_of_a_preview(play: Play) -> None:
    """3.13: a disk with snapshots of several volumes and an open preview goes by one verb that names the disk alone."""
    disk = flows.create_disk(play.domain, 1)
    first = flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    flows.commit_preview(play.domain, disk)
    flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    assert len(play.nodes(disk)) == 5
    guest = play.start(disk, play.host1)
    with pytest.raises(VerbFailed, match="is open at client 1"):
        flows.delete_disk(play.domain, disk)
    assert len(play.nodes(disk)) == 5
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)
    assert play.nodes(disk) == set()


# Leaks that a delete meets (3.6, 3.9, 3.17)


def test_a_disk_removed_from_a_running_vm(play: Play) -> None:
    """3.6, T9: Engine tells nobody: an open device keeps the disk whole; once the guest let it go, the disk goes."""
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
    """3.17, 8.19: the VM went on elsewhere; the host comes back with its old row and takes the disk again."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before the crash")
    guest.stop()
    play.host1.reboot()
    item = {"volume": f"~{volumes(play.cluster)[disk.id]['globalId']}", "detach": [1], "force": True}
    post(play.cluster, "VolumesReassign", [item])  # what fences a host; here nobody has the device open
    guest = play.start(disk, play.host2)
    guest.write(1, "after it")
    play.stop(disk, guest)
    assert disk.id in play.host1.rows
    guest = play.start(disk, play.host1)
    assert (guest.read(0), guest.read(1)) == ("before the crash", "after it")
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


def test_storpool_restarts_in_the_middle(play: Play) -> None:
    """A power cut of the management: attached volumes, snapshots and data are there, and every flow goes on."""
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
    """3.14: a VM's disk, a template of it, a VM from that, and a clone of a snapshot: each is a disk of its own."""
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
    """3.15: a disk comes from another kind of storage and goes to it; a copy that fails leaves nothing."""
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
        play.domain, play.host2, disk, lambda device: found.append(told(read(play.host2.local(device["path"]), PIECE)))
    )
    assert found == ["from elsewhere"]
    assert play.on_hosts(disk.id) == set()
    before = state(play.cluster)
    with pytest.raises(InterruptedError):
        flows.copy_in(play.domain, play.host1, 1, fail)
    assert state(play.cluster) == before
    flows.delete_disk(play.domain, disk)
