"""`storpool-ovirt backup`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click import shell_completion

from storpool_ovirt import config, errors, names, option_values, storpool_conf
from storpool_ovirt.admin import access, backup, backup_text, console, policy_targets, twins
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import LOOK_SECONDS, MEND_SECONDS
from storpool_ovirt.admin.options import (
    DATABASE,
    DRY_RUN,
    JSON,
    OPTIONS,
    Checked,
    Text,
    all_of,
    limit,
    parsed,
)
from storpool_ovirt.engine import backups, copies, copies_seen, policies, tree
from storpool_ovirt.engine.copies_seen import Seen

KEEP_KEY = storpool_conf.BACKUP_KEEP_KEY
# The data of a large disk over a slow line take hours.
COPY_SECONDS = 86400.0
_DAYS_MAX = 3660
_MAKE = "make"
_KEEP = click.option(
    "--keep",
    metavar="TIME",
    help="Give up what is older than this, like 7d: its location deletes it. The newest copy of a"
    " disk that is there stays in any case.",
)


def _copy(given: str) -> str:
    from storpool_ovirt.admin import backup_restore

    return backup_restore.remote_id(given)


class _Commands(click.Group):
    """The commands below `backup`; what is none of them is the id of what is to be copied."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return the words with the name of the command that is meant."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            meant = option_values.nearest(args[0], self.commands)
            if meant and not args[0].startswith("-"):
                ctx.fail(f"No such command: {names.shown(args[0])}. Did you mean {meant}?")
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[shell_completion.CompletionItem]:
        """Return how a word may go on: as a command, or as an option of the one that need not be
        typed."""
        found = super().shell_complete(ctx, incomplete)
        known = {each.value for each in found}
        more = self.commands[_MAKE].shell_complete(ctx, incomplete)
        return found + [each for each in more if each.value not in known]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both ways to type it."""
        formatter.write_usage(ctx.command_path, "DISK|VM --to LOCATION [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", "       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the command that need not be typed, then all commands."""
        click.Command.format_options(self.commands[_MAKE], ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_Commands)
def command() -> None:
    """Copies of disks in another StorPool location: make, list, restore, and give up old ones.

    The command to make one need not be typed: storpool-ovirt backup DISK --to LOCATION.
    docs/backup.md tells what a copy guarantees, and what to do on the day when one is needed.
    """


@command.command(_MAKE, short_help="Copy a disk, or all disks of a VM at one moment.")
@click.argument("uuid", metavar="DISK|VM", type=Text())
@click.option(
    "--to",
    required=True,
    metavar="LOCATION",
    help="StorPool's name of the other location; with tags for the copies: 'LOCATION:tag K=V ...'.",
)
@_KEEP
@click.option("--no-wait", is_flag=True, help="Do not wait for the data to be there.")
@all_of((DATABASE, OPTIONS, DRY_RUN, JSON, limit(COPY_SECONDS)))
@click.pass_obj
def make_command(
    out: console.Console,
    uuid: str,
    to: str,
    keep: str | None,
    no_wait: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    as_json: bool,
    limit: float,
) -> int:
    """Copy a disk as it is now to another location, or all disks of a VM at one moment.

    A VM that runs goes on: its file systems are copied as after a loss of power, unless they are
    frozen. The copy goes on by itself once it was begun: when the time is up, or --no-wait was
    given, the list of copies tells what became of it.
    """
    if dry_run and as_json:
        raise click.UsageError("--dry-run is told in lines only: leave out --json.")
    wanted: option_values.CopyTo = parsed(option_values.copy_to, to, "--to")
    keep_seconds = _seconds(keep)
    with access.opened(out, "backup", access.Where(database, options, limit)) as work:
        target = backup.target(work, policy_targets.id_of(work, uuid))
        for each in target.left_out:
            out.progress(f"not copied: {each}")
        if dry_run:
            calls: list[str] = []  # what is refused would not be copied
            rehearsals.played(work, calls.append, lambda tried: backup.make(tried, target, wanted))
            out.say_all([*backup_text.would(target, wanted), *calls])
            if keep_seconds is not None:
                disks = [*target.disks]
                _would_give_up(out, work, disks, wanted.location, keep_seconds, spare_newest=False)
            return 0
        rows = backup.make(work, target, wanted)
        if not as_json:
            out.say_all(backup_text.begun(rows))
        try:
            seen = _seen(out, work, rows, no_wait=no_wait, as_json=as_json)
        except (KeyboardInterrupt, errors.Interrupted):
            return out.complain(
                f"interrupted: it is on its way to {wanted.location} and goes on by itself, see"
                " storpool-ovirt backup list",
                console.INTERRUPTED,
            )
        is_there = all(each.state == copies.THERE for each in seen)
        if as_json:
            out.document(backup_text.document(seen, work.mapping.location))
        elif is_there:
            out.say(f"all of it is in {wanted.location}")
        else:
            out.say(f"on its way to {wanted.location}: it goes on by itself, see backup list")
        if keep_seconds is not None and is_there:
            return _give_up(out, work, [row.disk for row in rows], wanted.location, keep_seconds)
    return 0 if is_there or no_wait else 1


