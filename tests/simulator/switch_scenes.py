"""Scenes for switches: each is played with every value, and tells in words what happened.

Those of requests, names, replies and waits are here, the others in `test_simulator_switches.py`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from simulator_fixtures import GIB, Peer, RefusedError

from rigs.clock import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SCENES: dict[str, Callable[[Peer], str]] = {}
EXPECTED = {
    "attach_timeout_covers": {"all": "timeout", "missing": "waits"},
    "reassign_wait_for": {"affected": "timeout", "gaining": "ok"},
    "empty_item": {"ok": "ok", "error": "invalidParam"},
    "detach_and_rw": {"ok": "ok 1", "error": "invalidParam 0"},
    "empty_name": {"unnamed": "~", "generated": "@"},
    "bad_name_error": {
        "invalidParam": "400 invalidParam",
        "objectDoesNotExist": "404 objectDoesNotExist",
    },
    "string_numbers": {"true": "ok", "false": "invalidParam"},
    "empty_reference": {"absent": "ok", "error": "invalidParam"},
    "limit_type": {"true": "perGiB", "false": "invalidParam"},
    "reply_fields": {"newest": "bw iops snapshot snapshotName", "binding": ""},
    "tag_empty_new": {"keep": "a b", "drop": "b"},
    "freeze_attached": {"ro": "busy ok", "never": "busy busy"},
    "group_twice": {"refuse": "invalidParam", "each": "ok"},
    "group_partial": {
        "none": "objectDoesNotExist insufficientResources",
        "error": "objectDoesNotExist insufficientResources a c d",
        "listed": "ok ok a c d",
    },
    "group_ok": {"true": "generation ok snapshots", "false": "snapshots"},
    "on_volume": {"chain": "v v", "parent": "v -"},
    "space_limit": {
        "none": "ok ok",
        "stored": "insufficientResources ok",
        "provisioned": "insufficientResources insufficientResources",
    },
    "template_in_use": {
        "busy": "busy nvme",
        "preconditionViolation": "preconditionViolation nvme",
        "keep": "ok ",
    },
}


def scene(function: Callable[[Peer], str]) -> Callable[[Peer], str]:
    """The scene of the switch that the function is called after."""
    SCENES[function.__name__.lstrip("_")] = function
    return function


def outcome(call: Callable[[], Any]) -> str:
    """ok, or the name of the error."""
    try:
        call()
    except RefusedError as error:
        return str(error.name)
    return "ok"


def open_device(peer: Peer) -> None:
    """Attach v to client 1, where it is open."""
    global_id = peer.volume("v")["globalId"]
    peer.reassign({"volume": "v", "rw": [1]})
    peer.simulator.set_client(1, opened=[global_id])
    wait_until(
        lambda: peer.simulator.cluster.holders(
            peer.simulator.cluster.catalog.attached(global_id)[1]
        )
    )


@scene
def _attach_timeout_covers(peer: Peer) -> str:
    """[sptypes] [git 73efeb8]: a loser hangs, and nobody that is missing is attached to."""
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    told: list[str] = []
    item = {"volume": "v", "detach": [2]}
    thread = threading.Thread(
        target=lambda: told.append(outcome(lambda: peer.reassign(item, wait=1)))
    )
    thread.start()
    thread.join(2)
    waits = thread.is_alive()
    peer.simulator.set_client(2, behind=False)
    thread.join()
    assert told == ["ok" if waits else "timeout"]
    return "waits" if waits else told[0]


@scene
def _reassign_wait_for(peer: Peer) -> str:
    """[git 73efeb8]: a client that loses a volume and hangs."""
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    taken = {"volume": "v", "rw": [1], "detach": "all", "force": True}
    told = outcome(lambda: peer.reassign(taken, wait=1))
    assert peer.attached() == {("v", 1, "rw")}
    return told


@scene
def _empty_item(peer: Peer) -> str:
    """[inf]."""
    assert outcome(lambda: peer.reassign({"volume": "v", "detach": "all"})) == "ok"
    listed = outcome(lambda: peer.reassign({"volume": "v", "rw": [], "detach": []}))
    assert listed == outcome(lambda: peer.reassign({"volume": "v"}))
    return listed


@scene
def _detach_and_rw(peer: Peer) -> str:
    """[inf]."""
    told = outcome(lambda: peer.reassign({"volume": "v", "detach": [1], "rw": [1]}))
    assert outcome(lambda: peer.reassign({"volume": "v", "detach": [2], "ro": [7]})) == "ok"
    return f"{told} {sum(client == 1 for _, client, _ in peer.attached())}"


@scene
def _empty_name(peer: Peer) -> str:
    """[cs]: it sends the name "" with every snapshot, also of a group."""
    alone = peer.post("VolumeSnapshot/v", {"name": ""})["snapshotGlobalId"]
    group = peer.post("VolumesGroupSnapshot", {"volumes": [{"volume": "v", "name": ""}]})
    for global_id in (alone, group["snapshots"][0]["snapshotGlobalId"]):
        shot = peer.shot(f"~{global_id}")
        serial = shot["visibleVolumeId"]
        assert shot["name"] in (f"~{global_id}", f"v@{serial}")
        assert shot["autoName"] is True
    return "@" if "@" in shot["name"] else "~"


@scene
def _bad_name_error(peer: Peer) -> str:
    """[sptypes]: also where nothing has the name, an id or a name that fits is not found."""
    told = {
        f"{reply.status} {reply.json['error']['name']}"
        for query in (
            "Volume/a@b",
            "Volume/status",
            "Volume/~x",
            f"Snapshot/{'x' * 200}",
            "VolumeTemplateDescribe/a.b",
            "VolumeTemplateDescribe/list",
            "PlacementGroupDescribe/a.b",
            "KV/List/a@b",
        )
        for reply in [peer.raw("GET", f"/ctrl/1.0/{query}")]
    }
    for query in ("Volume/x", "Volume/~a.b.c", "Snapshot/*x", "VolumeTemplateDescribe/status"):
        assert peer.raw("GET", f"/ctrl/1.0/{query}").json["error"]["name"] == "objectDoesNotExist"
    for body in ({"template": "a b"}, {"parent": "~x"}, {"baseOn": "a@b"}, {"placeAll": "a.b"}):
        told.add(f"{_status(peer, body)} {outcome(lambda body=body: peer.create('w', **body))}")
    (one,) = told
    return one


@scene
def _string_numbers(peer: Peer) -> str:
    """[addon mc] sends sizes so, [spapi] shows ids so."""
    told = outcome(lambda: peer.post("VolumeCreate", {"name": "w", "size": "1048576"}))
    grown = outcome(lambda: peer.post("VolumeUpdate/v", {"sizeAdd": "512", "iops": "7"}))
    assert grown == told
    if told == "ok":
        assert (peer.volume("w")["size"], peer.volume("v")["size"]) == (1 << 20, GIB + 512)
        assert peer.volume("v")["iops"] == 7
    for wrong in ("", "-512", "1e3", "0x10", "5.0", "9" * 30, "9" * 5000, "\u0665"):
        size = {"name": "x", "size": wrong}
        assert outcome(lambda size=size: peer.post("VolumeCreate", size)) == "invalidParam"
    assert outcome(lambda: peer.reassign({"volume": "v", "rw": ["1"]})) == "ok"
    return told


@scene
def _empty_reference(peer: Peer) -> str:
    """[inf]."""
    told = {
        outcome(lambda: peer.create("a", template="")),
        outcome(lambda: peer.create("b", parent="")),
        outcome(lambda: peer.create("c", baseOn="")),
        outcome(lambda: peer.post("VolumeUpdate/v", {"template": ""})),
        outcome(lambda: peer.post("VolumeTemplateUpdate/nvme", {"parent": ""})),
    }
    (one,) = told
    return one


@scene
def _limit_type(peer: Peer) -> str:
    """[kb]."""
    told = outcome(lambda: peer.post("VolumeUpdate/v", {"limitType": "perGiB"}))
    return str(peer.volume("v")["limitType"]) if told == "ok" else told


@scene
def _reply_fields(peer: Peer) -> str:
    """[pve] [addon mc]."""
    group = peer.post("VolumesGroupSnapshot", {"volumes": [{"volume": "v"}]})["snapshots"][0]
    status = peer.get("VolumeTemplatesStatus")[0]
    shot = peer.shot(f"~{group['snapshotGlobalId']}")
    extra = {"snapshot"} & set(shot) & set(peer.volume("v"))
    return " ".join(
        sorted(extra | ({"snapshotName"} & set(group)) | ({"iops", "bw"} & set(status)))
    )


@scene
def _tag_empty_new(peer: Peer) -> str:
    """[inf]: the pattern of values allows it [sptypes]."""
    peer.create("w", tags={"a": "", "b": "1"})
    peer.snapshot("v", "s", tags={"a": "", "b": "1"})
    assert peer.volume("w")["tags"] == peer.shot("s")["tags"]
    return " ".join(sorted(peer.volume("w")["tags"]))


@scene
def _freeze_attached(peer: Peer) -> str:
    """[inf]."""
    peer.reassign({"volume": "v", "rw": [1]})
    writable = outcome(lambda: peer.post("VolumeFreeze/v"))
    peer.reassign({"volume": "v", "ro": [1]})
    return f"{writable} {outcome(lambda: peer.post('VolumeFreeze/v'))}"


@scene
def _group_twice(peer: Peer) -> str:
    """[inf]: by its name and by its id it is the same one."""
    v = peer.volume("v")["globalId"]
    body = {"volumes": [{"volume": "v", "name": "a"}, {"volume": f"~{v}", "name": "b"}]}
    told = outcome(lambda: peer.post("VolumesGroupSnapshot", body))
    shots = [one["name"] for one in peer.get("VolumeListSnapshots/v")]
    assert shots == (["b", "a"] if told == "ok" else [])
    return told


@scene
def _group_partial(peer: Peer) -> str:
    """[inf]: a volume that is not there any more, and room that does not suffice for the last."""
    peer.create("w")

    def group(**volumes: str) -> str:
        elements = [{"volume": volume, "name": name} for name, volume in volumes.items()]
        return outcome(lambda: peer.post("VolumesGroupSnapshot", {"volumes": elements}))

    gone = group(a="v", b="gone", c="w")
    peer.simulator.faults.add("part")
    told = [gone, group(d="w", e="v")]
    return " ".join([*told, *sorted(one["name"] for one in peer.get("SnapshotsList"))])


@scene
def _group_ok(peer: Peer) -> str:
    """[sptypes] GroupSnapshotsResult; OpenNebula's add-on looks for ok."""
    body = {"volumes": [{"volume": "v", "name": "a"}]}
    return " ".join(sorted(peer.post("VolumesGroupSnapshot", body)))


