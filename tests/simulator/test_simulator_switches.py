"""Each uncertain point of the API: what both values of its switch do."""

from __future__ import annotations

import time

import cluster_scenes
import player_scenes
import pytest
import switch_scenes
from simulator_fixtures import GIB, Peer, RefusedError
from switch_scenes import SCENES, open_device, outcome, scene

from storpool_simulator import switches

SCENES.update(player_scenes.SCENES)
EXPECTED = {
    **switch_scenes.EXPECTED,
    "strict": {"true": "invalidParam", "false": "ok"},
    "busy_error": {name: name for name in ("busy", "invalidParam", "preconditionViolation")},
    "detach_absent": {"ok": "ok", "error": "invalidParam"},
    "attach_timeout_expiry": {"error_keep": "timeout 1", "error_undo": "timeout 0", "ok": "ok 1"},
    "array_on_wait": {"true": "ok", "false": "invalidParam"},
    "default_placement": {"true": "ok", "false": "invalidParam"},
    "unnamed_auto_name": {"gid": "~", "serial": "@"},
    "unknown_cluster_error": {
        "objectDoesNotExist": "objectDoesNotExist",
        "invalidParam": "invalidParam",
    },
    "unauthorized_error": {"unauthorized": "unauthorized", "invalidParam": "invalidParam"},
    "bad_json_error": {name: name for name in ("jsonError", "invalidParam", "badRequest")},
    "unknown_query_error": {"unknownQuery": "unknownQuery", "invalidParam": "invalidParam"},
    "error_status": {"by_name": "404", "500": "500"},
    "tag_update": {"merge": "a b", "replace": "b"},
    "tag_empty": {"remove": "b", "keep": "a b"},
    "config_wait_down": {"block": "waits", "error": "invalidParam"},
    "revert_attached": {"open": "ok busy", "attached": "busy busy", "allow": "ok ok"},
    "revert_identity": {"unnamed": "same other", "all": "other other", "keep": "same same"},
    "preserved_id": {"true": "same", "false": "None"},
    "kept_id_counts": {"false": "ok", "true": "invalidParam"},
    "revert_size": {"grow": "2 2", "keep": "2 1", "snapshot": "1 2"},
    "revert_limits": {"keep": "5", "snapshot": "-"},
    "on_attached_everywhere": {"true": "ok", "false": "invalidParam"},
    "on_volume_none": {"dash": "'-'", "empty": "''"},
    "update_name": {"false": "None", "true": "w"},
    "zero_limit": {"unlimited": "-", "zero": "0"},
    "small_child": {"refuse": "invalidParam", "truncate": "ok"},
    "name_tags_limit": {"true": "invalidParam", "false": "ok"},
    "list_multicluster": {"false": "unknownQuery", "true": "ok"},
    "delete_attached_snapshot": {
        name: name for name in ("busy", "invalidParam", "preconditionViolation")
    },
    "downgrade_open": {"ok": "ok", "busy": "busy"},
    "own_device": {"keep": "ok", "reattach": "busy"},
    **player_scenes.EXPECTED,
    "list_order": {"created": "v w", "reversed": "w v"},
    "latency": {"0": "at once", "50": "late"},
    "lag": {"0": "v w, v w, v w", "50": ", v w, "},
    "linger": {"0": "v", "50": "*s v"},
}


pytestmark = pytest.mark.usefixtures("v")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in EXPECTED.items() for value in values],
    ids=str,
)
def test_both_values(peer: Peer, name: str, value: str) -> None:
    """Each value of each switch has its own effect."""
    peer.control("POST", "switches", {name: value})
    assert SCENES[name](peer) == EXPECTED[name][value]


