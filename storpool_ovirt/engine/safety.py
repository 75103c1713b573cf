"""A copy of a volume before its data are written over (a restore): an entry of the trash with a
date, made and proved before anything is lost.

It is no deletion, and says so: the mark in its tag is one of its own (`trash_names.mark`), and its
row has no deletion but itself (`trash.Entry.is_safety`). `storpool-ovirt trash list` has it under
the disk's id, and it is restored or purged as any other entry. `overwriting.py` makes it.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.engine import mapping, trash, trash_copies, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine.intent import Over

# Where the domain has no trash: as long as a domain that says nothing keeps a disk.
DELAY_SECONDS = 48 * 3600
# Where it keeps what is deleted for a moment only: a restore that died is ended by then.
LEAST_SECONDS = 3600


def delay_seconds(work: tree.Work) -> int:
    """Return for how long such a copy is kept."""
    return max(work.domain.delete_delay_seconds or DELAY_SECONDS, LEAST_SECONDS)


def made(work: tree.Work, node: mapping.Node, there: api.Volume, over: Over) -> api.Volume:
    """Copy the volume of a node, whose disk is held, into the trash as the intent has it; return
    the copy.

    Raises Conflict where StorPool gives the copy no date, or one that is too early.
    """
    seconds = max(LEAST_SECONDS, over.ends_at - round(work.now()))
    name = trash_names.name(over.entry)
    mark = trash_names.mark(over.ends_at, is_safety=True)
    without = (work.domain.vm_tag, names.TAG_POLICY, names.TAG_SHARED)
    others = {key: value for key, value in there.tags.items() if value and key not in without}
    first = {key: others[key] for key in (names.TAG_QOS_CLASS,) if key in others}
    tags = trash_names.tags(name, tree.owner(work, node).tags, mark, {**first, **others})
    copy = trash_copies.made(work, there, over.entry, tags, seconds)
    if not trash_copies.is_dated(copy, seconds):
        raise errors.Conflict(
            f"volume {node.uuid}",
            "is not written over: StorPool does not delete its copy by itself, so that would stay"
            " for ever, or deletes it too early",
            "ask StorPool's support for deferred deletion (deleteAfter)",
        )
    work.log.line(
        "copied_for_safety",
        volume=node.uuid,
        global_id=there.global_id,
        disk=node.root,
        copy=copy.global_id,
        trash=over.entry,
    )
    return copy


def entry(
    work: tree.Work, node: mapping.Node, there: api.Volume, copy: api.Volume, over: Over
) -> trash.Entry:
    """Return the row of a copy: with all tags that the volume has, also those for which the copy
    has no room."""
    return trash.Entry(
        entry=over.entry,
        deletion=over.entry,
        disk=node.root,
        node=node.uuid,
        kind="volume",
        global_id=copy.global_id,
        source=node.source,
        size_bytes=there.size_bytes,
        active=True,
        template=there.template,
        tags=dict(there.tags),
        created_at=there.created_at,
        deleted_at=0.0,  # as the row is written
        ends_at=copy.goes_at,
        correlation_id=work.mapping.journal.caller.correlation_id,
    )


def silent_drop(work: tree.Work, node: mapping.Node, over: Over) -> None:
    """Delete a copy of what was not written over; what is left of it goes by itself."""
    there = None
    try:
        there = trash_copies.found(work, node, over.entry)
        if there is not None:
            volumes.delete_snapshot(work.client, there.global_id)
    except errors.Error as error:
        work.log.line("undo_failed", volume=node.uuid, trash=over.entry, reason=error)
    else:
        if there is not None:
            work.log.line("copy_deleted", volume=node.uuid, disk=node.root, trash=over.entry)
