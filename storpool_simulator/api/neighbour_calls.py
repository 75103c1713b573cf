"""The calls about other locations, clusters and bridges: rows of the API's table."""

from __future__ import annotations

from storpool_simulator.api import queries
from storpool_simulator.api.queries import Call
from storpool_simulator.model import neighbour_requests as requests
from storpool_simulator.model import neighbours


def _location_add(call: Call) -> None:
    neighbours.add_location(call.cluster, requests.location_add(call.fields()))


def _location_remove(call: Call) -> None:
    neighbours.remove_location(call.cluster, requests.location_remove(call.fields()))


def _location_update(call: Call) -> None:
    neighbours.update_location(call.cluster, requests.location_update(call.fields()))


def _location_rename(call: Call) -> None:
    names = requests.renaming(call.fields(), "location")
    neighbours.rename_location(call.cluster, *names)


def _cluster_add(call: Call) -> None:
    neighbours.add_cluster(call.cluster, requests.cluster_add(call.fields()))


def _cluster_remove(call: Call) -> None:
    neighbours.remove_cluster(call.cluster, requests.cluster_remove(call.fields()))


def _cluster_rename(call: Call) -> None:
    names = requests.renaming(call.fields(), "cluster")
    neighbours.rename_cluster(call.cluster, *names)


def _bridge_add(call: Call) -> None:
    neighbours.add_bridge(call.cluster, requests.bridge_add(call.fields()))


def _bridge_remove(call: Call) -> None:
    neighbours.remove_bridge(call.cluster, requests.bridge_remove(call.fields()))


ROWS = (
    queries.get("LocationsList", lambda call: {"locations": neighbours.locations(call.cluster)}),
    queries.post("LocationAdd", _location_add),
    queries.post("LocationRemove", _location_remove),
    queries.post("LocationUpdate", _location_update),
    queries.post("LocationRename", _location_rename),
    queries.get("ClustersList", lambda call: {"clusters": neighbours.clusters(call.cluster)}),
    queries.post("ClusterAdd", _cluster_add),
    queries.post("ClusterRemove", _cluster_remove),
    queries.post("ClusterRename", _cluster_rename),
    queries.get(
        "RemoteBridgesList", lambda call: {"remoteBridges": neighbours.bridges(call.cluster)}
    ),
    queries.post("RemoteBridgeAdd", _bridge_add),
    queries.post("RemoteBridgeRemove", _bridge_remove),
)
