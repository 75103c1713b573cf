"""Programs of others that setup asks: run within a limit, their words as text, no stdin."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NamedTuple

from storpool_ovirt import errors

# systemctl, visudo, multipathd: each answers in moments, or does not at all.
LIMIT_SECONDS = 20.0
FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"


class Ended(NamedTuple):
    """How a program ended: its exit code, its stdout, its last words."""

    code: int
    out: str
    said: str


def found(name: str) -> str | None:
    """Return the path of a program, None where it is not here."""
    return shutil.which(name, path=_path())


def run(name: str, *arguments: str, seconds: float = LIMIT_SECONDS) -> Ended:
    """Run a program; raise NotFound where it is not here, Unavailable where it does not end."""
    program = found(name)
    if program is None:
        raise errors.NotFound("program", name, "on this machine")
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": _path()},
        )
    except subprocess.TimeoutExpired as error:
        raise errors.DeadlineExceeded(f"{name} {' '.join(arguments[:2])}", seconds) from error
    except OSError as error:
        raise errors.InputError(
            program, f"cannot be run ({error.strerror})", "correct that, then run this again"
        ) from error
    out = done.stdout.decode("utf-8", "replace")
    words = done.stderr.decode("utf-8", "replace").strip() or out.strip()
    return Ended(done.returncode, out, words or f"exit code {done.returncode}")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{FOLDERS}".lstrip(":")
