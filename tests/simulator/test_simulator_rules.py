"""Rules that peers rely on, or that newer sources tell, each with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import GIB, Peer, content, fill, opened_peer, refused

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def test_volumes_and_snapshots_say_what_they_are(peer: Peer) -> None:
    """`snapshot` is in every reply about a volume or a snapshot: Proxmox decides by it what it got
    for `Snapshot/~id` and in lists [pve]."""
    peer.create("v")
    peer.snapshot("v", "s")
    for query in ("VolumesList", "VolumesSpace", "Volume/v"):
        assert [one["snapshot"] for one in peer.get(query)] == [False], query
    for query in ("SnapshotsList", "SnapshotsSpace", "Snapshot/s", "VolumeListSnapshots/v"):
        assert [one["snapshot"] for one in peer.get(query)] == [True], query
    for query in ("VolumeGetInfo/v", "VolumeDescribe/v"):
        assert peer.get(query)["snapshot"] is False, query
    for query in ("SnapshotGetInfo/s", "SnapshotDescribe/s"):
        assert peer.get(query)["snapshot"] is True, query


def test_a_revert_loses_nothing_of_the_snapshot(peer: Peer) -> None:
    """A volume that is smaller than the snapshot grows: a client rounds a size down when it makes
    a volume, and reverts it then [cloudstack-dr]. A larger one is not shrunk [pve a536de7]."""
    peer.create("large", size=4 * MIB)
    fill(peer, "large", b"a" * 4 * MIB)
    peer.snapshot("large", "s")
    peer.create("v", size=MIB)
    peer.reassign({"volume": "v", "rw": [1]})
    v = peer.volume("v")["globalId"]
    peer.post("VolumeRevert/v", {"toSnapshot": "s"})
    assert peer.volume("v")["size"] == 4 * MIB
    assert peer.read(1, v, 5 * MIB) == b"a" * 4 * MIB
    peer.post("VolumeUpdate/v", {"size": 8 * MIB})
    peer.post("VolumeRevert/v", {"toSnapshot": "s"})
    assert peer.volume("v")["size"] == 8 * MIB
    peer.post("VolumeRevert/v", {"toSnapshot": "s", "revertSize": True})
    assert peer.volume("v")["size"] == 4 * MIB
    assert content(peer, "v", 4 * MIB) == b"a" * 4 * MIB


def test_a_snapshot_frees_nothing_while_it_is_needed(peer: Peer) -> None:
    """spaceUsed of a snapshot is what its deletion would free [sptypes]: nothing while something
    stands on it."""
    peer.create("v")
    fill(peer, "v", b"a" * 4 * MIB)
    peer.snapshot("v", "s")

    def space() -> dict[str, tuple[int, int]]:
        return {
            one["name"]: (one["storedSize"], one["spaceUsed"]) for one in peer.get("SnapshotsSpace")
        }

    assert space() == {"s": (4 * MIB, 0)}
    peer.post("VolumeDelete/v")
    assert space() == {"s": (4 * MIB, 4 * MIB)}


def test_who_stood_on_a_snapshot_that_goes_stores_its_data(peer: Peer) -> None:
    """Children keep the data of what is deleted [kb]: the space that it took is theirs then."""
    peer.create("v")
    fill(peer, "v", b"a" * 4 * MIB)
    peer.snapshot("v", "one")
    peer.snapshot("v", "two")
    peer.post("SnapshotDelete/one")
    peer.simulator.advance(3600)

    spaces = {one["name"]: one["storedSize"] for one in peer.get("SnapshotsSpace")}
    assert spaces == {"two": 4 * MIB}


def test_a_snapshot_is_on_the_volume_that_stands_on_it(peer: Peer) -> None:
    """onVolume is the volume that a snapshot is a parent of [sptypes], and all that
    VolumeListSnapshots tells are its parents [spapi]; of several it is the one that it was made
    of."""
    peer.create("v")
    for name in ("one", "two", "three"):
        peer.snapshot("v", name)
    peer.create("child", parent="one")
    peer.snapshot("child", "other")
    peer.create("grandchild", parent="other")

    def on() -> dict[str, str]:
        return {one["name"]: one["onVolume"] for one in peer.get("SnapshotsList")}

    assert on() == {"one": "v", "two": "v", "three": "v", "other": "child"}
    peer.post("VolumeDelete/v")
    assert on() == {"one": "child", "two": "-", "three": "-", "other": "child"}
    peer.post("VolumeDelete/child")
    assert on()["one"] == on()["other"] == "grandchild"


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcMode": "stay"},
        {"mcMode": ""},
        {"mcMode": True},
        {"onRemoteAttached": "force"},
        {"onRemoteAttached": ""},
        {"allowRemoteExported": "yes"},
        {"allowRemoteExported": 1},
    ],
    ids=str,
)
def test_words_about_other_clusters_are_checked(peer: Peer, wrong: dict[str, Any]) -> None:
    """mcMode and onRemoteAttached are one of the words of the schema [sptypes], and none of them is
    a field of a snapshot."""
    peer.create("v")
    peer.snapshot("v", "s")
    good = {"mcMode": "export", "onRemoteAttached": "detachForce", "allowRemoteExported": True}
    peer.reassign({"volume": "v", "rw": [1], **good})
    error = refused(peer, "VolumesReassign", [{"volume": "v", "rw": [2], **wrong}])
    assert error.name == "invalidParam"
    snapshot = {"snapshot": "s", "ro": [1], **good}
    assert refused(peer, "VolumesReassign", [snapshot]).name == "invalidParam"


def test_words_of_a_delete_and_an_acquire_are_checked(peer: Peer) -> None:
    """onAttached and onRemoteAttached are one of the words of the schema, and "" is none of them
    [sptypes]."""
    peer.create("v")
    for word in ("", "force", None):
        body = {"onAttached": word}
        assert refused(peer, "VolumeDelete/v", body).name == "invalidParam"
        acquired = {"onRemoteAttached": word}
        assert refused(peer, "MultiCluster/VolumeAcquire/v", acquired).name == "invalidParam"
    peer.post("MultiCluster/VolumeAcquire/v", {"onRemoteAttached": "detach"})
    peer.post("VolumeDelete/v", {"onAttached": "detach"})


@pytest.mark.parametrize("seconds", [1 << 63, 1 << 70, "9" * 19])
def test_a_number_has_64_bits(peer: Peer, seconds: Any) -> None:
    """What does not fit into 64 bits is refused, also as a moment that is so far away
    [sptypes]."""
    peer.create("v")
    for key in ("deleteAfter", "targetDeleteDate"):
        error = refused(peer, "VolumeSnapshot/v", {"name": "s", key: seconds})
        assert error.name == "invalidParam"
    error = refused(peer, "VolumeSnapshot/v", {"name": "s", "deleteAfter": (1 << 63) - 1})
    assert error.name == "invalidParam"


def test_the_group_tells_names(peer: Peer) -> None:
    """A backup attaches by the `snapshotName` of each row [addon mc], which is the name that the
    snapshot is listed by."""
    v, w = peer.create("v"), peer.create("")
    body = {"volumes": [{"volume": "v"}, {"volume": f"~{w}", "name": ""}, {"volume": f"~{v}"}]}
    assert refused(peer, "VolumesGroupSnapshot", body).name == "invalidParam"
    del body["volumes"][2]
    rows = peer.post("VolumesGroupSnapshot", body)["snapshots"]
    named, unnamed = (row["snapshotName"] for row in rows)
    assert named.startswith("v@")
    assert unnamed == f"~{rows[1]['snapshotGlobalId']}"
    for name in (named, unnamed):
        peer.reassign({"snapshot": name, "ro": [2]})
    assert peer.attached() == {(named, 2, "ro"), (unnamed, 2, "ro")}


def test_the_kind_of_limits_outlives_a_restart(tmp_path: Path) -> None:
    """limitType is kept with the object, and taken from the snapshot where a revert takes limits
    [kb] [cs]."""
    with opened_peer(tmp_path) as peer:
        peer.create("v", size=GIB, limitType="perGiB", iops=5)
        peer.snapshot("v", "s")
        peer.post("VolumeUpdate/v", {"limitType": "total"})
    with opened_peer(tmp_path, switches={"revert_limits": "snapshot"}) as peer:
        assert (peer.volume("v")["limitType"], peer.shot("s")["limitType"]) == ("total", "perGiB")
        peer.post("VolumeRevert/v", {"toSnapshot": "s"})
        assert peer.volume("v")["limitType"] == "perGiB"
