"""`storpool-ovirt doctor`: what it finds comes from the checks, this tells it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from storpool_ovirt import config
from storpool_ovirt.admin import console, limits
from storpool_ovirt.admin.options import DRY_RUN, JSON, all_of, limit
from storpool_ovirt.doctor import checks, look, mending, page, places, report, result_file

_FIX = click.option(
    "--fix", is_flag=True, help="Do what mends it, where that is safe, and look again."
)
_HTML = click.option("--html", metavar="FILE", help="Write a page to send to support.")
_WRITE = click.option(
    "--write",
    metavar="FILE",
    multiple=True,
    help="Write the result for monitoring: JSON, or metrics for node_exporter where the name ends"
    " in .prom.",
)
# Monitoring reads the one as whatever user it is; the other goes to support, by a person.
_MODE, _PAGES_MODE = 0o644, 0o640


@click.command()
@click.argument("place", type=click.Choice([checks.ENGINE, checks.HOST]), required=False)
@all_of((_FIX, DRY_RUN, JSON, _HTML, _WRITE, limit(limits.DOCTOR_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    place: str | None,
    fix: bool,
    dry_run: bool,
    as_json: bool,
    html: str | None,
    write: tuple[str, ...],
    limit: float,
) -> int:
    """Tell what is wrong with this machine, and what mends it. It is Engine's machine or a host;
    say which, or it is found out.

    Run it as root. It changes nothing without --fix, and restarts neither Engine nor vdsmd. The
    exit code is 0 when all is well, 1 for a warning, 2 for something critical, 3 when something
    could not be looked at and nothing worse was found.
    """
    root = config.root()
    if dry_run and not fix:
        raise click.UsageError("--dry-run tells what --fix would do: give both")
    for each in (*write, *filter(None, [html])):
        result_file.check(each)
    here = (place,) if place else places.found(root)
    with limits.limited(2 * limit + limits.FIX_SECONDS, "the end of doctor"):
        seen = look.at(here, root, limit)
        mended = _mended(out, seen, root, dry_run) if fix else None
        if mended and not dry_run:
            seen = look.at(here, root, limit)
    facts = out.masked(report.document(seen, mended))
    _write(facts, write, html)
    if as_json:
        out.document(facts)
    else:
        out.say("\n".join(report.text(facts, by_root=os.geteuid() == 0)))
        for each in filter(None, [html]):
            out.say(f"page: {os.path.abspath(each)}")
    return report.EXIT_CODES[facts["result"]]


def _mended(
    out: console.Console, seen: report.Look, root: str, dry_run: bool
) -> Sequence[mending.Step]:
    """Return the steps that mend what was found, done, with a line in the log for each; or only
    planned."""
    if dry_run:
        return [*mending.planned(seen.findings)]
    out.log.correlation_id = f"doctor-{os.getpid()}"
    done = []
    for each in mending.done(seen.findings, root):
        out.log.line(
            "doctor_step", check=each.id, what=each.what, state=each.state, outcome=each.outcome
        )
        done.append(each)
    return done


def _write(facts: dict[str, Any], files: Sequence[str], html: str | None) -> None:
    for each in files:
        lines = report.prometheus(facts) if each.endswith(".prom") else [report.as_json(facts)]
        result_file.write(each, "\n".join([*lines, ""]), _MODE)
    if html:
        result_file.write(html, page.html_of(facts), _PAGES_MODE)
