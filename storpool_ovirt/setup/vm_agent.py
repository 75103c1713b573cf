"""storpool-vm-agent as a service of a host: its program, its unit, and whether it is on.

It is off until somebody asks for it, and whether it is on is changed only then: by systemd, whose
link is what says so. A service that is on with the program of an earlier release is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from storpool_ovirt import errors, installation, presence, text, tool
from storpool_ovirt.setup import placing, services
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    DONE,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
    Restart,
    Step,
)
from storpool_ovirt.setup.things import File, Shipped

PROGRAM = "storpool-vm-agent"
UNIT = f"{PROGRAM}.service"
SHIPPED = f"systemd/{UNIT}"
PLACE = f"/etc/systemd/system/{UNIT}"
PACKAGES_PLACE = f"/usr/lib/systemd/system/{UNIT}"
WANTED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"  # there where it is enabled
TURN_ON = "storpool-ovirt setup host --vm-agent"
# It starts in a tenth of a second, and ends in five at most (its unit).
SWITCH_SECONDS = 40.0


def steps(site: Site, wanted: bool | None) -> list[Step]:
    """Return what belongs to it; `wanted` is whether it is to be on, None: as it is."""
    program = Link(
        site,
        ("vm-agent-program", "the program of the service for guests"),
        f"{installation.PACKAGES_PROGRAMS}/{PROGRAM}",
        site.program(PROGRAM),
    )
    unit = File(
        site,
        ("vm-agent-unit", "the unit of the service for guests"),
        Shipped(
            PLACE,
            SHIPPED,
            reader=services.Unit(site.root, UNIT),
            packages_path=PACKAGES_PLACE,
        ),
    )
    return [*([] if site.is_packaged else [program]), unit, Service(site, wanted)]


def restarts(site: Site) -> Sequence[Restart]:
    """Return that it has to be restarted, where it runs with what another release brought."""
    started = services.started_at(site.root, UNIT)
    renewed = max(placing.changed_at(f"{site.code}/__init__.py"), placing.changed_at(_unit(site)))
    if not 0 < started < renewed:
        return []
    return [
        Restart(
            UNIT,
            "it was started before its program or its unit was renewed",
            f"at any time, nothing else notices: systemctl restart {UNIT}",
        )
    ]


class Service:
    """Whether it is on: now, and after each boot."""

    id = "vm-agent"
    title = "guests grow with their disks, and none stays frozen"

    def __init__(self, site: Site, wanted: bool | None) -> None:
        self._site = site
        self._wanted = wanted
        self._link = site.path(WANTED)

    def look(self) -> Found:
        """As Step has it."""
        is_enabled, is_running = self._seen()
        if self._wanted is None:
            return self._look_unasked(is_enabled, is_running)
        told = _told(is_enabled, is_running)
        if not self._wanted:
            return Found(WOULD_CHANGE if is_enabled or is_running else DONE, told)
        is_on = is_enabled and (is_running or not services.is_booted(self._site.root))
        return Found(DONE if is_on else WOULD_CHANGE, told)

    def do(self) -> None:
        """As Step has it."""
        if not self._wanted:
            self.undo()
            return
        self._site.record.link(self._link, _unit(self._site))
        self._switch("enable")

    def look_back(self) -> Found:
        """As Step has it."""
        is_enabled, is_running = self._seen()
        told = _told(is_enabled, is_running)
        if not is_enabled and not is_running:
            return Found(NOT_NEEDED, told)
        is_packages = self._site.is_packaged or self._site.has_packages
        if is_packages and not self._site.record.is_links(self._link, _unit(self._site)):
            return Found(NOT_NEEDED, f"{told}, not by setup, and goes with our packages")
        return Found(WOULD_UNDO, told)

    def undo(self) -> None:
        """As Step has it."""
        self._switch("disable")
        self._site.record.forget(self._link)

    def _look_unasked(self, is_enabled: bool, is_running: bool) -> Found:
        told = _told(is_enabled, is_running)
        if not is_enabled and not is_running:
            return Found(NOT_NEEDED, f"{told}; {TURN_ON} turns it on")
        if is_enabled and not is_running and services.is_booted(self._site.root):
            return Found(NEEDS_YOU, told, f"journalctl -u {UNIT}; systemctl start {UNIT}")
        return Found(DONE, told)

    def _seen(self) -> tuple[bool, bool]:
        """Return whether it is enabled, and whether it runs."""
        return presence.named(self._link), services.is_active(self._site.root, UNIT)

    def _switch(self, verb: str) -> None:
        now = ["--now"] if services.is_booted(self._site.root) else []
        ended = tool.run("systemctl", verb, *now, UNIT, seconds=SWITCH_SECONDS)
        if ended.code != 0:
            said = " ".join(text.lines(ended.said))
            raise errors.InputError(
                UNIT, f"cannot be {verb}d ({said})", f"look at  journalctl -u {UNIT}"
            )


def _unit(site: Site) -> str:
    return site.path(PACKAGES_PLACE if site.is_packaged else PLACE)


def _told(is_enabled: bool, is_running: bool) -> str:
    words = {
        (True, True): "is enabled and runs",
        (True, False): "is enabled and does not run",
        (False, True): "runs, and will not after a boot",
        (False, False): "is off",
    }
    return f"{UNIT} {words[is_enabled, is_running]}"
