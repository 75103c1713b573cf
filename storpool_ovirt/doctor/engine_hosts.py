"""Hosts, as Engine knows them: which of them can serve the domains on StorPool."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from storpool_ovirt import errors, names
from storpool_ovirt.doctor import checks, engine_machine
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine.engine_tables import UP, Host, Tables
from storpool_ovirt.host import boot_sweep, vm_points

NONE_USED = "no data center with a domain of ours has a host that is up"
REFRESH = "Management, Refresh Capabilities of the host in Engine"
# The first that takes a volume of ours, and the last that has to be told which (docs/releases.md).
OLDEST, LAST_RELEASE = (4, 50, 5, 1), (4, 50, 7)
POINTS = [point for point, each in vm_points.POINTS.items() if each.refuses]
_OTHERS = [point for point in vm_points.POINTS if point not in POINTS]
_HOOK = "50_storpool"
_MAINTENANCE = ("maintenance", "preparing for maintenance")
_NO_VM = "no VM with a disk on StorPool starts on this host, or migrates to it"
_UPDATE = "put it into maintenance, update its vdsm to 4.50.5.1 or newer, activate it"
_RUNS = (
    f"its Vdsm runs a {_HOOK} at each point; that it is ours, `storpool-ovirt doctor host` tells"
)
_SHOWN = 12  # characters of a sum


def _used(tables: Tables) -> list[Host]:
    """Return the hosts of data centers that have a domain of ours."""
    centers = {each.data_center for domain in tables.ours for each in domain.attachments}
    return [host for host in tables.hosts if host.data_center in centers]


def _running(tables: Tables) -> list[Host]:
    return [host for host in _used(tables) if host.status == UP]


def up(site: Site) -> Iterator[Result]:
    """Look how each host is."""
    hosts = _used(engine_machine.tables(site))
    for host in hosts:
        if host.status == UP or host.status in _MAINTENANCE:
            yield checks.ok(f"it is {host.status}", host.name)
        else:
            yield Result(
                WARNING,
                f"it is {host.status}",
                "its VMs may be lost, and so may be what it has attached",
                "see its events in Engine; if it is lost: "
                + command("storpool-ovirt fence-host {} --dry-run", host.name),
                host.name,
            )
    if not hosts:
        yield checks.ok(NONE_USED)


def vdsm(site: Site) -> Iterator[Result]:
    """Compare each host's Vdsm with the oldest that takes volumes of ours."""
    hosts = _running(engine_machine.tables(site))
    for host in hosts:
        version = _version(host.vdsm)
        if version is None:
            told = names.shown(host.vdsm) if host.vdsm else "none"
            yield checks.unknown(f"its Vdsm's version is {told}", REFRESH, host.name)
        elif version < OLDEST:
            yield Result(CRITICAL, f"its Vdsm is {host.vdsm}", _NO_VM, _UPDATE, host.name)
        else:
            yield checks.ok(f"its Vdsm is {host.vdsm}", host.name)
    if not hosts:
        yield checks.ok(NONE_USED)


def connector(site: Site) -> Iterator[Result]:
    """Look at what each host told Engine of itself, as the adapter will."""
    hosts = _running(engine_machine.tables(site))
    yield from engine_machine.for_each(
        hosts, lambda host: [_connected(host)], lambda host: host.name
    )
    if not hosts:
        yield checks.ok(NONE_USED)


def _connected(host: Host) -> Result:
    version = _version(host.vdsm)
    if version is not None and version < OLDEST:
        waits = "its Vdsm takes no package of ours yet: see engine-host-vdsm"
        return checks.unknown(waits, _UPDATE, host.name)
    return _told(host)


def _told(host: Host) -> Result:
    install = f"dnf install storpool-ovirt-host there, systemctl restart vdsmd, then {REFRESH}"
    if host.connector is None:
        cause = "it told Engine no connector information"
        fix = f"on it, as root: storpool-ovirt doctor host; {install}"
        return Result(CRITICAL, cause, _NO_VM, fix, host.name)
    try:
        found = names.volume_type_of(host.connector)
    except errors.InputError as error:
        return Result(CRITICAL, str(error), _NO_VM, error.advice, host.name)
    version = _version(host.vdsm)
    if host.volume_type is None and version is not None and version[:3] <= LAST_RELEASE:
        cause = (
            f"it did not tell Engine {names.VOLUME_TYPE_KEY}, which its {host.vdsm} needs:"
            f" Engine sends it volumes of type {names.VOLUME_TYPE}, which that refuses"
        )
        return Result(CRITICAL, cause, _NO_VM, install, host.name)
    return checks.ok(f"its volumes are of type {found}", host.name)


