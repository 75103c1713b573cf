"""`storpool-ovirt space`."""

from __future__ import annotations

import click

from storpool_ovirt import errors
from storpool_ovirt.admin import access, console, policy_targets, space, space_parts
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, JSON, OPTIONS, Text, all_of, limit
from storpool_ovirt.engine import policies

MOST = 20


@click.command()
@all_of((DATABASE, OPTIONS))
@click.option(
    "--disk",
    metavar="DISK",
    type=Text(),
    help="One disk, by its name, its id or that of a snapshot of it.",
)
@click.option("--vm", metavar="VM", type=Text(), help="The disks of this VM, by its name or id.")
@click.option("--trash", is_flag=True, help="What was deleted and can still be had back.")
@click.option("--others", is_flag=True, help="What is not this Engine's, and copies of its disks.")
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=MOST,
    show_default=True,
    metavar="NUMBER",
    help="So many disks, or objects of others; 0 for all.",
)
@all_of((JSON, limit(MEND_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    *,
    database: str | None,
    options: str | None,
    disk: str | None,
    vm: str | None,
    trash: bool,
    others: bool,
    most: int,
    as_json: bool,
    limit: float,
) -> int:
    """Tell what takes space in StorPool, and whose it is; change nothing.

    StorPool looks at all of its volumes and all of its snapshots for that, once each: run it by
    hand or once an hour, and not at every look of a monitor.
    """
    if sum(map(bool, (disk is not None, vm is not None, trash, others))) > 1:
        raise errors.InputError(
            "--disk, --vm, --trash and --others",
            "are given together",
            "give one of them, or none for all disks",
        )
    with access.opened(out, "space", access.Where(database, options, limit)) as work:
        wanted = "" if disk is None else policy_targets.id_of(work, disk, policies.DISK)
        of_vm = "" if vm is None else policy_targets.id_of(work, vm, policies.VM)
        seen = space.look(work)
        part: space_parts.Part
        if wanted:
            part = space_parts.of_disk(work, seen, wanted)
        elif of_vm:
            part = space_parts.of_vm(work, seen, of_vm)
        elif trash:
            part = space_parts.of_trash(seen)
        elif others:
            part = space_parts.of_others(seen, most)
        else:
            part = space_parts.of_all(work, seen, most)
    if as_json:
        out.document(part.document())
    else:
        from storpool_ovirt.admin import space_text  # loads what --json does without

        out.say_all(space_text.lines(part))
    return 0
