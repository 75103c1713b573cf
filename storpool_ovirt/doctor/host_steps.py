"""What mends a host: the steps of `storpool-ovirt setup host`, and no second way to do them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt import errors, installation
from storpool_ovirt.doctor.checks import Action
from storpool_ovirt.setup import host as setup_host
from storpool_ovirt.setup import run, steps
from storpool_ovirt.setup.site import HOST, Site

SETUP = "storpool-ovirt setup host"


class Mend(NamedTuple):
    """How something of ours comes back: for a person, and for `--fix` where it may do that."""

    fix: str
    action: Action | None = None


def again(*ids: str) -> Mend:
    """Return how what these steps of setup put in place comes back."""
    if installation.is_packaged():
        return Mend(installation.mend(installation.HOST))
    return Mend(SETUP, Action(SETUP, functools.partial(_set_up, ids=ids)))


def reinstalled() -> str:
    """Return the command that brings our code back, where that is broken."""
    return installation.mend(installation.HOST)


def either() -> str:
    """Return what brings a program back that is there and does not work: its link, or its code."""
    found = dict.fromkeys((again().fix, reinstalled()))
    return "; or  ".join(found)


def _set_up(root: str, ids: tuple[str, ...]) -> str:
    """Set this host up, as the command does, and return what is so now.

    Its plan holds back what lets disks be attached without our hooks. Raises one of our errors,
    also where a step of these ids is not done then.
    """
    del root  # setup finds it where doctor has it from
    site = Site(HOST)
    report = run.done(site, setup_host.Wishes(), False, lambda _: None)
    rows = [row for row in report.rows if row.id in ids]
    for row in rows:
        _check(row.title, row.found, (steps.DONE, steps.CHANGED))
    for step in setup_host.steps(site, setup_host.Wishes()):
        if step.id in ids:
            _check(step.title, step.look(), (steps.DONE,))
    undone = [row.id for row in report.rows if row.found.state in (steps.FAILED, steps.NEEDS_YOU)]
    told = [row.found.what for row in rows]
    return "; ".join([*told, *(f"{each} is not done yet" for each in undone)])


def _check(title: str, found: steps.Found, states: Sequence[str]) -> None:
    """Raise InputError for a step that is in none of these states."""
    if found.state not in states:
        raise errors.InputError(title, f"is not done: {found.what}", found.do)
