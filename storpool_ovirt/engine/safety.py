"""A copy of a volume before its data are written over (a restore, a revert): an entry of the trash
with a date, made and proved before anything is lost.

It is found by `storpool-ovirt trash list` under the disk's id, and restored or purged as any other
entry. Whoever writes over a volume holds its disk, and calls this first.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, sources, volumes
from storpool_ovirt.engine import mapping, ownership, trash, trash_copies, tree

# Where the domain has no trash: as long as a domain that says nothing keeps a disk.
DELAY_SECONDS = 48 * 3600


def taken(work: tree.Work, node: mapping.Node) -> api.Volume | None:
    """Copy the volume of a node, whose disk is held, into the trash; return the copy, None where it
    has no data.

    Raises Conflict where StorPool gives the copy no date, and nothing is left of it then; what
    `ownership.proved` raises.
    """
    there = ownership.proved_now(work, node)
    tree.check_volume(node, "be written over")
    if not stored_bytes(work, there):
        return None
    seconds = work.domain.delete_delay_seconds or DELAY_SECONDS
    entry, ends_at = names.random_uuid(), int(work.now()) + seconds
    mark = names.trash_mark(ends_at, is_volume=True, is_active=True)
    tags = names.trash_tags(names.trash_name(entry), tree.owner(work, node).tags, mark, {})
    copy = trash_copies.made(work, there, entry, tags, seconds)
    if not trash_copies.is_dated(copy, seconds):
        volumes.delete_snapshot(work.client, copy.global_id)
        raise errors.Conflict(
            f"volume {node.uuid}",
            "is not written over: StorPool gave its copy no date, so it would stay for ever",
            "see whether this cluster has deferred deletion (deleteAfter)",
        )
    work.mapping.write(trash.written([_entry(work, node, there, copy, entry)]))
    work.log.line(
        "copied_for_safety",
        volume=node.uuid,
        global_id=there.global_id,
        disk=node.root,
        copy=copy.global_id,
        trash=entry,
    )
    return copy


def stored_bytes(work: tree.Work, there: api.Volume) -> int:
    """Return how much data a volume has of its own, or from what it was made of; raise NotFound
    where StorPool does not list it."""
    found = sources.stored(work.client, there)
    if not found:
        raise errors.NotFound("volume", there.name, f"among what {work.client.address} lists")
    return max(map(max, found))


def _entry(
    work: tree.Work, node: mapping.Node, there: api.Volume, copy: api.Volume, entry: str
) -> trash.Entry:
    return trash.Entry(
        entry=entry,
        deletion=names.random_uuid(),
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
        deleted_at=work.now(),
        ends_at=copy.goes_at,
        correlation_id=work.mapping.journal.caller.correlation_id,
    )
