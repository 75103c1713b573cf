"""storpool_vcctl, VolumeCare's command: what backups there are, its configuration, a revert.

Run it as `python3 -m storpool_simulator.players.vcctl`. The API is where SP_API_HTTP_HOST,
SP_API_HTTP_PORT and SP_AUTH_TOKEN say. Exit codes: 0 done, 1 refused or failed, 2 wrongly typed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from storpool_simulator.players import notes, reverts, vc_config, wire


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        _group.main(
            None if argv is None else list(argv), prog_name="storpool_vcctl", standalone_mode=False
        )
    except click.ClickException as problem:
        return _fail(problem.format_message(), 2)
    except (reverts.RevertError, wire.CallError, ValueError) as problem:
        return _fail(str(problem), 1)
    except OSError as problem:
        return _fail(f"{problem.filename} cannot be read ({problem.strerror})", 1)
    return 0


def _fail(message: str, code: int) -> int:
    click.echo(f"storpool_vcctl: {message}", err=True)
    return code


@click.group(help=__doc__)
@click.option("--host", envvar="SP_API_HTTP_HOST", default="127.0.0.1", help="Of the API.")
@click.option("--port", envvar="SP_API_HTTP_PORT", type=int, required=True, help="Of the API.")
@click.option("--token", envvar="SP_AUTH_TOKEN", required=True, help="Of the API.")
@click.pass_context
def _group(context: click.Context, host: str, port: int, token: str) -> None:
    context.obj = wire.Api(host, port, token, "storpool_vcctl")


@_group.command("status", help="The backups that there are.")
@click.option("--json", "as_json", is_flag=True, help="As JSON [dr].")
@click.option("-M", "multi_cluster", is_flag=True, help="Of all clusters: here of this one.")
@click.pass_obj
def _status(api: wire.Api, as_json: bool, multi_cluster: bool) -> None:  # noqa: ARG001  see its help
    told = reverts.status(api)
    click.echo(json.dumps(told) if as_json else _table(told))


@_group.group("config", help="VolumeCare's configuration.")
def _config() -> None:
    pass


@_config.command("show", help="Print it.")
@click.pass_obj
def _show(api: wire.Api) -> None:
    click.echo(notes.read(api).config or "", nl=False)


@_config.command("load", help="Put a file in its place; the real command opens an editor.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def _load(api: wire.Api, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    vc_config.parse(text)
    notes.configure(api, text)


@_group.command("revert", help="Take all volumes of ENTITY (cvm=UUID) back to BACKUP (create_ts).")
@click.argument("entity")
@click.argument("backup", type=int)
@click.option("--detach", is_flag=True, help="Detach them first, where nobody has them open.")
@click.pass_obj
def _revert(api: wire.Api, entity: str, backup: int, detach: bool) -> None:
    for address in reverts.revert(api, entity, backup, detach=detach):
        click.echo(f"reverted {address}")


def _table(told: list[dict[str, Any]]) -> str:
    lines = []
    for element in told:
        lines.append(element["id"]["name"])
        for each in element["history"]:
            pairs = each["extra_info"]["sp"]["map"].items()
            snapshots = " ".join(f"{volume}={snapshot}" for volume, snapshot in pairs)
            lines.append(f"  {each['create_ts']}  {each['age_in_h']} h  {snapshots}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
