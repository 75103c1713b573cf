"""One run of a setup: alone on its machine, looked at first, told step by step."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from storpool_ovirt import errors, rights
from storpool_ovirt.setup import engine, guard, host, placing, steps
from storpool_ovirt.setup.site import ENGINE, Site
from storpool_ovirt.setup.things import Parents

_LOCK_FOLDER, _LOCK = "/run/storpool-ovirt", "setup.lock"


def done(
    site: Site, wishes: engine.Wishes, dry_run: bool, told: Callable[[steps.Row], None]
) -> steps.Report:
    """Set a machine up; raise one of our errors where that is refused as a whole."""
    site.check(undo=False)
    plan = _plan(site, wishes)
    with _alone(site, dry_run):
        rows = steps.done(
            plan, dry_run, told, None if site.place == ENGINE else guard.Guard(site).before
        )
    return steps.Report(site.place, dry_run, rows, _restarts(site, rows))


def undone(
    site: Site, wishes: engine.Wishes, dry_run: bool, told: Callable[[steps.Row], None]
) -> steps.Report:
    """Take back what was set up; raise one of our errors where that is refused as a whole."""
    site.check(undo=True)
    if site.place != ENGINE:
        guard.check_unused(site.root)
    plan: list[steps.Step] = [Parents(site), *_plan(site, wishes)]
    with _alone(site, dry_run):
        rows = steps.undone(
            site, plan, dry_run, told, None if site.place == ENGINE else guard.Guard(site).back
        )
    if not dry_run:
        if site.place == ENGINE:
            engine.tidy(site)
        else:
            host.tidy(site)
    return steps.Report(site.place, dry_run, rows, _restarts(site, rows))


def _plan(site: Site, wishes: engine.Wishes) -> list[steps.Step]:
    return engine.steps(site, wishes) if site.place == ENGINE else host.steps(site)


def _restarts(site: Site, rows: list[steps.Row]) -> list[steps.Restart]:
    try:
        if site.place == ENGINE:
            return engine.restarts(site, rows)
        return host.restarts(site, rows)
    except errors.Error:  # what a service says of itself is a courtesy here
        return []


@contextlib.contextmanager
def _alone(site: Site, dry_run: bool) -> Iterator[None]:
    """Hold off other runs; a look needs nobody's leave, and makes no lock."""
    if dry_run:
        yield
        return
    folder = site.root + _LOCK_FOLDER
    try:
        lock = rights.private(folder, _LOCK)
    except OSError as error:
        raise errors.InputError(
            f"the lock {folder}/{_LOCK}",
            f"cannot be made or opened ({error.strerror})",
            "correct that, then run this again",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Conflict(
                "this machine", "is being set up by another run of this", "wait for it"
            ) from None
        site.record.tidy()
        yield
        placing.removed(f"{folder}/{_LOCK}", placing.look(f"{folder}/{_LOCK}"))
        placing.emptied(folder)
    finally:
        os.close(lock)
