"""storpool-ovirt: the command for those who set the integration up, watch it and try it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

DEMO_EXTRA = "demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    arguments = list(sys.argv if argv is None else argv)
    try:
        code: int = _commands().main(arguments[1:], prog_name="storpool-ovirt", standalone_mode=False) or 0
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("storpool_ovirt"):
            raise  # not a library of somebody else's: this installation is broken, and the trace tells where
        return _complain(
            f"{(error.name or '').partition('.')[0]} is not installed: run  pip install 'storpool-ovirt[{DEMO_EXTRA}]'"
        )
    except Exception as error:
        if not hasattr(error, "format_message"):  # click.ClickException: what was typed is not a command of ours
            raise
        return _complain(error.format_message(), code=2)
    return code


def _commands() -> click.Group:
    """Make the table of verbs; click is imported here, so that a host that does not have it gets a clear sentence."""
    import click

    @click.group(help=__doc__)
    def group() -> None: ...

    @group.command()
    @click.option(
        "--devices", type=click.Choice(["auto", "loop", "file"]), default="auto", show_default=True,
        help="What the hosts see: real block devices (loop, needs root) or plain files.",
    )  # fmt: skip
    def demo(devices: str) -> int:
        """Live through a disk's whole life on a StorPool simulator, with the programs that oVirt will run."""
        from storpool_ovirt import demo as story

        return story.run(devices=devices)

    return group


def _complain(sentence: str, code: int = 1) -> int:
    sys.stderr.write(f"storpool-ovirt: {sentence}\n")
    return code
