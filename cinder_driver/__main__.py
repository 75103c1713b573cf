"""The command that makes our connector os-brick's for all processes of one Python.

    python3 -m cinder_driver install     from now on
    python3 -m cinder_driver status      exit code 0 when a new process gets ours
    python3 -m cinder_driver remove

It writes a .pth file, which Python's `site` runs at every start. The file belongs to no package, so
an upgrade of os-brick keeps it.
"""

from __future__ import annotations

import argparse
import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cinder_driver import registration
from storpool_ovirt import rights

FILE = "storpool-os-brick.pth"
# Where this package was removed by hand, the file must not print an error at every start of Python.
LINE = (
    "import sys; exec('try:\\n from cinder_driver import registration\\n"
    "except ImportError:\\n pass\\nelse:\\n registration.arm()')\n"
)
LOOK_SECONDS = 60.0  # os-brick with all its libraries takes some seconds on a slow disk
LOOK = (
    f"from {registration.FACTORY} import _connector_mapping_linux as it;"
    f" print(it['{registration.PROTOCOL}'])"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Install, remove or show the registration; return 0 when it is as asked, else 1."""
    parser = argparse.ArgumentParser(
        prog="python3 -m cinder_driver", description="os-brick's StorPool connector"
    )
    parser.add_argument("action", choices=["install", "status", "remove"])
    parser.add_argument(
        "--folder", type=_folder, help="a site-packages folder in place of this Python's own"
    )
    given = parser.parse_args(argv)
    path = (given.folder or _site_packages()).absolute() / FILE
    try:
        with rights.taken(rights.of(str(path))):  # a virtual environment may be another user's
            if given.action == "install":
                _write(path)
            elif given.action == "remove":
                path.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error.__class__.__name__
        print(f"{_shown(path)} cannot be changed ({why}): run this as its owner", file=sys.stderr)
        return 1
    connector = _shown(_connector())
    print(f"{sys.executable}: os-brick's connector for storpool is {connector} ({_shown(path)})")
    return int((connector == registration.CONNECTOR) == (given.action == "remove"))


def _folder(given: str) -> Path:
    if not given.strip():  # the folder that this runs in would be meant
        raise argparse.ArgumentTypeError("it is empty: give a folder, or leave it out")
    return Path(given)


def _site_packages() -> Path:
    """Return the folder beside this package if Python reads .pth files there.

    Else return the first folder where it does.
    """
    beside = Path(__file__).parent.parent
    folders = [Path(folder) for folder in site.getsitepackages()]
    return beside if beside in folders else folders[0]


def _write(path: Path) -> None:
    """Put our line there whole or not at all.

    Python runs the file at every start, also at one that happens now. The rename replaces a link
    that somebody left there, and does not follow it.
    """
    file, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
    try:
        with open(file, "w", encoding="ascii") as stream:  # noqa: PTH123  a descriptor
            stream.write(LINE)
            os.fchmod(file, 0o644)  # whoever runs this Python reads it, whatever the umask
            stream.flush()
            os.fsync(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _connector() -> str:
    """Return which class a new process gets, or why it gets none.

    That process is as a service's: it has nothing of this one's environment, nor of the folder that
    it was started in.
    """
    command = [sys.executable, "-I", "-W", "ignore", "-c", LOOK]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LOOK_SECONDS,
            check=False,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not there ({error})"
    if done.returncode == 0:
        return _last_line(done.stdout)
    return f"not there ({_last_line(done.stderr) or f'exit code {done.returncode}'})"


def _last_line(output: bytes) -> str:
    return output.decode(errors="replace").strip().split("\n")[-1]


def _shown(text: object) -> str:
    """Return a text on one line: what others wrote may hold anything."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))[:1000]


if __name__ == "__main__":
    sys.exit(main())
