"""A shell at a terminal, in which somebody types."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT_SECONDS = 60
HOME_KEY, END_KEY = "\x01", "\x05"
SHOW = "printf 'GOT<%s>\\n' "


def completed(
    shell: Sequence[str], before: str, line: str, folder: Path, **environment: str
) -> list[str]:
    """Have a shell run `before`, then type a line there with its tabs; return the words that it
    has become.

    The line is not run: at last `printf` is written in front of it.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        shell,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        start_new_session=True,
        env={"TERM": "dumb", "PS1": "$ ", "HOME": str(folder), **environment},
    )
    os.close(theirs)
    try:
        os.write(ours, f"{before}; printf '%s\\n' REA''DY\n".encode())
        _read(ours, r"READY\r?\n")
        os.write(ours, f"{line}{HOME_KEY}{SHOW}{END_KEY}; printf '%s\\n' E''ND\n".encode())
        return re.findall(r"^GOT<(.*)>\r?$", _read(ours, r"END\r?\n"), re.MULTILINE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int, wanted: str) -> str:
    """Return what is written there until something is found in it."""
    said, end = "", time.monotonic() + LIMIT_SECONDS
    while re.search(wanted, said) is None:
        waiting = select.poll()
        waiting.register(terminal, select.POLLIN)
        ready = waiting.poll(1000 * max(0.0, end - time.monotonic()))
        assert ready, f"{wanted} is not in {said!r}"
        said += os.read(terminal, 65536).decode(errors="replace")
    return said
