"""Lists of everything, attachments, templates and buckets as the binding's objects [sptypes]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storpool_simulator import errors
from storpool_simulator.api import summaries
from storpool_simulator.api.slices import Named, Rows
from storpool_simulator.api.summaries import Summaries
from storpool_simulator.model import disks, policy, snapshots
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Attachment, Bucket, Entry, Template

View = dict[str, Any]


def volume_list(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of VolumesList."""
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Rows(map(shown.of, _entries(then, snapshot=False)))


def snapshot_list(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of SnapshotsList: those that are being deleted are in it [sptest]."""
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Rows(map(shown.of, _entries(then, snapshot=True)))


def volume_space(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of VolumesSpace: `spaceUsed` counts what the parents hold too [sptypes]."""
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Rows(
        {
            **shown.of(entry),
            "storedSize": entry.stored_bytes,
            "spaceUsed": _chain_bytes(then, entry),
        }
        for entry in _entries(then, snapshot=False)
    )


def snapshot_space(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of SnapshotsSpace: `spaceUsed` is what a delete would free [sptypes].

    That is nothing while something stands on it, which needs its data.
    """
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Rows(
        {
            **shown.of(entry),
            "storedSize": entry.stored_bytes,
            "spaceUsed": 0 if then.catalog.children_count(entry.global_id) else entry.stored_bytes,
        }
        for entry in _entries(then, snapshot=True)
    )


def statuses(cluster: Cluster, multi_cluster: bool) -> Named:
    """Return the reply of VolumesGetStatus: volumes and snapshots by name, with sizes."""
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Named(
        (
            entry.listed_name,
            {
                **_status(shown, entry),
                "storedSize": entry.stored_bytes,
                "onDiskSize": entry.stored_bytes * entry.replication,
            },
        )
        for entry in entries(then)
    )


def quick_statuses(cluster: Cluster, multi_cluster: bool) -> Named:
    """Return the reply of VolumesGetStatusQuick: volumes and snapshots by name."""
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return Named((entry.listed_name, _status(shown, entry)) for entry in entries(then))


def mixed_list(cluster: Cluster, multi_cluster: bool) -> View:
    """Return the reply of VolumesAndSnapshotsList: both kinds in one list.

    It is not in the official binding; only one caller is known [pve].
    """
    then = cluster.picture()
    shown = Summaries(then, multi_cluster)
    return {
        "volumes": Rows(
            {
                **shown.of(entry),
                "snapshot": entry.snapshot,
                "storedSize": entry.stored_bytes,
            }
            for entry in entries(then)
        )
    }


def alone(cluster: Cluster, entry: Entry, multi_cluster: bool) -> list[View]:
    """Return the reply of Volume and Snapshot: an array of one [pve] [brick]."""
    return [Summaries(cluster, multi_cluster).of(entry)]


def described(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    """Return the reply of VolumeDescribe and SnapshotDescribe.

    It has one element for each object of the volume, which is heavy.
    """
    disk_set = disks.disk_set(entry.replication)
    return {
        **Summaries(cluster, multi_cluster).of(entry),
        "targetDiskSets": [disk_set],
        "objects": [disk_set] * summaries.objects_count(entry),
    }


def info(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    """Return the reply of VolumeGetInfo and SnapshotGetInfo."""
    disk_set, count = disks.disk_set(entry.replication), summaries.objects_count(entry)
    return {
        **Summaries(cluster, multi_cluster).of(entry),
        "disksCount": len(disk_set),
        "objectsPerDisk": {str(disk): count for disk in disk_set},
        "objectsPerChain": [{"disks": disk_set, "count": count}],
        "objectsPerDiskSet": [{"disks": disk_set, "count": count}],
    }


def chain(cluster: Cluster, volume: Entry) -> Rows:
    """Return the reply of VolumeListSnapshots: the parents of a volume, nearest first."""
    then = cluster.picture()
    return Rows(map(Summaries(then, False).of, snapshots.each_ancestor(then, volume)))


def attachment_list(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of AttachmentsList: one element for each object and client.

    Ids are numbers, whatever they came as [sptypes].
    """
    then = cluster.picture()
    rows = (_attachment(then, one, multi_cluster) for one in then.catalog.attachments)
    return Rows(row for row in rows if row is not None)


def _attachment(cluster: Cluster, attachment: Attachment, multi_cluster: bool) -> View | None:
    entry, meta = _attached(cluster, attachment), cluster.catalog.meta
    if entry is None:
        return None
    own = {"cluster": meta.cluster_name, "clusterId": meta.cluster_id} if multi_cluster else {}
    return {
        "volume": entry.listed_name,
        "snapshot": entry.snapshot,
        "client": attachment.client_id,
        "rights": "ro" if attachment.read_only else "rw",
        "pos": attachment.position,
        "globalId": entry.wire_id,
        **own,
    }


def _attached(cluster: Cluster, attachment: Attachment) -> Entry | None:
    """Return what is attached, or None: an old picture may show what another cluster deleted."""
    try:
        return cluster.located(attachment.global_id)[1]
    except errors.NoSuchObjectError:
        return None


def template(cluster: Cluster, one: Template) -> View:
    """Return a VolumeTemplateDesc."""
    parent = cluster.catalog.entries.get(one.parent_id or "")
    return {
        "id": one.number,
        "name": one.name,
        "parentName": "" if parent is None else parent.listed_name,
        "placeAll": one.place_all,
        "placeTail": one.place_tail,
        "placeHead": one.place_head,
        "size": one.size_bytes or "-",
        "replication": one.replication,
        "bw": summaries.limit(one.bw),
        "iops": summaries.limit(one.iops),
        "limitType": one.limit_type,
        "reuseServer": one.reuse_server,
    }


def template_status(cluster: Cluster, one: Template) -> View:
    """Return a VolumeTemplateStatusDesc.

    It is made from running sums, so it is as fast with many volumes as with few.
    """
    tally = cluster.catalog.tally(one.number)
    free_bytes = max(0, one.capacity_bytes - policy.counted_bytes(cluster, one.number))
    limits: View = {}
    if cluster.switches["reply_fields"] == "newest":  # read [addon mc] though not in the binding
        limits = {"bw": summaries.limit(one.bw), "iops": summaries.limit(one.iops)}
    physical = {
        "capacity": one.capacity_bytes * one.replication,
        "available": free_bytes * one.replication,
    }
    estimate = {
        "capacity": one.capacity_bytes,
        "free": free_bytes,
        "internal": {"u1": 0, "u2": 0, "u3": 0},
    }
    return {
        "id": one.number,
        "name": one.name,
        "placeAll": one.place_all,
        "placeTail": one.place_tail,
        "placeHead": one.place_head,
        "replication": one.replication,
        **limits,
        "volumesCount": tally.volumes,
        "snapshotsCount": tally.snapshots,
        "removingSnapshotsCount": tally.removing,
        "size": tally.volumes_bytes,
        "totalSize": tally.volumes_bytes * one.replication,
        "storedSize": tally.stored_bytes,
        "onDiskSize": tally.stored_bytes * one.replication,
        "volumesSize": tally.volumes_bytes,
        "snapshotsWithoutChildrenSize": tally.childless_bytes,
        "snapshotsWithChildrenSize": tally.parents_bytes,
        **{
            f"{kind}Place{which}": value
            for kind, value in physical.items()
            for which in ("All", "Tail", "Head")
        },
        "stored": {**estimate, "placeAll": estimate, "placeTail": estimate, "placeHead": estimate},
    }


def bucket(one: Bucket) -> View:
    """Return a KeyValueBucket."""
    return {"name": one.name, "version": one.version, "pairs": dict(one.pairs)}


_HEALTHY: View = {
    "status": "up",
    "migrating": False,
    "decreasedRedundancy": False,
    "balancerBlocked": False,
    "syncingDataBytes": 0,
    "syncingMetaObjects": 0,
    "downBytes": 0,
    "upSoonChainsCount": 0,
    "downDrives": [],
    "missingDrives": [],
    "missingTargetDrives": [],
    "softEjectingDrives": [],
}


def _status(shown: Summaries, entry: Entry) -> View:
    return {**shown.of(entry), **_HEALTHY, "snapshot": entry.snapshot}


def _entries(cluster: Cluster, *, snapshot: bool) -> Iterator[Entry]:
    return (entry for entry in entries(cluster) if entry.snapshot == snapshot)


def entries(cluster: Cluster) -> Iterator[Entry]:
    """Yield all volumes and snapshots of a picture, which it holds until it has ended.

    They come in the order that the switch asks for: lists promise none.
    """
    if cluster.switches["list_order"] == "created":
        yield from cluster.catalog.entries
    else:
        yield from [*cluster.catalog.entries][::-1]


def _chain_bytes(cluster: Cluster, entry: Entry) -> int:
    stored_bytes = entry.stored_bytes + sum(
        one.stored_bytes for one in snapshots.ancestors(cluster, entry)
    )
    return min(stored_bytes, entry.size_bytes)
