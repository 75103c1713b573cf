"""Calls about disks, placement groups, nodes, relocator and balancer: the machine room.

What moves data has nothing to move, so its replies are still pictures of a cluster at rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from storpool_simulator import errors
from storpool_simulator.api import views
from storpool_simulator.api.slices import Rows
from storpool_simulator.model import copies, disks, groups, maintenance, requests
from storpool_simulator.model.objects import Entry, PlacementGroup

if TYPE_CHECKING:
    from storpool_simulator.api.calls import Call

View = dict[str, Any]


def _number(call: Call, place: int = 0) -> int:
    """Return a part of the path that is a number, or raise InvalidParamError."""
    text = call.args[place]
    if not (text.isascii() and text.isdigit()):
        raise errors.InvalidParamError(f"{call.query}: '{text}' is not a number.")
    return int(text)


# disks


def _server_disks(call: Call) -> View:
    return disks.disks(call.cluster, _number(call))


def _server_disk(call: Call) -> View:
    return disks.described(call.cluster, _number(call, 1), _number(call))


def _disk(call: Call) -> View:
    return disks.described(call.cluster, _number(call))


def _disk_requests(call: Call) -> View:
    return {"diskId": disks.said(call.cluster, _number(call)).disk_id, "requests": []}


def _client_requests(call: Call) -> View:
    if call.cluster.catalog.clients.get(_number(call)) is None:
        raise errors.InvalidParamError("No such client registered")
    return {"clientId": _number(call), "requests": []}


def _set_description(call: Call) -> None:
    disks.describe(call.cluster, _number(call), requests.disk_description(call.fields()))


def _soft_eject(state: str) -> Callable[[Call], None]:
    def handle(call: Call) -> None:
        call.fields().end()
        disks.soft_eject(call.cluster, _number(call), state)

    return handle


def _scrub(step: Callable[[Any, int], None]) -> Callable[[Call], None]:
    def handle(call: Call) -> None:
        call.fields().end()
        step(call.cluster, _number(call))

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
    shown, count = disks.disks(call.cluster), views.objects_count(entry)
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
        "objectsCount": views.objects_count(entry),
        "snapshot": entry.snapshot,
        "reallocated": False,
        "blocked": False,
    }


def _all_balanced(call: Call) -> Rows:
    return Rows(map(_balanced, views.entries(call.cluster.picture())))


def _disk_sets(entry: Entry) -> View:
    sets = [disks.disk_set(entry.replication)]
    return {**_balanced(entry), "currentDiskSets": sets, "balancerDiskSets": sets}


def _volume_disk_sets(call: Call) -> View:
    return _disk_sets(call.volume())


def _snapshot_disk_sets(call: Call) -> View:
    return _disk_sets(call.snapshot())


# Name, method, what answers it, how many parts its path has.
ROWS: tuple[tuple[str, str, Callable[[Any], Any], int], ...] = (
    ("DisksList", "GET", lambda call: disks.disks(call.cluster), 0),
    ("ServerDisksList", "GET", _server_disks, 1),
    ("ServerDiskDescribe", "GET", _server_disk, 2),
    ("DiskDescribe", "GET", _disk, 1),
    ("DiskActiveRequests", "GET", _disk_requests, 1),
    ("ClientActiveRequests", "GET", _client_requests, 1),
    ("AllPeersActiveRequests", "GET", lambda _call: {"requests": []}, 0),
    ("DiskSetDescription", "POST", _set_description, 1),
    ("DiskSoftEject", "POST", _soft_eject("on"), 1),
    ("DiskSoftEjectPause", "POST", _soft_eject("paused"), 1),
    ("DiskSoftEjectCancel", "POST", _soft_eject("off"), 1),
    ("DiskScrubStart", "POST", _scrub(disks.scrub_start), 1),
    ("DiskScrubPause", "POST", _scrub(disks.scrub_pause), 1),
    ("DiskScrubContinue", "POST", _scrub(disks.scrub_continue), 1),
    ("PlacementGroupsList", "GET", _groups, 0),
    ("PlacementGroupDescribe", "GET", _group_described, 1),
    ("PlacementGroupUpdate", "POST", _group_update, 1),
    ("PlacementGroupDelete", "POST", _group_delete, 1),
    ("MaintenanceList", "GET", lambda call: maintenance.nodes(call.cluster), 0),
    ("MaintenanceSet", "POST", _maintenance_set, 0),
    ("MaintenanceComplete", "POST", _maintenance_complete, 0),
    ("VolumeRelocatorStatus", "GET", _relocator, 0),
    ("VolumeRelocatorDisksList", "GET", _all_targets, 0),
    ("VolumeRelocatorVolumeDisks", "GET", _volume_targets, 1),
    ("VolumeRelocatorSnapshotDisks", "GET", _snapshot_targets, 1),
    ("VolumeBalancerStatus", "GET", _balancer, 0),
    ("VolumeBalancerVolumesStatus", "GET", _all_balanced, 0),
    ("VolumeBalancerDisksList", "GET", _all_targets, 0),
    ("VolumeBalancerVolumeDisks", "GET", _volume_targets, 1),
    ("VolumeBalancerSnapshotDisks", "GET", _snapshot_targets, 1),
    ("VolumeBalancerVolumeDiskSets", "GET", _volume_disk_sets, 1),
    ("VolumeBalancerSnapshotDiskSets", "GET", _snapshot_disk_sets, 1),
)
