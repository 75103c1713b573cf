"""`storpool-ovirt restore`."""

from __future__ import annotations

import click

from storpool_ovirt.admin import access, console, twins, vm_restore
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import (
    DATABASE,
    DRY_RUN,
    OPTIONS,
    Checked,
    Text,
    all_of,
    limit,
)


@click.command()
@click.argument("vm", metavar="VM", type=Text())
@click.option(
    "--at",
    required=True,
    type=Checked(vm_restore.moment),
    metavar="TIME",
    help="The moment, as storpool-ovirt backups tells it.",
)
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    vm: str,
    at: str,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Give all disks of a VM that is down what they had at a moment of which there is a backup.

    Each disk stays what it is, with its id, its size, its tags and its snapshots; what it had is in
    the trash. All disks are given back, or none. Run it on Engine's machine, whose database tells
    whether the VM is down.
    """
    where = access.Where(database, options, limit, by_options=True)
    with access.opened(out, "restore", where) as work:
        alone = twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)
        rehearsals.done(
            work,
            out,
            lambda there: vm_restore.restore(there, vm, at),
            f"would take VM {vm} back to {at}",
            is_dry_run=dry_run,
        )
    return int(not alone)
