"""The standard streams of a program that another program reads.

Engine reads stdout and stderr as one stream and takes the first line that fits; Vdsm wants one JSON document on
stdout and nothing else.  So both descriptors are taken away before anything is imported that may speak, and one
function writes the answer, last.
"""

from __future__ import annotations

import os


class Answer:
    """The real stdout and stderr, kept aside; what any library writes goes to `aside` (the log) or nowhere.

    `given`: a line was written, or at least begun.
    """

    def __init__(self, aside: int | None) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            _open_if_closed(descriptor, nowhere)
        self._out, self._err = os.dup(1), os.dup(2)
        self.given = False
        for descriptor in (1, 2):
            os.dup2(nowhere if aside is None else aside, descriptor)
        if nowhere > 2:
            os.close(nowhere)

    def give(self, line: str, error: bool = False) -> None:
        """Write one line, whole, to stdout (or to stderr); raise OSError when nobody reads it any more."""
        self.given = True
        rest = line.encode("utf-8", "backslashreplace") + b"\n"
        while rest:
            rest = rest[os.write(self._err if error else self._out, rest) :]


def _open_if_closed(descriptor: int, nowhere: int) -> None:
    """Have something there: whoever started us may have left it closed, and the next file would take its place."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.dup2(nowhere, descriptor)


def close_stdin() -> None:
    """Put /dev/null in the place of stdin: Engine's is a pipe that is never written and never closed."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    if nowhere:
        os.close(nowhere)
