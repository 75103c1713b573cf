"""Whether Vdsm can attach a volume of ours: its helper and what that answers, its release, its
settings and its database."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from storpool_ovirt import errors, names, presence
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Check, Result, Site

HELPER = f"{host.LIBEXEC}/managedvolume-helper"
OURS = f"{HELPER}-storpool"
PIECE = f"{host.LIBEXEC}/os_brick"
HELPER_SECONDS = 6.0  # os-brick asks multipathd and others, and takes two
OLDEST = (4, 50, 5, 1)  # the first that takes volumes of type `local`
NO_ATTACH = "no volume of StorPool's can be attached here, and no VM that has one starts"
LEAK = "a detach may be taken for done that is not, and the volume stays attached here"
CONF = "/etc/vdsm/vdsm.conf"
_REFRESH = "in Engine: Management, Refresh Capabilities of this host"
_NONE = 3  # none of the codes with which Python itself fails
_FIND_REAL = (
    "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('os_brick') else 3)"
)


def helper(site: Site) -> Iterator[Result]:
    """Run Vdsm's own helper as supervdsmd does, and read what it would tell Engine."""
    if not presence.there(site.path(HELPER)):
        raise asking.Missing(f"{site.path(HELPER)} is not here: Vdsm is not installed")
    command = [host.PYTHON, site.path(HELPER), "connector_info"]
    answer = asking.ask(site, command, As(environment=_environment(site)), HELPER_SECONDS)
    told = _document(answer.out)
    if answer.code != 0 or told is None:
        cause = f"managedvolume-helper connector_info fails: {answer.said}"
        fix = f"see the last line of  {shlex.join(command)}"
        yield Result(checks.CRITICAL, cause, NO_ATTACH, fix)
        return
    yield _typed(site, told, answer.said if answer.err else "")


def _environment(site: Site) -> dict[str, str]:
    """Return what Vdsm's daemons give to their helper (its daemonAdapter): never what some process
    says that it has, as root runs what is found by it."""
    return {"PYTHONPATH": site.path(host.LIBEXEC)}


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _typed(site: Site, told: dict[str, Any], said: str) -> Result:
    """Return whether the type of volumes that the helper tells is one that this Vdsm takes."""
    word = told.get(names.VOLUME_TYPE_KEY)
    if word == names.VOLUME_TYPE_NONE:
        cause = "this Vdsm takes no volume of StorPool's"
        return Result(checks.CRITICAL, cause, NO_ATTACH, "update Vdsm to 4.50.5.1 or newer")
    if word == names.VOLUME_TYPE_LOCAL:
        return checks.ok("the helper answers, and volumes are of type local here")
    taken = asking.ask(site, [host.PYTHON, "-c", _TYPES], As(environment=_environment(site)))
    types = taken.out.split()
    if names.VOLUME_TYPE in types:
        return checks.ok("the helper answers, and volumes are of type storpool here")
    if not types:
        return checks.unknown("which types of volumes this Vdsm takes cannot be read")
    cause = (
        f"the helper does not tell {names.VOLUME_TYPE_KEY}, and this Vdsm takes {', '.join(types)}"
        f"{f' ({said})' if said else ''}"
    )
    cause += f"; after the fix {_REFRESH}"
    return Result(checks.CRITICAL, cause, NO_ATTACH, host_steps.SETUP)


# By Vdsm's own Python and path: which file of several it would load.
_TYPES = """
import ast, importlib.util, os
found = importlib.util.find_spec("vdsm")
folder = [*(found.submodule_search_locations or ())][0]
with open(os.path.join(folder, "storage", "managedvolume.py")) as file:
    for each in ast.parse(file.read()).body:
        if isinstance(each, ast.Assign) and each.targets[0].id == "SUPPORTED_DRIVERS":
            print(*ast.literal_eval(each.value))
"""


