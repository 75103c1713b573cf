"""The table of the API's calls: query, method, MultiCluster form [spapi], and what answers it.

Nothing is decided here: `requests` parses a body, the module of the noun acts on it, `views` shows
the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from storpool_simulator.api import (
    machine_calls,
    multicluster,
    neighbour_calls,
    queries,
    remote_calls,
    views,
)
from storpool_simulator.api.queries import Call, Query
from storpool_simulator.model import (
    attachments,
    bridges,
    fields,
    keys,
    machines,
    moves,
    remote_attachments,
    remote_moves,
    requests,
    snapshots,
    templates,
    volumes,
)
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry

_BARE = "bare"  # of a reply to a change: it says neither "ok" nor a generation


@dataclass(frozen=True)
class Answer:
    """The `data` of a reply, the generation that it is of, and the cluster that answered."""

    data: Any
    generation: int
    cluster_id: str


def answer(query: Query, call: Call) -> Answer:
    """Carry out a call.

    The data of a POST has `ok` and `generation` beside what the call returns [spapi]. That of a GET
    may have `Rows` and `Named` in it, which are made later, without the lock.
    """
    bridges.tend(call.cluster.federation)
    multicluster.measure(query, call)
    answered = _at_once(query, call)
    if query.method == "POST":
        bridges.tend(call.cluster.federation)
    return answered


def _at_once(query: Query, call: Call) -> Answer:
    if not call.multi_cluster:
        return _answer(query, call, call.cluster)
    with call.cluster.lock:  # who has an object does not change before the call is carried out
        for member in call.cluster.federation.clusters:
            member.tend()
        return _answer(query, multicluster.at_owner(query, call), call.cluster)


def _answer(query: Query, call: Call, asked: Cluster) -> Answer:
    call.cluster.tend()
    counted = asked if call.switches["mc_generation"] == "asked" else call.cluster
    if query.method == "GET":
        with call.cluster.lock:
            return Answer(query.handle(call), counted.generation, call.cluster.cluster_id)
    extra = query.handle(call) or {}
    answered = extra.pop(multicluster.ANSWERED_BY, call.cluster.cluster_id)
    said = {} if extra.pop(_BARE, False) else {"ok": True, "generation": counted.generation}
    return Answer({**said, **extra}, counted.generation, answered)


# volumes


def _volume_create(call: Call) -> dict[str, Any]:
    request = requests.volume_create(call.fields())
    multicluster.check_names(call, [request.name])
    call = multicluster.maker(call, request.parent or request.base_on)
    volume, transient = volumes.create(call.cluster, request)
    reply = {multicluster.ANSWERED_BY: call.cluster.cluster_id, "globalId": volume.wire_id}
    if volume.name is None:
        reply["name"] = volume.listed_name
    if transient is not None and transient.name is not None:
        reply["autoName"] = transient.name
    return reply


def _volume_update(call: Call) -> dict[str, Any]:
    request = requests.volume_update(call.fields())
    multicluster.check_names(call, [request.rename])
    volume = volumes.update(call.cluster, call.name, request)
    return {"name": volume.listed_name} if call.switches.on("update_name") else {}


def _volume_delete(call: Call) -> None:
    known = call.multi_cluster or call.switches.on("on_attached_everywhere")
    volumes.delete(call.cluster, call.name, requests.on_attached(call.fields(), known=known))


def _volume_freeze(call: Call) -> None:
    volumes.freeze(call.cluster, call.name, requests.freeze(call.fields()))


def _volume_revert(call: Call) -> dict[str, Any]:
    """Answer with the id that the volume has now [addon]."""
    volume = volumes.revert(call.cluster, call.name, requests.revert(call.fields()))
    return {"globalId": volume.wire_id}


def _volume_acquire(call: Call) -> None:
    moves.acquire(call.cluster, call.name, remote_moves.acquire(call.fields()))


def _volume_move(call: Call) -> None:
    request = remote_moves.move_to_remote(call.fields())
    with call.cluster.lock:
        moves.move(call.cluster, call.volume(), request)


def _snapshot_move(call: Call) -> None:
    request = remote_moves.move_to_remote(call.fields())
    with call.cluster.lock:
        snapshot = call.cluster.catalog.usable_snapshot(call.name)
        moves.move(call.cluster, snapshot, request)


def _volume_rebase(call: Call) -> None:
    parent = requests.rebase(call.fields())
    with call.cluster.lock:
        snapshots.rebase(call.cluster, call.volume(), parent)


def _snapshot_rebase(call: Call) -> None:
    parent = requests.rebase(call.fields())
    with call.cluster.lock:
        snapshots.rebase(call.cluster, call.cluster.catalog.usable_snapshot(call.name), parent)


def _abandon_disk(call: Call) -> None:
    requests.abandon_disk(call.fields())
    if call.cluster.catalog.find(call.name) is None:
        possible = fields.SNAPSHOT_NAME.finds(call.name) or fields.VOLUME_NAME.finds(call.name)
        raise fields.unknown("Volume", call.name, possible=possible)


# snapshots


def _snapshot_create(call: Call) -> dict[str, Any]:
    request = requests.snapshot_create(call.fields())
    multicluster.check_names(call, [request.name])
    snapshot = snapshots.create(call.cluster, call.name, request)
    reply = {"snapshotGlobalId": snapshot.wire_id, "snapshotVisibleVolumeId": snapshot.number}
    if snapshot.auto_name and snapshot.name is not None:
        reply["autoName"] = snapshot.name
    return reply


def _group_snapshot(call: Call) -> dict[str, Any]:
    group = requests.group_snapshot(call.fields())
    multicluster.check_names(call, [request.name for _, request in group])
    pairs = []
    for cluster, part in multicluster.groups(call, group).items():
        pairs += snapshots.create_group(cluster, part, call.stop)
    return {**snapshots.group_reply(call.cluster, pairs), _BARE: not call.switches.on("group_ok")}


def _snapshot_update(call: Call) -> None:
    request = requests.snapshot_update(call.fields())
    multicluster.check_names(call, [request.rename])
    snapshots.update(call.cluster, call.name, request)


def _snapshot_delete(call: Call) -> None:
    call.fields().end()
    snapshots.delete(call.cluster, call.name)


def _snapshot_delete_by_id(call: Call) -> None:
    call.fields().end()
    snapshots.delete(call.cluster, f"~{call.name}")


# attachments


def _reassign(call: Call) -> None:
    items = requests.reassign_items(call.body, call.query, call.switches)
    if call.multi_cluster:
        remote_attachments.reassign(call.cluster, items)
    else:
        attachments.reassign(call.cluster, items)


def _reassign_wait(call: Call) -> None:
    items, timeout = requests.reassign_wait(call.body, call.switches)
    if call.multi_cluster:
        attachments.wait_after(call.cluster, items, timeout, remote_attachments.reassign)
    else:
        attachments.reassign_wait(call.cluster, items, timeout)


# templates, groups, key-value store


def _template_create(call: Call) -> None:
    templates.create(call.cluster, requests.template(call.fields(), create=True))


def _template_update(call: Call) -> None:
    templates.update(call.cluster, call.name, requests.template(call.fields(), create=False))


def _template_delete(call: Call) -> None:
    call.fields().end()
    templates.delete(call.cluster, call.name)


def _templates_status(call: Call) -> Any:
    return [views.template_status(call.cluster, one) for one in call.cluster.catalog.templates]


def _bucket_create(call: Call) -> None:
    call.fields().end()
    keys.create(call.cluster, call.name)


def _bucket_delete(call: Call) -> None:
    call.fields().end()
    keys.delete(call.cluster, call.name)


def _bucket_set(call: Call) -> None:
    pairs, version = requests.bucket_set(call.fields())
    keys.update(call.cluster, call.name, pairs, version)


def _listed(name: str, view: Callable[[Cluster, bool], Any], *, measures: bool = False) -> Query:
    def handle(call: Call) -> Any:
        return multicluster.merged(call, view)

    return Query(name, "GET", handle, multi_cluster=True, measures=measures)


def _shown(
    name: str, find: Callable[[Call], Entry], view: Callable[[Cluster, Entry, bool], Any]
) -> Query:
    def handle(call: Call) -> Any:
        return view(call.cluster, find(call), call.multi_cluster)

    return Query(name, "GET", handle, arity=1, multi_cluster=True, names_object=True)


_TABLE = (
    queries.get("ServicesList", lambda call: machines.services(call.cluster)),
    queries.get("ServersList", lambda call: machines.services(call.cluster, clients=False)),
    queries.get("ServersListBlocked", lambda call: machines.services(call.cluster, clients=False)),
    queries.get("NetworkPeersList", lambda _call: machines.peers()),
    queries.get("TasksList", lambda _call: []),
    queries.get("ClientsConfigDump", lambda call: machines.clients(call.cluster)),
    queries.get(
        "ClientConfigWait",
        lambda call: machines.wait_for_client(call.cluster, call.number()),
        1,
    ),
    *machine_calls.ROWS,
    queries.get("FaultSetsList", lambda _call: {}),
    *neighbour_calls.ROWS,
    *remote_calls.ROWS,
    _listed("VolumesList", views.volume_list),
    _listed("VolumesGetStatus", views.statuses, measures=True),
    _listed("VolumesGetStatusQuick", views.quick_statuses),
    _listed("VolumesSpace", views.volume_space, measures=True),
    _listed("VolumesAndSnapshotsList", views.mixed_list),
    _shown("Volume", Call.volume, views.alone),
    _shown("VolumeDescribe", Call.volume, views.described),
    _shown("VolumeGetInfo", Call.volume, views.info),
    queries.get("VolumeListSnapshots", lambda call: views.chain(call.cluster, call.volume()), 1),
    queries.post("VolumeCreate", _volume_create, multi_cluster=True),
    queries.post("VolumeUpdate", _volume_update, 1, multi_cluster=True),
    queries.post("VolumeDelete", _volume_delete, 1, multi_cluster=True),
    queries.post("VolumeRevert", _volume_revert, 1, multi_cluster=True),
    queries.post("VolumeFreeze", _volume_freeze, 1, multi_cluster=True),
    queries.post("VolumeRebase", _volume_rebase, 1),
    queries.post("SnapshotRebase", _snapshot_rebase, 1),
    queries.post("VolumeAbandonDisk", _abandon_disk, 1),
    Query("VolumeAcquire", "POST", _volume_acquire, 1, plain=False, multi_cluster=True),
    _listed("SnapshotsList", views.snapshot_list),
    _listed("SnapshotsSpace", views.snapshot_space),
    _shown("Snapshot", Call.snapshot, views.alone),
    _shown("SnapshotDescribe", Call.snapshot, views.described),
    _shown("SnapshotGetInfo", Call.snapshot, views.info),
    queries.post("VolumeSnapshot", _snapshot_create, 1, multi_cluster=True),
    queries.post("VolumesGroupSnapshot", _group_snapshot, multi_cluster=True),
    queries.post("SnapshotUpdate", _snapshot_update, 1, multi_cluster=True),
    queries.post("SnapshotDelete", _snapshot_delete, 1, multi_cluster=True),
    queries.post("SnapshotDeleteById", _snapshot_delete_by_id, 1),
    queries.post("VolumeMoveToRemote", _volume_move, 1),
    queries.post("SnapshotMoveToRemote", _snapshot_move, 1),
    _listed("AttachmentsList", views.attachment_list),
    queries.post("VolumesReassign", _reassign, multi_cluster=True),
    queries.post("VolumesReassignWait", _reassign_wait, multi_cluster=True),
    queries.get(
        "VolumeTemplatesList",
        lambda call: [views.template(call.cluster, one) for one in call.cluster.catalog.templates],
    ),
    queries.get(
        "VolumeTemplateDescribe",
        lambda call: views.template(call.cluster, call.cluster.catalog.template(call.name)),
        1,
    ),
    queries.get("VolumeTemplatesStatus", _templates_status, measures=True),
    queries.post("VolumeTemplateCreate", _template_create),
    queries.post("VolumeTemplateUpdate", _template_update, 1),
    queries.post("VolumeTemplateDelete", _template_delete, 1),
    queries.get(
        "KV",
        lambda call: {"buckets": {one.name: one.version for one in call.cluster.catalog.buckets}},
    ),
    queries.get("KV/List", lambda call: views.bucket(keys.bucket(call.cluster, call.name)), 1),
    queries.get("KV/Get", lambda call: views.bucket(keys.one(call.cluster, *call.args)), 2),
    queries.post("KV/Create", _bucket_create, 1),
    queries.post("KV/Delete", _bucket_delete, 1),
    queries.post("KV/Set", _bucket_set, 1),
)
TABLE = {query.name: query for query in _TABLE}
# The queries that are known to have an AllClusters form [cs-up] [addon mc].
ALL_CLUSTERS = (
    "VolumesList",
    "VolumesSpace",
    "SnapshotsList",
    "SnapshotsSpace",
    "VolumeTemplatesStatus",
    "ClustersList",
)
# MultiCluster forms that only some sources know: a switch says whether there is one.
DOUBTFUL = {
    "VolumesAndSnapshotsList": "list_multicluster",
    "SnapshotUpdate": "snapshot_update_multicluster",
}
