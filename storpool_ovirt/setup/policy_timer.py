"""The hourly `storpool-ovirt policy sync` of Engine's machine: its two units, and whether it is on.

Where nobody has ever asked for it, nothing of it is there, and `setup engine` has no such steps.
"""

from __future__ import annotations

from storpool_ovirt import installation, presence
from storpool_ovirt.setup import services, switch
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import Step
from storpool_ovirt.setup.things import File, Shipped

NAME = "storpool-ovirt-policy"
TIMER = switch.Unit(f"{NAME}.timer", "timers.target", "storpool-ovirt policy sync --timer")
_PROGRAM = "storpool-ovirt"
IDS = ("policy-program", "policy-service", "policy-timer-unit", "policy-timer")


def steps(site: Site, wanted: bool | None) -> list[Step]:
    """Return what belongs to it; `wanted` is whether it is to be on, None: as it is."""
    is_there = any(presence.named(site.path(each)) for each in (_place(TIMER.name), TIMER.wanted))
    title = "disks get what their policies say, every hour"
    is_on = switch.Switch(site, (IDS[3], title), TIMER, wanted)
    if not is_there:
        return [] if wanted is None else [*_units(site), is_on] if wanted else [is_on]
    return [*_units(site), is_on]


def _units(site: Site) -> list[Step]:
    program = Link(
        site,
        (IDS[0], "the command, where units find it"),
        f"{installation.PACKAGES_PROGRAMS}/{_PROGRAM}",
        site.program(_PROGRAM),
    )
    return [
        *([] if site.is_packaged else [program]),
        _unit(site, (IDS[1], "the unit that writes what policies say"), f"{NAME}.service"),
        _unit(site, (IDS[2], "the unit that starts it every hour"), TIMER.name),
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
