"""Disks, placement groups, nodes, relocator and balancer: what an operator says is kept, and a
cluster at rest is shown by the schemas of the official binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import GIB, TOKEN, Peer, Strict, opened_peer, refused
from storpool import spapi

if TYPE_CHECKING:
    from pathlib import Path

START = 1_760_000_000


@pytest.fixture
def api(peer: Peer) -> Strict:
    """The binding, which takes whole replies only."""
    return Strict(spapi.Api(peer.host, peer.port, auth=TOKEN, transientRetries=0))


# placement groups


def test_a_group_is_made_changed_renamed_and_deleted(peer: Peer, api: Strict) -> None:
    """PlacementGroupUpdate makes what is not there; ids come as numbers and as strings [spapi]."""
    api.placementGroupUpdate("ssd", {"addDisks": [101, 201, 301]})
    peer.post("PlacementGroupUpdate/ssd", {"addDisks": ["102"], "rmDisks": ["101"]})
    assert api.placementGroupDescribe("ssd").disks == {102, 201, 301}
    api.placementGroupUpdate("ssd", {"rename": "fast"})
    assert {one.name for one in api.placementGroupsList().values()} == {"default", "fast"}
    assert refused(peer, "PlacementGroupDelete/ssd").name == "objectDoesNotExist"
    api.placementGroupDelete("fast")
    assert list(api.placementGroupsList()) == ["default"]


def test_templates_and_volumes_are_placed_in_groups(peer: Peer, api: Strict) -> None:
    """A group that is not there is refused; one that is used is busy, and follows a rename."""
    assert refused(peer, "VolumeCreate", {"size": GIB, "placeAll": "hdd"}).name == (
        "objectDoesNotExist"
    )
    api.placementGroupUpdate("hdd", {"addDisks": []})
    api.volumeTemplateCreate({"name": "t", "placeAll": "hdd", "replication": 3})
    api.volumeCreate({"name": "v", "size": GIB, "template": "t"})
    assert refused(peer, "PlacementGroupDelete/hdd").name == "busy"
    api.placementGroupUpdate("hdd", {"rename": "cold"})
    assert api.volumeTemplateDescribe("t").placeAll == "cold"
    assert api.volumeList("v")[0].placeAll == "cold"
    api.volumeDelete("v")
    assert refused(peer, "PlacementGroupDelete/cold").name == "busy"
    api.volumeTemplateDelete("t")
    api.placementGroupDelete("cold")


@pytest.mark.parametrize(
    ("query", "body", "name"),
    [
        ("PlacementGroupUpdate/g", {"addDisks": [4]}, "objectDoesNotExist"),
        ("PlacementGroupUpdate/g", {"addDisks": ["x"]}, "invalidParam"),
        ("PlacementGroupUpdate/g", {"addDisks": [True]}, "invalidParam"),
        ("PlacementGroupUpdate/g", {"addDisks": 101}, "invalidParam"),
        ("PlacementGroupUpdate/g", {"rename": "default"}, "objectExists"),
        ("PlacementGroupUpdate/g", {"what": 1}, "invalidParam"),
        ("PlacementGroupUpdate/default", {"rename": "g"}, "busy"),
        ("PlacementGroupUpdate/list", {}, "invalidParam"),
        ("PlacementGroupDelete/default", None, "busy"),
        ("PlacementGroupDelete/g", {"what": 1}, "invalidParam"),
    ],
)
def test_what_a_group_cannot_be_is_refused(peer: Peer, query: str, body: Any, name: str) -> None:
    """Unknown disks, taken names, names that no group can have; the group `default` stays."""
    assert refused(peer, query, body).name == name


# disks


def test_a_disk_is_described(peer: Peer, api: Strict) -> None:
    """One by one, by server, and with what an operator says of it; some are HDDs [spapi]."""
    disks = api.disksList()
    assert {disk.ssd for disk in disks.values()} == {True, False}
    assert {*api.serverDisksList(2)} == {key for key, disk in disks.items() if disk.serverId == 2}
    api.diskSetDesc(203, {"description": "left bay 3"})
    assert api.diskDescribe(203).description == "left bay 3"
    assert api.serverDiskDescribe(2, 203).description == "left bay 3"
    assert api.disksList()[203].description == "left bay 3"
    api.diskSetDesc(203, {"description": ""})
    assert api.diskDescribe(203).description == ""
    assert api.diskActiveRequests(203).requests == api.clientActiveRequests(1).requests == []
    assert api.allPeersActiveRequests().requests == []
    for path in ("DiskDescribe/4", "ServerDisksList/9", "ServerDiskDescribe/1/203"):
        assert peer.raw("GET", f"/ctrl/1.0/{path}").json["error"]["name"] == "objectDoesNotExist"
    for path in ("DiskDescribe/x", "ClientActiveRequests/99"):
        assert peer.raw("GET", f"/ctrl/1.0/{path}").json["error"]["name"] == "invalidParam"


@pytest.mark.parametrize("description", ["a" * 31, "a/b", 7, None])
def test_a_description_that_is_none_is_refused(peer: Peer, description: Any) -> None:
    """At most 30 letters, digits, blanks, `_` and `-` [sptypes]."""
    error = refused(peer, "DiskSetDescription/101", {"description": description})
    assert error.name == "invalidParam"


def test_a_soft_eject_is_paused_and_cancelled(api: Strict) -> None:
    """DisksList tells how far it is [sptest]."""
    for step, state in [
        (api.diskSoftEject, "on"),
        (api.diskSoftEjectPause, "paused"),
        (api.diskSoftEjectCancel, "off"),
    ]:
        step(101)
        assert api.disksList()[101].softEject == state
        assert api.disksList()[102].softEject == "off"


def test_scrubbing_waits_while_it_is_paused(peer: Peer, api: Strict) -> None:
    """A run that is started while scrubbing is paused has been paused as long as it runs
    [sptest]."""
    api.diskScrubPause(101)
    assert api.disksList()[101].scrubbingPaused
    peer.simulator.advance(10)
    api.diskScrubStart(101)
    peer.simulator.advance(50)
    disk = api.disksList()[101]
    assert disk.scrubbingPaused
    assert disk.scrubbingStartedBefore == disk.scrubbingPausedFor == 50
    api.diskScrubContinue(101)
    peer.simulator.advance(7)
    disk = api.disksList()[101]
    assert not disk.scrubbingPaused
    assert (disk.scrubbingStartedBefore, disk.scrubbingPausedFor) == (57, 50)


# relocator, balancer, maintenance


def test_relocator_and_balancer_are_at_rest(peer: Peer, api: Strict) -> None:
    """Nothing is to be moved, and each object stays on its disks [spapi]."""
    peer.create("v", replication=2)
    peer.snapshot("v", "s")
    assert api.volumeRelocatorStatus().status == "on"
    assert api.volumeRelocatorStatus().volumesToRelocate == 0
    assert api.volumeBalancerGetStatus().status == "nothing to do"
    assert {*api.volumeRelocatorDisks()} == {*api.volumeBalancerDisks()} == {*api.disksList()}
    for estimates in (
        api.volumeRelocatorVolumeDisks("v"),
        api.volumeRelocatorSnapshotDisks("s"),
        api.volumeBalancerVolumeDisks("v"),
        api.volumeBalancerSnapshotDisks("s"),
    ):
        assert {*estimates} == {101, 201}
        assert {one.objectsAllocated.delta for one in estimates.values()} == {0}
    assert {(one.name, one.snapshot) for one in api.volumeBalancerVolumesStatus()} == {
        ("v", False),
        ("s", True),
    }
    assert api.volumeBalancerVolumeDiskSets("v").currentDiskSets == [[101, 201]]
    assert api.volumeBalancerSnapshotDiskSets("s").balancerDiskSets == [[101, 201]]


def test_a_node_is_in_maintenance_until_it_is_completed(peer: Peer, api: Strict) -> None:
    """It is listed with what is left of its time, and as overrun once that is over [sptypes]."""
    api.maintenanceSet({"nodeId": 2, "duration": 600, "description": "new disks"})
    peer.simulator.advance(100)
    (node,) = api.maintenanceList().nodes
    assert (node.nodeId, node.started, node.remaining, node.overrun) == (2, START, 500, False)
    peer.simulator.advance(500)
    (node,) = api.maintenanceList().nodes
    assert (node.remaining, node.overrun, node.description) == (0, True, "new disks")
    limited = {"nodeId": 3, "duration": 1, "description": "", "maxNodesInMaintenance": 1}
    assert refused(peer, "MaintenanceSet", limited).name == "busy"
    api.maintenanceComplete({"nodeId": 2})
    assert api.maintenanceList().nodes == []
    api.maintenanceSet({**limited, "minOkReplicas": 2, "votingSafetyMargin": 0})
    assert refused(peer, "MaintenanceComplete", {"nodeId": 2}).name == "objectDoesNotExist"
    assert refused(peer, "MaintenanceComplete", {}).name == "invalidParam"
    unknown = {"nodeId": 9, "duration": 1, "description": ""}
    assert refused(peer, "MaintenanceSet", unknown).name == "objectDoesNotExist"


def test_what_an_operator_says_outlives_a_restart(tmp_path: Path) -> None:
    """Groups, descriptions, scrubbing and maintenance are rows as volumes are."""
    with opened_peer(tmp_path) as peer:
        peer.post("PlacementGroupUpdate/ssd", {"addDisks": [101]})
        peer.post("DiskSetDescription/101", {"description": "x"})
        peer.post("DiskScrubPause/101")
        peer.post("MaintenanceSet", {"nodeId": 1, "duration": 5, "description": "d"})
        told = [
            peer.get(query) for query in ("PlacementGroupsList", "DisksList", "MaintenanceList")
        ]
    with opened_peer(tmp_path) as peer:
        assert told == [
            peer.get(query) for query in ("PlacementGroupsList", "DisksList", "MaintenanceList")
        ]
        assert peer.get("PlacementGroupDescribe/ssd")["disks"] == [101]
