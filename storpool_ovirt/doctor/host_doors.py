"""Whether user vdsm can ask root by our doors, and nobody else than root has the token."""

from __future__ import annotations

import functools
import os
import re
import shlex
import stat
from collections.abc import Iterator

from storpool_ovirt import errors, presence, processes, rights, storpool_conf
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Action, Check, Result, Site
from storpool_ovirt.engine import gate
from storpool_ovirt.privilege import sudo_request
from storpool_ovirt.setup import ownership
from storpool_ovirt.setup import site as setup_site

SUDOERS = "/etc/sudoers.d/storpool-ovirt"
SUDO = ["sudo", "-n"]
FENCE_AGENT = "/usr/sbin/fence_storpool"
_NO_RULE = "a password is required"
MONITOR_SECONDS = 6.0
SHIPPED = "sudoers.d/storpool-ovirt"
NOT_OURS = "with root as its owner, whatever was written there would come into force"
REFUSES = "each start of a VM with a disk of StorPool's is refused on this host"


def door(site: Site) -> Iterator[Result]:
    """Ask root for nothing, as user vdsm by the real sudo: the door must answer, and refuse."""
    path = site.path(sudo_request.DOOR)
    listed = asking.ask(site, [*SUDO, "-l", path], As(host.VDSM))
    if listed.code != 0:
        yield _no_door(site, f"sudo does not let user vdsm run {path}: {listed.said}")
        return
    # A variable that no sudo with our file hands on: the door refuses to work with it.
    how = As(host.VDSM, environment={"SP_OVIRT_DOCTOR": "1"}, given=b"\n")
    answer = asking.ask(site, [*SUDO, "--", path], how, host.PROGRAM_SECONDS)
    said = answer.out.strip(" \n")
    if answer.code == sudo_request.REFUSED_CODE and "the request to root" in said:
        yield checks.ok("user vdsm can ask root, and root's door answers")
    elif "in its environment" in said:
        cause = f"sudo hands on the environment of who asks: {said}"
        risk = "what a VM's custom properties say may reach root's program, which then refuses"
        yield Result(checks.WARNING, cause, risk, _sudoers_again())
    else:
        yield _no_door(site, f"{path} ends with code {answer.code}: {said or answer.said}")


def _no_door(site: Site, why: str) -> Result:
    """Return what a closed door is: harmless where vdsm was given the token, if that was meant."""
    conf = site.path(storpool_conf.FILE)
    if asking.ask(site, ["test", "-r", conf], As(host.VDSM)).code == 0:
        cause = f"{why}; user vdsm reads {conf} itself, with the token"
        return Result(checks.WARNING, cause, gate.WHO_HAS_IT, _sudoers_again())
    return Result(checks.CRITICAL, why, REFUSES, _sudoers_again())


def _sudoers_again() -> str:
    return f"{host_steps.again().fix}; visudo -c"


def syntax(site: Site) -> Iterator[Result]:
    """Have sudo's own tool read all its files: with a bad one it refuses everything of it."""
    answer = asking.ask(site, ["visudo", "-c"])
    if answer.code == 0:
        yield checks.ok("visudo -c finds nothing wrong")
        return
    cause = f"visudo -c: {answer.said}"
    yield Result(checks.CRITICAL, cause, REFUSES, "correct what it names; visudo -c")


def sudoers(site: Site) -> Iterator[Result]:
    """Look whether sudo reads our file: it passes over one that others than root can write."""
    path = site.path(SUDOERS)
    if not presence.there(path):
        again = host_steps.again("sudoers")
        cause = f"{path} is not there"
        yield Result(checks.CRITICAL, cause, REFUSES, again.fix, action=again.action)
        return
    facts = os.stat(path)
    if facts.st_uid or facts.st_gid or facts.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        yield _wide(path, facts)
    for suffix in (".rpmnew", ".rpmsave"):
        if presence.named(path + suffix):
            cause = f"{path}{suffix} is beside it: an update brought other lines than are in use"
            both = shlex.join([path, path + suffix])
            fix = f"diff {both}; take over what is new; remove the second"
            yield Result(checks.WARNING, cause, REFUSES, fix)
    yield checks.ok(f"{path} is there")


def _wide(path: str, facts: os.stat_result) -> Result:
    """Return what to do about a file that is not root's alone.

    Its rules come into force once it is. What is not ours, byte for byte, may be anybody's: it has
    to go, and ours is written anew.
    """
    cause = (
        f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}, user {facts.st_uid}: sudo wants it"
        " root's alone"
    )
    again = host_steps.again("sudoers")
    if rights.read(path) == rights.read(setup_site.Site(setup_site.HOST).shipped(SHIPPED)):
        return Result(checks.CRITICAL, cause, REFUSES, again.fix, action=again.action)
    is_others = not ownership.is_roots_alone(path)
    who = "others could write it, and its rules are" if is_others else "its rules are"
    fix = f"mv {shlex.quote(path)} /root/storpool-ovirt.sudoers; {again.fix}; read what was in it"
    kind = checks.CRITICAL if is_others else checks.WARNING
    return Result(kind, f"{cause}; {who} not those that we ship", NOT_OURS, fix)


def token_reach(site: Site) -> Iterator[Result]:
    """Try as other users to read each file that has the token."""
    _hide_token(site)
    paths = _token_files(site)
    for path in paths:
        yield from _readers(site, path)
    if not paths:
        yield checks.ok(f"{storpool_conf.FILE} and what is beside it have no token")


def _hide_token(site: Site) -> str:
    try:
        return host.own_settings(site).api.token.reveal()
    except errors.Error:
        return ""


