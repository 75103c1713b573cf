"""No disk can be attached where VMs would start unfenced: what the plan of a host holds back.

Done, the programs that attach come only when all is there that keeps two hosts from writing one
disk. Taken back, that goes only when those programs are gone, and nothing is attached then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from storpool_ovirt import errors, presence, rights
from storpool_ovirt.host import in_use
from storpool_ovirt.setup import placing
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    CHANGED,
    DONE,
    FAILED,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
    Row,
    Step,
)

VDSM = "/usr/libexec/vdsm"
HELPER = f"{VDSM}/managedvolume-helper-storpool"
PIECE = f"{VDSM}/os_brick"
# The steps that let disks be attached, and what starts us there.
_ATTACHING = {"helper": (HELPER, ""), "os-brick": (PIECE, "/__init__.py")}
_GUARDS = frozenset(
    (
        "vm-door",
        "fence-door",
        "sudoers",
        "hook-before-vm-start",
        "hook-before-disk-hotplug",
        "hook-before-vm-migrate-source",
        "boot-hook",
    )
)
_STAY = _GUARDS | {"fapolicyd", "tmpfiles", "multipath"}  # with the programs, or for the guards
_OURS = b"storpool_ovirt"


class Guard:
    """What the plan of a host asks before each step."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def before(self, step: Step, rows: Sequence[Row], dry_run: bool) -> Found | None:  # noqa: ARG002
        """Return why a step must not be done after these, None where it may."""
        if step.id not in _ATTACHING:
            return None
        good = (DONE, CHANGED, WOULD_CHANGE)
        lacking = [row for row in rows if row.id in _GUARDS and row.found.state not in good]
        if not lacking:
            return None
        first = lacking[0]
        return Found(
            FAILED,
            f"{step.look().what}; nothing is put there, as VMs would start unfenced without the"
            f" step {first.id} ({first.found.what})",
            first.found.do or "put that right, then run this again",
        )

    def back(self, step: Step, rows: Sequence[Row], dry_run: bool) -> Found | None:
        """Return why a step must not be taken back after these, None where it may."""
        if step.id not in _STAY:
            return None
        found = step.look_back()
        if found.state != WOULD_UNDO:
            return None
        there = self._attaching(rows)
        if there:
            return Found(
                NOT_NEEDED, f"{found.what}, and stays: with {there} disks can be attached here"
            )
        if dry_run:
            return None
        try:
            check_unused(self._site.root)
        except errors.Error as error:
            return Found(
                FAILED,
                f"{found.what}, and stays: {error}",
                "run  storpool-ovirt setup host  again, so that it can be detached; then put the"
                " host into maintenance, and undo",
            )
        return None

    def _attaching(self, rows: Sequence[Row]) -> str:
        """Return what can attach disks of ours here after these steps, "" for nothing."""
        states = {row.id: row.found.state for row in rows}
        for name, (path, within) in _ATTACHING.items():
            here = self._site.path(path)
            if states[name] == FAILED and presence.named(here):
                return here
            if states[name] != WOULD_UNDO and _starts_us(here + within):
                return here
        return ""


class Hook(Link):
    """A link for Vdsm's hooks, in folders that only root can change."""

    def look(self) -> Found:
        """As Step has it."""
        found = super().look()
        why = _weakness(self._path) if found.state in (DONE, WOULD_CHANGE) else ""
        return Found(NEEDS_YOU, why, "put that right, then run this again") if why else found


def check_unused(root: str) -> None:
    """Raise one of our errors while a volume is attached here: nothing could detach it any more."""
    found = in_use.attached(root)
    if found:
        raise in_use.refusal(found)


def _starts_us(path: str) -> bool:
    seen = placing.look(os.path.realpath(path))
    return seen.kind == placing.FILE and _OURS in seen.content


def _weakness(path: str) -> str:
    """Return why nothing of ours would be safe in the folders above a path, "" where it is."""
    here = os.path.dirname(path)
    while not presence.named(here):
        here = os.path.dirname(here)
    if not presence.there(here):
        return f"{here} leads nowhere"
    try:
        found = rights.holder(here)
    except OSError as error:
        raise presence.unseen(here, error) from error
    return f"{here} can be changed by another user than root" if found is not None else ""
