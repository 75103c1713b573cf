"""The commands of `storpool-ovirt`, a file each, named as the command is.

To add one, add its row here, and a file with a click command called `command`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

import storpool_ovirt

if TYPE_CHECKING:
    import click

# What is told of each in the list of all. `fence-host` is in fence_host.py.
TABLE: Mapping[str, str] = {
    "attachments": "who has what attached, open or closed, since when and why",
    "audit": "hold mapping, cluster and hosts against each other",
    "backup": "copy disks to another location, and bring them back",
    "backups": "list the moments to which a VM can be taken back",
    "brake": "show or lift the brake on deletes of many disks",
    "claim": "say that this Engine is the one that has the disks",
    "demo": "a disk's whole life on a StorPool simulator",
    "doctor": "what is wrong with this machine, and what mends it",
    "domain": "print or make a storage domain that works, or list all",
    "fence-host": "take everything of oVirt's from a lost host",
    "mend": "make a disk and its object agree after a change by hand",
    "policy": "QoS classes and VolumeCare policies of disks: set, explain",
    "rebuild": "make a lost mapping again from the tags",
    "reconcile": "mend what the audit is sure of, or what is named",
    "restore": "take all disks of a VM back to one of its backups",
    "setup": "put all of this in its places on a machine, or take it away",
    "shareable": "mark a disk as one that several VMs may have, for plugs",
    "snapshots": "list snapshots: which are of one moment, of which VM",
    "space": "what takes space in StorPool, and whose it is",
    "trash": "what was deleted and is kept for a while: list, restore, purge",
}

# What the demo needs beside us; our packages have none of it.
_DEMO_PARTS = {"demo": "ovirt_demo"}


def listed() -> dict[str, str]:
    """Return the rows of the commands that are all here, with what they need in the folder that
    has us: a copy elsewhere on this machine is not of this version, and no part of a package."""
    here = [os.path.dirname(each) for each in storpool_ovirt.__path__]
    return {
        name: about
        for name, about in TABLE.items()
        if name not in _DEMO_PARTS or PathFinder.find_spec(_DEMO_PARTS[name], here) is not None
    }


def loaded(name: str) -> click.Command:
    """Return a command of the table; raise ImportError when a library that it needs is not
    there."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    command: click.Command = module.command
    return command
