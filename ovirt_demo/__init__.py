"""What oVirt would do, on one machine: the demo, and the means that demo and tests share.

`engine`, `vdsm` and `flows` stand for Engine and Vdsm; `database` and `simulator` run what those
need; `story` is the demo. `releases` has what differs between oVirt's releases. Nothing here
imports the product: it is started, as oVirt starts it.
"""

from __future__ import annotations


def run(*, devices: str = "auto", release: str | None = None, stays: bool = False) -> int:
    """Run the demo on standard output; return the exit code (see story.run).

    `stays`: a world that an administrator can try his command in, until a signal, in place of the
    story.

    `devices` is the simulator's: auto, loop (real block devices, as root) or file. `release` is the
    name of an Engine; without one our programs are started as master starts them. Raises
    releases.Unknown.
    """
    from ovirt_demo import releases, screen, story

    played = releases.pair(release) if release else None
    return story.run(screen.Screen(), devices=devices, release=played, stays=stays)
