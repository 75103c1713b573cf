"""`storpool-ovirt reconcile`."""

from __future__ import annotations

from typing import Callable

import click

from storpool_ovirt import errors, names
from storpool_ovirt.admin import (
    access,
    audit,
    audit_text,
    console,
    findings,
    reconcile,
    survey,
    twins,
)
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import (
    DATABASE,
    DRY_RUN,
    GRACE,
    OPTIONS,
    UUID,
    Checked,
    all_of,
    limit,
)
from storpool_ovirt.engine import tree

# A step that an administrator names: what it is about, and whether it is only told.
_Act = Callable[[tree.Work, str, bool], str]


def _removable(given: str) -> str:
    return given if given.startswith("~") else names.uuid(given, "it")


@click.command()
@all_of((DATABASE, OPTIONS, GRACE, DRY_RUN))
@click.option(
    "--remove",
    multiple=True,
    type=Checked(_removable),
    metavar="ID",
    help=(
        "Delete the unmapped object ~GLOBALID or the left-over"
        " UUID, or forget the row UUID whose object is gone."
    ),
)
@click.option(
    "--keep",
    multiple=True,
    type=UUID,
    metavar="UUID",
    help="Close the entry of this object: oVirt lists it.",
)
@click.option(
    "--detach",
    multiple=True,
    type=UUID,
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
    where = access.Where(database, options, limit, by_options=True)
    with access.opened(out, "reconcile", where) as work:
        view = survey.look(work, database is None)
        alone = rehearsals.allowed(dry_run, out.say, lambda: twins.check_holder(view))
        if not (remove or keep or detach):
            failed = _reconcile(out, work, audit.report(view, grace_seconds), dry_run)
            return failed if alone else 1
        named: list[tuple[tuple[str, ...], _Act]] = [
            (remove, _removed(grace_seconds)),
            (keep, reconcile.keep),
            (detach, reconcile.detach),
        ]
        for targets, act in named:
            for target in targets:
                out.say(act(work, target, dry_run))
                if dry_run:
                    _rehearse(out, work, act, target)
    return int(not alone)


def _removed(grace_seconds: float) -> _Act:
    return lambda work, target, dry_run: reconcile.remove(work, target, grace_seconds, dry_run)


def _rehearse(out: console.Console, work: tree.Work, act: _Act, target: str) -> None:
    rehearsals.played(work, out.say, lambda rehearsed: act(rehearsed, target, False))


def _reconcile(out: console.Console, work: tree.Work, report: audit.Report, dry_run: bool) -> int:
    """Mend what the audit is sure of; return 1 when something could not be mended."""
    gone = reconcile.over(report)
    if not dry_run:
        reconcile.note_visible_ids(work, report.view)
        reconcile.forget(work, gone)
    if gone:
        out.say(audit_text.over(len(gone), dry_run))
    todo = reconcile.plan(report)
    failed = 0
    for finding in todo:
        out.say(audit_text.step(finding))
        if finding.action is None:
            continue
        try:
            _step(out, work, finding.action, report.grace_seconds, dry_run)
        except (errors.NotDelivered, errors.DeadlineExceeded, errors.Interrupted):
            raise
        except errors.Error as error:
            failed += 1
            out.say(rehearsals.refusal(error) if dry_run else f"  not done: {error}")
    for line in audit_text.reconciled(report, len(todo), failed, dry_run):
        out.say(line)
    return 1 if failed else 0


def _step(
    out: console.Console,
    work: tree.Work,
    action: findings.Action,
    grace_seconds: float,
    dry_run: bool,
) -> None:
    """Carry out one step and say what was done, or rehearse it."""

    def act(tried: tree.Work) -> str:
        return reconcile.carry_out(tried, action, grace_seconds)

    if dry_run:
        rehearsals.played(work, out.say, act)
    else:
        out.say(f"  done: {act(work)}")
