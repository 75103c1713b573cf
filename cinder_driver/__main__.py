"""The command that makes our connector os-brick's for all processes of one Python, from their start.

    python3 -m cinder_driver install     from now on
    python3 -m cinder_driver status      exit code 0 when a new process gets ours
    python3 -m cinder_driver remove

It writes a .pth file, which Python's `site` runs at every start.  The file belongs to no package, so an upgrade of
os-brick keeps it.
"""

from __future__ import annotations

import argparse
import os
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cinder_driver import registration
from storpool_ovirt import rights, text

FILE = "storpool-os-brick.pth"
# Where this package was removed by hand, the file must not print an error at every start of Python.
LINE = (
    "import sys; exec('try:\\n from cinder_driver import registration\\n"
    "except ImportError:\\n pass\\nelse:\\n registration.arm()')\n"
)
LOOK = f"from {registration.FACTORY} import _connector_mapping_linux as it; print(it['{registration.PROTOCOL}'])"


def main(argv: Sequence[str] | None = None) -> int:
    """Install, remove or show the registration; return 0 when it is as asked, else 1."""
    parser = argparse.ArgumentParser(prog="python3 -m cinder_driver", description="os-brick's StorPool connector")
    parser.add_argument("action", choices=["install", "status", "remove"])
    parser.add_argument("--folder", type=Path, help="a site-packages folder in place of this Python's own")
    given = parser.parse_args(argv)
    path = (given.folder or _site_packages()) / FILE
    try:
        with rights.taken(rights.of(str(path))):  # a virtual environment may be another user's
            if given.action == "install":
                _write(path)
            elif given.action == "remove":
                path.unlink(missing_ok=True)
    except OSError as error:
        print(f"{path} cannot be changed ({error.strerror}): run this as its owner", file=sys.stderr)  # noqa: T201
        return 1
    connector = _connector()
    print(f"{sys.executable}: os-brick's connector for storpool is {connector} ({path})")  # noqa: T201
    return int((connector == registration.CONNECTOR) == (given.action == "remove"))


def _write(path: Path) -> None:
    with open(rights.opened(str(path), os.O_WRONLY | os.O_CREAT, 0o644), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.truncate()
        file.write(LINE)


def _site_packages() -> Path:
    """Return the folder beside this package if Python reads .pth files there, else the first where it does."""
    beside = Path(__file__).parent.parent
    folders = [Path(folder) for folder in site.getsitepackages()]
    return beside if beside in folders else folders[0]


def _connector() -> str:
    """Return which class a new process gets, or why it gets none."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"not there ({text.lines(done.stderr.strip())[-1]})"


if __name__ == "__main__":
    sys.exit(main())
