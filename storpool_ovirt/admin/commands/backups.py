"""`storpool-ovirt backups`."""

from __future__ import annotations

import click

from storpool_ovirt.admin import access, console, vm_backups
from storpool_ovirt.admin.limits import LOOK_SECONDS
from storpool_ovirt.admin.options import DATABASE, JSON, OPTIONS, Text, all_of, limit


@click.command()
@click.argument("vm", metavar="VM", type=Text())
@all_of((DATABASE, OPTIONS, JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    vm: str,
    database: str | None,
    options: str | None,
    as_json: bool,
    limit: float,
) -> int:
    """List the backups of a VM in this cluster: snapshots that VolumeCare, or others, have made of
    its disks, by moment; change nothing.

    VM is oVirt's id, or its name where Engine's database can be read. What is given back is all of
    a moment: storpool-ovirt restore VM --at TIME. docs/restore.md tells more.
    """
    with access.opened(out, "backups", access.Where(database, options, limit)) as work:
        found = vm_backups.look(work, vm_backups.found(work, vm))
        now = work.now()
    if as_json:
        out.document(vm_backups.document(found))
    else:
        out.say_all(vm_backups.text(found, now))
    return 0
