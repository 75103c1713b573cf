"""`storpool-ovirt attachments`."""

from __future__ import annotations

import time

import click

from storpool_ovirt import config, errors, option_values
from storpool_ovirt.admin import access, console, entries, limits, listing, listing_text
from storpool_ovirt.admin.options import DATABASE, JSON, OPTIONS, UUID, all_of, limit
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words


@click.command()
@all_of((DATABASE, OPTIONS))
@click.option(
    "--client", metavar="ID|HOST", help="Only this client: its SP_OURID, or its host's name."
)
@click.option(
    "--disk",
    metavar="UUID",
    type=UUID,
    help="Only the disk that this is, or that this snapshot or preview is of.",
)
@all_of((JSON, limit(limits.LOOK_SECONDS)))
@click.pass_obj
def command(
    out: console.Console,
    database: str | None,
    options: str | None,
    client: str | None,
    disk: str | None,
    as_json: bool,
    limit: float,
) -> int:
    """List who has what attached, open or closed, since when and why, as far as it can be known;
    change nothing.

    Open or closed is known only for the host that this runs on, as root.
    """
    root, words = config.root(), Words()
    with limits.limited(limit, "the end of attachments") as deadline:
        domain = access.known_domain(out, options, root).domain
        try:
            address = access.database(out, database, root)
        except errors.ConfigError as error:  # a host has none
            known = entries.MappingSide({}, {}, problem=str(error))
        else:
            known = listing.read_mapping(address, deadline, words, disk)
        there = api.Client(
            domain.api.preferring(option_values.BINDING), deadline, limits=out.limits
        )
        found = listing.selected(listing.look(there, known, root, words), client, disk)
    if as_json:
        out.document(listing_text.document(found, time.time()))
    else:
        out.say_all(listing_text.text(found, time.time()))
    return 0