def _seen(
    out: console.Console,
    work: tree.Work,
    rows: Sequence[copies.Copy],
    *,
    no_wait: bool,
    as_json: bool,
) -> list[Seen]:
    """Return how copies are that were begun: now, or when nothing of them is on its way."""
    if no_wait:
        return backup.look(work, rows[0].copy)
    with backup_text.progress(out, rows, as_json) as told:
        return copies_seen.wait(work, rows, told)


@command.command("list", short_help="The copies, and what became of each.")
@click.argument("uuid", metavar="[DISK|VM|UUID]", required=False, type=Text())
@all_of((DATABASE, OPTIONS, JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def list_command(
    out: console.Console,
    uuid: str | None,
    database: str | None,
    options: str | None,
    as_json: bool,
    limit: float,
) -> int:
    """List the copies in other locations, of disks that are gone too, as they are now.

    Those of a disk or a VM, by its name or id, or of a moment by its id; without it all are listed.
    The exit code is 1 when one of them was lost on its way.
    """
    with access.opened(out, "backup-list", access.Where(database, options, limit)) as work:
        wanted = None if uuid is None else policy_targets.id_of(work, uuid)
        seen = backup.look(work, wanted)
        location = work.mapping.location
    if as_json:
        out.document(backup_text.document(seen, location))
    else:
        out.say_all(backup_text.listing(seen, wanted))
    return 1 if any(each.state == copies.LOST for each in seen) else 0


@command.command("restore", short_help="Give a disk the data of a copy.")
@click.argument("copy", metavar="COPY", type=Checked(_copy))
@click.option(
    "--into",
    required=True,
    type=Text(),
    metavar="DISK",
    help="The disk that gets it: one that was just made in oVirt, as large or larger, or an id that"
    " oVirt is about to use.",
)
@click.option("--from-remote", is_flag=True, help="Fetch the copy, where it is not here already.")
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(COPY_SECONDS)))
@click.pass_obj
def restore_command(
    out: console.Console,
    copy: str,
    into: str,
    from_remote: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Give a disk the data of a copy, by its global id in the list.

    The copy is fetched from its location as a snapshot, all of its data are waited for, and the
    disk gets a volume that stands on it; then the snapshot goes. The copy stays where it is. A disk
    that has data, or that a VM has used, is refused.
    """
    from storpool_ovirt.admin import backup_restore

    where = access.Where(database, options, limit, by_options=True)
    with access.opened(out, "backup-restore", where) as work:
        disk = policy_targets.id_of(work, into, policies.DISK)

        def act(tried: tree.Work) -> list[str]:
            return backup_restore.restore(
                tried, copy, disk, from_remote=from_remote, told=out.progress
            )

        alone = twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)
        title = f"would give disk {disk} the data of copy {copy}"
        rehearsals.done(work, out, act, title, is_dry_run=dry_run)
    return int(not alone)


@command.command("expire", short_help="Give up the copies that are older than --keep.")
@click.argument("uuid", metavar="[DISK|VM|UUID]", required=False, type=Text())
@click.option("--from", "location", metavar="LOCATION", help="Only those of this location.")
@click.option(
    "--keep",
    metavar="TIME",
    help=f"How long copies are kept, like 7d; without it {KEEP_KEY} of {storpool_conf.FILE}.",
)
@click.option(
    "--timer/--no-timer",
    default=None,
    help="Have that done every day, or not any more, on Engine's machine; run it as root.",
)
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def expire_command(
    out: console.Console,
    uuid: str | None,
    location: str | None,
    keep: str | None,
    timer: bool | None,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Give up the copies that are older than --keep: their locations delete them.

    Those of a disk or a VM, by its name or id, or of a moment by its id; without it all are meant.
    The newest copy of a disk that is still there stays. The date that a location has set is read
    there; where it sets none, nothing more is given up, and the exit code is 1.
    """
    if timer is not None:
        if any(each is not None for each in (uuid, location, keep, database, options)):
            raise click.UsageError(
                f"--timer and --no-timer go alone, or with --dry-run; {KEEP_KEY} in"
                f" {storpool_conf.FILE} says how long copies are kept."
            )
        return _switch_timer(out, timer, dry_run)
    keep_seconds = _seconds(keep) or _kept()
    with access.opened(out, "backup-expire", access.Where(database, options, limit)) as work:
        wanted = None if uuid is None else [policy_targets.id_of(work, uuid)]
        alone = twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)
        if dry_run:
            _would_give_up(out, work, wanted, location, keep_seconds)
            return int(not alone)
        return _give_up(out, work, wanted, location, keep_seconds)


