"""The package os_brick in Vdsm's own folder, read by a Python that is older than we need: EL8's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from storpool_ovirt.host.os_brick_piece import os_brick as piece

FOLDER = Path(piece.__file__).parents[1]
VERSIONS = ("3.6", "3.7", "3.8")
LIMIT_SECONDS = 60
# As vdsmd asks, and what its programs take from it then.
ASKS = """
try:
    import os_brick
except ImportError as error:
    print("none:", error)
else:
    from os_brick.initiator import connector
    print(os_brick.WHOSE, connector.WHOSE)
"""


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    """Such a Python."""
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{request.param}.*/bin/python3"))
    if not found:
        pytest.skip(f"Python {request.param} is not here")
    return str(found[0])


def asked(python: str, program: Path, *more: Path) -> str:
    """Import it as a program of Vdsm's; return what that finds."""
    program.write_text(ASKS)
    path = os.pathsep.join(map(str, (FOLDER, *more)))
    done = subprocess.run(
        [python, str(program), "attach"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("program", ["vdsmd", piece.STOCK_HELPER])
def test_vdsm_starts_and_has_its_own(python: str, program: str, tmp_path: Path) -> None:
    """The real os-brick as if ours were not there, or none: an ImportError, which Vdsm knows."""
    assert asked(python, tmp_path / program) == f"none: {piece.TOO_OLD}\n"
    initiator = tmp_path / "site" / "os_brick" / "initiator"
    initiator.mkdir(parents=True)
    for file in (initiator.parent / "__init__.py", initiator / "connector.py"):
        file.write_text("WHOSE = 'theirs'\n")
    (initiator / "__init__.py").touch()
    assert asked(python, tmp_path / program, tmp_path / "site") == "theirs theirs\n"
