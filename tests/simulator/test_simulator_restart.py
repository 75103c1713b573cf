"""What survives: a clean restart, SIGKILL under load, a death between data and rows."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulator_fixtures import GIB, LIMIT_SECONDS, TOKEN, Caller, RefusedError, opened_peer

from storpool_simulator.devices import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

READS = tuple(
    (
        "VolumesList SnapshotsList AttachmentsList VolumeTemplatesList VolumeTemplatesStatus KV "
        "KV/List/b VolumesSpace SnapshotsSpace VolumesGetStatus"
    ).split()
)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Names, ids, tags, the tree, attachments, pending deletes, templates, buckets, clock: all as
    before."""
    with opened_peer(
        tmp_path, cluster_id="ab.c", cluster_name="one", switches={"linger": "1000"}
    ) as peer:
        v = peer.create("v", template="nvme", tags={"a": "b"}, iops=7)
        peer.snapshot("v", "s", deleteAfter=5000)
        peer.snapshot("v", "doomed")
        peer.post("SnapshotDelete/doomed")
        peer.post("VolumeCreate", {"baseOn": "v"})
        peer.post("VolumeTemplateCreate", {"name": "third", "size": GIB, "parent": "s"})
        peer.post("KV/Create/b")
        peer.post("KV/Set/b", {"set": {"k": "v"}})
        peer.reassign({"volume": "v", "rw": [1]}, {"snapshot": "s", "ro": [2]})
        peer.write(1, v, b"data")
        peer.control("POST", "clock", {"advance": 500})
        before = {query: peer.get(query) for query in READS}
        clock, generation = peer.control("GET", "clock"), peer.simulator.cluster.generation
    with opened_peer(tmp_path, switches={"linger": "1000"}) as peer:
        assert {query: peer.get(query) for query in READS} == before
        assert peer.control("GET", "clock") == clock
        assert peer.simulator.cluster.generation > generation
        assert peer.read(1, v, 4) == b"data"
        assert peer.device(2, peer.shot("s")["globalId"]).exists()
        assert peer.create("new") not in {
            one["globalId"] for one in before["VolumesList"] + before["SnapshotsList"]
        }
        peer.control("POST", "clock", {"advance": 600})
        assert "*doomed" not in peer.names()


def test_a_deleted_number_is_not_used_again_after_a_restart(tmp_path: Path) -> None:
    """Also the id of a volume that was deleted before the restart is never given out again
    [sptypes]."""
    with opened_peer(tmp_path) as peer:
        first = peer.create("v")
        peer.post("VolumeDelete/v")
    with opened_peer(tmp_path) as peer:
        assert peer.create("v") != first


def test_hosts_and_templates_are_those_of_this_start(tmp_path: Path) -> None:
    """Templates stay and take a new capacity; a host that is not named any more is down and keeps
    its attachments."""
    with opened_peer(tmp_path) as peer:
        peer.create("v", template="hdd")
        peer.reassign({"volume": "v", "rw": [1, 2]})
    with opened_peer(tmp_path, templates={"nvme": 5 * GIB}, hosts={2: tmp_path / "host2"}) as peer:
        capacities = {
            one["name"]: one["stored"]["capacity"] for one in peer.get("VolumeTemplatesStatus")
        }
        assert capacities == {"nvme": 5 * GIB, "hdd": 100 << 40}
        clients = {one["id"]: one["configStatus"] for one in peer.get("ClientsConfigDump")}
        assert clients == {1: "down", 2: "ok", 7: "down"}
        assert peer.attached() == {("v", 1, "rw"), ("v", 2, "rw")}


def test_the_data_of_an_unfinished_create_is_removed(tmp_path: Path) -> None:
    """A data file without a row, of a create that was never acknowledged, is gone after the
    start."""
    with opened_peer(tmp_path) as peer:
        peer.create("v")
        files = peer.simulator.cluster.files
        files.create("sim.a.zzz", GIB)
    with opened_peer(tmp_path):
        assert not files.path("sim.a.zzz").exists()


def test_the_size_of_an_unfinished_resize_is_healed(tmp_path: Path) -> None:
    """A data file that is longer than its row says is cut: the growth was never acknowledged."""
    with opened_peer(tmp_path) as peer:
        v = peer.create("v")
        peer.reassign({"volume": "v", "rw": [1]})
        files = peer.simulator.cluster.files
        files.resize(v, 2 * GIB)
    with opened_peer(tmp_path):
        assert files.path(v).stat().st_size == GIB


class _Dying(storage.Storage):
    """A storage that dies in the middle of an overwrite."""

    def overwrite(self, source_id: str, target_id: str, size_bytes: int) -> None:
        with self.path(target_id).open("r+b") as target:
            target.write(b"half")
        raise OSError(source_id, size_bytes)


def test_an_unfinished_revert_is_finished(tmp_path: Path) -> None:
    """A revert that dies while it copies is finished by the next start: no mixture of old and new
    data is left."""
    with opened_peer(tmp_path) as peer:
        v = peer.create("v")
        peer.reassign({"volume": "v", "rw": [1]})
        peer.write(1, v, b"good data")
        peer.snapshot("v", "s")
        peer.write(1, v, b"other bad")
        peer.simulator.cluster.files = _Dying(tmp_path / "state" / "data")
        with pytest.raises(RefusedError, match="internalError"):
            peer.post("VolumeRevert/v", {"toSnapshot": "s"})
    with opened_peer(tmp_path) as peer:
        assert peer.read(1, v, 9) == b"good data"


