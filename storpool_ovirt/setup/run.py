"""One run of a setup: alone on its machine, looked at first, told step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Union

from storpool_ovirt import errors
from storpool_ovirt.setup import engine, guard, host, locks, steps
from storpool_ovirt.setup.site import ENGINE, Site
from storpool_ovirt.setup.things import Parents

Wishes = Union[engine.Wishes, host.Wishes]  # of the place


def done(
    site: Site, wishes: Wishes, dry_run: bool, told: Callable[[steps.Row], None]
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
    site: Site, wishes: Wishes, dry_run: bool, told: Callable[[steps.Row], None]
) -> steps.Report:
    """Take back what was set up; raise one of our errors where that is refused as a whole."""
    site.check(undo=True)
    if site.place == ENGINE:
        engine.check_undo(site)
    else:
        guard.check_unused(site.root)
    plan: list[steps.Step] = [Parents(site), *_plan(site, wishes)]
    with _alone(site, dry_run):
        rows = steps.undone(
            site,
            plan,
            dry_run,
            told,
            None if site.place == ENGINE else guard.Guard(site).back,
        )
        if not dry_run:
            _tidy(site)
    return steps.Report(site.place, dry_run, rows, _restarts(site, rows))


def one(site: Site, name: str) -> steps.Row:
    """Do one step of a plan, which nothing holds back; raise one of our errors as `done` does."""
    site.check(undo=False)
    with _alone(site, dry_run=False):
        wishes = engine.Wishes() if site.place == ENGINE else host.Wishes()
        plan = [each for each in _plan(site, wishes) if each.id == name]
        [row] = steps.done(plan, False, lambda _: None)
    return row


def some(site: Site, wishes: Wishes, names: Sequence[str], dry_run: bool) -> steps.Report:
    """Do these steps of a plan, which nothing holds back; raise one of our errors as `done`
    does."""
    site.check(undo=False)
    plan = [each for each in _plan(site, wishes) if each.id in names]
    with _alone(site, dry_run):
        rows = steps.done(plan, dry_run, lambda _: None)
    return steps.Report(site.place, dry_run, rows, [])


def _plan(site: Site, wishes: Wishes) -> list[steps.Step]:
    if isinstance(wishes, host.Wishes):
        return host.steps(site, wishes)
    return engine.steps(site, wishes)


def _restarts(site: Site, rows: list[steps.Row]) -> list[steps.Restart]:
    try:
        if site.place == ENGINE:
            return engine.restarts(site, rows)
        return host.restarts(site, rows)
    except errors.Error:  # what a service says of itself is a courtesy here
        return []


def _tidy(site: Site) -> None:
    if site.place == ENGINE:
        engine.tidy(site)
    else:
        host.tidy(site)


@contextlib.contextmanager
def _alone(site: Site, dry_run: bool) -> Iterator[None]:
    """Hold off other runs; a look needs nobody's leave, and makes no lock."""
    if dry_run:
        yield
        return
    with locks.alone(site.root):
        site.record.renew()
        yield
