"""The stage of Engine's flows: VMs with their disks open, real data, and a look at what the cluster
holds.

A pytest plugin, named in conftest.py behind shared_stage.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import behind, beside, clusters, helper_stage
from rigs.shared_stage import attached, post, read, snapshots, state, volumes
from rigs.stage_fixtures import Stage, make_stage
from storpool_ovirt import names

if TYPE_CHECKING:
    from ovirt_demo import vdsm
    from ovirt_demo.database import Database
    from ovirt_demo.flows import Disk

PIECE = 64 << 10
BOTH = pytest.mark.parametrize("play", ["loop", "file"], indirect=True)
"""On real block devices, and on the plain files that ordinary users get."""


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
        from ovirt_demo import flows

        [device] = flows.run_vm(self.domain, host, disk)
        return self.guest(host, device)

    def guest(self, host: vdsm.Host, device: dict[str, Any]) -> Guest:
        """Open the disk as QEMU does: by the run link, which is the same on every host."""
        return Guest(host.local(device["managed_path"]).resolve())

    def stop(self, disk: Disk, guest: Guest) -> None:
        """Stop the VM."""
        from ovirt_demo import flows

        guest.stop()
        flows.stop_vm(self.domain, disk)

    def fails_to_finish_migration(self, disk: Disk, folder: Path) -> None:
        """Have Engine take a migration from host 1 for done while the VM still runs there: both
        hosts keep the disk."""
        from ovirt_demo import flows, vdsm

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.host1, "helper_path", helper_stage.written(folder))
            with pytest.raises(vdsm.VdsmError, match="is open at client 1"):
                flows.finish_migration(self.domain, disk)
        assert self.on_hosts(disk.id) == {1, 2}

    def reads(self, disk: Disk, *places: str) -> bool:
        """Look at the disk's active volume on host 2, as an administrator would: whether it has
        these pieces."""
        volume = volumes(self.cluster)[disk.active]["globalId"]
        post(
            self.cluster, "VolumesReassignWait", {"reassign": [{"volume": f"~{volume}", "ro": [2]}]}
        )
        device = self.host2.local(f"/dev/storpool-byid/{volume}")
        found = tuple(told(read(device, PIECE, place * PIECE)) for place in range(len(places)))
        post(
            self.cluster,
            "VolumesReassignWait",
            {"reassign": [{"volume": f"~{volume}", "detach": [2]}]},
        )
        return found == places

    def nodes(self, disk: Disk) -> set[str]:
        """List the ids of what the cluster has of this disk: by its tags, as an audit would."""
        listed = [*volumes(self.cluster).values(), *snapshots(self.cluster).values()]
        tags = [names.with_long_uuid(dict(each["tags"])) for each in listed]
        return {
            each["ovirt-uuid"]
            for each in tags
            if disk.id in (each.get("ovirt-root"), each["ovirt-uuid"])
        }

    def on_hosts(self, image: str) -> set[int]:
        """List the clients that have this volume."""
        return {
            client
            for _, client, _ in attached(self.cluster, volumes(self.cluster)[image]["globalId"])
        }


@pytest.fixture(scope="module")
def plays(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_server: Database,
) -> Iterator[Callable[[str], Play]]:
    """Give one stage for each kind of devices, started when it is first asked for; "" is the best
    that there is."""
    from ovirt_demo import simulator

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
            process = running.enter_context(
                clusters.process(folder / "simulator", hosts, devices=kind)
            )
            database = database_server.fresh(f"flows_{kind}_{uuid.uuid4().hex[:8]}")
            running.callback(database.drop)
            made[kind] = Play(make_stage(folder, database, process, **beside.options(request)))
        return made[kind]

    with contextlib.ExitStack() as running:
        yield get


@pytest.fixture
def play(
    request: pytest.FixtureRequest, plays: Callable[[str], Play], instance: str
) -> Iterator[Play]:
    """Give the stage; whoever plays on it deletes the disks that he made, and nothing else may be
    left or gone. StorPool's services may be beside it (beside.py)."""
    from ovirt_demo import simulator

    try:
        play = plays(getattr(request, "param", ""))
    except simulator.NoStart as error:
        pytest.skip(str(error))
    before = state(play.cluster)
    behind.let_answer(play.cluster, instance)
    # What an instance that is behind lists is no moment to look at
    with contextlib.nullcontext() if instance else beside.playing(request, play.stage):
        yield play
    behind.let_answer(play.cluster, "")
    play.cluster.clear_faults()
    for host in (play.host1, play.host2):
        host.rows.clear()
        host.reboot()
    assert state(play.cluster) == before
    for host in (play.host1, play.host2):
        assert not [*host.local("/dev/storpool-byid").iterdir()]
