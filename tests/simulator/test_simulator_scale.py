"""Many objects: a start, single calls and lists beside each other, and what a list shows."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import GIB, TOKEN, Peer, opened_peer

from storpool_simulator.api.application import WHOLE
from storpool_simulator.errors import StartError
from storpool_simulator.model import population
from storpool_simulator.model.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISKS = 4_000  # each with two snapshots
LISTS = ("VolumesList", "SnapshotsList", "VolumesSpace", "SnapshotsSpace", "VolumesGetStatus")
LISTS += ("VolumesGetStatusQuick", "VolumesAndSnapshotsList", "AttachmentsList")


def plant(folder: Path, disks: int) -> None:
    """Write the state of a cluster with so many volumes, twice as many snapshots, attachments."""
    with population.planted(folder / "state", templates={"nvme": None}) as planted:
        for number in range(disks):
            names = [f"s{number}-{age}" for age in (1, 2)]
            tags = {"virt": "ovirt", "n": str(number)}
            made = planted.disk(f"d{number}", GIB, "nvme", snapshots=names, tags=tags)
            if number < 100:
                planted.attach(made[0], 1 + number % 2)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A simulator that holds many objects."""
    folder = tmp_path_factory.mktemp("crowded")
    plant(folder, DISKS)
    with opened_peer(folder, templates={}) as peer:
        yield peer


def test_a_planted_cluster_is_like_any_other(tmp_path: Path) -> None:
    """What is planted is what the API would have made of the same calls: every list shows the same,
    and the cluster goes on with new ids, sums and deletes."""
    shown: list[dict[str, Any]] = []
    with opened_peer(tmp_path / "made", templates={"nvme": None}, hosts={}) as peer:
        peer.simulator.set_client(1, running=True)
        peer.create("d0", template="nvme", tags={"a": "b"})
        peer.snapshot("d0", "s1", tags={"a": "b"})
        peer.snapshot("d0", "s2", tags={"a": "b"})
        peer.reassign({"volume": "d0", "rw": [1]})
        shown.append({query: peer.get(query) for query in LISTS})
    state = tmp_path / "planted" / "state"
    with population.planted(state, templates={"nvme": None}) as planted:
        made = planted.disk("d0", GIB, "nvme", snapshots=["s1", "s2"], tags={"a": "b"})
        planted.attach(made[0], 1)
    with opened_peer(tmp_path / "planted", templates={}, hosts={}) as peer:
        shown.append({query: peer.get(query) for query in LISTS})
        assert peer.create("e", template="nvme") not in {one.global_id for one in made}
        (status,) = peer.get("VolumeTemplatesStatus")
        assert (status["volumesCount"], status["snapshotsCount"]) == (2, 2)
    for one in shown:
        for rows in one.values():
            for row in rows["volumes"] if isinstance(rows, dict) and "volumes" in rows else rows:
                if isinstance(row, dict):
                    row.pop("creationTimestamp", None)
        for row in (*one["VolumesGetStatus"].values(), *one["VolumesGetStatusQuick"].values()):
            row.pop("creationTimestamp")
    assert shown[0] == shown[1]


def test_planting_goes_on_where_it_was(tmp_path: Path) -> None:
    """A second planting into the same folder has new ids and positions; a running simulator's
    folder is refused."""
    for turn in range(2):
        with population.planted(tmp_path / "state", templates={"nvme": None}) as planted:
            planted.attach(planted.disk(f"d{turn}", GIB, "nvme")[0], 1, read_only=True)
    with opened_peer(tmp_path, templates={}) as peer:
        assert {(one["name"], one["globalId"]) for one in peer.get("VolumesList")} == {
            ("d0", "sim.a.2"),
            ("d1", "sim.a.3"),
        }
        found = {(one["volume"], one["pos"], one["rights"]) for one in peer.get("AttachmentsList")}
        assert found == {("d0", 0, "ro"), ("d1", 1, "ro")}
        with (
            pytest.raises(StartError, match="in use"),
            population.planted(tmp_path / "state", templates={}),
        ):
            pass


def test_a_restart_with_many_objects_shows_the_same(tmp_path: Path) -> None:
    """Every list is after a restart as it was before, with changes made in between starts."""
    plant(tmp_path, 500)
    with opened_peer(tmp_path, templates={}) as peer:
        peer.post("VolumeDelete/d400")
        peer.post("SnapshotUpdate/s7-1", {"rename": "other"})
        peer.create("new", template="nvme")
        before = {query: peer.get(query) for query in LISTS}
        assert len(before["VolumesList"]) == 500
        assert len(before["SnapshotsList"]) == 1000
    with opened_peer(tmp_path, templates={}) as peer:
        assert {query: peer.get(query) for query in LISTS} == before


