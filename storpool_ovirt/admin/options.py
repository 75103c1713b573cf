"""What the commands of `storpool-ovirt` take: their common options, and texts and numbers that can
be meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable

import click
from click import shell_completion

from storpool_ovirt import errors, names
from storpool_ovirt.admin import findings

_F = Callable[..., Any]
_Decorator = Callable[[_F], _F]

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


class Checked(Text):
    """A text that `parse` takes: what it raises InputError for is told before anything is asked."""

    def __init__(self, parse: Callable[[str], str]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return what the text means; fail as click's own types do."""
        given = super().convert(value, param, ctx)
        try:
            return self._parse(given.strip())
        except errors.InputError as error:
            self.fail(str(error), param, ctx)


# The id of something that oVirt has, or had.
UUID = Checked(lambda given: names.uuid(given, "it"))


class File(Text):
    """The name of a file; a shell completes it."""

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[shell_completion.CompletionItem]:
        """Have the shell look for files itself."""
        return [shell_completion.CompletionItem(incomplete, type="file")]


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


def parsed(parse: Callable[[str], Any], given: str, option: str) -> Any:
    """Return what the text of an option means to a function of `option_values`; raise click's own
    error where it means nothing."""
    try:
        return parse(given.strip())
    except ValueError as error:
        why, advice = error.args
        raise click.UsageError(f"{option} {why} ({names.shown(given)}): {advice}") from error


def all_of(decorators: Sequence[_Decorator]) -> _Decorator:
    """Return several options as one."""

    def decorate(function: _F) -> _F:
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate
