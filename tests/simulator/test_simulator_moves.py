"""Volumes that clients of another cluster have, and that move there: export, acquire, move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import Trio, opened_trio, outcome
from simulator_fixtures import GIB, TOKEN, Peer, RefusedError
from storpool import spapi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """The clusters, with a volume `v` in the first that holds data."""
    with opened_trio(tmp_path, devices="file") as opened:
        global_id = opened.one.create("v", template="nvme")
        opened.one.reassign({"volume": "v", "rw": [1]})
        opened.one.write(1, global_id, b"data")
        opened.one.reassign({"volume": "v", "detach": [1]})
        yield opened


def v(trio: Trio) -> str:
    """The volume's global id."""
    (found,) = [one for one in trio.one.get("MultiCluster/VolumesList") if one["name"] == "v"]
    return str(found["globalId"])


def reassign(peer: Peer, *items: dict[str, Any]) -> Any:
    """VolumesReassignWait with MultiCluster/."""
    return peer.post("MultiCluster/VolumesReassignWait", {"reassign": list(items)})


def owner(trio: Trio, name: str = "v") -> str:
    """The cluster that MultiCluster/ names as the owner, whoever is asked."""
    owners = {
        peer.get(f"MultiCluster/Volume/{name}")[0]["clusterId"] for peer in (trio.one, trio.two)
    }
    assert len(owners) == 1
    return str(owners.pop())


def attached(trio: Trio) -> set[tuple[str, int, str]]:
    """All attachments: name, client, the client's cluster."""
    listed = trio.one.get("MultiCluster/AttachmentsList")
    return {(one["volume"], one["client"], one["clusterId"]) for one in listed}


# attach by a client of another cluster


def test_an_attach_brings_the_volume(trio: Trio) -> None:
    """A MultiCluster/ attach moves a volume of another cluster to the asked one: the default of
    mcMode; the data is there, and the id and number stay [sptypes]."""
    g, (before,) = v(trio), trio.one.get("Volume/v")
    reassign(trio.two, {"volume": "v", "rw": [3]})
    assert owner(trio) == "loc.b"
    assert trio.one.names() == set()
    (after,) = trio.two.get("Volume/v")
    kept = ("globalId", "visibleVolumeId", "size", "templateName", "tags", "creationTimestamp")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert trio.two.read(3, g, 4) == b"data"
    assert attached(trio) == {("v", 3, "loc.b")}


def test_an_attached_volume_is_exported_back(trio: Trio) -> None:
    """With onRemoteAttached export, the default, a volume that moves stays attached where it was:
    a live migration between clusters [git 2152d9a] [addon mc]."""
    g = v(trio)
    reassign(trio.one, {"volume": "v", "rw": [1]})
    with trio.one.device(1, g).open("r+b", buffering=0) as source:
        reassign(trio.two, {"volume": "v", "rw": [3]})
        assert owner(trio) == "loc.b"
        assert attached(trio) == {("v", 1, "loc.a"), ("v", 3, "loc.b")}
        source.write(b"more")
    assert trio.two.read(3, g, 4) == b"more"
    (own,) = trio.one.get("AttachmentsList")
    assert (own["volume"], own["client"], own["globalId"]) == ("v", 1, g)
    reassign(trio.one, {"volume": "v", "detach": [1]})
    assert attached(trio) == {("v", 3, "loc.b")}
    assert not trio.one.device(1, g).exists()


def test_export_leaves_the_volume(trio: Trio) -> None:
    """mcMode export attaches it here and leaves it there; both sides have the same data, and growth
    is seen on both [sptypes]."""
    g = v(trio)
    reassign(trio.one, {"volume": "v", "rw": [1]})
    reassign(trio.two, {"volume": "v", "rw": [3], "mcMode": "export"})
    assert owner(trio) == "loc.a"
    assert attached(trio) == {("v", 1, "loc.a"), ("v", 3, "loc.b")}
    trio.two.write(3, g, b"over")
    assert trio.one.read(1, g, 4) == b"over"
    trio.one.post("VolumeUpdate/v", {"sizeAdd": GIB})
    assert trio.two.device(3, g).stat().st_size == 2 * GIB