@pytest.mark.parametrize("order", ["created", "reversed"])
@pytest.mark.parametrize("is_gone", [False, True], ids=["there", "gone"])
def test_a_long_chain_is_gone_along_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, is_gone: bool
) -> None:
    """A list of all snapshots of one volume takes so many steps as there are snapshots, also where
    the volume that they were made of is gone and a clone stands on them."""
    count, steps = 500, []
    with population.planted(tmp_path / "state", templates={"nvme": None}) as planted:
        planted.disk("d", GIB, "nvme", snapshots=[f"s{age}" for age in range(count)])
    with opened_peer(tmp_path, templates={}, switches={"list_order": order}) as peer:
        if is_gone:
            peer.create("clone", parent=f"s{count - 1}")
            peer.post("VolumeDelete/d")
        walk = Cluster.parent
        monkeypatch.setattr(Cluster, "parent", lambda *args: steps.append(1) or walk(*args))
        shown = peer.get("SnapshotsList")
        assert {one["onVolume"] for one in shown} == {"clone" if is_gone else "d"}
        assert len(shown) == count < len(steps) < 5 * count


def test_a_long_reply_ends_with_the_connection(crowded: Peer) -> None:
    """A long list is sent while it is made, without its length, as HTTP/1.0 allows; a short reply
    tells its length."""
    long, short = (crowded.raw("GET", f"/ctrl/1.0/{one}") for one in ("VolumesList", "Volume/d1"))
    assert len(long.text) > WHOLE > len(short.text)
    assert "Content-Length" not in long.headers
    assert int(short.headers["Content-Length"]) == len(short.text)
    assert [one["name"] for one in long.json["data"]] == [f"d{n}" for n in range(DISKS)]
    assert long.json["data"][1] == short.json["data"][0]


@contextlib.contextmanager
def slow_reader(peer: Peer, query: str) -> Iterator[socket.socket]:
    """A client that has asked for a list and has read only its beginning."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((peer.host, peer.port))
        request = f"GET /ctrl/1.0/{query} HTTP/1.0\r\nAuthorization: Storpool v1:{TOKEN}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(1) == b"H"
        yield connection


def rest(connection: socket.socket) -> Any:
    """The reply that a slow reader reads to its end."""
    parts = []
    while True:
        part = connection.recv(1 << 16)
        if not part:
            break
        parts.append(part)
    return json.loads(b"".join(parts).partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "query", [*(one for one in LISTS if one != "AttachmentsList"), "VolumeBalancerVolumesStatus"]
)
def test_a_list_is_of_the_moment_of_its_call(crowded: Peer, query: str) -> None:
    """While a client reads a list slowly, others change the cluster without waiting for it; what it
    reads is of the moment of its call, generation and all."""
    before = crowded.raw("GET", f"/ctrl/1.0/{query}").json
    with slow_reader(crowded, query) as connection:
        new = crowded.create(f"new-{query}", template="nvme", tags={"n": "new"})
        crowded.post("VolumeUpdate/d3999", {"tags": {"n": query}})
        crowded.post("SnapshotUpdate/s3998-1", {"tags": {"n": query}})
        crowded.post("VolumeDelete/d3997")
        crowded.post(f"VolumeDelete/~{new}")
        assert rest(connection) == before
    assert crowded.raw("GET", f"/ctrl/1.0/{query}").json != before
    crowded.post("VolumeCreate", {"name": "d3997", "parent": "s3997-2"})


def test_a_reader_that_goes_away_is_forgotten(crowded: Peer) -> None:
    """A client that closes its connection in the middle of a list leaves nothing behind: no picture
    is kept for it."""
    watchers = crowded.simulator.cluster.catalog.journal.watchers
    with slow_reader(crowded, "VolumesGetStatus"):  # more than the kernel takes in
        assert watchers() == 1
    end = time.monotonic() + 10
    while watchers() and time.monotonic() < end:
        crowded.get("Volume/d1")
    assert watchers() == 0


def test_lists_and_changes_at_once(crowded: Peer) -> None:
    """Lists that are read while volumes come and go have each volume once, none that was never
    there, and all that were there all the time."""
    stop, failures = threading.Event(), list[str]()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            crowded.create(f"passing{number}", template="nvme")
            crowded.post(f"VolumeUpdate/passing{number}", {"rename": f"gone{number}"})
            crowded.post(f"VolumeDelete/gone{number}")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(4):
            names = [one["name"] for one in crowded.get("VolumesList")]
            passing = [name for name in names if name.startswith(("passing", "gone"))]
            staying = [name for name in names if name.startswith("d")]
            if len(set(names)) != len(names) or len(staying) != DISKS or len(passing) > 1:
                failures.append(f"{len(names)} {len(staying)} {passing}")
    finally:
        stop.set()
        changing.join()
    assert failures == []


def test_an_instance_that_lags_is_as_fast_with_many_objects(crowded: Peer) -> None:
    """What a picture of some changes ago costs does not grow with the objects: none is copied."""
    cluster = crowded.simulator.cluster
    for number in range(3):
        crowded.post("VolumeUpdate/d5", {"tags": {"turn": str(number)}})
    gc.collect()
    began, objects = time.process_time(), len(gc.get_objects())
    pictures = [cluster.as_it_was(2) for _ in range(100)]
    spent, more = time.process_time() - began, len(gc.get_objects()) - objects
    assert pictures[0].catalog.volume("d5").tags["turn"] == "0"
    assert more < 100 * DISKS / 10
    assert spent < 2
