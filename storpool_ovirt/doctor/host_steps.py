"""What mends a host: the steps of `storpool-ovirt setup host`, and no second way to do them."""

from __future__ import annotations

import functools
from typing import NamedTuple

from storpool_ovirt import errors, installation
from storpool_ovirt.doctor.checks import Action
from storpool_ovirt.setup import engine, run, steps
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
    """Set this host up, as the command does; raise one of our errors where a step of these ids is
    not done then."""
    del root  # setup finds it where doctor has it from
    report = run.done(Site(HOST), engine.Wishes(), False, lambda _: None)
    for row in report.rows:
        if row.id in ids and row.found.state in (steps.FAILED, steps.NEEDS_YOU):
            raise errors.InputError(row.title, row.found.what, row.found.do)
    return "; ".join(row.found.what for row in report.rows if row.id in ids)
