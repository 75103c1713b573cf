"""What the mapping's database had at one moment, and what changed in it between two."""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt.engine import mapping, moments, operations, tree


class Rows(NamedTuple):
    """What the database had at one moment."""

    records: dict[str, mapping.Record]
    operations: tuple[operations.Operation, ...]
    moments: dict[int, moments.Moment]


def read(work: tree.Work) -> Rows:
    """Return all rows, nothing where there are no tables."""
    if not work.mapping.session.is_made:
        return Rows({}, (), {})
    with work.mapping.session.snapshot():
        return Rows(
            {record.node.uuid: record for record in work.mapping.records()},
            tuple(work.mapping.journal.all()),
            moments.all(work.mapping.session),
        )


def is_reserved(node: mapping.Node) -> bool:
    """Return whether a row is of a snapshot that was made with those of other disks, and that no
    verb gave to oVirt."""
    return node.reserved and node.state in (mapping.LIVE, mapping.DELETING)


def busy(before: Rows, after: Rows) -> frozenset[str]:
    """Return the disks on which anything happened between, or on which an operation is under
    way."""
    roots = set()
    for first, second in ((before, after), (after, before)):
        for uuid, record in first.records.items():
            other = second.records.get(uuid)
            if other is None or other.node != record.node:
                roots.add(record.node.root)
        seen = {(operation.id, operation.state) for operation in second.operations}
        roots |= {each.disk for each in first.operations if (each.id, each.state) not in seen}
    roots |= {each.disk for each in after.operations if each.is_open and each.is_alive()}
    return frozenset(roots)
