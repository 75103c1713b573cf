"""The mapping database: which StorPool object is which of oVirt's ids, and which ids form one disk.

Tables live in a schema of their own in the database that Engine names, beside whatever else is there; they are made
and migrated here, under a lock.  All SQL of the product is in this file.

One oVirt disk is a tree: the volume that Engine created (its id is the tree's `root`), snapshots, and volumes made
from them to preview one.  A row is written before its object is made (`planned`) and completed after it (`live`);
`deleting` says that a delete has begun; `removed` keeps the id of a root whose volume is gone while its tree is not.
"""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extensions

from storpool_ovirt import config, errors
from storpool_ovirt.deadline import Deadline

SCHEMA = "storpool_ovirt"
# A server that is there answers within this; one that is not must not eat the whole deadline.
CONNECT_SECONDS = 10.0
# How long another operation on the same disk is waited for: longer than any verb on a healthy cluster takes.
LOCK_SECONDS = 30.0

PLANNED, LIVE, DELETING, REMOVED = "planned", "live", "deleting", "removed"

# Applied in order, each once; the number of those applied is kept in the table `meta`.  Append, never edit.
MIGRATIONS = (
    """
    CREATE TABLE storpool_ovirt.meta (version integer NOT NULL, location text NOT NULL);
    CREATE TABLE storpool_ovirt.node (
        uuid uuid PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('volume', 'snapshot')),
        root uuid NOT NULL,
        source uuid,
        size_bytes bigint NOT NULL,
        state text NOT NULL CHECK (state IN ('planned', 'live', 'deleting', 'removed')),
        global_id text UNIQUE,
        connected boolean NOT NULL DEFAULT false,
        active uuid,
        replaced uuid,
        correlation_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CHECK (state = 'planned' OR state = 'deleting' OR global_id IS NOT NULL)
    );
    CREATE INDEX node_root ON storpool_ovirt.node (root);
    COMMENT ON COLUMN storpool_ovirt.node.source IS 'what it was made from: a snapshot''s volume, a clone''s source';
    COMMENT ON COLUMN storpool_ovirt.node.connected IS 'was ever described to a host: may be attached';
    COMMENT ON COLUMN storpool_ovirt.node.active IS 'of a root: the volume that the VM writes';
    COMMENT ON COLUMN storpool_ovirt.node.replaced IS 'of a preview: the volume that was active before it';
    """,
)

_SELECT = (
    "SELECT uuid::text, kind, root::text, source::text, size_bytes, state, global_id, connected, active::text,"
    " replaced::text FROM storpool_ovirt.node"
)


@dataclass(frozen=True)
class Node:
    """One row: an object of a disk's tree.  Sizes are bytes; `active` is set on roots only."""

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


@contextmanager
def opened(address: config.Database, deadline: Deadline, correlation_id: str) -> Iterator[Mapping]:
    """Connect, make or migrate the tables where needed, and close at the end; all within the deadline.

    Raises DatabaseUnavailable; DeadlineExceeded when the server does not answer in time.
    """
    # With a wait callback psycopg2 never blocks inside libpq, so a server that hangs cannot outlast our deadline.
    waiting = _Wait(deadline.within(CONNECT_SECONDS), f"the mapping database {address}")
    psycopg2.extensions.set_wait_callback(waiting)
    try:
        # The server gives up on a lock before our own time is up, so that the reason is told and not only the time.
        left = deadline.left("the mapping database")
        limits = {"lock_timeout": min(LOCK_SECONDS, 0.8 * left), "statement_timeout": left}
        with _translated(address):
            connection = psycopg2.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password.reveal(),
                dbname=address.name,
                application_name="storpool-ovirt",
                options=" ".join(f"-c {name}={int(1000 * seconds)}" for name, seconds in limits.items()),
            )
        waiting.deadline = deadline
        try:
            connection.autocommit = True
            mapping = Mapping(connection, address, deadline, correlation_id)
            mapping.prepare()
            yield mapping
        finally:
            connection.close()
    finally:
        psycopg2.extensions.set_wait_callback(None)


