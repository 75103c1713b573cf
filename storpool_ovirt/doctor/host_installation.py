"""Whether what is installed of ours on a host is whole, of one release, and root's alone."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storpool_ovirt import __version__, installation, presence, text
from storpool_ovirt.doctor import asking, checks, host_steps, packaged
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Check, Result, Site
from storpool_ovirt.privilege import sudo_request
from storpool_ovirt.setup import host as setup_host
from storpool_ovirt.setup import ownership
from storpool_ovirt.setup import site as setup_site

PACKAGE = "storpool-ovirt-host"
PACKAGES = (PACKAGE, "storpool-ovirt-common", "storpool-ovirt-admin")
# What rpm says where there is no package, often also where it cannot look.
_NOT_INSTALLED = "is not installed"


class Program(NamedTuple):
    """A program of ours: where it is started, by whom, and what is lost without it."""

    path: str
    user: str
    lost: str
    step: str


PROGRAMS = (
    Program(
        f"{host.LIBEXEC}/managedvolume-helper-storpool",
        "",
        "no volume can be attached or detached",
        "helper",
    ),
    Program(
        sudo_request.DOOR,
        "",
        "user vdsm cannot ask root, and each start of a VM is refused",
        "vm-door",
    ),
    Program(
        sudo_request.FENCE_DOOR, "", "the fence agent cannot ask root on this host", "fence-door"
    ),
    Program(
        f"{host.HOOKS}/before_vm_start/{host.OURS}",
        host.VDSM,
        "VMs start unfenced: two hosts may write to one disk",
        "hook-before-vm-start",
    ),
)


def programs(site: Site) -> Iterator[Result]:
    """Start each program as whoever starts it, to have its version: all must be of one release."""
    for each in PROGRAMS:
        yield _started(site, each)


def _started(site: Site, each: Program) -> Result:
    path = site.path(each.path)
    if each.user:
        host.user(each.user)
    again = host_steps.again(each.step)
    if not presence.named(path):
        cause = f"{path} is not there"
        return Result(checks.CRITICAL, cause, each.lost, again.fix, each.path, again.action)
    broken = host_steps.reinstalled()
    try:
        ended = asking.ask(site, [path, "--version"], As(each.user), host.PROGRAM_SECONDS)
    except asking.Missing as error:
        return Result(checks.CRITICAL, str(error), each.lost, broken, each.path)
    if ended.code != 0:
        cause = f"{path} fails: {ended.said}"
        return Result(checks.CRITICAL, cause, each.lost, broken, each.path)
    if __version__ not in ended.out.split():
        cause = f"{path} is {ended.said}, and this is {__version__}"
        risk = "programs of two releases were never tried together"
        return Result(checks.WARNING, cause, risk, broken, each.path)
    return checks.ok(f"it starts, and is {__version__}", each.path)


def packages(site: Site) -> Iterator[Result]:
    """Have rpm compare what our packages brought with what is there."""
    asked = asking.ask(site, ["rpm", "-q", "--qf", "%{NAME}\n", *PACKAGES])
    there = [each for each in PACKAGES if each in asked.out.split()]
    if packaged.ERROR in asked.err or not (there or _NOT_INSTALLED in asked.out):
        raise asking.Silent(f"rpm -q fails: {asked.said}")
    if not there:
        yield checks.ok("no package of ours is installed here: pip was used")
        return
    changed, failure = packaged.changes(site, there)
    if failure:
        raise asking.Silent(f"rpm -V fails: {failure}")
    if changed:
        cause = f"files of packages were changed or are missing: {', '.join(changed[:5])}"
        fix = f"dnf reinstall {' '.join(there)}"
        yield Result(checks.WARNING, cause, "programs may fail in the middle of their work", fix)
    else:
        yield checks.ok(f"as installed: {', '.join(there)}")


def twice(site: Site) -> Iterator[Result]:
    """Look for programs of pip beside packages: which of both runs depends on links then."""
    by_packages = presence.there(site.path(f"{installation.PACKAGES_CODE}/storpool_ovirt/host"))
    by_pip = presence.there(site.path(f"{installation.PIPS_FOLDER}/bin/storpool-vm-hook"))
    if not (by_packages and by_pip):
        yield checks.ok(f"by {'packages' if by_packages else 'pip'} alone")
        return
    cause = f"both packages and pip ({installation.PIPS_FOLDER}) have installed storpool-ovirt"
    risk = "an update renews one of them, and links may lead to the other"
    fix = f"rm -r {installation.PIPS_FOLDER}; dnf reinstall {PACKAGE}  (docs/upgrade.md)"
    yield Result(checks.WARNING, cause, risk, fix)


def trees(site: Site) -> Iterator[Result]:
    """Look for files among those that root runs which somebody else can write."""
    for tree in (each for each in _trees(site) if presence.there(each)):
        yield _of_tree(site, tree)


def _of_tree(site: Site, tree: str) -> Result:
    words = ["!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")"]
    answer = asking.ask(site, ["find", "-H", tree, *words, "-print", "-quit"])
    if answer.out:
        cause = f"{text.lines(answer.out)[0]} can be written by others than root, and {_RUNS}"
        quoted = shlex.quote(tree)
        fix = f"look at what is in it; then  chown -R root:root {quoted}; chmod -R go-w {quoted}"
        return Result(checks.CRITICAL, cause, _BECOMES, fix, tree)
    links = asking.ask(site, ["find", "-H", tree, "-type", "l", "-print0"])
    failed = next((each for each in (answer, links) if each.code != 0), None)
    if failed is not None:
        return checks.unknown(failed.said, subject=tree)
    for path in (tree, *_interpreters(tree), *links.out.split("\0")[:-1]):
        if presence.there(path) and not ownership.is_roots_alone(path):
            leads = os.path.realpath(path)
            cause = f"{leads}, or a folder above it, can be written by others than root, and"
            fix = (
                f"have it be root's alone, with all above it ({shlex.join(['namei', '-l', path])})"
            )
            return Result(checks.CRITICAL, f"{cause} {_RUNS} ({path})", _BECOMES, fix, tree)
    return checks.ok("root's alone", tree)


_RUNS = "root runs what is there"
_BECOMES = "who writes there becomes root on this host, and has StorPool's token"


def _interpreters(tree: str) -> Iterator[str]:
    """Yield what the programs of a tree are started with."""
    folder = tree if tree.endswith(installation.PACKAGES_PROGRAMS) else f"{tree}/bin"
    found = {ownership.interpreter_of(f"{folder}/{each}") for each in presence.listed(folder)}
    yield from sorted(found - {""})


def _trees(site: Site) -> Sequence[str]:
    if installation.is_packaged():
        return [installation.PACKAGES_CODE, installation.PACKAGES_PROGRAMS]
    own = [os.path.realpath(sys.prefix)] if sys.prefix != sys.base_prefix else []
    return list(dict.fromkeys([site.path(installation.PIPS_FOLDER), *own]))


def node(site: Site) -> Iterator[Result]:
    """Look whether oVirt Node will have our package after its next upgrade."""
    if not setup_site.is_node(site.root):
        yield checks.ok("this is no oVirt Node")
        return
    kept = presence.listed(site.path(setup_host.PERSISTED))
    is_kept = any(each.startswith(f"{PACKAGE}-") for each in kept)
    asked = asking.ask(site, ["rpm", "-q", PACKAGE])
    if packaged.ERROR in asked.err or (asked.code != 0 and _NOT_INSTALLED not in asked.out):
        raise asking.Silent(f"rpm -q {PACKAGE} fails: {asked.said}")
    risk = "after an upgrade of Node nothing of ours is here: VMs start unfenced, or not at all"
    if asked.code == 0 and is_kept:
        yield checks.ok(f"Node keeps {PACKAGE}")
    elif is_kept:
        cause = f"Node has lost {PACKAGE} with an upgrade, and could not install it again"
        yield Result(checks.CRITICAL, cause, risk, f"dnf install {PACKAGE}  (in maintenance)")
    else:
        cause = f"Node does not keep {PACKAGE}: it was installed by pip or by rpm -i, not by dnf"
        yield Result(checks.WARNING, cause, risk, f"dnf install ./{PACKAGE}-*.rpm")


CHECKS = host.masked(
    Check("host-programs", "programs of one release are there, and start", programs),
    Check("host-packages", "files of our packages are as they were installed", packages),
    Check("host-installed-twice", "either packages or pip have installed us", twice),
    Check("host-code-owner", "what root runs of ours is root's alone", trees),
    Check("host-node", "oVirt Node keeps our package", node),
)
