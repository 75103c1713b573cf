"""Engine's database: one session of one process, its time limits, and the locks that it can take.

Our tables lie in a schema of their own in the database that Engine names, beside whatever else is
there; they are made and migrated here, under a lock.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import connection, database_url, driver, holds, tables
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, suppress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Callable

    from storpool_ovirt.engine.holds import Hold
    from storpool_ovirt.log import Log

# A server that is there answers within this; one that is not must not eat the whole deadline.
CONNECT_SECONDS = 10.0
# How long another operation on the same disk is waited for: longer than any verb on a healthy
# cluster takes.
LOCK_SECONDS = 30.0
# A machine that lost its power never closes its connection: its locks end when the server has asked
# it this often.
KEEPALIVE = {"tcp_keepalives_idle": 15, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}

# What may be there or not, as `found`, in a row that is there in any case.
_FOUND = "(SELECT) AS one LEFT JOIN ({}) AS found ON true"


@contextmanager
def opened(  # noqa: PLR0913  what one process opens it with
    address: database_url.Database,
    deadline: Deadline,
    make: bool = True,
    without: bool = False,
    *,
    at_once: bool = True,
    meanwhile: Iterator[None] | None = None,
) -> Iterator[Session]:
    """Connect, make or migrate the tables where needed (and wanted: `make`), and close at the end,
    within the deadline.

    `without`: tables that are missing are neither made nor missed; `is_made` tells it then. Without
    `at_once` they are looked at (and made) with the first question, which saves one. `meanwhile` is
    told in `connection.opened`.

    Raises DatabaseUnavailable; NotFound where there are no tables and none are to be made;
    DeadlineExceeded when the server does not answer in time.
    """
    what = f"the mapping database {address}"
    with connection.opened(
        address,
        deadline,
        lambda: _limits(deadline),
        what,
        CONNECT_SECONDS,
        meanwhile=meanwhile,
    ) as connected:
        session = Session(connected, address, deadline)
        if at_once:
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
        driver.cursor(connected) as cursor,
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
    """The open database of one process. `statements` counts how often the server was asked, for the
    benchmark.

    Its tables are looked at with the first question, or before it.
    """

    def __init__(self, connection: Any, address: database_url.Database, deadline: Deadline) -> None:
        self._connection = connection
        self._is_known = False
        self._location = ""
        self._is_rehearsed = False
        self.address = address
        self.deadline = deadline
        self.statements = 0

    @property
    def location(self) -> str:
        """This Engine's location; "" where there are no tables."""
        if not self._is_known:
            self.prepare()
        return self._location

    @property
    def is_made(self) -> bool:
        """Return whether the tables are there."""
        return bool(self.location)

    @property
    def lacks_tables(self) -> bool:
        """Return whether it is known that there are no tables; asks nobody."""
        return self._is_known and not self._location

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

    def relocate(self, location: str) -> None:
        """Write the location that this Engine's objects carry."""
        self.rows("UPDATE storpool_ovirt.meta SET location = %s", location)
        self._location = location

    def prepare(self, make: bool = True, without: bool = False) -> None:
        """Read this Engine's location; make or migrate the tables first where they are missing or
        old."""
        try:
            rows = self._sent(
                """
                SELECT pg_backend_pid(), version, location,
                    coalesce((to_jsonb(meta)->>'additions')::integer, 0)
                FROM (SELECT) AS one LEFT JOIN storpool_ovirt.meta ON true
                """,
                (),
                driver.NOT_MADE,
            )
        except driver.load().Error:
            version, additions = 0, 0
        else:
            version, additions = self._checked(*rows[0])
        if _is_old(version, additions) and not (version == 0 and without):
            if not make:
                raise errors.NotFound(
                    "mapping",
                    f"of version {tables.VERSION}",
                    f"in {self.address}: {_why_not_there(version, additions)}",
                )
            self._migrate()
        self._is_known = True

    def _checked(
        self, backend: int, version: int | None, location: str, additions: int
    ) -> tuple[int, int]:
        """Return the version of the tables, and how much was added to it, as they have it; keep
        this Engine's location.

        Raises DatabaseUnavailable for a server, or tables, that we must not work with.
        """
        self._check_direct(backend)
        if version is None:
            raise errors.DatabaseUnavailable(
                str(self.address), "its table storpool_ovirt.meta is empty"
            )
        self._location = location
        if version > len(tables.MIGRATIONS):
            raise errors.DatabaseUnavailable(
                str(self.address),
                f"its tables have version {version}, this program knows {len(tables.MIGRATIONS)}:"
                " upgrade it",
            )
        return version, additions

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
        hold = holds.of(name, shared=[name] if shared else ())
        return self.read_held(hold, "SELECT 1") is not None

    def lock_all(self, names: Sequence[str]) -> bool:
        """Take the locks of these names as `lock` does, in this order.

        False when another holds one of them; those before it are held then.
        """
        return self.read_held(holds.of(*names), "SELECT 1") is not None

    def try_lock(self, name: str) -> bool:
        """Take the lock of this name if nobody has it."""
        return bool(self.rows(f"SELECT pg_try_advisory_lock({holds.key('%s')})", name)[0][0])

    def unlock(self, name: str) -> None:
        """Give a lock back before the connection ends: for a program that works on many disks."""
        self.rows(f"SELECT pg_advisory_unlock({holds.key('%s')})", name)

    def unlock_all(self) -> None:
        """Give all locks back."""
        self.rows("SELECT pg_advisory_unlock_all()")

    @property
    def may(self) -> str:
        """SQL for whether the first question may do more than read: the server is the one that was
        connected to, and its tables are those that this program knows."""
        if self._is_known:
            return "true"
        return f"""(
            pg_backend_pid() = {int(self._connection.info.backend_pid)} AND EXISTS (
                SELECT FROM storpool_ovirt.meta WHERE version = {len(tables.MIGRATIONS)}
                    AND additions >= {len(tables.ADDITIONS)}
            ))"""

    def read(self, query: str, *args: object, before: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a query, whose first column is never null.

        `before` is what stands before its SELECT, with the first of the arguments; what that
        changes has to ask `may`. Raises DatabaseUnavailable.
        """
        return self._read(None, query, args, before)[1]

    def read_held(
        self, hold: Hold, query: str, *args: object, before: str = ""
    ) -> tuple[frozenset[str], list[tuple[Any, ...]]] | None:
        """Take locks and return of which disks they are, and the rows that `query` finds then, as
        `read` does; None when another holds one and does not end in time.

        All of it is one question.
        """
        try:
            return self._read(hold, query, args, before)
        except driver.load().Error:
            return None

    def _read(
        self, hold: Hold | None, query: str, args: tuple[object, ...], before: str
    ) -> tuple[frozenset[str], list[tuple[Any, ...]]]:
        # Where no disk's lock is asked for, what others hold is a table: that is no disk's matter
        busy = (driver.LOCK_NOT_AVAILABLE, driver.DEADLOCK_DETECTED) if hold is not None else ()
        old = () if self._is_known else (*driver.NOT_MADE, driver.UNDEFINED_COLUMN)
        meta = "NULL, NULL, NULL, NULL"
        found = _FOUND.format(query)
        if not self._is_known:
            meta = "pg_backend_pid(), version, location, additions"
            found = f"{found} LEFT JOIN storpool_ovirt.meta ON true"
        first = holds.taking(hold, self.may) if hold else ""
        sql = f"{first} {before} SELECT {meta}, {holds.HELD}, found.* FROM {found}"
        try:
            rows = self._sent(sql, (*(hold.args if hold else ()), *args), (*busy, *old))
        except driver.load().Error as error:
            if error.pgcode not in old:
                raise
            self.prepare()
            return self._read(hold, query, args, before)
        if not self._is_known:
            is_old = _is_old(*self._checked(*rows[0][:4]))
            self._is_known = True
            if is_old:
                self._migrate()
                return self._read(hold, query, args, before)
        held = rows[0][4] or ""
        return frozenset(held.split()), [row[5:] for row in rows if row[5] is not None]

    def rows(self, sql: str, *args: object, through: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, in a transaction of its own, and return its rows.

        Raises DatabaseUnavailable.
        """
        if not self._is_known:
            self.prepare()
        return self._sent(sql, args, through)

    def _sent(
        self, sql: str, args: tuple[object, ...], through: tuple[str, ...]
    ) -> list[tuple[Any, ...]]:
        self.statements += 1
        with (
            connection.translated(self.address, through),
            self._undone_alone(),
            driver.cursor(self._connection) as cursor,
        ):
            cursor.execute(sql, args)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _undone_alone(self) -> Iterator[None]:
        """Have what fails inside be undone by itself in a rehearsal, as it is without one: all of
        that is one transaction of the server's, which would take no other statement then."""
        if not self._is_rehearsed:
            yield
            return
        with driver.cursor(self._connection) as cursor:
            cursor.execute("SAVEPOINT rehearsed")
            try:
                yield
            except BaseException:
                with suppress(driver.load().Error):
                    cursor.execute("ROLLBACK TO rehearsed; RELEASE rehearsed")
                raise
            cursor.execute("RELEASE rehearsed")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let the statements inside take effect together, or not at all."""
        if self._is_rehearsed:  # none of them will
            with connection.translated(self.address), self._undone_alone():
                yield
            return
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
        if self._is_rehearsed:  # as they would be
            yield
            return
        self.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            with suppress(errors.Error):
                self.rows("ROLLBACK")

    @contextmanager
    def rehearsal(self) -> Iterator[Callable[[], bool]]:
        """Let the statements inside see what those before them write, and change nothing in the
        end; what is given tells whether any of them has written.

        Locks of disks are taken and given back as ever.
        """
        location = self.location
        self.rows("BEGIN")
        self._is_rehearsed = True
        try:
            yield lambda: bool(self.rows("SELECT txid_current_if_assigned() IS NOT NULL")[0][0])
        finally:
            self._is_rehearsed, self._location = False, location
            with suppress(errors.Error):
                self.rows("ROLLBACK")

    def _migrate(self, location: str = "") -> None:
        with connection.translated(self.address), driver.cursor(self._connection) as cursor:
            # One transaction under a lock: of many first verbs at once one makes the tables, the
            # others find them.
            if not self._is_rehearsed:
                cursor.execute("BEGIN")
            cursor.execute(f"SELECT pg_advisory_xact_lock({holds.key('%s')})", (tables.SCHEMA,))
            cursor.execute(
                "SELECT pg_backend_pid(), to_regclass('storpool_ovirt.meta') IS NOT NULL"
            )
            backend, is_made = cursor.fetchone()
            self._check_direct(backend)
            tables.migrate(cursor, is_made, location)
            if not self._is_rehearsed:
                cursor.execute("COMMIT")
        self._is_known = True
        [(self._location,)] = self.rows("SELECT location FROM storpool_ovirt.meta")


def _is_old(version: int, additions: int) -> bool:
    return version < len(tables.MIGRATIONS) or additions < len(tables.ADDITIONS)


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
        # What is read after a lock was got must not be older than that
        "default_transaction_isolation": r"read\ committed",
    }
