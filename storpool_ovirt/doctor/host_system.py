"""Whether the system of a host lets our programs work: what guards execution, and the folders that
they write in."""

from __future__ import annotations

import functools
import os
import shlex
import stat
from collections.abc import Iterator

from storpool_ovirt import config, installation, presence, rights, text
from storpool_ovirt.cluster import devices
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.checks import Action, Check, Result, Site
from storpool_ovirt.fence import agent
from storpool_ovirt.host import vm_hook
from storpool_ovirt.privilege import root_door

OURS = (installation.PACKAGES_CODE, installation.PACKAGES_PROGRAMS, installation.PIPS_FOLDER)
VDSM_LOGS = "/var/log/vdsm"
LOGS = (config.HELPER_LOG, vm_hook.LOG_FILE, agent.LOG_FILE)
LOGROTATE = "/etc/logrotate.d/storpool-ovirt-host"
_KEPT_OUT = "programs of ours do not start: VMs start unfenced, or not at all"
_NO_LINES = "what happened on this host is in the system's log alone (journalctl), or nowhere"
_AUSEARCH = ["ausearch", "-ts", "recent"]
# How ausearch parts events, and what one of fapolicyd's says that it denied (fanotify(7)).
_EVENT, _DENIED = "----", "resp=2"
_NO_MATCH = "<no matches>"


def fapolicyd(site: Site) -> Iterator[Result]:
    """Ask fapolicyd, where it runs, whether it trusts our files and has refused one."""
    active = asking.ask(site, ["systemctl", "is-active", "fapolicyd"])
    state = text.stripped(active.out)
    if state != "active":
        if state in ("inactive", "failed", "unknown"):
            yield checks.ok("fapolicyd does not run here")
        else:
            yield checks.unknown(f"systemctl is-active fapolicyd: {state or active.said}")
        return
    fix = f"fapolicyd-cli --file add {installation.PIPS_FOLDER}/ --trust-file storpool-ovirt"
    again = host_steps.reinstalled() if installation.is_packaged() else fix
    mend = f"{again}; fapolicyd-cli --update"
    events = _found(site, "-m", "fanotify").split(_EVENT)
    refused = _of_ours("\n".join(each for each in events if _DENIED in each))
    if refused:
        cause = f"fapolicyd has refused one of our files: {refused[0]}"
        yield Result(checks.CRITICAL, cause, _KEPT_OUT, mend)
        return
    try:
        checked = asking.ask(site, ["fapolicyd-cli", "--check-trustdb"])
    except asking.Silent:
        # It reads each file of the machine.
        cause = "fapolicyd has refused nothing of ours, and did not tell in time what it trusts"
        yield checks.unknown(cause, "fapolicyd-cli --check-trustdb")
        return
    if checked.code != 0 and not text.stripped(checked.out):
        raise asking.Silent(f"fapolicyd-cli --check-trustdb fails: {checked.said}")
    wrong = _of_ours(checked.out + checked.err)
    if wrong:
        cause = f"fapolicyd does not trust {wrong[0]}"
        yield Result(checks.WARNING, cause, _KEPT_OUT, mend)
    else:
        yield checks.ok("fapolicyd runs, trusts our files, and has refused none")


def _of_ours(said: str) -> list[str]:
    return [line for line in text.lines(said) if any(each in line for each in OURS)]


def _found(site: Site, *words: str) -> str:
    """Return what the audit's log has of the last ten minutes; raise Silent where it fails."""
    answer = asking.ask(site, [*_AUSEARCH[:1], *words, *_AUSEARCH[1:]])
    if answer.code != 0 and _NO_MATCH not in answer.out + answer.err:
        raise asking.Silent(f"ausearch {' '.join(words)} fails: {answer.said}")
    return answer.out


def selinux(site: Site) -> Iterator[Result]:
    """Look for what SELinux has kept from QEMU, or from a program of ours."""
    if _is_off(site):
        yield checks.ok("SELinux is off")
        return
    denied = [
        line
        for line in text.lines(_found(site, "-m", "avc"))
        if 'comm="qemu-kvm"' in line or "storpool" in line
    ]
    if not denied:
        yield checks.ok("SELinux has denied nothing to QEMU or to us in the last ten minutes")
        return
    cause = f"SELinux has denied something: {denied[-1]}"
    risk = "a VM does not start, or is paused with an I/O error"
    fix = "ausearch -m avc -ts recent | audit2why; restorecon -Rv /usr/lib /usr/libexec"
    yield Result(checks.WARNING, cause, risk, fix)


