"""A unit of systemd's that is off until somebody asks for it: whether it is on, now and after each
boot, is changed only then, by systemd, whose link is what says so."""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt import errors, presence, text, tool
from storpool_ovirt.setup import services
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    DONE,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
)

PLACES, PACKAGES_PLACES = "/etc/systemd/system", "/usr/lib/systemd/system"
# What of ours systemd starts is there in a tenth of a second, and ends in five at most.
SWITCH_SECONDS = 40.0


class Unit(NamedTuple):
    """A unit: its name, the target that wants it where it is enabled, and the command that turns it
    on."""

    name: str
    wanted_by: str
    turn_on: str

    @property
    def wanted(self) -> str:
        """The link that is there where it is enabled."""
        return f"{PLACES}/{self.wanted_by}.wants/{self.name}"

    def path(self, site: Site) -> str:
        """Return where its file is."""
        return site.path(f"{PACKAGES_PLACES if site.is_packaged else PLACES}/{self.name}")


class Switch:
    """Whether a unit is on; `wanted` is whether it is to be, None: as it is."""

    def __init__(self, site: Site, names: tuple[str, str], unit: Unit, wanted: bool | None) -> None:
        self.id, self.title = names
        self._site = site
        self._unit = unit
        self._wanted = wanted
        self._link = site.path(unit.wanted)

    def look(self) -> Found:
        """As Step has it."""
        is_enabled, is_running = self._seen()
        if self._wanted is None:
            return self._look_unasked(is_enabled, is_running)
        told = self._told(is_enabled, is_running)
        if not self._wanted:
            return Found(WOULD_CHANGE if is_enabled or is_running else DONE, told)
        is_on = is_enabled and (is_running or not services.is_booted(self._site.root))
        return Found(DONE if is_on else WOULD_CHANGE, told)

    def do(self) -> None:
        """As Step has it."""
        if not self._wanted:
            self.undo()
            return
        self._site.record.link(self._link, self._unit.path(self._site))
        self._switch("enable")

    def look_back(self) -> Found:
        """As Step has it."""
        is_enabled, is_running = self._seen()
        told = self._told(is_enabled, is_running)
        if not is_enabled and not is_running:
            return Found(NOT_NEEDED, told)
        is_packages = self._site.is_packaged or self._site.has_packages
        is_ours = self._site.record.is_links(self._link, self._unit.path(self._site))
        if is_packages and not is_ours:
            return Found(NOT_NEEDED, f"{told}, not by setup, and goes with our packages")
        return Found(WOULD_UNDO, told)

    def undo(self) -> None:
        """As Step has it."""
        self._switch("disable")
        self._site.record.forget(self._link)

    def _look_unasked(self, is_enabled: bool, is_running: bool) -> Found:
        told = self._told(is_enabled, is_running)
        if not is_enabled and not is_running:
            return Found(NOT_NEEDED, f"{told}; {self._unit.turn_on} turns it on")
        if is_enabled and not is_running and services.is_booted(self._site.root):
            name = self._unit.name
            return Found(NEEDS_YOU, told, f"journalctl -u {name}; systemctl start {name}")
        return Found(DONE, told)

    def _seen(self) -> tuple[bool, bool]:
        """Return whether it is enabled, and whether it runs."""
        name = self._unit.name
        return presence.named(self._link), services.is_active(self._site.root, name)

    def _switch(self, verb: str) -> None:
        name = self._unit.name
        now = ["--now"] if services.is_booted(self._site.root) else []
        ended = tool.run("systemctl", verb, *now, name, seconds=SWITCH_SECONDS)
        if ended.code != 0:
            said = " ".join(text.lines(ended.said))
            raise errors.InputError(
                name, f"cannot be {verb}d ({said})", f"look at  journalctl -u {name}"
            )

    def _told(self, is_enabled: bool, is_running: bool) -> str:
        words = {
            (True, True): "is enabled and runs",
            (True, False): "is enabled and does not run",
            (False, True): "runs, and will not after a boot",
            (False, False): "is off",
        }
        return f"{self._unit.name} {words[is_enabled, is_running]}"
