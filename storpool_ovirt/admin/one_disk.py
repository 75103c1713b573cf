"""What the cluster has of one disk whose rows are known, read by a call for each object.

A list of all volumes may be of a hundred thousand, of which a disk has a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from storpool_ovirt import errors
from storpool_ovirt.cluster import api, identity, volumes
from storpool_ovirt.engine import mapping, reverts


def objects(client: api.Client, nodes: Sequence[mapping.Node]) -> list[api.Volume]:
    """Return what may be the object of one of these rows: what has its global id, and where that
    leads to none that is it for certain, what else may be it after a revert."""
    places = [(node, reverts.addresses(node)) for node in nodes]
    found: dict[str, api.Volume] = {}
    with identity.each_or_listed(client, ((node.kind, of[0]) for node, of in places)) as listed:
        for node, addresses in places:
            for address in addresses:
                there = (listed or {}).get(address)
                with suppress(errors.NotFound):
                    there = there or volumes.read(client, node.kind, address)
                if there is None:
                    continue
                found[there.global_id] = there
                if there.global_id == node.global_id and not reverts.is_another(there, node):
                    break
    return [*found.values()]
