"""The standard streams of a program that another program reads.

Engine reads stdout and stderr as one stream and takes the first line that fits; Vdsm wants one JSON document on
stdout and nothing else.  So both descriptors are taken away before anything is imported that may speak, and one
function writes the answer, last.
"""

from __future__ import annotations

import errno
import os


class Answer:
    """The real stdout and stderr, kept aside; what any library writes goes to `aside` (the log) or nowhere.

    `given`: a line was written, or at least begun.
    """

    def __init__(self, aside: int | None) -> None:
        self._missing = {each for each in (1, 2) if not _is_open(each)}
        self._out, self._err = 1, 2
        self.given = False
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                if not _is_open(descriptor):  # the next file would take its place
                    os.dup2(nowhere, descriptor)
            self._out, self._err = os.dup(1), os.dup(2)
        except OSError:  # no more files may be opened: the work will say so, and we can
            return
        for descriptor in (1, 2):
            os.dup2(nowhere if aside is None else aside, descriptor)
        if nowhere > 2:
            os.close(nowhere)

    def give(self, line: str, error: bool = False) -> None:
        """Write one line, whole, to stdout (or to stderr); raise OSError when nobody reads it any more, or ever did."""
        if (2 if error else 1) in self._missing:
            raise OSError(errno.EBADF, "it was closed when this was started")
        self.given = True
        rest = line.encode("utf-8", "backslashreplace") + b"\n"
        while rest:
            rest = rest[os.write(self._err if error else self._out, rest) :]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def close_stdin() -> None:
    """Put /dev/null in the place of stdin: Engine's is a pipe that is never written and never closed."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    if nowhere:
        os.close(nowhere)
