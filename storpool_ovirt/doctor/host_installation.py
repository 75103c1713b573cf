"""Whether what is installed of ours on a host is whole, of one release, and root's alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storpool_ovirt import __version__, installation, presence, rights, text
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Check, Result, Site
from storpool_ovirt.privilege import sudo_request

PACKAGE = "storpool-ovirt-host"
PACKAGES = (PACKAGE, "storpool-ovirt-common", "storpool-ovirt-admin")
OS_RELEASE = "/etc/os-release"
PERSISTED = "/var/imgbased/persisted-rpms"


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
    if not there:
        yield checks.ok("no package of ours is installed here: pip was used")
        return
    answer = asking.ask(site, ["rpm", "-V", *there])
    changed = [line for line in text.lines(answer.out) if not _is_setting(line)]
    if changed:
        cause = f"files of packages were changed or are missing: {', '.join(changed[:5])}"
        fix = f"dnf reinstall {' '.join(there)}"
        yield Result(checks.WARNING, cause, "programs may fail in the middle of their work", fix)
    else:
        yield checks.ok(f"as installed: {', '.join(there)}")


def _is_setting(line: str) -> bool:
    """Return whether a line of `rpm -V` is of a file that people are to change."""
    words = line.split()
    return "missing" not in words[:1] and "c" in words[1:2]


def twice(site: Site) -> Iterator[Result]:
    """Look for programs of pip beside packages: which of both runs depends on links then."""
    packaged = presence.there(site.path(f"{installation.PACKAGES_CODE}/storpool_ovirt/host"))
    by_pip = presence.there(site.path(f"{host.TREE_OF_PIP}/bin/storpool-vm-hook"))
    if not (packaged and by_pip):
        yield checks.ok(f"by {'packages' if packaged else 'pip'} alone")
        return
    cause = f"both packages and pip ({host.TREE_OF_PIP}) have installed storpool-ovirt"
    risk = "an update renews one of them, and links may lead to the other"
    fix = f"rm -r {host.TREE_OF_PIP}; dnf reinstall {PACKAGE}  (docs/upgrade.md)"
    yield Result(checks.WARNING, cause, risk, fix)


def trees(site: Site) -> Iterator[Result]:
    """Look for files among those that root runs which somebody else can write."""
    found = [each for each in _trees(site) if presence.there(each)]
    for tree in found:
        words = ["!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")"]
        answer = asking.ask(site, ["find", "-H", tree, *words, "-print", "-quit"])
        if answer.out:
            path = text.lines(answer.out)[0]
            cause = f"{path} can be written by others than root, and root runs what is there"
            risk = "who writes there becomes root on this host, and has StorPool's token"
            fix = f"look at what is in it; then  chown -R root:root {tree}; chmod -R go-w {tree}"
            yield Result(checks.CRITICAL, cause, risk, fix, tree)
        elif answer.code != 0:
            yield checks.unknown(answer.said, subject=tree)
        else:
            yield checks.ok("root's alone", tree)


def _trees(site: Site) -> Sequence[str]:
    if installation.is_packaged():
        return [installation.PACKAGES_CODE, installation.PACKAGES_PROGRAMS]
    own = [os.path.realpath(sys.prefix)] if sys.prefix != sys.base_prefix else []
    return list(dict.fromkeys([site.path(host.TREE_OF_PIP), *own]))


def node(site: Site) -> Iterator[Result]:
    """Look whether oVirt Node will have our package after its next upgrade."""
    if not {"VARIANT_ID=ovirt-node", 'VARIANT_ID="ovirt-node"'} & {*_os_release(site)}:
        yield checks.ok("this is no oVirt Node")
        return
    kept = presence.listed(site.path(PERSISTED))
    is_kept = any(each.startswith(f"{PACKAGE}-") for each in kept)
    asked = asking.ask(site, ["rpm", "-q", PACKAGE])
    risk = "after an upgrade of Node nothing of ours is here: VMs start unfenced, or not at all"
    if asked.code == 0 and is_kept:
        yield checks.ok(f"Node keeps {PACKAGE}")
    elif is_kept:
        cause = f"Node has lost {PACKAGE} with an upgrade, and could not install it again"
        yield Result(checks.CRITICAL, cause, risk, f"dnf install {PACKAGE}  (in maintenance)")
    else:
        cause = f"Node does not keep {PACKAGE}: it was installed by pip or by rpm -i, not by dnf"
        yield Result(checks.WARNING, cause, risk, f"dnf install ./{PACKAGE}-*.rpm")


def _os_release(site: Site) -> list[str]:
    return rights.read(site.path(OS_RELEASE)).decode("utf-8", "replace").split()


CHECKS = host.masked(
    Check("host-programs", "programs of one release are there, and start", programs),
    Check("host-packages", "files of our packages are as they were installed", packages),
    Check("host-installed-twice", "either packages or pip have installed us", twice),
    Check("host-code-owner", "what root runs of ours is root's alone", trees),
    Check("host-node", "oVirt Node keeps our package", node),
)
