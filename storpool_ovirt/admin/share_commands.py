"""The command of `storpool-ovirt` that says whether several VMs may have a disk at once:
shareable."""

from __future__ import annotations

import os

import click

from storpool_ovirt import config, errors, names
from storpool_ovirt.admin import console, guard
from storpool_ovirt.admin.guard import DATABASE, LOOK_SECONDS, OPTIONS


@click.command(short_help="mark a disk as one that several VMs may have, for plugs")
@click.argument("disk", metavar="DISK")
@click.option("--not", "no", is_flag=True, help="Take the mark away.")
@guard.all_of((DATABASE, OPTIONS, guard.limit(LOOK_SECONDS)))
@click.pass_obj
def shareable(  # noqa: PLR0913, PLR0917  what its command line takes
    out: console.Console,
    disk: str,
    no: bool,
    database: str | None,
    options: str | None,
    limit: float,
) -> int:
    """Mark a disk as shareable, as oVirt has it, so that a plug leaves it to the hosts that have
    it.

    DISK is oVirt's id of the disk, or of its active volume. Without Engine's mapping database the
    volume of that id is meant. Only oVirt's volumes are marked. The mark is not taken away while
    several hosts have the disk attached.
    """
    from storpool_ovirt import storpool_conf
    from storpool_ovirt.admin import share_mark
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import conf

    root = config.root()
    with guard.limited(limit, "the end of shareable") as deadline:
        uuid = names.uuid(disk, "DISK")
        domain = config.domain(guard.options(options), root)
        out.hide(domain.api.token.reveal())
        out.log.correlation_id = f"shareable-{os.getpid()}"
        try:
            address = config.database_option(database) if database else conf.database(root)
        except errors.ConfigError:  # not Engine's machine, or a domain of the Cinder driver
            volume = share_mark.Meant(uuid, None)
        else:
            out.hide(address.password.reveal())
            volume = share_mark.active(address, deadline, uuid)
        client = api.Client(domain.api, deadline)
        prefix = storpool_conf.openstack_prefix(storpool_conf.read(root, optional=True))
        there = share_mark.found(client, volume, prefix)
        out.say(
            share_mark.unmark(client, there, uuid, out.log)
            if no
            else share_mark.mark(client, there, uuid, out.log)
        )
    return 0


COMMANDS = (shareable,)
