"""`storpool-ovirt brake`."""

from __future__ import annotations

from collections.abc import Collection

import click

from storpool_ovirt import option_values
from storpool_ovirt.admin import access, console, policy_domains
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import LOOK_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, OPTIONS, all_of, limit
from storpool_ovirt.engine import brake, tree

LIFT = "lift"


@click.command()
@click.argument("what", metavar="show|lift", type=click.Choice(["show", LIFT]), default="show")
@all_of((DATABASE, OPTIONS, DRY_RUN))
@click.option(
    "--for",
    "duration",
    default="15m",
    show_default=True,
    metavar="TIME",
    help="How long it is lifted: a number with s, m or h; 0 puts it back now.",
)
@limit(LOOK_SECONDS)
@click.pass_obj
def command(
    out: console.Console,
    what: str,
    database: str | None,
    options: str | None,
    dry_run: bool,
    duration: str,
    limit: float,
) -> int:
    """Show the brake on deletes of disks, or lift it for a while.

    A domain refuses the delete of a disk when those of more than ten times sp_max_deletes disks
    were asked for within ten minutes. Lifted, it lets any number go. It frees itself when fewer are
    asked for. Without --options all domains of Engine's database are meant.
    """
    parse = option_values.duration(brake.LIFT_DAYS_MAX)
    seconds: int = option_values.parsed(parse, duration, "--for")
    with access.opened(out, "brake", access.Where(database, options, limit)) as work:
        session = work.mapping.session
        # What storpool.conf says is no domain: that has a template, and may have a pinned cluster
        named = brake.EVERY if options is None else brake.key(work.domain)
        if what == LIFT and dry_run:
            rehearsals.played(
                work,
                out.say,
                lambda rehearsed: brake.lift(rehearsed.mapping.session, named, seconds),
            )
        elif what == LIFT:
            brake.lift(session, named, seconds)
            work.log.line("brake_lifted", domain=named, seconds=seconds)
        is_one = options is not None
        out.say_all(brake.said(brake.state(session, work.domain)) if is_one else _of_all(work))
    return 0


def _of_all(work: tree.Work) -> list[str]:
    """Return the lines that tell how it is with all domains."""
    asked, lifted_seconds = brake.everywhere(work.mapping.session)
    known = _of_engine(work, {key for key, _ in asked}) if asked else {}
    return brake.said_of_all(asked, lifted_seconds, known)


def _of_engine(work: tree.Work, keys: Collection[str]) -> dict[str, list[str]]:
    """Return the lines of those of these domains that Engine has, which tell whether it holds."""
    domains, found = policy_domains.look(work), dict[str, list[str]]()
    for each in domains.known:
        key = each.domain.key
        if key in keys and key not in found:
            first, *more = brake.said(brake.state(work.mapping.session, each.domain))
            found[key] = [f"{domains.called(key)}: {first}", *(f"  {line}" for line in more)]
    return found
