"""Backups to another location: made, under way, done, and what came there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from clusters_rig import opened_trio
from copies_rig import (
    MIB,
    MIB_SECONDS,
    backed_up,
    backing_up,
    binding,
    checksum,
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
    with opened_trio(tmp_path) as clusters:
        yield clusters


def test_a_backup_is_another_snapshot_elsewhere_with_the_data(trio: Trio) -> None:
    """Its id is one of the cluster that sends, its visible id its own; it says of what it is a
    backup [git 2152d9a] [cloudstack-dr]."""
    trio.one.create("v", size=2 * MIB, template="nvme")
    fill(trio.one, "v", b"then")
    remote_id = backed_up(trio.one, tags={"virt": "ovirt"})
    fill(trio.one, "v", b"now!")
    assert remote_id.startswith("loc.a.")
    shot = trio.far.shot(f"~{remote_id}")
    assert shot["backup"] is True
    assert shot["recoveringFromRemote"] is False
    assert shot["tags"] == {"virt": "ovirt"}
    assert shot["templateName"] == "nvme"
    assert shot["backupOfGlobalId"].startswith("loc.a.")
    assert shot["backupOfGlobalId"] != remote_id
    assert shot["backupOfVisibleVolumeId"] != shot["visibleVolumeId"]
    assert shot["createdFromGlobalId"] == trio.one.volume("v")["globalId"]
    assert content(trio.far, f"~{remote_id}", 4) == b"then"


def test_a_backup_takes_its_time(trio: Trio) -> None:
    """The call returns at once; ExportsList tells that it is under way, SnapshotsRemoteList that it
    is done [sptypes] [sptest]."""
    slow(trio)
    trio.one.create("v", size=2 * MIB)
    fill(trio.one, "v", b"x" * MIB * 2)
    remote_id = backed_up(trio.one)
    assert len(backing_up(trio.one)) == 1
    assert recovering(trio.far) == {remote_id}
    assert remote_ids(trio.one) == set()
    trio.one.simulator.advance(2 * MIB_SECONDS - 1)
    assert recovering(trio.far) == {remote_id}
    trio.one.simulator.advance(1)
    assert backing_up(trio.one) == recovering(trio.far) == set()
    assert remote_ids(trio.one) == {remote_id}
    assert checksum(trio.far, f"~{remote_id}") == checksum(trio.one, "v")


def test_the_binding_makes_a_backup(trio: Trio) -> None:
    """Request and reply fit its schemas, and so do all lists while it is under way and after."""
    slow(trio)
    one, far = binding(trio.one), binding(trio.far)
    trio.one.create("v")
    reply = one.volumeBackup({"volume": "v", "location": "rem", "tags": {"del": "y"}})
    assert reply.name == f"~{reply.remoteId}"
    (export,) = one.exportsList()["exports"]
    assert (export.location, export.backingUp) == ("rem", True)
    assert far.volumeRelocatorStatus().recoveringFromRemote == 1
    trio.one.simulator.advance(3600)
    (shot,) = one.snapshotsRemoteList()["snapshots"]
    assert (shot.name, shot.location, shot.onVolume) == ("v", "rem", "v")
    assert (shot.remoteId, shot.size, shot.tags) == (reply.remoteId, GIB, {"del": "y"})
    assert far.snapshotList(f"~{reply.remoteId}")[0].name.startswith("v@")
    assert far.exportsList()["exports"][0].location == "loc"
    assert one.volumesRemoteList()["volumes"] == one.volumeExportsList()["exports"] == []


def test_a_group_is_backed_up_at_one_instant(trio: Trio) -> None:
    """All or none, with the ids there and here by volume [spapi]."""
    one = binding(trio.one)
    unnamed = trio.one.create("", size=MIB)
    for name in "vw":
        trio.one.create(name, size=MIB)
        fill(trio.one, name, name.encode())
    volumes = ["v", "w", f"~{unnamed}"]
    backups = one.volumesGroupBackup({"volumes": volumes, "location": "rem"}).backups
    assert set(backups) == {"v", "w", unnamed}
    for name in "vw":
        assert content(trio.far, f"~{backups[name].remoteId}", 1) == name.encode()
    before = trio.far.names()
    body = {"volumes": ["v", "missing"], "location": "rem"}
    assert refused(trio.one, "VolumesGroupBackup", body).name == "objectDoesNotExist"
    twice = {"volumes": ["v", "v"], "location": "rem"}
    assert refused(trio.one, "VolumesGroupBackup", twice).name == "invalidParam"
    assert trio.far.names() == before
