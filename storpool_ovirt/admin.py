"""storpool-ovirt: the command for those who set the integration up, watch it and try it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

from storpool_ovirt import config, errors, findings, log, names
from storpool_ovirt.deadline import Deadline, enforced

if TYPE_CHECKING:
    import click

    from storpool_ovirt import trees

_F = Callable[..., Any]
_Decorator = Callable[[_F], _F]

PROGRAM = "storpool-ovirt"
# What a look at a large cluster and the repair of a bad day take, with room to spare.
DEADLINE_SECONDS = 600.0
# Monitoring takes this exit code for "could not look".
UNKNOWN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    arguments = list(sys.argv if argv is None else argv)
    audits = arguments[1:2] == ["audit"]
    try:
        code: int = _commands().main(arguments[1:], prog_name=PROGRAM, standalone_mode=False) or 0
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("storpool_ovirt"):
            raise  # not a library of somebody else's: this installation is broken, and the trace tells where
        extra = "demo" if "demo" in arguments[1:2] else "admin"
        return _complain(
            f"{(error.name or '').partition('.')[0]} is not installed: run  pip install 'storpool-ovirt[{extra}]'",
            code=UNKNOWN if audits else 1,
        )
    except errors.Error as error:
        return _complain(str(error), code=UNKNOWN if audits else 1)
    except Exception as error:
        if type(error).__name__ == "Abort":  # click's, for Ctrl-C
            return _complain("interrupted: what was done is done, run it again for the rest", code=130)
        if not hasattr(error, "format_message"):  # click.ClickException: what was typed is not a command of ours
            if not audits:
                raise
            traceback.print_exc()
            return UNKNOWN
        return _complain(error.format_message(), code=UNKNOWN if audits else 2)
    return code


def _commands() -> click.Group:
    """Make the table of verbs; click is imported here, so that a host that does not have it gets a clear sentence."""
    import click

    @click.group(help=__doc__)
    def group() -> None: ...

    @group.command(short_help="a disk's whole life on a StorPool simulator")
    @click.option(
        "--devices", type=click.Choice(["auto", "loop", "file"]), default="auto", show_default=True,
        help="What the hosts see: real block devices (loop, needs root) or plain files.",
    )  # fmt: skip
    def demo(devices: str) -> int:
        """Live through a disk's whole life on a StorPool simulator, with the programs that oVirt will run."""
        from storpool_ovirt import demo as story

        return story.run(devices=devices)

    where = (
        click.option("--database", metavar="URL", help="The mapping database, if this is not Engine's machine:"
                     " postgresql://USER:PASSWORD@HOST:PORT/DATABASE."),
        click.option("--options", metavar="FILE", help="The storage domain's driver options as a JSON object, where"
                     " /etc/storpool.conf does not tell all of them."),
    )  # fmt: skip
    grace = click.option(
        "--grace", type=click.FloatRange(min=0), default=findings.GRACE_SECONDS / 60, show_default=True,
        metavar="MINUTES", help="What is younger may still be under way, and is left alone.",
    )  # fmt: skip
    dry_run = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")

    @group.command(short_help="hold mapping, cluster and hosts against each other")
    @_all(where)
    @grace
    @click.option("--json", "as_json", is_flag=True, help="For programs.")
    def audit(database: str | None, options: str | None, grace: float, as_json: bool) -> int:
        """Hold the mapping, the cluster and the hosts against each other, and change nothing.

        The exit code is 0 when they agree, 1 for a warning, 2 for something critical, 3 when it could not look.
        """
        with _engine("audit", database, options) as engine:
            return _audit(engine, 60 * grace, as_json)

    @group.command(short_help="who has what attached, open or closed, since when and why")
    @_all(where)
    @click.option("--client", metavar="ID|HOST", help="Only this client: its SP_OURID, or its host's name.")
    @click.option("--disk", metavar="UUID", help="Only the disk that this is, or that this snapshot or preview is of.")
    @click.option("--json", "as_json", is_flag=True, help="For programs.")
    def attachments(
        database: str | None, options: str | None, client: str | None, disk: str | None, as_json: bool
    ) -> int:
        """List who has what attached, open or closed, since when and why, as far as it can be known; change nothing.

        Open or closed is known only for the host that this runs on, as root.
        """
        return _attachments(database, options, client, disk, as_json)

    @group.command(short_help="mend what the audit is sure of, or what is named")
    @_all(where)
    @grace
    @dry_run
    @click.option("--remove", multiple=True, metavar="ID", help="Delete the unmapped object ~GLOBALID or the left-over"
                  " UUID, or forget the row UUID whose object is gone.")  # fmt: skip
    @click.option("--keep", multiple=True, metavar="UUID", help="Close the entry of this object: oVirt lists it.")
    @click.option("--detach", multiple=True, metavar="UUID", help="Detach this object from every host where it is"
                  " closed.")  # fmt: skip
    def reconcile(  # noqa: PLR0913, PLR0917  what its command line takes
        database: str | None, options: str | None, grace: float, dry_run: bool, remove: tuple[str, ...],
        keep: tuple[str, ...], detach: tuple[str, ...],
    ) -> int:  # fmt: skip
        """Mend what the audit is sure of, or just what is named; every precondition is read again before each step.

        It deletes only objects with this Engine's location tag that are past the grace period, and forces nothing.
        """
        with _engine("reconcile", database, options) as engine:
            if remove or keep or detach:
                return _named_steps(engine, {"remove": remove, "keep": keep, "detach": detach}, 60 * grace, dry_run)
            return _reconcile(engine, 60 * grace, dry_run)

    @group.command(short_help="make a lost mapping again from the tags")
    @_all(where)
    @dry_run
    @click.option("--location", metavar="LOCATION", help="The location of the lost database, as the tags have it.")
    def rebuild(database: str | None, options: str | None, dry_run: bool, location: str | None) -> int:
        """Make the mapping again from the tags, when the database was lost or restored from an older backup."""
        with _engine("rebuild", database, options) as engine:
            return _rebuild(engine, location, dry_run)

    @group.command("fence-host", short_help="take everything of oVirt's from a lost host")
    @click.argument("host", metavar="CLIENT|HOST")
    @where[1]
    @dry_run
    @click.option("--even-if-it-runs", "twice", metavar="HOST", help="Repeat the host: take its disks although it"
                  " answers StorPool and VMs may run there.")  # fmt: skip
    def fence_host(host: str, options: str | None, dry_run: bool, twice: str | None) -> int:
        """Take everything of oVirt's by force from a host that is lost, so that its VMs can start elsewhere.

        HOST is a section of /etc/storpool.conf, CLIENT a client id (SP_OURID). Shareable disks are taken too. It needs
        no database. It refuses while the host answers StorPool.
        """
        return _fence_host(host, options, twice, dry_run)

    return group


