"""Several clusters with one name space: their clients, and requests for them, taken apart."""

from __future__ import annotations

from storpool_ovirt.cluster.replies import RemoteClient
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Item = Mapping[str, Any]


def clients_by_cluster(clients: Iterable[int]) -> dict[str | None, list[int]]:
    """Return clients by the cluster that they are of; None is the own one."""
    found: dict[str | None, list[int]] = {}
    for each in clients:
        cluster_id = each.cluster_id if isinstance(each, RemoteClient) else None
        found.setdefault(cluster_id, []).append(each)
    return found


def of_cluster_of(known: Iterable[int], numbers: Iterable[int]) -> set[int]:
    """Return clients by their numbers as those of the one cluster that some known ones are of; the
    own one where there are none."""
    (cluster_id,) = clients_by_cluster(known) or (None,)
    return {RemoteClient(each, cluster_id) if cluster_id else each for each in numbers}


def by_cluster(items: Sequence[Item]) -> tuple[list[Item], dict[str, list[Item]]]:
    """Return the items of a reassign for the own cluster, and those for others' clients by the
    clusters' ids."""
    mine: list[Item] = []
    others: dict[str, list[Item]] = {}
    for item in items:
        given = clients_by_cluster(item.get("detach") or ())
        remote = [*filter(None, given)]
        for cluster_id in remote:
            there = [int(one) for one in given[cluster_id]]
            others.setdefault(cluster_id, []).append({**item, "detach": there})
        if not remote:
            mine.append(item)
        elif None in given:
            mine.append({**item, "detach": given[None]})
    return mine, others


def kept_there(item: Item) -> Item:
    """Return an item that takes nothing from another cluster's clients unless it says so.

    A volume of another cluster comes here, and whoever has it there keeps it, by StorPool's bridge.
    That is the default (`storpool.sptypes.VolumeReassignDesc`), but not of each release.
    """
    attaches = "volume" in item and (item.get("rw") or item.get("ro"))
    return {"onRemoteAttached": "export", **item} if attaches else item
