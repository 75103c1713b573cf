"""`make rpm`: which release a commit is, what is in dist/ afterwards, and what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import build_rpm
import pytest

from rigs import built_packages
from rigs.built_packages import TREE

VERSION = "7.8.9"
LIMIT_SECONDS = 60


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a version and one commit."""
    built_packages.needed("git")
    file = tmp_path / "tree" / "storpool_ovirt" / "__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text(f'__version__ = "{VERSION}"\n')
    top = file.parents[1]
    build_rpm.git("init", "--quiet", tree=top)
    build_rpm.git("add", "--all", tree=top)
    commit(top)
    return top


def commit(tree: Path) -> str:
    """Make a commit; return it."""
    build_rpm.git("commit", "--quiet", "--allow-empty", "--all", "-m", "x", tree=tree)
    return build_rpm.git("rev-parse", "HEAD", tree=tree).decode().strip()


def test_releases_sort_as_commits_do(tree: Path) -> None:
    """Before the tag of the version, at it, after it: an update never goes back."""
    first = build_rpm.source(None, None, tree)
    assert first.release.startswith("0.2")
    commit(tree)
    build_rpm.git("tag", "--annotate", f"v{VERSION}", "-m", "x", tree=tree)
    assert build_rpm.source(None, None, tree).release == "1"
    assert build_rpm.source(first.commit, None, tree).release == first.release
    later = commit(tree)
    assert build_rpm.source(None, None, tree).release.startswith("1.2")
    assert build_rpm.source(later, "3", tree).release == "3"


def test_what_was_changed_since_the_tag_is_no_release(tree: Path) -> None:
    """It is later, too."""
    build_rpm.git("tag", f"v{VERSION}", tree=tree)
    file = tree / "storpool_ovirt" / "__init__.py"
    file.write_text(f'{file.read_text()}# "changed"\n')
    release = build_rpm.source(None, None, tree).release
    assert release.startswith("1.2")
    assert release.endswith(".changed")


def test_dist_has_one_build(tmp_path: Path) -> None:
    """Packages of earlier builds go, and nothing else does."""
    names = ("storpool-ovirt-host-1.rpm", "storpool-ovirt-1.src.rpm", "other.rpm", "x.tar.gz")
    for name in (*names, "storpool-ovirt-host-2.rpm"):
        (tmp_path / name).touch()
    build_rpm.clear(tmp_path, [tmp_path / "storpool-ovirt-host-2.rpm"])
    left = {"storpool-ovirt-host-2.rpm", "other.rpm", "x.tar.gz"}
    assert {each.name for each in tmp_path.iterdir()} == left


def test_without_git_it_is_a_sentence(tmp_path: Path) -> None:
    """No trace."""
    done = subprocess.run(
        [sys.executable, str(built_packages.BUILD)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert done.stderr.startswith("git is not here: ")


@pytest.mark.parametrize("python", ["missing", "old"])
@pytest.mark.parametrize("goal", ["rpm", "demo", "test"])
def test_without_a_python_make_says_so(tmp_path: Path, python: str, goal: str) -> None:
    """One sentence, and nothing is made."""
    built_packages.needed("make")
    for name in ("Makefile", "setup.py"):
        shutil.copy(TREE / name, tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "constraints.txt").touch()
    program = tmp_path / "python"
    if python == "old":
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    done = subprocess.run(
        ["make", goal, f"PYTHON={program}"],
        cwd=tmp_path,
        env={key: each for key, each in os.environ.items() if not key.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    said = done.stderr.splitlines()
    assert done.returncode == 2
    assert "older than 3.9" in said[0]
    assert said[0].endswith(f"make PYTHON=python3.12 {goal}")
    assert not (tmp_path / ".venv").exists()
