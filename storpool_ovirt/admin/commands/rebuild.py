"""`storpool-ovirt rebuild`."""

from __future__ import annotations

import click

from storpool_ovirt import sentences
from storpool_ovirt.admin import access, audit_text, console, moment_rows, rebuild, survey, twins
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, OPTIONS, all_of, limit
from storpool_ovirt.engine import tree


@click.command()
@all_of((DATABASE, OPTIONS, DRY_RUN))
@click.option(
    "--location", metavar="LOCATION", help="The location of the lost database, as the tags have it."
)
@click.option(
    "--even-if-it-lives",
    "told",
    metavar="LOCATION",
    help="Repeat the location: take it over although its Engine seems to live.",
)
@limit(MEND_SECONDS)
@click.pass_obj
def command(
    out: console.Console,
    database: str | None,
    options: str | None,
    dry_run: bool,
    location: str | None,
    told: str | None,
    limit: float,
) -> int:
    """Make the mapping again from the tags, when the database was lost or restored from an older
    backup."""
    where = access.Where(database, options, limit)
    with access.opened(out, "rebuild", where, make=not dry_run, without=True) as work:
        view = survey.look(work, database is None)
        plan = rebuild.plan(view, location)
        why = twins.signs(work, view, plan.location) if plan.location != view.location else []

        def check() -> None:
            twins.check_holder(view)
            twins.check_dead(plan.location, why, told)

        rehearsals.allowed(dry_run, out.say, check)
        for line in audit_text.rebuilding(plan):
            out.say(line)
        for line in moment_rows.told(work, plan.moments, database is None):
            out.say(line)
        for line in why:
            out.say(f"a sign that location {plan.location} lives: {line}")
        if dry_run:

            def rehearse(rehearsed: tree.Work) -> None:
                rehearsed.mapping.make(plan.location)
                rebuild.carry_out(rehearsed, plan)

            rehearsals.played(work, out.say, rehearse)
        else:
            work.mapping.make(plan.location)  # now that it is certain whose disks are to be in them
            written = sentences.counted(rebuild.carry_out(work, plan, out.say), "row")
            out.say(f"{written} written: now run storpool-ovirt audit")
    return 0
