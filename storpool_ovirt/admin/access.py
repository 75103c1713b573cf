"""The cluster and the database that an administrator means, with the secrets of both hidden."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_ovirt import config, errors, option_values, rights, storpool_conf, text
from storpool_ovirt.admin import console, limits
from storpool_ovirt.engine import conf, database_url, stored_options

if TYPE_CHECKING:
    from storpool_ovirt.engine import tree

EXAMPLE = '{"sp_api_http_host": "10.1.2.3", "sp_auth_token_file": "/etc/storpool.token"}'


class Where(NamedTuple):
    """Where the administrator says that things are, and for how long they may be waited for.

    `by_options`: what is done goes by options of the storage domain, so it is told where they are
    not known.
    """

    database: str | None
    options: str | None
    limit_seconds: float
    by_options: bool = False


@contextmanager
def opened(
    out: console.Console, verb: str, where: Where, make: bool = False, without: bool = False
) -> Iterator[tree.Work]:
    """Give what the verbs of disks work with, for the cluster and the database that are meant.

    `make`: old tables are brought up to date; `without`: there need not be any.
    """
    # fence-host does without these.
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import connection, journal, mapping, tree

    connection.check_driver()
    root = config.root()
    with limits.limited(where.limit_seconds, f"the end of {verb}") as deadline:
        meant, unread = known_domain(out, where.options, root)
        address = database(out, where.database, root)
        out.log.correlation_id = f"{verb}-{os.getpid()}"
        caller = journal.Caller(out.log.correlation_id, verb)
        with mapping.opened(address, deadline, caller, make=make, without=without) as mapped:
            settings = meant.api.preferring(option_values.BINDING)
            client = api.Client(settings, deadline, limits=out.limits)
            if unread and where.by_options:
                out.progress(
                    "the storage domain's own options cannot be read in Engine's database"
                    f" ({unread}): what {storpool_conf.FILE} says counts"
                )
            is_told = where.options is not None
            yield tree.Work(meant, client, mapped, out.log, root, is_told=is_told)


def known_domain(out: console.Console, path: str | None, root: str) -> stored_options.Meant:
    """Return the storage domain of a file of driver options, or that of Engine's own database where
    that can be read, else what storpool.conf says; raise what `domain` does."""
    return _read(out, path, root, lambda: stored_options.meant(root, out.hide))


def domain(out: console.Console, path: str | None, root: str) -> config.Domain:
    """Return the storage domain of a file of driver options, of storpool.conf, or of Engine's own
    database, which is asked only where the others do not tell the API; raise ConfigError, and for
    the last of them its errors too."""

    def told() -> stored_options.Meant:
        return stored_options.Meant(stored_options.domain(root, out.hide))

    return _read(out, path, root, told).domain


def _read(
    out: console.Console, path: str | None, root: str, told: Callable[[], stored_options.Meant]
) -> stored_options.Meant:
    """Return the domain of a file, or without one what is told."""
    options = driver_options(path)
    try:
        given = path is not None
        found = stored_options.Meant(config.domain(options, root)) if given else told()
    except errors.ConfigError as error:
        if path is not None or error.why != "is missing":
            raise
        advice = f"give --options FILE with the domain's driver options, like {EXAMPLE}"
        where = f"{error.what}, which {storpool_conf.FILE} does not tell,"
        raise errors.ConfigError(where, "is missing", advice) from error
    out.hide(found.domain.api.token.reveal())
    return found


def database(out: console.Console, url: str | None, root: str) -> database_url.Database:
    """Return where the mapping database is: what was typed, or what Engine's own file says; raise
    ConfigError."""
    address = database_url.option(url) if url else conf.database(root)
    out.hide(address.password.reveal())
    return address


def driver_options(path: str | None) -> dict[str, object]:
    """Return the driver options of a file; raise ConfigError when there is no such file, or no
    options in it."""
    if path is None:
        return {}
    where = f"the file {path} (--options)"
    try:
        content = rights.read(path)
    except OSError as error:
        raise errors.ConfigError(
            where, f"cannot be read ({error.strerror})", "check --options"
        ) from error
    return config.parse_driver_json(
        text.decoded(content, where, may_have_mark=True), where, EXAMPLE
    )
