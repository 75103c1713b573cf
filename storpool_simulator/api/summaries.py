"""Volumes and snapshots as the binding's VolumeSummary and SnapshotSummary [sptypes]."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from storpool_simulator.model import objects, snapshots
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry

View = dict[str, Any]
# [sptypes] MultiClusterState; that a value is the place here is a guess.
_MC_STATES = ("clusterLocal", "owner", "ownerExported", "slaveCopy")


class Summaries:
    """Makes the summaries of one reply, of a cluster that does not change meanwhile.

    What it finds in a chain for one of them serves the others: all together take as many steps as
    there are objects.
    """

    def __init__(self, cluster: Cluster, multi_cluster: bool) -> None:
        self._cluster = cluster
        self._multi_cluster = multi_cluster
        self._above = _Above(cluster)

    def of(self, entry: Entry) -> View:
        """Return a VolumeSummary or a SnapshotSummary; `tags` is always in it [sp-os]."""
        catalog = self._cluster.catalog
        parent = self._cluster.parent(entry)
        template = catalog.templates.get(entry.template_id)
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
            "bw": limit(entry.bw),
            "iops": limit(entry.iops),
            "limitType": entry.limit_type,
            "reuseServer": entry.reuse_server,
            "tags": dict(entry.tags),
        }
        if self._cluster.switches["reply_fields"] == "newest":
            view["snapshot"] = entry.snapshot  # read [pve] though not in the binding
        if self._multi_cluster:
            view.update(clusterName=catalog.meta.cluster_name, clusterId=catalog.meta.cluster_id)
        if entry.snapshot:
            view.update(self._snapshot_part(entry))
        elif self._cluster.switches.on("preserved_id"):
            view["preservedGlobalId"] = entry.global_id  # the first one [addon]
        view.update(_place(self._cluster, entry))
        return view

    def _snapshot_part(self, entry: Entry) -> View:
        view: View = {
            "onVolume": self._on_volume(entry),
            "autoName": entry.auto_name,
            "bound": entry.bound,
            "deleted": entry.deleted,
            "transient": entry.transient,
            "targetDeleteDate": entry.delete_at,
            "recoveringFromRemote": entry.global_id in self._cluster.catalog.copies.rows,
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
            view["deleteBlocked"] = _blocked(self._cluster, entry)
        return view

    def _on_volume(self, snapshot: Entry) -> str:
        """Return "the volume that this is a parent of" [sptypes]."""
        volume = self._above.volume(snapshot)
        if volume is not None:
            return volume.listed_name
        return "-" if self._cluster.switches["on_volume_none"] == "dash" else ""


class _Above:
    """Which volume a snapshot is a parent of: all of a volume's chain are its parents [spapi].

    The switch `on_volume` says whether they count, or only the next one.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reach = None if cluster.switches["on_volume"] == "chain" else 1
        # By volume: the parents that were looked at, and those that were not yet.
        self._parents: dict[str, tuple[set[str], Iterator[Entry]]] = {}
        self._volumes: dict[str, Entry | None] = {}  # by snapshot, as far as known

    def volume(self, snapshot: Entry) -> Entry | None:
        """Return the volume that a snapshot was made of, else any, of those that stand on it."""
        source = self._cluster.catalog.find(f"~{snapshot.created_from}")
        is_volume = source is not None and not source.snapshot
        if source is not None and is_volume and self._stands_on(source, snapshot):
            return source
        return self._any(snapshot)

    def _stands_on(self, volume: Entry, snapshot: Entry) -> bool:
        if volume.global_id not in self._parents:
            parents = snapshots.each_ancestor(self._cluster, volume)
            self._parents[volume.global_id] = set(), itertools.islice(parents, self._reach)
        seen, left = self._parents[volume.global_id]
        if snapshot.global_id in seen:
            return True
        for parent in left:
            seen.add(parent.global_id)
            if parent.global_id == snapshot.global_id:
                return True
        return False

    def _any(self, snapshot: Entry) -> Entry | None:
        above, at, found = [snapshot], snapshot, None
        while above and found is None:
            at = above.pop()
            if at.global_id not in self._volumes:
                children = [*self._cluster.catalog.children(at.global_id)]
                volumes = (child for child in children if not child.snapshot)
                self._volumes[at.global_id] = next(volumes, None)
                if self._reach is None and all(child.snapshot for child in children):
                    above += children
            found = self._volumes[at.global_id]
        if found is not None:  # also above all that is on the way
            for each in itertools.chain([at], snapshots.each_ancestor(self._cluster, at)):
                self._volumes[each.global_id] = found
                if each.global_id == snapshot.global_id:
                    break
        return found


def objects_count(entry: Entry) -> int:
    """Return of how many objects it is."""
    return -(-entry.size_bytes // objects.OBJECT_SIZE)


def limit(value: int) -> int | str:
    """Return a limit of bw or iops as it is shown."""
    return "-" if value == objects.UNLIMITED else value


def _place(cluster: Cluster, entry: Entry) -> View:
    """Return what is told of an object that has moved, or is copied: who owns it [sptypes].

    The binding knows these fields of snapshots only; of a volume they are told when it moves.
    """
    if entry.moved_to is not None:
        return {**_mc_state("slaveCopy"), "volumeMoveSource": True}
    if entry.slave:
        return _mc_state("slaveCopy")
    if entry.moves:
        is_exported = bool(cluster.catalog.may_attach(entry.global_id))
        return _mc_state("ownerExported" if is_exported else "owner")
    return {}


def _mc_state(state: str) -> View:
    return {"mcState": state, "mcStateVal": _MC_STATES.index(state)}


def _blocked(cluster: Cluster, entry: Entry) -> str:
    """Return what a snapshot that is being deleted waits for [sptypes]."""
    if entry.global_id in cluster.catalog.copies.rows:
        return "recovering from remote"
    if entry.parent_id in cluster.catalog.copies.rows:
        return "parent recovering from remote"
    if cluster.catalog.children_count(entry.global_id) > 1:
        return "multiple children"
    return "pending"
