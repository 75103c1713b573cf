"""The official binding is the client: every reply fits its schemas whole, without MultiCluster and
with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulator_fixtures import GIB, TOKEN, Peer, Strict, opened_peer
from storpool import spapi, sptypes

from storpool_simulator.api import calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=[False, True], ids=["plain", "multicluster"])
def multi_cluster(request: pytest.FixtureRequest) -> bool:
    """Whether the binding uses the MultiCluster forms."""
    return bool(request.param)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Peer]:
    """A cluster with something of everything."""
    with opened_peer(
        tmp_path, cluster_id="abcd.e", cluster_name="one", switches={"linger": "100"}
    ) as one:
        yield one


@pytest.fixture
def api(running: Peer, multi_cluster: bool) -> Strict:
    """The binding without its own retries, which would hide faults."""
    api = spapi.Api(
        running.host, running.port, auth=TOKEN, transientRetries=0, multiCluster=multi_cluster
    )
    return Strict(api)


@pytest.fixture
def filled(api: Strict) -> dict[str, str]:
    """Named and unnamed volumes, all kinds of snapshots, attachments, a bucket; returns some
    ids."""
    v = api.volumeCreate(
        {"name": "v", "size": GIB, "template": "nvme", "tags": {"virt": "ovirt"}}
    ).globalId
    unnamed = api.volumeCreate({"size": GIB, "replication": 2, "bw": 10, "iops": 0}).globalId
    s = api.snapshotCreate(
        "v", {"name": "s", "deleteAfter": 1000, "tags": {"a": "b"}}
    ).snapshotGlobalId
    api.snapshotCreate("v", {"name": "bound", "bind": True})
    api.snapshotCreate("v", {})
    api.snapshotCreate(f"~{unnamed}", {})
    api.volumeCreate({"name": "child", "parent": "s"})
    api.volumeCreate({"name": "clone", "baseOn": "v"})
    api.snapshotCreate("clone", {"name": "doomed"})
    api.snapshotDelete("doomed")
    gone = api.snapshotCreate(f"~{unnamed}", {}).snapshotGlobalId
    api.snapshotDeleteById(gone)
    api.volumesReassignWait(
        {"reassign": [{"volume": "v", "rw": [1], "ro": [2]}, {"snapshot": "s", "ro": [7]}]}
    )
    api.volumesReassign([{"volume": f"~{unnamed}", "rw": [1]}])
    api.kvsCreate("bucket")
    api.kvsUpdate("bucket", {"set": {"key": "value"}})
    return {"v": v, "s": s, "unnamed": unnamed}


def test_every_list_fits_its_schema(
    api: Strict, filled: dict[str, str], multi_cluster: bool
) -> None:
    """Each list call returns all objects whole, with cluster names in MultiCluster replies only
    [spapi] [sptypes]."""
    assert {one.name for one in api.volumesList()} == {
        "v",
        f"~{filled['unnamed']}",
        "child",
        "clone",
    }
    assert len(api.snapshotsList()) == 7
    assert {one.storedSize for one in api.volumesSpace()} == {0}
    assert len(api.snapshotsSpace()) == 7
    assert len(api.volumesStatus()) == len(api.volumesQuickStatus()) == 11
    assert {one.clusterId for one in api.volumesList()} == {"abcd.e" if multi_cluster else None}
    assert {one.clusterId for one in api.attachmentsList()} == {"abcd.e" if multi_cluster else None}
    assert {(one.volume, one.client, one.rights, one.pos) for one in api.attachmentsList()} == {
        ("v", 1, "rw", 0),
        ("v", 2, "ro", 0),
        ("s", 7, "ro", 0),
        (f"~{filled['unnamed']}", 1, "rw", 1),
    }


@pytest.mark.parametrize("key", ["v", "~{v}", "~{unnamed}"])
def test_a_volume_is_shown_in_all_ways(api: Strict, filled: dict[str, str], key: str) -> None:
    """Volume is an array of one, VolumeDescribe and VolumeGetInfo are objects, by name and by ~gid
    [spapi] [pve]."""
    name = key.format(**filled)
    (one,) = api.volumeList(name)
    assert one.globalId == api.volumeDescribe(name).globalId == api.volumeInfo(name).globalId
    assert len(api.volumeDescribe(name).objects) == one.objectsCount == GIB // (32 << 20)
    assert {shot.globalId for shot in api.volumeListSnapshots(name)} <= {
        x.globalId for x in api.snapshotsList()
    }


@pytest.mark.parametrize("key", ["s", "~{s}"])
def test_a_snapshot_is_shown_in_all_ways(api: Strict, filled: dict[str, str], key: str) -> None:
    """Snapshot is an array of one, SnapshotDescribe and SnapshotGetInfo are objects [spapi]."""
    name = key.format(**filled)
    (one,) = api.snapshotList(name)
    assert (
        one.globalId
        == api.snapshotDescribe(name).globalId
        == api.snapshotInfo(name).globalId
        == filled["s"]
    )
    assert one.tags == {"a": "b"}
    assert one.targetDeleteDate > 0


def test_a_volume_is_changed_in_all_ways(api: Strict, filled: dict[str, str]) -> None:
    """Update, freeze, revert, rebase, abandon, acquire and delete are accepted as the binding sends
    them [spapi]."""
    api.volumesReassignWait({"reassign": [{"volume": "v", "detach": "all"}]})
    api.volumeRevert("v", {"toSnapshot": f"~{filled['s']}"})
    api.volumeUpdate(
        "v", {"rename": "w", "sizeAdd": GIB, "template": "hdd", "tags": {"virt": ""}, "bw": "-"}
    )
    (w,) = api.volumeList("w")
    assert (w.size, w.templateName, w.tags, w.parentName) == (2 * GIB, "hdd", {}, "s")
    api.volumeAbandonDisk("w", {"diskId": 101})
    api.snapshotAbandonDisk("s", {"diskId": 101})
    api.volumeRebase("w", {})
    assert api.volumeList("w")[0].parentName == ""
    api.volumeFreeze("w", {"deleteAfter": 5})
    assert api.snapshotList("w")[0].globalId == filled["v"]
    api.volumeDelete("child")


def test_snapshots_are_changed_in_all_ways(api: Strict, filled: dict[str, str]) -> None:
    """SnapshotUpdate, SnapshotRebase and the group snapshot are accepted as the binding sends them
    [spapi]."""
    api.snapshotUpdate(
        "s", {"rename": "t", "template": "hdd", "bind": False, "deleteAfter": 0, "tags": {"c": "d"}}
    )
    (t,) = api.snapshotList("t")
    assert (t.globalId, t.templateName, t.tags, t.targetDeleteDate) == (
        filled["s"],
        "hdd",
        {"a": "b", "c": "d"},
        0,
    )
    api.snapshotRebase("bound", {"parentName": "t"})
    reply = api.snapshotCreateGroup(
        {"volumes": [{"volume": "v", "name": "g"}, {"volume": "clone"}], "tags": {}}
    )
    assert [one.volume for one in reply.snapshots] == ["v", "clone"]


def test_templates_are_managed(api: Strict, filled: dict[str, str]) -> None:
    """Templates are created, listed, described, changed, measured and deleted [spapi]."""
    api.volumeTemplateCreate(
        {"name": "t", "size": GIB, "parent": "s", "replication": 2, "placeAll": "default"}
    )
    assert api.volumeTemplateDescribe("t").parentName == "s"
    api.volumeTemplateUpdate("t", {"rename": "u", "iops": 100, "propagate": True})
    assert {one.name for one in api.volumeTemplatesList()} == {"nvme", "hdd", "u"}
    status = {one.name: one for one in api.volumeTemplatesStatus()}
    assert status["nvme"].volumesCount == 3
    assert status["nvme"].stored.capacity == 100 * GIB
    api.volumeTemplateDelete("u")
    assert filled


def test_the_machines_are_shown(api: Strict, filled: dict[str, str]) -> None:
    """Services, peers, clients, disks, groups, places: each call answers by its schema [spapi]."""
    services = api.servicesList()
    assert services.clusterStatus == "running"
    assert [one.active for one in services.mgmt.values()] == [True]
    assert set(services.clients) == {1, 2, 7}
    assert api.serversList().servers.keys() == api.serversListBlocked().servers.keys() == {1, 2, 3}
    assert set(api.peersList()) == {1, 2, 3}
    assert api.tasksList() == []
    assert {one.configStatus for one in api.clientsConfigDump()} == {"ok"}
    assert {one.id for one in api.clientConfigWait(1)} == {1, 2, 7}
    assert all(isinstance(disk, sptypes.UpDiskSummary) for disk in api.disksList().values())
    assert api.placementGroupsList()["default"].disks == api.placementGroupDescribe("default").disks
    assert api.faultSetsList() == {}
    assert api.locationsList() == {"locations": []}
    assert api.clustersList() == {"clusters": []}
    assert api.remoteBridgesList() == {"remoteBridges": []}
    assert api.snapshotsRemoteList() == {"snapshots": []}
    assert api.volumesRemoteList() == {"volumes": []}
    assert api.exportsList() == api.volumeExportsList() == {"exports": []}
    assert api.maintenanceList().nodes == []
    assert filled


def test_buckets_are_kept(api: Strict, filled: dict[str, str]) -> None:
    """The key-value store fits the schemas, and kvsTryUpdate tells a lost race from an error
    [spapi]."""
    assert api.kvsBuckets().buckets == {"bucket": 1}
    assert api.kvsList("bucket").pairs == {"key": "value"}
    assert api.kvsGet("bucket", "key").pairs == {"key": "value"}
    assert api.api.kvsTryUpdate("bucket", {"runIfVersionIs": 1, "set": {"key": ""}}) is True
    assert api.api.kvsTryUpdate("bucket", {"runIfVersionIs": 1, "set": {"key": "x"}}) is False
    assert api.kvsList("bucket").pairs == {}
    api.kvsDelete("bucket")
    assert filled


def test_volume_acquire_has_a_multicluster_form_only(running: Peer) -> None:
    """A volume that is here is acquired without effect; there is no such call without MultiCluster/
    [spapi]."""
    running.create("v")
    api = Strict(
        spapi.Api(running.host, running.port, auth=TOKEN, transientRetries=0, multiCluster=True)
    )
    assert api.volumeAcquire("v", {}).ok is True
    reply = running.raw("POST", "/ctrl/1.0/VolumeAcquire/v", {})
    assert reply.status == 404


def test_forms_are_those_of_the_binding() -> None:
    """Method and MultiCluster form of each call that is served are those of the binding's own table
    [spapi]."""
    theirs = {}
    for method in vars(spapi.Api).values():
        document = getattr(method, "spDoc", None)
        if document is not None:
            path = document.path[len("/ctrl/1.0/") :]
            form = path.startswith("MultiCluster/")
            theirs[path.replace("MultiCluster/", "").split("/{")[0], document.method] = form
    only_pve, only_addon = ("VolumesAndSnapshotsList", "GET"), ("SnapshotUpdate", "POST")
    ours = {(query.name, query.method): query.multi_cluster for query in calls.TABLE.values()}
    del ours[only_pve]
    assert ours[only_addon]  # [addon mc]; the binding has the plain form only
    ours[only_addon] = False
    assert {key: theirs[key] for key in ours} == ours
