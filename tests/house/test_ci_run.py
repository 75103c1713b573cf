""".ci/run: a CI that hangs ends by itself, and says what ran."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rigs.clock import wait_until

RUN = Path(__file__).parents[2] / ".ci" / "run"
LIMIT_SECONDS = 60
STAYS = "trap '' TERM; echo $$ >pid; sleep 77777 & while :; do wait; done"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a tree with .ci/run, and nothing to install."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(RUN, tmp_path / ".ci")
    for name in ("packages", "vm-packages"):
        script(tmp_path / ".ci" / name, f"echo {name}")
    return tmp_path


def script(path: Path, does: str) -> None:
    """Write a program."""
    path.write_text(f"#!/bin/bash\n{does}\n")
    path.chmod(0o755)


def run(tree: Path, test: str, limit_seconds: int = 50) -> subprocess.CompletedProcess[str]:
    """Run it with this as `make test`."""
    script(tree / "test.sh", test)
    (tree / "Makefile").write_text("test:\n\t@./test.sh\n")
    return subprocess.run(
        [tree / ".ci" / "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={**os.environ, "CI_LIMIT_SECONDS": str(limit_seconds)},
    )


def with_limit(tree: Path, name: str, seconds: int) -> None:
    """Give it another limit."""
    mine = tree / ".ci" / "run"
    text, count = re.subn(
        rf"^{name}=\d+", f"{name}={seconds}", mine.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    mine.write_text(text)


@pytest.mark.parametrize("code", [0, 2])
def test_its_end_is_that_of_the_tests(tree: Path, code: int) -> None:
    """After what they need was installed; make has one code for all that fails."""
    done = run(tree, f"echo tested; exit {code}")
    assert (done.returncode, done.stdout.split()[:3]) == (
        code,
        ["packages", "vm-packages", "tested"],
    )


def test_what_is_not_over_is_ended_and_told(tree: Path) -> None:
    """Also what takes no notice of a polite signal, and what that has started."""
    with_limit(tree, "polite_seconds", 1)
    done = run(tree, STAYS, limit_seconds=1)
    assert done.returncode not in (0, 1)
    assert "run: not over after" in done.stdout
    assert "sleep 77777" in done.stdout
    wait_until(lambda: not Path("/proc", (tree / "pid").read_text().strip()).exists())


def test_packages_that_fail_are_no_ci(tree: Path) -> None:
    """As without a limit."""
    script(tree / ".ci" / "packages", "exit 3")
    done = run(tree, "echo tested")
    assert (done.returncode, done.stdout) == (3, "")


def test_packages_that_hang_are_skipped(tree: Path) -> None:
    """The tests say what they lack."""
    with_limit(tree, "packages_seconds", 1)
    script(tree / ".ci" / "packages", "sleep 300")
    done = run(tree, "echo tested")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "run: .ci/packages is ended after 1 s: tests with what is missing will be skipped",
        "vm-packages",
        "tested",
    ]