def test_every_switch_has_a_scene_for_every_value() -> None:
    """No switch and no value is left out here, and every default is the one that the table
    names."""
    expected = {**EXPECTED, **cluster_scenes.EXPECTED}
    for switch in switches.SWITCHES.values():
        assert set(expected[switch.name]) == set(switch.values or ("0", "50"))
        assert switches.Switches()[switch.name] == switch.default
    assert {*SCENES, *cluster_scenes.SCENES} == set(expected) == set(switches.SWITCHES)


def test_a_wrong_switch_changes_nothing(peer: Peer) -> None:
    """An unknown name or value is refused in one sentence, and the others of the request are not
    set either."""
    before = peer.control("GET", "switches")
    for wrong in ({"strict": "maybe"}, {"unknown": "true"}, {"linger": "-1"}, {"linger": "soon"}):
        with pytest.raises(RefusedError, match="invalidParam"):
            peer.control("POST", "switches", {"update_name": "true", **wrong})
    assert peer.control("GET", "switches") == before


def test_a_boolean_switch_takes_json_too(peer: Peer) -> None:
    """true and false may be sent as JSON."""
    assert peer.control("POST", "switches", {"strict": False})["strict"] == "false"


@scene
def _strict(peer: Peer) -> str:
    """[readme 5.1.0]."""
    unknown = outcome(lambda: peer.post("VolumeUpdate/v", {"unknown": 1}))
    null = outcome(lambda: peer.post("VolumeUpdate/v", {"template": None}))
    text = outcome(lambda: peer.post("VolumeUpdate/v", '"{}"'))
    assert (unknown, text) == (null, "invalidParam")
    return unknown


@scene
def _busy_error(peer: Peer) -> str:
    """[brick] [csi]."""
    open_device(peer)
    return outcome(lambda: peer.reassign({"volume": "v", "detach": "all"}))


@scene
def _detach_absent(peer: Peer) -> str:
    """[addon]."""
    return outcome(lambda: peer.reassign({"volume": "v", "detach": [2]}))


@scene
def _attach_timeout_expiry(peer: Peer) -> str:
    """[sptypes]."""
    peer.simulator.set_client(2, running=False)
    return (
        f"{outcome(lambda: peer.reassign({'volume': 'v', 'rw': [2]}, wait=1))}"
        f" {len(peer.attached())}"
    )


@scene
def _array_on_wait(peer: Peer) -> str:
    """[pve]."""
    return outcome(lambda: peer.post("VolumesReassignWait", [{"volume": "v", "rw": [1]}]))


@scene
def _default_placement(peer: Peer) -> str:
    """[sp-os]."""
    assert outcome(lambda: peer.create("placed", replication=2)) == "ok"
    return outcome(lambda: peer.create("w"))


@scene
def _unnamed_auto_name(peer: Peer) -> str:
    """[cs] [pve]."""
    u = peer.create("")
    reply = peer.post(f"VolumeSnapshot/~{u}", {})
    name = peer.shot(f"~{reply['snapshotGlobalId']}")["name"]
    assert name in (f"~{reply['snapshotGlobalId']}", f"{u}@{reply['snapshotVisibleVolumeId']}")
    return "@" if "@" in name else "~"


@scene
def _unknown_cluster_error(peer: Peer) -> str:
    """[spapi]."""
    return outcome(lambda: peer.get("RemoteCommand/elsewhere/VolumesList"))


@scene
def _unauthorized_error(peer: Peer) -> str:
    """[spapi]."""
    peer.token = "wrong"
    return outcome(lambda: peer.get("VolumesList"))


@scene
def _bad_json_error(peer: Peer) -> str:
    """[spapi]."""
    return outcome(lambda: peer.post("VolumeCreate", "{"))


@scene
def _unknown_query_error(peer: Peer) -> str:
    """[spapi]."""
    return outcome(lambda: peer.get("Nonsense"))


@scene
def _error_status(peer: Peer) -> str:
    """[inf]."""
    return str(peer.raw("GET", "/ctrl/1.0/Volume/unknown").status)


