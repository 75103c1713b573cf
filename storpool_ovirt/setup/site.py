"""The machine that is set up, and how our programs came to it.

Found out and refused before anything is changed: what no step could make good.
"""

from __future__ import annotations

import os
import pwd
import sys
import sysconfig

from storpool_ovirt import config, errors, installation, presence, rights, text, tool
from storpool_ovirt.setup import ownership
from storpool_ovirt.setup.record import Record

ENGINE, HOST = "engine", "host"
# What is there where oVirt's own package is, and who runs our programs there.
_OVIRTS = {ENGINE: "/usr/share/ovirt-engine", HOST: "/usr/libexec/vdsm"}
_NAMES = {ENGINE: "oVirt Engine", HOST: "Vdsm"}
_USERS = {ENGINE: "ovirt", HOST: "vdsm"}
# The program of each place that its user runs.
_RUN = {ENGINE: "storpool-adapter", HOST: "storpool-vm-hook"}
OS_RELEASE = "/etc/os-release"
_NODE = "ovirt-node"  # VARIANT_ID of oVirt Node (ovirt-release-host-node's os-release)
IMGBASED = "/usr/bin/imgbase"


class Site:
    """This machine as the place that it is set up as."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.root = config.root()
        self.is_packaged = installation.is_packaged()
        self.record = Record(self.root, place)
        self.user = _USERS[place]

    @property
    def programs(self) -> str:
        """The folder of our programs."""
        if self.is_packaged:
            return installation.PACKAGES_PROGRAMS
        return sysconfig.get_path("scripts")

    @property
    def code(self) -> str:
        """The folder of our code: that of the package storpool_ovirt."""
        return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    @property
    def has_packages(self) -> bool:
        """Whether our packages are on this machine, whoever is asking."""
        return presence.there(f"{self.root}{installation.PACKAGES_CODE}/storpool_ovirt/__init__.py")

    @property
    def is_node(self) -> bool:
        """Whether this is oVirt Node, as far as the system tells."""
        try:
            return is_node(self.root)
        except OSError:
            return False

    def program(self, name: str) -> str:
        """Return the path of a program of ours."""
        return f"{self.programs}/{name}"

    def path(self, name: str) -> str:
        """Return where a path of this machine is for us."""
        return self.root + name

    def shipped(self, name: str) -> str:
        """Return the path of a file that comes with us."""
        return f"{self.code}/setup/files/{name}"

    def account(self, name: str | None = None) -> pwd.struct_passwd:
        """Return a user; raise ConfigError where the system knows none of this name."""
        user = self.user if name is None else name
        try:
            return pwd.getpwnam(user)
        except KeyError:
            raise errors.ConfigError(
                f"user {user}", "is not here", f"install {_NAMES[self.place]} first"
            ) from None

    def check(self, undo: bool) -> None:
        """Raise one of our errors where nothing may be set up here, or taken back."""
        check_root()
        if undo:
            return
        if not presence.there(self.root + _OVIRTS[self.place]):
            raise errors.ConfigError(
                f"this machine has no {_NAMES[self.place]}:",
                f"{_OVIRTS[self.place]} is not there",
                f"install {_NAMES[self.place]} first, or name the other place",
            )
        self.account()
        if not self.is_packaged:
            self._check_pip()

    def _check_pip(self) -> None:
        if self.is_node and self.place == HOST:
            raise errors.ConfigError(
                "this is oVirt Node:",
                "its upgrade loses what pip put into /usr and /opt, and VMs would start unfenced",
                "install our packages with dnf, which Node keeps",
            )
        if self.has_packages:
            raise errors.ConfigError(
                "our packages",
                "are on this machine too",
                "run the setup of theirs, /usr/sbin/storpool-ovirt, or erase them first",
            )
        program = self.program(_RUN[self.place])
        if not presence.there(program):
            advice = f"run  {installation.mend(self.place)}"
            raise errors.ConfigError(program, "is not there", advice)
        self._check_roots()
        self._check_runs(program)

    def _check_runs(self, program: str) -> None:
        """Raise ConfigError where the place's user cannot run our programs: nothing but a start of
        one shows that, from its first line to Python's last library."""
        try:
            ended = tool.run(program, "--version", user=self.account())
            why = "" if ended.code == 0 else ended.said
        except errors.InputError as error:
            why = f"{error.what} {error.why}"
        except errors.Error as error:
            why = str(error)
        if why:
            raise errors.ConfigError(
                program,
                f"cannot be run by user {self.user} ({text.lines(why)[-1]})",
                f"let all read {sys.prefix} and its Python, {os.path.realpath(sys.executable)}, and"
                f" search the folders above both (chmod -R go+rX {sys.prefix}), or make it anew"
                " under umask 022 below /opt, with /usr/bin/python3",
            )

    def _check_roots(self) -> None:
        """Raise ConfigError where another user could change what root runs."""
        found = ownership.others(self.programs, os.path.dirname(self.code))
        if found:
            is_inside = f"{found}/".startswith(f"{sys.prefix}/")
            raise errors.ConfigError(
                found,
                "can be changed by another user than root, who will run it",
                f"chown -R root:root {sys.prefix} && chmod -R go-w {sys.prefix}"
                if is_inside
                else "let it, and the folders above it, be root's alone, or make"
                f" {sys.prefix} anew with a Python that is, as /usr/bin/python3",
            )


def is_node(root: str) -> bool:
    """Return whether a machine is oVirt Node, which keeps nothing of /usr and /opt but packages.

    Raises OSError where its os-release cannot be read.
    """
    return presence.there(root + IMGBASED) or _variant(root) == _NODE


def check_root() -> None:
    """Raise InputError where this is not root: asked before anything that only root can read."""
    if os.geteuid() != 0:
        raise errors.InputError("setup", "changes this machine", "run it as root")


def _variant(root: str) -> str:
    content = rights.read(root + OS_RELEASE)
    for line in text.lines(text.decoded(content, OS_RELEASE, damaged=True)):
        key, _, value = line.partition("=")
        if key == "VARIANT_ID":
            return value.strip("\"'")
    return ""
