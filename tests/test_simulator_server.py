"""HTTP: paths, token, envelope, kinds of connections, bodies; the control port; the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import GIB, LIMIT_SECONDS, TOKEN, Caller, RefusedError, World, world

from storpool_ovirt import simulator
from storpool_ovirt.simulator import calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[World]:
    """A cluster with one volume."""
    with world(tmp_path, cluster_id="abcd.e", cluster_name="one") as running:
        running.create("v")
        yield running


# requests and replies


def test_the_envelope(peer: World) -> None:
    """Data and generation on success, an error object and a status that is not 200 on failure [spapi] [cs]."""
    good = peer.raw("GET", "/ctrl/1.0/Volume/v")
    bad = peer.raw("GET", "/ctrl/1.0/Volume/w")
    assert (good.status, set(good.json)) == (200, {"generation", "data"})
    assert (bad.status, set(bad.json)) == (404, {"generation", "error"})
    assert set(bad.json["error"]) == {"name", "descr", "transient"}
    assert good.headers["Content-Type"] == "application/json"
    assert good.headers["Cache-control"] == "private"


def test_every_change_says_ok(peer: World) -> None:
    """The data of a POST has ok and the generation of the cluster after it [spapi] [addon]."""
    data = peer.post("VolumeUpdate/v", {"tags": {"a": "b"}})
    assert data == {"ok": True, "generation": peer.simulator.cluster.generation}


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Storpool v1:x"}, {"Authorization": TOKEN}, {"Authorization": "Basic eDp5"}]
)
@pytest.mark.parametrize("path", ["/ctrl/1.0/VolumesList", "/ctrl/1.0/Unknown", "/simulator/calls", "/"])
def test_a_wrong_token_is_refused(peer: World, headers: dict[str, str], path: str) -> None:
    """Nothing is answered without the token, the control port included [spapi]."""
    reply = peer.raw("GET", path, headers=headers)
    assert (reply.status, reply.json["error"]["name"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "path",
    ["MultiCluster/", "RemoteCommand/one/", "RemoteCommand/~abcd.e/", "RemoteCommand/%7Eabcd.e/",
     "RemoteCommand/one/MultiCluster/"],
)  # fmt: skip
def test_all_forms_of_a_path(peer: World, path: str) -> None:
    """A query is served directly, as MultiCluster, and through the cluster's own name or id [spapi] [csi]."""
    assert peer.get(f"{path}Volume/v") != []
    assert ("clusterId" in peer.get(f"{path}Volume/v")[0]) == ("MultiCluster" in path)


def test_a_tilde_may_be_escaped(peer: World) -> None:
    """~gid is understood plain, as all clients send it, and as %7E [inf]."""
    global_id = peer.volume("v")["globalId"]
    assert peer.volume(f"~{global_id}") == peer.volume(f"%7E{global_id}")


def test_names_with_all_characters(peer: World) -> None:
    """A name may have every character of its pattern in a path [sptypes]."""
    peer.create("a:b.c-d_E")
    peer.post("VolumeSnapshot/a:b.c-d_E", {})
    (shot,) = peer.get("SnapshotsList")
    assert "@" in shot["name"]
    assert peer.shot(shot["name"])["globalId"] == shot["globalId"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Unknown", 404), ("GET", "", 404), ("POST", "VolumesList", 405), ("GET", "VolumeCreate", 405),
        ("GET", "Volume", 404), ("GET", "VolumesList/v", 404), ("POST", "MultiCluster/SnapshotUpdate/s", 404),
        ("GET", "MultiCluster/DisksList", 404), ("GET", "MultiCluster/AllClusters/VolumesList", 404),
        ("PUT", "Volume/v", 405), ("GET", "KV/Nonsense/b", 404), ("GET", "RemoteCommand/one", 404),
    ],
)  # fmt: skip
def test_a_query_that_is_unknown(peer: World, method: str, path: str, status: int) -> None:
    """A query, method or form that the binding's table does not have is an error [spapi]."""
    reply = peer.raw(method, f"/ctrl/1.0/{path}")
    assert (reply.status, reply.json["error"]["name"]) == (status, "unknownQuery")


