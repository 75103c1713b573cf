"""Good arguments for each verb of the adapter's own table: the one home of samples for tests.

A new verb needs a row here; from then on it is among those that meet wrong arguments, silent peers,
broken connections and a full log.
"""

from __future__ import annotations

from storpool_ovirt.engine import verbs

VERBS = tuple(verbs.VERBS)
IDLE = tuple(name for name, verb in verbs.VERBS.items() if verb.does is None)
"""Verbs that change nothing and ask nobody: they succeed without the cluster and the database."""
BUSY = tuple(name for name in VERBS if name not in IDLE)
OF_NOTHING = ("create_volume", "storage_stats")
"""Verbs that need no disk."""
OF_SNAPSHOTS = ("remove_snapshot", "create_volume_from_snapshot")

_SAMPLES = {
    "create_volume": ("NEW", "1"),
    "delete_volume": ("DISK",),
    "connect_volume": ("DISK", '{"host":"host1.example"}'),
    "disconnect_volume": ("DISK",),
    "extend_volume": ("DISK", "2"),
    "save_device": ("DISK", '{"path":"/dev/x"}'),
    "get_connection_info": ("DISK",),
    "storage_stats": ("true",),
    "clone_volume": ("DISK", "NEW"),
    "create_snapshot": ("DISK",),
    "remove_snapshot": ("SNAPSHOT", "DISK"),
    "create_volume_from_snapshot": ("DISK", "SNAPSHOT"),
}


def arguments(verb: str, disk: str, snapshot: str, new: str) -> tuple[str, ...]:
    """Return good arguments for a verb; `new` is the id of what it makes."""
    ids = {"DISK": disk, "SNAPSHOT": snapshot, "NEW": new}
    assert verb in _SAMPLES, f"{verb} has no sample in {__name__}"
    return tuple(ids.get(word, word) for word in _SAMPLES[verb])
