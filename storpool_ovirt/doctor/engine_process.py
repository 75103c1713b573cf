"""Engine's own process: whether it runs, with what it was started, and what its verbs show to
others."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from storpool_ovirt import config, errors, presence, processes, rights, text
from storpool_ovirt.doctor import asking, checks, engine_machine
from storpool_ovirt.doctor.checks import WARNING, Check, Result, Site
from storpool_ovirt.engine import conf, gate
from storpool_ovirt.setup.record import Record

_MARK = "-Djboss.server.default.config=ovirt-engine"  # ovirt-engine.py.in of the releases
_LOCALE_KEYS = ("LC_ALL", "LC_CTYPE", "LANG")  # in this order, locale(7)
_STARTED_WITH = "en_US.UTF-8"  # by Engine's launcher
_MOUNTS = "/proc/self/mountinfo"
_HIDDEN = re.compile(r"hidepid=(?!0|off)")
# Whom useradd makes on EL, and what is no shell of theirs.
_PEOPLE = range(1000, 60000)
_ADMINS = ("wheel", "sudo", "root")  # who may become root by their password
_NO_SHELLS = ("nologin", "false", "sync")
_RESTART = "systemctl restart ovirt-engine"
_SHOWN_MAX = 5


class Java(NamedTuple):
    """Engine's process: its id, when it was started, its environment."""

    pid: int
    started: float
    environment: Mapping[str, str]


def running(site: Site) -> Iterator[Result]:
    """Look for Engine's process, and for what it was told only after its start."""
    java = _java()
    if java is None:
        risk = "nobody manages the hosts: no VM starts, and HA VMs of a lost host do not either"
        yield Result(WARNING, "Engine does not run", risk, "systemctl start ovirt-engine")
        return
    later = [path for path in _settings(site) if os.stat(path).st_mtime > java.started]
    if _configured_at() > java.started:
        later.append("its keys of engine-config, by storpool-ovirt setup engine,")
    if later:
        yield Result(
            WARNING,
            f"{', '.join(later[:_SHOWN_MAX])} changed after Engine was started (process"
            f" {java.pid}): it reads them when it starts",
            "Engine does not know yet what they say, as whether managed block storage is on;"
            " restart it while no task runs",
            _RESTART,
        )
    else:
        yield checks.ok(f"Engine runs, as process {java.pid}, with its settings of today")


def _configured_at() -> float:
    """Return when setup last changed a key of Engine's, in seconds since 1970; 0 where it did not,
    or nobody but root knows."""
    try:
        return Record(config.root(), checks.ENGINE).configured_at
    except errors.InputError:
        return 0.0


def _settings(site: Site) -> list[str]:
    folder = site.path(conf.FOLDER)
    listed = [f"{folder}/{name}" for name in presence.listed(folder) if name.endswith(".conf")]
    return [path for path in (site.path(conf.FILE), *listed) if presence.there(path)]


def locale(site: Site) -> Iterator[Result]:
    """Compare the language that Engine was started with to those that this machine has."""
    java = _java()
    given = _STARTED_WITH
    if java is not None:
        if not java.environment:
            cause = f"the environment of Engine's process {java.pid} may not be read"
            yield checks.unknown(cause, "run this as root")
            return
        keys = [key for key in _LOCALE_KEYS if java.environment.get(key)]
        given = java.environment[keys[0]] if keys else "C"
    answer = asking.ask(site, ["locale", "-a"])
    if answer.code:
        yield checks.unknown(f"locale -a: {answer.said}")
        return
    known = {_plain(line) for line in text.lines(answer.out)}
    if _plain(given) in known and _plain(given).endswith("utf8"):
        yield checks.ok(f"Engine's language is {given}, which is here")
        return
    why = "is not here" if _plain(given) not in known else "has no letters beyond ASCII"
    yield Result(
        WARNING,
        f"Engine's language is {given}, which {why}",
        "each letter beyond ASCII that Engine hands to a verb or shows of its sentence becomes ?",
        f"dnf install glibc-langpack-en && {_RESTART}",
    )


def _plain(name: str) -> str:
    return text.stripped(name).lower().replace("utf-8", "utf8")


def arguments(site: Site) -> Iterator[Result]:
    """Look who can read the command lines of verbs, which have the database's password."""
    shown = _shown_now()
    people = _people(site)
    hidden = _HIDDEN.search(_mount_options())
    if hidden:
        yield checks.ok("/proc shows command lines only to root and to their owners")
    elif shown:
        yield Result(
            WARNING,
            f"process {shown[0]} has StorPool's token on its command line now, which every local"
            " user can read",
            gate.WHO_HAS_IT,
            f"give the domain {gate.TOKEN_FILE}, see the check engine-domain-options",
        )
    elif people:
        yield Result(
            WARNING,
            f"people can log in here ({', '.join(people[:_SHOWN_MAX])}), and can read the command"
            " lines of verbs, in which Engine gives the mapping database's password: take their"
            " logins away, or hide them, in /etc/fstab too (proc /proc proc hidepid=2 0 0)",
            "who has it can change whose disk is which volume",
            "mount -o remount,hidepid=2 /proc",
        )
    else:
        yield checks.ok("nobody but root and services has a login here")


def _people(site: Site) -> list[str]:
    """Return who can log in here and is not root in another way."""
    groups = _entries(site, "/etc/group", 4)
    trusted = {who for each in groups if each[0] in _ADMINS for who in each[3].split(",")}
    return [
        each[0]
        for each in _entries(site, "/etc/passwd", 7)
        if text.number(each[2], _PEOPLE[0], _PEOPLE[-1]) is not None
        and os.path.basename(each[6]) not in _NO_SHELLS
        and each[0] not in trusted
    ]


def _entries(site: Site, name: str, fields: int) -> list[list[str]]:
    """Return the lines of a file like passwd(5) that have so many fields."""
    path = site.path(name)
    lines = text.lines(text.decoded(rights.read(path), path, damaged=True))
    return [each for each in (line.split(":") for line in lines) if len(each) == fields]


def _shown_now() -> list[int]:
    """Return the processes that have a token on their command line now."""
    key, own = f'"{gate.TOKEN}":', os.getpid()
    return [
        pid
        for pid in processes.all_of_them()
        if pid != own and any(key in word for word in processes.words(pid))
    ]


def _mount_options() -> str:
    """Return how /proc is mounted here (proc(5), mountinfo)."""
    lines = text.lines(rights.read(_MOUNTS).decode(errors="replace"))
    found = [line for line in lines if line.split(" ")[4:5] == ["/proc"]]
    return found[-1] if found else ""


def _java() -> Java | None:
    """Return Engine's process, None where it does not run; anybody may have one of its words."""
    asking.known(engine_machine.USER)
    owner = str(pwd.getpwnam(engine_machine.USER).pw_uid)
    for pid in processes.all_of_them():
        if _MARK in processes.words(pid) and _real_user(pid) == owner:
            told = processes.told(pid)
            if told is not None:
                started = time.time() - told.age_seconds()
                return Java(pid, started, processes.environment(pid))
    return None


def _real_user(pid: int) -> str:
    """Return who has started a process, as proc(5) tells it; empty where that is not told."""
    try:
        lines = text.lines(rights.read(f"/proc/{pid}/status").decode(errors="replace"))
    except OSError:
        return ""
    return next((line.split()[1] for line in lines if line.startswith("Uid:")), "")


CHECKS = (
    Check("engine-running", "Engine runs, with its settings of today", running),
    Check("engine-locale", "letters of all languages reach the verbs", locale),
    Check("engine-arguments", "nobody reads passwords on command lines", arguments),
)
