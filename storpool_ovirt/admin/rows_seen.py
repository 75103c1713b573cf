"""What the mapping's database had at one moment, and what changed in it between two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import mapping, moments, operations, records, trash, tree


class Rows(NamedTuple):
    """What the database had at one moment; `changed` are the disks on which anything was another
    way at an earlier one, or on which an operation is under way."""

    records: dict[str, records.Record]
    operations: tuple[operations.Operation, ...]
    moments: dict[int, moments.Moment]
    changed: frozenset[str] = frozenset()
    trash: tuple[trash.Entry, ...] = ()


class Earlier(NamedTuple):
    """The rows and the operations of a moment before, which are only to be compared with; of the
    trash, by the entries' ids, the disk and the end of each."""

    records: dict[str, records.Record]
    operations: tuple[operations.Operation, ...]
    trash: dict[str, tuple[str, float]]


def look_before(work: tree.Work, words: Words) -> Earlier:
    """Return all rows, nothing where there are no tables."""
    if not work.mapping.session.is_made:
        return Earlier({}, (), {})
    with work.mapping.session.snapshot():
        rows = {each.uuid: each for each in records.each_row(work.mapping, words)}
        ends = trash.ends(work.mapping, words)
        return Earlier(rows, tuple(work.mapping.journal.all()), ends)


def read(work: tree.Work, words: Words | None = None, before: Earlier | None = None) -> Rows:
    """Return all rows, nothing where there are no tables, and what has changed since `before`,
    which is used up."""
    if not work.mapping.session.is_made:
        return Rows({}, (), {}, _roots(before.records.values()) if before else frozenset())
    words = words or Words()
    with work.mapping.session.snapshot():
        rows: dict[str, records.Record] = {}
        changed: set[str] = set()
        for record in records.each(work.mapping, words):
            earlier = before.records.pop(record.uuid, None) if before else record
            if earlier is None or not record.has_same_row(earlier):
                changed |= _roots(filter(None, (earlier, record)))
            rows[record.uuid] = record
        found = tuple(work.mapping.journal.all())
        dropped = tuple(trash.entries(work.mapping, words))
        if before is not None:
            changed |= _roots(before.records.values()) | _differing(before.operations, found)
            changed |= _moved(before.trash, dropped)
        of_moments = moments.all(work.mapping.session)
        return Rows(rows, found, of_moments, frozenset(changed), dropped)


def is_reserved(node: mapping.Node | records.Record) -> bool:
    """Return whether a row is of a snapshot that was made with those of other disks, and that no
    verb gave to oVirt."""
    return node.reserved and node.state in (mapping.LIVE, mapping.DELETING)


def _roots(rows: Iterable[records.Record]) -> frozenset[str]:
    return frozenset(each.root for each in rows)


def _differing(
    before: Iterable[operations.Operation], after: Iterable[operations.Operation]
) -> set[str]:
    """Return the disks on which an operation began, ended or went on between, or is under way."""
    roots = set()
    for first, second in ((before, after), (after, before)):
        seen = {(operation.id, operation.state) for operation in second}
        roots |= {each.disk for each in first if (each.id, each.state) not in seen}
    return roots | {each.disk for each in after if each.is_open and each.is_alive()}


def _moved(before: dict[str, tuple[str, float]], dropped: Iterable[trash.Entry]) -> set[str]:
    """Return the disks of which an entry came, went or got another end; `before` is used up."""
    disks = set()
    for each in dropped:
        disk, ends_at = before.pop(each.entry, (each.disk, None))
        if (disk, ends_at) != (each.disk, each.ends_at):
            disks |= {disk, each.disk}
    return disks | {disk for disk, _ in before.values()}
