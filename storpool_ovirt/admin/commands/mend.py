"""`storpool-ovirt mend`."""

from __future__ import annotations

import click

from storpool_ovirt.admin import access, console, mend, policy_targets
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, OPTIONS, all_of, limit


@click.command()
@click.argument("disk", metavar="DISK")
@click.argument("global_id", metavar="[~GLOBALID]", required=False)
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    disk: str,
    global_id: str | None,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Put a disk right whose volume was reverted, restored, renamed, resized or retagged by hand.

    DISK is the name or the id of a disk, or the id of a snapshot or a preview. The object is looked
    for by the global id in the mapping, then by its name, then by its tags; ~GLOBALID tells which
    one it is where that leaves a doubt. Its tags and its name are written, and its global id and
    size in the mapping.
    """
    with access.opened(out, "mend", access.Where(database, options, limit)) as work:
        uuid = policy_targets.node(work, disk).uuid
        for line in mend.mend(work, uuid, global_id, dry_run):
            out.say(line)
        if dry_run:
            rehearsals.played(
                work, out.say, lambda rehearsed: mend.mend(rehearsed, uuid, global_id)
            )
    return 0
