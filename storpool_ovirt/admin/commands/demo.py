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
@click.option(
    "--release",
    metavar="NAME",
    help="Play this release of Engine with a Vdsm of its time, such as 4.5.7: what is installed"
    " there, started as it does, and taken off again.",
)
@click.option(
    "--stay",
    is_flag=True,
    help="In place of that, a world with some disks, one of them deleted by mistake, and what to"
    " type in another terminal to try these commands in it, until Ctrl-C.",
)
def command(devices: str, release: str | None, stay: bool) -> int:
    """Live through a disk's whole life on a StorPool simulator, with the programs that oVirt will
    run."""
    if stay and release:
        raise click.UsageError("--stay goes without --release.")
    # Installed beside the house, or not at all: its help does without.
    import ovirt_demo
    from ovirt_demo import releases

    try:
        return ovirt_demo.run(devices=devices, release=release, stays=stay)
    except releases.Unknown as error:
        raise click.UsageError(str(error)) from None
