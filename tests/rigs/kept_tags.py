"""T79: the tags that all objects of an Engine have after each verb of a history, whatever became of
the verb: its owner's, and on the volume that a disk's VM writes the class and the policy of its
domain.

They hold at every moment, also after the death of a verb: what is moved from one volume to another
is on the second one before it goes from the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_ovirt import names

if TYPE_CHECKING:
    from rigs.disk_model import Row
    from rigs.disk_rig import Seen, Thing
    from rigs.yard import Yard

# What the domain of such a history says of new disks, and the tags that follow.
DOMAIN = {"qos_class": "gold", "vc_policy": "daily"}
POLICY = {"qc": "gold", "vc-policy": "daily"}


def check(yard: Yard) -> None:
    """Look at all objects that the mapping has, and at the active volume of each disk."""
    seen = yard.see()
    for uuid, row in seen.rows.items():
        thing = seen.things.get(f"ovirt--{uuid}")
        if thing is not None and row.state == "live":
            _check_owner(yard, row, thing)
    for row in seen.rows.values():
        thing = _active(seen, row)
        if thing is not None:
            found = {key: thing.tags.get(key) for key in POLICY}
            assert found == POLICY, (row, thing)


def _check_owner(yard: Yard, row: Row, thing: Thing) -> None:
    tags = names.with_long_uuid(dict(thing.tags))
    assert names.differing(yard.tags(row.uuid, row.root), tags) == [], (row, thing)
    length = sum(len(key) + len(value) for key, value in thing.tags.items())
    assert length + len(names.object_name(row.uuid)) <= 199, (row, thing)


def _active(seen: Seen, row: Row) -> Thing | None:
    """Return the volume that the VM of a disk writes; None for other rows, and where StorPool has
    none."""
    if row.uuid != row.root or row.state not in ("live", "removed"):
        return None
    return seen.things.get(f"ovirt--{row.active or row.uuid}")
