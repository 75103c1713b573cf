"""`storpool-ovirt setup`."""

from __future__ import annotations

import sys
from typing import Any

import click

from storpool_ovirt import config, rights
from storpool_ovirt.admin import console
from storpool_ovirt.admin.options import DRY_RUN, JSON, Text, all_of
from storpool_ovirt.log import Log
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import engine, host, run, steps, token
from storpool_ovirt.setup.site import ENGINE, Site, check_root

_STDIN = "-"


class _Place(click.Choice):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.2 only
    """A kind of machine; who means another thing that is set up is told where that is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the place; fail as click's own types do."""
        if value == "domain":
            self.fail("a storage domain is made by  storpool-ovirt domain", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@all_of(
    (
        click.argument("place", type=_Place(["engine", "host"])),
        DRY_RUN,
        click.option("--undo", is_flag=True, help="Take back what setup made, and nothing else."),
        click.option(
            "--token-file",
            type=Text(),
            metavar="FILE",
            help="Engine: the file with StorPool's token alone (- is stdin), where"
            " /etc/storpool.conf has none.",
        ),
        click.option(
            "--fence-agent/--no-fence-agent",
            default=True,
            show_default=True,
            help="Engine: have fence_storpool among the fence agents.",
        ),
        click.option(
            "--vm-properties/--no-vm-properties",
            default=True,
            show_default=True,
            help="Engine: have VMs say their QoS class and VolumeCare's policy, by the custom"
            " properties sp_qos and sp_vc_policy.",
        ),
        click.option(
            "--vm-agent/--no-vm-agent",
            default=None,
            help="Host: have storpool-vm-agent on, now and after each boot, or off; without it"
            " that stays as it is.",
        ),
        JSON,
    )
)
@click.pass_obj
def command(
    out: console.Console,
    place: str,
    dry_run: bool,
    undo: bool,
    token_file: str | None,
    fence_agent: bool,
    vm_properties: bool,
    vm_agent: bool | None,
    as_json: bool,
) -> int:
    """Put all of this in its places on Engine's machine or on a host, or take it away again.

    It may be run again and again: what is there already is not changed, and what somebody else has
    put there is told and left. Nothing is restarted: it says what has to be. The exit code is 0,
    and 1 when a step failed or all was refused.
    """
    if place != ENGINE and token_file is not None:
        raise click.UsageError("--token-file is for setup engine: a host has /etc/storpool.conf")
    if place == ENGINE and vm_agent is not None:
        raise click.UsageError("--vm-agent is for setup host")
    check_root()
    given = _token(out, token_file)
    of_engine = engine.Wishes(given, fence_agent, vm_properties=vm_properties)
    wishes = of_engine if place == ENGINE else host.Wishes(vm_agent)
    log = Log(out.program, None)  # where the folder of our log is one of the things set up
    if given is not None:
        log.hide(given.reveal())
    work = run.undone if undo else run.done
    report = work(Site(place), wishes, dry_run, lambda row: _logged(log, row))
    if as_json:
        out.document(steps.document(report))
    else:
        out.say("\n".join(steps.text(report)))
    return 1 if report.is_failed else 0


def _token(out: console.Console, token_file: str | None) -> Secret | None:
    if token_file is None:
        return None
    if token_file == _STDIN:
        content = sys.stdin.buffer.read(rights.TEXT_MAX_BYTES)
        found = config.token_in(content, "stdin (--token-file)")
    else:
        found = token.from_file(token_file)
    out.hide(found.reveal())
    return found


def _logged(log: Log, row: steps.Row) -> None:
    log.line("setup", step=row.id, state=row.found.state, what=row.found.what)
