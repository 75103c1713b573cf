"""What is installed on Engine's machine: oVirt's files of a release, and ours beside them.

Engine's machine is a folder here. The files of oVirt's are stand-ins (players/), at the paths and
with the content that matters to ours; what ours do to them they do themselves, by
`storpool-engine-divert`.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib import parse

from ovirt_demo import children, releases
from ovirt_demo.engine import STOCK_CLIENT, USR, Engine

DIVERT = "storpool-engine-divert"
KEPT_CLIENT = f"{STOCK_CLIENT}.ovirt"
ENGINE_CONF = "etc/ovirt-engine/engine.conf.d"
PLAYER = Path(__file__).with_name("players") / "cinderlib_client.py"
DATABASE_KEYS = ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")
BACKUP_SUFFIX = ".20261126101500"  # cinderlib_rename.py: a time; Engine reads *.conf alone


class StepFailed(Exception):
    """A step of an installation failed, as somebody at a terminal sees it."""


@dataclass
class EngineSoftware:
    """The software of an Engine that is a folder; `has_ours` while our package is there."""

    engine: Engine
    has_ours: bool = False

    @property
    def client(self) -> Path:
        """The file that a release without adapters starts."""
        return self.engine.folder / USR / releases.ENGINE_4_5_7.folder / STOCK_CLIENT

    def install(self) -> None:
        """Put there what the packages of this release and engine-setup do."""
        self._put_client()
        self._write_keys()

    def integrate(self) -> str:
        """Put our files there, and do what our package does then; return what that said."""
        self.has_ours = True
        self.engine.link_adapter()
        return self._divert("on")

    def separate(self) -> str:
        """Do what our package does before it goes for good, and take its files away."""
        self.has_ours = False
        said = self._divert("off")
        for link in (self.engine.folder / USR).glob("managedblock/*-adapter"):
            link.unlink()
        shutil.rmtree(self.engine.log_folder / "managedblock", ignore_errors=True)
        return said

    def upgrade(self, release: releases.Engine) -> str:
        """Install another release over this one, run engine-setup, and our package's trigger.

        A package manager takes away what the newer package does not have, by its name: so a link
        in the place of a file goes as that file does. Return what our step said.
        """
        if release.folder != self.engine.release.folder:
            self.client.unlink(missing_ok=True)
        self.engine.release = release
        self._put_client()
        self._rename_keys()
        return self._divert("on") if self.has_ours else ""

    def left(self) -> list[str]:
        """List what of ours is left on Engine's machine, by its path: links, copies, logs."""
        usr = self.engine.folder / USR
        found = [path for path in usr.rglob("*") if _is_ours(path)]
        found += (self.engine.log_folder / "managedblock").glob("storpool-*")
        return sorted(str(path.relative_to(self.engine.folder)) for path in found)

    def _put_client(self) -> None:
        folder = self.engine.programs
        folder.mkdir(parents=True, exist_ok=True)
        # As a package manager does: beside it, then in its place
        new = folder / f"{STOCK_CLIENT};new"
        shutil.copyfile(PLAYER, new)
        new.chmod(0o755)
        new.replace(folder / STOCK_CLIENT)

    def _write_keys(self) -> None:
        folder = self.engine.folder / ENGINE_CONF
        folder.mkdir(parents=True, exist_ok=True)
        values = dict(zip(DATABASE_KEYS, _taken_apart(self.engine.database_url)))
        begin = self.engine.release.database_keys
        text = "".join(f'{begin}{key}="{value}"\n' for key, value in values.items())
        (folder / self.engine.release.database_file).write_text(text, encoding="utf-8")

    def _rename_keys(self) -> None:
        folder = self.engine.folder / ENGINE_CONF
        for file in folder.glob("10-setup-*-database.conf"):
            if file.name != self.engine.release.database_file:
                file.rename(file.with_name(file.name + BACKUP_SUFFIX))
        self._write_keys()

    def _divert(self, word: str) -> str:
        done = subprocess.run(
            [children.find(DIVERT), word],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin", "STORPOOL_OVIRT_ROOT": str(self.engine.folder)},
        )
        if done.returncode != 0:
            raise StepFailed(f"{DIVERT} {word}: {done.stdout.strip()}")
        return done.stdout.strip()


def _is_ours(path: Path) -> bool:
    is_link_to_ours = path.is_symlink() and "storpool" in str(path.readlink())
    return is_link_to_ours or "storpool" in path.name or path.name == KEPT_CLIENT


def _taken_apart(url: str) -> tuple[str, str, str, str, str]:
    """Return host, port, user, password and name of a URL in which nothing is quoted."""
    login, _, address = url.partition("://")[2].rpartition("@")
    user, _, password = login.partition(":")
    place = parse.urlsplit(f"//{address}")
    return str(place.hostname), str(place.port), user, password, place.path.lstrip("/")
