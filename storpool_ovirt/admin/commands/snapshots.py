"""`storpool-ovirt snapshots`."""

from __future__ import annotations

import time

import click

from storpool_ovirt.admin import access, console, policy_targets, snapshots, snapshots_text
from storpool_ovirt.admin.limits import LOOK_SECONDS
from storpool_ovirt.admin.options import DATABASE, JSON, OPTIONS, Text, all_of, limit
from storpool_ovirt.engine import policies


@click.command()
@all_of((DATABASE, OPTIONS))
@click.option(
    "--vm", metavar="VM", type=Text(), help="Only the snapshots of this VM, by its name or id."
)
@click.option(
    "--space",
    is_flag=True,
    help="Tell what a delete of each would free: StorPool looks at all of its snapshots for that.",
)
@all_of((JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    database: str | None,
    options: str | None,
    vm: str | None,
    space: bool,
    as_json: bool,
    limit: float,
) -> int:
    """List the snapshots that oVirt has on StorPool: which are of one moment, of which VM, and what
    is missing; change nothing.

    Snapshots of several disks that StorPool made at one moment are one group.
    """
    with access.opened(out, "snapshots", access.Where(database, options, limit)) as work:
        wanted = None if vm is None else policy_targets.id_of(work, vm, policies.VM)
        found = snapshots.look(work, space)
    if wanted is not None:
        found = snapshots.of_vm(found, wanted)
    if as_json:
        out.document(snapshots_text.document(found, time.time()))
    else:
        out.say_all(snapshots_text.text(found, time.time()))
    return 0
