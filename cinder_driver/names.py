"""Names of Cinder's objects in StorPool: the rule that driver and connector share.

They are those of the upstream driver and connector (`os_to_sp_volume_name` and `os_to_sp_snapshot_name` in os-brick's
initiator/storpool_utils.py), so that volumes which those made go on working, and hosts that have only those.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX_KEY = "SP_OPENSTACK_VOLUME_PREFIX"
DEFAULT_PREFIX = "os"


def prefix(conf: Mapping[str, str]) -> str:
    """Return the prefix that storpool.conf (its effective keys) gives to all names of one OpenStack."""
    return conf.get(PREFIX_KEY) or DEFAULT_PREFIX


def volume_name(prefix: str, id: str) -> str:  # noqa: A002  Cinder's word
    """Return the StorPool name of the volume that Cinder knows as `id`."""
    return f"{prefix}--volume-{id}"


def snapshot_name(prefix: str, id: str) -> str:  # noqa: A002  Cinder's word
    """Return the StorPool name of the snapshot that Cinder knows as `id`."""
    return f"{prefix}--snap--none--snapshot-{id}"
