"""The mapping: which StorPool object is which of oVirt's ids, and which ids form one disk.

One oVirt disk is a tree: the volume that Engine created (its id is the tree's `root`), snapshots,
and volumes made from them to preview one. A row is written before its object is made (`planned`)
and completed after it (`live`); `deleting` says that a delete has begun; `removed` keeps the id of
a root whose volume is gone while its tree is not. Every change is written together with its entry
in the journal, in one statement.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import config, errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database, intent, locks
from storpool_ovirt.engine.intent import DROP, GROW, MAKE, Intent
from storpool_ovirt.engine.journal import PENDING, Caller, Change, Journal, Own

PLANNED, LIVE, DELETING, REMOVED = "planned", "live", "deleting", "removed"

_SELECT = f"""
SELECT uuid::text, kind, root::text, source::text, size_bytes, state, global_id, connected,
       active::text, replaced::text,
       EXISTS (SELECT FROM storpool_ovirt.operation WHERE disk = root AND {PENDING})
FROM storpool_ovirt.node"""
_MARK = (
    "UPDATE storpool_ovirt.node SET state = CASE WHEN global_id IS NULL AND %s = 'live' THEN"
    " 'planned' ELSE %s END WHERE uuid = ANY (%s::uuid[])"
)
# How many hosts are kept that a node was asked for: those that have it, and where it was before.
ASKED_HOSTS = 8
LATEST = 1e11  # seconds since 1970, beyond the year 5000
# A part of the statement that reads the row, as connect_volume is waited for: it waits for nobody
# (a row that is being changed gets no note) nor for the disk below the database, which only this
# transaction does without; and it writes nothing where the row is of another cluster than the one
# that is pinned.
_NOTE = (
    "WITH noted AS (INSERT INTO storpool_ovirt.asked AS before (node, hosts)"
    " SELECT uuid, jsonb_build_array(jsonb_build_object("
    "'host', %s::text, 'at', round(extract(epoch FROM clock_timestamp())::numeric, 3)))"
    " FROM storpool_ovirt.node WHERE uuid = %s AND state = 'live' AND global_id LIKE %s"
    " AND set_config('synchronous_commit', 'off', true) = 'off' FOR KEY SHARE SKIP LOCKED"
    " ON CONFLICT (node) DO UPDATE SET hosts = (excluded.hosts || coalesce((SELECT jsonb_agg(entry"
    " ORDER BY place)"
    " FROM jsonb_array_elements(before.hosts) WITH ORDINALITY AS older (entry, place)"
    f" WHERE entry->>'host' IS DISTINCT FROM excluded.hosts->0->>'host'), '[]')) - {ASKED_HOSTS})"
)


@dataclass(frozen=True)
class Node:
    """One row: an object of a disk's tree. Sizes are bytes; `active` is set on roots only.

    `pending`: the journal has something open on its disk.
    """

    uuid: str
    kind: str
    root: str
    source: str | None
    size_bytes: int
    state: str
    global_id: str | None = None
    connected: bool = False
    active: str | None = None
    replaced: str | None = None
    pending: bool = False


class Record(NamedTuple):
    """A row, and which request made it how long ago."""

    node: Node
    correlation_id: str
    age_seconds: float


class Asked(NamedTuple):
    """When connect_volume was asked last to describe a node for a host; None where Engine did not
    tell which.

    `at` is in seconds since 1970. Whether the host attached it, and what for, it does not tell.
    """

    host: str | None
    at: float


@contextmanager
def opened(  # noqa: PLR0913  what one process opens it with
    address: config.Database,
    deadline: Deadline,
    caller: Caller,
    own: Own | None = None,
    make: bool = True,
    *,
    without: bool = False,
) -> Iterator[Mapping]:
    """Open the database for one process and close it at the end.

    `own` is its operation, when it comes back; tables that are missing or old are made, or not
    (`make`), or may be missing (`without`). Raises what `database.opened` raises.
    """
    with database.opened(address, deadline, make, without) as session:
        yield Mapping(session, Journal(session, caller, own))


class Mapping:
    """The rows of all disks, and the journal of their changes."""

    def __init__(self, session: database.Session, journal: Journal) -> None:
        self.session = session
        self.journal = journal
        self.location = session.location

    def node(self, uuid: str) -> Node | None:
        """Return the row of this id, whatever its state."""
        return next(iter(self._nodes("WHERE uuid = %s", uuid)), None)

    def asked_for(self, uuid: str, host: str | None, cluster: str | None) -> Node | None:
        """Return the row of this id, and note in the same statement that it was asked for, for
        which host.

        `cluster` is the pinned one. A note that cannot be written (a full disk, a database that
        only reads) is none.
        """
        pattern = f"{cluster}.%" if cluster else "%"
        try:
            rows = self.session.rows(
                f"{_NOTE} {_SELECT} WHERE uuid = %s", host, uuid, pattern, uuid
            )
        except errors.DatabaseUnavailable:
            with suppress(errors.DatabaseUnavailable):
                return self.node(uuid)
            raise
        return next((Node(*row) for row in rows), None)

    def asked_elsewhere(self, uuid: str, host: str | None) -> bool:
        """Tell whether this id was ever asked for another host than this one, or for one that was
        not told."""
        rows = self.session.rows(
            "SELECT EXISTS (SELECT FROM storpool_ovirt.asked, jsonb_array_elements(hosts) AS entry"
            " WHERE node = %s AND (entry->>'host' IS DISTINCT FROM %s OR %s::text IS NULL))",
            uuid,
            host,
            host,
        )
        return bool(rows[0][0])

    def asked(self) -> dict[str, list[Asked]]:
        """Return for which hosts each id was asked, newest first; ids that never were are not in
        it.

        A note that this program cannot have written is skipped: nothing depends on any.
        """
        rows = self.session.rows("SELECT node::text, hosts FROM storpool_ovirt.asked")
        notes = {uuid: hosts if isinstance(hosts, list) else [] for uuid, hosts in rows}
        return {
            uuid: [Asked(each["host"], each["at"]) for each in found if _is_note(each)]
            for uuid, found in notes.items()
        }

    def tree(self, root: str) -> list[Node]:
        """Return all rows of a disk, oldest first."""
        return self._nodes("WHERE root = %s ORDER BY created_at, uuid", root)

    def newest_empty(self, besides: str) -> Node | None:
        """Return the newest volume, `besides` this one, that was made without a source and is
        there."""
        where = "WHERE kind = 'volume' AND state = 'live' AND source IS NULL AND uuid <> %s"
        return next(
            iter(self._nodes(f"{where} ORDER BY created_at DESC, uuid LIMIT 1", besides)), None
        )

    def records(self) -> list[Record]:
        """Return the rows of all disks with what is known of their making, oldest first."""
        made = (
            "correlation_id, greatest(0, extract(epoch FROM clock_timestamp() - created_at))::float"
        )
        select = _SELECT.replace("\nFROM storpool_ovirt.node", f", {made} FROM storpool_ovirt.node")
        rows = self.session.rows(f"{select} ORDER BY created_at, uuid")
        return [Record(Node(*row[:-2]), *row[-2:]) for row in rows]

    def lock(self, root: str, shared: str | None = None) -> None:
        """Hold a disk (by its root's id) against all other operations, and the disk `shared`
        against changes.

        The lock is PostgreSQL's and lasts until this mapping is closed, also by the death of its
        process. Raises Locked when another operation does not end in time.
        """
        wanted = {root: False}
        if shared is not None:
            wanted.setdefault(shared, True)
        for uuid in sorted(wanted):
            locks.hold(self.session, uuid, wanted[uuid])

    def share(self, root: str) -> None:
        """Hold a disk against changes only, until this mapping is closed. Raises Locked."""
        locks.hold(self.session, root, shared=True)

    def plan(self, node: Node, plan: collections.abc.Mapping[str, object]) -> Node | None:
        """Write the intent to make `node`; return the row that was there already, if any, and
        change nothing then."""
        insert = Change(
            "INSERT INTO storpool_ovirt.node (uuid, kind, root, source, size_bytes, state, active,"
            " replaced, correlation_id) VALUES (%s, %s, %s, %s, %s, 'planned', %s, %s, %s) ON"
            " CONFLICT (uuid) DO NOTHING RETURNING 1",
            (
                node.uuid,
                node.kind,
                node.root,
                node.source,
                node.size_bytes,
                node.active,
                node.replaced,
                self.journal.caller.correlation_id,
            ),
        )
        planned = self.journal.begin(
            Intent(MAKE, node.root, node.uuid, plan), insert, only_if_changed=True
        )
        return None if planned else self.node(node.uuid)

    def begin_again(self, node: Node, plan: collections.abc.Mapping[str, object]) -> None:
        """Write that `node`, whose first answer was lost, was asked for again: this answer too may
        be lost."""
        self.journal.begin(Intent(MAKE, node.root, node.uuid, plan))
        self.journal.finish(unchanged())

    def complete(self, uuid: str, global_id: str) -> None:
        """Write the result of a create: the object exists under this global id."""
        self.journal.finish(completed(uuid, global_id))

    def complete_preview(self, uuid: str, global_id: str, root: str) -> None:
        """Write that a preview volume exists and is now the active one."""
        self.journal.finish(
            Change(
                "UPDATE storpool_ovirt.node SET state = CASE WHEN uuid = %s THEN 'live' ELSE state"
                " END, global_id = CASE WHEN uuid = %s THEN %s ELSE global_id END, active = CASE"
                " WHEN uuid = %s THEN %s ELSE active END WHERE uuid IN (%s, %s)",
                (uuid, uuid, global_id, root, uuid, uuid, root),
            )
        )

    def begin_growth(self, node: Node, size_bytes: int) -> None:
        """Write the intent to give a volume this size."""
        self.journal.begin(
            Intent(GROW, node.root, node.uuid, intent.growing(size_bytes, node.size_bytes))
        )

    def complete_growth(self, uuid: str, size_bytes: int) -> None:
        """Write the size that the volume now has."""
        self.journal.finish(resized(uuid, size_bytes))

    def begin_delete(self, uuid: str, root: str, uuids: Sequence[str]) -> None:
        """Write the intent to delete these; `uuid` is what was named."""
        self.journal.begin(
            Intent(DROP, root, uuid, intent.dropping(uuids)), marked(uuids, DELETING)
        )

    def complete_delete(self, uuids: Sequence[str]) -> None:
        """Delete the rows of what is gone."""
        self.journal.finish(forgotten(uuids))

    def adopt(self, node: Node, created_at: float) -> bool:
        """Write the row of an object that was found in the cluster; false when its id has one."""
        rows = self.session.rows(
            "INSERT INTO storpool_ovirt.node (uuid, kind, root, source, size_bytes, state,"
            " global_id, connected, active, replaced, correlation_id, created_at) VALUES (%s, %s,"
            " %s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s)) ON CONFLICT DO NOTHING"
            " RETURNING 1",
            node.uuid,
            node.kind,
            node.root,
            node.source,
            node.size_bytes,
            node.state,
            node.global_id,
            node.connected,
            node.active,
            node.replaced,
            self.journal.caller.correlation_id,
            created_at,
        )
        return bool(rows)

    def make(self, location: str) -> None:
        """Make the tables, where they are missing, of an Engine that has this location.

        Raises Conflict.
        """
        if not self.session.is_made:
            self.session.make(location)
            self.location = location

    def relocate(self, location: str) -> None:
        """Write the location that this Engine's objects carry."""
        self.session.rows("UPDATE storpool_ovirt.meta SET location = %s", location)
        self.location = location

    def write(self, change: Change) -> None:
        """Write a change that is a part of a larger one, or only the mapping's own."""
        self.session.rows(change.sql, *change.args)

    def connect(self, uuid: str, root: str) -> None:
        """Write that a volume was described to a host, and that it is the one in use."""
        self.session.rows(
            "UPDATE storpool_ovirt.node SET connected = connected OR uuid = %s,"
            " active = CASE WHEN uuid = %s THEN %s ELSE active END WHERE uuid IN (%s, %s)",
            uuid,
            root,
            uuid,
            uuid,
            root,
        )

    def _nodes(self, where: str, *args: object) -> list[Node]:
        return [Node(*row) for row in self.session.rows(f"{_SELECT} {where}", *args)]


def _is_note(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("host"), (str, type(None))):
        return False
    at = entry.get("at")
    return isinstance(at, (int, float)) and 0 <= at <= LATEST


def completed(uuid: str, global_id: str) -> Change:
    """Return the change: the object exists under this global id."""
    return Change(
        "UPDATE storpool_ovirt.node SET state = 'live', global_id = %s WHERE uuid = %s",
        (global_id, uuid),
    )


def resized(uuid: str, size_bytes: int) -> Change:
    """Return the change: the volume has this size."""
    return Change(
        "UPDATE storpool_ovirt.node SET size_bytes = %s WHERE uuid = %s", (size_bytes, uuid)
    )


def activated(root: str, uuid: str) -> Change:
    """Return the change: this is the volume that the disk's VM writes."""
    return Change("UPDATE storpool_ovirt.node SET active = %s WHERE uuid = %s", (uuid, root))


def marked(uuids: Sequence[str], state: str) -> Change:
    """Return the change: these rows have this state; one that is only planned stays so when a
    delete is taken back."""
    return Change(_MARK, (state, state, list(uuids)))


def forgotten(uuids: Sequence[str]) -> Change:
    """Return the change: these rows are gone."""
    return Change("DELETE FROM storpool_ovirt.node WHERE uuid = ANY (%s::uuid[])", (list(uuids),))


def unchanged() -> Change:
    """Return the change that changes nothing: for an entry in the journal alone."""
    return Change("SELECT 1")
