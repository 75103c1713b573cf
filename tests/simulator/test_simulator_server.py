"""HTTP: paths, token, envelope, kinds of connections, bodies; the control port; the command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from simulator_fixtures import LIMIT_SECONDS, TOKEN, Peer, RefusedError
from storpool import spapi

from storpool_simulator import switches
from storpool_simulator.api import calls, faults

pytestmark = pytest.mark.usefixtures("v")


@pytest.fixture
def peer_options() -> dict[str, Any]:
    """A cluster with an id and a name."""
    return {"cluster_id": "abcd.e", "cluster_name": "one"}


# requests and replies


def test_the_envelope(peer: Peer) -> None:
    """Data and generation on success, an error object and a status that is not 200 on failure
    [spapi] [cs]."""
    good = peer.raw("GET", "/ctrl/1.0/Volume/v")
    bad = peer.raw("GET", "/ctrl/1.0/Volume/w")
    assert (good.status, set(good.json)) == (200, {"generation", "data"})
    assert (bad.status, set(bad.json)) == (404, {"generation", "error"})
    assert set(bad.json["error"]) == {"name", "descr", "transient"}
    assert good.headers["Content-Type"] == "application/json"
    assert good.headers["Cache-control"] == "private"


def test_every_change_says_ok(peer: Peer) -> None:
    """The data of a POST has ok and the generation of the cluster after it [spapi] [addon]."""
    data = peer.post("VolumeUpdate/v", {"tags": {"a": "b"}})
    assert data == {"ok": True, "generation": peer.simulator.cluster.generation}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Storpool v1:x"},
        {"Authorization": TOKEN},
        {"Authorization": "Basic eDp5"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/ctrl/1.0/VolumesList", "/ctrl/1.0/Unknown", "/simulator/calls", "/"]
)
def test_a_wrong_token_is_refused(peer: Peer, headers: dict[str, str], path: str) -> None:
    """Nothing is answered without the token, the control port included [spapi]."""
    reply = peer.raw("GET", path, headers=headers)
    assert (reply.status, reply.json["error"]["name"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "path",
    [
        "MultiCluster/",
        "RemoteCommand/one/",
        "RemoteCommand/~abcd.e/",
        "RemoteCommand/%7Eabcd.e/",
        "RemoteCommand/one/MultiCluster/",
    ],
)
def test_all_forms_of_a_path(peer: Peer, path: str) -> None:
    """A query is served directly, as MultiCluster, and through the cluster's own name or id [spapi]
    [csi]."""
    assert peer.get(f"{path}Volume/v") != []
    assert ("clusterId" in peer.get(f"{path}Volume/v")[0]) == ("MultiCluster" in path)


def test_a_tilde_may_be_escaped(peer: Peer) -> None:
    """~gid is understood plain, as all clients send it, and as %7E [inf]."""
    global_id = peer.volume("v")["globalId"]
    assert peer.volume(f"~{global_id}") == peer.volume(f"%7E{global_id}")


def test_names_with_all_characters(peer: Peer) -> None:
    """A name may have every character of its pattern in a path [sptypes]."""
    peer.create("a:b.c-d_E")
    peer.post("VolumeSnapshot/a:b.c-d_E", {})
    (shot,) = peer.get("SnapshotsList")
    assert "@" in shot["name"]
    assert peer.shot(shot["name"])["globalId"] == shot["globalId"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Unknown", 404),
        ("GET", "", 404),
        ("POST", "VolumesList", 405),
        ("GET", "VolumeCreate", 405),
        ("GET", "Volume", 404),
        ("GET", "VolumesList/v", 404),
        ("POST", "MultiCluster/SnapshotRebase/s", 404),
        ("GET", "MultiCluster/DisksList", 404),
        ("GET", "MultiCluster/AllClusters/AttachmentsList", 404),
        ("PUT", "Volume/v", 405),
        ("GET", "KV/Nonsense/b", 404),
        ("GET", "RemoteCommand/one", 404),
    ],
)
def test_a_query_that_is_unknown(peer: Peer, method: str, path: str, status: int) -> None:
    """A query, method or form that the binding's table does not have is an error [spapi]."""
    reply = peer.raw(method, f"/ctrl/1.0/{path}")
    assert (reply.status, reply.json["error"]["name"]) == (status, "unknownQuery")