@pytest.mark.parametrize(
    ("given", "opened", "result"),
    [
        ("fail", False, "busy"),
        ("detach", False, "ok"),
        ("detach", True, "busy"),
        ("detachForce", True, "ok"),
        ("export", True, "ok"),
    ],
)
def test_what_becomes_of_the_other_clients(
    trio: Trio, given: str, opened: bool, result: str
) -> None:
    """onRemoteAttached says what becomes of attachments in the other cluster: refuse, detach what
    is closed, detach by force, or keep them [sptypes]."""
    g = v(trio)
    reassign(trio.one, {"volume": "v", "rw": [1]})
    trio.one.simulator.set_client(1, opened=[g] if opened else [])
    item = {"volume": "v", "rw": [3], "onRemoteAttached": given}
    before = (trio.one.simulator.cluster.generation, trio.two.simulator.cluster.generation)
    assert outcome(lambda: reassign(trio.two, item)) == result
    here = {("v", 1, "loc.a")} if result == "busy" or given == "export" else set()
    there = set() if result == "busy" else {("v", 3, "loc.b")}
    assert attached(trio) == here | there
    assert owner(trio) == ("loc.a" if result == "busy" else "loc.b")
    after = (trio.one.simulator.cluster.generation, trio.two.simulator.cluster.generation)
    assert (after == before) == (result == "busy")


def test_detach_all_is_meant_for_all_clusters(trio: Trio) -> None:
    """A MultiCluster/ `detach: all` takes it from the clients of every cluster, also by force; a
    plain one from its own [cs]."""
    g = v(trio)
    reassign(trio.one, {"volume": "v", "rw": [1]})
    reassign(trio.two, {"volume": "v", "rw": [3], "mcMode": "export"})
    trio.two.simulator.set_client(3, opened=[g])
    item = {"volume": "v", "detach": "all"}
    assert outcome(lambda: reassign(trio.one, item)) == "busy"
    assert len(attached(trio)) == 2
    reassign(trio.one, {**item, "force": True, "rw": [2]})
    assert attached(trio) == {("v", 2, "loc.a")}
    reassign(trio.two, {"volume": "v", "rw": [3], "mcMode": "export"})
    trio.one.reassign(item)
    assert attached(trio) == {("v", 3, "loc.b")}


def test_a_plain_attach_needs_allow_remote_exported(trio: Trio) -> None:
    """A volume that is exported to a cluster is attached there by a plain call too, with
    allowRemoteExported only [sptypes]."""
    reassign(trio.two, {"volume": "v", "rw": [3], "mcMode": "export"})
    item = {"volume": "v", "rw": [1]}
    assert outcome(lambda: trio.two.reassign(item)) == "objectDoesNotExist"
    trio.two.reassign({**item, "allowRemoteExported": True})
    assert attached(trio) == {("v", 1, "loc.b"), ("v", 3, "loc.b")}
    trio.two.reassign({"volume": "v", "detach": "all"})
    assert attached(trio) == set()


def test_all_items_or_none(trio: Trio) -> None:
    """When one item of a request cannot be, no volume has moved [addon]."""
    trio.one.create("w")
    items = [{"volume": "v", "rw": [3]}, {"volume": "w", "rw": [99]}]
    assert outcome(lambda: reassign(trio.two, *items)) == "invalidParam"
    assert (owner(trio), owner(trio, "w"), attached(trio)) == ("loc.a", "loc.a", set())
    assert trio.one.simulator.cluster.files.path(v(trio)).exists()


def test_a_bridge_that_is_down(trio: Trio) -> None:
    """Nothing of another cluster is attached while the bridge is down, and nothing is changed."""
    trio.cut()
    assert outcome(lambda: reassign(trio.two, {"volume": "v", "rw": [3]})) == "multiCluster"
    trio.heal()
    assert (owner(trio), attached(trio)) == ("loc.a", set())


def test_a_snapshot_of_another_cluster_is_not_attached(trio: Trio) -> None:
    """The items of snapshots have no word about other clusters [sptypes]."""
    trio.one.snapshot("v", "s")
    assert outcome(lambda: reassign(trio.two, {"snapshot": "s", "ro": [3]})) == "invalidParam"


def test_delete_looks_at_all_clusters(trio: Trio) -> None:
    """A volume that a client of another cluster has is busy; onAttached detaches there too [cs]."""
    g = v(trio)
    reassign(trio.two, {"volume": "v", "rw": [3], "mcMode": "export"})
    assert outcome(lambda: trio.one.post("VolumeDelete/v")) == "busy"
    trio.two.post("MultiCluster/VolumeDelete/v", {"onAttached": "detachForce"})
    assert (attached(trio), trio.one.get("MultiCluster/VolumesList")) == (set(), [])
    assert not trio.two.device(3, g).exists()


# VolumeAcquire, VolumeMoveToRemote


