"""One pass of a player from outside: `python3 -m storpool_simulator.players qos`, or `volumecare`.

It is a process of its own that can be killed at any moment; the API is where SP_API_HTTP_HOST,
SP_API_HTTP_PORT and SP_AUTH_TOKEN say. It prints what the pass did. Exit codes: 0 done, 1 failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from storpool_simulator.players import troupe, wire


@click.command(help=__doc__)
@click.argument("player", type=click.Choice(sorted(troupe.PLAYERS)))
@click.option("--host", envvar="SP_API_HTTP_HOST", default="127.0.0.1", help="Of the API.")
@click.option("--port", envvar="SP_API_HTTP_PORT", type=int, required=True, help="Of the API.")
@click.option("--token", envvar="SP_AUTH_TOKEN", required=True, help="Of the API.")
def _command(player: str, host: str, port: int, token: str) -> None:
    report = troupe.PLAYERS[player](wire.Api(host, port, token, player)).play()
    click.echo(json.dumps(report))


def main(argv: Sequence[str] | None = None) -> int:
    """Make one pass and return the exit code."""
    try:
        _command.main(
            None if argv is None else list(argv), prog_name="players", standalone_mode=False
        )
    except click.ClickException as problem:
        click.echo(f"players: {' '.join(problem.format_message().split())}", err=True)
        return 2
    except (wire.CallError, ValueError) as problem:
        click.echo(f"players: {problem}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
