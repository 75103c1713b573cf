"""The packages, built once, and roots to install them into."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import package_machine
import package_root
import package_stock
import psycopg2
import pytest

from rigs import built_packages


@pytest.fixture(scope="session")
def newer(shared_folder: Path, packages: dict[str, Path]) -> dict[str, Path]:
    """The same in a later release."""
    folder = shared_folder / "newer"
    with built_packages.once(folder) as first:
        return (
            built_packages.build(folder, "--release", "2")
            if first
            else built_packages.found(folder)
        )


@pytest.fixture(scope="session")
def stock(shared_folder: Path) -> package_stock.Stock:
    """Packages of others, and a root with those of the system."""
    built_packages.needed("rpmbuild", "unshare", "chroot")
    if os.geteuid() != 0:
        pytest.skip("only root can install packages into a root of its own")
    probe = ["unshare", "--mount", "--propagation", "private", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody have a mount namespace")
    folder = shared_folder / "stock"
    with built_packages.once(folder) as first:
        if not first:
            made: package_stock.Stock = pickle.loads((folder / "stock").read_bytes())  # noqa: S301 our own
            return made
        driver = Path(psycopg2.__file__).parent
        libraries = driver.parent / "psycopg2_binary.libs"
        packages = [each for each in (driver, libraries) if each.exists()]
        python = package_root.python_home(folder / "python", sys.executable, packages)
        made = package_stock.Stock(folder, python)
        (folder / "stock").write_bytes(pickle.dumps(made))
        return made


@pytest.fixture
def root(stock: package_stock.Stock, tmp_path: Path) -> package_root.Root:
    """A root with what the system has, and nothing of oVirt's or ours."""
    tmp_path.chmod(0o755)
    return stock.root.copy(tmp_path / "root")


@pytest.fixture(scope="session")
def installed(
    shared_folder: Path, stock: package_stock.Stock, packages: dict[str, Path]
) -> Callable[[str], package_root.Root]:
    """Return a root of this run in which all is installed on an Engine's machine, or on a host; who
    changes it takes a copy."""

    def having(place: str) -> package_root.Root:
        folder = shared_folder / place
        with built_packages.once(folder) as first:
            root = package_root.Root(folder / "root", stock.root.python)
            if first:
                stock.root.copy(root.folder)
                theirs = {"engine": stock.engine["4.5.7"], "host": stock.vdsm["4.50.7"]}
                if place in theirs:
                    root.rpm("-i", *theirs[place])
                root.rpm("-i", *(packages[each] for each in built_packages.TOGETHER[place]))
        return root

    return having


@pytest.fixture
def whole(
    installed: Callable[[str], package_root.Root],
    tmp_path: Path,
    packages: dict[str, Path],
    newer: dict[str, Path],
) -> Callable[[str, dict[str, list[Path]]], package_machine.Machine]:
    """Return a machine of its own in which all is installed in a place, with the packages of others
    for it."""

    def having(place: str, theirs: dict[str, list[Path]]) -> package_machine.Machine:
        tmp_path.chmod(0o755)
        root = installed(place).copy(tmp_path / "root")
        return package_machine.Machine(root, place, theirs, packages, newer)

    return having