def test_a_failed_write_of_the_rows_takes_all_back(tmp_path: Path) -> None:
    """When a change cannot be written down, rows, files and devices are as before."""
    with opened_peer(tmp_path) as peer:
        v = peer.create("v")
        before = {query: peer.get(query) for query in READS if query != "KV/List/b"}
        with sqlite3.connect(tmp_path / "state" / "cluster.sqlite") as base:
            base.execute(
                "create trigger refuse before insert on row begin select raise(abort, 'full'); end"
            )
        for query, body in (
            ("VolumeCreate", {"name": "w", "size": GIB}),
            ("VolumeSnapshot/v", {}),
            ("VolumeUpdate/v", {"size": 2 * GIB, "rename": "x"}),
            ("VolumesReassignWait", [{"volume": "v", "rw": [1]}]),
            ("VolumeDelete/v", {}),
        ):
            with pytest.raises(RefusedError, match="internalError"):
                peer.post(query, body)
        assert {query: peer.get(query) for query in before} == before
        assert list(peer.simulator.cluster.files.ids()) == [v]
        assert peer.simulator.cluster.files.path(v).stat().st_size == GIB
        assert not peer.device(1, v).exists()
        base.execute("drop trigger refuse")
        base.close()
        peer.create("w")


def test_sigkill_under_load(tmp_path: Path) -> None:
    """A simulator that is killed while it creates has lost nothing that it acknowledged, and made
    nothing twice."""
    acknowledged: dict[str, str] = {}
    options = ["--devices", "file", "--host", f"1={tmp_path / 'host1'}"]
    for number in range(3):
        with _command(tmp_path, *options) as (process, peer):
            _check_acknowledged(peer, acknowledged)
            enough = threading.Event()
            with ThreadPoolExecutor(8) as threads:
                for worker in range(8):
                    threads.submit(_load, peer, f"r{number}w{worker}", acknowledged, enough)
                assert enough.wait(LIMIT_SECONDS)
                process.kill()
    with opened_peer(tmp_path, hosts={1: tmp_path / "host1"}) as peer:
        _check_acknowledged(peer, acknowledged)
        rows = peer.simulator.cluster.catalog.entries.rows
        assert set(peer.simulator.cluster.files.ids()) == {
            one.global_id for one in rows.values() if one.has_file
        }


def test_guests_go_on_while_the_api_is_dead(tmp_path: Path) -> None:
    """After SIGKILL an open device goes on, as StorPool's kernel client does, and the next start
    knows it again."""
    options = ["--host", f"1={tmp_path / 'host1'}", "--devices", "loop"]
    with _command(tmp_path, *options) as (process, peer):
        if process.poll() is not None:
            pytest.skip("no loop devices here")
        v = peer.create("v")
        peer.reassign({"volume": "v", "rw": [1]})
        device = tmp_path / "host1" / "dev" / "storpool-byid" / v
        opened = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            process.kill()
            process.wait()
            os.pwrite(opened, b"while dead", 0)
            os.fsync(opened)
            with _command(tmp_path, *options) as (_, again):
                assert device.stat().st_rdev == os.fstat(opened).st_rdev
                with pytest.raises(RefusedError, match="is open at client 1"):
                    again.reassign({"volume": "v", "detach": [1]})
                os.pwrite(opened, b"once again", 4096)
                os.fsync(opened)
                again.snapshot("v", "s")
                again.reassign({"volume": "v", "detach": "all", "force": True})
                with pytest.raises(OSError, match="Input/output error"):
                    os.pread(opened, 512, 0)
                again.reassign({"snapshot": "s", "ro": [1]})
                found = device.with_name(again.shot("s")["globalId"]).open("rb", buffering=0)
                with found:
                    assert found.read(10) == b"while dead"
                    found.seek(4096)
                    assert found.read(10) == b"once again"
                again.reassign({"snapshot": "s", "detach": "all"})
        finally:
            os.close(opened)


@contextlib.contextmanager
def _command(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Caller]]:
    """The command as a process of its own; when it cannot start, it has ended."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "storpool_simulator",
            "--token",
            TOKEN,
            "--state",
            str(tmp_path / "state"),
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(LIMIT_SECONDS)
        ready = json.loads(line or '{"host": "", "port": 0}')
        yield process, Caller(ready["host"], ready["port"])
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT_SECONDS)


def _load(peer: Caller, prefix: str, acknowledged: dict[str, str], enough: threading.Event) -> None:
    try:
        for number in range(10_000):
            name = f"{prefix}n{number}"
            acknowledged[name] = peer.create(name, size=1 << 20)
            acknowledged[f"{name}s"] = peer.snapshot(name, f"{name}s")
            peer.reassign({"volume": name, "rw": [1]})
            if number == 5:
                enough.set()
    except (OSError, http.client.HTTPException):
        pass  # it was killed


def _check_acknowledged(peer: Caller, acknowledged: dict[str, str]) -> None:
    listed = peer.get("VolumesList") + peer.get("SnapshotsList")
    found = {one["name"]: one["globalId"] for one in listed}
    assert len(found) == len({one["globalId"] for one in listed}) == len(listed)
    assert {name: found.get(name) for name in acknowledged} == acknowledged
