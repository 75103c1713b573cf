"""All checks, by the place that they are for.

To add one, add a row to the table `CHECKS` of the module whose subject it is, or that module here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from storpool_ovirt.doctor import checks
from storpool_ovirt.doctor.checks import Check

# Modules of this room, each with a tuple `CHECKS`. They are loaded when they are needed: those of
# an Engine need PostgreSQL's library, which a host has not.
MODULES: Mapping[str, Sequence[str]] = {
    checks.ENGINE: (
        "engine_programs",
        "engine_domains",
        "engine_databases",
        "engine_process",
        "engine_files",
        "engine_settings",
        "engine_timers",
        "engine_hosts",
        "engine_network",
        "engine_trust",
        "engine_log",
    ),
    checks.HOST: (
        "host_hooks",
        "host_vdsm",
        "host_installation",
        "host_doors",
        "host_storpool",
        "host_disks",
        "host_system",
        "host_vm_agent",
    ),
}


def of(place: str) -> list[Check]:
    """Return the checks of a place; raise ImportError when a library that they need is missing."""
    found: list[Check] = []
    for name in MODULES[place]:
        found += importlib.import_module(f"storpool_ovirt.doctor.{name}").CHECKS
    return found
