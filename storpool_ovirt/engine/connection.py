"""Connections to PostgreSQL: within a deadline, whatever server and resolver do.

The driver is loaded by whoever connects: a host may not have it, and help needs none.
"""

from __future__ import annotations

import select

from storpool_ovirt import errors, text
from storpool_ovirt.cluster import wire
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, driver
from storpool_ovirt.light import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Callable

    Settings = Callable[[], Mapping[str, object]]

# Why a pooler is refused, whose refusals are told as this too.
POOLER = (
    "a connection pooler such as PgBouncer is in between, and through it the locks that keep two"
    " verbs off one disk may hold nothing: give Engine the address of PostgreSQL itself"
)
# How PgBouncer refuses what it cannot do for a connection, before it can be known by its number.
_POOLER_REFUSALS = ("unsupported startup parameter", "statement pooling mode")


def check_driver() -> None:
    """Raise ImportError where there is nothing to connect with."""
    driver.load()


@contextmanager
def opened(  # noqa: PLR0913  what one process opens it with
    address: database_url.Database,
    deadline: Deadline,
    settings: Settings,
    what: str,
    seconds: float | None = None,
    *,
    meanwhile: Iterator[None] | None = None,
) -> Iterator[Any]:
    """Connect, and close at the end; each statement is a transaction of its own.

    `settings` are asked for when the server's address is known, `what` is waited for in the words
    of an error, `seconds` limits the connecting alone. A step of `meanwhile` is made each time that
    the server works. One may be opened inside another one.

    Raises DatabaseUnavailable; DeadlineExceeded when the server does not answer in time.
    """
    psycopg = driver.load()
    # With a wait callback psycopg2 never blocks inside libpq, so a server that hangs cannot outlast
    # our deadline.
    waiting = _Wait(deadline if seconds is None else deadline.within(seconds), what, meanwhile)
    before = psycopg.get_wait_callback()
    psycopg.set_wait_callback(waiting)
    try:
        host, addresses = _location(address, waiting.deadline, what)
        with translated(address):
            connection = driver.connected(
                host=host,
                hostaddr=addresses,
                port=address.port,
                user=address.user,
                password=address.password.reveal(),
                dbname=address.name,
                application_name="storpool-ovirt",
                # Whatever the environment, or the server's settings for a role, say
                client_encoding="UTF8",
                options=" ".join(f"-c {name}={value}" for name, value in settings().items()),
            )
        waiting.deadline = deadline
        try:
            connection.autocommit = True
            yield connection
        finally:
            connection.close()
    finally:
        psycopg.set_wait_callback(before)


@contextmanager
def translated(address: database_url.Database, through: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn the driver's errors into ours; those of the SQLSTATEs `through` pass."""
    try:
        yield
    except driver.load().Error as error:
        if error.pgcode in through:
            raise
        reason = next(
            (line for line in text.lines(str(error)) if line.strip()), error.__class__.__name__
        )
        if any(each in reason for each in _POOLER_REFUSALS):
            reason = POOLER
        raise errors.DatabaseUnavailable(str(address), reason) from error
    except UnicodeDecodeError as error:
        # Before the encoding of a connection is agreed on, a server speaks in that of its own
        # messages.
        said = error.object.decode("latin-1") if isinstance(error.object, bytes) else str(error)
        reason = next(
            (line for line in text.lines(said) if line.strip()), "it spoke in an unknown encoding"
        )
        raise errors.DatabaseUnavailable(str(address), reason) from error
    except (LookupError, ValueError, RecursionError) as error:
        # What the driver raises for an encoding that Python does not have, for text that no server
        # can hold, and for JSON that Python does not read.
        raise errors.DatabaseUnavailable(
            str(address), f"text could not be passed on: {error}"
        ) from error


class _Wait:
    """Waits for the server while libpq works, never longer than the deadline
    (`psycopg2.extras.wait_select`)."""

    def __init__(
        self, deadline: Deadline, what: str, meanwhile: Iterator[None] | None = None
    ) -> None:
        self.deadline = deadline
        self._what = what
        self._meanwhile = meanwhile

    def __call__(self, connection: Any) -> None:
        while True:
            state = connection.poll()
            if state == driver.OK:
                return
            if state == driver.READ and self._meanwhile is not None:
                self._load_more(self._meanwhile)
            events = select.POLLIN if state == driver.READ else select.POLLOUT
            waiting = select.poll()  # `select` takes no file from the 1,024th on
            waiting.register(connection.fileno(), events)
            waiting.poll(1000 * self.deadline.left(self._what))

    def _load_more(self, meanwhile: Iterator[None]) -> None:
        """Make a step; a file of ours that Python cannot read would be told as the database's
        trouble here, so whoever needs it first tells it."""
        try:
            next(meanwhile, None)
        except (LookupError, ValueError, RecursionError):
            self._meanwhile = None


def _location(
    address: database_url.Database, deadline: Deadline, what: str
) -> tuple[str, str | None]:
    """Return libpq's `host` and `hostaddr`, lists of one length.

    libpq alone would ask the system's resolver, which no limit and no signal breaks off. Of
    several names, or addresses of one, it tries each. Raises DatabaseUnavailable for a name that
    cannot be resolved in time.
    """
    if address.host.startswith(("/", "@")):  # a socket's folder
        return address.host, None
    hosts, addresses = [], []
    for name in address.host.split(","):
        try:
            found = wire.resolved(name, address.port, deadline.left(what))
        except wire.UnknownName as error:
            raise errors.DatabaseUnavailable(
                str(address), f"the name {name} cannot be resolved: {error}"
            ) from error
        hosts += [name] * len(found)
        addresses += [str(place[0]) for _, place in found]
    return ",".join(hosts), ",".join(addresses)
