"""Purge: what is in the trash is deleted before its time.

An entry's row says first that a purge of it was begun; then its snapshot goes, then the row. So
whoever comes after a purge that died knows that nothing was lost by mistake, and ends it. What
stands on a snapshot in the trash keeps its data: StorPool does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storpool_ovirt import errors, names, sentences, trash_names
from storpool_ovirt.admin import checks, findings, trash, trash_proof
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.engine import mapping, ownership, strangers, trash_copies, tree
from storpool_ovirt.engine import trash as entries


@dataclass(frozen=True)
class Which:
    """What is to be purged, one of these: what has the id, what was deleted so long ago, the oldest
    deletions, all."""

    uuid: str | None = None
    older_seconds: float | None = None
    oldest: int | None = None
    all: bool = False


@dataclass(frozen=True)
class Purge:
    """Entries of one deletion to be purged; `freed_bytes` is what that frees, None where it was not
    told. `is_whole`: all of the deletion."""

    deletion: trash.Deletion
    items: tuple[trash.Item, ...]
    freed_bytes: int | None

    @property
    def is_whole(self) -> bool:
        """Whether all of the deletion goes."""
        return len(self.items) == len(self.deletion.items)


def plan(work: tree.Work, listing: trash.Listing, which: Which) -> list[Purge]:
    """Return what is to be purged, what was deleted first at the front. Raises NotFound, Conflict
    where an id names nothing, or several deletions."""
    if which.uuid is not None:
        return [_named(work, listing, names.uuid(which.uuid, "the id"))]
    found = list(listing.deletions)
    if which.older_seconds is not None:
        until = listing.now - which.older_seconds
        found = [each for each in found if each.deleted_at <= until]
    if which.oldest is not None:
        found = found[: which.oldest]
    return [Purge(each, each.items, each.freed_bytes) for each in found]


def carry_out(work: tree.Work, purge: Purge) -> list[str]:
    """Purge these; return what became of each that could not be.

    Raises Locked, and what the API raises where it does not answer.
    """
    failed = []
    with checks.held(work, purge.deletion.disk):
        now = {each.entry: each for each in entries.of(work.mapping, purge.deletion.id)}
        for item in purge.items:
            entry = now.get(item.entry.entry)
            if entry is None:
                continue
            try:
                drop(work, entry)
            except (errors.Conflict, errors.InUse, errors.WrongCluster, errors.Rejected) as error:
                failed.append(str(error))
    return failed


def drop(work: tree.Work, entry: entries.Entry) -> None:
    """Delete the snapshot of an entry of a disk that we hold, and its row; absent is fine.

    Raises InUse or Conflict where a host has it, or a disk in use, Foreign where it is not ours any
    more, or another platform uses it too: the row is as it was before any purge then.
    """
    try:
        _check_unused(work, entry, trash_proof.proved(work, entry))
        _check_not_needed(work, entry)
        work.mapping.write(entries.purged([entry.entry]))
        _delete(work, entry)
    except errors.NotFound:
        pass
    except (errors.Conflict, errors.InUse, errors.WrongCluster, errors.Rejected):
        work.mapping.write(entries.kept(entry.entry, _end(work, entry)))
        raise
    work.mapping.write(entries.forgotten([entry.entry]))
    work.log.line(
        "purged",
        entry=entry.entry,
        disk=entry.disk,
        node=entry.node,
        global_id=entry.global_id,
    )


def told(purge: Purge) -> Iterator[str]:
    """Yield what is about to be purged."""
    disk, first = purge.deletion.disk, purge.items[0]
    what = f"disk {disk}" if purge.is_whole else f"{first.what} {first.entry.node} of disk {disk}"
    parts = sentences.counted(len(purge.items), "object")
    yield f"purge {what}, deletion {purge.deletion.id}: {parts}{_frees(purge.freed_bytes)}"
    for item in purge.items:
        if item.users:
            users = ", ".join(item.users)
            yield f"  StorPool keeps the data of {item.what} {item.entry.node} for {users}"


def summary(listing: trash.Listing, purges: Sequence[Purge], failed: int, dry_run: bool) -> str:
    """Return what came of it."""
    items = [item for each in purges for item in each.items]
    alone = purges[0].freed_bytes if purges else 0
    total = alone if len(purges) <= 1 else listing.cluster.freed_by(items)
    done = sentences.counted(len(items) - failed, "object")
    if dry_run:
        return f"{done} would be purged{_frees(total)}"
    rest = f", {failed} not" if failed else ""
    return f"{done} purged{rest}{_frees(total) if not failed else ''}"


def _named(work: tree.Work, listing: trash.Listing, uuid: str) -> Purge:
    wanted = {each.entry for each in trash.chosen(entries.of(work.mapping, uuid), uuid)}
    for each in listing.deletions:
        items = tuple(item for item in each.items if item.entry.entry in wanted)
        if items:
            whole = len(items) == len(each.items)
            return Purge(each, items, each.freed_bytes if whole else _alone(items))
    raise errors.Conflict(uuid, "was put into the trash, or taken out of it, just now", "try again")


def _alone(items: Sequence[trash.Item]) -> int | None:
    """Return what a purge of one of several frees: nothing while something stands on it."""
    return items[0].freed_bytes if len(items) == 1 else None


def _delete(work: tree.Work, entry: entries.Entry) -> None:
    try:
        if not volumes.delete_snapshot(work.client, entry.global_id):
            # It went by itself, or somebody has just moved it to another cluster
            trash_proof.proved(work, entry)
            raise errors.Conflict(trash_proof.said(entry), "is moved about just now", "try again")
    except errors.InUse as error:
        target = attachments.Target(entry.global_id, trash_names.name(entry.entry), "snapshot")
        held = attachments.clients_of(work.client, target)
        raise errors.Conflict(
            trash_proof.said(entry),
            f"is attached to {names.clients(held)}",
            "detach it there with the StorPool CLI, if nothing uses it",
        ) from error


def _end(work: tree.Work, entry: entries.Entry) -> float:
    """Return until when an entry is kept, also where a purge that died has begun to take it: as
    long as StorPool says then. It is over where StorPool has no date for it."""
    if entry.ends_at != entries.PURGED_AT:
        return entry.ends_at
    try:
        there = work.client.snapshot(names.address(entry.global_id))
    except errors.NotFound:  # in a cluster that is not asked: it is purged with its own options
        return entry.ends_at
    return there.goes_at or entry.deleted_at


def _check_unused(work: tree.Work, entry: entries.Entry, there: api.Volume) -> None:
    """Raise Foreign where another platform uses it too, Conflict where the mapping does, as after a
    restore of the database: as the object of a row, or as all that is left of that."""
    strangers.check_platform(work, there)
    for node in work.mapping.nodes(
        "WHERE global_id = %s OR uuid = %s", entry.global_id, entry.node
    ):
        if node.global_id == entry.global_id:
            raise errors.Conflict(
                trash_proof.said(entry),
                f"is {node.kind} {node.uuid} of a disk in the mapping, and in use",
                f"delete it in oVirt, or take it out of the trash: storpool-ovirt mend {node.uuid}",
            )
        if node.state == mapping.LIVE and trash_copies.is_of(there, node):
            _check_lives(work, node, entry)


def _check_lives(work: tree.Work, node: mapping.Node, entry: entries.Entry) -> None:
    """Raise Conflict where StorPool has nothing any more of the row of which an entry is a copy."""
    try:
        ownership.proved(work, node)
    except errors.NotFound as error:
        raise errors.Conflict(
            trash_proof.said(entry),
            f"is what is left of {node.kind} {node.uuid}, which the mapping has in use, and"
            " StorPool has no more",
            f"storpool-ovirt trash restore {entry.entry} --into NEW gives it to a new disk; where"
            f" nobody needs it, storpool-ovirt reconcile --remove {node.uuid} first",
        ) from error


def _check_not_needed(work: tree.Work, entry: entries.Entry) -> None:
    """Raise Conflict where a restore over data that is not ended may need it: to go forward, or
    back."""
    for operation in work.mapping.journal.writing_over():
        over = operation.plan.over
        if over is not None and (over.entry == entry.entry or over.source == entry.global_id):
            raise errors.Conflict(
                trash_proof.said(entry),
                f"is needed by a restore of disk {operation.disk} that has not ended",
                "storpool-ovirt reconcile ends that; purge it then",
            )


def _frees(freed_bytes: int | None) -> str:
    return "" if freed_bytes is None else f", frees {findings.amount(freed_bytes)}"
