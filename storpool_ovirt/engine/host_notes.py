"""Notes of hosts: for which hosts connect_volume was asked to describe a node, and when.

They are a hint for people. Whether the host attached it, and what for, they do not tell, and
nothing depends on any of them, but that nobody writes over a disk that a host was told of a moment
ago (`overwriting.py`).
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.engine.mapping import SELECT_ASKED, Mapping, Node
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# How many hosts are kept that a node was asked for: those that have it, and where it was before.
KEPT_HOSTS = 8
LATEST = 1e11  # seconds since 1970, beyond the year 5000
# A part of the statement that reads the row, as connect_volume is waited for: it waits for nobody
# (a row that is being changed gets no note) nor for the disk below the database, which only this
# transaction does without; and it writes nothing where the row is of another cluster than the one
# that is pinned.
_NOTE = """
    WITH noted AS (
        INSERT INTO storpool_ovirt.asked AS before (node, hosts)
        SELECT uuid, jsonb_build_array(jsonb_build_object(
            'host', %s::text,
            'at', round(extract(epoch FROM clock_timestamp())::numeric, 3)
        ))
        FROM storpool_ovirt.node
        WHERE uuid = %s AND state = 'live' AND global_id LIKE %s
            AND {may} AND set_config('synchronous_commit', 'off', true) = 'off'
        FOR KEY SHARE SKIP LOCKED
        ON CONFLICT (node) DO UPDATE SET hosts = (
            excluded.hosts || coalesce((
                SELECT jsonb_agg(entry ORDER BY place)
                FROM jsonb_array_elements(before.hosts) WITH ORDINALITY AS older (entry, place)
                WHERE entry->>'host' IS DISTINCT FROM excluded.hosts->0->>'host'
            ), '[]')
        ) - {kept}
    )"""

_SELECT_NOTES = "SELECT node::text, hosts FROM storpool_ovirt.asked"


class HostNote(NamedTuple):
    """When a node was asked for last for a host, in seconds since 1970; `host` is None where Engine
    did not tell which."""

    host: str | None
    at: float


def noted(
    mapping: Mapping, uuid: str, host: str | None, cluster: str | None
) -> tuple[Node | None, bool]:
    """Return the row of this id, and whether an administrator has said anything of any VM; note in
    the same statement for which host it was asked for.

    `cluster` is the pinned one. A note that cannot be written (a full disk, a database that only
    reads) is none.
    """
    pattern = f"{cluster}.%" if cluster else "%"
    try:
        note = _NOTE.format(may=mapping.session.may, kept=KEPT_HOSTS)
        rows = mapping.session.read(SELECT_ASKED, host, uuid, pattern, uuid, before=note)
    except errors.DatabaseUnavailable:
        with suppress(errors.DatabaseUnavailable):
            return mapping.node(uuid), False
        raise
    return next(((Node(*row), says_of_vms) for *row, says_of_vms in rows), (None, False))


def is_noted_elsewhere(mapping: Mapping, uuid: str, host: str | None) -> bool:
    """Return whether this id was ever asked for another host than this one, or for one that was not
    told."""
    rows = mapping.session.rows(
        """
        SELECT EXISTS (
            SELECT FROM storpool_ovirt.asked, jsonb_array_elements(hosts) AS entry
            WHERE node = %s AND (entry->>'host' IS DISTINCT FROM %s OR %s::text IS NULL)
        )
        """,
        uuid,
        host,
        host,
    )
    return bool(rows[0][0])


def of_all(mapping: Mapping) -> dict[str, list[HostNote]]:
    """Return the notes of each id, newest first; ids that were never asked for are not in it.

    A note that this program cannot have written is skipped.
    """
    return _notes(mapping.session.rows(_SELECT_NOTES))


def of(mapping: Mapping, uuids: Iterable[str]) -> dict[str, list[HostNote]]:
    """Return those of some ids alone."""
    return _notes(mapping.session.rows(f"{_SELECT_NOTES} WHERE node = ANY (%s::uuid[])", [*uuids]))


def since(mapping: Mapping, uuids: Iterable[str], seconds: float) -> list[tuple[str, HostNote]]:
    """Return which of these ids were asked for in so many seconds, by the database's clock, and for
    which host; what is dated later than now was, too."""
    rows = mapping.session.rows(
        """
        SELECT node::text, hosts, extract(epoch FROM clock_timestamp())::float
        FROM storpool_ovirt.asked WHERE node = ANY (%s::uuid[])
        """,
        [*uuids],
    )
    return [
        (uuid, note)
        for uuid, hosts, now in rows
        for note in _notes([(uuid, hosts)])[uuid]
        if note.at >= now - seconds
    ]


def _notes(rows: Iterable[Sequence[Any]]) -> dict[str, list[HostNote]]:
    found = {uuid: hosts if isinstance(hosts, list) else [] for uuid, hosts in rows}
    return {
        uuid: [HostNote(each["host"], each["at"]) for each in hosts if _is_note(each)]
        for uuid, hosts in found.items()
    }


def _is_note(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("host"), (str, type(None))):
        return False
    at = entry.get("at")
    return isinstance(at, (int, float)) and 0 <= at <= LATEST
