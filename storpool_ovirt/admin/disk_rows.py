"""The rows that a disk lacks, made from its objects' tags: a part of rebuild.

Which volume of a disk its VM writes is not tagged (it changes): it is the one that a host has
attached, else the one that was made last, and the next connect_volume corrects it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from storpool_ovirt import names
from storpool_ovirt.admin import survey
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import mapping

Dated = tuple[mapping.Node, float]  # a row, and when its object was made


@dataclass(frozen=True)
class Objects:
    """The objects that get a row, by id, and what there is beside them."""

    view: survey.View
    by_uuid: Mapping[str, api.Volume]

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """The ids of the objects by disk."""
        disks: dict[str, list[str]] = {}
        for uuid, thing in self.by_uuid.items():
            disks.setdefault(root_of(thing), []).append(uuid)
        return disks

    @cached_property
    def uuids(self) -> dict[str, str]:
        """The ids of all objects, of those that have a row too, by global id."""
        rows = self.view.records.items()
        known = {record.global_id: uuid for uuid, record in rows if record.global_id}
        return {**known, **{each.global_id: uuid for uuid, each in self.by_uuid.items()}}


@dataclass(frozen=True)
class _Disk:
    """What there is of one disk: the objects of its rows and those that get one, by id.

    `in_order` are its volumes, oldest first; `new` get a row. `written` is the volume that its VM
    writes, as its row tells.
    """

    root: str
    things: Mapping[str, api.Volume]
    in_order: Sequence[str]
    new: Sequence[str]
    written: str | None


def lacking(found: Objects, root: str) -> tuple[list[Dated], tuple[str, str] | None]:
    """Return the rows that one disk lacks, and its active volume where its row tells another
    one."""
    view = found.view
    disk = _disk(found, root)
    active = _active(view, disk)
    rows = [(_node(found, uuid, disk), disk.things[uuid].created_at) for uuid in disk.new]
    if root in disk.new:
        of_root = active or root
        rows = [
            (each._replace(active=of_root) if each.uuid == root else each, at) for each, at in rows
        ]
    elif root not in view.records and disk.things:
        made_at = min(each.created_at for each in disk.things.values())
        rows.append((_gone_root(disk, active), made_at))
    elif active is not None and active != disk.written:
        return rows, (root, active)
    return rows, None


def root_of(thing: api.Volume) -> str:
    """Return the id of the disk that an object belongs to by its tags; "" where none tells it."""
    return names.root_of(thing.tags) or thing.tags.get(names.TAG_UUID, "")


def _disk(found: Objects, root: str) -> _Disk:
    view = found.view
    rows = [node for node in view.tree(root) if node.state == mapping.LIVE]
    old = {node.uuid: view.things.get(node.global_id or "") for node in rows}
    new = {uuid: found.by_uuid[uuid] for uuid in found.members.get(root, ())}
    things = {uuid: each for uuid, each in {**old, **new}.items() if each is not None}
    volumes = [uuid for uuid, each in things.items() if each.kind == "volume"]
    volumes.sort(key=lambda uuid: (things[uuid].created_at, things[uuid].serial))
    record = view.records.get(root)
    written = (record.node.active or root) if record is not None else None
    return _Disk(root, things, volumes, list(new), written)


def _active(view: survey.View, disk: _Disk) -> str | None:
    """Return the volume that is in use: the only one that a host has, else the newest if that was
    found now."""
    attached = [
        uuid
        for uuid in disk.in_order
        if view.attachments_of(disk.things[uuid].global_id, disk.things[uuid].name)
    ]
    if len(attached) == 1:
        return attached[0]
    newest = disk.in_order[-1] if disk.in_order else None
    return newest if disk.written is None or newest in disk.new else disk.written


def _gone_root(disk: _Disk, active: str | None) -> mapping.Node:
    """Return the row of a disk whose own volume is gone while others of its tree are not."""
    return mapping.Node(
        uuid=disk.root,
        kind="volume",
        root=disk.root,
        source=None,
        size_bytes=max(each.size_bytes for each in disk.things.values()),
        state=mapping.REMOVED,
        active=active or disk.root,
    )


def _node(found: Objects, uuid: str, disk: _Disk) -> mapping.Node:
    thing = found.by_uuid[uuid]
    is_volume = thing.kind == "volume"
    before = disk.in_order[: disk.in_order.index(uuid)] if is_volume else []
    replaced = (before[-1] if before else disk.root) if is_volume and uuid != disk.root else None
    return mapping.Node(
        uuid=uuid,
        kind=thing.kind,
        root=disk.root,
        source=found.uuids.get(_origin(found.view, thing) or ""),
        size_bytes=thing.size_bytes,
        state=mapping.LIVE,
        global_id=thing.global_id,
        connected=is_volume,
        replaced=replaced,
        visible_id=(thing.serial or None) if is_volume else None,
        first_id=thing.first_id if thing.first_id != thing.global_id else None,
    )


def _origin(view: survey.View, thing: api.Volume) -> str | None:
    """Return the global id of what an object was made from: a snapshot's volume, a volume's
    snapshot.

    A volume stands on the last snapshot that was made of it: behind those of its own is what it was
    made from.
    """
    if thing.kind == "snapshot":
        return thing.made_from
    parent: api.Volume | None = thing
    # A bound, for a list in which the parents form a circle.
    for _ in range(len(view.things) + len(view.fleeting)):
        name = parent.parent if parent is not None else ""
        parent = view.named(name)
        if parent is None or not (parent.transient or parent.made_from == thing.global_id):
            break
    return parent.global_id if parent is not None else None
