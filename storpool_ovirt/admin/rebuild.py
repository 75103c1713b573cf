"""The mapping made again from the tags, when the database is lost or older than the cluster.

Every object carries its own id, the id of its disk, and the location of the Engine that made it.
The rows of one disk are made in `disk_rows.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from storpool_ovirt import errors, names, sentences
from storpool_ovirt.admin import (
    disk_rows,
    moment_rows,
    second_look,
    survey,
    trash_proof,
    trash_rows,
)
from storpool_ovirt.cluster import api, vm_tags, volumes
from storpool_ovirt.engine import candidates, intent, mapping, records, trash, tree

# Rows that are written by one statement, and disks that are corrected by one: ours, more make it no
# faster.
BATCH_ROWS = 2000


def _unsaid(_line: str) -> None:
    """Say it to nobody."""


@dataclass(frozen=True)
class Location:
    """What one Engine has in the cluster."""

    name: str
    disks: int
    objects: int


@dataclass(frozen=True)
class Lacking:
    """The rows that disks lack, disk by disk, each with the time of its object's making.

    They are made each time that they are asked for: 300,000 of them are not held.
    """

    found: disk_rows.Objects
    disks: Sequence[str]

    def __iter__(self) -> Iterator[list[disk_rows.Dated]]:
        """Yield those of one disk after the other."""
        for disk in self.disks:
            rows, _ = disk_rows.lacking(self.found, disk)
            yield rows


@dataclass(frozen=True)
class Rows:
    """The rows to write.

    `active` are disks whose row is there and tells another volume than the one in use; `retagged`
    objects get the location's tag. `moments` are the groups of snapshots that StorPool made at one
    moment, `trash` the entries of what is in the trash.
    """

    location: str
    disks: Lacking
    active: tuple[tuple[str, str], ...]
    retagged: tuple[api.Volume, ...]
    left_out: tuple[str, ...]
    moments: tuple[moment_rows.Group, ...] = ()
    trash: tuple[trash.Entry, ...] = ()


def locations(view: survey.View) -> list[Location]:
    """Return which Engines have something in the cluster, the largest first."""
    found: dict[str, list[api.Volume]] = {}
    for thing in view.things.values():
        if thing.tags.get(names.TAG_PLATFORM) == names.PLATFORM and thing.tags.get(
            names.TAG_LOCATION
        ):
            found.setdefault(thing.tags[names.TAG_LOCATION], []).append(thing)
    all_of = [
        Location(name, len({disk_rows.root_of(each) for each in things}), len(things))
        for name, things in found.items()
    ]
    return sorted(all_of, key=lambda each: (-each.objects, each.name))


def plan(view: survey.View, location: str | None = None) -> Rows:
    """Return the rows that the mapping lacks for this Engine's objects, or for those of `location`,
    which it becomes.

    Raises Conflict when there is nothing of the location in the cluster: the locations that there
    are it names.
    """
    wanted = location or view.location
    dropped, odd = trash_rows.lacking(view, wanted)
    has_trash = any(trash_proof.is_own(each, wanted) for each in view.in_trash.values())
    if not has_trash and wanted not in {each.name for each in locations(view)}:
        known = [
            f"{each.name} ({sentences.counted(each.disks, 'disk')})" for each in locations(view)
        ]
        there = ", ".join(known) or "none"
        raise errors.Conflict(
            f"location {wanted}" if wanted else "the location of the lost database",
            "has no object in this cluster" if wanted else "is not told",
            f"the locations there are: {there}; the old one is in the adapter's log (verb_done ..."
            " loc=): give it with --location",
        )
    claimed = {each.node for each in view.operations if each.kind == intent.MAKE and each.proved}
    by_uuid, left_out = _objects(replace(view, location=wanted), claimed)
    found = disk_rows.Objects(view, by_uuid)
    disks = {*found.members, *({record.root for record in view.records.values()} - view.busy)}
    active: list[tuple[str, str]] = []
    lacking: list[str] = []
    for disk in filter(view.is_here, sorted(disks)):
        rows, corrected = disk_rows.lacking(found, disk)
        active += [corrected] if corrected is not None else []
        lacking += [disk] if rows else []
    left_out += [
        f"{candidates.said(each)}: the mapping has it, but it belongs to {other} now"
        for each in _mapped(view)
        if (other := candidates.owner(each, view.location)) and candidates.owner(each, wanted)
    ]
    return Rows(
        location=wanted,
        disks=Lacking(found, lacking),
        active=tuple(active),
        retagged=tuple(_retagged(view, wanted)),
        left_out=(*left_out, *odd),
        moments=tuple(moment_rows.lacking(view, found.by_uuid)),
        trash=tuple(dropped),
    )


def carry_out(work: tree.Work, plan: Rows, say: Callable[[str], object] = _unsaid) -> int:
    """Write the rows, a disk's all at once, and return how many.

    Those whose object has vanished are not written, nor what became another's since the look: that
    is said.
    """
    for thing in plan.retagged:
        _retag(work, thing, plan.location, say)
    if plan.location != work.mapping.location:
        work.mapping.relocate(plan.location)
        work.log.line("location_changed", location=plan.location, retagged=len(plan.retagged))
    now = second_look.look(work, plan.location, plan.disks.found, plan.moments, plan.active)
    written = 0
    for rows in _batches(plan.disks):
        written += _write(work, [each for each in rows if _is_still(now, each[0], say)])
    moment_rows.write(work, plan.moments, now.vms)
    for pairs in _pieces(plan.active):
        _activate(work, now, pairs)
    written += trash_rows.write(work, plan.trash)
    _retag_again(work, plan, say)
    return written


def _batches(disks: Iterable[list[disk_rows.Dated]]) -> Iterator[list[disk_rows.Dated]]:
    """Yield the rows of some disks at a time, all that one lacks together."""
    batch: list[disk_rows.Dated] = []
    for rows in disks:
        batch += rows
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _pieces(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    left = iter(pairs)
    while piece := list(islice(left, BATCH_ROWS)):
        yield piece


def _activate(work: tree.Work, now: second_look.Now, pairs: Sequence[tuple[str, str]]) -> None:
    """Write which volume the VMs of these disks write, as far as that is there and ours."""
    nodes = work.mapping.nodes("WHERE uuid = ANY (%s::uuid[])", [uuid for _, uuid in pairs])
    rows = {(node.root, node.uuid): node.global_id for node in nodes}
    right = [each for each in pairs if now.is_active(rows.get(each), each[1])]
    if right:
        records.activate(work.mapping, right)
    for root, uuid in right:
        work.log.line("activated", disk=root, volume=uuid)


def _retag_again(work: tree.Work, plan: Rows, say: Callable[[str], object]) -> None:
    """Write the location once more on what has its old one again.

    A host that tags the disks of a VM sends all tags along as it has read them, and may have read
    them before us and written them after. What it had begun by then has ended when its time is
    over; what has any other location has got another owner.
    """
    if not plan.retagged:
        return
    work.sleep(vm_tags.SECONDS)
    wanted = {each.global_id for each in plan.retagged}
    work.client.be_current()
    things = work.client.all_as(lambda each: each if each.global_id in wanted else None)
    there = {each.global_id: each for each in things if not candidates.is_fleeting(each)}
    for seen in plan.retagged:
        now, old = there.get(seen.global_id), seen.tags.get(names.TAG_LOCATION, "")
        if now is not None and now.tags.get(names.TAG_LOCATION, "") == old:
            work.log.line("location_lost", global_id=seen.global_id, location=old or "-")
            _retag(work, now, plan.location, say)


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


def _is_still(now: second_look.Now, node: mapping.Node, say: Callable[[str], object]) -> bool:
    """Return whether an object that gets a row is there and carries the tags that tell so."""
    if node.global_id is None or node.global_id in now.ours:
        return True
    thing = now.others.get(node.global_id)
    if thing is not None:
        say(f"{candidates.said(thing)}: it has got other tags meanwhile, so it gets no row")
    return False


def _write(work: tree.Work, rows: Sequence[disk_rows.Dated]) -> int:
    """Write these rows, and return how many there were not."""
    if not rows:
        return 0
    new = records.adopt(work.mapping, rows)
    for node, _ in rows:
        if node.uuid in new:
            work.log.line(
                "row_rebuilt",
                node=node.uuid,
                kind=node.kind,
                disk=node.root,
                global_id=node.global_id,
            )
    return len(new)


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
    for uuid in sorted(view.ours):
        things = view.ours[uuid]
        new = [each for each in things if each.global_id not in view.mapped]
        if not new:
            continue
        if not names.UUID.fits(uuid) or not names.UUID.fits(disk_rows.root_of(new[0])):
            left_out.append(f"~{new[0].global_id}: its tags name no id of oVirt")
        elif uuid in claimed:
            left_out.append(
                f"{uuid}: an operation that died made it, and Engine does not know it (see audit)"
            )
        elif uuid in view.records:
            was = view.records[uuid].global_id
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
