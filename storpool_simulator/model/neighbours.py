"""What a cluster has registered about others: locations, clusters, bridges [sptypes].

Its own location and itself are not in the lists: those are of what is registered as remote [spapi].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import neighbour_requests as requests
from storpool_simulator.model import objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Bridge, Location, Neighbour

View = dict[str, Any]


def introduce(clusters: Sequence[Cluster]) -> None:
    """Have each of these clusters know all others, with a bridge: what is registered stays."""
    for number, other in enumerate(clusters, start=1):
        for cluster in clusters:
            if cluster is not other:
                _introduce(cluster, other, f"192.0.2.{number}")  # RFC 5737: nobody has it


def _introduce(cluster: Cluster, other: Cluster, ip: str) -> None:
    catalog, meta = cluster.catalog, other.catalog.meta
    with cluster.change():
        if other.location_id != cluster.location_id:
            known = catalog.locations.get(other.location_id)
            catalog.locations.put(known or Location(other.location_id, other.location_id))
        known_cluster = catalog.neighbours.get(meta.cluster_id)
        catalog.neighbours.put(known_cluster or Neighbour(meta.cluster_id, meta.cluster_name))
        if catalog.bridges.get(ip) is None:
            catalog.bridges.put(Bridge(ip, f"simulated.{meta.cluster_id}", meta.cluster_id))


# lists


def locations(cluster: Cluster) -> list[View]:
    """Return the reply of LocationsList."""
    return [
        {
            "id": one.location_id,
            "name": one.name,
            "sendBufferSize": one.send_buffer_bytes,
            "recvBufferSize": one.receive_buffer_bytes,
        }
        for one in cluster.catalog.locations
    ]


def clusters(cluster: Cluster) -> list[View]:
    """Return the reply of ClustersList."""
    return [
        {
            "id": one.cluster_id.split(".")[1],
            "location": location_name(cluster, one.location_id),
            "name": one.name,
        }
        for one in cluster.catalog.neighbours
    ]


def bridges(cluster: Cluster) -> list[View]:
    """Return the reply of RemoteBridgesList."""
    return [_bridge(cluster, one) for one in cluster.catalog.bridges]


def _bridge(cluster: Cluster, one: Bridge) -> View:
    location = location_name(cluster, objects.location_of(one.remote_id))
    neighbour = cluster.catalog.neighbours.get(one.remote_id)
    view: View = {
        "ip": one.ip,
        "publicKey": one.public_key,
        "noCrypto": one.no_crypto,
        "location": location,
        "remote": location if neighbour is None else neighbour.name,
    }
    if neighbour is not None:
        view["cluster"] = neighbour.name
    if one.minimum_delete_delay is not None:
        view["minimumDeleteDelay"] = one.minimum_delete_delay
    return view


def location_name(cluster: Cluster, location_id: str) -> str:
    """Return what a location is called here; the own one is called by its id."""
    known = cluster.catalog.locations.get(location_id)
    return location_id if known is None else known.name


# look-ups


def location(cluster: Cluster, name: str) -> Location:
    """Return a remote location by its name, or raise NoSuchObjectError."""
    for one in cluster.catalog.locations:
        if one.name == name:
            return one
    raise errors.NoSuchObjectError(f"Location '{name}' does not exist.")


def neighbour(cluster: Cluster, name: str) -> Neighbour:
    """Return another cluster by the name that it has here, or raise NoSuchObjectError."""
    for one in cluster.catalog.neighbours:
        if one.name == name:
            return one
    raise errors.NoSuchObjectError(f"Cluster '{name}' does not exist.")


# changes


def add_location(cluster: Cluster, request: requests.LocationAdd) -> None:
    """Carry out LocationAdd."""
    with cluster.change():
        _check_location_name(cluster, request.name)
        is_own = request.location_id == cluster.location_id
        if is_own or cluster.catalog.locations.get(request.location_id) is not None:
            raise errors.ObjectExistsError(f"Location {request.location_id} is known already.")
        cluster.catalog.locations.put(Location(request.location_id, request.name))


def remove_location(cluster: Cluster, name: str) -> None:
    """Carry out LocationRemove; one that has clusters or bridges is busy [inf]."""
    with cluster.change():
        location_id = location(cluster, name).location_id
        remote = [one.cluster_id for one in cluster.catalog.neighbours]
        remote += [one.remote_id for one in cluster.catalog.bridges]
        if any(objects.location_of(one) == location_id for one in remote):
            raise errors.BusyError(f"Location '{name}' has clusters or bridges.")
        cluster.catalog.locations.drop(location_id)


def update_location(cluster: Cluster, request: requests.LocationUpdate) -> None:
    """Carry out LocationUpdate."""
    with cluster.change():
        old = location(cluster, request.location)
        send, receive = request.send_buffer_bytes, request.receive_buffer_bytes
        new = replace(old, send_buffer_bytes=old.send_buffer_bytes if send is None else send)
        if receive is not None:
            new = replace(new, receive_buffer_bytes=receive)
        cluster.catalog.locations.put(new)


def rename_location(cluster: Cluster, old_name: str, new_name: str) -> None:
    """Carry out LocationRename."""
    with cluster.change():
        old = location(cluster, old_name)
        if new_name != old_name:
            _check_location_name(cluster, new_name)
        cluster.catalog.locations.put(replace(old, name=new_name))


def add_cluster(cluster: Cluster, request: requests.ClusterAdd) -> None:
    """Carry out ClusterAdd: in a location that is known, or in the own one."""
    with cluster.change():
        cluster_id = f"{_location_id(cluster, request.location)}.{request.subcluster_id}"
        known = cluster.catalog.neighbours.get(cluster_id)
        if known is not None or cluster_id == cluster.cluster_id:
            raise errors.ObjectExistsError(f"Cluster {cluster_id} is known already.")
        name = request.name or request.subcluster_id
        _check_cluster_name(cluster, name)
        cluster.catalog.neighbours.put(Neighbour(cluster_id, name))


def remove_cluster(cluster: Cluster, request: requests.ClusterRemove) -> None:
    """Carry out ClusterRemove: its bridges go with it [inf]."""
    with cluster.change():
        if request.name is not None:
            known = neighbour(cluster, request.name)
        else:
            cluster_id = f"{_location_id(cluster, request.location)}.{request.subcluster_id}"
            known = cluster.catalog.neighbours.get(cluster_id) or neighbour(cluster, cluster_id)
        for bridge in [*cluster.catalog.bridges]:
            if bridge.remote_id == known.cluster_id:
                cluster.catalog.bridges.drop(bridge.ip)
        cluster.catalog.neighbours.drop(known.cluster_id)


def rename_cluster(cluster: Cluster, old_name: str, new_name: str) -> None:
    """Carry out ClusterRename."""
    with cluster.change():
        old = neighbour(cluster, old_name)
        if new_name != old_name:
            _check_cluster_name(cluster, new_name)
        cluster.catalog.neighbours.put(replace(old, name=new_name))


def add_bridge(cluster: Cluster, request: requests.BridgeAdd) -> None:
    """Carry out RemoteBridgeAdd: to one cluster, or to a location."""
    with cluster.change():
        if cluster.catalog.bridges.get(request.ip) is not None:
            raise errors.ObjectExistsError(f"A bridge at {request.ip} is known already.")
        if request.remote is not None:
            remote_id = neighbour(cluster, request.remote).cluster_id
        else:
            remote_id = location(cluster, request.location or "").location_id
        delay = request.minimum_delete_delay
        cluster.catalog.bridges.put(
            Bridge(request.ip, request.public_key, remote_id, delay, request.no_crypto)
        )


def remove_bridge(cluster: Cluster, ip: str) -> None:
    """Carry out RemoteBridgeRemove."""
    with cluster.change():
        if cluster.catalog.bridges.get(ip) is None:
            raise errors.NoSuchObjectError(f"There is no bridge at {ip}.")
        cluster.catalog.bridges.drop(ip)


def minimum_delete_delay(cluster: Cluster, cluster_id: str) -> int | None:
    """Return the shortest delay that a bridge to a cluster lets it schedule a delete with."""
    for bridge in cluster.catalog.bridges:
        if bridge.leads_to(cluster_id) and bridge.minimum_delete_delay is not None:
            return bridge.minimum_delete_delay
    return None


def set_minimum_delete_delay(cluster: Cluster, name: str, seconds: int | None) -> None:
    """Set what the bridges to a cluster let it schedule, as registering them again does [kb]."""
    with cluster.change():
        cluster_id = neighbour(cluster, name).cluster_id
        for bridge in [*cluster.catalog.bridges]:
            if bridge.leads_to(cluster_id):
                cluster.catalog.bridges.put(replace(bridge, minimum_delete_delay=seconds))


def _location_id(cluster: Cluster, name: str | None) -> str:
    """Return the id of a location by its name; the own one is called by its id."""
    return name if name == cluster.location_id else location(cluster, name or "").location_id


def _check_location_name(cluster: Cluster, name: str) -> None:
    taken = {one.name for one in cluster.catalog.locations}
    if name in taken or name == cluster.location_id:
        raise errors.ObjectExistsError(f"Location '{name}' exists already.")


def _check_cluster_name(cluster: Cluster, name: str) -> None:
    taken = {one.name for one in cluster.catalog.neighbours}
    if name in taken or name == cluster.catalog.meta.cluster_name:
        raise errors.ObjectExistsError(f"Cluster '{name}' exists already.")
