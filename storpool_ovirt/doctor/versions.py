"""Which releases play a part on a machine: what support asks first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import storpool_ovirt
from storpool_ovirt import errors, installation, rights, text
from storpool_ovirt.doctor import asking, checks

# Packages by what people call them; those that are not installed are left out.
_PACKAGES = {
    "storpool-ovirt-common": "package storpool-ovirt-common",
    "ovirt-engine": "oVirt Engine",
    "vdsm": "Vdsm",
    "ovirt-node-ng-image-update-placeholder": "oVirt Node",
    "qemu-kvm": "QEMU",
    "libvirt-daemon": "libvirt",
    "device-mapper-multipath": "multipath",
    "python3-os-brick": "os-brick",
}
_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def look(site: checks.Site) -> Iterator[checks.Result]:
    """Yield each release, its name as the subject: a check that finds nothing wrong."""
    how = "from packages" if installation.is_packaged() else "by pip"
    yield checks.ok(f"{storpool_ovirt.__version__}, {how}", "storpool-ovirt")
    yield from _packaged(site)
    yield checks.ok(_system(site.root), "operating system")
    yield checks.ok(f"{os.uname().release} {os.uname().machine}", "kernel")
    yield checks.ok(sys.version.split()[0], "Python")


def _packaged(site: checks.Site) -> Iterator[checks.Result]:
    asked = ["rpm", "--query", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\\n", *_PACKAGES]
    try:
        said = asking.ask(site, asked).out
    except asking.Unasked:
        return
    for line in text.lines(said):
        name, _, version = line.partition(" ")
        if name in _PACKAGES and " " not in version:
            yield checks.ok(version, _PACKAGES[name])


def _system(root: str) -> str:
    for path in _RELEASE:
        try:
            content = text.decoded(rights.read(root + path), path, damaged=True)
        except (OSError, errors.ConfigError):
            continue
        for line in text.lines(content):
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")
    return "not known"


CHECK = checks.Check("versions", "which releases are here is known", look)
