"""`storpool-ovirt domain`."""

from __future__ import annotations

from typing import Any

import click

from storpool_ovirt.admin import console
from storpool_ovirt.admin.limits import MEND_SECONDS
from storpool_ovirt.admin.options import JSON, Text, all_of, limit

# What says where Engine's API is, and what only it can do.
_OF_CREATE = ("url", "user", "password_file", "ca_file")


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@all_of(
    (
        click.option(
            "--option",
            "options",
            multiple=True,
            type=Text(),
            metavar="KEY=VALUE",
            help="A driver option, like sp_template=nvme; may be repeated.",
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            help="The file with StorPool's token alone, on Engine's machine; without it the one"
            " that setup made, or the token of /etc/storpool.conf.",
        ),
        click.option(
            "--token-as-option",
            is_flag=True,
            help="Give Engine the token itself, as a sensitive option. Every local user of its"
            " machine can read it then while a verb runs.",
        ),
        click.option("--data-center", metavar="NAME", help="Attach the domain to it."),
        click.option(
            "--host",
            metavar="NAME",
            help="The host that Engine wants to be named; without it one that is up.",
        ),
    )
)
@all_of(
    (
        click.option("--create", is_flag=True, help="Add the domain to Engine, do not print it."),
        click.option(
            "--url", metavar="URL", help="Engine's API; without it that of this machine's Engine."
        ),
        click.option("--user", metavar="USER", help="Like admin@ovirt@internalsso."),
        click.option("--password-file", metavar="FILE", help="A file with the password alone."),
        click.option(
            "--ca-file", metavar="FILE", help="Engine's CA certificate; without it this machine's."
        ),
        JSON,
        limit(MEND_SECONDS),
    )
)
@click.pass_obj
def command(
    out: console.Console, /, name: str | None, as_json: bool, limit: float, **given: Any
) -> int:
    """Print what adds a storage domain NAME on StorPool: for REST, Ansible and WebAdmin, with
    options that are proved to work. Run it on Engine's machine, as root.

    With --create the domain is added and attached. One that is there with the same options stays;
    one with other options is refused, each difference named. Without NAME the domains that there
    are are listed, and which hosts can serve them. No secret is ever shown.
    """
    _check(name, given)
    from storpool_ovirt.admin import domains  # it needs a library that a host has not

    if name is None:
        return domains.tell_all(out, as_json, limit)
    return domains.tell(out, domains.Request(name=name, **given), as_json, limit)


def _check(name: str | None, given: dict[str, Any]) -> None:
    typed = [key for key, value in given.items() if value]
    if name is None and typed:
        raise click.UsageError(f"{_option(typed[0])} needs the NAME of a domain.")
    stray = [key for key in typed if key in _OF_CREATE]
    if stray and not given["create"]:
        raise click.UsageError(f"{_option(stray[0])} does nothing without --create.")
    if given["create"] and not (given["user"] and given["password_file"]):
        raise click.UsageError("--create needs --user and --password-file.")


def _option(key: str) -> str:
    return "--option" if key == "options" else f"--{key.replace('_', '-')}"