def test_an_unconnected_cluster(peer: World) -> None:
    """Only the cluster itself can be reached by RemoteCommand [spapi]."""
    with pytest.raises(RefusedError, match="elsewhere"):
        peer.get("RemoteCommand/elsewhere/VolumesList")


def test_all_clusters(peer: World) -> None:
    """MultiCluster/AllClusters/ wraps the replies of the clusters, for the three known queries [cs-up]."""
    for query in calls.ALL_CLUSTERS:
        data = peer.get(f"MultiCluster/AllClusters/{query}")
        (one,) = data["clusters"]
        assert isinstance(one["response"]["data"], list)


@pytest.mark.parametrize("body", [None, "", "{}", "  "])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", None])
def test_bodies_and_content_types(peer: World, body: str | None, kind: str | None) -> None:
    """An empty body is as good as {}, and the content type does not matter [pve] [cs] [addon]."""
    headers = {"Authorization": f"Storpool v1:{TOKEN}", **({"Content-Type": kind} if kind else {})}
    assert peer.raw("POST", "/ctrl/1.0/VolumeSnapshot/v", body, headers).status == 200
    full = peer.raw("POST", "/ctrl/1.0/VolumeUpdate/v", '{"tags":{"a":"b"}}', headers)
    assert full.status == 200
    assert peer.volume("v")["tags"] == {"a": "b"}


@pytest.mark.parametrize("body", ["{", "nonsense", b"\xff\xfe", '"{\\"size\\": 512}"', "[]", "7", "{'a': 1}"])
def test_a_bad_body(peer: World, body: Any) -> None:
    """What is not a JSON object is invalidParam, a JSON string that holds JSON too [brick]."""
    reply = peer.raw("POST", "/ctrl/1.0/VolumeUpdate/v", body)
    assert (reply.status, reply.json["error"]["name"]) == (400, "invalidParam")


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("connection", ["close", "keep-alive", ""])
def test_connections(peer: World, version: str, connection: str) -> None:
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


def test_many_at_once(peer: World) -> None:
    """Calls from many threads are all answered, and each change is made once [spapi]."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(lambda number: peer.create(f"n{number}", size=512), range(100)))
    assert len(set(ids)) == 100
    assert len(peer.get("VolumesList")) == 101


# the control port


def test_calls_are_recorded(peer: World) -> None:
    """The record has the API's calls since it was cleared, with body and status, and no control requests."""
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


def test_a_client_is_registered_and_changed(peer: World) -> None:
    """Clients can be added, taken down and given open volumes; a client without a folder has no devices."""
    peer.control("POST", "clients/9", {"status": "running", "open": ["abcd.e.1"]})
    assert peer.control("GET", "clients")["9"] == {"status": "running", "open": ["abcd.e.1"], "forced": []}
    peer.reassign({"volume": "v", "rw": [9]})
    assert peer.attached() == {("v", 9, "rw")}


def test_the_clock_is_advanced(peer: World) -> None:
    """Time passes as told, and never backwards."""
    before = peer.control("GET", "clock")["now"]
    assert peer.control("POST", "clock", {"advance": 7.5})["now"] == before + 7.5


