"""The clusters of this process: who is meant by a name, who can be reached, whose an object is.

Each cluster knows others by what is registered in it: locations, clusters, bridges (`neighbours`).
Clusters of one location that know each other are one multi-cluster: calls with `MultiCluster/` look
names and ids up in all of them [spapi]. All clusters have one lock.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from storpool_simulator import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from storpool_simulator.model.cluster import Change, Cluster
    from storpool_simulator.model.objects import Attachment, Entry, Neighbour


@dataclass
class Link:
    """The bridges between two clusters: up or down, and how long they take for a GiB."""

    up: bool = True
    seconds_per_gib: float = 0.0


class Federation:
    """All clusters of this process, the first one first; often there is only that.

    `is_past`: these are pictures of them, in which nothing becomes due. `is_whole`: all have been
    read; until then it is not known what one holds for another, so nothing is collected.
    """

    def __init__(self, present: Federation | None = None, *, is_whole: bool = True) -> None:
        self.is_past = present is not None
        self.is_whole = is_whole
        self.lock: threading.RLock = present.lock if present else threading.RLock()
        self._clusters: list[Cluster] = []
        # Cut or not, the bridges are what they are now.
        self._links: dict[frozenset[str], Link] = present._links if present else {}

    def join(self, cluster: Cluster) -> None:
        """Take in a cluster of this process; `neighbours.introduce` makes it known to others."""
        self._clusters.append(cluster)

    @property
    def clusters(self) -> Sequence[Cluster]:
        """All clusters of this process."""
        return tuple(self._clusters)

    def link(self, one: str, other: str) -> Link:
        """Return the link between two clusters, by their ids, to look at or to change."""
        return self._links.setdefault(frozenset({one, other}), Link())

    # who is meant

    def named(self, asking: Cluster, key: str) -> Cluster:
        """Return the cluster that `RemoteCommand/<key>/` means: a name, or `~` and an id [csi].

        Raises ApiError: for one that is not known as the switch `unknown_cluster_error` says, for
        one that cannot be reached as `check_reach` does.
        """
        meta = asking.catalog.meta
        if key in (meta.cluster_name, f"~{meta.cluster_id}"):
            return asking
        for neighbour in asking.catalog.neighbours:
            if key in (neighbour.name, f"~{neighbour.cluster_id}"):
                return self.reached(asking, neighbour)
        name = asking.switches["unknown_cluster_error"]
        raise errors.ApiError(f"Cluster '{key}' is not connected.", name=name, status=404)

    def sharing(self, asking: Cluster) -> Sequence[Neighbour]:
        """Return the other clusters that share a name space with this one, as it knows them."""
        here = asking.location_id
        return [one for one in asking.catalog.neighbours if one.location_id == here]

    # who can be reached

    def reached(self, asking: Cluster, neighbour: Neighbour) -> Cluster:
        """Return a cluster that is known, or raise ApiError when no bridge to it is up."""
        other = self.reachable(asking, neighbour.cluster_id)
        if other is None:
            name = asking.switches["bridge_down_error"]
            raise errors.ApiError(
                f"Cluster '{neighbour.name}' can not be reached.",
                name=name,
                status=503,
                transient=name == "notReady",
            )
        return other

    def reachable(self, asking: Cluster, cluster_id: str) -> Cluster | None:
        """Return a cluster when a bridge to it is up, else None."""
        other = self.find(cluster_id)
        if other is None or other.closed or not self.link(asking.cluster_id, cluster_id).up:
            return None
        is_bridged = bridged(asking, cluster_id) and bridged(other, asking.cluster_id)
        return other if is_bridged else None

    def find(self, cluster_id: str) -> Cluster | None:
        """Return the cluster of this process that has the id, or None."""
        found = (each for each in self._clusters if each.cluster_id == cluster_id)
        return next(found, None)

    # whose an object is

    def members(self, asking: Cluster) -> Sequence[Cluster]:
        """Return the clusters that a `MultiCluster/` call is about, the asking one first.

        When one cannot be reached the switch `mc_unreachable` decides: an error, or it is left out
        without a word.
        """
        members = [asking]
        for neighbour in self.sharing(asking):
            try:
                members.append(self.reached(asking, neighbour))
            except errors.ApiError:
                if asking.switches["mc_unreachable"] == "error":
                    raise
        return members

    def owner(self, asking: Cluster, key: str) -> Cluster:
        """Return the cluster that has the object of this name or `~gid`.

        The asking one is looked at first; others are asked only for what it does not own. A source
        of a move, and a copy of what another one owns, counts only where no owner is. It is the
        asking one too when nobody has it.
        """
        if _owns(asking, key):
            return asking
        members = self.members(asking)
        owners = [member for member in members if _owns(member, key)]
        copies = [member for member in members if _has(member, key)]
        return next(iter([*owners, *copies]), asking)

    # what is attached

    def attached(self, global_id: str) -> Sequence[tuple[Cluster, Attachment]]:
        """Return where an object is attached, by our id of it: at clients of all clusters."""
        return [
            (cluster, attachment)
            for cluster in self._clusters
            for attachment in cluster.catalog.attached(global_id).values()
        ]

    def holder(self, global_id: str) -> tuple[Cluster, Entry]:
        """Return who has an object that is attached somewhere, and the object, by our id of it.

        Whether a bridge is up does not matter: who has it attached knows it.
        """
        for cluster in self._clusters:
            entry = cluster.catalog.entries.get(global_id)
            if entry is not None and entry.moved_to is None and not entry.slave:
                return cluster, entry
        raise errors.NoSuchObjectError(f"'~{global_id}' does not exist.")

    def exported(self, cluster: Cluster, key: str) -> Entry | None:
        """Return a volume that another cluster lets this one's clients attach, or None."""
        for other in self._clusters:
            for export in other.catalog.volume_exports:
                entry = other.catalog.entries.get(export.global_id)
                if export.cluster_id == cluster.cluster_id and other.catalog.find(key) is entry:
                    return entry
        return None

    def hide(self, leaving: Sequence[tuple[Cluster, Sequence[Attachment]]], *, cut: bool) -> None:
        """Take devices away from clients of several clusters, all together."""
        keys = [
            cluster.devices.key(one.client_id, one.global_id)
            for cluster, attachments in leaving
            for one in attachments
            if one.client_id in cluster.hosts
        ]
        if keys:
            leaving[0][0].devices.devices.hide_all(keys, cut)