def piece(site: Site) -> Iterator[Result]:
    """Look whether Vdsm finds our os_brick in its folder, and can load it, and our helper."""
    path = site.path(PIECE)
    if not presence.there(path):
        again = host_steps.again("os-brick")
        cause = f"{path} is not there"
        yield Result(checks.CRITICAL, cause, NO_ATTACH, again.fix, action=again.action)
        return
    if not presence.there(f"{path}/__init__.py") or presence.target(path) is None:
        cause = f"{path} is not our link: something else was put there"
        yield Result(checks.CRITICAL, cause, NO_ATTACH, f"move it away; then  {host_steps.SETUP}")
        return
    how = As(host.VDSM, environment={"PYTHONPATH": site.path(host.LIBEXEC)})
    loaded = asking.ask(site, [host.PYTHON, "-c", "import os_brick"], how)
    if loaded.code != 0:
        cause = f"user vdsm cannot import os_brick: {loaded.said}"
        yield Result(checks.CRITICAL, cause, NO_ATTACH, host_steps.reinstalled())
        return
    yield checks.ok("Vdsm finds it and can load it")


def restart(site: Site) -> Iterator[Result]:
    """Look whether the Vdsm that runs is that of its files, and has seen our piece."""
    pids = {name: host.daemon(name) for name in (host.VDSMD, host.SUPERVDSMD)}
    missing = [name for name, pid in pids.items() if pid is None]
    if missing:
        yield checks.unknown(f"{' and '.join(missing)} does not run", "systemctl start vdsmd")
        return
    yield _seen(site, pids[host.VDSMD] or 0)
    old = [name for name, pid in pids.items() if _is_replaced(site, name, pid or 0)]
    if old:
        cause = f"{' and '.join(old)} runs from before an update of Vdsm; VMs outlive a restart"
        risk = "what this host tells Engine of itself is of a Vdsm that does not run yet"
        yield Result(checks.WARNING, cause, risk, f"{host.RESTART} supervdsmd")


def _is_replaced(site: Site, name: str, pid: int) -> bool:
    path = site.path(f"{host.LIBEXEC}/{name}")
    return presence.named(path) and host.is_older(pid, path)


def _seen(site: Site, vdsmd: int) -> Result:
    path = site.path(PIECE)
    if not presence.named(path) or not host.is_older(vdsmd, path):
        return checks.ok("vdsmd was started after the piece os_brick was put there")
    tells = _tells_connector(site)
    if tells:
        return checks.ok("vdsmd is older than the piece, and has an os-brick: it tells of it")
    # -I: what is further down than Vdsm's own folder.
    real = asking.ask(site, [host.PYTHON, "-I", "-c", _FIND_REAL])
    if real.code not in (0, _NONE):
        return checks.unknown(
            f"{host.PYTHON} does not tell whether it has an os-brick: {real.said}"
        )
    if real.code == 0:
        return checks.ok("vdsmd is older than the piece, and has an os-brick of its own")
    then = f"VMs outlive a restart; after it {_REFRESH}"
    if tells is None:
        cause = (
            "the piece os_brick is newer than the vdsmd that runs, which cannot be asked for it: if"
            f" this was an update nothing is wrong, else it does not have it ({then})"
        )
        return Result(checks.WARNING, cause, f"if it does not have it, {NO_ATTACH}", host.RESTART)
    cause = (
        "vdsmd tells no connector_info, and was started before the piece os_brick was put there"
        f" ({then})"
    )
    return Result(checks.CRITICAL, cause, NO_ATTACH, host.RESTART)


def _tells_connector(site: Site) -> bool | None:
    """Return whether the vdsmd that runs tells what only one with an os-brick does; None where it
    cannot be asked.

    When the piece came does not say so: each update of our package puts it there anew.
    """
    try:
        return bool(host.capabilities(site).get("connector_info"))
    except asking.Unasked:
        return None


def version(site: Site) -> Iterator[Result]:
    """Ask rpm, or else Vdsm itself, which release it is."""
    found = _version(site)
    numbers = tuple(int(each) for each in re.findall("[0-9]{1,9}", found)[:4])
    if not numbers:
        yield checks.unknown(f"Vdsm's version is told as {names.shown(found)}")
    elif numbers < OLDEST:
        cause = f"Vdsm is {found}, which takes no volume of StorPool's"
        yield Result(checks.CRITICAL, cause, NO_ATTACH, "update Vdsm to 4.50.5.1 or newer")
    else:
        yield checks.ok(f"Vdsm is {found}")


