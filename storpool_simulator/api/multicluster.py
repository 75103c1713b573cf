"""Calls with `MultiCluster/`: sent to the cluster that has the object, or put together from all.

One call is one moment for all clusters, as they have one lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Callable

from storpool_simulator import errors
from storpool_simulator.api.queries import Call, Query
from storpool_simulator.api.slices import Named, Rows
from storpool_simulator.model.cluster import Cluster

if TYPE_CHECKING:
    from storpool_simulator.model.requests import SnapshotCreate

    View = Callable[[Cluster, bool], Any]
    Group = Sequence[tuple[str, SnapshotCreate]]


# What a handler puts beside its reply: the id of the cluster that did it.
ANSWERED_BY = " cluster"


def at_owner(query: Query, call: Call) -> Call:
    """Return the call as it is to be answered: by the cluster that has the object of its path."""
    return replace(call, cluster=_owner(call, call.name)) if query.names_object else call


def measure(query: Query, call: Call) -> None:
    """Measure what is attached in all clusters that a call is about, if it tells of that.

    It is done without the lock, as files are looked at.
    """
    if query.measures:
        for cluster in call.cluster.federation.clusters if call.multi_cluster else [call.cluster]:
            if not cluster.closed:
                cluster.measure_attached()


def merged(call: Call, view: View) -> Any:
    """Return a list, or a map by names, of all clusters in one; that of one without MultiCluster.

    In a map the asking cluster's object stays where two clusters have one name.
    """
    if not call.multi_cluster or call.single:
        return view(call.cluster, call.multi_cluster)
    parts = [view(member, True) for member in call.cluster.federation.members(call.cluster)]
    return _together(parts)


def _together(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Rows):
        return Rows(chain.from_iterable(part.elements for part in parts))
    if isinstance(first, Named):
        return Named(_distinct(parts))
    return {"volumes": _together([part["volumes"] for part in parts])}  # VolumesAndSnapshotsList


def _distinct(parts: Iterable[Named]) -> Iterator[tuple[str, Any]]:
    names = set()
    for part in parts:
        for name, one in part.members:
            if name not in names:
                names.add(name)
                yield name, one


def of_each(query: Query, call: Call) -> dict[str, Any]:
    """Return the reply of `MultiCluster/AllClusters/`: a row for each cluster [cs-up].

    One that cannot be reached has `error` in the place of `response`.
    """
    asking = call.cluster
    measure(query, call)
    with asking.lock:
        names = {asking.cluster_id: asking.catalog.meta.cluster_name}
        names.update((one.cluster_id, one.name) for one in asking.federation.sharing(asking))
        rows = [
            {"clusterId": cluster_id, "clusterName": name, **_response(query, call, cluster_id)}
            for cluster_id, name in names.items()
        ]
    return {"clusters": rows}


def _response(query: Query, call: Call, cluster_id: str) -> dict[str, Any]:
    try:
        cluster = call.cluster.federation.named(call.cluster, f"~{cluster_id}")
        cluster.tend()
        data = query.handle(replace(call, cluster=cluster, single=True))
    except errors.ApiError as error:
        return {"error": error.facts()}
    return {"response": {"data": data, "generation": cluster.generation}}


def groups(call: Call, group: Group) -> Mapping[Cluster, Group]:
    """Return the group of a snapshot by the clusters that have its volumes: one of them [inf].

    Where there are two the switch `mc_group` decides; two groups are no one moment.
    """
    parts: dict[Cluster, list[tuple[str, SnapshotCreate]]] = {}
    for volume, request in group:
        parts.setdefault(_owner(call, volume), []).append((volume, request))
    if call.switches["mc_group"] == "refuse":
        _the_only(call, parts)
    return parts


def owner(call: Call, volumes: Iterable[str]) -> Cluster:
    """Return the cluster that has all volumes that a call names; InvalidParamError for several."""
    return _the_only(call, {_owner(call, volume) for volume in volumes})


def _owner(call: Call, key: str) -> Cluster:
    """Return the cluster that has an object: without MultiCluster no other one is looked at."""
    is_alone = not call.multi_cluster
    return call.cluster if is_alone else call.cluster.federation.owner(call.cluster, key)


def _the_only(call: Call, clusters: Iterable[Cluster]) -> Cluster:
    first, *others = clusters
    if others:
        raise errors.InvalidParamError(f"{call.query}: the volumes are in several clusters.")
    return first


def check_names(call: Call, names: Iterable[str | None]) -> None:
    """Raise ObjectExistsError when another cluster of the name space has one of the names.

    Without `MultiCluster/` each cluster looks at itself only.
    """
    if not call.multi_cluster:
        return
    federation = call.cluster.federation
    for name in filter(None, names):
        for member in federation.members(call.cluster)[1:]:
            member.catalog.check_free(name)


def maker(call: Call, source: str | None) -> Call:
    """Return a creating call as it is to be answered: where the parent is, or here.

    The switch `mc_create_from` says whether an object can be made from one of another cluster.
    """
    if not source:
        return call
    having = _owner(call, source)
    if having.cluster_id != call.cluster.cluster_id and call.switches["mc_create_from"] == "refuse":
        raise errors.InvalidParamError(f"'{source}' is in another cluster.")
    return replace(call, cluster=having)
