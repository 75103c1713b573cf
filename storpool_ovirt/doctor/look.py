"""One look at a machine: all checks of what it is, side by side, and which releases are there."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from storpool_ovirt.doctor import checks, places, report, run, versions

# Of the time that somebody has: the rest is for the start of so many checks, their last words, and
# the report.
_SHARE_OF_CHECKS = 0.85


def at(where: Sequence[str], root: str, limit_seconds: float) -> report.Look:
    """Look at a machine, its `/` at `root`, as what it is; return what was found.

    It takes `limit_seconds` at most, and never raises for what a check found.
    """
    moment, began = time.time(), time.monotonic()
    table = (*places.together(where), versions.CHECK)
    site = checks.Site(where[0], root)
    findings = run.examined(site, table, _SHARE_OF_CHECKS * limit_seconds)
    return report.Look(
        " and ".join(where),
        os.uname().nodename,
        moment,
        time.monotonic() - began,
        [each for each in findings if each.check is not versions.CHECK],
        [
            (each.result.subject or "releases", each.result.cause)
            for each in findings
            if each.check is versions.CHECK
        ],
    )
