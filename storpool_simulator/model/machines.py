"""The machines under the cluster: services, clients, places.

All but the clients never change. There are three servers; `disks` tells of what is in them.
"""

from __future__ import annotations

import time
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import attachments
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.disks import SERVERS
from storpool_simulator.model.objects import Client

View = dict[str, Any]

VERSION = "simulator"


def services(cluster: Cluster, *, clients: bool = True) -> View:
    """Return the reply of ServicesList.

    ServersList and ServersListBlocked leave the clients out [spapi].
    """
    started = cluster.catalog.meta.created_at
    common = {"status": "running", "version": VERSION, "startTime": started}
    shown = cluster.catalog.clients if clients else ()
    disks_missing: View = {"missingDisks": [], "pendingDisks": []}
    return {
        "clusterStatus": "running",
        "mgmt": {"1": {**common, "id": 1, "nodeId": 1, "prio": 0, "active": True}},
        "clients": {str(one.client_id): _service(one, started) for one in shown},
        "servers": {
            str(server): {**common, "id": server, "nodeId": server, **disks_missing}
            for server in SERVERS
        },
        "bridges": {},
        "iscsiTargets": {},
    }


def peers() -> View:
    """Return the reply of NetworkPeersList."""
    return {
        str(server): {
            "beaconStatus": "NODE_UP",
            "clusterStatus": "CNODE_UP",
            "joined": True,
            "networks": {"0": {"mac": f"52:54:00:00:00:{server:02X}"}},
            "rdma": {},
            "nonVoting": False,
        }
        for server in SERVERS
    }


def clients(cluster: Cluster, delays: dict[int, int] | None = None) -> list[View]:
    """Return the reply of ClientsConfigDump; `delays` has seconds by client id."""
    views = []
    for client in cluster.catalog.clients:
        seen = cluster.generation if client.in_step else client.generation
        views.append(
            {
                "id": client.client_id,
                "generation": cluster.generation,
                "clientGeneration": seen,
                "configStatus": _config_status(client),
                "delay": (delays or {}).get(client.client_id, 0),
            }
        )
    return views


def wait_for_client(cluster: Cluster, client_id: int) -> list[View]:
    """Wait until a client is up to date; return the reply of ClientConfigWait.

    A client is up to date when it is up and not behind. While it is down, the switch
    `config_wait_down` decides.
    """
    began = time.monotonic()
    with cluster.lock:
        client = cluster.catalog.clients.get(client_id)
        if client is None:
            raise errors.InvalidParamError("No such client registered")
        if not client.running and cluster.switches["config_wait_down"] == "error":
            raise errors.InvalidParamError(f"Client {client_id} is down.")
        attachments.wait_for_clients(cluster, [client_id])
        return clients(cluster, {client_id: int(time.monotonic() - began)})


def _config_status(client: Client) -> str:
    if not client.running:
        return "down"
    return "updating" if client.behind else "ok"


def _service(client: Client, started: int) -> View:
    return {
        "id": client.client_id,
        "status": "running" if client.running else "down",
        "version": VERSION,
        "startTime": started if client.running else None,
    }
