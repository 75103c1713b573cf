"""A machine to which packages come and from which they go, in steps that a test names in words."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path

import package_root

from rigs import built_packages

# What the first word of a step means for rpm.
COMMANDS = {
    "install": ["-U"],
    "again": ["-U", "--replacepkgs"],
    "back": ["-U", "--oldpackage"],
    "quietly": ["-U", "--notriggers"],
}
DROP_IN = "/usr/lib/systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf"
FULL_NAME = "%{NAME}-%{VERSION}-%{RELEASE}.noarch.rpm\\n"
Packages = dict[str, Path]


class Machine:
    """Engine's machine (`place` is engine) or a host, and the packages that may come to it.

    `theirs` are those of oVirt by the words that steps have for them; ours are `ours` and, in a
    later release, `newer`.
    """

    def __init__(
        self,
        root: package_root.Root,
        place: str,
        theirs: dict[str, list[Path]],
        ours: Packages,
        newer: Packages,
    ) -> None:
        self.root = root
        self.before = root.files()
        together = built_packages.TOGETHER[place]
        self.ours = [f"storpool-ovirt-{each}" for each in together]
        self._files = {
            "ours": [ours[each] for each in together],
            "newer": [newer[each] for each in together],
            **theirs,
        }

    def do(self, *steps: str) -> None:
        """Do what each step says, each in one transaction; nothing is said at any.

        `install 4.5.7 ours`; `again`, `back`: reinstalled, an older one; `quietly`: without
        triggers; `erase ours vdsm`; `start`: what systemd runs before Engine starts.
        """
        for step in steps:
            said = self.said_at(step)
            assert said == "", f"{step}: {said}"

    def said_at(self, step: str, *options: str, code: int | None = 0) -> str:
        """Do one step with more options of rpm, and return what is said."""
        verb, *names = step.split()
        if verb == "start":
            return self._start_engine()
        here = self.root.rpm("-qa", "--queryformat", FULL_NAME).split()
        if verb == "erase":
            wanted = [each for name in names for each in (self.ours if name == "ours" else [name])]
            found = [each for each in wanted if any(_is(file, each) for file in here)]
            return self.root.rpm("-e", *options, *found, code=code)
        files = [path for name in names for path in self._files[name]]
        if verb == "install":  # rpm refuses what is here in this very version
            files = [each for each in files if each.name not in here]
        return self.root.rpm(*COMMANDS[verb], *options, *files, code=code)

    def check_left(self, wanted: Sequence[str] = ()) -> None:
        """Nothing is here that was not here before, but these."""
        left = self.root.files() - self.before
        assert left == {*wanted}, left

    def _start_engine(self) -> str:
        """Run the line of the drop-in: as root (+), and Engine starts whatever comes of it (-)."""
        read = configparser.ConfigParser(delimiters=["="])
        read.read(self.root.path(DROP_IN))
        line = read["Service"]["ExecStartPre"]
        assert line.startswith("-+/")
        done = self.root.run(*line[2:].split())
        return done.stderr if done.returncode == 0 else f"failed: {done.stderr}"


def _is(file: str, name: str) -> bool:
    return file.startswith(f"{name}-") and file[len(name) + 1].isdigit()
