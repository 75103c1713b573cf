"""`storpool-ovirt claim`."""

from __future__ import annotations

import click

from storpool_ovirt.admin import access, console
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, OPTIONS, all_of, limit
from storpool_ovirt.engine import claims


@click.command()
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def command(
    out: console.Console, database: str | None, options: str | None, dry_run: bool, limit: float
) -> int:
    """Say in StorPool that this Engine, on this machine, is the one that has the disks of its
    location.

    For after a restore: when another Engine of the same location was stopped for good, or this one
    was the copy.
    """
    with access.opened(out, "claim", access.Where(database, options, limit)) as work:
        location = work.mapping.location
        was = claims.read(work.client, location) if dry_run else claims.take(work)
        own = claims.this(work)
        out.say(f"location {location} was that of {was.engine if was is not None else 'no Engine'}")
        out.say(f"it {'would be' if dry_run else 'is'} that of {own} now")
        if dry_run:
            rehearsals.played(work, out.say, claims.take)
    return 0
