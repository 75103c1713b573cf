"""How this storpool-ovirt was installed, and so how what is missing of it comes back.

Our packages have their code in a folder that nothing else uses; anything else came by pip. Only
what a release brings is named: on the package index our name may be anybody's.
"""

from __future__ import annotations

import os
import sys

PACKAGES_CODE = "/usr/lib/storpool-ovirt"
PACKAGES_PROGRAMS = "/usr/libexec/storpool-ovirt"
PIPS_FOLDER = "/opt/storpool-ovirt"  # where docs/install.md has pip put us

# Who needs what: packages, and the file in requirements/.
COMMAND = "admin"
ENGINE = "engine"
HOST = "host"
_PACKAGES = {
    COMMAND: ("common", "admin"),
    ENGINE: ("common", "admin", "engine"),
    HOST: ("common", "admin", "host"),
}
_REQUIREMENTS = {COMMAND: "engine", ENGINE: "engine", HOST: "host"}
# The libraries that come from the distribution, or from oVirt's, not with our packages.
_OTHERS_PACKAGES = {"psycopg2": "python3-psycopg2", "ovirtsdk4": "python3-ovirt-engine-sdk4"}
REINSTALL = "dnf reinstall storpool-ovirt-"
# dnf knows no source of what it took from files ("not available"), but takes the files again.
FROM_FILES = (
    "packages that were installed from files come back from the same files, in their folder:"
    " dnf reinstall ./storpool-ovirt-*.rpm"
)
# What no release of ours brings with pip: oVirt's library is built where it is installed.
_BUILT = {"ovirtsdk4": "ovirt-engine-sdk-python"}


def is_packaged() -> bool:
    """Return whether this code is that of our packages."""
    return f"{os.path.realpath(__file__)}/".startswith(f"{PACKAGES_CODE}/")


def mend(what: str, error: BaseException | None = None) -> str:
    """Return the command, for a person, that brings back what `what` needs and does not find.

    `what` is one of COMMAND, ENGINE and HOST. `error` is how it was missed.
    """
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if not is_packaged() and missing in _BUILT:
        return (
            f"{sys.prefix}/bin/pip install {_BUILT[missing]}  where gcc and the headers of Python,"
            " libxml2 and libcurl are"
        )
    if not is_packaged():
        return (
            f"{sys.prefix}/bin/pip install --require-hashes --only-binary :all:"
            f" -r requirements/{_REQUIREMENTS[what]}.txt  in the folder of the release"
        )
    if missing in _OTHERS_PACKAGES:
        verb = "install" if isinstance(error, ModuleNotFoundError) else "reinstall"
        return f"dnf {verb} {_OTHERS_PACKAGES[missing]}"
    return f"dnf reinstall {' '.join(packages(what))}"


def packages(what: str) -> list[str]:
    """Return the names of those of our packages that `what` needs, as `mend` has it."""
    return [f"storpool-ovirt-{each}" for each in _PACKAGES[what]]


def program(name: str, started: str) -> str:
    """Return the path by which a person can run a program of ours that stands beside the one that
    was `started` by this path.

    Most are in no folder of PATH.
    """
    folder = PACKAGES_PROGRAMS if is_packaged() else os.path.dirname(os.path.abspath(started))
    return f"{folder}/{name}"
