"""The machines under the cluster: services, disks, clients, places.

All but the clients never change. There are three servers with four disks each; the disks are as
large as the largest template says [sptypes].
"""

from __future__ import annotations

import time
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import attachments, objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Client

View = dict[str, Any]

VERSION = "simulator"
SERVERS = (1, 2, 3)
DISKS_PER_SERVER = 4
DISK_IDS = tuple(
    server * 100 + disk for server in SERVERS for disk in range(1, DISKS_PER_SERVER + 1)
)
GROUP_SIZE = 512 << 20  # an allocation group [cinder]
RAW_SHARE = 4224 / 4096  # of raw space to data: what cinder's formula takes off again [cinder]


def disk_set(replication: int) -> list[int]:
    """Return the ids of the disks on which the copies of a volume are said to be."""
    return list(DISK_IDS[::DISKS_PER_SERVER][:replication])


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
        attachments.wait_for_clients(cluster, [client_id], None)
        return clients(cluster, {client_id: int(time.monotonic() - began)})


def disks(cluster: Cluster) -> View:
    """Return the reply of DisksList: all disks are up.

    Cinder's driver computes its capacity from the allocation groups [cinder].
    """
    capacity_bytes = max(
        (one.capacity_bytes * one.replication for one in cluster.catalog.templates), default=0
    )
    raw_bytes = (capacity_bytes or objects.DEFAULT_CAPACITY) * RAW_SHARE
    stored_bytes = 0
    for template in cluster.catalog.templates:
        stored_bytes += cluster.catalog.tally(template.number).stored_bytes * template.replication
    used_bytes = RAW_SHARE * stored_bytes
    groups = -(-int(raw_bytes) // (GROUP_SIZE * len(DISK_IDS)))
    allocated = min(groups, -(-int(used_bytes) // (GROUP_SIZE * len(DISK_IDS))))
    on_disk_bytes = int(used_bytes) // len(DISK_IDS)
    return {str(disk): _disk(disk, groups, allocated, on_disk_bytes) for disk in DISK_IDS}


def placement_group() -> View:
    """Return the only PlacementGroup."""
    return {"id": 1, "name": objects.DEFAULT_GROUP, "disks": list(DISK_IDS)}


def locations(cluster: Cluster) -> list[View]:
    """Return the reply of LocationsList: the cluster's own location."""
    location = cluster.catalog.meta.cluster_id.split(".")[0]
    return [{"id": location, "name": location, "sendBufferSize": 0, "recvBufferSize": 0}]


def clusters(cluster: Cluster) -> list[View]:
    """Return the reply of ClustersList: the cluster itself."""
    location, subcluster = cluster.catalog.meta.cluster_id.split(".")
    return [{"id": subcluster, "location": location, "name": cluster.catalog.meta.cluster_name}]


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


def _disk(disk: int, groups: int, allocated: int, on_disk_bytes: int) -> View:
    entries = groups * (GROUP_SIZE // 4096)
    most = groups * (GROUP_SIZE // objects.OBJECT_SIZE)
    return {
        "id": disk,
        "serverId": disk // 100,
        "ssd": True,
        "generationLeft": -1,
        "model": "simulated",
        "serial": f"S{disk:07d}",
        "description": "",
        "softEject": "off",
        "sectorsCount": groups * GROUP_SIZE // objects.SECTOR_SIZE,
        "empty": allocated == 0,
        "noFua": False,
        "noFlush": False,
        "noTrim": False,
        "isWbc": False,
        "journaled": False,
        "device": f"/dev/simulated{disk}",
        "agCount": groups,
        "agAllocated": allocated,
        "agFree": groups - allocated,
        "agFull": allocated,
        "agPartial": 0,
        "agFreeing": 0,
        "agMaxSizeFull": 0,
        "agMaxSizePartial": 0,
        "entriesCount": entries,
        "entriesAllocated": 0,
        "entriesFree": entries,
        "objectsCount": most,
        "objectsAllocated": 0,
        "objectsFree": most,
        "objectsOnDiskSize": on_disk_bytes,
        "wbc": None,
        "aggregateScore": {"entries": 0, "space": 0, "total": 0},
        "scrubbingStartedBefore": 0,
        "scrubbedBytes": 0,
        "scrubbingBW": 0,
        "scrubbingFinishAfter": 0,
        "scrubbingPausedFor": 0,
        "scrubbingPaused": False,
        "lastScrubCompleted": 0,
    }
