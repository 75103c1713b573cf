"""Requests that reach hosts of several clusters with one name space, taken apart by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storpool_ovirt.cluster.replies import RemoteClient

Item = Mapping[str, Any]


def by_cluster(items: Sequence[Item]) -> tuple[list[Item], dict[str, list[Item]]]:
    """Return the items of a reassign for the own cluster, and those for others' clients by the
    clusters' ids."""
    mine: list[Item] = []
    others: dict[str, list[Item]] = {}
    for item in items:
        given = item.get("detach") or ()
        remote = [one for one in given if isinstance(one, RemoteClient)]
        for cluster_id in dict.fromkeys(one.cluster_id for one in remote):
            there = [int(one) for one in remote if one.cluster_id == cluster_id]
            others.setdefault(cluster_id, []).append({**item, "detach": there})
        own = [one for one in given if not isinstance(one, RemoteClient)]
        if not remote:
            mine.append(item)
        elif own:
            mine.append({**item, "detach": own})
    return mine, others


def kept_there(item: Item) -> Item:
    """Return an item that takes nothing from another cluster's clients unless it says so.

    A volume of another cluster comes here, and whoever has it there keeps it, by StorPool's bridge.
    That is the default (`storpool.sptypes.VolumeReassignDesc`), but not of each release.
    """
    attaches = "volume" in item and (item.get("rw") or item.get("ro"))
    return {"onRemoteAttached": "export", **item} if attaches else item
