"""`storpool-ovirt trash`."""

from __future__ import annotations

import click

from storpool_ovirt import option_values
from storpool_ovirt.admin import (
    access,
    console,
    policy_targets,
    trash,
    trash_purge,
    trash_restore,
    trash_text,
    twins,
)
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import LOOK_SECONDS, MEND_SECONDS
from storpool_ovirt.admin.options import (
    DATABASE,
    DRY_RUN,
    JSON,
    OPTIONS,
    UUID,
    Text,
    all_of,
    limit,
    parsed,
)
from storpool_ovirt.engine import policies, tree

# Older than anything in the trash: a number that is none by mistake.
_DAYS_MAX = 3660


@click.group()
def command() -> None:
    """What was deleted in oVirt and is kept for a while: list it, give it back, let it go.

    A disk that is deleted goes into the trash for the time that the storage domain's option
    sp_delete_delay says. docs/trash.md is for the day on which one was deleted by mistake.
    """


@command.command("list", short_help="What was deleted, since when and until when.")
@all_of((DATABASE, OPTIONS, JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def list_command(
    out: console.Console, database: str | None, options: str | None, as_json: bool, limit: float
) -> int:
    """List what is in the trash: which disks, since when, until when, with what, and what it holds;
    change nothing.

    Of a deleted disk it has the volume that its VM wrote, previews and snapshots. What StorPool has
    in the trash without a row of ours is told too.
    """
    with access.opened(out, "trash-list", access.Where(database, options, limit)) as work:
        found = trash.look(work)
    if as_json:
        out.document(trash_text.document(found))
    else:
        out.say_all(trash_text.text(found))
    return 0


@command.command("restore", short_help="Give a disk what is in the trash.")
@click.argument("uuid", metavar="UUID", type=UUID)
@click.option(
    "--into",
    required=True,
    type=Text(),
    metavar="DISK",
    help=(
        "The disk that gets it: one that was just made in oVirt, as large or larger, or an id that"
        " oVirt is about to use."
    ),
)
@click.option(
    "--over-data",
    is_flag=True,
    help=(
        "DISK may have data: they are written over, and the trash gets a copy of them first. No"
        " host may have the disk."
    ),
)
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def restore_command(
    out: console.Console,
    uuid: str,
    into: str,
    over_data: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Give a disk what is in the trash under UUID: the id of a disk, a snapshot, a deletion or an
    entry of the list.

    Of a disk it is the volume that its VM wrote. The empty volume of DISK goes, and one that stands
    on what is in the trash gets its place; the trash keeps it until its time is over, and StorPool
    keeps the data after that. A disk that has data, or that a VM has used, is refused, unless its
    data are to be written over (--over-data): it keeps its id, its size, its tags and its snapshots
    then.
    """
    where = access.Where(database, options, limit, by_options=True)
    with access.opened(out, "trash-restore", where) as work:
        disk = policy_targets.id_of(work, into, policies.DISK)
        alone = twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)
        rehearsals.done(
            work,
            out,
            lambda there: trash_restore.restore(there, uuid, disk, over_data=over_data),
            f"would give disk {disk} what is in the trash under {uuid}"
            + (", in place of its data" if over_data else "")
            + (": oVirt has no such disk here yet" if work.mapping.node(disk) is None else ""),
            is_dry_run=dry_run,
        )
    return int(not alone)


@command.command("purge", short_help="Delete what is in the trash before its time.")
@click.argument("uuid", metavar="[UUID]", required=False, type=UUID)
@click.option(
    "--older-than",
    metavar="AGE",
    help="What was deleted longer ago than this, like 24h or 7d.",
)
@click.option(
    "--oldest",
    type=click.IntRange(min=1),
    metavar="N",
    help="The N deletions that are the oldest: for a cluster that is nearly full.",
)
@click.option("--all", "all_of_it", is_flag=True, help="All of the trash.")
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def purge_command(
    out: console.Console,
    uuid: str | None,
    older_than: str | None,
    oldest: int | None,
    all_of_it: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Delete what is in the trash before its time: it cannot be restored any more.

    UUID is the id of a disk, a snapshot, a deletion or an entry of the list. Only what is ours by
    its row, its name, its tags and its global id goes; what stands on it keeps its data. The exit
    code is 1 when some of it could not be purged.
    """
    given = (uuid, older_than, oldest, all_of_it or None)
    if sum(each is not None for each in given) != 1:
        raise click.UsageError("Give one of UUID, --older-than, --oldest and --all.")
    which = trash_purge.Which(uuid, _seconds(older_than), oldest, all_of_it)
    with access.opened(out, "trash-purge", access.Where(database, options, limit)) as work:
        alone = twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)
        listing = trash.look(work)
        plan = trash_purge.plan(work, listing, which)
        failed = 0
        for each in plan:
            out.say_all(trash_purge.told(each))
            for reason in _purged(out, work, each, dry_run):
                failed += 1
                out.say(f"  {'would not be' if dry_run else 'not'} done: {reason}")
        out.say(trash_purge.summary(listing, plan, failed, dry_run))
    return 1 if failed or not alone else 0


def _purged(
    out: console.Console, work: tree.Work, purge: trash_purge.Purge, dry_run: bool
) -> list[str]:
    """Purge, or rehearse that; return what could not be, and why."""
    if not dry_run:
        return trash_purge.carry_out(work, purge)
    failed = rehearsals.played(
        work, out.say, lambda rehearsed: trash_purge.carry_out(rehearsed, purge)
    )
    return failed or []


def _seconds(age: str | None) -> int | None:
    """Return a time such as 24h in seconds; None where none was given."""
    if age is None:
        return None
    found: int = parsed(option_values.duration(_DAYS_MAX), age, "--older-than")
    if not found:  # which is "off" elsewhere, and would purge all of it
        raise click.UsageError("--older-than 0 would be all of it: give a time like 24h, or --all.")
    return found
