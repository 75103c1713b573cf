"""`storpool-ovirt demo`."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--devices",
    type=click.Choice(["auto", "loop", "file"]),
    default="auto",
    show_default=True,
    help="What the hosts see: real block devices (loop, needs root) or plain files.",
)
def command(devices: str) -> int:
    """Live through a disk's whole life on a StorPool simulator, with the programs that oVirt will
    run."""
    # Installed beside the house, or not at all: its help does without.
    import ovirt_demo

    return ovirt_demo.run(devices=devices)
