"""storpool-vm-agent as a service of a host: its program, its unit, and whether it is on.

A service that is on with the program of an earlier release is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from storpool_ovirt import installation
from storpool_ovirt.setup import placing, services, switch
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import Restart, Step
from storpool_ovirt.setup.things import File, Shipped

PROGRAM = "storpool-vm-agent"
UNIT = f"{PROGRAM}.service"
SHIPPED = f"systemd/{UNIT}"
PLACE = f"{switch.PLACES}/{UNIT}"
PACKAGES_PLACE = f"{switch.PACKAGES_PLACES}/{UNIT}"
TURN_ON = "storpool-ovirt setup host --vm-agent"
_SWITCHED = switch.Unit(UNIT, "multi-user.target", TURN_ON)
WANTED = _SWITCHED.wanted  # there where it is enabled


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
    title = "guests grow with their disks, and none stays frozen"
    is_on = switch.Switch(site, ("vm-agent", title), _SWITCHED, wanted)
    return [*([] if site.is_packaged else [program]), unit, is_on]


def restarts(site: Site) -> Sequence[Restart]:
    """Return that it has to be restarted, where it runs with what another release brought."""
    started = services.started_at(site.root, UNIT)
    unit = _SWITCHED.path(site)
    renewed = max(placing.changed_at(f"{site.code}/__init__.py"), placing.changed_at(unit))
    if not 0 < started < renewed:
        return []
    return [
        Restart(
            UNIT,
            "it was started before its program or its unit was renewed",
            f"at any time, nothing else notices: systemctl restart {UNIT}",
        )
    ]