def _token_files(site: Site) -> list[str]:
    """Return the files that have a token: storpool.conf, its folder, and copies beside it."""
    folder, _, name = storpool_conf.FILE.rpartition("/")
    beside = [
        f"{folder}/{each}"
        for each in presence.listed(site.path(folder))
        if each.startswith(name) and each != f"{name}.d"
    ]
    more = presence.listed(site.path(storpool_conf.FOLDER))
    paths = [*beside, *(f"{storpool_conf.FOLDER}/{each}" for each in more)]
    return [each for each in map(site.path, paths) if _has_token(each)]


def _has_token(path: str) -> bool:
    try:
        return b"SP_AUTH_TOKEN" in rights.read(path, 4 << 20)
    except OSError:
        return False


def _readers(site: Site, path: str) -> Iterator[Result]:
    facts, quoted = os.stat(path), shlex.quote(path)
    if asking.can_read(site, path, "nobody"):
        action = Action(f"chmod o-rwx {quoted}", functools.partial(_close, path=path))
        cause = f"every user of this host can read {path}"
        is_safe = rights.holder(path) is None  # else others say what is closed
        given = action if is_safe else None
        yield Result(checks.CRITICAL, cause, gate.WHO_HAS_IT, action.what, path, given)
    elif asking.can_read(site, path, host.VDSM):
        cause = f"user vdsm can read {path}, which it need not where root's door is open"
        close = f"setfacl -b {quoted}; chmod go-rwx {quoted}"
        fix = f"{close}  (docs/security.md, the hook and the token)"
        yield Result(checks.WARNING, cause, gate.WHO_HAS_IT, fix, path)
    elif facts.st_uid:
        cause = f"{path} is user {facts.st_uid}'s, not root's"
        yield Result(checks.CRITICAL, cause, gate.WHO_HAS_IT, f"chown root:root {quoted}", path)
    elif facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        cause = f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}: others than root can write it"
        risk = "who writes there says where the token is sent"
        yield Result(checks.CRITICAL, cause, risk, f"chmod go-w {quoted}", path)
    else:
        yield checks.ok("neither vdsm nor others can read it", path)


def _close(root: str, path: str) -> str:
    del root  # the path has it
    host.act(["chmod", "o-rwx", "--", path])
    return f"others cannot read {path}"


def token_argv(site: Site) -> Iterator[Result]:
    """Look for the token on command lines, which every local user can read."""
    token = _hide_token(site)
    if not token:
        yield checks.unknown("waits for host-storpool-conf")
        return
    found = [pid for pid in processes.all_of_them() if token in "\0".join(processes.words(pid))]
    if not found:
        yield checks.ok("no process has the token on its command line")
        return
    names_of = [os.path.basename((processes.words(pid) or ["?"])[0]) for pid in found[:5]]
    cause = f"the token is on the command line of {', '.join(names_of)} (pid {found[0]})"
    fix = "have that program read the token from a file; then change the token in StorPool"
    yield Result(checks.CRITICAL, cause, gate.WHO_HAS_IT, fix)


def fence_agent(site: Site) -> Iterator[Result]:
    """Run the agent as Vdsm does on a fence proxy: user vdsm, asked whether it can work."""
    path = site.path(FENCE_AGENT)
    if not presence.named(path):
        yield checks.ok(f"{path} is not there: this host is no fence proxy of ours")
        return
    host.user(host.VDSM)
    host.settings(site)
    risk = "a lost host is not fenced by this one, and its VMs do not start elsewhere"
    try:
        answer = asking.ask(site, [path, "-o", "monitor"], As(host.VDSM), MONITOR_SECONDS)
    except asking.Missing as error:
        place = host.barrier(path, host.VDSM)
        cause = f"user vdsm cannot run it ({place or error})"
        yield Result(checks.WARNING, cause, risk, host_steps.reinstalled())
        return
    if answer.code == 0:
        yield checks.ok(answer.out.strip(" \n") or "it answers")
        return
    if "unauthorized" in answer.said:
        yield checks.unknown("waits for host-storpool-api")
        return
    cause = f"fence_storpool -o monitor as user vdsm fails: {answer.said}"
    yield Result(checks.WARNING, cause, risk, f"sudo -u vdsm {FENCE_AGENT} -o monitor")


def fence_running(site: Site) -> Iterator[Result]:
    """Ask sudo whether user vdsm may have hosts fenced that run."""
    door = site.path(sudo_request.FENCE_DOOR)
    words = [*SUDO, "-l", door, sudo_request.EVEN_IF_IT_RUNS]
    answer = asking.ask(site, words, As(host.VDSM))
    # It says nothing of what is not allowed, or that it would have to ask for a password.
    if answer.code != 0 and answer.err and _NO_RULE not in answer.err:
        yield checks.unknown(f"sudo -l fails: {answer.said}")
        return
    if answer.code != 0 or not re.search(r"even-if-it-runs", answer.out):
        yield checks.ok("user vdsm cannot have a host fenced that runs")
        return
    cause = "sudoers let user vdsm have hosts fenced that run (STORPOOL_FENCE_RUNNING)"
    risk = "whoever is vdsm here can stop the VMs of all hosts"
    fix = f"take STORPOOL_FENCE_RUNNING out of {SUDOERS}, unless an agent has even_if_it_runs=1"
    yield Result(checks.WARNING, cause, risk, fix)


CHECKS = host.masked(
    Check("host-door", "user vdsm can ask root by our door", door),
    Check("host-sudo-syntax", "sudo can read its files", syntax),
    Check("host-sudoers", "our sudoers file is as sudo wants it", sudoers),
    Check("host-token-reach", "only root can read the token", token_reach),
    Check("host-token-argv", "the token is on no command line", token_argv),
    Check("host-fence-agent", "the fence agent works as user vdsm", fence_agent),
    Check("host-fence-running", "user vdsm cannot have a host fenced that runs", fence_running),
)