def _give_up(
    out: console.Console,
    work: tree.Work,
    uuids: list[str] | None,
    location: str | None,
    keep_seconds: int,
) -> int:
    done = backup.give_up_old(work, _meant(work, uuids, location), keep_seconds)
    out.say_all(backup_text.given_up(done, keep_seconds, dry_run=False))
    if done.failed:
        raise errors.Conflict("the rest", f"was not given up: {done.failed}", "")
    return 0


def _would_give_up(
    out: console.Console,
    work: tree.Work,
    uuids: list[str] | None,
    location: str | None,
    keep_seconds: int,
    *,
    spare_newest: bool = True,
) -> None:
    def tell(row: copies.Copy) -> None:
        rehearsals.played(work, out.say, lambda tried: backups.ask_to_delete(tried, row))

    # A look writes what it has seen
    seen = rehearsals.played(work, out.say, lambda tried: _meant(tried, uuids, location)) or []
    done = backup.give_up_old(work, seen, keep_seconds, tell, spare_newest=spare_newest)
    out.say_all(backup_text.given_up(done, keep_seconds, dry_run=True))


def _meant(work: tree.Work, uuids: list[str] | None, location: str | None) -> list[Seen]:
    asked = [None] if uuids is None else uuids
    seen = [each for uuid in asked for each in backup.look(work, uuid)]
    return [each for each in seen if location in (None, each.row.location)]


def _switch_timer(out: console.Console, wanted: bool, dry_run: bool) -> int:
    """Turn the daily run on or off; raise ConfigError for one that would give up nothing, as it is
    not said how long copies are kept."""
    from storpool_ovirt.admin import timers as switching
    from storpool_ovirt.setup import engine, timers

    if wanted:
        _kept()
    return switching.switch(out, timers.BACKUP, engine.Wishes(backup_timer=wanted), dry_run)


def _kept() -> int:
    """Return how many seconds storpool.conf says that copies are kept; raise ConfigError where it
    does not."""
    where = f"{KEEP_KEY} in {storpool_conf.FILE}"
    advice = f"say how long copies are kept, like {KEEP_KEY}=7d"
    said = storpool_conf.read(config.root(), environment=False).get(KEEP_KEY)
    if not said:
        raise errors.ConfigError(where, "is missing, and --keep was not given", advice)
    try:
        found = option_values.duration(_DAYS_MAX)(said)
    except ValueError as error:
        raise errors.ConfigError(where, f"{error.args[0]} ({names.shown(said)})", advice) from None
    if not found:
        raise errors.ConfigError(where, "is 0, which would keep nothing", advice)
    return found


def _seconds(given: str | None) -> int | None:
    """Return a time such as 7d in seconds; None where none was given."""
    if given is None:
        return None
    found: int = parsed(option_values.duration(_DAYS_MAX), given, "--keep")
    if not found:  # which is "off" elsewhere, and would give up all copies of deleted disks
        raise click.UsageError("--keep 0 would keep nothing: give a time like 7d.")
    return found
