"""Copies in other locations, as our table has them: which disk each is of, and of which moment.

Rows of disks know nothing of them: a copy outlives its disk. All copies of one moment have one id,
which their tags have too (`copy_names.TAG`), so that what a lost answer made is found again.
"""

from __future__ import annotations

from storpool_ovirt.engine.changes import Change
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.cluster.words import Words
    from storpool_ovirt.engine import mapping

# begun -> sent -> there -> given up -> (no row: its location has none any more)
#   |        `----> lost   its location has none, though all of its data never came
#   `-> (no row: it was never made)
BEGUN, SENT, THERE, LOST, GIVEN_UP = "begun", "sent", "there", "lost", "given up"
# Why it was made: an administrator asked for it, or its disk was deleted (`sp_backup_on_delete`).
ASKED, DELETED = "asked", "deleted"

_SELECT = """
    SELECT copy::text, disk::text, node::text, name, volume, size_bytes, template, location,
        remote_id, base_id, reason, vm::text, state,
        coalesce(extract(epoch FROM made_at), 0)::float,
        coalesce(extract(epoch FROM goes_at), 0)::float,
        correlation_id
    FROM storpool_ovirt.backup"""
_ORDER = "ORDER BY made_at, copy, disk, node"


class Copy(NamedTuple):
    """One row: a copy of a volume. Times are in seconds since 1970, by the clock of Engine's
    database.

    `disk` and `node` are the ids that the volume had in oVirt, `name` and `volume` its name and
    global id in StorPool. `remote_id` is the copy's global id and `base_id` that of the snapshot
    here that holds its data until they are there; both are None while the answer that tells them
    is not known. `goes_at`: when the location deletes what was given up; 0 where that is not known.
    """

    copy: str
    disk: str
    node: str
    name: str
    volume: str
    size_bytes: int
    template: str
    location: str
    remote_id: str | None
    base_id: str | None
    reason: str
    vm: str | None
    state: str
    made_at: float
    goes_at: float
    correlation_id: str


# Of which many rows say the same, or StorPool's lists do
_IDS = ("copy", "disk", "node", "volume")
_OTHERS = ("size_bytes", "template", "location", "reason", "state")


def all_of(where: mapping.Mapping, words: Words | None = None) -> list[Copy]:
    """Return all copies, oldest first; `words` as `trash.entries` has them."""
    found = _read(where, "")
    if words is None:
        return found
    for number, each in enumerate(found):  # one after the other: there may be very many
        found[number] = words.leaned(each, _IDS, _OTHERS)
    return found


def of(where: mapping.Mapping, uuid: str) -> list[Copy]:
    """Return those that this id names: of a disk, of a volume of one, of a VM, of one moment."""
    return _read(where, "WHERE %s IN (copy, disk, node, vm)", uuid)


def of_remote(where: mapping.Mapping, remote_id: str) -> Copy | None:
    """Return the copy with this global id; None where there is none."""
    return next(iter(_read(where, "WHERE remote_id = %s", remote_id)), None)


def of_open_delete(where: mapping.Mapping, disk: str) -> list[Copy]:
    """Return the copies that a delete of this disk has begun which nobody has ended or taken back
    yet: nothing was written to the disk since."""
    return _read(
        where,
        """
        WHERE disk = %s AND reason = 'deleted' AND state IN ('begun', 'sent', 'there')
            AND copy::text IN (
                SELECT plan->>'copy' FROM storpool_ovirt.operation
                WHERE operation.disk = %s AND kind = 'drop' AND state <> 'undone'
            )
        """,
        disk,
        disk,
    )


def written(found: Sequence[Copy]) -> Change:
    """Return the change: these are about to be made, at this moment where a row tells none. A row
    that is there stays."""
    return Change(
        """
        INSERT INTO storpool_ovirt.backup
            (copy, disk, node, name, volume, size_bytes, template, location, remote_id, base_id,
            reason, vm, state, made_at, correlation_id)
        SELECT copy, disk, node, name, volume, size_bytes, template, location, remote_id, base_id,
            reason, vm, state,
            CASE WHEN made_at > 0 THEN to_timestamp(made_at) ELSE clock_timestamp() END,
            correlation_id
        FROM unnest(
            %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[],
            %s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::float8[],
            %s::text[]
        ) AS found (copy, disk, node, name, volume, size_bytes, template, location, remote_id,
            base_id, reason, vm, state, made_at, correlation_id)
        ON CONFLICT DO NOTHING
        """,
        tuple(
            [getattr(row, column) for row in found]
            for column in Copy._fields
            if column != "goes_at"
        ),
    )


def changed(found: Sequence[Copy]) -> Change:
    """Return the change: these rows have these states, ids and dates now."""
    return Change(
        """
        UPDATE storpool_ovirt.backup SET
            state = now.state, remote_id = now.remote_id, base_id = now.base_id,
            goes_at = CASE WHEN now.goes_at > 0 THEN to_timestamp(now.goes_at) END
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::float8[])
            AS now (copy, node, state, remote_id, base_id, goes_at)
        WHERE backup.copy = now.copy AND backup.node = now.node
        """,
        tuple(
            [getattr(row, column) for row in found]
            for column in ("copy", "node", "state", "remote_id", "base_id", "goes_at")
        ),
    )


def forgotten(found: Sequence[Copy]) -> Change:
    """Return the change: these rows are gone."""
    return Change(
        """
        DELETE FROM storpool_ovirt.backup
        USING unnest(%s::uuid[], %s::uuid[]) AS gone (copy, node)
        WHERE backup.copy = gone.copy AND backup.node = gone.node
        """,
        ([row.copy for row in found], [row.node for row in found]),
    )


def _read(where: mapping.Mapping, condition: str, *args: object) -> list[Copy]:
    rows = where.session.rows(f"{_SELECT} {condition} {_ORDER}", *args)
    return [Copy._make(row) for row in rows]
