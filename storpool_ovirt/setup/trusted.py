"""fapolicyd, where it is: what pip installed is of no package, and so not to be run by anybody."""

from __future__ import annotations

import sys

from storpool_ovirt import errors, presence
from storpool_ovirt.engine import fapolicyd
from storpool_ovirt.setup import placing
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import DONE, NOT_NEEDED, WOULD_CHANGE, WOULD_UNDO, Found

TRUST_FILE = "storpool-ovirt-pip"


class Trusted:
    """All files of pip's installation in a trust file of their own, as they are now."""

    id = "fapolicyd"
    title = "fapolicyd lets what pip installed be run"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = sys.prefix
        self._file = site.path(f"{fapolicyd.TRUST_FOLDER}/{TRUST_FILE}")

    def look(self) -> Found:
        """As Step has it."""
        if not self._is_here():
            return Found(NOT_NEEDED, "fapolicyd is not here")
        lacking = fapolicyd.untrusted(self._site.root, self._folder, TRUST_FILE)
        if lacking:
            return Found(WOULD_CHANGE, f"{self._file} does not have {lacking} as it is")
        return Found(DONE, f"{self._file} has all files of {self._folder}")

    def do(self) -> None:
        """As Step has it."""
        self._forget()
        why = fapolicyd.trust_folder(self._site.root, self._folder, TRUST_FILE)
        if why:
            raise errors.InputError(
                "fapolicyd", f"does not take {self._folder} ({why})", "look at its log"
            )

    def look_back(self) -> Found:
        """As Step has it."""
        if placing.look(self._file).kind != placing.FILE:
            return Found(NOT_NEEDED, f"{self._file} is not there")
        return Found(WOULD_UNDO, f"{self._file} is there")

    def undo(self) -> None:
        """As Step has it."""
        self._forget()
        if self._is_here():
            fapolicyd.update(self._site.root)

    def _is_here(self) -> bool:
        return presence.there(self._site.path(fapolicyd.PROGRAM))

    def _forget(self) -> None:
        seen = placing.look(self._file)
        if seen.kind == placing.FILE:
            placing.removed(self._file, seen)
