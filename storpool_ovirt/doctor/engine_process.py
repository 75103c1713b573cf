"""Engine's own process: whether it runs, with what it was started, and what its verbs show to
others."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from storpool_ovirt import presence, rights, text
from storpool_ovirt.doctor import asking, checks
from storpool_ovirt.doctor.checks import WARNING, Check, Result, Site
from storpool_ovirt.engine import conf, gate

_MARK = b"-Djboss.server.default.config=ovirt-engine\0"  # ovirt-engine.py.in of the releases
_LOCALE_KEYS = ("LC_ALL", "LC_CTYPE", "LANG")  # in this order, locale(7)
_STARTED_WITH = "en_US.UTF-8"  # by Engine's launcher
_PROC = "/proc"
_MAX_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_HIDDEN = re.compile(r"hidepid=(?!0|off)")
# Whom useradd makes on EL, and what is no shell of theirs.
_PEOPLE = range(1000, 60000)
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
    if later:
        yield Result(
            WARNING,
            f"{', '.join(later[:_SHOWN_MAX])} changed after Engine was started (process"
            f" {java.pid}): it reads them when it starts",
            "Engine does not know yet what they say, as whether managed block storage is on",
            _RESTART,
        )
    else:
        yield checks.ok(f"Engine runs, as process {java.pid}, with its settings of today")


def _settings(site: Site) -> list[str]:
    folder = site.path(conf.FOLDER)
    listed = [f"{folder}/{name}" for name in presence.listed(folder) if name.endswith(".conf")]
    return [path for path in (site.path(conf.FILE), *listed) if presence.there(path)]


def locale(site: Site) -> Iterator[Result]:
    """Compare the language that Engine was started with to those that this machine has."""
    java = _java()
    given = _STARTED_WITH
    if java is not None:
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
    fix = "mount -o remount,hidepid=2 /proc, and in /etc/fstab: proc /proc proc hidepid=2 0 0"
    if hidden:
        yield checks.ok("/proc shows command lines only to root and to their owners")
    elif shown:
        yield Result(
            WARNING,
            f"process {shown[0]} has StorPool's token on its command line now, which every local"
            " user can read",
            gate.WHO_HAS_IT,
            f"give the domain {gate.TOKEN_FILE}, see the check engine-domain-options; {fix}",
        )
    elif people:
        yield Result(
            WARNING,
            f"people can log in here ({', '.join(people[:_SHOWN_MAX])}), and can read the command"
            " lines of verbs, in which Engine gives the mapping database's password",
            "who has it can change whose disk is which volume",
            fix,
        )
    else:
        yield checks.ok("nobody but root and services has a login here")


def _people(site: Site) -> list[str]:
    path = site.path("/etc/passwd")
    found = []
    for line in text.lines(text.decoded(rights.read(path), path, damaged=True)):
        fields = line.split(":")
        uid = text.number(fields[2], 0, 1 << 32) if len(fields) > 6 else None
        if uid in _PEOPLE and os.path.basename(fields[6]) not in _NO_SHELLS:
            found.append(fields[0])
    return found


def _shown_now() -> list[int]:
    """Return the processes that have a token on their command line now."""
    key = f'"{gate.TOKEN}":'.encode()
    own = os.getpid()
    return [pid for pid in _pids() if pid != own and key in _content(f"{_PROC}/{pid}/cmdline")]


def _mount_options() -> str:
    """Return how /proc is mounted here (proc(5), mountinfo)."""
    lines = text.lines(_content(f"{_PROC}/self/mountinfo").decode(errors="replace"))
    found = [line for line in lines if line.split(" ")[4:5] == [_PROC]]
    return found[-1] if found else ""


def _java() -> Java | None:
    """Return Engine's process, None where it does not run."""
    for pid in _pids():
        if _MARK in _content(f"{_PROC}/{pid}/cmdline"):
            raw = _content(f"{_PROC}/{pid}/environ").decode(errors="replace").split("\0")
            pairs = dict(each.split("=", 1) for each in raw if "=" in each)
            return Java(pid, _started(pid), pairs)
    return None


def _started(pid: int) -> float:
    """Return when a process was started, in seconds since 1970 (proc(5), starttime)."""
    fields = _content(f"{_PROC}/{pid}/stat").rpartition(b") ")[2].split()
    age = float(fields[19]) / os.sysconf("SC_CLK_TCK") if len(fields) > 19 else 0.0
    uptime = float(_content(f"{_PROC}/uptime").split()[0])
    return time.time() - uptime + age


def _pids() -> list[int]:
    return [int(name) for name in presence.listed(_PROC) if name.isascii() and name.isdigit()]


def _content(path: str) -> bytes:
    """Return a file of the kernel's; nothing of one that is gone, or another's."""
    pieces = []
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                pieces.append(piece)
                if len(pieces) * _PIECE_BYTES > _MAX_BYTES:
                    break
    except OSError:
        return b""
    return b"".join(pieces)


CHECKS = (
    Check("engine-running", "Engine runs, with its settings of today", running),
    Check("engine-locale", "letters of all languages reach the verbs", locale),
    Check("engine-arguments", "nobody reads passwords on command lines", arguments),
)
