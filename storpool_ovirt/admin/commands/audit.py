"""`storpool-ovirt audit`."""

from __future__ import annotations

import click

from storpool_ovirt.admin import (
    access,
    audit,
    audit_text,
    backup_findings,
    console,
    lost_mapping,
    policy_findings,
    survey,
)
from storpool_ovirt.admin.limits import LOOK_SECONDS
from storpool_ovirt.admin.options import DATABASE, GRACE, JSON, OPTIONS, all_of, limit


@click.command()
@all_of((DATABASE, OPTIONS, GRACE, JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    database: str | None,
    options: str | None,
    grace: float,
    as_json: bool,
    limit: float,
) -> int:
    """Hold the mapping, the cluster and the hosts against each other, and change nothing.

    The exit code is 0 when they agree, 1 for a warning, 2 for something critical, 3 when it could
    not look.
    """
    with access.opened(out, "audit", access.Where(database, options, limit)) as work:
        view = survey.look(work, database is None)
        more = [
            *lost_mapping.findings(work, view),
            *backup_findings.look(work),
            *backup_findings.of_locations(work, out.hide, database is None),
            *policy_findings.look(work, view),
        ]
        report = audit.report(view, 60 * grace, more)
    if as_json:
        out.document(audit_text.document(report))
    else:
        out.say_all(audit_text.text(report))
    return audit_text.EXIT_CODES[report.severity]
