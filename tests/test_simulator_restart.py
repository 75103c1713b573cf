"""What survives: a clean restart, SIGKILL under load, a death between data and rows; and whether all indexes hold."""

from __future__ import annotations

import dataclasses
import http.client
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulator_fixtures import GIB, LIMIT_SECONDS, TOKEN, Caller, RefusedError, world

from storpool_ovirt.simulator import calls, catalog, errors, storage

READS = (
    "VolumesList", "SnapshotsList", "AttachmentsList", "VolumeTemplatesList", "VolumeTemplatesStatus", "KV",
    "KV/List/b", "VolumesSpace", "SnapshotsSpace", "VolumesGetStatus",
)  # fmt: skip


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Names, ids, tags, the tree, attachments, pending deletes, templates, buckets, clock: all as before."""
    with world(tmp_path, cluster_id="ab.c", cluster_name="one", switches={"linger": "1000"}) as peer:
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
    with world(tmp_path, switches={"linger": "1000"}) as peer:
        assert {query: peer.get(query) for query in READS} == before
        assert peer.control("GET", "clock") == clock
        assert peer.simulator.cluster.generation > generation
        assert peer.read(1, v, 4) == b"data"
        assert peer.device(2, peer.shot("s")["globalId"]).exists()
        assert peer.create("new") not in {one["globalId"] for one in before["VolumesList"] + before["SnapshotsList"]}
        peer.control("POST", "clock", {"advance": 600})
        assert "*doomed" not in peer.names()


def test_a_deleted_number_is_not_used_again_after_a_restart(tmp_path: Path) -> None:
    """Also the id of a volume that was deleted before the restart is never given out again [sptypes]."""
    with world(tmp_path) as peer:
        first = peer.create("v")
        peer.post("VolumeDelete/v")
    with world(tmp_path) as peer:
        assert peer.create("v") != first


def test_hosts_and_templates_are_those_of_this_start(tmp_path: Path) -> None:
    """Templates stay and take a new capacity; a host that is not named any more is down and keeps its attachments."""
    with world(tmp_path) as peer:
        peer.create("v", template="hdd")
        peer.reassign({"volume": "v", "rw": [1, 2]})
    with world(tmp_path, templates={"nvme": 5 * GIB}, hosts={2: tmp_path / "host2"}) as peer:
        capacities = {one["name"]: one["stored"]["capacity"] for one in peer.get("VolumeTemplatesStatus")}
        assert capacities == {"nvme": 5 * GIB, "hdd": 100 << 40}
        clients = {one["id"]: one["configStatus"] for one in peer.get("ClientsConfigDump")}
        assert clients == {1: "down", 2: "ok", 7: "down"}
        assert peer.attached() == {("v", 1, "rw"), ("v", 2, "rw")}


def test_the_data_of_an_unfinished_create_is_removed(tmp_path: Path) -> None:
    """A data file without a row, of a create that was never acknowledged, is gone after the start."""
    with world(tmp_path) as peer:
        peer.create("v")
        files = peer.simulator.cluster.files
        files.create("sim.a.zzz", GIB)
    with world(tmp_path):
        assert not files.path("sim.a.zzz").exists()


def test_the_size_of_an_unfinished_resize_is_healed(tmp_path: Path) -> None:
    """A data file that is longer than its row says is cut: the growth was never acknowledged."""
    with world(tmp_path) as peer:
        v = peer.create("v")
        files = peer.simulator.cluster.files
        files.resize(v, 2 * GIB)
    with world(tmp_path):
        assert files.path(v).stat().st_size == GIB


class _Dying(storage.Storage):
    """A storage that dies in the middle of an overwrite."""

    def overwrite(self, source_id: str, target_id: str, size_bytes: int) -> None:
        with self.path(target_id).open("r+b") as target:
            target.write(b"half")
        raise OSError(source_id, size_bytes)


def test_an_unfinished_revert_is_finished(tmp_path: Path) -> None:
    """A revert that dies while it copies is finished by the next start: no mixture of old and new data is left."""
    with world(tmp_path) as peer:
        v = peer.create("v")
        peer.reassign({"volume": "v", "rw": [1]})
        peer.write(1, v, b"good data")
        peer.snapshot("v", "s")
        peer.write(1, v, b"other bad")
        peer.simulator.cluster.files = _Dying(tmp_path / "state" / "data")
        with pytest.raises(RefusedError, match="internalError"):
            peer.post("VolumeRevert/v", {"toSnapshot": "s"})
    with world(tmp_path) as peer:
        assert peer.read(1, v, 9) == b"good data"


def test_a_failed_write_of_the_rows_takes_all_back(tmp_path: Path) -> None:
    """When a change cannot be written down, rows, files and devices are as before."""
    with world(tmp_path) as peer:
        v = peer.create("v")
        before = {query: peer.get(query) for query in READS if query != "KV/List/b"}
        with sqlite3.connect(tmp_path / "state" / "cluster.sqlite") as base:
            base.execute("create trigger refuse before insert on row begin select raise(abort, 'full'); end")
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
    """A simulator that is killed while it creates has lost nothing that it acknowledged, and made nothing twice."""
    acknowledged: dict[str, str] = {}
    for number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "storpool_ovirt.simulator", "--token", TOKEN, "--state", str(tmp_path / "state"),
             "--devices", "file", "--host", f"1={tmp_path / 'host1'}"],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            _check_acknowledged(Caller(ready["host"], ready["port"]), acknowledged)
            enough = threading.Event()
            with ThreadPoolExecutor(8) as threads:
                for worker in range(8):
                    threads.submit(_load, ready, f"r{number}w{worker}", acknowledged, enough)
                assert enough.wait(LIMIT_SECONDS)
                process.kill()
        finally:
            process.kill()
            process.communicate()
    with world(tmp_path, hosts={1: tmp_path / "host1"}) as peer:
        _check_acknowledged(peer, acknowledged)
        rows = peer.simulator.cluster.catalog.entries.rows
        assert set(peer.simulator.cluster.files.ids()) == {one.global_id for one in rows.values() if not one.transient}


def _load(ready: dict[str, Any], prefix: str, acknowledged: dict[str, str], enough: threading.Event) -> None:
    peer = Caller(ready["host"], ready["port"])
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


KEYS = st.sampled_from(["a", "b", "c", "d"])


class Tree(RuleBasedStateMachine):
    """Random calls on few names, so that they meet: after each, rows, indexes, sums, files and disk must agree."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._base = folder / "state" / "cluster.sqlite"
        running = self._stack.enter_context(world(folder, switches={"linger": "10"}))
        self.cluster = running.simulator.cluster
        self.ids: set[str] = set()
        self.content: dict[str, bytes] = {}

    def teardown(self) -> None:
        """Stop the simulator."""
        self._stack.close()

    def call(self, query: str, *args: str, body: Any = None) -> dict[str, Any] | None:
        """Make a call; None when it is refused, which must change nothing."""
        self.cluster.tend()
        before = dict(self.cluster.catalog.entries.rows), dict(self.cluster.catalog.attachments.rows)
        try:
            call = calls.Call(query, self.cluster, args, body, multi_cluster=False)
            data: dict[str, Any] = calls.answer(calls.TABLE[query], call)
        except errors.ApiError:
            assert before == (self.cluster.catalog.entries.rows, self.cluster.catalog.attachments.rows)
            return None
        for key in ("globalId", "snapshotGlobalId"):
            if key in data:
                assert data[key] not in self.ids, "an id was used again"
                self.ids.add(data[key])
        return data

    @rule(name=KEYS, size=st.integers(1, 4), template=st.sampled_from(["nvme", "hdd", None]))
    def create(self, name: str, size: int, template: str | None) -> None:
        """A new volume reads zeros."""
        body = {"name": name, "size": size * 4096, **({"template": template} if template else {})}
        data = self.call("VolumeCreate", body=body)
        if data:
            self.content[data["globalId"]] = bytes(4)

    @rule(name=st.sampled_from(["a", "b", "c", "d", ""]), source=KEYS, kind=st.sampled_from(["parent", "baseOn"]))
    def derive(self, name: str, source: str, kind: str) -> None:
        """A clone has the source's content."""
        data = self.call("VolumeCreate", body={"name": name, kind: source})
        if data:
            found = self.cluster.catalog.find(source)
            assert found is not None
            self.content[data["globalId"]] = self.content[found.global_id]

    @rule(volume=KEYS, name=st.sampled_from(["a", "b", "c", "d", ""]), bind=st.booleans())
    def snapshot(self, volume: str, name: str, bind: bool) -> None:
        """A snapshot has the volume's content."""
        data = self.call("VolumeSnapshot", volume, body={"name": name, "bind": bind})
        if data:
            found = self.cluster.catalog.find(volume)
            assert found is not None
            self.content[data["snapshotGlobalId"]] = self.content[found.global_id]

    @rule(volume=KEYS, other=KEYS)
    def group(self, volume: str, other: str) -> None:
        """A group snapshot has all contents or is not made."""
        data = self.call("VolumesGroupSnapshot", body={"volumes": [{"volume": volume}, {"volume": other}]})
        for one in data["snapshots"] if data else ():
            self.content[one["snapshotGlobalId"]] = self.content[one["volumeGlobalId"]]

    @rule(volume=KEYS, snapshot=KEYS, size=st.booleans())
    def revert(self, volume: str, snapshot: str, size: bool) -> None:
        """A reverted volume has the snapshot's content."""
        if self.call("VolumeRevert", volume, body={"toSnapshot": snapshot, "revertSize": size}):
            source, target = self.cluster.catalog.find(snapshot), self.cluster.catalog.find(volume)
            assert source is not None
            assert target is not None
            self.content[target.global_id] = self.content[source.global_id]

    @rule(volume=KEYS, data=st.binary(min_size=4, max_size=4))
    def write(self, volume: str, data: bytes) -> None:
        """A host writes."""
        found = self.cluster.catalog.find(volume)
        if found is not None and not found.snapshot:
            with self.cluster.files.path(found.global_id).open("r+b") as file:
                file.write(data)
            self.content[found.global_id] = data

    @rule(volume=KEYS, change=st.sampled_from([{"size": 8192}, {"sizeAdd": 512}, {"rename": "a"}, {"rename": ""}]))
    def update(self, volume: str, change: dict[str, Any]) -> None:
        """Another size or name."""
        self.call("VolumeUpdate", volume, body=change)

    @rule(key=KEYS, query=st.sampled_from(["VolumeDelete", "VolumeFreeze", "SnapshotDelete"]))
    def end(self, key: str, query: str) -> None:
        """The end of a volume, of a snapshot."""
        self.call(query, key)

    @rule(key=KEYS, parent=KEYS, query=st.sampled_from(["VolumeRebase", "SnapshotRebase"]))
    def rebase(self, key: str, parent: str, query: str) -> None:
        """Another parent."""
        self.call(query, key, body={"parentName": parent} if key != parent else {})

    @rule(key=KEYS, kind=st.sampled_from(["volume", "snapshot"]), item=st.sampled_from(
        [{"rw": [1]}, {"ro": [2]}, {"detach": "all"}, {"detach": [1], "rw": [2], "force": True}]))  # fmt: skip
    def reassign(self, key: str, kind: str, item: dict[str, Any]) -> None:
        """Attach and detach."""
        self.call("VolumesReassignWait", body={"reassign": [{kind: key, **item}]})

    @rule(seconds=st.sampled_from([1, 20]))
    def wait(self, seconds: int) -> None:
        """Time passes: what is deleted vanishes."""
        self.cluster.advance(seconds)

    @rule(template=st.sampled_from(["nvme", "hdd"]))
    @precondition(lambda self: len(self.ids) > 3)
    def propagate(self, template: str) -> None:
        """A template reaches its volumes."""
        self.call("VolumeTemplateUpdate", template, body={"iops": len(self.ids), "propagate": True})

    @invariant()
    def indexes_agree_with_rows(self) -> None:
        """A catalog that is built anew from the rows has the same indexes and sums."""
        ours, fresh = self.cluster.catalog, catalog.Catalog()
        for name in ("templates", "clients", "entries", "attachments"):
            for row in sorted(getattr(ours, name), key=lambda row: getattr(row, "number", 0)):
                getattr(fresh, name).load(row)
        for entry in ours.entries:
            if entry.name is not None:
                assert ours.find(entry.name) == fresh.find(entry.name) == entry
            assert {one.global_id for one in ours.children(entry.global_id)} == {
                one.global_id for one in fresh.children(entry.global_id)
            }
            assert ours.attached(entry.global_id) == fresh.attached(entry.global_id)
        for template_id in (0, *ours.templates.rows):
            assert ours.tally(template_id) == fresh.tally(template_id)

    @invariant()
    def the_disk_agrees_with_rows(self) -> None:
        """Every row is written down as it is, and there is a data file of the right size for each, and no other."""
        rows = self.cluster.catalog.entries.rows
        base = sqlite3.connect(self._base)
        values = base.execute("select key, value from row where kind = 'entry'")
        written = {key: json.loads(value) for key, value in values}
        base.close()
        assert written == {key: dataclasses.asdict(row) for key, row in rows.items()}
        files = self.cluster.files
        with_data = {key: row for key, row in rows.items() if not row.transient}
        assert set(files.ids()) == set(with_data)
        for key, row in with_data.items():
            assert files.path(key).stat().st_size == row.size_bytes
            with files.path(key).open("rb") as file:
                assert file.read(4) == self.content[key][: row.size_bytes]


TestTree = Tree.TestCase
TestTree.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


