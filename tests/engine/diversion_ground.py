"""A machine's folder of a released Engine, as packages, administrators and backups leave it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple
from unittest import mock

import pytest

from ovirt_demo import children
from storpool_ovirt.engine import client_file, dispatcher, diversion
from storpool_ovirt.log import Log

STARTS = """#!/bin/sh
exec /usr/bin/python3 -c 'from storpool_ovirt.engine.dispatcher import run; run()' "$@"
"""
# What changes a folder: a death falls before or behind one of these.
STEPS = ("link", "rename", "symlink", "unlink", "rmdir")


LIMIT_SECONDS = 60


class Death(BaseException):
    """The process is killed here."""


class Facts(NamedTuple):
    """What must come back as it was."""

    content: str
    mode: int
    mtime_ns: int
    owner: tuple[int, int]


def facts(path: Path) -> Facts:
    """Return what a file is."""
    found = path.lstat()
    return Facts(path.read_text(), found.st_mode, found.st_mtime_ns, (found.st_uid, found.st_gid))


class Machine:
    """Engine's machine, where a folder stands for `/`; two installations of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = Path(f"{root}{client_file.FOLDER}")
        self.client = self.folder / dispatcher.CLIENT
        self.kept = self.folder / dispatcher.STOCK
        self.beside = self.folder / client_file.OF_THE_SAME_PACKAGE
        self.number = 0
        self.own, self.other = (self.installed(each) for each in ("libexec", "opt"))

    def installed(self, name: str) -> Path:
        """Install a dispatcher of ours."""
        path = self.root / name / dispatcher.PROGRAM
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STARTS)
        path.chmod(0o755)
        return path

    def diversion(self, own: Path | None = None) -> diversion.Diversion:
        """Return the diversion of an installation."""
        log = Log(diversion.PROGRAM, None)
        return diversion.Diversion(str(self.root), str(own or self.own), log)

    def package(self, mode: int = 0o755, text: str = "#!/usr/bin/python3\n") -> Facts:
        """Install or update ovirt-engine: rpm writes a new file and renames it to its name."""
        self.number += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, content in (
            (self.beside, "PATHS = {}\n"),
            (self.client, f"{text}# build {self.number}\n"),
        ):
            new = self.folder / f"{path.name};{self.number:08x}"
            new.write_text(content)
            new.chmod(mode)
            os.utime(new, ns=(self.number * 10**9, self.number * 10**9))
            new.rename(path)
        return facts(self.client)

    def erase(self) -> None:
        """Remove ovirt-engine, or update it to a release that has no such client."""
        for path in (self.client, self.beside):
            path.unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def copy_in_place_of_link(self) -> None:
        """Restore the client by `cp -L`: what the link led to is a file now."""
        text = self.client.read_text()
        self.client.unlink()
        self.client.write_text(text)
        self.client.chmod(0o755)

    def backup(self, place: Path, *, links: bool) -> None:
        """Copy the folder away, with its links or with what they lead to."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder, place, symlinks=links, ignore_dangling_symlinks=True)

    def restore(self, place: Path) -> None:
        """Put a copy in the folder's place."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(place, self.folder, symlinks=True)

    def names(self) -> set[str]:
        """Return what is in the folder."""
        return {each.name for each in self.folder.iterdir()} if self.folder.exists() else set()


@contextmanager
def dying(at: int, *, behind: bool) -> Iterator[list[str]]:
    """Die at a step, before or behind it; give the names of the steps so far."""
    steps: list[str] = []

    def stepping(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            steps.append(name)
            if len(steps) == at and not behind:
                raise Death
            done = real(*args, **kwargs)
            if len(steps) == at:
                raise Death
            return done

        return step

    with mock.patch.multiple(os, **{each: stepping(each, getattr(os, each)) for each in STEPS}):
        yield steps


# Runs a program where a folder cannot be written, in a mount namespace of its own.
READ_ONLY = 'mount --bind "$0/usr" "$0/usr" && mount -o remount,ro,bind "$0/usr" && exec "$@"'


def ran(machine: Machine, *arguments: str, read_only: bool = False) -> tuple[int, str, str]:
    """Run the installed program; return its exit code, stdout and stderr."""
    command = [str(children.find(diversion.PROGRAM)), *arguments]
    if read_only:
        command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(machine.root), *command]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(machine.root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine with the client of a released Engine."""
    made = Machine(tmp_path / "root")
    made.package()
    return made
