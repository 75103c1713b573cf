"""`storpool-ovirt reconcile`."""

from __future__ import annotations

import click

from storpool_ovirt import errors
from storpool_ovirt.admin import access, audit, audit_text, console, reconcile, survey, twins
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, GRACE, OPTIONS, all_of, limit
from storpool_ovirt.engine import tree


@click.command()
@all_of((DATABASE, OPTIONS, GRACE, DRY_RUN))
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
@limit(MEND_SECONDS)
@click.pass_obj
def command(
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
    grace_seconds = 60 * grace
    with access.opened(out, "reconcile", access.Where(database, options, limit)) as work:
        view = survey.look(work, database is None)
        if not dry_run:
            twins.check_holder(view)
        if not (remove or keep or detach):
            return _reconcile(out, work, audit.report(view, grace_seconds), dry_run)
        for target in remove:
            out.say(reconcile.remove(work, target, grace_seconds, dry_run))
        for uuid in keep:
            out.say(reconcile.keep(work, uuid, dry_run))
        for uuid in detach:
            out.say(reconcile.detach(work, uuid, dry_run))
    return 0


def _reconcile(out: console.Console, work: tree.Work, report: audit.Report, dry_run: bool) -> int:
    """Mend what the audit is sure of; return 1 when something could not be mended."""
    if not dry_run:
        reconcile.note_visible_ids(work, report.view)
    todo = reconcile.plan(report)
    failed = 0
    for finding in todo:
        out.say(audit_text.step(finding))
        if finding.action is None or dry_run:
            continue
        try:
            done = reconcile.carry_out(work, finding.action, report.grace_seconds)
        except (errors.NotDelivered, errors.DeadlineExceeded, errors.Interrupted):
            raise
        except errors.Error as error:
            failed += 1
            out.say(f"  not done: {error}")
        else:
            out.say(f"  done: {done}")
    for line in audit_text.reconciled(report, len(todo), failed, dry_run):
        out.say(line)
    return 1 if failed else 0