def _all(decorators: Sequence[_Decorator]) -> _Decorator:
    def decorate(function: _F) -> _F:
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate


def _audit(engine: trees.Engine, grace_seconds: float, as_json: bool) -> int:
    from storpool_ovirt import audit, reports, truths

    report = audit.report(truths.look(engine), grace_seconds)
    _print(reports.document(report) if as_json else "\n".join(reports.text(report)))
    return reports.EXIT_CODES[report.severity]


def _attachments(database: str | None, options: str | None, client: str | None, disk: str | None, as_json: bool) -> int:
    from storpool_ovirt import api, engine_conf, lines, listing

    root = config.root()
    domain = config.domain(_options(options), root)
    deadline = Deadline(DEADLINE_SECONDS)
    try:
        address = config.parse_database_url(database) if database else engine_conf.database(root)
    except errors.ConfigError as error:  # a host has none
        known = listing.Known({}, {}, problem=str(error))
    else:
        known = listing.known(address, deadline)
    found = listing.selected(listing.look(api.Client(domain.api, deadline), known, root), client, disk)
    now = time.time()
    _print(lines.document(found, now) if as_json else "\n".join(lines.text(found, now)))
    return 0


def _reconcile(engine: trees.Engine, grace_seconds: float, dry_run: bool) -> int:
    from storpool_ovirt import audit, repair, reports, truths

    report = audit.report(truths.look(engine), grace_seconds)
    todo = repair.plan(report)
    failed = 0
    for finding in todo:
        _print(reports.step(finding))
        if finding.action is None or dry_run:
            continue
        try:
            _print(f"  done: {repair.carry_out(engine, finding.action, grace_seconds)}")
        except errors.Error as error:
            failed += 1
            _print(f"  not done: {error}")
    others = len(report.findings) - len(todo)
    done = "would be mended" if dry_run else f"mended, {failed} not"
    _print(f"{len(todo) - failed} {done}; {others} for you to look at: storpool-ovirt audit" if others
           else f"{len(todo) - failed} {done}")  # fmt: skip
    return 1 if failed else 0


