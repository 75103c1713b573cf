"""Programs of ours as another user runs them, as Vdsm's does on a host: copied to where that user
can reach them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import storpool_ovirt
from storpool_ovirt.cluster import binding

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "nobody"
PROGRAM = """#!{python}
import sys
sys.path.insert(0, {library!r})
from storpool_ovirt.{room} import {module}
{before}
sys.exit({module}.main({arguments}))
"""


class Programs:
    """Programs of ours in a folder that everybody can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = _python()
        self.user = pwd.getpwnam(USER)
        self._library = folder / "library"
        ours = Path(storpool_ovirt.__file__).parent
        official = Path(str(binding.load().__file__)).parent
        for package in (ours, official):
            shutil.copytree(
                package, self._library / package.name, ignore=shutil.ignore_patterns("__pycache__")
            )

    def written(self, path: Path, module: str, arguments: str = "", before: str = "") -> Path:
        """Write a program that runs the `main` of a module (`room.name`); `before` is what it does
        first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        room, name = module.split(".")
        path.write_text(
            PROGRAM.format(
                python=self.python,
                library=str(self._library),
                room=room,
                module=name,
                arguments=arguments,
                before=before,
            )
        )
        path.chmod(0o755)
        return path


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def user_programs(reachable: Path) -> Programs:
    """Our programs where another user can run them, with a Python that he can run."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a program as another user")
    return Programs(reachable)


def _python() -> str:
    for each in (sys.executable, "/usr/bin/python3"):
        if runs(each):
            return each
    pytest.skip(f"no Python 3.9 or newer here that user {USER} can run")


def runs(python: str, user: str = USER) -> bool:
    """Return whether a user can run this Python, and it is new enough for our programs."""
    try:
        ran = subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"],
            user=user,
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return ran.returncode == 0