@scene
def _on_volume(peer: Peer) -> str:
    """[sptypes] [spapi]."""
    peer.snapshot("v", "old")
    peer.snapshot("v", "young")
    return " ".join(peer.shot(name)["onVolume"] for name in ("young", "old"))


@scene
def _space_limit(peer: Peer) -> str:
    """[kb] [csi]: one that is larger than the template, and two that are so in sum."""
    huge = outcome(lambda: peer.create("huge", size=101 * GIB, template="nvme"))
    peer.create("first", size=60 * GIB, template="nvme")
    return f"{huge} {outcome(lambda: peer.create('second', size=60 * GIB, template='nvme'))}"


@scene
def _template_in_use(peer: Peer) -> str:
    """[inf]: StorPool's own test deletes its templates when nothing has them [sptest]."""
    peer.create("w", template="nvme")
    assert outcome(lambda: peer.post("VolumeTemplateDelete/hdd")) == "ok"
    told = outcome(lambda: peer.post("VolumeTemplateDelete/nvme"))
    return f"{told} {peer.volume('w')['templateName']}"


def _status(peer: Peer, body: dict[str, Any]) -> int:
    sent = {"name": "w", "size": GIB, **body}
    return peer.raw("POST", "/ctrl/1.0/VolumeCreate", sent).status
