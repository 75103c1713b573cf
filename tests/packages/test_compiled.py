"""Code is compiled where it is installed, by the Python that runs it, and trusted by fapolicyd."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import package_root
import pytest
from package_stock import Stock

from rigs import stock_packages
from rigs.built_packages import TOGETHER

CODE = "/usr/lib/storpool-ovirt"
TRUST = "/etc/fapolicyd/trust.d/storpool-ovirt-compiled"
# What fapolicyd's own program does for `--file add FOLDER/ --trust-file NAME`: a line a file.
FAPOLICYD_CLI = """#!/bin/sh
case $1 in
--file) find "$3" -type f | sort >"/etc/fapolicyd/trust.d/$5" ;;
--update) echo >/etc/fapolicyd/updated ;;
esac
"""
# What EL10 has and EL9 has; each that is here is tried.
PYTHONS = ("3.9", "3.12")


@pytest.fixture
def root(installed: Callable[[str], package_root.Root], tmp_path: Path) -> package_root.Root:
    """Engine's machine."""
    tmp_path.chmod(0o755)
    return installed("engine").copy(tmp_path / "root")


def tags(root: package_root.Root) -> set[str]:
    """Return for which Pythons there is compiled code: `cpython-39` ..."""
    return {name.split(".")[-2] for name in root.files() if name.endswith(".pyc") and CODE in name}


def interpreter(version: str) -> str:
    """Return a Python of this version that is here, or skip the test."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(f"python{version}", path=folder)
        if (
            found
            and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return found
    pytest.skip(f"Python {version} is not here")


@pytest.mark.parametrize("version", PYTHONS)
def test_another_python_of_the_system(
    root: package_root.Root, stock: Stock, tmp_path: Path, version: str
) -> None:
    """When /usr/bin/python3 becomes another one, the code is compiled for it at the end of that
    transaction; each program starts; and an erase leaves what neither of them compiled."""
    found = interpreter(version)
    before = tags(root)
    root.python = package_root.python_home(tmp_path / "python", found, [])
    root.mount_points()
    link = root.path("/usr/bin/python3")
    link.unlink()
    root.rpm("-U", stock_packages.python3(tmp_path / "packages", root.python.version))
    assert tags(root) == before | {f"cpython-{version.replace('.', '')}"}
    programs = [path for path in root.files() if path.startswith("/usr/libexec/storpool-ovirt/")]
    assert programs
    for each in programs:
        done = root.run(each, "--version", user="ovirt")
        assert (done.returncode, done.stderr) == (0, ""), each
    root.rpm("-e", *(f"storpool-ovirt-{each}" for each in TOGETHER["engine"]))
    assert not root.path(CODE).exists()


def test_fapolicyd_trusts_it(root: package_root.Root, packages: dict[str, Path]) -> None:
    """No package has those files, so they are told to it, each time anew; an erase takes that
    back."""
    cli = root.path("/usr/sbin/fapolicyd-cli")
    cli.write_text(FAPOLICYD_CLI)
    cli.chmod(0o755)
    (root.folder / "bin" / "sort").symlink_to("busybox")
    root.path(TRUST).parent.mkdir(parents=True)
    root.rpm("-U", "--replacepkgs", *(packages[each] for each in TOGETHER["engine"]))
    trusted = set(root.path(TRUST).read_text().replace("//", "/").split())
    assert {each for each in root.files() if each.endswith(".pyc")} <= trusted
    assert root.path("/etc/fapolicyd/updated").exists()
    root.rpm("-e", *(f"storpool-ovirt-{each}" for each in TOGETHER["engine"]))
    assert not root.path(TRUST).exists()
