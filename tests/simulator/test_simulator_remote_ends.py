"""What becomes of backups that nobody wants any more; refusals, forms and switches of backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import opened_trio
from copies_rig import MIB, backed_up, binding, recovering, remote_ids, slow
from simulator_fixtures import GIB, RefusedError, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clusters_rig import Trio

DAY = 86400


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Two clusters here, one elsewhere."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as clusters:
        yield clusters


def unexport(trio: Trio, remote_id: str, **more: Any) -> None:
    """Tell the far cluster that a backup is not wanted any more."""
    item = {"location": "rem", "globalSnapshotId": remote_id, **more}
    binding(trio.one).snapshotsRemoteUnexport({"remoteSnapshots": [item]})


def allow(trio: Trio, seconds: int | None) -> None:
    """Register the first cluster's bridge in the far one with a minimumDeleteDelay."""
    trio.far.control("POST", "bridges/one", {"minimumDeleteDelay": seconds})


def date(trio: Trio, remote_id: str) -> int:
    """Return in how many seconds a backup will be deleted there; 0: never."""
    when = int(trio.far.shot(f"~{remote_id}")["targetDeleteDate"])
    return when and when - int(trio.far.control("GET", "clock")["now"])


def test_a_date_is_ignored_without_a_word(trio: Trio) -> None:
    """deleteAfter has no effect unless the bridge is registered with minimumDeleteDelay [kb]: the
    backup is seen no more, and stays for ever."""
    trio.one.create("v", size=MIB)
    remote_id = backed_up(trio.one)
    unexport(trio, remote_id, deleteAfter=60)
    assert remote_ids(trio.one) == set()
    assert date(trio, remote_id) == 0
    trio.one.simulator.advance(DAY)
    assert trio.far.shot(f"~{remote_id}")["deleted"] is False


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ({"deleteAfter": 2 * DAY}, 2 * DAY),
        ({"deleteAfter": 60}, 3600),
        ({"targetDeleteDate": 1_760_000_000 + 7200}, 7200),
        ({"targetDeleteDate": 1_760_000_000 + 1}, 3600),
        ({"targetDeleteDate": 0}, 0),
        ({}, 0),
    ],
)
def test_a_date_is_kept_where_the_bridge_allows_it(
    trio: Trio, asked: dict[str, int], after: int
) -> None:
    """A date before minimumDeleteDelay is moved to it [kb]; then the backup is deleted."""
    allow(trio, 3600)
    trio.one.create("v", size=MIB)
    remote_id = backed_up(trio.one)
    unexport(trio, remote_id, **asked)
    assert date(trio, remote_id) == after
    trio.one.simulator.advance(10 * DAY)
    trio.far.get("VolumesList")
    gone = remote_id not in {one["globalId"] for one in trio.far.get("SnapshotsList")}
    assert gone == bool(after)


def test_all_are_unexported_or_none(trio: Trio) -> None:
    """One that is not there changes nothing about the others; one may be named twice."""
    trio.one.create("v", size=MIB)
    ids = [backed_up(trio.one) for _ in range(2)]
    items = [{"location": "rem", "globalSnapshotId": one} for one in (ids[0], "loc.a.zzz")]
    body = {"remoteSnapshots": items}
    assert refused(trio.one, "SnapshotsRemoteUnexport", body).name == "objectDoesNotExist"
    assert remote_ids(trio.one) == {*ids}
    body = {"remoteSnapshots": [items[0], items[0]]}
    trio.one.post("SnapshotsRemoteUnexport", body)
    assert remote_ids(trio.one) == {ids[1]}
    assert refused(trio.one, "SnapshotsRemoteUnexport", body).name == "objectDoesNotExist"
    assert refused(trio.one, "SnapshotsRemoteUnexport", {}).name == "invalidParam"


def test_nothing_is_unexported_while_the_bridge_is_cut(trio: Trio) -> None:
    """Nobody can be told; afterwards it works."""
    trio.one.create("v", size=MIB)
    remote_id = backed_up(trio.one)
    body = {"remoteSnapshots": [{"location": "rem", "globalSnapshotId": remote_id}]}
    trio.cut("far")
    assert refused(trio.one, "SnapshotsRemoteUnexport", body).name == "multiCluster"
    trio.heal("far")
    trio.one.post("SnapshotsRemoteUnexport", body)
    assert remote_ids(trio.one) == set()