@pytest.mark.parametrize(
    ("method", "noun", "body"),
    [
        ("POST", "faults", {}), ("POST", "faults", {"kind": "unknown"}), ("POST", "faults", []),
        ("POST", "faults", {"kind": "delay", "seconds": -1}), ("POST", "faults", {"kind": "delay", "times": 0}),
        ("POST", "faults", {"kind": "delay", "query": 7}), ("POST", "faults", {"kind": "delay", "unknown": 1}),
        ("POST", "faults", "{"), ("POST", "clients/x", {"status": "down"}), ("POST", "clients/0", {}),
        ("POST", "clients/1", {"status": "up"}), ("POST", "clients/1", {"open": "x"}),
        ("POST", "clients/1", {"unknown": 1}), ("POST", "clock", {}), ("POST", "clock", {"advance": -1}),
        ("POST", "clock", {"advance": "1"}), ("POST", "clock", {"advance": 1, "unknown": 1}),
        ("GET", "unknown", None), ("PUT", "faults", None), ("POST", "switches", []),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_control_request(peer: World, method: str, noun: str, body: Any) -> None:
    """A control request that is not understood is refused in one sentence and changes nothing."""
    with pytest.raises(RefusedError) as refused:
        peer.control(method, noun, body)
    assert "\n" not in str(refused.value.descr)
    assert peer.control("GET", "faults") == []


# the command

READY = {"address", "host", "port", "cluster_id", "devices"}


def start(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """The command as a user starts it."""
    arguments = ["--token", TOKEN, "--state", str(tmp_path / "state"), "--devices", "file", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "storpool_ovirt.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command(tmp_path: Path, number: signal.Signals) -> None:
    """It prints one JSON line when it is ready, serves, and ends with 0 on SIGTERM and SIGINT."""
    host = tmp_path / "host"
    options = ["--template", "nvme:10T", "--template", "hdd", "--host", f"5={host}", "--cluster-id", "ab.c"]
    options += ["--cluster-name", "one", "--switch", "linger=0", "--switch", "update_name=true"]
    process = start(tmp_path, *options)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert set(ready) == READY
        assert (ready["cluster_id"], ready["devices"]) == ("ab.c", "file")
        peer = Caller(ready["host"], ready["port"])
        capacities = {one["name"]: one["stored"]["capacity"] for one in peer.get("VolumeTemplatesStatus")}
        assert capacities == {"nvme": 10 << 40, "hdd": 100 << 40}
        assert set(peer.get("ServicesList")["clients"]) == {"5"}
        assert peer.control("GET", "switches")["linger"] == "0"
        config = (host / "etc" / "storpool.conf").read_text()
        assert f"SP_API_HTTP_PORT={ready['port']}" in config
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        assert (out, err, process.returncode) == ("", "", 0)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "nonsense"], ["--listen", "127.0.0.1:99999"], ["--template", "a b"], ["--template", "t:big"],
        ["--template", "t:0G"], ["--host", "x=y"], ["--host", "0=y"], ["--host", "1="], ["--switch", "strict"],
        ["--switch", "strict=maybe"], ["--switch", "no=1"], ["--cluster-id", "x"], ["--cluster-name", "a b"],
        ["--devices", "tape"], ["--unknown"], ["extra"], ["--host", "1=a", "--host", "1=b"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_bad_option(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    """A wrong option is one clear sentence on stderr and exit code 2."""
    arguments = ["--token", "T", "--state", str(tmp_path / "state"), *options]
    assert simulator.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("storpool-simulator: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("missing", ["--token", "--state"])
def test_a_missing_option(tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """Token and state must be given."""
    options = {"--token": "T", "--state": str(tmp_path)}
    del options[missing]
    assert simulator.main([word for option in options.items() for word in option]) == 2
    assert missing in capsys.readouterr().err


def test_a_port_that_is_taken(peer: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A start that cannot be is one sentence and exit code 1: port taken, state in use, other cluster's state."""
    address = f"{peer.host}:{peer.port}"
    base = ["--token", "T", "--devices", "file"]
    assert simulator.main([*base, "--state", str(tmp_path / "other"), "--listen", address]) == 1
    assert "cannot listen on" in capsys.readouterr().err
    assert simulator.main([*base, "--state", str(tmp_path / "state")]) == 1
    assert "in use by another simulator" in capsys.readouterr().err


def test_the_state_of_another_cluster(tmp_path: Path) -> None:
    """A state folder belongs to one cluster id."""
    with world(tmp_path, cluster_id="ab.c"):
        pass
    with pytest.raises(simulator.StartError, match=r"ab\.c"), world(tmp_path, cluster_id="ab.d"):
        pass
    with world(tmp_path) as peer:
        assert peer.simulator.cluster_id == "ab.c"


def test_a_lost_data_file_is_told(tmp_path: Path) -> None:
    """A volume whose data file is gone stops the start: data is never replaced silently."""
    with world(tmp_path) as peer:
        path = peer.simulator.cluster.files.path(peer.create("v", size=GIB))
    path.unlink()
    with pytest.raises(simulator.StartError, match="data file of v is missing"), world(tmp_path):
        pass


def test_it_does_not_import_the_product() -> None:
    """The simulator must be able to contradict the product: it imports nothing of it."""
    code = (
        "import sys, storpool_ovirt.simulator.cli, storpool_ovirt.simulator.__init__;"
        "print([name for name in sys.modules if name.startswith('storpool_ovirt.') and 'simulator' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
