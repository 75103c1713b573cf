"""`storpool-ovirt fence-host`: it needs no database, nor its library."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from storpool_ovirt import config, names, option_values, storpool_conf
from storpool_ovirt.admin import access, console
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.options import DRY_RUN, OPTIONS, all_of
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.fence import lost_host
from storpool_ovirt.log import Unwritten


@click.command()
@click.argument("host", metavar="CLIENT|HOST")
@all_of((OPTIONS, DRY_RUN))
@click.option(
    "--even-if-it-runs",
    "twice",
    metavar="HOST",
    help="Repeat the host: take its disks although it"
    " answers StorPool, or is this machine, and VMs may run there.",
)
@click.pass_obj
def command(
    out: console.Console, host: str, options: str | None, dry_run: bool, twice: str | None
) -> int:
    """Take everything of oVirt's by force from a host that is lost, so that its VMs can start
    elsewhere.

    HOST is a section of /etc/storpool.conf, CLIENT a client id (SP_OURID). Shareable disks are
    taken too. It needs no database. It refuses while the host answers StorPool, and the machine
    that it runs on.
    """
    root = config.root()
    out.log.correlation_id = f"fence-host-{os.getpid()}"
    deadline = Deadline(out.limits.deadline_seconds)
    with enforced(deadline, f"{names.shown(host)} to be fenced", out.limits.last_seconds):
        meant = lost_host.named(host, root)
        # A client id is one cluster's: what other clusters list under the same number is another
        # host.
        settings = replace(access.domain(out, options, root).api, multicluster=False)
        prefix = storpool_conf.openstack_prefix(storpool_conf.read(root))
        client = api.Client(settings.preferring(option_values.BINDING), deadline, limits=out.limits)
        told = lost_host.Orders(twice, dry_run)
        done = lost_host.fence(client, meant, prefix, told, out.log)
        for line in done.lines:
            out.say(line)
        if dry_run and not done.refused:
            in_earnest, unwritten = replace(told, dry_run=False), Unwritten(out.log)
            rehearsals.played_by(
                client,
                out.say,
                lambda rehearsing: lost_host.fence(
                    rehearsing, meant, prefix, in_earnest, unwritten
                ),
            )
    return int(done.refused)
