"""What the administrator reads of copies in other locations: lines for people, JSON for programs,
and how far one has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable

from storpool_ovirt import sentences
from storpool_ovirt.admin import backup, console, findings, lazily, times
from storpool_ovirt.engine import copies, copies_seen
from storpool_ovirt.engine.copies import Copy
from storpool_ovirt.engine.copies_seen import Seen
from storpool_ovirt.option_values import CopyTo

_DAY = 86400
# How a copy was seen whose row says that it was begun, or sent.
_LAST_SEEN = {copies.BEGUN: copies_seen.UNSEEN, copies.SENT: copies_seen.ON_THE_WAY}
Told = Callable[[Sequence[Seen]], None]


def would(target: backup.Target, to: CopyTo) -> Iterator[str]:
    """Yield the lines of what would be copied."""
    many = sentences.counted(len(target.disks), "disk")
    of = f"{many} of VM {target.vm}" if target.vm else f"disk {target.disks[0]}"
    tags = "".join(f" {key}={value}" for key, value in to.tags)
    yield f"{of} would be copied to {to.location} at one moment{' with' * bool(tags)}{tags}"
    if target.vm:
        for disk in target.disks:
            yield f"  disk {disk}"


def begun(rows: Sequence[Copy]) -> Iterator[str]:
    """Yield the lines of copies that were begun."""
    for row in rows:
        name = f"~{row.remote_id}" if row.remote_id else "a copy whose id is not known yet"
        yield f"disk {row.disk}: {name} in {row.location}, {findings.gib(row.size_bytes)}"


def listing(seen: Sequence[Seen], uuid: str | None = None) -> Iterator[str]:
    """Yield the lines of a list, those of one moment together; `uuid` is what was asked for."""
    if not seen and uuid is not None:
        yield f"{uuid} is no disk, VM or moment of which there are copies in other locations"
    elif not seen:
        yield "no copies in other locations"
        return
    from storpool_ovirt.admin import columns  # its library is for people: --json does without

    rows = columns.lines(lazily.Each(lambda: map(_cells, seen)))
    last = ""
    for each, line in zip(seen, rows):
        if each.row.copy != last:
            last = each.row.copy
            yield _title(each.row)
        yield f"  {line}"


def document(seen: Sequence[Seen], location: str) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    return {
        "location": location,
        "copies": lazily.Each(lambda: map(facts, seen)),
    }


def facts(seen: Seen) -> dict[str, Any]:
    """Return one copy as facts for a JSON document."""
    row = seen.row
    return {
        "copy": row.copy,
        "disk": row.disk,
        "volume": row.node,
        "vm": row.vm,
        "to": row.location,
        "global_id": row.remote_id,
        "size_bytes": row.size_bytes,
        "reason": row.reason,
        "made_at": times.stamp(row.made_at) if row.made_at else None,
        "state": seen.state,
        "goes_at": times.stamp(row.goes_at) if row.goes_at else None,
        "note": seen.note or None,
    }


def last_seen(row: Copy) -> Seen:
    """Return a copy as its row tells how it was seen last."""
    return Seen(row, _LAST_SEEN.get(row.state, row.state))


def line(seen: Seen) -> str:
    """Return the line of one copy, where those before it tell the disk."""
    row = seen.row
    _, name, size, state = _cells(seen)
    of = f" of preview {row.node}" if row.node != row.disk else ""
    when = times.stamp(row.made_at) if row.made_at else "at an unknown time"
    return f"copy {name}{of}, {when}, {size}, in {row.location}: {state}"


def given_up(done: backup.GivenUp, keep_seconds: float, dry_run: bool) -> Iterator[str]:
    """Yield the lines of what a retention did."""
    verb = "would be given up" if dry_run else "given up"
    for row in done.rows:
        goes = f", its location deletes it at {times.stamp(row.goes_at)}" if row.goes_at else ""
        yield f"{verb}: ~{row.remote_id} of disk {row.disk} in {row.location}{goes}"
    for row in done.kept:
        yield f"kept: ~{row.remote_id} of disk {row.disk} is old, and its newest one"
    many = sentences.counted(len(done.rows), "copy", "copies")
    yield f"{many} older than {_age(keep_seconds)} {verb}"


@contextmanager
def progress(out: console.Console, rows: Sequence[Copy], quiet: bool) -> Iterator[Told]:
    """Give what is told of each look: a bar on a terminal, else a line when a copy has come.

    StorPool tells of no copy how far it is, so a bar has those that are there.
    """
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        with _bar(rows) as bar:
            yield bar
        return
    came: set[str] = set()

    def lines(seen: Sequence[Seen]) -> None:
        for each in seen:
            if each.state == copies.THERE and each.row.node not in came:
                came.add(each.row.node)
                out.progress(f"there: disk {each.row.disk} ({len(came)} of {len(rows)})")

    yield lines


@contextmanager
def _bar(rows: Sequence[Copy]) -> Iterator[Told]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    total = len(rows)
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(f"to {rows[0].location}", total=total)

        def told(seen: Sequence[Seen]) -> None:
            there = sum(each.state == copies.THERE for each in seen)
            notes = {each.note for each in seen if each.note}
            words = f"to {rows[0].location}" + (" (not to be seen now)" if notes else "")
            shown.update(task, completed=there, description=words)

        yield told


def _title(row: Copy) -> str:
    of = f"VM {row.vm}" if row.vm else f"disk {row.disk}"
    why = ", made when the disk was deleted" if row.reason == copies.DELETED else ""
    when = times.stamp(row.made_at) if row.made_at else "at an unknown time"
    return f"{of}, {when}, to {row.location}{why}"


def _cells(each: Seen) -> tuple[str, ...]:
    row = each.row
    goes = f", goes at {times.stamp(row.goes_at)}" if row.goes_at else ""
    note = f": {each.note}" if each.note else ""
    name = f"~{row.remote_id}" if row.remote_id else "-"
    return f"disk {row.disk}", name, findings.gib(row.size_bytes), f"{each.state}{goes}{note}"


def _age(seconds: float) -> str:
    days, rest = divmod(int(seconds), _DAY)
    return f"{days} d" if days and not rest else f"{int(seconds)} s"
