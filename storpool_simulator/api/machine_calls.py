"""Calls about disks, placement groups, nodes, relocator and balancer: the machine room.

What moves data has nothing to move, so its replies are still pictures of a cluster at rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from storpool_simulator import errors
from storpool_simulator.api import queries, summaries, views
from storpool_simulator.api.queries import Call
from storpool_simulator.api.slices import Rows
from storpool_simulator.model import copies, disks, groups, maintenance, requests
from storpool_simulator.model.objects import Entry, PlacementGroup

View = dict[str, Any]


# disks


def _server_disks(call: Call) -> View:
    return disks.disks(call.cluster, call.number())


def _server_disk(call: Call) -> View:
    return disks.described(call.cluster, call.number(1), call.number())


def _disk(call: Call) -> View:
    return disks.described(call.cluster, call.number())


def _disk_requests(call: Call) -> View:
    return {"diskId": disks.said(call.cluster, call.number()).disk_id, "requests": []}


def _client_requests(call: Call) -> View:
    if call.cluster.catalog.clients.get(call.number()) is None:
        raise errors.InvalidParamError("No such client registered")
    return {"clientId": call.number(), "requests": []}


def _set_description(call: Call) -> None:
    disks.describe(call.cluster, call.number(), requests.disk_description(call.fields()))


def _soft_eject(state: str) -> Callable[[Call], None]:
    def handle(call: Call) -> None:
        call.fields().end()
        disks.soft_eject(call.cluster, call.number(), state)

    return handle


def _scrub(step: Callable[[Any, int], None]) -> Callable[[Call], None]:
    def handle(call: Call) -> None:
        call.fields().end()
        step(call.cluster, call.number())

    return handle


# placement groups


def _group(one: PlacementGroup) -> View:
    return {"id": one.number, "name": one.name, "disks": list(one.disks)}


def _groups(call: Call) -> View:
    return {one.name: _group(one) for one in call.cluster.catalog.groups}


def _group_described(call: Call) -> View:
    return _group(groups.group(call.cluster, call.name))


def _group_update(call: Call) -> None:
    groups.update(call.cluster, call.name, requests.group_update(call.fields()))


def _group_delete(call: Call) -> None:
    call.fields().end()
    groups.delete(call.cluster, call.name)


# maintenance


def _maintenance_set(call: Call) -> None:
    maintenance.begin(call.cluster, requests.maintenance_set(call.fields()))


def _maintenance_complete(call: Call) -> None:
    maintenance.complete(call.cluster, requests.maintenance_complete(call.fields()))


# relocator and balancer


def _relocator(call: Call) -> View:
    recovering = copies.recovering(call.cluster)
    return {"status": "on", "volumesToRelocate": 0, "recoveringFromRemote": recovering}


def _all_targets(call: Call) -> View:
    shown = disks.disks(call.cluster)
    return {
        disk: _target(view, view["objectsAllocated"], view["objectsOnDiskSize"])
        for disk, view in shown.items()
    }


def _targets(call: Call, entry: Entry) -> View:
    """Return where an object of the cluster is and will be: on the same disks."""
    shown, count = disks.disks(call.cluster), summaries.objects_count(entry)
    return {
        str(disk): _target(shown[str(disk)], count, entry.stored_bytes)
        for disk in disks.disk_set(entry.replication)
    }


def _target(disk: Mapping[str, Any], count: int, stored_bytes: int) -> View:
    return {
        **{key: disk[key] for key in ("id", "serverId", "generationLeft", "objectsCount")},
        "objectsAllocated": _stays(count),
        "storedSize": _stays(stored_bytes),
        "onDiskSize": _stays(stored_bytes),
    }


def _stays(value: int) -> View:
    return {"current": value, "target": value, "delta": 0, "toRecover": 0}


def _volume_targets(call: Call) -> View:
    return _targets(call, call.volume())


def _snapshot_targets(call: Call) -> View:
    return _targets(call, call.snapshot())


def _balancer(_call: Call) -> View:
    return {"status": "nothing to do", "auto": False}


def _balanced(entry: Entry) -> View:
    return {
        "name": entry.listed_name,
        "placeAll": entry.place_all,
        "placeTail": entry.place_tail,
        "placeHead": entry.place_head,
        "replication": entry.replication,
        "size": entry.size_bytes,
        "objectsCount": summaries.objects_count(entry),
        "snapshot": entry.snapshot,
        "reallocated": False,
        "blocked": False,
    }


def _all_balanced(call: Call) -> Rows:
    return Rows(map(_balanced, views.entries(call.cluster.picture())))


def _disk_sets(entry: Entry) -> View:
    sets = [disks.disk_set(entry.replication)]
    return {**_balanced(entry), "currentDiskSets": sets, "balancerDiskSets": sets}


ROWS = (
    queries.get("DisksList", lambda call: disks.disks(call.cluster)),
    queries.get("ServerDisksList", _server_disks, 1),
    queries.get("ServerDiskDescribe", _server_disk, 2),
    queries.get("DiskDescribe", _disk, 1),
    queries.get("DiskActiveRequests", _disk_requests, 1),
    queries.get("ClientActiveRequests", _client_requests, 1),
    queries.get("AllPeersActiveRequests", lambda _call: {"requests": []}),
    queries.post("DiskSetDescription", _set_description, 1),
    queries.post("DiskSoftEject", _soft_eject("on"), 1),
    queries.post("DiskSoftEjectPause", _soft_eject("paused"), 1),
    queries.post("DiskSoftEjectCancel", _soft_eject("off"), 1),
    queries.post("DiskScrubStart", _scrub(disks.scrub_start), 1),
    queries.post("DiskScrubPause", _scrub(disks.scrub_pause), 1),
    queries.post("DiskScrubContinue", _scrub(disks.scrub_continue), 1),
    queries.get("PlacementGroupsList", _groups),
    queries.get("PlacementGroupDescribe", _group_described, 1),
    queries.post("PlacementGroupUpdate", _group_update, 1),
    queries.post("PlacementGroupDelete", _group_delete, 1),
    queries.get("MaintenanceList", lambda call: maintenance.nodes(call.cluster)),
    queries.post("MaintenanceSet", _maintenance_set),
    queries.post("MaintenanceComplete", _maintenance_complete),
    queries.get("VolumeRelocatorStatus", _relocator),
    queries.get("VolumeRelocatorDisksList", _all_targets),
    queries.get("VolumeRelocatorVolumeDisks", _volume_targets, 1),
    queries.get("VolumeRelocatorSnapshotDisks", _snapshot_targets, 1),
    queries.get("VolumeBalancerStatus", _balancer),
    queries.get("VolumeBalancerVolumesStatus", _all_balanced),
    queries.get("VolumeBalancerDisksList", _all_targets),
    queries.get("VolumeBalancerVolumeDisks", _volume_targets, 1),
    queries.get("VolumeBalancerSnapshotDisks", _snapshot_targets, 1),
    queries.get("VolumeBalancerVolumeDiskSets", lambda call: _disk_sets(call.volume()), 1),
    queries.get("VolumeBalancerSnapshotDiskSets", lambda call: _disk_sets(call.snapshot()), 1),
)
