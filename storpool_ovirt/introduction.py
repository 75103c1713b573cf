"""What each program says of itself, to whoever types `--help` or `--version`.

It needs no rights, opens no log and looks at nothing. Only a program that is asked for it loads
this: those who are waited for pay one comparison (`program.is_asked_who_it_is`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import storpool_ovirt


def given(program: str, asked: str, about: str | None, details: Sequence[str]) -> int:
    """Write to stdout what is `asked`, `--help` or `--version`; return the exit code.

    It is 1 when nobody can read it. `about` is the docstring of the program: what it is, who runs
    it, what it takes and answers. `details` are more paragraphs, each of one or more lines.
    """
    if asked == "--version":
        text = f"{program} {storpool_ovirt.__version__}"
    else:
        text = "\n\n".join([(about or program).strip(), *details])
    rest = f"{text}\n".encode()
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except OSError:
        return 1
    return 0


def log(path: str) -> str:
    """Return the line that says where a program's log is."""
    return f"Log: {path}, or syslog where that cannot be written."
