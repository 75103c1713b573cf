"""Installations of ours, and how their programs are started.

What is measured is the installation of this Python; `--before FOLDER` names the programs of another
one, say of the commit before, which then runs side by side with it. `pip` is a start as pip writes
it, `package` the start of our packages (packaging/launchers.py): Python alone, told where our code
and the libraries are.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovirt_demo import children, engine

PIP, PACKAGE = "pip", "package"
STARTS = (PACKAGE, PIP)

# Asked of an installation's own Python, from a folder without anything of ours.
ASKED = """
import json, os, sys, sysconfig
from importlib import metadata
import storpool_ovirt
tree = os.path.dirname(os.path.dirname(os.path.abspath(storpool_ovirt.__file__)))
paths = sysconfig.get_paths()
points = metadata.distribution("storpool-ovirt").entry_points
print(json.dumps({
    "python": os.path.realpath(sys.executable),
    "folders": list(dict.fromkeys([tree, paths["purelib"], paths["platlib"]])),
    "programs": {each.name: each.value for each in points if each.group == "console_scripts"},
}))
"""
_UNKNOWN = re.compile(rb'driver option "(\w+)" is not known')
LAUNCHER = """\
#!{python} -ISB
import sys

sys.path[:0] = {folders!r}
from {module} import {function}

sys.exit({function}())
"""


@dataclass(frozen=True)
class Installation:
    """The programs of an installation: where pip has put them; and those that start as packages
    have it, by their text, with the folder where they are written, None where pip's are wanted."""

    programs: Path
    texts: Mapping[str, str]
    packaged: Path | None

    def find(self, name: str) -> Path:
        """Return the path of a program."""
        return (self.packaged or self.programs) / name


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose installations."""
    add_before(parser)
    add_start(parser)


def add_before(parser: argparse.ArgumentParser) -> None:
    """Add the option that names another installation."""
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="programs of another installation, to run side by side with this one's",
    )


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses how programs are started."""
    parser.add_argument(
        "--start",
        choices=STARTS,
        default=PACKAGE,
        help="start programs as packages do, or as pip does (default: %(default)s)",
    )


def this(start: str, folder: Path) -> Installation:
    """Return the installation of this Python; what it needs is written into the folder."""
    return of(children.find("storpool-adapter").parent, start, folder)


def of(programs: Path, start: str, folder: Path) -> Installation:
    """Return the installation that has these programs."""
    programs = programs.absolute()
    done = subprocess.run(
        [programs / "python3", "-c", ASKED], cwd="/", check=True, capture_output=True, text=True
    )
    facts = json.loads(done.stdout)
    texts = {}
    for name, target in facts["programs"].items():
        module, _, function = target.partition(":")
        texts[name] = LAUNCHER.format(
            python=facts["python"], folders=facts["folders"], module=module, function=function
        )
    if start == PIP:
        return Installation(programs, texts, None)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        write(folder / name, text)
    return Installation(programs, texts, folder)


def with_known(caller: engine.Engine) -> engine.Engine:
    """Return an Engine without those of its options that its adapter, an older one, does not
    know."""
    while unknown := _UNKNOWN.search(caller.run("storage_stats", "true").output):
        del caller.options[unknown[1].decode()]
    return caller


def write(path: Path, text: str) -> None:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)


def bare() -> str:
    """Return the Python below a virtual environment, as packages use it."""
    return str(Path(sys.executable).resolve())
