"""The model: the tree of volumes and snapshots, and the end of snapshots."""

from __future__ import annotations

import pytest
from simulator_fixtures import Peer, content, fill, refused

DATA = b"data" * 128


# the tree


def test_a_snapshot_goes_between_a_volume_and_its_parent(peer: Peer) -> None:
    """The snapshot becomes the volume's parent, the old parent the snapshot's [spapi]."""
    peer.create("v")
    peer.snapshot("v", "one")
    peer.snapshot("v", "two")
    peer.create("child", parent="one")
    assert peer.volume("v")["parentName"] == "two"
    assert peer.shot("two")["parentName"] == "one"
    assert [one["name"] for one in peer.get("VolumeListSnapshots/v")] == ["two", "one"]


def test_a_volume_is_rebased_on_an_ancestor(peer: Peer) -> None:
    """VolumeRebase takes an ancestor or nothing, and refuses what is no ancestor [spapi]."""
    peer.create("v")
    peer.snapshot("v", "one")
    peer.snapshot("v", "two")
    peer.create("w")
    peer.snapshot("w", "stranger")
    assert refused(peer, "VolumeRebase/v", {"parentName": "stranger"}).name == "invalidParam"
    peer.post("VolumeRebase/v", {"parentName": "one"})
    assert peer.volume("v")["parentName"] == "one"
    peer.post("VolumeRebase/v", {})
    assert peer.volume("v")["parentName"] == ""


def test_snapshots_survive_their_volume(peer: Peer) -> None:
    """VolumeDelete leaves the snapshots, with their data [kb] [addon] [pve]."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.snapshot("v", "s")
    peer.post("VolumeDelete/v")
    assert peer.names() == {"s"}
    assert content(peer, "s", len(DATA)) == DATA
    assert peer.shot("s")["onVolume"] == "-"


# the end of snapshots


def test_a_snapshot_lingers_while_it_is_deleted(peer: Peer) -> None:
    """SnapshotDelete answers at once; *name with deleted:true is listed until it is gone; the name
    is free [sptest]."""
    peer.create("v")
    s = peer.snapshot("v", "s")
    peer.post("SnapshotDelete/s")
    (doomed,) = peer.get("SnapshotsList")
    assert (doomed["name"], doomed["deleted"], doomed["deleteBlocked"]) == ("*s", True, "pending")
    peer.snapshot("v", "s")
    assert refused(peer, "VolumeCreate", {"parent": f"~{s}"}).name == "objectDoesNotExist"
    peer.control("POST", "clock", {"advance": 2})
    assert peer.names() == {"v", "s"}
    assert peer.volume("v")["parentName"] == "s"
    assert peer.shot("s")["parentName"] == ""


def test_an_unnamed_snapshot_is_marked_too(peer: Peer) -> None:
    """Also a snapshot without a name begins with * while it is deleted: pve skips those [pve]."""
    v = peer.create("")
    s = peer.post(f"VolumeSnapshot/~{v}", {"name": ""})["snapshotGlobalId"]
    peer.post(f"SnapshotDeleteById/{s}")
    (doomed,) = peer.get("SnapshotsList")
    assert doomed["name"] == f"*{s}"


def test_several_children_block_a_delete(peer: Peer) -> None:
    """A snapshot with several children stays with deleteBlocked until one is left [sptypes]."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.snapshot("v", "s")
    peer.create("child", parent="s")
    peer.post("SnapshotDelete/s")
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.shot("*s")["deleteBlocked"] == "multiple children"
    peer.post("VolumeDelete/v")
    assert peer.names() == {"child"}
    assert (peer.volume("child")["parentName"], content(peer, "child", len(DATA))) == ("", DATA)


