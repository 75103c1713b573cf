"""The mapping made again from the tags, when the database is lost or older than the cluster.

Every object carries its own id, the id of its disk, and the location of the Engine that made it.
Which volume of a disk its VM writes is not tagged (it changes): it is the one that a host has
attached, else the one that was made last, and the next connect_volume corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from storpool_ovirt import errors, names
from storpool_ovirt.admin import survey
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import candidates, changes, intent, mapping, tree


def _unsaid(_line: str) -> None:
    """Say it to nobody."""


@dataclass(frozen=True)
class Location:
    """What one Engine has in the cluster."""

    name: str
    disks: int
    objects: int


@dataclass(frozen=True)
class Plan:
    """The rows to write for each disk, with the time of their objects' making.

    `active` are disks whose row is there and tells another volume than the one in use; `retagged`
    objects get the location's tag.
    """

    location: str
    disks: tuple[tuple[tuple[mapping.Node, float], ...], ...]
    active: tuple[tuple[str, str], ...]
    retagged: tuple[api.Volume, ...]
    left_out: tuple[str, ...]


def locations(view: survey.View) -> list[Location]:
    """Return which Engines have something in the cluster, the largest first."""
    found: dict[str, list[api.Volume]] = {}
    for thing in view.things.values():
        if thing.tags.get(names.TAG_PLATFORM) == names.PLATFORM and thing.tags.get(
            names.TAG_LOCATION
        ):
            found.setdefault(thing.tags[names.TAG_LOCATION], []).append(thing)
    all_of = [
        Location(name, len({_root_of(each) for each in things}), len(things))
        for name, things in found.items()
    ]
    return sorted(all_of, key=lambda each: (-each.objects, each.name))


def plan(view: survey.View, location: str | None = None) -> Plan:
    """Return the rows that the mapping lacks for this Engine's objects, or for those of `location`,
    which it becomes.

    Raises Conflict when there is nothing of the location in the cluster: the locations that there
    are it names.
    """
    wanted = location or view.location
    if wanted not in {each.name for each in locations(view)}:
        there = ", ".join(f"{each.name} ({each.disks} disks)" for each in locations(view)) or "none"
        raise errors.Conflict(
            f"location {wanted}" if wanted else "the location of the lost database",
            "has no object in this cluster" if wanted else "is not told",
            f"the locations there are: {there}; the old one is in the adapter's log (verb_done ..."
            " loc=): give it with --location",
        )
    claimed = {each.node for each in view.operations if each.kind == intent.MAKE and each.proved}
    by_uuid, left_out = _objects(replace(view, location=wanted), claimed)
    found = _Found(view, by_uuid)
    disks = {*found.members, *({record.node.root for record in view.records.values()} - view.busy)}
    planned = [_disk(found, disk) for disk in sorted(disks) if view.is_here(disk)]
    left_out += [
        f"{candidates.said(each)}: the mapping has it, but it belongs to {other} now"
        for each in _mapped(view)
        if (other := candidates.owner(each, view.location)) and candidates.owner(each, wanted)
    ]
    return Plan(
        wanted,
        tuple(tuple(rows) for rows, _ in planned if rows),
        tuple(active for _, active in planned if active is not None),
        tuple(_retagged(view, wanted)),
        tuple(left_out),
    )


def carry_out(work: tree.Work, plan: Plan, say: Callable[[str], object] = _unsaid) -> int:
    """Write the rows, a disk's all at once, and return how many.

    Those whose object has vanished are not written, nor what became another's since the look: that
    is said.
    """
    for thing in plan.retagged:
        _retag(work, thing, plan.location, say)
    if plan.location != work.mapping.location:
        work.mapping.relocate(plan.location)
        work.log.line("location_changed", location=plan.location, retagged=len(plan.retagged))
    there = {each.global_id: each for each in candidates.living(work.client)}
    written = 0
    for rows in plan.disks:
        with work.mapping.session.transaction():
            for node, created_at in rows:
                if node.global_id is None or _is_still(
                    there.get(node.global_id), node, plan.location, say
                ):
                    written += _write(work, node, created_at)
    for root, uuid in plan.active:
        row = next((each for each in work.mapping.tree(root) if each.uuid == uuid), None)
        found = there.get(row.global_id or "") if row is not None else None
        if (
            found is not None
            and not candidates.owner(found, plan.location)
            and not candidates.other_id(found, uuid)
        ):
            work.mapping.write(changes.activated(root, uuid))
            work.log.line("activated", disk=root, volume=uuid)
    return written


def _retag(work: tree.Work, thing: api.Volume, location: str, say: Callable[[str], object]) -> None:
    """Write the tag of the location on what the look found, with its other tags as they are now."""
    try:
        volumes.change(work.client, thing, tags={names.TAG_LOCATION: location})
    except errors.NotFound:
        return
    except errors.Foreign:
        say(
            f"{candidates.said(thing)}: it has got other tags or another name meanwhile, and keeps"
            " them"
        )


def _is_still(
    thing: api.Volume | None, node: mapping.Node, location: str, say: Callable[[str], object]
) -> bool:
    """Tell whether an object that gets a row is there and carries the tags that tell so."""
    if thing is None:
        return False
    if not names.is_ours(thing.tags, node.uuid, location):
        say(f"{candidates.said(thing)}: it has got other tags meanwhile, so it gets no row")
        return False
    return True


def _write(work: tree.Work, node: mapping.Node, created_at: float) -> bool:
    new = work.mapping.adopt(node, created_at)
    if new:
        work.log.line(
            "row_rebuilt", node=node.uuid, kind=node.kind, disk=node.root, global_id=node.global_id
        )
    return new


def _retagged(view: survey.View, location: str) -> Iterator[api.Volume]:
    """Yield what gets the tag of the location: what the mapping has, and what this Engine made with
    another one.

    What the tags say is another owner's by now stays that one's, also where the mapping has it.
    """
    named = [
        each
        for things in view.ours.values()
        for each in things
        if each.global_id not in view.mapped
    ]
    for thing in (*_mapped(view), *named):
        if thing.tags.get(names.TAG_LOCATION, "") != location and not candidates.owner(
            thing, view.location
        ):
            yield thing


def _mapped(view: survey.View) -> list[api.Volume]:
    return [view.things[global_id] for global_id in sorted(view.mapped & view.things.keys())]


def _objects(view: survey.View, claimed: set[str]) -> tuple[dict[str, api.Volume], list[str]]:
    """Return the objects to take in by id, and the reasons for those that are left out."""
    by_uuid: dict[str, api.Volume] = {}
    left_out = []
    for uuid, things in sorted(view.ours.items()):
        new = [each for each in things if each.global_id not in view.mapped]
        if not new:
            continue
        if not names.UUID.match(uuid) or not names.UUID.match(_root_of(new[0])):
            left_out.append(f"~{new[0].global_id}: its tags name no id of oVirt")
        elif uuid in claimed:
            left_out.append(
                f"{uuid}: an operation that died made it, and Engine does not know it (see audit)"
            )
        elif uuid in view.records:
            was = view.records[uuid].node.global_id
            left_out.append(
                f"{uuid}: the mapping has ~{was} for it, and not {candidates.those(new)}:"
                f" storpool-ovirt mend {uuid}"
            )
        elif len(new) > 1:
            left_out.append(f"{uuid}: there are two objects of this id: {candidates.those(new)}")
        else:
            by_uuid[uuid] = new[0]
    known = {*by_uuid, *view.ours, *view.records}
    for uuid, things in sorted(view.kept.items()):
        if uuid not in known:
            left_out.append(
                f"{candidates.those(things)}: the tags are those of {uuid or 'no id'}, the name is"
                " not, so others keep it; if it is the disk, rename it to"
                f" {names.object_name(uuid)} and run this again"
            )
    return by_uuid, left_out


@dataclass(frozen=True)
class _Found:
    """The objects that get a row, by id, and what there is beside them."""

    view: survey.View
    by_uuid: Mapping[str, api.Volume]

    @cached_property
    def members(self) -> dict[str, dict[str, api.Volume]]:
        """The objects by disk."""
        disks: dict[str, dict[str, api.Volume]] = {}
        for uuid, thing in self.by_uuid.items():
            disks.setdefault(_root_of(thing), {})[uuid] = thing
        return disks

    @cached_property
    def uuids(self) -> dict[str, str]:
        """The ids of all objects, of those that have a row too, by global id."""
        records = self.view.records.items()
        known = {record.node.global_id: uuid for uuid, record in records if record.node.global_id}
        return {**known, **{each.global_id: uuid for uuid, each in self.by_uuid.items()}}


def _disk(
    found: _Found, root: str
) -> tuple[list[tuple[mapping.Node, float]], tuple[str, str] | None]:
    """Return the rows that one disk lacks, and its active volume where its row tells another
    one."""
    view = found.view
    old = {node.uuid: node for node in view.tree(root) if node.state == mapping.LIVE}
    new = found.members.get(root, {})
    things = {**{uuid: view.things.get(node.global_id or "") for uuid, node in old.items()}, **new}
    made = {
        uuid: (thing.created_at, thing.serial)
        for uuid, thing in things.items()
        if thing is not None
    }
    in_order = sorted(
        (uuid for uuid in made if _kind(things[uuid]) == "volume"), key=lambda uuid: made[uuid]
    )
    active = _active(view, things, in_order, _told(view, root), set(new))
    rows = [(_node(found, uuid, root, in_order), made[uuid][0]) for uuid in new]
    if root in new:
        rows = [
            (replace(node, active=active or root) if node.uuid == root else node, at)
            for node, at in rows
        ]
    elif root not in view.records and made:
        size_bytes = max(thing.size_bytes for thing in things.values() if thing is not None)
        gone = mapping.Node(
            root, "volume", root, None, size_bytes, mapping.REMOVED, active=active or root
        )
        rows.append((gone, min(made.values())[0]))
    elif active is not None and active != _told(view, root):
        return rows, (root, active)
    return rows, None


def _told(view: survey.View, root: str) -> str | None:
    record = view.records.get(root)
    return (record.node.active or root) if record is not None else None


def _kind(thing: api.Volume | None) -> str:
    return thing.kind if thing is not None else ""


def _active(
    view: survey.View,
    things: Mapping[str, api.Volume | None],
    in_order: Sequence[str],
    told: str | None,
    new: set[str],
) -> str | None:
    """Return the volume that is in use: the only one that a host has, else the newest if that was
    found now."""
    attached = [
        uuid
        for uuid in in_order
        if (thing := things[uuid]) is not None and view.holders(thing.global_id, thing.name)
    ]
    if len(attached) == 1:
        return attached[0]
    newest = in_order[-1] if in_order else None
    return newest if told is None or newest in new else told


def _node(found: _Found, uuid: str, root: str, in_order: Sequence[str]) -> mapping.Node:
    thing = found.by_uuid[uuid]
    source = found.uuids.get(_origin(found.view, thing) or "")
    before = in_order[: in_order.index(uuid)] if thing.kind == "volume" else []
    replaced = (before[-1] if before else root) if thing.kind == "volume" and uuid != root else None
    return mapping.Node(
        uuid,
        thing.kind,
        root,
        source,
        thing.size_bytes,
        mapping.LIVE,
        thing.global_id,
        connected=thing.kind == "volume",
        replaced=replaced,
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
    for _ in range(
        len(view.things) + len(view.fleeting)
    ):  # a bound, in case that the list tells a circle
        name = parent.parent if parent is not None else ""
        parent = view.named(name)
        if parent is None or not (parent.transient or parent.made_from == thing.global_id):
            break
    return parent.global_id if parent is not None else None


def _root_of(thing: api.Volume) -> str:
    return thing.tags.get(names.TAG_ROOT) or thing.tags.get(names.TAG_UUID, "")
