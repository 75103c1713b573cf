"""Where the mapping database is, as Engine, or a person, names it in one argument."""

from __future__ import annotations

from storpool_ovirt import errors, text
from storpool_ovirt.light import dataclass
from storpool_ovirt.secret import Secret


@dataclass(frozen=True)
class Database:
    """Where the mapping database is. Its `str` has no password in it."""

    host: str
    port: int
    user: str
    password: Secret
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"


def parse(url: str) -> Database:
    """Return where the database is that Engine names as
    `postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE`.

    Engine fills its template without quoting anything (oVirt's ManagedBlockExecutor), so a password
    may hold `@`, `:` and `/`: the last `@` ends it, the first `:` ends the user. Raises InputError
    without the password in its text.
    """
    scheme, _, rest = url.partition("://")
    credentials, at, location = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    server, slash, name = location.partition("/")
    host, port_colon, port_text = server.rpartition(":")
    well_formed = (
        scheme.split("+")[0] in ("postgresql", "postgres") and at and colon and slash and port_colon
    )
    port = text.port(port_text)
    readable = (
        (user + host + name).isprintable() and "\0" not in password and text.is_utf8(password)
    )
    if not (well_formed and user and host and name and port and readable):
        raise errors.InputError(
            "the database URL argument",
            "is not valid",
            "give postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE",
        )
    return Database(host.strip("[]"), port, user, Secret(password), name)


def option(url: str) -> Database:
    """Return where the database is that a person names with `--database`; raise InputError as
    `parse` does."""
    try:
        return parse(url)
    except errors.InputError:
        credentials, at, _ = url.partition("://")[2].rpartition("@")
        lacks = "has no password" if at and ":" not in credentials else "is not valid"
        raise errors.InputError(
            "--database", lacks, "give postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
