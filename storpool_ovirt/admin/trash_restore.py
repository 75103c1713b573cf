"""Restore: what is in the trash becomes a disk again, one that oVirt has made for it, or is about
to make; or it is written over the data of a disk, of which the trash gets a copy first.

Engine forgot the disk that was deleted, so its data come back under the id of another one: the
volume of that stands on the snapshot in the trash, which stays there as before, and can be
restored once more. The disk is held, its preconditions are read as of now, and the change is
written to the journal before it is made (`engine/restoring.py`, `engine/overwriting.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storpool_ovirt import errors, names, sizes
from storpool_ovirt.admin import checks, findings, policy_domains, times, trash, trash_proof
from storpool_ovirt.cluster import api, attachments
from storpool_ovirt.cluster.plans import Plan
from storpool_ovirt.engine import (
    creation,
    disk_policy,
    engine_vm_states,
    mapping,
    overwriting,
    ownership,
    recovery,
    restoring,
    tree,
)
from storpool_ovirt.engine import trash as entries
from storpool_ovirt.policy import values

# What a disk that comes back has of its own: its owner's tags, and what is true of one object only.
_NOT_TAKEN = ("ovirt-", "cinder-", names.TAG_PLATFORM)
# These go last where not all have room.
_FIRST = (names.TAG_QOS_CLASS, names.TAG_POLICY)


@dataclass(frozen=True)
class Source:
    """A snapshot that becomes a disk: the tags that it had as what it was, and the template of
    that. `said` names it to people. `was_snapshot`: Engine had it as a snapshot, and may have
    cloned disks from it. `advice` is what else a disk that has data may get."""

    there: api.Volume
    tags: Mapping[str, str]
    template: str
    said: str
    was_snapshot: bool = False
    advice: str = ""


@dataclass(frozen=True)
class Way:
    """What is restored into what; `node` is the row of the disk that gets it, and `left_out` are
    the tags for which there is no room."""

    source: Source
    node: mapping.Node
    plan: Plan
    left_out: tuple[str, ...]

    @property
    def gives_way(self) -> str | None:
        """The global id of the empty volume that gives way, None where oVirt has not made the
        disk yet."""
        return self.node.global_id


def restore(work: tree.Work, uuid: str, into: str, *, over_data: bool = False) -> list[str]:
    """Give the disk `into` what is in the trash under this id: of a disk or a deletion the volume
    that its VM wrote; return what was done, line by line.

    `over_data`: the disk may have data, of which the trash gets a copy, and keeps all else that it
    is. Raises NotFound, Conflict, InUse, Foreign with the reason where it cannot be; nothing has
    changed then. Repeated it is a success that changes nothing.
    """
    wanted, disk = names.uuid(uuid, "the id"), names.uuid(into, "--into")
    entry = trash.chosen(entries.of(work.mapping, wanted), wanted)[0]
    work.client.be_current()
    there = trash_proof.proved(work, entry)
    tags = {**entry.tags, **there.tags}
    source = Source(
        there,
        tags,
        entry.template,
        _said(entry),
        was_snapshot=entry.kind == "snapshot",
        advice="; or have it written over: --over-data",
    )
    work = policy_domains.within(work, {disk: there.template or entry.template})
    return write_over(work, source, disk) if over_data else give(work, source, disk)


def write_over(work: tree.Work, source: Source, disk: str) -> list[str]:
    """Write the data of a snapshot over those of a disk that no host has; what it had is in the
    trash then.

    Raises as `give` does; the disk has its data of before then. Repeated it is done once more, but
    for one that had died: that is ended.
    """
    with checks.held(work, disk):
        engine_vm_states.check_down_where_known(work, disk)
        died = overwriting.begun(work, disk)
        _check_is_disk(tree.known(work, disk))
        node = recovery.settled(work, disk)
        work.client.be_current()
        volume = node if node.active in (None, disk) else tree.known(work, str(node.active))
        aim = overwriting.aimed(work, volume, source.there)
        if overwriting.has_ended(work, died, aim):
            return [f"disk {disk} has it: what an earlier run began was ended"]
        (copy,) = overwriting.overwrite(work, [aim])
    return [
        f"restored {source.said} over the data of disk {disk}: {findings.gib(volume.size_bytes)}",
        *([f"  its VM writes its preview {volume.uuid}: that has it"] if volume != node else []),
        *kept(copy),
    ]


def kept(copy: entries.Entry) -> list[str]:
    """Return what is told of a copy of what was written over."""
    return [
        f"  what it had is in the trash until {times.stamp(copy.ends_at)}: storpool-ovirt trash"
        f" restore {copy.entry} --into {copy.disk} --over-data"
    ]


def give(work: tree.Work, source: Source, disk: str) -> list[str]:
    """Give a disk a volume that stands on a snapshot, as `restore` does."""
    with checks.held(work, disk):
        node = _settled(work, disk)
        if (
            node is not None
            and _is_done(work, node, source.there.global_id)
            and not (source.was_snapshot and _may_be_clone(node))
        ):
            return has_already(disk, source.said)
        if node is not None:
            _check_placeholder(work, node, source.there.size_bytes, source.advice)
        way = _way(work, source, node or _new(work, disk, source.there))
        _carry_out(work, way)
    return [*_done(way), *_next(way)]


def check_target(work: tree.Work, disk: str, size_bytes: int, global_id: str) -> None:
    """Raise what `give` would for the disk, before the snapshot with this global id is here, which
    will have this size. One that was made of it already is right."""
    with checks.held(work, disk):
        node = _settled(work, disk)
        if node is None:
            work.client.check_cluster(global_id, f"disk {disk}")
        elif not _is_done(work, node, global_id):
            _check_placeholder(work, node, size_bytes)


def _settled(work: tree.Work, disk: str) -> mapping.Node | None:
    """Put right what dead operations left on the disk, an earlier restore too; return its row, None
    where there is none."""
    node = work.mapping.node(disk)
    if node is None or not node.pending or node.root != disk:  # that disk is not held
        return node
    recovery.settle_disk(work, node.root, disk, again=True)
    work.client.be_current()
    return work.mapping.node(disk)


def is_done(work: tree.Work, disk: str, global_id: str) -> bool:
    """Return whether a disk on which nothing is unfinished has been made of this very snapshot,
    which need not be there any more."""
    node = work.mapping.node(disk)
    return node is not None and not node.pending and _is_done(work, node, global_id)


def has_already(disk: str, said: str) -> list[str]:
    """Return what is told of a restore that was carried out before."""
    return [f"disk {disk} has it already: it was restored from {said.rstrip(',')}"]


def _is_done(work: tree.Work, node: mapping.Node, global_id: str) -> bool:
    """Return whether a disk has been made of this very snapshot."""
    if node.state != mapping.LIVE or node.kind != "volume":
        return False
    return ownership.proved(work, node).tags.get(names.TAG_SOURCE) == global_id


def _may_be_clone(node: mapping.Node) -> bool:
    """Return whether a disk that was made of what Engine had as a snapshot may be a clone, which
    has the same tag. Of a row that was made again nobody knows: it counts as given to a host."""
    return node.source is not None or node.connected


def _new(work: tree.Work, disk: str, there: api.Volume) -> mapping.Node:
    """Return the row of a disk that oVirt makes afterwards: of whole GiB, as it has them. Raises
    Unnamed for the id of a VM, where Engine's database tells that."""
    if engine_vm_states.every_disk(work, disk) is not None:
        raise errors.Unnamed(disk, "is a VM", "give the id of a disk, or one that nothing has")
    work.client.check_cluster(there.global_id, f"disk {disk}")
    return creation.new_disk(disk, _whole_gib(there.size_bytes) * sizes.GIB)