@scene
def _tag_update(peer: Peer) -> str:
    """[cs-up] [pve]."""
    peer.post("VolumeUpdate/v", {"tags": {"a": "1"}})
    peer.post("VolumeUpdate/v", {"tags": {"b": "1"}})
    return " ".join(sorted(peer.volume("v")["tags"]))


@scene
def _tag_empty(peer: Peer) -> str:
    """[sp-os] [addon]."""
    peer.post("VolumeUpdate/v", {"tags": {"a": "1", "b": "1"}})
    peer.post("VolumeUpdate/v", {"tags": {"a": ""}})
    return " ".join(sorted(peer.volume("v")["tags"]))


@scene
def _config_wait_down(peer: Peer) -> str:
    """[spapi]."""
    peer.simulator.set_client(2, running=False)
    if peer.simulator.switches["config_wait_down"] == "error":
        return outcome(lambda: peer.get("ClientConfigWait/2"))
    with pytest.raises(TimeoutError):
        _impatient(peer, "ClientConfigWait/2")
    return "waits"


@scene
def _revert_attached(peer: Peer) -> str:
    """[pve] [cs] [cinder]."""
    peer.snapshot("v", "s")
    peer.reassign({"volume": "v", "rw": [1]})
    closed = outcome(lambda: peer.post("VolumeRevert/v", {"toSnapshot": "s"}))
    open_device(peer)
    return f"{closed} {outcome(lambda: peer.post('VolumeRevert/v', {'toSnapshot': 's'}))}"


@scene
def _revert_identity(peer: Peer) -> str:
    """[git 76ce668] [pve 7d8e8b0]."""
    peer.snapshot("v", "s")
    ids = [peer.volume("v")["globalId"], peer.post("VolumeCreate", {"size": GIB})["globalId"]]
    new = [peer.post(f"VolumeRevert/~{one}", {"toSnapshot": "s"})["globalId"] for one in ids]
    return " ".join("same" if before == after else "other" for before, after in zip(ids, new))


@scene
def _preserved_id(peer: Peer) -> str:
    """[addon]."""
    shown = peer.volume("v")
    assert "preservedGlobalId" not in peer.shot(f"~{peer.snapshot('v')}")
    first = shown.get("preservedGlobalId")
    return "same" if first == shown["globalId"] else str(first)


@scene
def _kept_id_counts(peer: Peer) -> str:
    """[inf]."""
    peer.snapshot("v", "s")
    body = {"size": GIB, "tags": {"a": "b" * 199}}
    unnamed = peer.post("VolumeCreate", body)["globalId"]
    return outcome(lambda: peer.post(f"VolumeRevert/~{unnamed}", {"toSnapshot": "s"}))


