"""The bridges between the clusters of this process, and what crosses them: copies and moves."""

from __future__ import annotations

from storpool_simulator.model import copies, moves, neighbours
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.federation import Federation


def tend(federation: Federation) -> None:
    """Do what has become due or has changed since the last call: end, hold and resume crossings.

    In pictures nothing becomes due.
    """
    if not federation.is_past:
        copies.tend(federation)
        moves.tend(federation)


def advance(cluster: Cluster, seconds: float) -> float:
    """Let time pass, with all crossings that end on the way; return the new time in seconds."""
    now = cluster.advance(seconds)
    tend(cluster.federation)
    return now


def set_link(
    cluster: Cluster, name: str, *, up: bool | None = None, seconds_per_gib: float | None = None
) -> None:
    """Cut or heal the bridges to a cluster, or say how long they take for a GiB: both ways."""
    federation = cluster.federation
    tend(federation)  # how far all is by now
    with cluster.lock:
        other_id = neighbours.neighbour(cluster, name).cluster_id
        link = federation.link(cluster.cluster_id, other_id)
        link.up = link.up if up is None else up
        link.seconds_per_gib = link.seconds_per_gib if seconds_per_gib is None else seconds_per_gib
        for each in federation.clusters:
            each.changed.notify_all()
    tend(federation)


def heal(federation: Federation) -> None:
    """Mend what a crash between the writes of two clusters has left, at a start."""
    copies.heal(federation)
    moves.heal(federation)