def _named_steps(
    engine: trees.Engine, targets: Mapping[str, Sequence[str]], grace_seconds: float, dry_run: bool
) -> int:
    from storpool_ovirt import repair

    for target in targets["remove"]:
        _print(repair.remove(engine, target, grace_seconds, dry_run))
    for uuid in targets["keep"]:
        _print(repair.keep(engine, uuid, dry_run))
    for uuid in targets["detach"]:
        _print(repair.detach(engine, uuid, dry_run))
    return 0


def _rebuild(engine: trees.Engine, location: str | None, dry_run: bool) -> int:
    from storpool_ovirt import rebuild, reports, truths

    plan = rebuild.plan(truths.look(engine), location)
    for line in reports.rebuilding(plan):
        _print(line)
    if dry_run:
        return 0
    _print(f"{rebuild.carry_out(engine, plan)} rows written: now run storpool-ovirt audit")
    return 0


def _fence_host(host: str, options: str | None, twice: str | None, dry_run: bool) -> int:
    from storpool_ovirt import api, fence_host, storpool_conf

    root = config.root()
    lines = log.Log(PROGRAM, config.engine_log(PROGRAM))
    lines.correlation_id = f"fence-host-{os.getpid()}"
    deadline = Deadline(fence_host.DEADLINE_SECONDS)
    with enforced(deadline, f"{names.shown(host)} to be fenced", fence_host.LAST_SECONDS):
        meant = fence_host.named(host, root)
        # A client id is one cluster's: what other clusters list under the same number is another host.
        settings = replace(config.domain(_options(options), root).api, multicluster=False)
        lines.hide(settings.token.reveal())
        prefix = storpool_conf.openstack_prefix(storpool_conf.read(root, optional=True))
        told = fence_host.Told(twice, dry_run)
        for line in fence_host.fence(api.Client(settings, deadline), meant, prefix, told, lines):
            _print(line)
    return 0


@contextmanager
def _engine(verb: str, database: str | None, options: str | None) -> Iterator[trees.Engine]:
    """Give what the verbs of disks work with, for the cluster and the database that an administrator means."""
    from storpool_ovirt import api, engine_conf, journal, mapping, trees

    root = config.root()
    lines = log.Log(PROGRAM, config.engine_log(PROGRAM))
    lines.correlation_id = f"{verb}-{os.getpid()}"
    domain = config.domain(_options(options), root)
    address = config.parse_database_url(database) if database else engine_conf.database(root)
    lines.hide(domain.api.token.reveal())
    lines.hide(address.password.reveal())
    deadline = Deadline(DEADLINE_SECONDS)
    caller = journal.Caller(lines.correlation_id, verb)
    with mapping.opened(address, deadline, caller, make=verb == "rebuild") as opened:
        yield trees.Engine(domain, api.Client(domain.api, deadline), opened, lines, root)


def _options(path: str | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  as in config.py
            return config.parse_driver_json(file.read())
    except OSError as error:
        raise errors.ConfigError(f"the file {path}", f"cannot be read ({error.strerror})", "check --options") from error


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(sentence: str, code: int = 1) -> int:
    sys.stderr.write(f"{PROGRAM}: {sentence}\n")
    return code