@scene
def _revert_size(peer: Peer) -> str:
    """[pve a536de7]: of a volume that has grown since, and of one that is smaller."""
    peer.create("small")
    peer.reassign({"volume": "v", "rw": [1]}, {"volume": "small", "rw": [1]})
    peer.snapshot("v", "s")
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    peer.snapshot("v", "large")
    sizes = []
    for volume, snapshot in (("v", "s"), ("small", "large")):
        peer.post(f"VolumeRevert/{volume}", {"toSnapshot": snapshot})
        reverted = peer.volume(volume)
        path = peer.simulator.cluster.files.path(reverted["globalId"])
        assert path.stat().st_size == reverted["size"]
        sizes.append(str(reverted["size"] // GIB))
    return " ".join(sizes)


@scene
def _revert_limits(peer: Peer) -> str:
    """[cs]."""
    peer.snapshot("v", "s")
    peer.post("VolumeUpdate/v", {"iops": 5})
    peer.post("VolumeRevert/v", {"toSnapshot": "s"})
    return str(peer.volume("v")["iops"])


@scene
def _on_attached_everywhere(peer: Peer) -> str:
    """[cs]."""
    peer.reassign({"volume": "v", "rw": [1]})
    return outcome(lambda: peer.post("VolumeDelete/v", {"onAttached": "detachForce"}))


@scene
def _on_volume_none(peer: Peer) -> str:
    """[sptypes]."""
    peer.snapshot("v", "s")
    peer.post("VolumeDelete/v")
    return repr(peer.shot("s")["onVolume"])


@scene
def _update_name(peer: Peer) -> str:
    """[cs]."""
    return str(peer.post("VolumeUpdate/v", {"rename": "w"}).get("name"))


@scene
def _zero_limit(peer: Peer) -> str:
    """[cs]."""
    peer.post("VolumeUpdate/v", {"iops": 0})
    return str(peer.volume("v")["iops"])


@scene
def _small_child(peer: Peer) -> str:
    """[cs]."""
    peer.snapshot("v", "s")
    of_snapshot = outcome(lambda: peer.create("w", size=GIB // 2, parent="s"))
    assert of_snapshot == outcome(lambda: peer.create("x", size=GIB // 2, baseOn="v"))
    return of_snapshot


@scene
def _name_tags_limit(peer: Peer) -> str:
    """[kb]."""
    assert outcome(lambda: peer.create("n" * 99, tags={"t": "x" * 100})) == "ok"
    return outcome(lambda: peer.create("n" * 100, tags={"t": "x" * 100}))


@scene
def _list_multicluster(peer: Peer) -> str:
    """[pve]."""
    assert len(peer.get("VolumesAndSnapshotsList")["volumes"]) == 1
    return outcome(lambda: peer.get("MultiCluster/VolumesAndSnapshotsList"))


@scene
def _delete_attached_snapshot(peer: Peer) -> str:
    """[inf]."""
    peer.snapshot("v", "s")
    peer.reassign({"snapshot": "s", "ro": [1]})
    return outcome(lambda: peer.post("SnapshotDelete/s"))


@scene
def _downgrade_open(peer: Peer) -> str:
    """[addon] [pve]."""
    open_device(peer)
    return outcome(lambda: peer.reassign({"volume": "v", "ro": [1]}))


@scene
def _own_device(peer: Peer) -> str:
    """[pve] [sp-os]."""
    open_device(peer)
    closed = peer.create("closed")
    peer.reassign({"volume": "closed", "rw": [1]})
    peer.reassign({"volume": "closed", "detach": "all", "rw": [1]})
    assert peer.device(1, closed).exists()
    return outcome(lambda: peer.reassign({"volume": "v", "detach": "all", "rw": [1]}))


@scene
def _list_order(peer: Peer) -> str:
    """[inf]."""
    peer.create("w")
    return " ".join(one["name"] for one in peer.get("VolumesList"))


@scene
def _latency(peer: Peer) -> str:
    """[inf]: of several calls the quickest, as this machine may be busy; the control port has
    none."""
    took = []
    for _ in range(20):
        began = time.monotonic()
        peer.get("ServicesList")
        took.append(time.monotonic() - began)
    return "late" if min(took) >= 0.050 else "at once"


@scene
def _lag(peer: Peer) -> str:
    """[inf]: an instance of the management service that is behind after a failover."""
    peer.create("w")
    return ", ".join(" ".join(one["name"] for one in peer.get("VolumesList")) for _ in range(3))


@scene
def _linger(peer: Peer) -> str:
    """[sptest]."""
    peer.snapshot("v", "s")
    peer.post("SnapshotDelete/s")
    peer.control("POST", "clock", {"advance": 49})
    return " ".join(sorted(peer.names()))


def _impatient(peer: Peer, query: str) -> None:
    import http.client

    connection = http.client.HTTPConnection(peer.host, peer.port, timeout=0.2)
    try:
        connection.request(
            "GET", f"/ctrl/1.0/{query}", headers={"Authorization": f"Storpool v1:{peer.token}"}
        )
        connection.getresponse()
    finally:
        connection.close()
