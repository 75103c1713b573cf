"""The programs that Engine starts: whether they are there, are this installation's, and start."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import partial

import storpool_ovirt
from storpool_ovirt import installation, names, presence
from storpool_ovirt.doctor import asking, checks, engine_machine, packaged
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Action, Check, Result, Site
from storpool_ovirt.engine import adapter, conf, diversion
from storpool_ovirt.setup import engine as setup_engine

LINK = setup_engine.ADAPTER
OLDEST = (4, 5, 4)  # README.md
_REINSTALL = f"dnf reinstall {' '.join(installation.packages(installation.ENGINE))}"
_SHOWN_MAX = 5
_NOT_REACHED = "what is mended or updated here is not what Engine runs"
_NO_VERB = engine_machine.NO_VERB
# What status begins with, how bad that is, and whether `on` mends it.
_STATUS = {
    "off": (CRITICAL, _NO_VERB, True),
    "copied": (WARNING, _NOT_REACHED, True),
    "half": (WARNING, "domains of Engine's own cinderlib client do not work", False),
    "broken": (CRITICAL, f"of any managed block domain {_NO_VERB}", False),
    "foreign": (CRITICAL, _NO_VERB, False),
}


def dispatcher(site: Site) -> Iterator[Result]:
    """Ask the program that diverts."""
    program = engine_machine.program(diversion.PROGRAM)
    answer = asking.ask(site, [program, "status"])
    said = answer.said if answer.code else answer.out.strip()
    if answer.code == 0 and "another installation" not in said:
        yield checks.ok(said)
        return
    if answer.code and said.partition(":")[0] not in _STATUS:
        yield checks.unknown(f"{program} status: {said}")
        return
    result, risk, is_mended = _STATUS.get(said.partition(":")[0], (CRITICAL, _NO_VERB, False))
    if answer.code == 0:
        result, risk, is_mended = WARNING, _NOT_REACHED, True
    mend = f"{program} on"
    fix = mend if is_mended else f"dnf reinstall ovirt-engine && {mend}"
    if "cannot be started by Engine's user" in said:
        ours = engine_machine.program("storpool-engine-dispatcher")
        opened = f"chmod -R a+rX {sys.prefix} && chmod 0755 {ours}"
        fix = engine_machine.installed(_REINSTALL, opened)
    action = _setup("dispatcher", "divert Engine's client to our dispatcher") if is_mended else None
    yield Result(result, said, risk, fix, action=action)


def _setup(step: str, what: str) -> Action:
    return Action(what, partial(engine_machine.by_setup, step))


def adapter_link(site: Site) -> Iterator[Result]:
    """Start what Engine starts, as Engine's user, and let it say who it is."""
    link = site.path(LINK)
    own = engine_machine.program(adapter.PROGRAM)
    mend = engine_machine.again()
    if not presence.there(link):
        yield _dead(link, mend)
        return
    folder = site.path(engine_machine.ADAPTERS)
    answer = engine_machine.started(site, folder, [link, "--version"])
    words = answer.out.split()
    if answer.code or words[:1] != [adapter.PROGRAM]:
        yield _not_ours(link, answer, mend)
        return
    leads, version = os.path.realpath(link), words[-1]
    if version != storpool_ovirt.__version__:
        cause = f"Engine runs {leads} of version {version}, this is {storpool_ovirt.__version__}"
        yield Result(WARNING, cause, _NOT_REACHED, mend)
    elif leads != os.path.realpath(own):
        cause = f"{link} leads to {leads}, which is another installation's than {own}"
        yield Result(WARNING, cause, _NOT_REACHED, mend)
    else:
        yield checks.ok(f"{link} is {' '.join(words)}, and user {engine_machine.USER} starts it")


def _dead(link: str, mend: str) -> Result:
    leads = presence.target(link)
    if leads is not None:
        cause = f"{link} leads to {leads}, which is not there"
        return Result(CRITICAL, cause, _NO_VERB, f"rm {link} && {mend}")
    action = None if installation.is_packaged() else _setup("adapter", f"link {LINK} to ours")
    return Result(CRITICAL, f"{link} is missing", _NO_VERB, mend, action=action)


