"""The rows of what is in the trash, made from the tags of its snapshots: a part of rebuild.

A snapshot in the trash says itself which id it had, of which disk, until when it is kept, whether
it was a volume, and whether that was the one that the VM wrote. Which request deleted it, it does
not say; what one delete took has one end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from storpool_ovirt import names, trash_names
from storpool_ovirt.admin import survey, trash_proof
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, tree
from storpool_ovirt.engine import trash as entries

_VERSION = 8  # of a UUID whose maker says what it is made of (RFC 9562)


def lacking(view: survey.View, location: str) -> tuple[list[entries.Entry], list[str]]:
    """Return the entries that the mapping lacks for this location's snapshots in the trash, and the
    reasons for those that are left out."""
    known = {each.global_id for each in view.trash}
    taken = {each.entry for each in view.trash}
    found: list[entries.Entry] = []
    left_out: list[str] = []
    for thing in view.in_trash.values():
        if thing.global_id in known or not trash_proof.is_own(thing, location):
            continue
        entry = _entry(view, thing)
        if entry is None or entry.entry in taken:
            left_out.append(
                f"{candidates.said(thing)}: it is in the trash, but its name or its tags were"
                " changed, so it is not known as what"
            )
            continue
        taken.add(entry.entry)
        found.append(entry)
    return [_dated(each, view.trash, found) for each in found], left_out


def write(work: tree.Work, found: Sequence[entries.Entry]) -> int:
    """Write these, as far as their snapshots are still there as they were; return how many."""
    if not found:
        return 0
    work.client.be_current()
    wanted = {each.global_id for each in found}
    listed = work.client.all_as(
        lambda each: each if each.global_id in wanted else None, ("snapshot",)
    )
    there = {each.global_id: each for each in listed}
    location = work.mapping.location
    right = [
        each
        for each in found
        if (thing := there.get(each.global_id)) is not None
        and not thing.dying
        and not trash_proof.changed(each, thing, location)
    ]
    work.mapping.write(entries.written(right))
    for each in right:
        work.log.line("trash_rebuilt", entry=each.entry, disk=each.disk, global_id=each.global_id)
    return len(right)


def _entry(view: survey.View, thing: api.Volume) -> entries.Entry | None:
    entry, mark = trash_names.entry_of(thing.name), trash_names.mark_of(thing.tags)
    node = thing.tags.get(names.TAG_UUID, "")
    disk = names.root_of(thing.tags) or node
    if entry is None or mark is None or not (names.UUID.fits(node) and names.UUID.fits(disk)):
        return None
    ends_at, is_volume, is_active = mark
    return entries.Entry(
        entry=entry,
        # What was written over belongs to no deletion
        deletion=entry
        if trash_names.is_safety_copy(thing.tags)
        else _deletion(view, disk, ends_at),
        disk=disk,
        node=node,
        kind="volume" if is_volume else "snapshot",
        global_id=thing.global_id,
        source=None,
        size_bytes=thing.size_bytes,
        active=is_active,
        template=thing.template,
        tags={key: value for key, value in thing.tags.items() if key != trash_names.TAG},
        created_at=thing.created_at,
        deleted_at=0.0,
        ends_at=float(ends_at),
        correlation_id="",
    )


def _deletion(view: survey.View, disk: str, ends_at: int) -> str:
    """Return the deletion that has this disk and this end: of a row that is there, or made of both,
    so that it is the same in each rebuild."""
    for each in view.trash:
        if each.disk == disk and int(each.ends_at) == ends_at and not each.is_safety:
            return each.deletion
    made_of = f"{disk}/{ends_at}".encode()
    return names.made_uuid(hashlib.sha256(made_of).digest()[:16], _VERSION)


def _dated(
    entry: entries.Entry, rows: Sequence[entries.Entry], found: Sequence[entries.Entry]
) -> entries.Entry:
    """Return an entry with the time of its deletion, as a row of that tells it, else a volume of
    it, which became a snapshot then. Of a snapshot alone nothing tells it: it counts as deleted
    when its row is written, so that it is kept no shorter."""
    known = [each.deleted_at for each in rows if each.deletion == entry.deletion]
    made = [
        each.created_at
        for each in found
        if each.deletion == entry.deletion and each.kind == "volume"
    ]
    return entry._replace(deleted_at=max(known or made, default=0.0))
