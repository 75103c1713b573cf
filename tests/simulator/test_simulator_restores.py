"""Copies that are fetched from another location, and what is exported to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import opened_trio
from copies_rig import (
    MIB,
    MIB_SECONDS,
    backed_up,
    binding,
    checksum,
    fetched,
    recovering,
    remote_ids,
    slow,
)
from simulator_fixtures import GIB, content, fill, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clusters_rig import Trio


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Two clusters here, one elsewhere."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as clusters:
        yield clusters


@pytest.fixture
def remote_id(trio: Trio) -> str:
    """The backup of a volume `v` of 2 MiB, whose volume holds something else now."""
    trio.one.create("v", size=2 * MIB, tags={"cvm": "x"})
    fill(trio.one, "v", b"then")
    remote_id = backed_up(trio.one, tags={"a": "b"})
    fill(trio.one, "v", b"now!")
    return remote_id


def test_what_comes_back_has_the_remote_id(trio: Trio, remote_id: str) -> None:
    """The local copy is `~remoteId`; a second one is refused with objectExists [cloudstack-dr]."""
    slow(trio)
    key = fetched(trio.one, remote_id, template="hdd")
    assert recovering(trio.one) == {remote_id}
    body = {"remoteLocation": "rem", "remoteId": remote_id, "template": "hdd"}
    assert refused(trio.one, "SnapshotFromRemote", body).name == "objectExists"
    trio.one.simulator.advance(2 * MIB_SECONDS)
    shot = trio.one.shot(key)
    assert (shot["name"], shot["globalId"], shot["templateName"]) == (key, remote_id, "hdd")
    assert shot["recoveringFromRemote"] is False
    assert shot["visibleVolumeId"] == trio.far.shot(key)["visibleVolumeId"]
    assert checksum(trio.one, key) == checksum(trio.far, key)
    (seen,) = trio.one.get("SnapshotsRemoteList")["snapshots"]
    assert seen["localSnapshot"] == key


def test_a_volume_is_reverted_before_the_data_have_come(trio: Trio, remote_id: str) -> None:
    """Nobody waits: fetch, revert, delete the copy [cloudstack-dr]. Reads of what is still coming
    go over the bridge [kb], and the copy is gone when it has ended."""
    slow(trio)
    api = binding(trio.one)
    api.snapshotFromRemote({"remoteLocation": "rem", "remoteId": remote_id, "template": "nvme"})
    assert api.snapshotDescribe(f"~{remote_id}").size == 2 * MIB
    api.volumeRevert("v", {"toSnapshot": f"~{remote_id}"})
    api.snapshotDelete(f"~{remote_id}")
    assert content(trio.one, "v", 4) == b"then"
    (going,) = [one for one in trio.one.get("SnapshotsList") if one["globalId"] == remote_id]
    assert (going["deleted"], going["deleteBlocked"]) == (True, "recovering from remote")
    trio.one.simulator.advance(2 * MIB_SECONDS)
    assert [one for one in trio.one.get("SnapshotsList") if one["globalId"] == remote_id] == []
    assert content(trio.one, "v", 4) == b"then"
    assert trio.one.volume("v")["parentName"] != f"~{remote_id}"
    assert remote_ids(trio.one) == {remote_id}


@pytest.mark.parametrize("use", ["clone", "attach", "revert"])
def test_a_copy_under_way_is_read_over_the_bridge_or_busy(
    trio: Trio, remote_id: str, use: str
) -> None:
    """`recovering_use`: forward reads them over the bridge, which has to be up; refuse is busy
    until all have come."""
    slow(trio)
    key = fetched(trio.one, remote_id)
    calls: dict[str, tuple[str, Any]] = {
        "clone": ("VolumeCreate", {"name": "w", "parent": key}),
        "attach": ("VolumesReassign", [{"snapshot": key, "ro": [1]}]),
        "revert": ("VolumeRevert/v", {"toSnapshot": key}),
    }
    trio.switch(recovering_use="refuse")
    assert refused(trio.one, *calls[use]).name == "busy"
    trio.switch(recovering_use="forward")
    trio.cut("far")
    assert refused(trio.one, *calls[use]).name == "multiCluster"
    trio.heal("far")
    trio.one.post(*calls[use])
    trio.cut("far")
    trio.one.post(*(calls[use] if use == "revert" else ("VolumeCreate", {"parent": key})))
    assert content(trio.one, key, 4) == b"then"
    assert recovering(trio.one) == {remote_id}


def test_a_copy_has_a_name_and_a_place_when_asked(trio: Trio, remote_id: str) -> None:
    """Name, template, replication and export are taken from the request [sptypes] [sptest]."""
    api = binding(trio.one)
    wanted = {"remoteLocation": "rem", "remoteId": remote_id, "name": "restored", "export": True}
    api.snapshotFromRemote({**wanted, "replication": 2, "placeAll": "default"})
    (shot,) = api.snapshotList("restored")
    assert (shot.globalId, shot.replication, shot.autoName) == (remote_id, 2, False)
    assert [(one.snapshot, one.location) for one in api.exportsList()["exports"]] == [
        ("restored", "rem")
    ]
    trio.one.create("taken")
    trio.one.post(f"SnapshotDelete/~{remote_id}")
    body = {"remoteLocation": "rem", "remoteId": remote_id, "name": "taken"}
    assert refused(trio.one, "SnapshotFromRemote", body).name == "objectExists"


def test_a_volume_from_remote_takes_its_snapshot_along(trio: Trio, remote_id: str) -> None:
    """The volume stands on a copy of its own, which goes with the volume [git 2152d9a]."""
    api = binding(trio.one)
    api.volumeFromRemote({"remoteLocation": "rem", "remoteId": remote_id, "name": "w"})
    (volume,) = api.volumeList("w")
    assert (volume.size, volume.parentName) == (2 * MIB, f"~{remote_id}")
    assert content(trio.one, "w", 4) == b"then"
    assert trio.one.shot(f"~{remote_id}")["bound"] is True
    taken = {"remoteLocation": "rem", "remoteId": remote_id, "name": "w"}
    assert refused(trio.one, "VolumeFromRemote", taken).name == "objectExists"
    trio.one.post("VolumeDelete/w")
    trio.one.get("VolumesList")
    assert f"~{remote_id}" not in trio.one.names()


def test_what_storpools_smoke_test_does(trio: Trio) -> None:
    """It looks for the backup by the volume's name, and waits for the copy neither before it
    exports it nor before it deletes it [sptest]."""
    slow(trio)
    trio.one.create("v", size=MIB, template="hdd")
    api = binding(trio.one)
    (location,) = api.locationsList()["locations"]
    api.volumeBackup({"volume": "v", "location": location.name})
    assert api.snapshotsRemoteList()["snapshots"] == []
    trio.one.simulator.advance(MIB_SECONDS)
    (seen,) = [one for one in api.snapshotsRemoteList()["snapshots"] if one.name == "v"]
    api.snapshotFromRemote(
        {
            "name": "restored",
            "remoteId": seen.remoteId,
            "remoteLocation": location.name,
            "template": "hdd",
        }
    )
    api.snapshotExport({"snapshot": "restored", "location": location.name})
    api.snapshotUnexport({"snapshot": "restored", "location": location.name})
    api.snapshotDelete("restored")
    trio.one.simulator.advance(MIB_SECONDS)
    assert all(one.globalId != seen.remoteId for one in api.snapshotsList())


@pytest.mark.parametrize(
    ("query", "change", "name"),
    [
        ("SnapshotFromRemote", {"remoteLocation": "nowhere"}, "objectDoesNotExist"),
        ("SnapshotFromRemote", {"remoteId": "loc.a.zzz"}, "objectDoesNotExist"),
        ("SnapshotFromRemote", {"remoteId": "~loc.a.1"}, "invalidParam"),
        ("SnapshotFromRemote", {"template": "none"}, "objectDoesNotExist"),
        ("SnapshotFromRemote", {"what": 1}, "invalidParam"),
        ("SnapshotFromRemote", {"remoteLocation": ""}, "invalidParam"),
        ("VolumeFromRemote", {"name": ""}, "invalidParam"),
        ("VolumeFromRemote", {"name": "v"}, "objectExists"),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    trio: Trio, remote_id: str, query: str, change: dict[str, Any], name: str
) -> None:
    """Unknown places and ids, and what a name is taken by."""
    body = {"remoteLocation": "rem", "remoteId": remote_id, "name": "w", **change}
    assert refused(trio.one, query, body).name == name


# exports


def test_an_exported_snapshot_is_seen_by_all_of_its_location(trio: Trio) -> None:
    """Also by other clusters of the own one [kb]; what is exported is listed, and unexported from
    one location or from all [sptypes]."""
    trio.one.create("v", size=MIB)
    s = trio.one.snapshot("v", "s")
    api = binding(trio.one)
    for location in ("loc", "rem"):
        api.snapshotExport({"snapshot": "s", "location": location})
    assert remote_ids(trio.two) == remote_ids(trio.far) == {s}
    assert {
        (one.snapshot, one.location, one.backingUp) for one in api.exportsList()["exports"]
    } == {
        ("s", "loc", False),
        ("s", "rem", False),
    }
    (seen,) = binding(trio.two).snapshotsRemoteList()["snapshots"]
    assert (seen.location, seen.name, seen.onVolume) == ("loc", "s", None)
    api.snapshotUnexport({"snapshot": "s", "location": "loc"})
    assert (remote_ids(trio.two), remote_ids(trio.far)) == (set(), {s})
    again = {"snapshot": "s", "location": "loc"}
    assert refused(trio.one, "SnapshotUnexport", again).name == "objectDoesNotExist"
    api.snapshotUnexport({"snapshot": "s", "all": True})
    assert trio.one.get("ExportsList") == {"exports": []}
    assert refused(trio.one, "SnapshotUnexport", {"snapshot": "s"}).name == "invalidParam"
    body = {"remoteLocation": "loc", "remoteId": s}
    assert refused(trio.far, "SnapshotFromRemote", body).name == "objectDoesNotExist"


def test_a_source_is_held_while_it_is_copied(trio: Trio) -> None:
    """A snapshot that is deleted stays until its copy has ended, and is unexported by force alone:
    then the data do not come [sptypes]."""
    slow(trio)
    trio.one.create("v", size=MIB)
    s = trio.one.snapshot("v", "s")
    trio.one.post("SnapshotExport", {"snapshot": "s", "location": "rem"})
    fetched(trio.far, s, "loc")
    unexport = {"snapshot": "s", "location": "rem"}
    assert refused(trio.one, "SnapshotUnexport", unexport).name == "busy"
    trio.one.post("SnapshotDelete/s")
    assert "*s" in trio.one.names()
    trio.one.simulator.advance(MIB_SECONDS)
    assert "*s" not in trio.one.names()
    t = trio.one.snapshot("v", "t")
    trio.one.post("SnapshotExport", {"snapshot": "t", "location": "rem"})
    fetched(trio.far, t, "loc")
    trio.one.post("SnapshotUnexport", {"snapshot": "t", "all": True, "force": True})
    assert f"~{t}" not in trio.far.names()


def test_a_volume_is_exported_to_a_cluster(trio: Trio) -> None:
    """By name or id, to a cluster of the own location; it is listed here and there [sptypes]."""
    v = trio.one.create("v", size=GIB)
    one, two = binding(trio.one), binding(trio.two)
    one.volumeExport("v", {"cluster": "two"})
    one.volumeExport(f"~{v}", {"clusterId": "loc.b"})
    (export,) = one.volumeExportsList()["exports"]
    assert (export.snapshot, export.location, export.globalId) == ("v", "two", v)
    (seen,) = two.volumesRemoteList()["volumes"]
    assert (seen.name, seen.remoteId, seen.location, seen.size) == ("v", v, "loc", GIB)
    assert binding(trio.far).volumesRemoteList()["volumes"] == []
    for body, name in [
        ({"cluster": "far"}, "invalidParam"),
        ({"cluster": "nobody"}, "objectDoesNotExist"),
        ({"clusterId": "loc.z"}, "objectDoesNotExist"),
        ({}, "invalidParam"),
    ]:
        assert refused(trio.one, "VolumeExport/v", body).name == name
    trio.one.post("VolumeDelete/v")
    assert one.volumeExportsList()["exports"] == two.volumesRemoteList()["volumes"] == []
