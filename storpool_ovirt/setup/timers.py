"""What Engine's machine does at regular times: for each of it two units, and whether they are on.

Where nobody has ever asked for one, nothing of it is there, and `setup engine` has no such steps.
"""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt import installation, presence
from storpool_ovirt.setup import services, switch
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import Step
from storpool_ovirt.setup.things import File, Shipped

_PROGRAM = "storpool-ovirt"


class Timer(NamedTuple):
    """What is done at regular times: the word of its steps and units, the command that turns it on,
    and the titles of its steps: of its service, of its timer's unit, of the timer being on."""

    word: str
    turn_on: str
    titles: tuple[str, str, str]

    @property
    def ids(self) -> tuple[str, str, str, str]:
        """Return the names of its steps."""
        word = self.word
        return f"{word}-program", f"{word}-service", f"{word}-timer-unit", f"{word}-timer"

    @property
    def name(self) -> str:
        """Return the name of its units."""
        return f"storpool-ovirt-{self.word}"

    @property
    def unit(self) -> switch.Unit:
        """Return the unit that is on or off."""
        return switch.Unit(f"{self.name}.timer", "timers.target", self.turn_on)


POLICY = Timer(
    "policy",
    "storpool-ovirt policy sync --timer",
    (
        "the unit that writes what policies say",
        "the unit that starts it every hour",
        "disks get what their policies say, every hour",
    ),
)
BACKUP = Timer(
    "backup",
    "storpool-ovirt backup expire --timer",
    (
        "the unit that gives up old copies",
        "the unit that starts it every day",
        "copies in other locations that are too old are given up, every day",
    ),
)


def steps(site: Site, timer: Timer, wanted: bool | None) -> list[Step]:
    """Return what belongs to it; `wanted` is whether it is to be on, None: as it is."""
    unit = timer.unit
    is_there = any(presence.named(site.path(each)) for each in (_place(unit.name), unit.wanted))
    is_on = switch.Switch(site, (timer.ids[3], timer.titles[2]), unit, wanted)
    if not is_there:
        return [] if wanted is None else [*_units(site, timer), is_on] if wanted else [is_on]
    return [*_units(site, timer), is_on]


def _units(site: Site, timer: Timer) -> list[Step]:
    program = Link(
        site,
        (timer.ids[0], "the command, where units find it"),
        f"{installation.PACKAGES_PROGRAMS}/{_PROGRAM}",
        site.program(_PROGRAM),
    )
    return [
        *([] if site.is_packaged else [program]),
        _unit(site, (timer.ids[1], timer.titles[0]), f"{timer.name}.service"),
        _unit(site, (timer.ids[2], timer.titles[1]), timer.unit.name),
    ]


def _unit(site: Site, names: tuple[str, str], name: str) -> File:
    return File(
        site,
        names,
        Shipped(
            _place(name),
            f"systemd/{name}",
            reader=services.Unit(site.root, name),
            packages_path=f"{switch.PACKAGES_PLACES}/{name}",
        ),
    )


def _place(name: str) -> str:
    return f"{switch.PLACES}/{name}"
