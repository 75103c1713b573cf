"""Links to our programs, and to a folder of our code, where oVirt looks for them.

Somebody else's in a place of ours is told and left.
"""

from __future__ import annotations

import os

from storpool_ovirt import installation, presence, rights
from storpool_ovirt.setup import placing, things
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    DONE,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
)

_OURS = b"storpool_ovirt"  # in each program that starts us, by pip's script or our packages'
_CODE = "/storpool_ovirt/"  # what is above a folder of our code


class Link:
    """A link to a program, or a folder, of ours."""

    def __init__(self, site: Site, names: tuple[str, str], path: str, target: str) -> None:
        self.id, self.title = names
        self._site = site
        self._path = site.path(path)
        self._target = target

    def look(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        leads = _leads(self._path, seen)
        lacks = "" if self._site.is_packaged and leads != self._target else _lacks(self._target)
        if lacks:
            again = f"run  {installation.mend(self._site.place)}"
            return Found(NEEDS_YOU, f"{self._target} {lacks}", again)
        if leads == self._target and not placing.is_left(self._path):
            return Found(DONE, f"{self._path} leads to {leads}")
        if self._site.is_packaged:
            return self._reinstalled(seen)
        if seen.kind == placing.MISSING:
            return Found(WOULD_CHANGE, f"{self._path} is not there")
        if leads == self._target or self._is_ours(seen):
            return Found(WOULD_CHANGE, f"{self._path} is {seen.words}")
        return things.foreign(self._path, seen)

    def do(self) -> None:
        """As Step has it."""
        things.make_way(self._site, self._path)
        seen = placing.look(self._path)
        self._site.record.link(self._path, self._target)
        placing.link(self._path, self._target, seen)

    def look_back(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        leads = _leads(self._path, seen)
        if _is_packages(leads):
            return Found(NOT_NEEDED, f"{self._path} leads to {leads}: {things.PACKAGES}")
        if placing.is_left(self._path) or leads == self._target or self._is_dead(seen):
            return Found(WOULD_UNDO, f"{self._path} is {seen.words}")
        if seen.kind == placing.MISSING:
            return Found(NOT_NEEDED, f"{self._path} is not there")
        return Found(NOT_NEEDED, f"{self._path} is {seen.words}, which is not ours: it is left")

    def undo(self) -> None:
        """As Step has it."""
        seen = placing.look(self._path)
        is_ours = _leads(self._path, seen) == self._target or self._is_dead(seen)
        placing.removed(self._path, seen if is_ours else placing.Seen(placing.MISSING))
        self._site.record.forget(self._path)

    def _reinstalled(self, seen: placing.Seen) -> Found:
        again = installation.mend(self._site.place)
        if seen.kind == placing.MISSING:
            return Found(NEEDS_YOU, f"{self._path} is not there", again)
        return Found(NEEDS_YOU, f"{self._path} is {seen.words}", f"move it away, then  {again}")

    def _is_ours(self, seen: placing.Seen) -> bool:
        """Return whether a link is one of ours, also of another installation of ours by pip."""
        leads = _leads(self._path, seen)
        if not leads or os.path.basename(leads) != os.path.basename(self._target):
            return False
        if self._site.record.is_links(self._path, seen.target):
            return True
        _, ours, within = self._target.partition(_CODE)
        return leads.endswith(f"{_CODE}{within}") if ours else _starts_ours(leads)

    def _is_dead(self, seen: placing.Seen) -> bool:
        """Return whether a link is one that we made, and leads nowhere."""
        return self._site.record.is_links(self._path, seen.target) and not presence.there(
            self._path
        )


def _leads(path: str, seen: placing.Seen) -> str:
    """Return the whole path to which a link leads, "" for what is none."""
    if seen.kind != placing.LINK:
        return ""
    return os.path.normpath(os.path.join(os.path.dirname(path), seen.target))


def _is_packages(leads: str) -> bool:
    folders = (installation.PACKAGES_PROGRAMS, installation.PACKAGES_CODE)
    return any(leads.startswith(f"{each}/") for each in folders)


def _starts_ours(program: str) -> bool:
    try:
        return _OURS in rights.read(program)
    except OSError:
        return False


def _lacks(program: str) -> str:
    """Return what is wrong with a program, or a folder, to which a link of ours leads."""
    if not presence.there(program):
        return "is not there"
    return "" if os.access(program, os.X_OK) else "cannot be run"
