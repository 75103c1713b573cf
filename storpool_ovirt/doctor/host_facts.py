"""What many checks of a host begin with: where Vdsm's things are, who runs, what Vdsm says, and
who keeps a user from a file."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pwd
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable

from storpool_ovirt import (
    config,
    errors,
    option_values,
    presence,
    processes,
    rights,
    storpool_conf,
    tool,
)
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.doctor import asking
from storpool_ovirt.doctor.checks import Action, Check, Result, Site
from storpool_ovirt.host import boot_sweep, vdsm_rows, vm_hook
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.setup import ownership

VDSM, QEMU = "vdsm", "qemu"
LIBEXEC = "/usr/libexec/vdsm"
HOOKS = vm_hook.HOOKS_FOLDER
OURS = "50_storpool"
BOOT_POINT = boot_sweep.POINT
BOOT_MARKER = boot_sweep.MARKER
# What Vdsm starts its helper with, and what its daemons are.
PYTHON = "/usr/bin/python3"
VDSMD, SUPERVDSMD = "vdsmd", "supervdsmd"
RESTART = "systemctl restart vdsmd"
_TOKEN = re.compile(rb"SP_AUTH_TOKEN[ \t]*=[ \t]*([^\r\n]*[^\s])")
# What a check that asks StorPool keeps back to tell what came of it.
LAST_SECONDS = 0.5
# Vdsm asks its helper when it is asked what this host is, and that os-brick: two seconds and more.
VDSM_SECONDS = 6.0
# A program of ours starts in a tenth of a second, on a host that has nothing else to do.
PROGRAM_SECONDS = 6.0
# What a step of mending may take.
ACT_SECONDS = 30.0


def user(name: str) -> rights.User:
    """Return the ids of a user of this machine, whose rights can be taken.

    Raises Missing where there is no such user, or only root could be it.
    """
    entry = asking.account(name)
    return rights.User(entry.pw_uid, entry.pw_gid)


def daemon(name: str) -> int | None:
    """Return the process id of one of Vdsm's daemons, None where it does not run.

    Anybody can give a process its words: it is the daemon's user's, and runs a file of root's.
    """
    try:
        owner = 0 if name == SUPERVDSMD else pwd.getpwnam(VDSM).pw_uid
    except KeyError:
        return None
    for pid in processes.all_of_them():
        programs = [word for word in processes.words(pid)[:3] if word.endswith(f"/{name}")]
        if any(map(_is_roots, programs)) and processes.real_user(pid) == owner:
            return pid
    return None


def _is_roots(path: str) -> bool:
    try:
        return path.startswith("/") and ownership.is_roots_alone(path)
    except OSError:
        return False


def is_older(pid: int, path: str) -> bool:
    """Return whether a process was started before a name came to be as it is now.

    Raises Unseen and FileNotFoundError as `os.lstat` would, where nobody can tell.
    """
    told = processes.told(pid)
    changed = os.lstat(path).st_ctime
    return told is not None and time.time() - changed < told.age_seconds()


def settings(site: Site) -> config.HostSettings:
    """Return what this host's own storpool.conf says; raise Silent where it says too little, which
    one check tells."""
    try:
        return own_settings(site)
    except errors.ConfigError:
        raise asking.Silent("waits for host-storpool-conf") from None


def own_settings(site: Site) -> config.HostSettings:
    """Return what this host's own storpool.conf says; its token is masked from here on.

    Raises ConfigError.
    """
    found = config.host(site.root, environment=False)
    site.hide(found.api.token.reveal())
    return found


def masked(*table: Check) -> tuple[Check, ...]:
    """Return checks that tell no token of this host, whoever says it, and wherever it was put."""
    return tuple(each._replace(look=functools.partial(_masked, look=each.look)) for each in table)


def _masked(site: Site, look: Callable[[Site], Iterable[Result]]) -> Iterator[Result]:
    site.hide(*_tokens(site))
    try:
        yield from look(site)
    except (errors.Rejected, errors.Unavailable):
        raise asking.Silent("waits for host-storpool-api") from None


def _tokens(site: Site) -> list[str]:
    """Return what may be a token in storpool.conf, also where the file makes no sense."""
    paths = [site.path(storpool_conf.FILE)]
    with contextlib.suppress(errors.Unseen):
        folder = site.path(storpool_conf.FOLDER)
        paths += [f"{folder}/{name}" for name in presence.listed(folder)]
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found += _TOKEN.findall(rights.read(path))
    return [each.decode(errors="replace") for each in found]


def client(site: Site, found: config.HostSettings) -> api.Client:
    """Return a client of this host's cluster that gives up in time for the check to tell why."""
    seconds = max(0.1, site.left() - LAST_SECONDS)
    limits = LIMITS._replace(deadline_seconds=seconds, retry_seconds=1.0)
    return api.Client(found.api.preferring(option_values.BINDING), Deadline(seconds), limits=limits)


def rows(site: Site) -> list[vdsm_rows.Row]:
    """Return Vdsm's rows; raise InputError where its database cannot be read."""
    # Who reads has twice the time that it may wait for others.
    seconds = (site.left() - LAST_SECONDS) / 3
    return vdsm_rows.read(site.root, max(0.1, min(LIMITS.busy_seconds, seconds)))


def capabilities(site: Site) -> dict[str, Any]:
    """Return what this host tells Engine of itself; raise Missing or Silent where Vdsm cannot be
    asked."""
    asked = ["vdsm-client", "Host", "getCapabilities"]
    answer = asking.ask(site, asked, seconds=VDSM_SECONDS)
    if answer.code != 0:
        raise asking.Silent(f"{' '.join(asked)} fails: {answer.said}")
    try:
        told = json.loads(answer.out)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise asking.Silent(f"{' '.join(asked)} answers with something else than JSON")
    return told


def barrier(path: str, who: str) -> str:
    """Return what keeps a user from running a program: the first folder or file on the way to it,
    or to its interpreter, that is not theirs to use; "" where nothing does.

    It counts with the user's own group alone.
    """
    ways = _ways(path)
    with rights.taken(user(who)):
        for place, needed in ways:
            if not os.access(place, needed, effective_ids=True):
                return place
    return ""


def _ways(path: str) -> list[tuple[str, int]]:
    """Return what is passed on the way to a program, and to what runs it, with what it takes."""
    program = os.path.realpath(path)
    interpreter = os.path.realpath(ownership.interpreter_of(program) or program)
    folders = [*_above(path), *_above(program), *_above(interpreter)]
    ends = [(program, os.R_OK | os.X_OK), (interpreter, os.X_OK)]
    found = [(each, os.X_OK) for each in dict.fromkeys(folders)] + ends
    return [(each, needed) for each, needed in found if presence.there(each)]


def _above(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def opened_up(path: str) -> Action:
    """Return the action that lets everybody read and run what is at a path, and below it."""
    what = f"chmod -R a+rX {shlex.quote(path)}"
    return Action(what, functools.partial(_open_up, path=path))


def _open_up(root: str, path: str) -> str:
    act(["chmod", "-R", "a+rX", "--", root + path])
    return f"everybody can read and run {path}"


def act(words: Sequence[str]) -> None:
    """Have a tool of the machine change something.

    Raises OSError, with what it says, where it fails, and one of our errors where it cannot be run
    or does not end.
    """
    ended = tool.run(words[0], *words[1:], seconds=ACT_SECONDS)
    if ended.code != 0:
        raise OSError(0, ended.said, words[-1])
