"""What the administrator reads of the trash: lines for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storpool_ovirt import sentences
from storpool_ovirt.admin import backup_text, findings, lazily, times, trash
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates
from storpool_ovirt.engine import trash as entries


def text(found: trash.Listing) -> Iterator[str]:
    """Yield the lines of a listing."""
    yield f"StorPool API {found.api_address}, mapping {found.database}, location {found.location}"
    yield _head(found)
    if found.unmeasured:
        yield f"what it holds is not known: {found.unmeasured}"
    from storpool_ovirt.admin import columns  # its library is for people: --json does without

    rows = columns.lines(
        lazily.Each(lambda: (_row(each) for deletion in found.deletions for each in deletion.items))
    )
    for deletion in found.deletions:
        yield ""
        yield _title(deletion, found.now)
        entry = deletion.first.entry
        request = f", request {entry.correlation_id}" if entry.correlation_id else ""
        yield f"  {'entry' if entry.is_safety else 'deletion'} {deletion.id}{request}"
        for item in deletion.items:
            yield f"  {next(rows)}".rstrip()
            if item.users:
                yield f"    stands on it: {', '.join(item.users)}"
        for copy in deletion.copies:
            yield f"  {backup_text.line(backup_text.last_seen(copy))}"
    if found.rowless:
        yield ""
        yield "of this Engine, but without a row: storpool-ovirt rebuild takes them in"
    for thing in found.rowless:
        until = times.stamp(thing.goes_at) if thing.goes_at else "no date"
        yield f"  {candidates.said(thing)}  {findings.gib(thing.size_bytes)}  until {until}"
    if any(each.copies for each in found.deletions):
        yield ""
        yield (
            "copies are told as they were seen last (storpool-ovirt backup list looks); to give one"
            " back: storpool-ovirt backup restore COPY --into NEW --from-remote"
        )
    if found.deletions:
        yield ""
        yield "to give one back, into a new disk: storpool-ovirt trash restore DISK --into NEW"


def document(found: trash.Listing) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    return {
        "api": found.api_address,
        "database": found.database,
        "location": found.location,
        "looked_at": times.stamp(found.now),
        "space_at": None if found.space_at is None else times.stamp(found.space_at),
        "freed_bytes": found.freed_bytes if found.space_at is not None else None,
        "deletions": lazily.Each(lambda: map(_deletion, found.deletions)),
        "without_row": [_rowless(each) for each in found.rowless],
    }


def _deletion(each: trash.Deletion) -> dict[str, Any]:
    return {
        "deletion": each.id,
        "disk": each.disk,
        "written_over": each.first.entry.is_safety,
        "deleted_at": times.stamp(each.deleted_at),
        "ends_at": _ends(each.first.entry),
        "correlation_id": each.first.entry.correlation_id or None,
        "size_bytes": each.first.entry.size_bytes,
        "template": each.first.entry.template or None,
        "freed_bytes": each.freed_bytes,
        "entries": [_object(item) for item in each.items],
        "copies": [backup_text.facts(backup_text.last_seen(copy)) for copy in each.copies],
    }


def _head(found: trash.Listing) -> str:
    if not found.deletions:
        return "the trash is empty"
    disks = sentences.counted(len(found.deletions), "deletion")
    objects = sentences.counted(sum(len(each.items) for each in found.deletions), "object")
    if found.space_at is None or found.freed_bytes is None:
        return f"{disks}, {objects}"
    at = times.stamp(found.space_at)
    return f"{disks}, {objects}; a purge of all frees {findings.amount(found.freed_bytes)} ({at})"


def _title(deletion: trash.Deletion, now: float) -> str:
    first = deletion.first.entry
    frees = (
        ""
        if deletion.freed_bytes is None
        else f", a purge frees {findings.amount(deletion.freed_bytes)}"
    )
    template = f", template {first.template}" if first.template else ""
    return (
        f"disk {first.disk}, {findings.gib(first.size_bytes)}:"
        f" {'written over' if first.is_safety else 'deleted'}"
        f" {times.stamp(first.deleted_at)} ({times.span(now - first.deleted_at)} ago),"
        f" {_until(first, now)}{template}{frees}"
    )


def _until(entry: entries.Entry, now: float) -> str:
    if entry.ends_at == entries.PURGED_AT:
        return "being purged"
    if entry.ends_at <= now:
        return f"kept until {times.stamp(entry.ends_at)}, which is over"
    return f"kept until {times.stamp(entry.ends_at)} (for {_left(entry.ends_at - now)})"


def _left(seconds: float) -> str:
    """Return for how long it is kept, to the nearest: what has just come for 48 hours has 48 h."""
    for size, unit, least in ((86400, "d", 4), (3600, "h", 2), (60, "min", 2)):
        if round(seconds / size) >= least:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"


def _row(item: trash.Item) -> tuple[str, ...]:
    entry = item.entry
    held = "-" if item.stored_bytes is None else f"holds {findings.amount(item.stored_bytes)}"
    return (
        f"{item.what} {entry.node}",
        f"entry {entry.entry}",
        f"~{entry.global_id}",
        findings.gib(entry.size_bytes),
        held,
        _state(item),
    )


def _state(item: trash.Item) -> str:
    if not item.is_here:
        return f"{item.where}: give the options of its domain"
    if item.there is None:
        return "GONE from StorPool: storpool-ovirt audit"
    return "the VM wrote it" if item.entry.active else ""


def _object(item: trash.Item) -> dict[str, Any]:
    entry = item.entry
    return {
        "entry": entry.entry,
        "node": entry.node,
        "kind": entry.kind,
        "active": entry.active,
        "global_id": entry.global_id,
        "size_bytes": entry.size_bytes,
        "template": entry.template or None,
        "tags": dict(entry.tags),
        "created_at": times.stamp(entry.created_at),
        "ends_at": _ends(entry),
        "goes_at": _date(item.there),
        "there": item.there is not None if item.is_here else None,
        "stored_bytes": item.stored_bytes,
        "freed_bytes": item.freed_bytes,
        "users": list(item.users),
    }


def _rowless(thing: api.Volume) -> dict[str, Any]:
    return {
        "name": thing.name,
        "global_id": thing.global_id,
        "size_bytes": thing.size_bytes,
        "tags": dict(thing.tags),
        "goes_at": _date(thing),
    }


def _ends(entry: entries.Entry) -> str | None:
    """Return until when an entry is kept; None for one whose purge was begun."""
    return None if entry.ends_at == entries.PURGED_AT else times.stamp(entry.ends_at)


def _date(thing: api.Volume | None) -> str | None:
    return times.stamp(thing.goes_at) if thing is not None and thing.goes_at else None
