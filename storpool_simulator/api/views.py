"""Volumes, snapshots and attachments as the reply objects of the official binding [sptypes]."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from storpool_simulator import errors
from storpool_simulator.api.slices import Named, Rows
from storpool_simulator.model import disks, objects, policy, snapshots
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Attachment, Bucket, Entry, Template

View = dict[str, Any]


def volume_list(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of VolumesList."""
    then = cluster.picture()
    return Rows(summary(then, entry, multi_cluster) for entry in _entries(then, snapshot=False))


def snapshot_list(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of SnapshotsList: those that are being deleted are in it [sptest]."""
    then = cluster.picture()
    return Rows(summary(then, entry, multi_cluster) for entry in _entries(then, snapshot=True))


def volume_space(cluster: Cluster, multi_cluster: bool) -> Rows:
    """Return the reply of VolumesSpace: `spaceUsed` counts what the parents hold too [sptypes]."""
    then = cluster.picture()
    return Rows(
        {
            **summary(then, entry, multi_cluster),
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
    return Rows(
        {
            **summary(then, entry, multi_cluster),
            "storedSize": entry.stored_bytes,
            "spaceUsed": 0 if then.catalog.children_count(entry.global_id) else entry.stored_bytes,
        }
        for entry in _entries(then, snapshot=True)
    )


def statuses(cluster: Cluster, multi_cluster: bool) -> Named:
    """Return the reply of VolumesGetStatus: volumes and snapshots by name, with sizes."""
    then = cluster.picture()
    return Named(
        (
            entry.listed_name,
            {
                **_status(then, entry, multi_cluster),
                "storedSize": entry.stored_bytes,
                "onDiskSize": entry.stored_bytes * entry.replication,
            },
        )
        for entry in entries(then)
    )


def quick_statuses(cluster: Cluster, multi_cluster: bool) -> Named:
    """Return the reply of VolumesGetStatusQuick: volumes and snapshots by name."""
    then = cluster.picture()
    return Named(
        (entry.listed_name, _status(then, entry, multi_cluster)) for entry in entries(then)
    )


def mixed_list(cluster: Cluster, multi_cluster: bool) -> View:
    """Return the reply of VolumesAndSnapshotsList: both kinds in one list.

    It is not in the official binding; only one caller is known [pve].
    """
    then = cluster.picture()
    return {
        "volumes": Rows(
            {
                **summary(then, entry, multi_cluster),
                "snapshot": entry.snapshot,
                "storedSize": entry.stored_bytes,
            }
            for entry in entries(then)
        )
    }


def alone(cluster: Cluster, entry: Entry, multi_cluster: bool) -> list[View]:
    """Return the reply of Volume and Snapshot: an array of one [pve] [brick]."""
    return [summary(cluster, entry, multi_cluster)]


def described(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    """Return the reply of VolumeDescribe and SnapshotDescribe.

    It has one element for each object of the volume, which is heavy.
    """
    disk_set = disks.disk_set(entry.replication)
    return {
        **summary(cluster, entry, multi_cluster),
        "targetDiskSets": [disk_set],
        "objects": [disk_set] * objects_count(entry),
    }


def info(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    """Return the reply of VolumeGetInfo and SnapshotGetInfo."""
    disk_set, count = disks.disk_set(entry.replication), objects_count(entry)
    return {
        **summary(cluster, entry, multi_cluster),
        "disksCount": len(disk_set),
        "objectsPerDisk": {str(disk): count for disk in disk_set},
        "objectsPerChain": [{"disks": disk_set, "count": count}],
        "objectsPerDiskSet": [{"disks": disk_set, "count": count}],
    }


def chain(cluster: Cluster, volume: Entry) -> list[View]:
    """Return the reply of VolumeListSnapshots: the parents of a volume, nearest first."""
    return [summary(cluster, entry, False) for entry in snapshots.ancestors(cluster, volume)]


def summary(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    """Return a VolumeSummary or a SnapshotSummary; `tags` is always in it [sp-os]."""
    parent = cluster.parent(entry)
    template = cluster.catalog.templates.get(entry.template_id)
    view: View = {
        "id": entry.number,
        "name": entry.listed_name,
        "globalId": entry.wire_id,
        "visibleVolumeId": entry.number,
        "size": entry.size_bytes,
        "parentName": "" if parent is None else parent.listed_name,
        "templateName": "" if template is None else template.name,
        "templateId": entry.template_id,
        "parentVolumeId": 0 if parent is None else parent.number,
        "originalParentVolumeId": 0 if parent is None else parent.number,
        "replication": entry.replication,
        "placeAll": entry.place_all,
        "placeTail": entry.place_tail,
        "placeHead": entry.place_head,
        "objectsCount": objects_count(entry),
        "creationTimestamp": entry.created_at,
        "flags": 0,
        "firstNotParentObjectId": 0,
        "bw": _limit(entry.bw),
        "iops": _limit(entry.iops),
        "limitType": entry.limit_type,
        "reuseServer": entry.reuse_server,
        "tags": dict(entry.tags),
    }
    if cluster.switches["reply_fields"] == "newest":
        view["snapshot"] = entry.snapshot  # read [pve] though not in the binding
    if multi_cluster:
        view.update(
            clusterName=cluster.catalog.meta.cluster_name, clusterId=cluster.catalog.meta.cluster_id
        )
    if entry.snapshot:
        view.update(_snapshot_part(cluster, entry))
    elif cluster.switches.on("preserved_id"):
        view["preservedGlobalId"] = entry.global_id  # the first one [addon]
    view.update(_place(cluster, entry))
    return view


def _place(cluster: Cluster, entry: Entry) -> View:
    """Return what is told of an object that has moved, or is copied: who owns it [sptypes].

    The binding knows these fields of snapshots only; of a volume they are told when it moves.
    """
    if entry.moved_to is not None:
        return {**_mc_state("slaveCopy"), "volumeMoveSource": True}
    if entry.slave:
        return _mc_state("slaveCopy")
    is_exported = bool(cluster.catalog.may_attach(entry.global_id))
    if entry.moves:
        return _mc_state("ownerExported" if is_exported else "owner")
    return {}


def _mc_state(state: str) -> View:
    return {"mcState": state, "mcStateVal": _MC_STATES.index(state)}


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
        "bw": _limit(one.bw),
        "iops": _limit(one.iops),
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
        limits = {"bw": _limit(one.bw), "iops": _limit(one.iops)}
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


# [sptypes] MultiClusterState; that a value is the place here is a guess.
_MC_STATES = ("clusterLocal", "owner", "ownerExported", "slaveCopy")
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


def _status(cluster: Cluster, entry: Entry, multi_cluster: bool) -> View:
    return {**summary(cluster, entry, multi_cluster), **_HEALTHY, "snapshot": entry.snapshot}


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


def _snapshot_part(cluster: Cluster, entry: Entry) -> View:
    view: View = {
        "onVolume": _on_volume(cluster, entry),
        "autoName": entry.auto_name,
        "bound": entry.bound,
        "deleted": entry.deleted,
        "transient": entry.transient,
        "targetDeleteDate": entry.delete_at,
        "recoveringFromRemote": entry.global_id in cluster.catalog.copies.rows,
        "backup": entry.backup_of is not None,
        "mcState": "clusterLocal",
        "mcStateVal": 0,
    }
    if entry.created_from is not None:
        view["createdFromGlobalId"] = entry.created_from
        view["createdFromVisibleVolumeId"] = entry.created_from_number
    if entry.backup_of is not None:
        view["backupOfGlobalId"] = entry.backup_of
        view["backupOfVisibleVolumeId"] = entry.backup_of_number
    if entry.deleted:
        view["deleteBlocked"] = _blocked(cluster, entry)
    return view


def _blocked(cluster: Cluster, entry: Entry) -> str:
    """Return what a snapshot that is being deleted waits for [sptypes]."""
    if entry.global_id in cluster.catalog.copies.rows:
        return "recovering from remote"
    if entry.parent_id in cluster.catalog.copies.rows:
        return "parent recovering from remote"
    if cluster.catalog.children_count(entry.global_id) > 1:
        return "multiple children"
    return "pending"


def _on_volume(cluster: Cluster, entry: Entry) -> str:
    """Return "the volume that this is a parent of" [sptypes]; all of its chain are parents [spapi].

    Of several the one that it was made of, else any.
    """
    reach = None if cluster.switches["on_volume"] == "chain" else 1
    source = cluster.catalog.find(f"~{entry.created_from}")
    if source is not None and not source.snapshot and _stands_on(cluster, source, entry, reach):
        return source.listed_name
    above = [entry.global_id]
    while above:
        for child in cluster.catalog.children(above.pop()):
            if not child.snapshot:
                return child.listed_name
            if reach is None:
                above.append(child.global_id)
    return "-" if cluster.switches["on_volume_none"] == "dash" else ""


def _stands_on(cluster: Cluster, volume: Entry, snapshot: Entry, reach: int | None) -> bool:
    """Return whether a volume stands on a snapshot, at most `reach` parents below it."""
    parents = itertools.islice(snapshots.each_ancestor(cluster, volume), reach)
    return any(parent.global_id == snapshot.global_id for parent in parents)


def _chain_bytes(cluster: Cluster, entry: Entry) -> int:
    stored_bytes = entry.stored_bytes + sum(
        one.stored_bytes for one in snapshots.ancestors(cluster, entry)
    )
    return min(stored_bytes, entry.size_bytes)


def objects_count(entry: Entry) -> int:
    """Return of how many objects it is."""
    return -(-entry.size_bytes // objects.OBJECT_SIZE)


def _limit(value: int) -> int | str:
    return "-" if value == objects.UNLIMITED else value