def _not_ours(link: str, answer: asking.Answer, mend: str) -> Result:
    if answer.code == 0:
        cause = f"{link} is somebody else's adapter: to --version it says {answer.said}"
        risk = "it does not know our disks: of their deletes it says that they were done"
        return Result(CRITICAL, cause, risk, f"see docs/upgrade.md, then {mend}")
    cause = f"user {engine_machine.USER} cannot start {link} ({answer.said})"
    is_own = os.path.realpath(link) == os.path.realpath(engine_machine.program(adapter.PROGRAM))
    opened = f"chmod -R a+rX {sys.prefix}"
    pip = opened if is_own else f"{opened} && {mend}"
    return Result(CRITICAL, cause, _NO_VERB, engine_machine.installed(_REINSTALL, pip))


def packages(site: Site) -> Iterator[Result]:
    """Ask rpm whether what it installed is as it was, and look for what pip left beside it."""
    beside = _pip_beside(site)
    yield from beside
    if not installation.is_packaged():
        if not beside:
            yield checks.ok("pip installed this: there is no package to compare with")
        return
    brought = installation.packages(installation.ENGINE)
    changed, failure = packaged.changes(site, brought)
    if changed:
        cause = f"rpm -V tells of {len(changed)}: {'; '.join(changed[:_SHOWN_MAX])}"
        risk = "programs of two versions, or a part of one, are what runs"
        yield Result(WARNING, cause, risk, _REINSTALL)
    elif failure:
        yield checks.unknown(f"rpm -V: {failure}", "run this as root")
    else:
        yield checks.ok(f"rpm -V {' '.join(brought)} tells of no change")


def _pip_beside(site: Site) -> list[Result]:
    program = site.path(f"{installation.PACKAGES_PROGRAMS}/{adapter.PROGRAM}")
    pips = site.path(installation.PIPS_FOLDER)
    # pip's way may have links to /opt where packages have programs.
    if not presence.there(program) or presence.target(program) or not presence.there(pips):
        return []
    cause = f"{pips}, which pip made, is there beside the packages"
    risk = "commands and links may be of either, and an update changes only one of them"
    fix = f"rm -f /usr/local/sbin/storpool-ovirt && rm -r {pips}"
    return [Result(WARNING, cause, risk, fix)]


def release(site: Site) -> Iterator[Result]:
    """Compare Engine's release with those that this was made for."""
    told = engine_machine.release(site)
    found = re.match(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,4}", told)
    if found is None:
        yield checks.unknown(f"Engine's files do not tell its release ({names.shown(told)})")
    elif tuple(int(each) for each in found[0].split(".")) < OLDEST:
        yield Result(
            WARNING,
            f"Engine is {told}: this was made for 4.5.4 and later",
            "VMs with disks on StorPool may not start (from 4.4.6.6 to 4.5.1 none does)",
            "update Engine to 4.5.4 or later",
        )
    else:
        yield checks.ok(f"Engine is {told}")


def service(site: Site) -> Iterator[Result]:
    """Look for the drop-in by which Engine's service diverts before it starts."""
    etc, usr = site.path(setup_engine.DROP_IN), site.path(setup_engine.PACKAGES_DROP_IN)
    if presence.named(etc) and presence.named(usr):
        cause = f"{etc} hides the package's {usr}"
        risk = "Engine's service starts a program that an uninstall by pip takes away"
        yield Result(WARNING, cause, risk, f"rm -f {etc} && systemctl daemon-reload")
    elif presence.named(etc) or presence.named(usr):
        yield checks.ok("Engine's service diverts its client before each start")
    elif conf.is_released(site.root):
        cause = f"neither {etc} nor {usr} is there: Engine's service does not divert its client"
        risk = f"after an update of ovirt-engine {_NO_VERB}, until somebody diverts again"
        fix = engine_machine.again()
        action = _setup("drop-in", "have Engine's service divert its client before it starts")
        yield Result(WARNING, cause, risk, fix, action=action)
    else:
        yield checks.ok("this Engine starts adapters itself: there is nothing to divert")


CHECKS = (
    Check("engine-dispatcher", "Engine's client leads to our dispatcher", dispatcher),
    Check("engine-adapter", "user ovirt can start the adapter, and it is ours", adapter_link),
    Check("engine-release", "this was made for this Engine", release),
    Check("engine-packages", "the installation is whole, and the only one", packages),
    Check("engine-service", "Engine's service diverts before it starts", service),
)
