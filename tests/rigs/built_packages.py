"""The packages as `make rpm` builds them, once for all tests of a run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
BUILD = TREE / "packaging" / "build_rpm.py"
sys.path.append(str(BUILD.parent))  # no part of the product, but what tests ask
import launchers  # noqa: E402

__all__ = ["launchers"]
WHEELS = TREE / "build" / "wheels"
PACKAGES = ("common", "admin", "engine", "host", "cinder")
# What is installed together on a machine of each kind.
TOGETHER = {
    "engine": ("common", "admin", "engine"),
    "host": ("common", "admin", "host"),
    "cinder": ("common", "cinder"),
}
LIMIT_SECONDS = 600


def needed(*tools: str) -> None:
    """Skip the test where one of these programs is not here."""
    for each in tools:
        if shutil.which(each) is None:
            pytest.skip(f"{each} is not installed here (.ci/packages)")


def build(
    output: Path, *arguments: str, tree: Path = TREE, umask: int = -1, **environment: str
) -> dict[str, Path]:
    """Build the packages, and return them by the last part of their names; the source's is src."""
    program = tree / BUILD.relative_to(TREE)
    command = [sys.executable, str(program), "--output", str(output), "--wheels", str(WHEELS)]
    done = subprocess.run(
        [*command, *arguments],
        cwd=tree,
        umask=umask,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    if "cannot be had" in done.stderr:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return found(output)


def found(folder: Path) -> dict[str, Path]:
    """Return the packages in a folder."""
    kinds = {each: next(folder.glob(f"*-{each}-[0-9]*.noarch.rpm"), None) for each in PACKAGES}
    kinds["src"] = next(folder.glob("*.src.rpm"), None)
    return {kind: path for kind, path in kinds.items() if path is not None}


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Have one process of a run do something: True for whoever comes first, others wait for it.

    Where it fails the next one begins anew, in an empty folder.
    """
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        yield not done.exists()
        done.touch()


def query(package: Path, *arguments: str) -> list[str]:
    """Return the lines that rpm answers of a package that is not installed."""
    done = subprocess.run(
        ["rpm", "-qp", "--nosignature", *arguments, str(package)],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    return done.stdout.splitlines()