def test_an_unconnected_cluster(peer: Peer) -> None:
    """Only the cluster itself can be reached by RemoteCommand [spapi]."""
    with pytest.raises(RefusedError, match="elsewhere"):
        peer.get("RemoteCommand/elsewhere/VolumesList")


def test_all_clusters(peer: Peer) -> None:
    """MultiCluster/AllClusters/ wraps the replies of the clusters, for the six known queries
    [cs-up] [addon mc]."""
    for query in calls.ALL_CLUSTERS:
        data = peer.get(f"MultiCluster/AllClusters/{query}")
        (one,) = data["clusters"]
        assert isinstance(one["response"]["data"], dict if query == "ClustersList" else list)


@pytest.mark.parametrize("body", [None, "", "{}", "  "])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", None])
def test_bodies_and_content_types(peer: Peer, body: str | None, kind: str | None) -> None:
    """An empty body is as good as {}, and the content type does not matter [pve] [cs] [addon]."""
    headers = {"Authorization": f"Storpool v1:{TOKEN}", **({"Content-Type": kind} if kind else {})}
    assert peer.raw("POST", "/ctrl/1.0/VolumeSnapshot/v", body, headers).status == 200
    full = peer.raw("POST", "/ctrl/1.0/VolumeUpdate/v", '{"tags":{"a":"b"}}', headers)
    assert full.status == 200
    assert peer.volume("v")["tags"] == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        *((text, "jsonError") for text in ("{", "nonsense", b"\xff\xfe", "{'a': 1}")),
        *((text, "invalidParam") for text in ('"{\\"size\\": 512}"', "[]", "7")),
    ],
)
def test_a_bad_body(peer: Peer, body: Any, name: str) -> None:
    """What is not JSON is a jsonError [addon mc], what is no object invalidParam, a JSON string
    that holds JSON too [brick]."""
    reply = peer.raw("POST", "/ctrl/1.0/VolumeUpdate/v", body)
    assert (reply.status, reply.json["error"]["name"]) == (400, name)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("connection", ["close", "keep-alive", ""])
def test_connections(peer: Peer, version: str, connection: str) -> None:
    """Any kind of connection is accepted; the reply is HTTP/1.0 and closes it [kb]."""
    lines = [f"GET /ctrl/1.0/Volume/v {version}", "Host: x", f"Authorization: Storpool v1:{TOKEN}"]
    lines += [f"Connection: {connection}"] if connection else []
    with socket.create_connection((peer.host, peer.port), LIMIT_SECONDS) as raw:
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        with raw.makefile("rb") as answer:
            head, _, text = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Connection: close" in head
    assert json.loads(text)["data"][0]["name"] == "v"


