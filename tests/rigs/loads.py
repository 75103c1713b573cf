"""Programs that tell which modules they have loaded when they end, started as our packages start
them: with nothing of an installation but our code and the libraries."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import storpool_ovirt

OURS = "storpool_ovirt"
PROGRAM = """\
#!{python} -ISB
import sys

sys.path[:0] = {folders!r}
import os

leave = os._exit


def tell():
    with open({told!r}, "ab") as file:  # as text it would load what knows of locales
        file.write(" ".join(sys.modules).encode() + b"\\n")


def end(code):
    tell()
    leave(code)


os._exit = end
from storpool_ovirt.{module} import {function}

code = {function}({arguments})
tell()
sys.exit(code)
"""
BARE = "import sys, os; print(*sys.modules)"


@dataclass(frozen=True)
class Loaded:
    """The modules that a program has loaded: ours without the package's name, and others', beyond
    those that Python starts with."""

    ours: frozenset[str]
    others: frozenset[str]

    def __str__(self) -> str:
        return f"{len(self.ours)} of ours, {' '.join(sorted(self.others))}"


class Program:
    """A program of ours that tells what it has loaded.

    Any user may run it; `python` runs it, and finds our code and the libraries in `folders`.
    """

    def __init__(
        self,
        path: Path,
        module: str,
        function: str = "run",
        arguments: str = "",
        python: str = sys.executable,
        folders: Sequence[str] = (),
    ) -> None:
        self.path, self._told, self._python = path, path.with_name(f"{path.name}.told"), python
        self._forget()
        path.write_text(
            PROGRAM.format(
                python=python,
                folders=list(folders or _folders()),
                told=str(self._told),
                module=module,
                function=function,
                arguments=arguments,
            )
        )
        path.chmod(0o755)

    def loaded(self) -> Loaded:
        """Return what its run has loaded, with its children of the same program, and forget it."""
        names = frozenset(self._told.read_text().split()) - started_with(self._python)
        self._forget()
        ours = {each for each in names if each.partition(".")[0] == OURS}
        inside = frozenset(each.partition(".")[2] for each in ours if "." in each)
        return Loaded(inside, names - ours)

    def _forget(self) -> None:
        self._told.write_text("")
        self._told.chmod(0o666)


def started_with(python: str) -> frozenset[str]:
    """Return what a Python has loaded before it runs anything of ours."""
    done = subprocess.run([python, "-ISB", "-c", BARE], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def _folders() -> list[str]:
    paths = sysconfig.get_paths()
    tree = Path(storpool_ovirt.__file__).parents[1]
    return list(dict.fromkeys([str(tree), paths["purelib"], paths["platlib"]]))
