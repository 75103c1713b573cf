"""Copies in other locations for people: of a disk, or of all disks of a VM at one moment; what
there is; what is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from storpool_ovirt import copy_names, errors, names
from storpool_ovirt.cluster import api, remote
from storpool_ovirt.engine import (
    backups,
    copies,
    copies_seen,
    engine_vm_states,
    mapping,
    members,
    ownership,
    recovery,
    tree,
)
from storpool_ovirt.engine.copies import Copy
from storpool_ovirt.engine.copies_seen import Seen
from storpool_ovirt.option_values import CopyTo

# A copy that StorPool's list has for us, and our table has not, as after a restore of Engine's
# database.
_FOUND = "found in its location"
# What ends a retention: what is the matter with one copy is so with those after it.
_NOT_GIVEN_UP = (errors.Conflict, errors.ApiUnavailable, errors.Rejected, errors.WrongCluster)


class Target(NamedTuple):
    """What is to be copied: the ids of disks, of one VM or alone; `left_out` tells which others of
    the VM are not among them, and why."""

    disks: tuple[str, ...]
    vm: str = ""
    left_out: tuple[str, ...] = ()


class GivenUp(NamedTuple):
    """What a retention did: the rows that were given up, those that stay although they are old, and
    why the rest was not tried; "" where all was."""

    rows: tuple[Copy, ...]
    kept: tuple[Copy, ...]
    failed: str = ""


def target(work: tree.Work, uuid: str) -> Target:
    """Return what an id means: a disk by its id, or that of a volume or a snapshot of it, else a
    VM.

    Raises NotFound where it is neither.
    """
    node = work.mapping.node(uuid)
    if node is not None:
        return Target((node.root,))
    work.client.be_current()
    tagged = {
        each.global_id: each
        for each in work.client.volumes()
        if members.vm_of(work, each)[0] == uuid
    }
    rows = work.mapping.nodes("WHERE kind = 'volume' AND state = 'live'")
    active = {each.active or each.uuid for each in rows if each.uuid == each.root}
    ours = {each.root for each in rows}
    known = engine_vm_states.every_disk(work, uuid)
    # Engine's word counts where it has one: a tag may be of before a disk was moved.
    if known is None:
        disks = {each.root for each in rows if each.global_id in tagged and each.uuid in active}
        why = "here: no disk has this id, and no volume is tagged as one of such a VM"
    else:
        disks = ours.intersection(each.id for each in known)
        why = "of which this Engine has a disk in StorPool"
    if not disks:
        raise errors.Mistyped("disk or VM", uuid, why)
    mapped = {each.global_id for each in rows}
    left_out = [
        f"disk {each.id}{f' ({each.alias})' if each.alias else ''} of the VM is not in StorPool"
        for each in known or ()
        if each.id not in ours
    ]
    left_out += [
        f"volume {each.name} (~{each.global_id}) names the VM, and is no disk of this Engine's"
        for each in tagged.values()
        if each.global_id not in mapped
    ]
    return Target(tuple(sorted(disks)), uuid, tuple(left_out))


def make(work: tree.Work, wanted: Target, to: CopyTo) -> list[Copy]:
    """Have all disks copied as they are now, at one moment, and return the rows of the copies,
    which are on their way.

    The disks are held until StorPool has answered. Raises what `ownership.proved` does for a disk
    that is not as the mapping has it, Conflict where they live in several clusters.
    """
    remote.check_location(work.client, to.location)
    work.mapping.lock_all(wanted.disks)
    try:
        found = [_active(work, disk) for disk in wanted.disks]
        _check_one_cluster([there for _, there in found])
        group = backups.planned(work, found, to, copies.ASKED, wanted.vm)
        work.mapping.write(copies.written(group.rows))
        try:
            return backups.send(work, group)
        except tree.REFUSALS:
            if not work.client.tally.unanswered:
                work.mapping.write(copies.forgotten(group.rows))
            raise
    finally:
        work.mapping.session.unlock_all()


def look(work: tree.Work, uuid: str | None = None) -> list[Seen]:
    """Return the copies that an id names, all of them without one, as they are now; the table is
    brought up to date with what is seen, and nothing else is changed.

    What StorPool lists with our tags and the table lacks is put into it.
    """
    _take_in(work, copies.all_of(work.mapping))
    rows = copies.all_of(work.mapping) if uuid is None else copies.of(work.mapping, uuid)
    seen = copies_seen.look(work, rows)
    copies_seen.note(work, seen, rows)
    return [each for each in seen if each.state != copies_seen.GONE]


def give_up_old(
    work: tree.Work,
    seen: Sequence[Seen],
    keep_seconds: float,
    instead: Callable[[Copy], None] | None = None,
    *,
    spare_newest: bool = True,
) -> GivenUp:
    """Give up the copies of these that are older than this; the newest one of a disk that is still
    there stays in any case. Not `spare_newest`: a newer one is about to be made.

    It ends at the first copy whose location does not keep the date: what is given up there stays
    for ever, and nobody here sees it any more. `instead` is done in place of giving one up.
    """
    there = [each.row for each in seen if each.state == copies.THERE]
    # Of a disk in a preview a moment has two volumes
    newest: dict[tuple[str, str], str] = {}
    for row in sorted(there, key=lambda row: row.made_at):
        newest[row.disk, row.location] = row.copy
    until = work.mapping.now() - keep_seconds
    old = [row for row in there if row.made_at < until]
    living = _living(work, {row.disk for row in old})
    kept = [
        row
        for row in old
        if spare_newest and row.disk in living and newest[row.disk, row.location] == row.copy
    ]
    done: list[Copy] = []
    for row in old:
        if row in kept:
            continue
        if instead is not None:
            instead(row)
            done.append(row)
            continue
        try:
            done.append(backups.give_up(work, row))
        except _NOT_GIVEN_UP as error:
            return GivenUp(tuple(done), tuple(kept), str(error))
    if instead is None:
        lost = [each.row for each in seen if each.state == copies.LOST]
        dead = [row for row in lost if row.made_at < until]
        work.mapping.write(copies.forgotten(dead))
    return GivenUp(tuple(done), tuple(kept))


def _living(work: tree.Work, disks: set[str]) -> set[str]:
    """Return which of these disks are there, by their rows, or by the tags of a volume: after a
    restore of the database rows are missing."""
    rows = work.mapping.nodes("WHERE uuid = ANY (%s::uuid[])", sorted(disks))
    found = {row.uuid for row in rows}
    if disks - found:
        work.client.be_current()
        found |= {
            names.root_of(each.tags) or each.tags.get(names.TAG_UUID, "")
            for each in work.client.volumes()
            if each.tags.get(names.TAG_LOCATION) == work.mapping.location
        } & disks
    return found


def _active(work: tree.Work, disk: str) -> tuple[mapping.Node, api.Volume]:
    """Return the volume that a disk's VM writes: its row, and the volume as it is now."""
    root = recovery.settled(work, disk)
    node = root
    if root.active not in (None, root.uuid):
        node = tree.known(work, str(root.active))
    there = ownership.proved_now(work, tree.checked(work, node))
    return tree.found_as(node, there), there


