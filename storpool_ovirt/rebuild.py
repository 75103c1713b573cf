"""The mapping made again from the tags, when the database is lost or older than the cluster.

Every object carries its own id, the id of its disk, and the location of the Engine that made it.  Which volume of a
disk its VM writes is not tagged (it changes): it is the one that a host has attached, else the one that was made last,
and the next connect_volume corrects it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from storpool_ovirt import api, errors, journal, mapping, names, trees, truths, volumes


@dataclass(frozen=True)
class Location:
    """What one Engine has in the cluster."""

    name: str
    disks: int
    objects: int
    newest_at: float


@dataclass(frozen=True)
class Plan:
    """The rows to write, with the time of their objects' making; `retagged` objects get the new location's tag.

    `active` are disks whose row is there, and the volume of theirs, found now, that is in use.
    """

    location: str
    rows: tuple[tuple[mapping.Node, float], ...]
    active: tuple[tuple[str, str], ...]
    retagged: tuple[api.Volume, ...]
    left_out: tuple[str, ...]


def locations(view: truths.View) -> list[Location]:
    """Return which Engines have something in the cluster, the largest first."""
    found: dict[str, list[api.Volume]] = {}
    for thing in view.things.values():
        if thing.tags.get(names.TAG_PLATFORM) == names.PLATFORM and names.TAG_LOCATION in thing.tags:
            found.setdefault(thing.tags[names.TAG_LOCATION], []).append(thing)
    all_of = [
        Location(name, len({_root_of(each) for each in things}), len(things), max(each.created_at for each in things))
        for name, things in found.items()
    ]
    return sorted(all_of, key=lambda each: (-each.objects, each.name))


def plan(view: truths.View, location: str | None = None) -> Plan:
    """Return the rows that the mapping lacks for this Engine's objects, or for those of `location`, which it becomes.

    Raises Conflict when there is nothing of the location in the cluster: the locations that there are it names.
    """
    wanted = location or view.location
    if wanted not in {each.name for each in locations(view)}:
        there = ", ".join(f"{each.name} ({each.disks} disks)" for each in locations(view)) or "none"
        raise errors.Conflict(
            f"location {wanted}",
            "has no object in this cluster",
            f"the locations there are: {there}; the old one is in the adapter's log (verb_done ... loc=): give it with"
            " --location",
        )
    mapped = {record.node.global_id for record in view.records.values()}
    claimed = {each.node for each in view.operations if each.kind == journal.MAKE}
    by_uuid, left_out = _objects(replace(view, location=wanted), mapped, claimed)
    rows = _rows(view, by_uuid)
    retagged = (
        () if wanted == view.location else tuple(each for each in view.things.values() if each.global_id in mapped)
    )
    return Plan(wanted, tuple(rows), tuple(_newly_active(view, rows)), retagged, tuple(left_out))


def carry_out(engine: trees.Engine, plan: Plan) -> int:
    """Write the rows and return how many; those whose object vanished meanwhile are taken back."""
    for thing in plan.retagged:
        volumes.change(engine.client, thing, tags={names.TAG_LOCATION: plan.location})
    if plan.location != engine.mapping.location:
        engine.mapping.relocate(plan.location)
        engine.log.line("location_changed", location=plan.location, retagged=len(plan.retagged))
    written = [node for node, created_at in plan.rows if engine.mapping.adopt(node, created_at)]
    there = {each.global_id for each in truths.living(engine)}
    for root, uuid in plan.active:
        engine.mapping.write(mapping.activated(root, uuid))
    vanished = [node.uuid for node in written if node.global_id and node.global_id not in there]
    if vanished:
        engine.mapping.write(mapping.forgotten(vanished))
    for node in written:
        if node.uuid not in vanished:
            engine.log.line("row_rebuilt", node=node.uuid, kind=node.kind, disk=node.root, global_id=node.global_id)
    return len(written) - len(vanished)


def _objects(view: truths.View, mapped: set[str | None], claimed: set[str]) -> tuple[dict[str, api.Volume], list[str]]:
    """Return the objects to take in by id, and the reasons for those that are left out."""
    by_uuid: dict[str, api.Volume] = {}
    left_out = []
    for uuid, things in sorted(view.ours.items()):
        new = [each for each in things if each.global_id not in mapped]
        if not new:
            continue
        if not names.UUID.match(uuid) or not names.UUID.match(_root_of(new[0])):
            left_out.append(f"~{new[0].global_id}: its tags name no id of oVirt")
        elif uuid in claimed:
            left_out.append(f"{uuid}: an operation that died made it, and Engine does not know it (see audit)")
        elif len(things) > 1 or uuid in view.records:
            left_out.append(
                f"{uuid}: there are two objects of this id: {', '.join(f'~{each.global_id}' for each in things)}"
            )
        else:
            by_uuid[uuid] = new[0]
    return by_uuid, left_out


def _rows(view: truths.View, by_uuid: Mapping[str, api.Volume]) -> list[tuple[mapping.Node, float]]:
    uuids = {each.global_id: uuid for uuid, each in by_uuid.items()}
    uuids.update({record.node.global_id: uuid for uuid, record in view.records.items() if record.node.global_id})
    by_name = {each.name: each for each in view.things.values()}
    trees_of: dict[str, list[str]] = {}
    for uuid, thing in by_uuid.items():
        trees_of.setdefault(_root_of(thing), []).append(uuid)
    rows = []
    for root, members in trees_of.items():
        nodes = {}
        for uuid in members:
            thing = by_uuid[uuid]
            source = uuids.get(_origin(view, by_name, thing) or "")
            nodes[uuid] = mapping.Node(
                uuid, thing.kind, root, source, thing.size_bytes, mapping.LIVE, thing.global_id,
                connected=thing.kind == "volume",
            )  # fmt: skip
        rows += _with_active(view, root, nodes, by_uuid)
    return rows


def _origin(view: truths.View, by_name: Mapping[str, api.Volume], thing: api.Volume) -> str | None:
    """Return the global id of what an object was made from: a snapshot's volume, a volume's snapshot.

    A volume stands on the last snapshot that was made of it: behind those of its own is what it was made from.
    """
    if thing.kind == "snapshot":
        return thing.made_from
    parent: api.Volume | None = thing
    for _ in range(len(view.things)):  # a bound, in case that the list tells a circle
        name = parent.parent if parent is not None else ""
        parent = by_name.get(name) or view.things.get(name.lstrip("~"))
        if parent is None or parent.made_from != thing.global_id:
            break
    return parent.global_id if parent is not None else None


def _with_active(
    view: truths.View, root: str, nodes: dict[str, mapping.Node], by_uuid: Mapping[str, api.Volume]
) -> list[tuple[mapping.Node, float]]:
    """Complete a disk's rows: its root, its active volume, and which volume each preview had replaced."""
    made = {uuid: (by_uuid[uuid].created_at, by_uuid[uuid].serial) for uuid in nodes}
    in_order = sorted((uuid for uuid in nodes if nodes[uuid].kind == "volume"), key=lambda uuid: made[uuid])
    before = root
    for uuid in in_order:
        if uuid != root:
            nodes[uuid] = replace(nodes[uuid], replaced=before)
            before = uuid
    if root in nodes:
        nodes[root] = replace(nodes[root], active=_active(view, nodes, in_order) or root)
    elif root not in view.records:
        size_bytes = max(node.size_bytes for node in nodes.values())
        active = _active(view, nodes, in_order)
        nodes[root] = mapping.Node(root, "volume", root, None, size_bytes, mapping.REMOVED, active=active)
    first = min(created_at for created_at, _ in made.values())
    return [(node, made[uuid][0] if uuid in made else first) for uuid, node in nodes.items()]


def _newly_active(view: truths.View, rows: Sequence[tuple[mapping.Node, float]]) -> Iterator[tuple[str, str]]:
    """Yield each disk of the mapping that has got a volume since, with the volume that is in use."""
    volumes_of: dict[str, dict[str, mapping.Node]] = {}
    for node, _ in rows:
        if node.kind == "volume" and node.root in view.records:
            volumes_of.setdefault(node.root, {})[node.uuid] = node
    for root, nodes in volumes_of.items():
        active = _active(view, nodes, [*nodes])
        if active is not None:
            yield root, active


def _active(view: truths.View, nodes: Mapping[str, mapping.Node], in_order: Sequence[str]) -> str | None:
    attached = [
        uuid for uuid in in_order if view.holders(nodes[uuid].global_id or "", names.object_name(uuid))
    ]  # fmt: skip
    return attached[0] if len(attached) == 1 else in_order[-1] if in_order else None


def _root_of(thing: api.Volume) -> str:
    return thing.tags.get(names.TAG_ROOT) or thing.tags.get(names.TAG_UUID, "")
