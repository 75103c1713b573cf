"""Names of Cinder's objects in StorPool: the rule that driver and connector share.

They are those of the upstream driver and connector (`os_to_sp_volume_name` and
`os_to_sp_snapshot_name` in os-brick's initiator/storpool_utils.py), so that volumes which those
made go on working, and hosts that have only those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from storpool_ovirt import storpool_conf

_OPENSTACKS = re.compile(
    r"(.+?)--(?:volume|(?:snap|clone)--none--snapshot)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
)


def prefix(conf: Mapping[str, str]) -> str:
    """Return the prefix of all names of one OpenStack, from storpool.conf's effective keys."""
    return storpool_conf.openstack_prefix(conf)


def volume_name(prefix: str, id: str) -> str:  # noqa: A002  Cinder's word
    """Return the StorPool name of the volume that Cinder knows as `id`."""
    return f"{prefix}--volume-{id}"


def snapshot_name(prefix: str, id: str) -> str:  # noqa: A002  Cinder's word
    """Return the StorPool name of the snapshot that Cinder knows as `id`."""
    return f"{prefix}--snap--none--snapshot-{id}"


def clone_snapshot_name(prefix: str, id: str) -> str:  # noqa: A002  Cinder's word
    """Return the name of the snapshot that the volume `id` is made from in a clone of a group."""
    return f"{prefix}--clone--none--snapshot-{id}"


def prefix_of(name: str) -> str | None:
    """Return the prefix of a name that some OpenStack gave, None for any other name."""
    found = _OPENSTACKS.match(name)
    return found.group(1) if found else None


def volume_id(prefix: str, name: str) -> str | None:
    """Return the id of the volume that has this StorPool name; None if it is not ours."""
    return _rest(volume_name(prefix, ""), name)


def snapshot_id(prefix: str, name: str) -> str | None:
    """Return the id of the snapshot that has this StorPool name; None if it is not ours."""
    return _rest(snapshot_name(prefix, ""), name)


def _rest(head: str, name: str) -> str | None:
    return name[len(head) :] if name.startswith(head) and len(name) > len(head) else None
