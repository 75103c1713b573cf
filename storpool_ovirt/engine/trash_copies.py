"""Copies in the trash of volumes that a delete was to take: found by what the journal tells of it,
and deleted where the volume is there all the same.

A delete that died may have copied a volume, or deleted it too. Where it is still there the copy
goes, as the volume may have changed since; where it is gone the copy is what is left of it.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy
from storpool_ovirt.engine import mapping, ownership, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine.operations import Operation

# How much earlier than it was told to StorPool may delete: its times are whole seconds, and a
# request takes its time.
EARLY_SECONDS = 30


def has_begun(
    work: tree.Work, operation: Operation, doomed: Sequence[mapping.Node], gone: Sequence[str]
) -> bool:
    """Return whether a delete that died has brought something into the trash already: then it only
    goes forward. `gone` are the nodes of which StorPool has nothing.

    A delete of the disk has not begun by a snapshot that a remove which died has brought there.
    """
    plan = operation.plan.trash
    others: set[str] = set()
    if operation.takes_disk:
        left = work.mapping.journal.of_disk(operation.disk)
        others = alone([each for each in left if each.id != operation.id])
    for node in doomed:
        kept = plan.kept.get(node.uuid) if plan is not None else None
        may_have_moved = node.kind == "snapshot" or node.uuid in gone
        if kept is None or kept.entry in others or not may_have_moved:
            continue
        if found(work, node, kept.entry):
            return True
    return False


def alone(tries: Sequence[Operation]) -> set[str]:
    """Return the entries of those deletes among these that died, and were to take no whole disk."""
    return {
        kept.entry
        for each in tries
        if each.is_unfinished_delete and not each.takes_disk and each.plan.trash is not None
        for kept in each.plan.trash.kept.values()
    }


def undo(work: tree.Work, operation: Operation, doomed: Sequence[mapping.Node]) -> None:
    """Delete the copies that a delete that died has made, of volumes that are there all the same;
    what it may have made of others is left: it goes by itself."""
    plan = operation.plan.trash
    if plan is None or not operation.proved:
        return
    copied = [
        (node, plan.kept[node.uuid].entry)
        for node in doomed
        if node.kind == "volume" and node.uuid in plan.kept
    ]
    for node, entry in copied:
        try:
            ownership.proved(work, node)
        except (errors.NotFound, errors.Conflict) as error:
            work.log.line("trash_left", node=node.uuid, trash=entry, reason=error)
        else:
            drop(work, node, entry)


def found(work: tree.Work, node: mapping.Node, entry: str) -> api.Volume | None:
    """Return what is in the trash as this entry of a node, if it is that; else None."""
    try:
        there = volumes.read(work.client, "snapshot", trash_names.name(entry))
    except errors.NotFound:
        return None
    is_its = names.is_ours(there.tags, node.uuid, work.mapping.location) and is_of(there, node)
    return there if is_its and not there.dying else None


def is_of(there: api.Volume, node: mapping.Node) -> bool:
    """Return whether a snapshot is the object of a node's row, or was made of it."""
    return (
        node.global_id in (there.global_id, there.made_from)
        or node.first_id == there.made_from
        or node.visible_id == there.made_from_serial
    )


def silent_drop(work: tree.Work, copies: Sequence[tuple[mapping.Node, str]]) -> bool:
    """Delete these copies; return whether none is left. What is left goes by itself."""
    try:
        for node, entry in copies:
            drop(work, node, entry)
    except errors.Error as error:
        work.log.line("undo_failed", reason=error)
        return False
    return True


def drop(work: tree.Work, node: mapping.Node, entry: str) -> None:
    """Delete what is in the trash as this entry of a node."""
    there = found(work, node, entry)
    if there is not None:
        _delete(work, node, entry, there)


def silent_thin(work: tree.Work, copies: Sequence[tuple[mapping.Node, str]]) -> None:
    """Delete these copies of one volume, the newest first, but for the newest that is there: a
    request of a delete that died may delete the volume yet. One that is kept longer than that
    stays, too."""
    newest: api.Volume | None = None
    try:
        for node, entry in copies:
            there = found(work, node, entry)
            if there is None:
                continue
            if newest is None:
                newest = there if is_dated(there, 0) else None
            elif there.goes_at <= newest.goes_at + EARLY_SECONDS:
                _delete(work, node, entry, there)
    except errors.Error as error:
        work.log.line("undo_failed", reason=error)


def _delete(work: tree.Work, node: mapping.Node, entry: str, there: api.Volume) -> None:
    if volumes.delete_snapshot(work.client, there.global_id):
        work.log.line(
            "copy_deleted",
            volume=node.uuid,
            global_id=there.global_id,
            disk=node.root,
            trash=entry,
        )


def made(
    work: tree.Work, there: api.Volume, entry: str, tags: Mapping[str, str], seconds: int
) -> api.Volume:
    """Copy a volume into the trash as this entry, to be deleted by StorPool after so long; return
    the copy as it is read back: `is_dated` tells whether StorPool is going to."""
    owner = Owner(trash_names.name(entry), dict(tags))
    plan = Plan(owner, policy=Policy(delete_after=seconds))
    global_id = volumes.snapshot(work.client, there.global_id, plan)
    return work.client.snapshot(names.address(global_id))


def is_dated(seen: api.Volume, seconds: int) -> bool:
    """Return whether StorPool deletes it by itself, and not before it has lived for so long."""
    if not seen.goes_at:
        return False
    return not seen.created_at or seen.goes_at >= seen.created_at + seconds - EARLY_SECONDS
