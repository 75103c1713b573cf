"""How a call for several clusters gets to the one that a domain or a host is pinned to.

`RemoteCommand/~<id>/MultiCluster/<call>` is what OpenNebula's add-on of StorPool sends; what others
say is that the two do not go together (storpool-python for CloudStack's disaster recovery). So it
is sent until it is refused. Then a call for several clusters goes without `RemoteCommand/`: where
the address leads to the pinned cluster itself nothing is different. Through another cluster's
address it is the same for all but two calls, which are meant for the asked cluster: a create, which
is its own then, and a reassign, whose clients are its own. These go to the pinned cluster alone,
without `MultiCluster/`.
"""

from __future__ import annotations

from storpool_ovirt.cluster import replies
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Calls whose meaning depends on which cluster is asked.
OF_ONE = frozenset(("volumeCreate", "volumesReassignWait"))
# What is asked for to hear whether a call is taken: a name that nothing of ours ever has.
NOBODY = "ovirt--nobody"


# How the pinned cluster is asked.
TOGETHER = "RemoteCommand/ and MultiCluster/ in one call"
HERE = "MultiCluster/ alone: the address is that cluster's"
APART = "MultiCluster/ alone, or RemoteCommand/ alone: the address is another cluster's"


class Refused(Exception):
    """The call was refused for the way it went, and nothing was done: another way is known now."""


class Apart(Exception):
    """The call has no form for several clusters by this way; nothing was asked."""


def is_remote(cluster_id: str, locations: object, clusters: object) -> bool:
    """Return whether a cluster is another one to who gave these answers (`LocationsList`,
    `ClustersList`: what is registered there). Raises OddReply.

    Its own location need not be in the list of locations.
    """
    location, _, part = cluster_id.partition(".")
    named = {
        replies.text(each, "name"): replies.text(each, "id")
        for each in _entries(locations, "locations")
    }
    return any(
        replies.text(each, "id") == part
        and named.get(replies.text(each, "location"), location) == location
        for each in _entries(clusters, "clusters")
    )


def _entries(raw: object, key: str) -> Sequence[Mapping[str, Any]]:
    return replies.entries(replies.mapping(raw).get(key))