@pytest.mark.parametrize(
    ("given", "result"), [(None, "busy"), ("detach", "ok"), ("export", "ok"), ("detachForce", "ok")]
)
def test_acquire_brings_a_volume(trio: Trio, given: str | None, result: str) -> None:
    """VolumeAcquire moves a volume to the asked cluster; attached, it fails if nothing else is said
    [sptypes]."""
    reassign(trio.one, {"volume": "v", "rw": [1]})
    body = {} if given is None else {"onRemoteAttached": given}
    assert outcome(lambda: trio.two.post("MultiCluster/VolumeAcquire/v", body)) == result
    assert owner(trio) == ("loc.b" if result == "ok" else "loc.a")
    assert len(attached(trio)) == (given not in {"detach", "detachForce"})
    trio.two.post("MultiCluster/VolumeAcquire/v", {"onRemoteAttached": "export"})
    assert owner(trio) == "loc.b"


@pytest.mark.parametrize("body", [{"cluster": "two"}, {"clusterId": "loc.b"}])
def test_the_binding_moves_a_volume(trio: Trio, body: dict[str, str]) -> None:
    """VolumeMoveToRemote takes the name or the id of the target [spapi]."""
    api = spapi.Api(trio.one.host, trio.one.port, auth=TOKEN, transientRetries=0)
    api.volumeMoveToRemote("v", body)
    assert owner(trio) == "loc.b"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"cluster": "three"}, "objectDoesNotExist"),
        ({"cluster": "far"}, "invalidParam"),
        ({}, "invalidParam"),
        ({"cluster": "two", "clusterId": "loc.b"}, "invalidParam"),
        ({"cluster": "two", "onAttached": "maybe"}, "invalidParam"),
        ({"cluster": "two"}, "busy"),
    ],
)
def test_a_move_that_is_refused(trio: Trio, body: dict[str, str], error: str) -> None:
    """An unknown target, one elsewhere, and an attached volume: nothing is changed."""
    trio.one.reassign({"volume": "v", "rw": [1]})
    before = trio.one.simulator.cluster.generation
    assert outcome(lambda: trio.one.post("VolumeMoveToRemote/v", body)) == error
    assert trio.one.simulator.cluster.generation == before


def test_the_room_is_taken_first(trio: Trio) -> None:
    """A target without the room, or with the name, refuses, and the source keeps everything
    [git 2152d9a]."""
    trio.switch(space_limit="provisioned")
    trio.two.create("big", size=100 * GIB - 512, template="nvme")
    move = {"cluster": "two"}
    assert outcome(lambda: trio.one.post("VolumeMoveToRemote/v", move)) == "insufficientResources"
    trio.one.create("twin")
    trio.two.create("twin")
    assert outcome(lambda: trio.one.post("VolumeMoveToRemote/twin", move)) == "objectExists"
    assert {one["name"] for one in trio.one.get("VolumesList")} >= {"twin"}


def test_single_parents_move_and_shared_ones_are_copied(trio: Trio) -> None:
    """Parents with one child go along; from the first one with several upward they are copied, and
    the source keeps its own [git 2152d9a]."""
    one, two = trio.one, trio.two
    for name in ("old", "shared", "single"):
        one.snapshot("v", name)
        if name == "shared":
            one.post("VolumeCreate", {"name": "sibling", "parent": "shared"})
    one.post("VolumeMoveToRemote/v", {"cluster": "two"})
    assert {each["name"] for each in one.get("SnapshotsList")} == {"old", "shared"}
    there = {each["name"]: each.get("mcState") for each in two.get("SnapshotsList")}
    assert there == {"old": "slaveCopy", "shared": "slaveCopy", "single": "owner"}
    assert [each["name"] for each in two.get("VolumeListSnapshots/v")] == [
        "single",
        "shared",
        "old",
    ]
    assert one.volume("sibling")["parentName"] == "shared"
    (shared,) = two.get("MultiCluster/Snapshot/shared")
    assert shared["clusterId"] == "loc.a"


def test_a_snapshot_moves(trio: Trio) -> None:
    """SnapshotMoveToRemote moves a snapshot, and the volume on it stands on what is left."""
    trio.one.snapshot("v", "s")
    trio.one.post("SnapshotMoveToRemote/s", {"cluster": "two"})
    assert [one["name"] for one in trio.two.get("SnapshotsList")] == ["s"]
    assert trio.one.volume("v")["parentName"] == ""
    with trio.two.simulator.cluster.files.path(trio.two.shot("s")["globalId"]).open("rb") as data:
        assert data.read(4) == b"data"


def test_a_refused_move_leaves_no_file(trio: Trio) -> None:
    """What was put at the target before the refusal is gone from there."""
    trio.one.post("VolumeTemplateCreate", {"name": "only-here"})
    trio.one.create("w", template="only-here")
    with pytest.raises(RefusedError, match="only-here"):
        trio.one.post("VolumeMoveToRemote/w", {"cluster": "two"})
    assert list(trio.two.simulator.cluster.files.ids()) == []