def twins(site: Site) -> Iterator[Result]:
    """Look for hosts that have one name, and so one section of storpool.conf, and one SP_OURID."""
    by_name: dict[str, list[str]] = {}
    hosts = _used(engine_machine.tables(site))
    for host in hosts:
        own = names.host_of(host.connector)
        if own is not None:
            by_name.setdefault(own, []).append(host.name)
    twice = {name: hosts for name, hosts in by_name.items() if len(hosts) > 1}
    for name, same in sorted(twice.items()):
        yield Result(
            CRITICAL,
            f"the hosts {', '.join(same)} all call themselves {names.shown(name)}",
            "they have one section of storpool.conf, and so may be one client for StorPool: a disk"
            " of one is then attached to the other, and two write to it",
            "hostnamectl set-hostname NAME on all of them but one, and a section with an SP_OURID"
            " of its own for each; then restart StorPool's services there",
            name,
        )
    if not twice:
        yield checks.ok("each host that told its name has one of its own" if hosts else NONE_USED)


def hooks(site: Site) -> Iterator[Result]:
    """Look at the hooks that each host's Vdsm would run: it lists those that it may."""
    hosts = _running(engine_machine.tables(site))
    sums: dict[str, set[str]] = {point: set() for point in POINTS}
    for host in hosts:
        if not host.hooks:
            yield checks.unknown("it told Engine no hooks", REFRESH, host.name)
            continue
        found = {point: _sum(host.hooks, point) for point in POINTS}
        missing = [point for point, each in found.items() if each is None]
        if missing:
            yield _unfenced(host, missing)
            continue
        for point, each in found.items():
            sums[point].add(str(each))
        if _sum(host.hooks, boot_sweep.POINT) is None:
            yield _unswept(host)
            continue
        lacking = [point for point in _OTHERS if _sum(host.hooks, point) is None]
        if lacking:
            yield _untagged(host, lacking)
            continue
        yield checks.ok(_RUNS, host.name)
    yield from _different(sums)
    if not hosts:
        yield checks.ok(NONE_USED)


def _unfenced(host: Host, missing: Sequence[str]) -> Result:
    return Result(
        CRITICAL,
        f"its Vdsm runs no {_HOOK} at {', '.join(missing)}",
        "VMs start and migrate there unfenced: two hosts may write to one disk",
        f"on it, as root: storpool-ovirt doctor host; rpm -V storpool-ovirt-host; then {REFRESH}",
        host.name,
    )


def _unswept(host: Host) -> Result:
    return Result(
        WARNING,
        f"its Vdsm runs no {_HOOK} at {boot_sweep.POINT}",
        "after a reboot or a fence VMs do not start there: errors 927 and 929",
        f"on it, as root: storpool-ovirt doctor host; rpm -V storpool-ovirt-host; then {REFRESH}",
        host.name,
    )


def _untagged(host: Host, lacking: Sequence[str]) -> Result:
    return Result(
        WARNING,
        f"its Vdsm runs no {_HOOK} at {', '.join(lacking)}",
        "a disk that was unplugged there goes on naming its VM; no VM is harmed",
        f"on it, as root: storpool-ovirt setup host; rpm -V storpool-ovirt-host; then {REFRESH}",
        host.name,
    )


def _different(sums: dict[str, set[str]]) -> Iterator[Result]:
    for point, found in sums.items():
        if len(found) > 1:
            told = ", ".join(sorted(each[:_SHOWN] or "none" for each in found))
            yield Result(
                WARNING,
                f"hosts have {len(found)} different hooks at {point}: {told}",
                "some of them run another release, or another program, than the others",
                "update storpool-ovirt-host on all of them; on each: rpm -V storpool-ovirt-host",
                point,
            )


def _sum(hooks: str, point: str) -> str | None:
    """Return the sum of our hook at a point, None where the point has none.

    It is what Java makes of the map that Vdsm told: `{point={script={checksum=SUM}, ...}, ...}`.
    """
    scripts = re.search(rf"[{{ ]{point}=\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}", hooks)
    own = scripts and re.search(rf"(?:^|[ ,]){_HOOK}=\{{([^{{}}]*)\}}", scripts[1])
    return own[1].rpartition("=")[2] if own else None


def _version(package: str) -> tuple[int, ...] | None:
    """Return the numbers of vdsm-4.50.7-1.el9; None for what is no such name."""
    found = re.match(r"vdsm-([0-9]{1,4}(?:\.[0-9]{1,4}){1,4})", package)
    return tuple(int(each) for each in found[1].split(".")) if found else None


CHECKS = (
    Check("engine-host-up", "hosts are up", up),
    Check("engine-host-vdsm", "each host's Vdsm takes our volumes", vdsm),
    Check("engine-host-connector", "each host told Engine what it takes", connector),
    Check("engine-host-hooks", "each host's Vdsm runs our hooks", hooks),
    Check("engine-host-twins", "no two hosts are one for StorPool", twins),
)
