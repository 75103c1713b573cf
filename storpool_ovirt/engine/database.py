"""Engine's database: one session of one process, its time limits, and the locks that it can take.

Our tables lie in a schema of their own in the database that Engine names, beside whatever else is
there; they are made and migrated here, under a lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import connection, database_url, tables

if TYPE_CHECKING:
    from storpool_ovirt.log import Log

# A server that is there answers within this; one that is not must not eat the whole deadline.
CONNECT_SECONDS = 10.0
# How long another operation on the same disk is waited for: longer than any verb on a healthy
# cluster takes.
LOCK_SECONDS = 30.0
# A machine that lost its power never closes its connection: its locks end when the server has asked
# it this often.
KEEPALIVE = {"tcp_keepalives_idle": 15, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}


@contextmanager
def opened(
    address: database_url.Database, deadline: Deadline, make: bool = True, without: bool = False
) -> Iterator[Session]:
    """Connect, make or migrate the tables where needed (and wanted: `make`), and close at the end,
    within the deadline.

    `without`: tables that are missing are neither made nor missed; `is_made` tells it then.

    Raises DatabaseUnavailable; NotFound where there are no tables and none are to be made;
    DeadlineExceeded when the server does not answer in time.
    """
    what = f"the mapping database {address}"
    with connection.opened(
        address, deadline, lambda: _limits(deadline), what, CONNECT_SECONDS
    ) as connected:
        session = Session(connected, address, deadline)
        session.prepare(make, without)
        yield session


def ask(
    address: database_url.Database, deadline: Deadline, sql: str, *args: object
) -> list[tuple[Any, ...]]:
    """Ask a database of somebody else's one question, which can change nothing there, and return
    the rows.

    Raises DatabaseUnavailable, DeadlineExceeded. It may be called while another one is `opened`.
    """

    def limits() -> dict[str, object]:
        left_ms = int(1000 * deadline.left(str(address)))
        return {"default_transaction_read_only": "on", "statement_timeout": left_ms}

    with (
        connection.opened(address, deadline, limits, f"the database {address}") as connected,
        connection.translated(address),
        connected.cursor() as cursor,
    ):
        cursor.execute(sql, args)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def ask_engine(
    root: str, log: Log, deadline: Deadline, sql: str, *args: object
) -> list[tuple[Any, ...]]:
    """Ask Engine's own database, as its files name it, one question as `ask` does.

    Raises what that does, and ConfigError where nothing says where it is.
    """
    from storpool_ovirt.engine import conf

    address = conf.own_database(root)
    log.hide(address.password.reveal())
    return ask(address, deadline, sql, *args)


class Session:
    """The open database of one process. `statements` counts what was sent, for the benchmark."""

    def __init__(self, connection: Any, address: database_url.Database, deadline: Deadline) -> None:
        self._connection = connection
        self.address = address
        self.deadline = deadline
        self.statements = 0
        self.location = ""

    @property
    def is_made(self) -> bool:
        """Return whether the tables are there."""
        return bool(self.location)

    def make(self, location: str) -> None:
        """Make the tables of an Engine that has this location; raise Conflict where they were made
        meanwhile."""
        self._migrate(location)
        if self.location != location:
            raise errors.Conflict(
                str(self.address),
                f"got tables with the location {self.location} meanwhile",
                "run this again",
            )

    def prepare(self, make: bool = True, without: bool = False) -> None:
        """Read this Engine's location; make or migrate the tables first where they are missing or
        old."""
        version, additions = self._read_version()
        known = len(tables.MIGRATIONS)
        is_old = version < known or additions < len(tables.ADDITIONS)
        if version == 0 and without:
            return
        if is_old and version <= known and not make:
            raise errors.NotFound(
                "mapping",
                f"of version {tables.VERSION}",
                f"in {self.address}: {_why_not_there(version, additions)}",
            )
        if is_old and version <= known:
            self._migrate()
        elif version > known:
            raise errors.DatabaseUnavailable(
                str(self.address),
                f"its tables have version {version}, this program knows {known}: upgrade it",
            )

    def _read_version(self) -> tuple[int, int]:
        """Return the version of the tables, and how much was added to it; 0 where there are none.

        Keeps this Engine's location.
        """
        import psycopg2.errors

        missing = psycopg2.errors.UndefinedTable
        try:
            rows = self.rows(
                """
                SELECT pg_backend_pid(), version, location,
                    coalesce((to_jsonb(meta)->>'additions')::integer, 0)
                FROM (SELECT) AS one LEFT JOIN storpool_ovirt.meta ON true
                """,
                through=(missing,),
            )
        except missing:
            return 0, 0
        backend, version, location, additions = rows[0]
        self._check_direct(backend)
        if version is None:
            raise errors.DatabaseUnavailable(
                str(self.address), "its table storpool_ovirt.meta is empty"
            )
        self.location = location
        return int(version), int(additions)

    def _check_direct(self, backend: int) -> None:
        """Raise DatabaseUnavailable where a connection pooler stands in between, so that locks may
        hold nothing.

        It answers a connection with a number of its own in place of the server process'
        (PostgreSQL's BackendKeyData). In transaction mode each statement may run in another
        process, whose locks are not ours; in session mode they would be, but nothing tells the
        modes apart for certain.
        """
        if backend != self._connection.info.backend_pid:
            raise errors.DatabaseUnavailable(str(self.address), connection.POOLER)

    def lock(self, name: str, shared: bool = False) -> bool:
        """Take the lock of this name until the connection ends, also by the death of its process.

        False when another holds it and does not end in time.
        """
        function = "pg_advisory_lock_shared" if shared else "pg_advisory_lock"
        return self._is_taken(f"SELECT {function}(%s)", lock_key(name))

    def lock_all(self, names: Sequence[str]) -> bool:
        """Take the locks of these names as `lock` does, in this order.

        False when another holds one of them; those before it are held then.
        """
        keys = [lock_key(name) for name in names]
        return self._is_taken("SELECT pg_advisory_lock(key) FROM unnest(%s) AS key", keys)

    def try_lock(self, name: str) -> bool:
        """Take the lock of this name if nobody has it."""
        return bool(self.rows("SELECT pg_try_advisory_lock(%s)", lock_key(name))[0][0])

    def unlock(self, name: str) -> None:
        """Give a lock back before the connection ends: for a program that works on many disks."""
        self.rows("SELECT pg_advisory_unlock(%s)", lock_key(name))

    def _is_taken(self, sql: str, *args: object) -> bool:
        import psycopg2.errors

        others = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
        try:
            self.rows(sql, *args, through=others)
        except others:
            return False
        return True

    def rows(
        self, sql: str, *args: object, through: tuple[type[Exception], ...] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one statement, in a transaction of its own, and return its rows.

        Raises DatabaseUnavailable.
        """
        self.statements += 1
        with connection.translated(self.address, through), self._connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let the statements inside take effect together, or not at all."""
        self.rows("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(errors.Error):
                self.rows("ROLLBACK")
            raise
        self.rows("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the statements inside see the tables at one moment, and change nothing."""
        self.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            with suppress(errors.Error):
                self.rows("ROLLBACK")

    def _migrate(self, location: str = "") -> None:
        with connection.translated(self.address), self._connection.cursor() as cursor:
            # One transaction under a lock: of many first verbs at once one makes the tables, the
            # others find them.
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key(tables.SCHEMA),))
            cursor.execute(
                "SELECT pg_backend_pid(), to_regclass('storpool_ovirt.meta') IS NOT NULL"
            )
            backend, is_made = cursor.fetchone()
            self._check_direct(backend)
            tables.migrate(cursor, is_made, location)
            cursor.execute("COMMIT")
        _, self.location = self.rows("SELECT version, location FROM storpool_ovirt.meta")[0]


def lock_key(name: str) -> int:
    """Return the number of a lock: PostgreSQL's are 64 bits that the whole database shares, our
    schema's name in it."""
    digest = hashlib.sha256(f"{tables.SCHEMA}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _why_not_there(version: int, additions: int) -> str:
    if version:
        return f"it has version {version}.{additions}, which the next verb brings up to date"
    return (
        "no verb has run here yet, or the database was lost, and storpool-ovirt rebuild makes its"
        " tables again from the tags"
    )


def _limits(deadline: Deadline) -> dict[str, object]:
    # The server gives up on a lock before our own time is up, so that the reason is told and not
    # only the time.
    left = deadline.left("the mapping database")
    limits = {"lock_timeout": min(LOCK_SECONDS, 0.8 * left), "statement_timeout": left}
    # What the journal tells must outlive a crash of the server, whatever the server does for
    # others.
    return {
        **{name: int(1000 * seconds) for name, seconds in limits.items()},
        **KEEPALIVE,
        "synchronous_commit": "on",
    }
