"""`make release` in a clone: all of it, or nothing."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import storpool_ovirt
from rigs import built_packages
from rigs.built_packages import TREE, WHEELS, launchers

VERSION = storpool_ovirt.__version__
WHO = {
    f"GIT_{role}_{what}": f"{role}@here"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
LIMIT_SECONDS = 600
PRODUCT = ("storpool_ovirt", "cinder_driver", "storpool_simulator", "ovirt_demo")


class Clone:
    """A clone of this tree as it is now, in which everything is in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("clone", "--quiet", "--no-tags", str(TREE), str(folder), cwd=folder.parent)
        listed = self.git("ls-files", "-z", "-co", "--exclude-standard", cwd=TREE)
        for name in listed.split("\0"):
            if name and (TREE / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(TREE / name, folder / name)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "as it is here")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Return what git answers."""
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", *arguments],
            cwd=cwd or self.folder,
            env={**os.environ, **WHO},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def release(self) -> subprocess.CompletedProcess[str]:
        """Run what make runs."""
        program = self.folder / "packaging" / "release.py"
        return subprocess.run(
            [sys.executable, str(program), "--wheels", str(WHEELS)],
            cwd=self.folder,
            env={**os.environ, **WHO},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )

    def refused(self) -> str:
        """Return the sentence of a release that is not made, and changes nothing."""
        before = self.state()
        done = self.release()
        assert done.returncode != 0
        assert self.state() == before
        assert "Traceback" not in done.stderr
        return done.stderr

    def state(self) -> tuple[str, ...]:
        """Return what a release changes."""
        dist = self.folder / "dist"
        return (
            self.git("rev-parse", "HEAD"),
            self.git("tag", "--list"),
            self.git("status", "--porcelain"),
            *sorted(each.name for each in (dist.iterdir() if dist.exists() else ())),
        )

    @property
    def changelog(self) -> Path:
        """The changelog."""
        return self.folder / "CHANGELOG.md"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone that may be released."""
    built_packages.needed("git", "rpmbuild")
    if tuple(map(int, metadata.version("setuptools").split(".")[:2])) < (70, 1):
        pytest.skip("setuptools 70.1 or newer is not installed for this Python")
    return Clone(tmp_path / "clone")


def test_a_release_is_whole(clone: Clone) -> None:
    """Its changelog, its tag, and in dist/ the source archive, the wheel, the packages with a
    release of their own, the Ansible collection, and checksums that fit."""
    before = clone.git("rev-parse", "HEAD").strip()
    done = clone.release()
    if "cannot be had" in done.stderr:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("rev-parse", "HEAD^").strip() == before
    assert clone.git("rev-parse", f"v{VERSION}^{{commit}}") == clone.git("rev-parse", "HEAD")
    assert clone.git("diff", "--name-only", "HEAD^", "HEAD").split() == ["CHANGELOG.md"]
    text = clone.changelog.read_text()
    day = time.strftime("%Y-%m-%d", time.gmtime(int(clone.git("show", "-s", "--format=%ct"))))
    assert f"\n## [Unreleased]\n\n## [{VERSION}] - {day}\n\n" in text
    assert "Nothing was released" not in text
    names = {each.name for each in (clone.folder / "dist").iterdir()}
    kinds = {re.sub(r"[-_]", "-", each).replace(VERSION, "V") for each in names}
    assert kinds == {
        "SHA256SUMS",
        "storpool-ovirt-V.tar.gz",
        "storpool-ovirt-V-py3-none-any.whl",
        "ansible-storpool-ovirt-V.tar.gz",
        "storpool-ovirt-V-1.src.rpm",
        *(f"storpool-ovirt-{each}-V-1.noarch.rpm" for each in built_packages.PACKAGES),
    }
    for line in (clone.folder / "dist" / "SHA256SUMS").read_text().splitlines():
        told, _, name = line.partition("  ")
        found = hashlib.sha256((clone.folder / "dist" / name).read_bytes()).hexdigest()
        assert told == found, name
        names.remove(name)
    assert names == {"SHA256SUMS"}
    check_archives(clone)
    assert f"v{VERSION} was released already" in clone.refused()


def check_archives(clone: Clone) -> None:
    """What pip installs has all programs, also the piece for Vdsm's folder; the source archive has
    what README and docs/ name beside them."""
    dist = clone.folder / "dist"
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as file:
        wheel = set(file.namelist())
        entries = next(each for each in wheel if each.endswith("/entry_points.txt"))
        told = set(file.read(entries).decode().splitlines())
    assert told >= set(launchers.entry_points(TREE / "setup.py")["console_scripts"])
    assert "storpool_ovirt/host/os_brick_piece/os_brick/__init__.py" in wheel
    with tarfile.open(next(dist.glob("storpool*.tar.gz"))) as archive:
        source = {each.partition("/")[2] for each in archive.getnames()}
    in_git = set(clone.git("ls-files").split())
    assert in_git - source - {".gitignore"} == set()
    product = {each for each in in_git if each.endswith(".py") and each.split("/")[0] in PRODUCT}
    assert product <= wheel


def test_a_tree_with_changes_is_refused(clone: Clone) -> None:
    """Nobody could tell what was released; a file that git does not know counts too."""
    (clone.folder / "new.py").write_text("")
    assert "has changes that are not in git" in clone.refused()


def test_nothing_to_tell_is_refused(clone: Clone) -> None:
    """A release without a line for those who use it."""
    clone.changelog.write_text("# Changes\n\n## [Unreleased]\n\n## [0.0.1] - 2020-01-01\n\n- old\n")
    clone.git("commit", "--quiet", "--all", "-m", "nothing to tell")
    assert "tells nothing in its section [Unreleased]" in clone.refused()


def test_a_build_that_fails_leaves_nothing(clone: Clone) -> None:
    """Neither a commit nor a tag nor half of dist/."""
    spec = clone.folder / "packaging" / "storpool-ovirt.spec.in"
    spec.write_text(spec.read_text().replace("%build\n", "%build\nexit 1\n"))
    clone.git("commit", "--quiet", "--all", "-m", "a mistake")
    assert "rpmbuild failed" in clone.refused()
