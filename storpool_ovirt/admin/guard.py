"""What the commands of `storpool-ovirt` have in common: their options, their limit, and what they
work with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import click

from storpool_ovirt import config, errors, rights, text
from storpool_ovirt.admin import console, findings
from storpool_ovirt.deadline import Deadline, enforced

if TYPE_CHECKING:
    from storpool_ovirt.engine import tree

_F = Callable[..., Any]
_Decorator = Callable[[_F], _F]

# What a look at a large cluster takes, and the repair of a bad day, with room to spare.
LOOK_SECONDS = 100.0
MEND_SECONDS = 600.0
# What blocks beyond the limit is broken off so much later: who waits for a reply gets to say which.
LAST_SECONDS = 5.0
GRACE_MAX_MINUTES = 365 * 24 * 60


class Number(click.FloatRange):
    """A number within limits.

    `nan` is within none: each comparison with it is false, also those that forbid.
    """

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fail as click's own types do."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no number that can be meant.", param, ctx)
        return number


class Text(click.types.StringParamType):
    """A text with something in it: an empty one is a variable of a script that was never set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; fail as click's own types do."""
        given: str = super().convert(value, param, ctx)
        if not given.strip():
            self.fail("it is empty: give a value, or leave it out", param, ctx)
        return given


class Where(NamedTuple):
    """Where the administrator says that things are, and for how long they may be waited for."""

    database: str | None
    options: str | None
    limit_seconds: float


EXAMPLE = '{"sp_api_http_host": "10.1.2.3", "sp_auth_token_file": "/etc/storpool.token"}'
DATABASE = click.option(
    "--database",
    metavar="URL",
    help=(
        "The mapping database, if this is not Engine's machine:"
        " postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    ),
)
OPTIONS = click.option(
    "--options",
    metavar="FILE",
    help=(
        "The storage domain's driver options as a JSON object, where"
        " /etc/storpool.conf does not tell all of them."
    ),
)
GRACE = click.option(
    "--grace",
    type=Number(min=0, max=GRACE_MAX_MINUTES),
    default=findings.GRACE_SECONDS / 60,
    show_default=True,
    metavar="MINUTES",
    help="What is younger may still be under way, and is left alone.",
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


def limit(seconds: float) -> _Decorator:
    """Return the option with which a command's time is limited; `seconds` is what it has
    without."""
    return click.option(
        "--limit",
        type=Number(min=1, max=86400),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="Give up after this time.",
    )


def all_of(decorators: Sequence[_Decorator]) -> _Decorator:
    """Return several options as one."""

    def decorate(function: _F) -> _F:
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate


@contextmanager
def limited(seconds: float, what: str) -> Iterator[Deadline]:
    """Give the limit of one command, and break it off when something blocks beyond that."""
    deadline = Deadline(seconds)
    with enforced(deadline, what, LAST_SECONDS):
        yield deadline


@contextmanager
def work(
    out: console.Console, verb: str, where: Where, make: bool = False, without: bool = False
) -> Iterator[tree.Work]:
    """Give what the verbs of disks work with, for the cluster and the database that an
    administrator means.

    `make`: old tables are brought up to date; `without`: there need not be any.
    """
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import conf, journal, mapping, tree

    root = config.root()
    with limited(where.limit_seconds, f"the end of {verb}") as deadline:
        domain = config.domain(options(where.options), root)
        out.hide(domain.api.token.reveal())
        address = config.database_option(where.database) if where.database else conf.database(root)
        out.hide(address.password.reveal())
        out.log.correlation_id = f"{verb}-{os.getpid()}"
        caller = journal.Caller(out.log.correlation_id, verb)
        with mapping.opened(address, deadline, caller, make=make, without=without) as opened:
            yield tree.Work(domain, api.Client(domain.api, deadline), opened, out.log, root)


def options(path: str | None) -> dict[str, object]:
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