def set_clocks(clusters: Sequence[Cluster]) -> None:
    """Have all clusters tell the latest of their times, at a start.

    A process may have died while it let time pass, and a new cluster knows nothing of what passed
    before it was.
    """
    latest = max(cluster.catalog.meta.clock_offset for cluster in clusters)
    for cluster in clusters:
        if cluster.catalog.meta.clock_offset != latest:
            with cluster.change(quiet=True):
                meta = cluster.catalog.meta
                cluster.catalog.metas.put(replace(meta, clock_offset=latest))


def bridged(cluster: Cluster, cluster_id: str) -> bool:
    """Return whether a bridge to another cluster is registered here."""
    return any(bridge.leads_to(cluster_id) for bridge in cluster.catalog.bridges)


@contextlib.contextmanager
def changing(clusters: Iterable[Cluster]) -> Iterator[dict[str, Change]]:
    """Give one change of each of these clusters; what one refuses, none does.

    They are written from the last one to the first: a process that dies between leaves the last.
    """
    with contextlib.ExitStack() as stack:
        yield {one.cluster_id: stack.enter_context(one.change()) for one in clusters}


def _has(cluster: Cluster, key: str) -> bool:
    return cluster.catalog.find(key) is not None


def _owns(cluster: Cluster, key: str) -> bool:
    entry = cluster.catalog.find(key)
    return entry is not None and entry.moved_to is None and not entry.slave