def _version(site: Site) -> str:
    try:
        asked = asking.ask(site, ["rpm", "-q", "--qf", "%{VERSION}", "vdsm"])
    except asking.Missing:
        asked = None
    if asked is not None and asked.code == 0:
        return asked.out
    return str(host.capabilities(site).get("software_version", ""))


def connector_info(site: Site) -> Iterator[Result]:
    """Look whether Vdsm tells Engine what Engine needs of a host for each disk."""
    told = host.capabilities(site).get("connector_info")
    if isinstance(told, dict) and told:
        yield checks.ok("Vdsm tells Engine connector_info")
        return
    cause = "Vdsm's capabilities have no connector_info"
    risk = f"Engine takes this host for not ready: {NO_ATTACH}"
    fix = f"see host-vdsm-helper and host-vdsm-restart; then {_REFRESH}"
    yield Result(checks.CRITICAL, cause, risk, fix)


def strict(site: Site) -> Iterator[Result]:
    """Ask Vdsm whether it refuses what its schema does not have."""
    tool = site.path(f"{host.LIBEXEC}/get-conf-item")
    answer = asking.ask(site, [tool, site.path(CONF), "devel", "api_strict_mode", "false"])
    said = answer.out.strip(" \n").lower()
    if answer.code != 0 or not said:
        yield checks.unknown(f"{tool} fails: {answer.said}")
    elif said in ("false", "no", "off", "0"):
        yield checks.ok("api_strict_mode is off")
    else:
        cause = f"api_strict_mode is {said} in {CONF}, a setting for Vdsm's developers"
        fix = f"set api_strict_mode = false in section [devel] of {CONF}; {host.RESTART}"
        yield Result(
            checks.CRITICAL, cause, f"a released Vdsm refuses each attach: {NO_ATTACH}", fix
        )


CONFIGURE = (
    "systemctl stop vdsmd; vdsm-tool configure --module managedvolumedb; systemctl start vdsmd"
)


def database(site: Site) -> Iterator[Result]:
    """Ask Vdsm's tool whether its database of volumes is there, Vdsm's, and of its version."""
    asked = ["vdsm-tool", "is-configured", "--module", "managedvolumedb"]
    answer = asking.ask(site, asked)
    if answer.code == 0:
        yield checks.ok("Vdsm's database of managed volumes is configured")
        return
    if answer.code != 1:
        yield checks.unknown(f"{' '.join(asked)} ends with code {answer.code}: {answer.said}")
        return
    cause = f"{' '.join(asked)} fails: {answer.said}"
    yield Result(checks.CRITICAL, cause, NO_ATTACH, CONFIGURE)


# What passes: another has it, or this host is busy.
_BUSY = ("it did not end within", "database is locked", "database table is locked")


def rows(site: Site) -> Iterator[Result]:
    """Read all rows of that database as our programs do: with the rights of its owner."""
    try:
        found = host.rows(site)
    except errors.InputError as error:
        if any(each in error.why for each in _BUSY):
            yield checks.unknown(f"{error.what}: {error.why}", "look again when this host is idle")
            return
        risk = f"{NO_ATTACH}, and nobody can tell what is attached here"
        yield Result(checks.CRITICAL, f"{error.what} {error.why}", risk, CONFIGURE)
        return
    ours = [row for row in found if row.ours]
    yield checks.ok(f"{len(ours)} of {len(found)} rows are StorPool's")


CHECKS = host.masked(
    Check("host-vdsm-helper", "Vdsm's helper tells which type of volumes this host takes", helper),
    Check("host-vdsm-piece", "Vdsm finds our os_brick in its folder", piece),
    Check("host-vdsm-restart", "the Vdsm that runs is that of its files", restart),
    Check("host-vdsm-version", "Vdsm is 4.50.5.1 or newer", version),
    Check("host-vdsm-connector-info", "Vdsm tells Engine connector_info", connector_info),
    Check("host-vdsm-strict", "Vdsm's api_strict_mode is off", strict),
    Check("host-vdsm-database", "Vdsm's database of volumes is configured", database),
    Check("host-vdsm-rows", "Vdsm's database of volumes can be read", rows),
)
