"""What oVirt would do, on one machine: the demo, and the means that demo and tests share.

`engine`, `vdsm` and `flows` stand for Engine and Vdsm; `database` and `simulator` run what those
need; `story` is the demo. Nothing here imports the product: it is started, as oVirt starts it.
"""

from __future__ import annotations


def run(*, devices: str = "auto") -> int:
    """Run the demo on standard output; return the exit code (see story.run).

    `devices` is the simulator's: auto, loop (real block devices, as root) or file.
    """
    from ovirt_demo import screen, story

    return story.run(screen.Screen(), devices=devices)
