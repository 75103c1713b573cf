"""Calls about exports, backups and copies between clusters."""

from __future__ import annotations

from typing import Any

from storpool_simulator.api import multicluster, queries, remote_views
from storpool_simulator.api.queries import Call
from storpool_simulator.model import backups, exports
from storpool_simulator.model import remote_requests as requests
from storpool_simulator.model.backups import Made

View = dict[str, Any]


def _backup(call: Call) -> View:
    """Answer VolumeBackup: `name` is read by [addon mc]."""
    request = requests.backup(call.fields(), either=_takes_either(call))
    owner = multicluster.owner(call, request.volumes)
    (made,) = backups.create(owner, request)
    reply = {"remoteId": made.backup_id, "name": f"~{made.backup_id}"}
    if made.base.name is not None:
        reply["autoName"] = made.base.name
    return {**reply, multicluster.ANSWERED_BY: owner.cluster_id}


def _group_backup(call: Call) -> View:
    """Answer VolumesGroupBackup; with MultiCluster all volumes are in one cluster [inf]."""
    request = requests.group_backup(call.fields(), either=_takes_either(call))
    owner = multicluster.owner(call, request.volumes)
    made = backups.create(owner, request)
    return {
        "backups": {
            _key(call, one): {"remoteId": one.backup_id, "snapshotGlobalId": one.base.wire_id}
            for one in made
        },
        multicluster.ANSWERED_BY: owner.cluster_id,
    }


def _takes_either(call: Call) -> bool:
    return call.switches["backup_field"] == "either"


def _key(call: Call, made: Made) -> str:
    """Return the key of a backup in the reply: of a volume without a name its bare id.

    The schema has names there, which do not begin with `~`. The switch `group_backup_key` says
    whether the reply keeps to it.
    """
    name = made.volume.listed_name
    return name.lstrip("~") if call.switches["group_backup_key"] == "schema" else name


def _from_remote(call: Call) -> None:
    backups.fetch(call.cluster, requests.from_remote(call.fields(), named=False))


def _volume_from_remote(call: Call) -> None:
    backups.fetch_volume(call.cluster, requests.from_remote(call.fields(), named=True))


def _export(call: Call) -> None:
    exports.create(call.cluster, requests.snapshot_export(call.fields()))


def _unexport(call: Call) -> None:
    exports.end(call.cluster, requests.snapshot_unexport(call.fields()))


def _remote_unexport(call: Call) -> None:
    exports.end_remote(call.cluster, requests.remote_unexports(call.fields()))


def _volume_export(call: Call) -> None:
    exports.create_of_volume(call.cluster, call.name, requests.volume_export(call.fields()))


ROWS = (
    queries.post("VolumeBackup", _backup, multi_cluster=True),
    queries.post("VolumesGroupBackup", _group_backup, multi_cluster=True),
    queries.get("ExportsList", lambda call: remote_views.export_list(call.cluster)),
    queries.get("VolumeExportsList", lambda call: remote_views.volume_export_list(call.cluster)),
    queries.get("SnapshotsRemoteList", lambda call: remote_views.remote_snapshots(call.cluster)),
    queries.get("VolumesRemoteList", lambda call: remote_views.remote_volumes(call.cluster)),
    queries.post("SnapshotFromRemote", _from_remote),
    queries.post("VolumeFromRemote", _volume_from_remote),
    queries.post("SnapshotExport", _export),
    queries.post("SnapshotUnexport", _unexport),
    queries.post("SnapshotsRemoteUnexport", _remote_unexport),
    queries.post("VolumeExport", _volume_export, 1),
)
