"""`storpool-ovirt snapshots`."""

from __future__ import annotations

import time

import click

from storpool_ovirt.admin import access, console, snapshots, snapshots_text
from storpool_ovirt.admin.limits import LOOK_SECONDS
from storpool_ovirt.admin.options import DATABASE, JSON, OPTIONS, all_of, limit


@click.command()
@all_of((DATABASE, OPTIONS))
@click.option("--vm", metavar="UUID", help="Only the snapshots of this VM, by oVirt's id of it.")
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
    wanted = snapshots_text.vm_id(vm) if vm is not None else None
    with access.opened(out, "snapshots", access.Where(database, options, limit)) as work:
        found = snapshots.look(work, space)
    if wanted is not None:
        found = snapshots.of_vm(found, wanted)
    if as_json:
        out.document(snapshots_text.document(found, time.time()))
    else:
        out.say_all(snapshots_text.text(found, time.time()))
    return 0
