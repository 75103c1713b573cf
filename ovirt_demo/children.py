"""Programs that the demo starts: where the installed ones are, and how each is ended for sure."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

# Ours: each program of the demo ends in well under a second; a loaded machine gets some room.
STOP_LIMIT_SECONDS = 10.0


class ProgramMissing(Exception):
    """An installed program was not found: its name, and where it was looked for."""

    def __init__(self, name: str, beside: Path) -> None:
        self.name = name
        self.beside = beside
        super().__init__(
            f"the program {name} is neither in {beside} nor on PATH: install this project with pip"
            " first"
        )


def find(name: str) -> Path:
    """Return the absolute path of an installed console script.

    It is looked for beside this Python, then on PATH. Raises ProgramMissing.
    """
    # Absolute, not resolved: a virtualenv's python is a symlink.
    beside = Path(sys.executable).absolute().parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        raise ProgramMissing(name, beside)
    return Path(found).absolute()


def communicate(
    process: subprocess.Popen[bytes], sent: bytes | None, limit_seconds: float
) -> tuple[int | None, bytes, bytes]:
    """Send a child its stdin and wait for its end; return its exit status, stdout and stderr.

    The status is None where it did not end within the limit and was killed.
    """
    try:
        stdout, stderr = process.communicate(sent, limit_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, *process.communicate()
    except BaseException:
        process.kill()
        raise
    return process.returncode, stdout, stderr


def end(
    process: subprocess.Popen[bytes],
    number: signal.Signals,
    limit_seconds: float = STOP_LIMIT_SECONDS,
) -> int | None:
    """Ask a child to end with a signal, and kill it when it does not.

    It is killed when it has not ended within the limit, or when we are interrupted. Returns the
    exit status, negative for a signal; None only if it could not be seen.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a paused process would not see the signal
        process.send_signal(number)
        try:
            process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            kill(process)
        except BaseException:  # Ctrl-C while we wait: nothing may be left running
            kill(process)
            raise
    return process.returncode


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a child with SIGKILL and reap it."""
    if process.poll() is None:
        process.kill()
        process.wait()
