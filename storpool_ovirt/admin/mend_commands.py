"""The commands of `storpool-ovirt` that put the mapping and the cluster right: reconcile, mend,
rebuild and claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from storpool_ovirt import errors
from storpool_ovirt.admin import console, guard
from storpool_ovirt.admin.guard import DATABASE, DRY_RUN, GRACE, MEND_SECONDS, OPTIONS, Where

if TYPE_CHECKING:
    from storpool_ovirt.admin import survey
    from storpool_ovirt.engine import tree


@click.command(short_help="mend what the audit is sure of, or what is named")
@guard.all_of((DATABASE, OPTIONS, GRACE, DRY_RUN))
@click.option(
    "--remove",
    multiple=True,
    metavar="ID",
    help=(
        "Delete the unmapped object ~GLOBALID or the left-over"
        " UUID, or forget the row UUID whose object is gone."
    ),
)
@click.option(
    "--keep", multiple=True, metavar="UUID", help="Close the entry of this object: oVirt lists it."
)
@click.option(
    "--detach",
    multiple=True,
    metavar="UUID",
    help="Detach this object from every host where it is closed.",
)
@guard.limit(MEND_SECONDS)
@click.pass_obj
def reconcile(  # noqa: PLR0913, PLR0917  what its command line takes
    out: console.Console,
    database: str | None,
    options: str | None,
    grace: float,
    dry_run: bool,
    remove: tuple[str, ...],
    keep: tuple[str, ...],
    detach: tuple[str, ...],
    limit: float,
) -> int:
    """Mend what the audit is sure of, or just what is named; every precondition is read again
    before each step.

    It deletes only objects with this Engine's location tag that are past the grace period, and
    forces nothing.
    """
    from storpool_ovirt.admin import survey, twins

    with guard.work(out, "reconcile", Where(database, options, limit)) as work:
        view = survey.look(work, database is None)
        if not dry_run:
            twins.check_holder(view)
        if remove or keep or detach:
            return _named_steps(
                out, work, {"remove": remove, "keep": keep, "detach": detach}, 60 * grace, dry_run
            )
        return _reconcile(out, work, view, 60 * grace, dry_run)


@click.command(short_help="make a disk and its object agree after a change by hand")
@click.argument("disk", metavar="DISK")
@click.argument("global_id", metavar="[~GLOBALID]", required=False)
@guard.all_of((DATABASE, OPTIONS, DRY_RUN, guard.limit(MEND_SECONDS)))
@click.pass_obj
def mend(  # noqa: PLR0913, PLR0917  what its command line takes
    out: console.Console,
    disk: str,
    global_id: str | None,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Put a disk right whose volume was reverted, restored, renamed, resized or retagged by hand.

    DISK is the id of a disk, a snapshot or a preview. The object is looked for by the global id in
    the mapping, then by its name, then by its tags; ~GLOBALID tells which one it is where that
    leaves a doubt. Its tags and its name are written, and its global id and size in the mapping.
    """
    from storpool_ovirt.admin import mend

    with guard.work(out, "mend", Where(database, options, limit)) as work:
        for line in mend.mend(work, disk, global_id, dry_run):
            out.say(line)
    return 0


@click.command(short_help="make a lost mapping again from the tags")
@guard.all_of((DATABASE, OPTIONS, DRY_RUN))
@click.option(
    "--location", metavar="LOCATION", help="The location of the lost database, as the tags have it."
)
@click.option(
    "--even-if-it-lives",
    "told",
    metavar="LOCATION",
    help="Repeat the location: take it over although its Engine seems to live.",
)
@guard.limit(MEND_SECONDS)
@click.pass_obj
def rebuild(  # noqa: PLR0913, PLR0917  what its command line takes
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
    from storpool_ovirt.admin import audit_text, rebuild, survey, twins

    where = Where(database, options, limit)
    with guard.work(out, "rebuild", where, make=not dry_run, without=True) as work:
        view = survey.look(work, database is None)
        plan = rebuild.plan(view, location)
        why = twins.signs(work, view, plan.location) if plan.location != view.location else []
        if not dry_run:
            twins.check_holder(view)
            twins.check_dead(plan.location, why, told)
        for line in audit_text.rebuilding(plan):
            out.say(line)
        for line in why:
            out.say(f"a sign that location {plan.location} lives: {line}")
        if not dry_run:
            work.mapping.make(plan.location)  # now that it is certain whose disks are to be in them
            out.say(
                f"{rebuild.carry_out(work, plan, out.say)} rows written: now run storpool-ovirt"
                " audit"
            )
    return 0


@click.command(short_help="say that this Engine is the one that has the disks")
@guard.all_of((DATABASE, OPTIONS, DRY_RUN, guard.limit(MEND_SECONDS)))
@click.pass_obj
def claim(
    out: console.Console, database: str | None, options: str | None, dry_run: bool, limit: float
) -> int:
    """Say in StorPool that this Engine, on this machine, is the one that has the disks of its
    location.

    For after a restore: when another Engine of the same location was stopped for good, or this one
    was the copy.
    """
    from storpool_ovirt.engine import claims

    with guard.work(out, "claim", Where(database, options, limit)) as work:
        location = work.mapping.location
        was = claims.read(work.client, location) if dry_run else claims.take(work)
        own = claims.this(work)
        out.say(f"location {location} was that of {was.engine if was is not None else 'no Engine'}")
        out.say(f"it {'would be' if dry_run else 'is'} that of {own} now")
    return 0


def _reconcile(
    out: console.Console, work: tree.Work, view: survey.View, grace_seconds: float, dry_run: bool
) -> int:
    from storpool_ovirt.admin import audit, audit_text, findings, reconcile

    report = audit.report(view, grace_seconds)
    todo = reconcile.plan(report)
    failed = 0
    for finding in todo:
        out.say(audit_text.step(finding))
        if finding.action is None or dry_run:
            continue
        try:
            out.say(f"  done: {reconcile.carry_out(work, finding.action, grace_seconds)}")
        except (errors.NotDelivered, errors.DeadlineExceeded, errors.Interrupted):
            raise
        except errors.Error as error:
            failed += 1
            out.say(f"  not done: {error}")
    others = len(report.findings) - len(todo)
    waiting = sum(
        each.action is not None and not findings.is_old(each, grace_seconds)
        for each in report.findings
    )
    if waiting:
        out.say(f"{waiting} younger than the grace period of {audit_text.span(grace_seconds)} wait")
    done = "would be mended" if dry_run else f"mended, {failed} not"
    out.say(
        f"{len(todo) - failed} {done}; {others} for you to look at: storpool-ovirt audit"
        if others
        else f"{len(todo) - failed} {done}"
    )
    return 1 if failed else 0


def _named_steps(
    out: console.Console,
    work: tree.Work,
    targets: Mapping[str, Sequence[str]],
    grace_seconds: float,
    dry_run: bool,
) -> int:
    from storpool_ovirt.admin import reconcile

    for target in targets["remove"]:
        out.say(reconcile.remove(work, target, grace_seconds, dry_run))
    for uuid in targets["keep"]:
        out.say(reconcile.keep(work, uuid, dry_run))
    for uuid in targets["detach"]:
        out.say(reconcile.detach(work, uuid, dry_run))
    return 0


COMMANDS = (reconcile, mend, rebuild, claim)
