"""What Engine's log and release explain: what looks like a fault and is none of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from storpool_ovirt import presence, rights, text
from storpool_ovirt.doctor import checks, engine_machine
from storpool_ovirt.doctor.checks import WARNING, Check, Result, Site
from storpool_ovirt.engine.engine_tables import Tables

FILE = f"{engine_machine.LOGS}/engine.log"
# Some hours of a busy Engine; the log may have gigabytes.
TAIL_BYTES = 4 << 20
_DEVICES = re.compile(r"^(?P<when>.{19}).*Failed during parsing devices of VM (?P<vm>.{1,100}?) \(")
_VMS_MAX = 5


def devices(site: Site) -> Iterator[Result]:
    """Look for a line that Engines up to 4.5.7 write for VMs with managed block disks."""
    path = site.path(FILE)
    if not presence.there(path):
        yield checks.unknown(f"{path} is not there")
        return
    found = [each for line in text.lines(_tail(path)) if (each := _DEVICES.match(line))]
    if not found:
        yield checks.ok(f"the last {TAIL_BYTES >> 20} MiB of {path} tell of no such failure")
        return
    vms = sorted({each["vm"] for each in found})
    yield Result(
        WARNING,
        f'{path} has {len(found)} lines "Failed during parsing devices of VM", the last at'
        f" {found[-1]['when']}, for {', '.join(vms[:_VMS_MAX])}",
        "Engine does not learn of changes of these VMs' devices, as names in the guest; disks work."
        " Engines up to 4.5.7 fail so for any managed block disk (VmDevicesConverter.java)",
        "update Engine to a release after 4.5.7; before that there is nothing to do",
    )


def _tail(path: str) -> str:
    """Return the end of a log, as whoever could replace it."""
    with rights.taken(rights.of(path)):
        file = rights.opened(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        data = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
    finally:
        os.close(file)
    return data.decode(errors="replace")


def capacity(site: Site) -> Iterator[Result]:
    """Tell why a domain may be shown without its capacity."""
    tables = engine_machine.tables(site)
    release = tables.release or "unknown"
    if not tables.ours:
        yield checks.ok("Engine has no storage domain of ours yet")
    elif tables.is_later:
        yield checks.ok(f"Engine {release} asks for the capacity of domains")
    else:
        yield checks.ok(_told(tables, release))


def _told(tables: Tables, release: str) -> str:
    shown = ", ".join(each.name for each in tables.ours)
    return (
        f"Engine {release} asks for a managed block domain's capacity once at most, and shows N/A"
        f" for {shown}: that is no fault, and later Engines show it"
    )


CHECKS = (
    Check("engine-log-devices", "Engine reads the devices of VMs", devices),
    Check("engine-capacity", "a capacity that is not shown is explained", capacity),
)