def _is_off(site: Site) -> bool:
    try:
        answer = asking.ask(site, ["getenforce"])
    except asking.Missing:
        return False
    state = text.stripped(answer.out)
    if answer.code != 0 or state not in ("Enforcing", "Permissive", "Disabled"):
        raise asking.Silent(f"getenforce fails: {answer.said}")
    return state == "Disabled"


def logs(site: Site) -> Iterator[Result]:
    """Look whether our programs can write their logs: in a folder of vdsm's, files of vdsm's."""
    folder = site.path(VDSM_LOGS)
    if not presence.there(folder):
        fix = f"install -d -o vdsm -g kvm -m 0755 {VDSM_LOGS}"
        yield Result(checks.WARNING, f"{folder} is not there", _NO_LINES, fix)
        return
    owner = os.stat(folder).st_uid
    for path in (site.path(each) for each in LOGS):
        if presence.named(path):
            yield from _of_log(path, os.lstat(path), owner)
    if not presence.there(site.path(LOGROTATE)):
        cause = f"{site.path(LOGROTATE)} is not there"
        again = host_steps.again("logrotate")
        risk = "our logs grow without end"
        yield Result(checks.WARNING, cause, risk, again.fix, action=again.action)
    yield from _of_doors(site)


def _of_log(path: str, facts: os.stat_result, owner: int) -> Iterator[Result]:
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        cause = f"{path} is no plain file of one name"
        yield Result(
            checks.WARNING,
            cause,
            _NO_LINES,
            f"look at what it is, then  rm {shlex.quote(path)}",
            path,
        )
    elif facts.st_uid != owner:
        cause = f"{path} is user {facts.st_uid}'s, its folder user {owner}'s"
        folder, name = shlex.quote(os.path.dirname(path)), shlex.quote(path)
        fix = f"chown -h --reference={folder} {name}"
        yield Result(checks.WARNING, cause, _NO_LINES, fix, path)
    else:
        yield checks.ok("its folder's owner can write it", path)


def _of_doors(site: Site) -> Iterator[Result]:
    path = site.path(root_door.LOG_FOLDER)
    make = functools.partial(_make_private, folder=root_door.LOG_FOLDER)
    action = Action(f"install -d -o root -g root -m 0700 {shlex.quote(path)}", make)
    if not presence.there(path):
        cause = f"{path} is not there: root's doors write to the system's log"
        yield Result(checks.WARNING, cause, _NO_LINES, action.what, path, action)
    elif rights.holder(f"{path}/any") is not None:
        cause = f"{path} can be written by others than root"
        risk = "what user vdsm asked root for can be taken out of the log"
        yield Result(checks.WARNING, cause, risk, action.what, path, action)
    else:
        yield checks.ok("root's alone", path)


def _make_private(root: str, folder: str) -> str:
    host.act(["install", "-d", "-o", "root", "-g", "root", "-m", "0700", root + folder])
    return f"{folder} is root's alone"


def locks(site: Site) -> Iterator[Result]:
    """Look whether the folder of our locks is root's alone: our programs use no other."""
    path = site.path(devices.LOCK_FOLDER)
    if not presence.named(path):
        yield checks.ok(f"{path} is made when it is needed")
        return
    facts = os.lstat(path)
    is_open = facts.st_uid != 0 or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(facts.st_mode) or is_open:
        cause = f"{path} is not a folder of root's alone: there can be no locks"
        risk = "each attach and each detach fails"
        fix = f"mv {shlex.quote(path)} {shlex.quote(path)}.old; systemd-tmpfiles --create"
        yield Result(checks.CRITICAL, cause, risk, fix)
    else:
        yield checks.ok(f"{path} is root's alone")


CHECKS = host.masked(
    Check("host-fapolicyd", "fapolicyd lets our programs run", fapolicyd),
    Check("host-selinux", "SELinux has denied nothing to QEMU or to us", selinux),
    Check("host-logs", "our programs can write their logs", logs),
    Check("host-locks", "our programs can have locks", locks),
)
