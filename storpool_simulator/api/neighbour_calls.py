"""The calls about other locations, clusters and bridges: rows of the API's table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_simulator.model import neighbour_requests as requests
from storpool_simulator.model import neighbours

if TYPE_CHECKING:
    from storpool_simulator.api.calls import Call


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
    ("LocationsList", "GET", lambda call: {"locations": neighbours.locations(call.cluster)}),
    ("LocationAdd", "POST", _location_add),
    ("LocationRemove", "POST", _location_remove),
    ("LocationUpdate", "POST", _location_update),
    ("LocationRename", "POST", _location_rename),
    ("ClustersList", "GET", lambda call: {"clusters": neighbours.clusters(call.cluster)}),
    ("ClusterAdd", "POST", _cluster_add),
    ("ClusterRemove", "POST", _cluster_remove),
    ("ClusterRename", "POST", _cluster_rename),
    ("RemoteBridgesList", "GET", lambda call: {"remoteBridges": neighbours.bridges(call.cluster)}),
    ("RemoteBridgeAdd", "POST", _bridge_add),
    ("RemoteBridgeRemove", "POST", _bridge_remove),
)
