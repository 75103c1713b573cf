"""`storpool-ovirt shareable`."""

from __future__ import annotations

import os

import click

from storpool_ovirt import config, errors, option_values, storpool_conf
from storpool_ovirt.admin import access, console, limits, share_mark
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, OPTIONS, UUID, all_of, limit
from storpool_ovirt.cluster import api
from storpool_ovirt.log import Unwritten


@click.command()
@click.argument("disk", metavar="DISK", type=UUID)
@click.option("--not", "no", is_flag=True, help="Take the mark away.")
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(limits.LOOK_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    disk: str,
    no: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Mark a disk as shareable, as oVirt has it, so that a plug leaves it to the hosts that have
    it.

    DISK is oVirt's id of the disk, or of its active volume. Without Engine's mapping database the
    volume of that id is meant. Only oVirt's volumes are marked. The mark is not taken away while
    several hosts have the disk attached.
    """
    root = config.root()
    with limits.limited(limit, "the end of shareable") as deadline:
        domain = access.known_domain(out, options, root).domain
        out.log.correlation_id = f"shareable-{os.getpid()}"
        try:
            address = access.database(out, database, root)
        except errors.ConfigError:  # not Engine's machine, or a domain of the Cinder driver
            volume = share_mark.VolumeIds(disk, None)
        else:
            volume = share_mark.active(address, deadline, disk)
        client = api.Client(
            domain.api.preferring(option_values.BINDING), deadline, limits=out.limits
        )
        prefix = storpool_conf.openstack_prefix(storpool_conf.read(root, optional=True))
        there = share_mark.found(client, volume, prefix)
        change = share_mark.unmark if no else share_mark.mark
        out.say(change(client, there, disk, out.log, dry_run))
        if dry_run:
            unwritten = Unwritten(out.log)
            rehearsals.played_by(
                client,
                out.say,
                lambda rehearsing: change(rehearsing, there, disk, unwritten, False),
            )
    return 0
