"""Commands that Engine's machine runs by itself at regular times: turned on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_ovirt.admin import console

if TYPE_CHECKING:
    from storpool_ovirt.setup import engine, timers


def switch(out: console.Console, timer: timers.Timer, wishes: engine.Wishes, dry_run: bool) -> int:
    """Turn a timer on or off on this machine, as is wished; return the exit code. Raises InputError
    for another user than root."""
    from storpool_ovirt.setup import run, steps
    from storpool_ovirt.setup.site import ENGINE, Site, check_root

    check_root()
    report = run.some(Site(ENGINE), wishes, timer.ids, dry_run)
    out.say("\n".join(steps.text(report)))
    return 1 if report.is_failed else 0