def _check_one_cluster(found: Sequence[api.Volume]) -> None:
    """Raise Conflict for volumes of several clusters: two groups are not one moment."""
    owners = {each.cluster_id for each in found}
    if len(owners) > 1:
        raise errors.Conflict(
            f"the copy of {', '.join(each.name for each in found)}",
            f"would be of volumes in clusters {' and '.join(sorted(map(str, owners)))}",
            "bring them to one cluster first, or copy disk by disk",
        )


def _take_in(work: tree.Work, rows: Sequence[Copy]) -> None:
    """Write the rows of copies that are ours by their tags and have none."""
    known = {row.remote_id for row in rows}
    marks = {(row.copy, row.node) for row in rows}
    found = []
    for each in remote.listed(work.client):
        row = _of_tags(work, each)
        if row is not None and each.remote_id not in known and (row.copy, row.node) not in marks:
            found.append(row)
            work.log.line("copy_found", global_id=each.remote_id, disk=row.disk, copy=row.copy)
    if found:
        work.mapping.write(copies.written(found))


def _of_tags(work: tree.Work, there: remote.Listed) -> Copy | None:
    """Return the row of a copy by its tags and its name; None for one that is not this Engine's."""
    copy = there.tags.get(copy_names.TAG, "")
    node = copy_names.uuid_of(there.name)
    is_ours = (
        there.tags.get(names.TAG_PLATFORM) == names.PLATFORM
        and there.tags.get(names.TAG_LOCATION) == work.mapping.location
        and names.UUID.fits(copy)
    )
    if not is_ours or node is None:
        return None
    disk = names.root_of(there.tags)
    return Copy(
        copy=copy,
        disk=disk if names.UUID.fits(disk) else node,
        node=node,
        name=names.object_name(node),
        volume=there.made_from or "",
        size_bytes=there.size_bytes,
        template="",
        location=there.location,
        remote_id=there.remote_id,
        base_id=None,
        reason=copies.ASKED,
        vm=None,
        state=copies.THERE,
        made_at=there.created_at,
        goes_at=0.0,
        correlation_id=_FOUND,
    )