def _way(work: tree.Work, source: Source, node: mapping.Node) -> Way:
    own = {} if node.global_id is None else dict(ownership.proved(work, node).tags)
    kept = {key: value for key, value in own.items() if key == names.TAG_SHARED}
    tags = {**_policy(work, source.tags), **kept}
    template = source.there.template or source.template or None
    for count in range(len(tags), -1, -1):
        fitting = dict(list(tags.items())[:count])
        plan = restoring.plan(work, node, source.there.global_id, template, fitting)
        if names.has_room(plan.name, plan.tags):
            break
    return Way(source, node, plan, tuple(key for key in tags if key not in fitting))


def _policy(work: tree.Work, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of services and people, the most important first: the class and VolumeCare's
    policy are those that the disk had of its own, not those of its VM, else the domain's."""
    own = {
        key: value
        for key, value in tags.items()
        if value and not key.startswith(_NOT_TAKEN) and key not in (work.domain.vm_tag, *_FIRST)
    }
    found = disk_policy.of_new(disk_policy.of_domain(work), tags)
    own.update({values.TAG[field]: value for field, value in found.items()})
    order = sorted(own, key=lambda key: (key not in _FIRST, key))
    return {key: own[key] for key in order}


def _check_placeholder(
    work: tree.Work, node: mapping.Node, size_bytes: int, advice: str = ""
) -> None:
    """Raise Conflict unless a disk is fresh: empty, of this size at least, never given to a host,
    with nothing made of it."""
    what = f"disk {node.uuid}"
    _check_is_disk(node)
    tree.checked(work, node)
    if node.size_bytes < size_bytes:
        raise errors.Conflict(
            what,
            f"has {findings.gib(node.size_bytes)}, and what is restored has"
            f" {findings.gib(size_bytes)}",
            f"extend the disk in oVirt to {_whole_gib(size_bytes)} GiB, or make one of that size",
        )
    others = [each for each in work.mapping.tree(node.root) if each.uuid != node.uuid]
    made = work.mapping.nodes("WHERE source = %s", node.uuid)
    if others or made or node.active not in (None, node.uuid) or node.source is not None:
        raise errors.Conflict(
            what, "is no fresh disk: it has snapshots or previews, or was cloned", _FRESH
        )
    if node.connected:
        raise errors.Conflict(what, "was given to a host already, which may know it", _FRESH)
    volume = ownership.proved(work, node)
    held = attachments.clients_of(work.client, tree.target(tree.found_as(node, volume)))
    if held:
        raise errors.Conflict(
            what,
            f"is attached to {names.clients(held)}",
            "detach it there with the StorPool CLI, if nothing uses it",
        )
    if not restoring.is_empty(work, node, volume):
        raise errors.Conflict(what, "has data, which would be lost", _FRESH + advice)


def _check_is_disk(node: mapping.Node) -> None:
    if node.uuid != node.root or node.kind != "volume":
        raise errors.Conflict(f"{node.kind} {node.uuid}", f"is a part of disk {node.root}", _FRESH)


_FRESH = "give a disk that was just made in oVirt, and that no VM has used"


def _carry_out(work: tree.Work, way: Way) -> None:
    node = way.node
    if way.gives_way is None:
        creation.make_disk(work, node, way.plan)
    else:
        now = ownership.proved(work, node)
        restoring.replace(work, tree.found_as(node, now), way.plan)
    work.mapping.journal.delivered()
    work.log.line(
        "restored",
        disk=node.uuid,
        of=way.source.said,
        source=way.source.there.global_id,
        size_bytes=node.size_bytes,
    )


def _done(way: Way) -> list[str]:
    node = way.node
    size = findings.gib(node.size_bytes)
    grown = (
        f" (it had {findings.gib(way.source.there.size_bytes)})"
        if node.size_bytes > way.source.there.size_bytes
        else ""
    )
    return [
        f"restored {way.source.said} into disk {node.uuid}: {size}{grown}",
        *_missing(way),
    ]


def _missing(way: Way) -> list[str]:
    if not way.left_out:
        return []
    return [f"  without the tags {', '.join(way.left_out)}: StorPool has no room for them"]


def _next(way: Way) -> list[str]:
    node = way.node
    if way.gives_way is not None:
        return []
    return [
        f"oVirt does not know the disk yet: add it there with the id {node.uuid} and"
        f" {node.size_bytes} bytes (REST: POST .../api/disks, as in docs/trash.md)"
    ]


def _said(entry: entries.Entry) -> str:
    if entry.is_safety:
        at = times.stamp(entry.deleted_at)
        return f"disk {entry.disk} as it was before it was written over at {at},"
    of = "" if entry.active else f"{entry.kind} {entry.node} of "
    return f"{of}disk {entry.disk}, deleted at {times.stamp(entry.deleted_at)},"


def _whole_gib(size_bytes: int) -> int:
    return -(-size_bytes // sizes.GIB)