def test_a_bound_snapshot_goes_with_its_children(peer: Peer) -> None:
    """A bound snapshot is collected once it has no child and no attachment [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s", bind=True)
    peer.reassign({"snapshot": "s", "ro": [1]})
    peer.post("VolumeDelete/v")
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == {"s"}
    peer.reassign({"snapshot": "s", "detach": "all"})
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == set()


def test_binding_a_childless_snapshot_collects_it(peer: Peer) -> None:
    """bind:true by an update is the same as at the creation; bind:false unbinds [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s", bind=True)
    peer.post("SnapshotUpdate/s", {"bind": False})
    peer.post("VolumeDelete/v")
    assert peer.names() == {"s"}
    peer.post("SnapshotUpdate/s", {"bind": True})
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == set()


def test_a_transient_snapshot_goes_by_itself(peer: Peer) -> None:
    """The snapshot of a clone is visible for a while, cannot be used, and is collected with both
    children [sptypes]."""
    peer.create("v")
    peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    (transient,) = peer.get("SnapshotsList")
    assert (transient["transient"], transient["autoName"]) == (True, True)
    assert refused(peer, "VolumeCreate", {"parent": transient["name"]}).name == "invalidParam"
    item = {"snapshot": transient["name"], "ro": [1]}
    assert refused(peer, "VolumesReassignWait", {"reassign": [item]}).name == "invalidParam"
    peer.control("POST", "clock", {"advance": 2})
    assert peer.get("SnapshotsList") == []
    assert peer.volume("v")["parentName"] == peer.volume("c")["parentName"] == ""


def test_a_snapshot_is_deleted_on_its_date(peer: Peer) -> None:
    """deleteAfter and targetDeleteDate are honoured by the cluster's clock, which tests advance
    [sptypes] [addon]."""
    now = int(peer.simulator.cluster.now())
    peer.create("v")
    peer.snapshot("v", "after", deleteAfter=100)
    peer.snapshot("v", "date", targetDeleteDate=now + 200)
    peer.snapshot("v", "kept", deleteAfter=100)
    peer.post("SnapshotUpdate/kept", {"deleteAfter": 0})
    assert peer.shot("after")["targetDeleteDate"] == now + 100
    peer.control("POST", "clock", {"advance": 150})
    assert peer.names() == {"v", "*after", "date", "kept"}
    peer.control("POST", "clock", {"advance": 51})
    assert peer.names() == {"v", "*date", "kept"}


def test_a_date_in_the_past_is_refused(peer: Peer) -> None:
    """targetDeleteDate can not be set in the past [sptypes]."""
    peer.create("v")
    assert refused(peer, "VolumeSnapshot/v", {"targetDeleteDate": 1}).name == "invalidParam"


def test_an_attached_snapshot_waits_for_its_detach(peer: Peer) -> None:
    """A scheduled delete of an attached snapshot begins with the detach: its date is over, whatever
    the clock does then [inf]."""
    peer.create("v")
    peer.snapshot("v", "s", deleteAfter=10)
    peer.reassign({"snapshot": "s", "ro": [1]})
    peer.control("POST", "clock", {"advance": 100})
    assert "s" in peer.names()
    peer.reassign({"snapshot": "s", "detach": "all"})
    assert peer.names() == {"v", "*s"}
    peer.control("POST", "clock", {"advance": 5})
    assert peer.names() == {"v"}


def test_automatic_names(peer: Peer) -> None:
    """A snapshot without a name is called <volume>@<serial> and says so [kb] [sptest]; also that of
    an unnamed volume has a name that is generated [pve b3e0726]."""
    v = peer.create("v")
    peer.post("VolumeUpdate/v", {"rename": ""})
    w = peer.create("w")
    for volume, name in ((v, v), (w, "w")):
        reply = peer.post(f"VolumeSnapshot/~{volume}")
        shot = peer.shot(f"~{reply['snapshotGlobalId']}")
        assert shot["name"] == reply["autoName"] == f"{name}@{reply['snapshotVisibleVolumeId']}"
        assert shot["autoName"] is True


@pytest.mark.parametrize("name", ["", "w"])
def test_the_empty_name_asks_for_none(peer: Peer, name: str) -> None:
    """With the name "" a snapshot is listed by its id [cs], whatever its volume is called."""
    w = peer.create(name)
    reply = peer.post(f"VolumeSnapshot/~{w}", {"name": ""})
    global_id = reply["snapshotGlobalId"]
    assert "autoName" not in reply
    shot = peer.shot(f"~{global_id}")
    assert (shot["name"], shot["autoName"]) == (f"~{global_id}", True)
