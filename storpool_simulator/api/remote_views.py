"""What is exported, and what others have exported to us, as the binding's objects [sptypes]."""

from __future__ import annotations

from typing import Any

from storpool_simulator.api.slices import Rows
from storpool_simulator.model import exports, fields, neighbours
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.exports import Seen
from storpool_simulator.model.objects import Entry

View = dict[str, Any]


def export_list(cluster: Cluster) -> View:
    """Return the reply of ExportsList."""
    then = cluster.picture()
    return {
        "exports": Rows(
            _export(
                then.catalog.entries.rows[one.global_id],
                neighbours.location_name(then, one.location_id),
                backing_up=one.backup_id is not None,
            )
            for one in then.catalog.exports
        )
    }


def volume_export_list(cluster: Cluster) -> View:
    """Return the reply of VolumeExportsList: `location` is the name of a cluster [inf]."""
    then = cluster.picture()
    known = then.catalog.neighbours.rows
    return {
        "exports": Rows(
            _export(
                then.catalog.entries.rows[one.global_id],
                known[one.cluster_id].name,
                backing_up=False,
            )
            for one in then.catalog.volume_exports
            if one.cluster_id in known
        )
    }


def remote_snapshots(cluster: Cluster) -> View:
    """Return the reply of SnapshotsRemoteList."""
    then = cluster.picture()
    return {"snapshots": Rows(_remote(then, one) for one in exports.seen(then))}


def remote_volumes(cluster: Cluster) -> View:
    """Return the reply of VolumesRemoteList."""
    then = cluster.picture()
    return {"volumes": Rows(_remote(then, one) for one in exports.seen(then, volumes=True))}


def remote_name(entry: Entry) -> str:
    """Return what a snapshot is called elsewhere: of an automatic name the volume's part [sptest].

    Without a name that is the source of a backup, else itself. The automatic name of an unnamed
    volume has its id.
    """
    name = (entry.own_name or "").split("@")[0]
    if entry.auto_name and fields.GLOBAL_ID.fullmatch(f"~{name}"):
        return f"~{name}"
    if fields.VOLUME_NAME.pattern.fullmatch(name):
        return name
    source = entry.created_from if entry.backup_of is not None else None
    return f"~{source or entry.wire_id}"


def _export(entry: Entry, location: str, *, backing_up: bool) -> View:
    return {
        "snapshot": entry.listed_name,
        "location": location,
        "globalId": entry.wire_id,
        "backingUp": backing_up,
        "volumeId": entry.number,
        "visibleVolumeId": entry.number,
    }


def _remote(cluster: Cluster, seen: Seen) -> View:
    entry = seen.entry
    view: View = {
        "name": remote_name(entry),
        "location": neighbours.location_name(cluster, seen.cluster.location_id),
        "remoteId": entry.wire_id,
        "size": entry.size_bytes,
        "creationTimestamp": entry.created_at,
        "tags": dict(entry.tags),
    }
    volume = cluster.catalog.find(f"~{entry.created_from}")
    if volume is not None and not volume.snapshot:
        view["onVolume"] = volume.listed_name
    local = cluster.catalog.find(f"~{entry.wire_id}")
    if local is not None and local.snapshot:
        view["localSnapshot"] = local.listed_name
    if entry.created_from is not None:
        view["createdFromGlobalId"] = entry.created_from
        view["createdFromVisibleVolumeId"] = entry.created_from_number
    return view
