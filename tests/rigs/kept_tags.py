"""T79: the tags that all objects of an Engine have after each verb of a history, whatever became of
the verb: its owner's, and on the volume that a disk's VM writes the class and the policy of its
domain. What is in the trash is no VM's, and no policy counts for it.

They hold at every moment, also after the death of a verb: what is moved from one volume to another
is on the second one before it goes from the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rigs import shared_stage
from storpool_ovirt import names

if TYPE_CHECKING:
    from rigs.stage_fixtures import Stage
    from rigs.yard import Yard

# What the domain of such a history says of new disks, and the tags that follow.
DOMAIN = {"qos_class": "gold", "vc_policy": "daily"}
POLICY = {"qc": "gold", "vc-policy": "daily"}
OPTIONS = {"sp_qos_class": "gold", "sp_vc_policy": "daily"}

Tags = Mapping[str, str]
_ROWS = (
    "SELECT uuid::text, root::text, active::text, state,"
    " (SELECT location FROM storpool_ovirt.meta) FROM storpool_ovirt.node"
)


class _Row(NamedTuple):
    uuid: str
    root: str
    active: str | None
    state: str
    location: str


def check(yard: Yard) -> None:
    """Look at all objects that the mapping has, and at the active volume of each disk."""
    seen = yard.see()
    tags = {name: each.tags for name, each in seen.things.items()}
    _check(seen.location, seen.rows.values(), tags)
    for thing in seen.trash.values():
        assert not {names.TAG_VM, names.TAG_POLICY} & thing.tags.keys(), thing


def check_stage(stage: Stage, listed: Iterable[Mapping[str, Any]]) -> None:
    """Do the same on a stage whose domain has the `OPTIONS`, with all that its cluster lists."""
    rows = [_Row(*row) for row in shared_stage.sql(stage.database, _ROWS)]
    tags = {each["name"]: each["tags"] for each in listed if not each.get("deleted")}
    _check(rows[0].location if rows else "", rows, tags)


def _check(location: str, rows: Iterable[Any], tags: Mapping[str, Tags]) -> None:
    for row in rows:
        own = tags.get(names.object_name(row.uuid))
        if own is not None and row.state == "live":
            _check_owner(location, row, own)
        active = tags.get(names.object_name(row.active or row.uuid))
        if active is not None and row.uuid == row.root and row.state in ("live", "removed"):
            assert {key: active.get(key) for key in POLICY} == POLICY, (row, active)


def _check_owner(location: str, row: Any, found: Tags) -> None:
    wanted = names.tags(row.uuid, location, row.root)
    assert names.differing(wanted, names.with_long_uuid(dict(found))) == [], (row, found)
    length = sum(len(key) + len(value) for key, value in found.items())
    assert length + len(names.object_name(row.uuid)) <= 199, (row, found)
