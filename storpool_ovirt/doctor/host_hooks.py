"""Whether Vdsm runs our hooks: it skips one that it may not run without a word, and the VM starts
unfenced."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator
from typing import Any

from storpool_ovirt import installation, presence, rights
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Check, Result, Site
from storpool_ovirt.host import vm_hook, vm_points
from storpool_ovirt.setup import ownership

UNFENCED = (
    "Vdsm skips this hook without a word: VMs start though another host may be writing to their"
    " disks, and two writers destroy a disk"
)
UNTAGGED = (
    "a disk that was unplugged goes on naming its VM until another one starts with it; no VM is"
    " harmed"
)
# How the hook ends that is started without a VM's XML: Vdsm would give it that.
EXPECTED = f"{vm_hook.XML_VARIABLE} is not set"


def _path(point: str) -> str:
    return f"{host.HOOKS}/{point}/{host.OURS}"


def run(site: Site) -> Iterator[Result]:
    """Run the hook of each point as user vdsm, without a VM: it must come as far as to miss one."""
    host.user(host.VDSM)
    for point in vm_points.POINTS:
        yield _ran(site, point)


def _ran(site: Site, point: str) -> Result:
    path = site.path(_path(point))
    if not presence.named(path):
        return _missing(point, f"{path} is not there")
    if not presence.there(path):
        cause = f"{path} is a link that leads nowhere"
        return _bad(point, cause, f"rm {shlex.quote(path)}; {host_steps.again().fix}")
    # Vdsm lists the folder, and runs what it finds there.
    listed = asking.ask(site, ["ls", os.path.dirname(path)], As(host.VDSM))
    try:
        ended = asking.ask(site, [path], As(host.VDSM), host.PROGRAM_SECONDS)
    except asking.Missing as error:
        return _closed(site, point, path, str(error))
    if listed.code != 0:
        return _closed(site, point, path, f"vdsm cannot list {os.path.dirname(path)}")
    if ended.code == vm_hook.failure_code(point) and EXPECTED in ended.err:
        return checks.ok("user vdsm runs it", point)
    return _closed(site, point, path, f"{path} ends with code {ended.code}: {ended.said}")


def _closed(site: Site, point: str, path: str, why: str) -> Result:
    """Return what is wrong with a hook that vdsm cannot run: something on the way, or itself."""
    interpreter = ownership.interpreter_of(os.path.realpath(path))
    if interpreter and not presence.there(interpreter):
        cause = f"{path} is for {interpreter}, which is not there"
        return _bad(point, cause, host_steps.reinstalled())
    place = host.barrier(path, host.VDSM)
    if not place:
        return _bad(point, why, host_steps.either())
    cause = f"user vdsm cannot use {place} ({why})"
    if not place.startswith(tuple(site.path(each) for each in _OURS)):
        return _bad(point, cause, f"{_ELSEWHERE}; then  {host_steps.SETUP}")
    tree = _tree(site, place)
    action = host.opened_up(tree)
    is_safe = ownership.is_roots_alone(site.path(tree))  # else others say what is opened
    state, risk = _weight(point)
    return Result(state, cause, risk, action.what, point, action if is_safe else None)


# What keeps others from a folder like /root is to stay.
_ELSEWHERE = f"install where user vdsm can read: in {installation.PIPS_FOLDER} (docs/install.md)"
# Below these all may be open to everybody: no secret is in them.
_OURS = (
    installation.PIPS_FOLDER,
    installation.PACKAGES_PROGRAMS,
    installation.PACKAGES_CODE,
    host.HOOKS,
)


def _tree(site: Site, place: str) -> str:
    """Return what is to be opened: of what pip made under a narrow umask all, else one thing."""
    tree = site.path(installation.PIPS_FOLDER)
    return installation.PIPS_FOLDER if place.startswith(tree) else place[len(site.root) :]


def _missing(point: str, cause: str) -> Result:
    again = host_steps.again(f"hook-{point.replace('_', '-')}")
    state, risk = _weight(point)
    return Result(state, cause, risk, again.fix, point, again.action)


def _bad(point: str, cause: str, fix: str) -> Result:
    state, risk = _weight(point)
    return Result(state, cause, risk, fix, point)


def _weight(point: str) -> tuple[str, str]:
    """Return how bad it is that Vdsm does not run our hook at a point, and what follows."""
    if vm_points.POINTS[point].refuses:
        return checks.CRITICAL, UNFENCED
    return checks.WARNING, UNTAGGED


def reported(site: Site) -> Iterator[Result]:
    """Compare what Vdsm says that it runs (capabilities, `hooks`) with what is in its folders."""
    told = host.capabilities(site).get("hooks")
    if not isinstance(told, dict):
        yield checks.unknown("Vdsm's capabilities tell no hooks", "look at vdsm.log")
        return
    for point in vm_points.POINTS:
        yield _compared(site, point, told.get(point))


def _compared(site: Site, point: str, scripts: Any) -> Result:
    path = site.path(_path(point))
    script = scripts.get(host.OURS) if isinstance(scripts, dict) else None
    if not isinstance(script, dict):
        cause = f"Vdsm does not count {path} among its hooks"
        return _bad(point, cause, "see host-hook-run, which tells why")
    own = hashlib.sha256(rights.read(path)).hexdigest()
    if script.get("checksum") != own:
        cause = f"Vdsm reads something else at {path} than is there for root"
        return _bad(point, cause, f"{host_steps.reinstalled()}; {host.RESTART}")
    return checks.ok(f"Vdsm runs it (sha256 {own[:12]})", point)


def elsewhere(site: Site) -> Iterator[Result]:
    """Look for our hook at points where it is of no use: it refuses there, and Vdsm obeys."""
    found = False
    for point in presence.listed(site.path(host.HOOKS)):
        path = site.path(_path(point))
        if point in vm_points.POINTS or not presence.there(path):
            continue
        if os.path.basename(os.path.realpath(path)) != vm_hook.PROGRAM:
            continue
        found = True
        cause = f"{path} is our hook at a point that it is not made for"
        risk = f"it refuses whatever Vdsm does at {point}"
        yield Result(checks.CRITICAL, cause, risk, f"rm {shlex.quote(path)}", point)
    if not found:
        yield checks.ok(f"only at {', '.join(vm_points.POINTS)}")


STALE = (
    "after a reboot, or a fence without one, Vdsm refuses to attach volumes whose old row is left"
    " (errors 927 and 929), and VMs do not start here"
)


def boot(site: Site) -> Iterator[Result]:
    """Look whether Vdsm runs the boot hook, and whether that came to its end in this boot."""
    path = site.path(_path(host.BOOT_POINT))
    if not presence.there(path):
        again = host_steps.again("boot-hook")
        cause = f"{path} is not there"
        yield Result(checks.CRITICAL, cause, STALE, again.fix, action=again.action)
        return
    try:
        ended = asking.ask(site, [path, "--version"], seconds=host.PROGRAM_SECONDS)
    except asking.Missing as error:
        cause = f"root cannot run {path} ({error})"
        yield Result(checks.CRITICAL, cause, STALE, host_steps.reinstalled())
        return
    if ended.code != 0:
        cause = f"{path} fails: {ended.said}"
        yield Result(checks.CRITICAL, cause, STALE, host_steps.reinstalled())
        return
    yield _run_in_this_boot(site, path)


def _run_in_this_boot(site: Site, path: str) -> Result:
    if presence.there(site.path(host.BOOT_MARKER)):
        return checks.ok("it came to its end in this boot")
    pid = host.daemon(host.VDSMD)
    if pid is None:
        return checks.ok("it is there, and runs with the next start of vdsmd")
    if host.is_older(pid, path):
        cause = "vdsmd was started before the boot hook was put there"
    else:
        cause = "vdsmd has run it in this boot, and it did not come to its end"
    cause += "; VMs outlive a restart, and /var/log/vdsm/storpool-helper.log tells of the hook"
    return Result(checks.WARNING, cause, STALE, host.RESTART)


CHECKS = host.masked(
    Check("host-hook-run", "user vdsm can run the hook of each point", run),
    Check("host-hook-reported", "Vdsm counts our hooks among those that it runs", reported),
    Check("host-hook-elsewhere", "our hook is at no point that it is not made for", elsewhere),
    Check("host-hook-boot", "the boot hook has cleared what an earlier boot left", boot),
)
