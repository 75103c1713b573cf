"""Backups between clusters as a test looks at them: contents by checksum, and who is on its way."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from simulator_fixtures import GIB, TOKEN, Peer, Strict
from storpool import spapi

if TYPE_CHECKING:
    from clusters_rig import Trio

MIB = 1 << 20
# What the copy of a MiB takes at this speed, in seconds; an empty one takes as long.
MIB_SECONDS = 10
SLOW = MIB_SECONDS * (GIB // MIB)


def binding(peer: Peer, *, multi_cluster: bool = False) -> Strict:
    """The official binding, strict both ways, without its own repeats."""
    api = spapi.Api(
        peer.host, peer.port, auth=TOKEN, transientRetries=0, multiCluster=multi_cluster
    )
    return Strict(api)


def slow(trio: Trio, name: str = "far", seconds_per_gib: float = SLOW) -> None:
    """Have the first cluster's bridge to another need so long."""
    trio.one.control("POST", f"bridges/{name}", {"secondsPerGiB": seconds_per_gib})


def checksum(peer: Peer, key: str) -> str:
    """Of what an object holds in this cluster, as its device would read it."""
    entry = peer.simulator.cluster.catalog.find(key)
    assert entry is not None
    return hashlib.sha256(
        peer.simulator.cluster.files.path(entry.global_id).read_bytes()
    ).hexdigest()


def remote_ids(peer: Peer) -> set[str]:
    """The ids in SnapshotsRemoteList."""
    return {one["remoteId"] for one in peer.get("SnapshotsRemoteList")["snapshots"]}


def backing_up(peer: Peer) -> set[str]:
    """The ids in ExportsList of snapshots that are the base of a backup in the making."""
    return {one["globalId"] for one in peer.get("ExportsList")["exports"] if one["backingUp"]}


def recovering(peer: Peer) -> set[str]:
    """The ids of the snapshots whose data are still coming."""
    return {one["globalId"] for one in peer.get("SnapshotsList") if one["recoveringFromRemote"]}


def backed_up(peer: Peer, volume: str = "v", location: str = "rem", **more: Any) -> str:
    """Make a backup; returns its id."""
    body = {"volume": volume, "location": location, **more}
    return str(peer.post("VolumeBackup", body)["remoteId"])


def fetched(peer: Peer, remote_id: str, location: str = "rem", **more: Any) -> str:
    """Have a snapshot of another location copied here; returns its key."""
    body = {"remoteLocation": location, "remoteId": remote_id, **more}
    peer.post("SnapshotFromRemote", body)
    return f"~{remote_id}"