def test_many_at_once(peer: Peer) -> None:
    """Calls from many threads are all answered, and each change is made once [spapi]."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(lambda number: peer.create(f"n{number}", size=512), range(100)))
    assert len(set(ids)) == 100
    assert len(peer.get("VolumesList")) == 101


# the control port


def test_calls_are_recorded(peer: Peer) -> None:
    """The record has the API's calls since it was cleared, with body and status, and no control
    requests."""
    peer.control("DELETE", "calls")
    peer.post("MultiCluster/VolumeUpdate/v", {"tags": {"a": "b"}})
    with pytest.raises(RefusedError):
        peer.get("Volume/unknown")
    peer.post("KV/Create/b")
    first, second, third = peer.control("GET", "calls")
    assert (first["method"], first["query"], first["path"], first["status"]) == (
        "POST",
        "VolumeUpdate",
        "/ctrl/1.0/MultiCluster/VolumeUpdate/v",
        200,
    )
    assert first["body"] == {"tags": {"a": "b"}}
    assert first["at"] <= second["at"]
    assert (second["query"], second["status"]) == ("Volume", 404)
    assert third["query"] == "KV/Create"
    assert TOKEN not in json.dumps([first, second, third])
    assert peer.control("GET", "counts") == {"VolumeUpdate": 1, "Volume": 1, "KV/Create": 1}
    peer.control("DELETE", "calls")
    assert peer.control("GET", "counts") == {}


def test_a_client_is_registered_and_changed(peer: Peer) -> None:
    """Clients can be added, taken down and given open volumes; a client without a folder has no
    devices."""
    peer.control("POST", "clients/9", {"status": "running", "open": ["abcd.e.1"]})
    assert peer.control("GET", "clients")["9"] == {
        "status": "running",
        "behind": False,
        "open": ["abcd.e.1"],
        "forced": [],
    }
    peer.reassign({"volume": "v", "rw": [9]})
    assert peer.attached() == {("v", 9, "rw")}


def test_the_clock_is_advanced(peer: Peer) -> None:
    """Time passes as told, and never backwards."""
    before = peer.control("GET", "clock")["now"]
    assert peer.control("POST", "clock", {"advance": 7.5})["now"] == before + 7.5


@pytest.mark.parametrize(
    ("method", "noun", "body"),
    [
        ("POST", "faults", {}),
        ("POST", "faults", {"kind": "unknown"}),
        ("POST", "faults", []),
        ("POST", "faults", {"kind": "delay", "seconds": -1}),
        ("POST", "faults", {"kind": "delay", "times": 0}),
        ("POST", "faults", {"kind": "delay", "query": 7}),
        ("POST", "faults", {"kind": "delay", "unknown": 1}),
        ("POST", "faults", "{"),
        ("POST", "clients/x", {"status": "down"}),
        ("POST", "clients/0", {}),
        ("POST", "clients/1", {"status": "up"}),
        ("POST", "clients/1", {"open": "x"}),
        ("POST", "clients/1", {"unknown": 1}),
        ("POST", "clients/1", {"delay": 1}),
        ("POST", "clients/1", {"behind": 2}),
        ("POST", "clients/1", {"behind": True, "status": "down"}),
        ("POST", "clients/1", {"delay": -1}),
        ("POST", "clock", {}),
        ("POST", "clock", {"advance": -1}),
        ("POST", "clock", {"advance": "1"}),
        ("POST", "clock", {"advance": 1, "unknown": 1}),
        ("GET", "unknown", None),
        ("PUT", "faults", None),
        ("POST", "switches", []),
    ],
    ids=str,
)
def test_a_bad_control_request(peer: Peer, method: str, noun: str, body: Any) -> None:
    """A control request that is not understood is refused in one sentence and changes nothing."""
    with pytest.raises(RefusedError) as refused:
        peer.control(method, noun, body)
    assert "\n" not in str(refused.value.descr)
    assert peer.control("GET", "faults") == []


def test_it_does_not_import_the_product() -> None:
    """The simulator must be able to contradict the product: it imports nothing of it."""
    code = (
        "import sys, storpool_simulator.cli;"
        "print([name for name in sys.modules if name.startswith(('storpool_ovirt', 'cinder_'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_the_page_lists_all_calls_and_switches() -> None:
    """docs/simulator.md names every call, served or not, every switch with its values, and every
    kind of fault."""
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    served, missing = page.split("## What is not simulated")
    for query in calls.TABLE.values():
        mark = " M" if query.multi_cluster and query.name not in calls.DOUBTFUL else ""
        wanted = f"`{query.name}`{mark}" if query.plain else f"`{query.name}` (M only)"
        assert wanted in served, query.name
    for method in vars(spapi.Api).values():
        path = getattr(getattr(method, "spDoc", None), "path", "")
        name = path.replace("/ctrl/1.0/", "").replace("MultiCluster/", "").split("/{")[0]
        assert not name or (name in calls.TABLE) != (f"`{name}`" in missing), name
    for switch in switches.SWITCHES.values():
        values = (
            " ".join(f"`{value}`" for value in switch.values) or f"`{switch.default}`, any number"
        )
        assert f"| `{switch.name}` | {values} | {switch.meaning} |" in page
    for kind in faults.KINDS:
        assert f"| `{kind}` |" in page