class Mapping:
    """The open database of one process.  `statements` counts what was sent, for the benchmark."""

    def __init__(self, connection: Any, address: config.Database, deadline: Deadline, correlation_id: str) -> None:
        self._connection = connection
        self._address = address
        self._deadline = deadline
        self._correlation_id = correlation_id
        self.statements = 0
        self.location = ""

    def prepare(self) -> None:
        """Read this Engine's location; make or migrate the tables first where they are missing or old."""
        try:
            version, self.location = self._rows(
                "SELECT version, location FROM storpool_ovirt.meta", through=(psycopg2.errors.UndefinedTable,)
            )[0]
        except psycopg2.errors.UndefinedTable:
            version = 0
        if version < len(MIGRATIONS):
            self._migrate()
        elif version > len(MIGRATIONS):
            raise errors.DatabaseUnavailable(
                str(self._address),
                f"its tables have version {version}, this program knows {len(MIGRATIONS)}: upgrade it",
            )

    def node(self, uuid: str) -> Node | None:
        """Return the row of this id, whatever its state."""
        return next(iter(self._nodes("WHERE uuid = %s", uuid)), None)

    def tree(self, root: str) -> list[Node]:
        """Return all rows of a disk, oldest first."""
        return self._nodes("WHERE root = %s ORDER BY created_at, uuid", root)

    def lock(self, root: str, shared: str | None = None) -> None:
        """Hold a disk (by its root's id) against all other operations, and the disk `shared` against changes.

        The lock is PostgreSQL's and lasts until this mapping is closed, also by the death of its process.  Raises
        Locked when another operation does not end in time.
        """
        wanted = {root: "pg_advisory_lock"}
        if shared is not None:
            wanted.setdefault(shared, "pg_advisory_lock_shared")
        taken = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
        for uuid in sorted(wanted):
            try:
                self._rows(f"SELECT {wanted[uuid]}(%s)", _lock_key(uuid), through=taken)
            except taken as error:
                raise errors.Locked(f"disk {uuid}", min(LOCK_SECONDS, self._deadline.seconds)) from error

    def plan(self, node: Node) -> Node | None:
        """Write the intent to make `node`; return the row that was there already, if any, and change nothing then."""
        inserted = self._rows(
            "INSERT INTO storpool_ovirt.node"
            " (uuid, kind, root, source, size_bytes, state, active, replaced, correlation_id)"
            " VALUES (%s, %s, %s, %s, %s, 'planned', %s, %s, %s) ON CONFLICT (uuid) DO NOTHING RETURNING 1",
            node.uuid, node.kind, node.root, node.source, node.size_bytes, node.active, node.replaced,
            self._correlation_id,
        )  # fmt: skip
        return None if inserted else self.node(node.uuid)

    def complete(self, uuid: str, global_id: str) -> None:
        """Write the result of a create: the object exists under this global id."""
        self._rows("UPDATE storpool_ovirt.node SET state = 'live', global_id = %s WHERE uuid = %s", global_id, uuid)

    def activate(self, root: str, uuid: str) -> None:
        """Write which volume of the disk its VM writes."""
        self._rows("UPDATE storpool_ovirt.node SET active = %s WHERE uuid = %s", uuid, root)

    def complete_preview(self, uuid: str, global_id: str, root: str) -> None:
        """Write that a preview volume exists and is now the active one."""
        self._rows(
            "UPDATE storpool_ovirt.node SET state = CASE WHEN uuid = %s THEN 'live' ELSE state END,"
            " global_id = CASE WHEN uuid = %s THEN %s ELSE global_id END,"
            " active = CASE WHEN uuid = %s THEN %s ELSE active END WHERE uuid IN (%s, %s)",
            uuid, uuid, global_id, root, uuid, uuid, root,
        )  # fmt: skip

    def connect(self, uuid: str, root: str) -> None:
        """Write that a volume was described to a host, and that it is the one in use."""
        self._rows(
            "UPDATE storpool_ovirt.node SET connected = connected OR uuid = %s,"
            " active = CASE WHEN uuid = %s THEN %s ELSE active END WHERE uuid IN (%s, %s)",
            uuid, root, uuid, uuid, root,
        )  # fmt: skip

    def resize(self, uuid: str, size_bytes: int) -> None:
        """Write the size that the volume now has."""
        self._rows("UPDATE storpool_ovirt.node SET size_bytes = %s WHERE uuid = %s", size_bytes, uuid)

    def mark(self, uuids: Sequence[str], state: str) -> None:
        """Write the state of these rows; a row that is still only planned stays so when a delete is taken back."""
        self._rows(
            "UPDATE storpool_ovirt.node"
            " SET state = CASE WHEN global_id IS NULL AND %s = 'live' THEN 'planned' ELSE %s END"
            " WHERE uuid = ANY (%s::uuid[])",
            state, state, list(uuids),
        )  # fmt: skip

    def forget(self, uuids: Sequence[str]) -> None:
        """Delete these rows."""
        self._rows("DELETE FROM storpool_ovirt.node WHERE uuid = ANY (%s::uuid[])", list(uuids))

    def _nodes(self, where: str, *args: object) -> list[Node]:
        return [Node(*row) for row in self._rows(f"{_SELECT} {where}", *args)]

    def _migrate(self) -> None:
        with _translated(self._address), self._connection.cursor() as cursor:
            # One transaction under a lock: of many first verbs at once one makes the tables, the others find them.
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_key(SCHEMA),))
            cursor.execute("SELECT to_regclass('storpool_ovirt.meta') IS NOT NULL")
            there = cursor.fetchone()[0]
            version = 0
            if there:
                cursor.execute("SELECT version FROM storpool_ovirt.meta")
                version = cursor.fetchone()[0]
            else:
                cursor.execute("CREATE SCHEMA IF NOT EXISTS storpool_ovirt")
            for migration in MIGRATIONS[version:]:
                cursor.execute(migration)
            if there:
                cursor.execute("UPDATE storpool_ovirt.meta SET version = %s", (len(MIGRATIONS),))
            else:
                cursor.execute(
                    "INSERT INTO storpool_ovirt.meta VALUES (%s, %s)", (len(MIGRATIONS), os.urandom(4).hex())
                )
            cursor.execute("COMMIT")
        _, self.location = self._rows("SELECT version, location FROM storpool_ovirt.meta")[0]

    def _rows(self, sql: str, *args: object, through: tuple[type[Exception], ...] = ()) -> list[tuple[Any, ...]]:
        self.statements += 1
        with _translated(self._address, through), self._connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall() if cursor.description else []


class _Wait:
    """Waits for the server while libpq works, never longer than the deadline (`psycopg2.extras.wait_select`)."""

    def __init__(self, deadline: Deadline, what: str) -> None:
        self.deadline = deadline
        self._what = what

    def __call__(self, connection: Any) -> None:
        while True:
            state = connection.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            reading = [connection.fileno()] if state == psycopg2.extensions.POLL_READ else []
            writing = [connection.fileno()] if state == psycopg2.extensions.POLL_WRITE else []
            select.select(reading, writing, [], self.deadline.left(self._what))


@contextmanager
def _translated(address: config.Database, through: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn psycopg2's errors into ours; those that the caller asks about pass through."""
    try:
        yield
    except through:
        raise
    except psycopg2.Error as error:
        reason = (str(error).strip().splitlines() or [error.__class__.__name__])[0]
        raise errors.DatabaseUnavailable(str(address), reason) from error


def _lock_key(name: str) -> int:
    # PostgreSQL's advisory locks are 64-bit numbers that the whole database shares: the schema's name keeps ours apart.
    digest = hashlib.sha256(f"{SCHEMA}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
