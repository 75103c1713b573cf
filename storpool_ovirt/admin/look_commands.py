"""The commands of `storpool-ovirt` that only look: audit and attachments."""

from __future__ import annotations

import time

import click

from storpool_ovirt import config, errors
from storpool_ovirt.admin import console, guard
from storpool_ovirt.admin.guard import DATABASE, GRACE, JSON, LOOK_SECONDS, OPTIONS, Where


@click.command(short_help="hold mapping, cluster and hosts against each other")
@guard.all_of((DATABASE, OPTIONS, GRACE, JSON, guard.limit(LOOK_SECONDS)))
@click.pass_obj
def audit(  # noqa: PLR0913, PLR0917  what its command line takes
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
    from storpool_ovirt.admin import audit, audit_text, lost_mapping, survey

    with guard.work(out, "audit", Where(database, options, limit)) as work:
        view = survey.look(work, database is None)
        report = audit.report(view, 60 * grace, lost_mapping.findings(work, view))
    if as_json:
        out.document(audit_text.document(report))
    else:
        out.say("\n".join(audit_text.text(report)))
    return audit_text.EXIT_CODES[report.severity]


@click.command(short_help="who has what attached, open or closed, since when and why")
@guard.all_of((DATABASE, OPTIONS))
@click.option(
    "--client", metavar="ID|HOST", help="Only this client: its SP_OURID, or its host's name."
)
@click.option(
    "--disk",
    metavar="UUID",
    help="Only the disk that this is, or that this snapshot or preview is of.",
)
@guard.all_of((JSON, guard.limit(LOOK_SECONDS)))
@click.pass_obj
def attachments(  # noqa: PLR0913, PLR0917  what its command line takes
    out: console.Console,
    database: str | None,
    options: str | None,
    client: str | None,
    disk: str | None,
    as_json: bool,
    limit: float,
) -> int:
    """List who has what attached, open or closed, since when and why, as far as it can be known;
    change nothing.

    Open or closed is known only for the host that this runs on, as root.
    """
    from storpool_ovirt.admin import listing, listing_text
    from storpool_ovirt.cluster import api

    root = config.root()
    with guard.limited(limit, "the end of attachments") as deadline:
        domain = config.domain(guard.options(options), root)
        out.hide(domain.api.token.reveal())
        try:
            address = _database(out, database, root)
        except errors.ConfigError as error:  # a host has none
            known = listing.Known({}, {}, problem=str(error))
        else:
            known = listing.known(address, deadline)
        found = listing.selected(
            listing.look(api.Client(domain.api, deadline), known, root), client, disk
        )
    if as_json:
        out.document(listing_text.document(found, time.time()))
    else:
        out.say("\n".join(listing_text.text(found, time.time())))
    return 0


def _database(out: console.Console, url: str | None, root: str) -> config.Database:
    from storpool_ovirt.engine import conf

    address = config.database_option(url) if url else conf.database(root)
    out.hide(address.password.reveal())
    return address


COMMANDS = (audit, attachments)