# refusals, forms


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"volume": "v", "location": "nowhere"}, "objectDoesNotExist"),
        ({"volume": "w", "location": "rem"}, "objectDoesNotExist"),
        ({"volume": "s", "location": "rem"}, "objectDoesNotExist"),
        ({"location": "rem"}, "invalidParam"),
        ({"volume": "v"}, "invalidParam"),
        ({"volume": "v", "location": "rem", "what": 1}, "invalidParam"),
    ],
)
def test_what_cannot_be_backed_up_is_refused(trio: Trio, body: dict[str, Any], name: str) -> None:
    """Unknown volumes, snapshots, places; nothing is left behind."""
    trio.one.create("v", size=MIB)
    trio.one.snapshot("v", "s")
    assert refused(trio.one, "VolumeBackup", body).name == name
    assert len(trio.one.get("SnapshotsList")) == 1
    assert trio.far.get("SnapshotsList") == []


def test_a_backup_needs_room_and_a_bridge(trio: Trio) -> None:
    """Without them it is refused as a whole, here and there."""
    trio.one.create("v", size=20 * GIB, template="nvme")
    trio.far.create("large", size=90 * GIB, template="nvme")
    trio.switch(space_limit="provisioned")
    body = {"volume": "v", "location": "rem"}
    assert refused(trio.one, "VolumeBackup", body).name == "insufficientResources"
    trio.switch(space_limit="none")
    trio.cut("far")
    assert refused(trio.one, "VolumeBackup", body).name == "multiCluster"
    assert trio.one.get("SnapshotsList") == trio.far.get("SnapshotsList") == []
    assert trio.one.get("ExportsList") == {"exports": []}


@pytest.mark.parametrize(("switch", "mark"), [("schema", ""), ("listed", "~")])
def test_the_key_of_an_unnamed_volume(trio: Trio, switch: str, mark: str) -> None:
    """`group_backup_key`: a name by the schema, which has no `~`, or as it is listed."""
    trio.switch(group_backup_key=switch)
    v = trio.one.create("", size=MIB)
    body = {"volumes": [f"~{v}"], "location": "rem"}
    assert set(trio.one.post("VolumesGroupBackup", body)["backups"]) == {mark + v}
    assert binding(trio.one).snapshotsRemoteList()["snapshots"][0].name == f"~{v}"


def test_the_cluster_that_has_a_volume_sends_it(trio: Trio) -> None:
    """With MultiCluster/ a backup is asked for anywhere; a group is in one cluster [inf]."""
    trio.two.create("v", size=MIB)
    trio.one.create("w", size=MIB)
    one = binding(trio.one, multi_cluster=True)
    reply = one.volumeBackup({"volume": "v", "location": "rem"})
    assert reply.remoteId.startswith("loc.b.")
    assert remote_ids(trio.one) == remote_ids(trio.two) == {reply.remoteId}
    assert set(one.volumesGroupBackup({"volumes": ["v"], "location": "rem"}).backups) == {"v"}
    body = {"volumes": ["v", "w"], "location": "rem"}
    assert refused(trio.one, "MultiCluster/VolumesGroupBackup", body).name == "invalidParam"
    with pytest.raises(RefusedError):
        trio.one.post("VolumeBackup", {"volume": "v", "location": "rem"})


def test_a_backup_within_the_own_location(trio: Trio) -> None:
    """Another cluster of it is a place for backups too [cloudstack-dr]."""
    trio.one.create("v", size=MIB)
    remote_id = backed_up(trio.one, location="loc")
    assert trio.two.shot(f"~{remote_id}")["backup"] is True
    assert remote_ids(trio.one) == {remote_id}


def test_backups_are_found_by_their_tags(trio: Trio) -> None:
    """The list of what is elsewhere has the tags: retention is by them."""
    trio.one.create("v", size=MIB)
    for number in range(3):
        backed_up(trio.one, tags={"day": str(number)})
    listed = trio.one.get("SnapshotsRemoteList")["snapshots"]
    assert sorted(one["tags"]["day"] for one in listed) == ["0", "1", "2"]


def test_a_recovering_snapshot_goes_on_to_a_third_cluster(trio: Trio) -> None:
    """What is still coming is exported and fetched on: the bytes come through both bridges."""
    slow(trio)
    trio.one.create("v", size=MIB)
    s = trio.one.snapshot("v", "s")
    trio.one.post("SnapshotExport", {"snapshot": "s", "location": "rem"})
    trio.far.post("SnapshotFromRemote", {"remoteLocation": "loc", "remoteId": s, "export": True})
    trio.two.post("SnapshotFromRemote", {"remoteLocation": "rem", "remoteId": s})
    assert (recovering(trio.far), recovering(trio.two)) == ({s}, set())
    trio.one.simulator.advance(3600)
    assert recovering(trio.far) == set()
