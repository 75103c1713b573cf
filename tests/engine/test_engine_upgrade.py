"""What docs/upgrade.md says of Engine's side: each of its lines, with the stand-ins of both
Engines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovirt_demo import children, engine, engine_software, releases
from rigs import shared_stage
from storpool_ovirt.engine import client_file

if TYPE_CHECKING:
    from rigs.stage_fixtures import Stage

LIMIT_SECONDS = 60
STOCK = "the stock client ran"


class Upgraded:
    """An Engine of 4.5.7 with our package, a disk of ours, and an administrator beside it."""

    def __init__(self, shared: Stage, folder: Path) -> None:
        self.engine = engine.Engine(
            folder,
            children.find("storpool-adapter"),
            shared.simulator.driver_options(),
            shared.database.url,
            release=releases.ENGINE_4_5_4,
        )
        self.software = engine_software.EngineSoftware(self.engine)
        self.software.install()
        self.package_beside(releases.ENGINE_4_5_7)
        self.software.integrate()
        self.client = self.software.client
        self.kept = self.client.with_name(engine_software.KEPT_CLIENT)
        shared_stage.answered(self.engine.run("storage_stats", "true"))
        self.disk = shared_stage.make_disk(self.engine)

    def package_beside(self, release: releases.Engine) -> None:
        """Have the other file of oVirt's package there where the release has it."""
        beside = self.software.client.with_name(client_file.OF_THE_SAME_PACKAGE)
        if release.dispatches:
            beside.unlink(missing_ok=True)
        else:
            beside.parent.mkdir(exist_ok=True)
            beside.touch()

    def serves(self) -> bool:
        """Whether our disk is described, and another domain is the stock client's."""
        known = self.engine.run("get_connection_info", self.disk)
        ours, options = known.succeeded and STOCK not in str(known.answer), self.engine.options
        self.engine.options = {"volume_driver": "x"}
        try:
            stock = self.engine.run("storage_stats", "true").answer
        finally:
            self.engine.options = options
        return ours and str(stock).startswith(STOCK)

    def audit(self) -> int:
        """Return the exit code of an audit that finds the database by Engine's settings."""
        command = [children.find("storpool-ovirt"), "audit"]
        environment = {**self.engine.environment, "STORPOOL_OVIRT_ROOT": str(self.engine.folder)}
        options = self.engine.folder / "options.json"
        options.write_text(self.engine.argv("x", correlation_id="x")[2])
        return subprocess.run(
            [*command, "--options", options],
            env=environment,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_SECONDS,
        ).returncode

    def divert(self) -> str:
        """Do what the start of ovirt-engine.service does first."""
        return self.software.integrate()

    @property
    def settings(self) -> Path:
        """Engine's settings."""
        return self.engine.folder / engine_software.ENGINE_CONF


def elsewhere(settings: str) -> str:
    """Return settings with another database in them, one that must not be asked."""
    lines = [
        f'{line.partition("=")[0]}="nowhere"' if "_DATABASE=" in line else line
        for line in settings.splitlines()
    ]
    assert lines != settings.splitlines()
    return "\n".join(lines)


@pytest.fixture
def upgraded(shared: Stage, tmp_path: Path) -> Upgraded:
    """Give an Engine that is about to be upgraded."""
    return Upgraded(shared, tmp_path / "engine")


def test_an_update_within_4_5(upgraded: Upgraded) -> None:
    """The package's client is in the link's place until the trigger runs, or Engine starts: then
    the newer file is kept."""
    assert upgraded.serves()
    new = upgraded.client.with_name("new")
    new.write_text(upgraded.kept.read_text() + "# 4.5.7\n")
    new.chmod(0o755)
    new.replace(upgraded.client)
    said = upgraded.engine.run("get_connection_info", upgraded.disk)
    assert STOCK in str(said.answer), "nobody has diverted it yet"
    upgraded.divert()
    assert upgraded.serves()
    assert upgraded.kept.read_text().endswith("# 4.5.7\n")


def test_to_a_later_engine_and_back(upgraded: Upgraded) -> None:
    """Before, while and after engine-setup renames the keys, and on the way back, verbs and
    audit know the disk; nothing of the old place is left, and all of it is there again."""
    assert upgraded.audit() == 0
    old_keys = {each.name: each.read_text() for each in upgraded.settings.iterdir()}
    upgraded.package_beside(releases.ENGINE_MASTER)
    upgraded.software.upgrade(releases.ENGINE_MASTER)
    new_keys = {each.name: each.read_text() for each in upgraded.settings.glob("*.conf")}
    assert upgraded.divert().startswith("nothing to do")
    assert not upgraded.client.parent.exists() or not any(upgraded.client.parent.iterdir())
    assert upgraded.serves()
    assert upgraded.audit() == 0
    for name, text in old_keys.items():  # engine-setup was broken off before it moved them
        (upgraded.settings / name).write_text(elsewhere(text))
    assert upgraded.audit() == 0
    for name in new_keys:  # the packages are new, and engine-setup has not begun
        (upgraded.settings / name).unlink()
    for name, text in old_keys.items():
        (upgraded.settings / name).write_text(text)
    assert upgraded.audit() == 0
    upgraded.engine.release = releases.ENGINE_4_5_7
    upgraded.software.install()
    upgraded.package_beside(releases.ENGINE_4_5_7)
    for name, text in new_keys.items():  # left from the later one
        (upgraded.settings / name).write_text(elsewhere(text))
    upgraded.divert()
    assert upgraded.serves()
    assert upgraded.audit() == 0


def test_files_from_a_backup(upgraded: Upgraded, tmp_path: Path) -> None:
    """With links, or with what they lead to: it works at once, and is a link again after the next
    start of Engine."""
    stock = upgraded.kept.read_text()
    folder = upgraded.client.parent
    for links in (True, False):
        saved = tmp_path / f"saved {links}"
        shutil.copytree(folder, saved, symlinks=links)
        shutil.rmtree(folder)
        shutil.copytree(saved, folder, symlinks=True)
        assert upgraded.client.is_symlink() == links
        assert upgraded.serves()
        upgraded.divert()
        assert upgraded.client.is_symlink()
        assert upgraded.kept.read_text() == stock
        assert upgraded.serves()


def test_we_are_taken_off_and_put_on_again(upgraded: Upgraded) -> None:
    """Engine's own client is back, and our disk is what it was when we are."""
    stock = upgraded.kept.read_bytes(), upgraded.kept.stat()
    link = upgraded.engine.folder / engine.USR / "managedblock" / "storpool-adapter"
    adapter = link.readlink()
    upgraded.software.separate()
    assert upgraded.software.left() == []
    back = upgraded.client.stat()
    assert upgraded.client.read_bytes() == stock[0]
    assert (back.st_ino, back.st_mode, back.st_mtime_ns) == (
        stock[1].st_ino,
        stock[1].st_mode,
        stock[1].st_mtime_ns,
    )
    assert STOCK in str(upgraded.engine.run("get_connection_info", upgraded.disk).answer)
    link.symlink_to(adapter)
    upgraded.divert()
    assert upgraded.serves()
