"""Nodes in maintenance: kept and shown. The nodes are the servers, and all go on as before.

What no source tells: a node that is in maintenance already is set anew, and one whose time is over
is listed as `overrun` until somebody completes it.
"""

from __future__ import annotations

from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import disks
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Maintenance
from storpool_simulator.model.requests import MaintenanceSet

View = dict[str, Any]


def begin(cluster: Cluster, request: MaintenanceSet) -> None:
    """Carry out MaintenanceSet.

    Raises NoSuchObjectError for a node that is not there, BusyError when more nodes would be in
    maintenance than the request allows.
    """
    with cluster.change():
        if request.node_id not in disks.SERVERS:
            raise errors.NoSuchObjectError(f"Node {request.node_id} does not exist.")
        others = {one.node_id for one in cluster.catalog.maintenance} - {request.node_id}
        if request.most_nodes is not None and len(others) >= request.most_nodes:
            raise errors.BusyError(f"{len(others)} other nodes are in maintenance.")
        cluster.catalog.maintenance.put(
            Maintenance(request.node_id, int(cluster.now()), request.duration, request.description)
        )


def complete(cluster: Cluster, node_id: int) -> None:
    """Carry out MaintenanceComplete."""
    with cluster.change():
        if cluster.catalog.maintenance.get(node_id) is None:
            raise errors.NoSuchObjectError(f"Node {node_id} is not in maintenance.")
        cluster.catalog.maintenance.drop(node_id)


def nodes(cluster: Cluster) -> View:
    """Return the reply of MaintenanceList."""
    now = cluster.now()
    return {"nodes": [_node(one, now) for one in cluster.catalog.maintenance]}


def _node(one: Maintenance, now: float) -> View:
    left = int(one.started_at + one.duration - now)
    return {
        "nodeId": one.node_id,
        "started": one.started_at,
        "duration": one.duration,
        "description": one.description,
        "overrun": left <= 0,
        "remaining": max(0, left),
    }
