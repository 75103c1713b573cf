"""Exports: which snapshots other clusters may see and copy, and which volumes they may attach.

A snapshot is exported to a location: all clusters there see it, which may be the own location [kb].
A volume is exported to one cluster [sptypes].
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from storpool_simulator import errors
from storpool_simulator.model import copies, neighbours
from storpool_simulator.model import remote_requests as requests
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry, Export, Neighbour, VolumeExport


@dataclass(frozen=True)
class Seen:
    """What another cluster has exported to us."""

    cluster: Cluster
    entry: Entry


def create(cluster: Cluster, request: requests.SnapshotExport) -> None:
    """Carry out SnapshotExport; a second time as the switch `export_again` says."""
    with cluster.change():
        snapshot = cluster.catalog.usable_snapshot(request.snapshot)
        location_id = location_of(cluster, request.location)
        if location_id not in cluster.catalog.exported_to(snapshot.global_id):
            cluster.catalog.exports.put(Export(snapshot.global_id, location_id))
        elif cluster.switches["export_again"] == "error":
            raise errors.ObjectExistsError(
                f"'{snapshot.listed_name}' is exported to '{request.location}' already."
            )


def end(cluster: Cluster, request: requests.SnapshotUnexport) -> None:
    """Carry out SnapshotUnexport: from one location or from all.

    A snapshot whose data are still on their way to the location is busy; with `force` they will not
    come [sptypes].
    """
    with cluster.lock:
        snapshot = cluster.catalog.snapshot(request.snapshot)
        exported = cluster.catalog.exported_to(snapshot.global_id)
        if request.location is not None:
            location_id = location_of(cluster, request.location)
            if location_id not in exported:
                descr = f"'{snapshot.listed_name}' is not exported to '{request.location}'."
                raise errors.NoSuchObjectError(descr)
            exported = frozenset({location_id})
        under_way = [
            (target, copy)
            for target, copy in cluster.copies_of(snapshot.global_id)
            if target.location_id in exported
        ]
        if under_way and not request.force:
            there = under_way[0][0].catalog.meta.cluster_name
            raise errors.BusyError(f"'{snapshot.listed_name}' is still recovering in '{there}'.")
        for target, copy in under_way:
            copies.cancel(target, copy)
        with cluster.change():
            for location_id in exported & cluster.catalog.exported_to(snapshot.global_id):
                cluster.catalog.exports.drop((snapshot.global_id, location_id))


def create_of_volume(cluster: Cluster, key: str, request: requests.ClusterNamed) -> None:
    """Carry out VolumeExport: to a cluster of the own location [kb]."""
    with cluster.change():
        volume = cluster.catalog.volume(key)
        neighbour = _meant(cluster, request)
        if neighbour.location_id != cluster.location_id:
            raise errors.InvalidParamError(f"Cluster '{neighbour.name}' is in another location.")
        cluster.catalog.volume_exports.put(VolumeExport(volume.global_id, neighbour.cluster_id))


def seen(cluster: Cluster, *, volumes: bool = False) -> Iterator[Seen]:
    """Return what others have exported to us, cluster by cluster as we know them.

    One that cannot be reached is left out, or an error at once, by the switch `remote_list_cut`.
    """
    others = []
    for neighbour in cluster.catalog.neighbours:
        try:
            others.append(cluster.federation.reached(cluster, neighbour))
        except errors.ApiError:
            if cluster.switches["remote_list_cut"] == "error":
                raise
    return (
        Seen(other, entry)
        for other in others
        for entry in _exported(other, cluster, volumes=volumes)
    )


def one_seen(cluster: Cluster, location: str, remote_id: str) -> Seen:
    """Return a snapshot that a location has exported to us, by its global id.

    Raises NoSuchObjectError; ApiError as `Federation.reached` when nobody there can be reached.
    """
    location_id = location_of(cluster, location)
    there = [one for one in cluster.catalog.neighbours if one.location_id == location_id]
    unreached = None
    for neighbour in there:
        try:
            other = cluster.federation.reached(cluster, neighbour)
        except errors.ApiError as error:
            unreached = error
            continue
        entry = other.catalog.find(f"~{remote_id}")
        if entry is not None and _is_seen(other, entry, cluster):
            return Seen(other, entry)
    raise unreached or errors.NoSuchObjectError(
        f"Location '{location}' has exported no snapshot '{remote_id}' to us."
    )


def end_remote(cluster: Cluster, items: Sequence[requests.RemoteUnexport]) -> None:
    """Carry out SnapshotsRemoteUnexport: we will not use these any more [spapi]; all or none.

    A date to delete them is kept only where the bridge to us is registered with a
    minimumDeleteDelay, which it cannot undercut, and where deferred deletion is on: else it is
    ignored without a word [kb].
    """
    with cluster.lock, contextlib.ExitStack() as stack:
        found = [one_seen(cluster, item.location, item.remote_id) for item in items]
        for other in {one.cluster.cluster_id: one.cluster for one in found}.values():
            stack.enter_context(other.change())
        for item, one in zip(items, found):
            key = (one.entry.global_id, cluster.location_id)
            if key in one.cluster.catalog.exports.rows:  # it may be named twice
                one.cluster.catalog.exports.drop(key)
            date = _date(cluster, one.cluster, item)
            if date:
                entry = one.cluster.catalog.entries.rows[one.entry.global_id]
                one.cluster.catalog.entries.put(replace(entry, delete_at=date))


def location_of(cluster: Cluster, name: str) -> str:
    """Return the id of a location by its name here; the own one is called by its id."""
    if name == cluster.location_id:
        return name
    return neighbours.location(cluster, name).location_id


def _meant(cluster: Cluster, request: requests.ClusterNamed) -> Neighbour:
    if request.name is not None:
        return neighbours.neighbour(cluster, request.name)
    found = cluster.catalog.neighbours.get(request.cluster_id or "")
    if found is None:
        raise errors.NoSuchObjectError(f"Cluster {request.cluster_id} is not registered.")
    return found


def _date(cluster: Cluster, other: Cluster, item: requests.RemoteUnexport) -> int:
    """Return when another cluster will delete what we have asked it to; 0: never."""
    least = neighbours.minimum_delete_delay(other, cluster.cluster_id)
    now = int(other.now())
    asked = now + item.delete_after if item.delete_after else item.target_delete_date
    if least is None or not asked or other.switches["deferred_deletion"] != "on":
        return 0
    return max(asked, now + least)


def _exported(other: Cluster, cluster: Cluster, *, volumes: bool) -> Iterator[Entry]:
    rows = other.catalog.volume_exports if volumes else other.catalog.exports
    to = cluster.cluster_id if volumes else cluster.location_id
    for row in rows:
        entry = other.catalog.entries.rows[row.global_id]
        if row.key[1] == to and _is_seen(other, entry, cluster):
            yield entry


def _is_seen(other: Cluster, entry: Entry, cluster: Cluster) -> bool:
    """Return whether another cluster's object is exported to us, and no backup in the making."""
    if not entry.snapshot:
        return cluster.cluster_id in other.catalog.exported_to(entry.global_id)
    export = other.catalog.exports.get((entry.global_id, cluster.location_id))
    return export is not None and export.backup_id is None and not entry.deleted
