"""What the programs have in common that others read: one answer, and one sentence for a failure.

Engine reads stdout and stderr as one stream and takes the first line that fits. Vdsm wants one JSON
document on stdout and nothing else. So both descriptors are taken away before anything is imported
that may write to them, and one function writes the answer, last. Whatever happens inside comes out
as one sentence; a trace is for the log.
"""

from __future__ import annotations

import errno
import os

from storpool_ovirt import errors, installation
from storpool_ovirt.deadline import END_SECONDS, limit_end
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from storpool_ovirt.log import Log

    _T = TypeVar("_T")

# What a program turns into a sentence: Ctrl-C before there is a limit, and so a handler, is no
# Exception.
FAILURES = (Exception, KeyboardInterrupt)
# Where programs of others are looked for, as systemd and sudo have it. /usr/local is not in it:
# what the machine's own daemons would not find is not what decides.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def is_asked_who_it_is(argv: Sequence[str]) -> bool:
    """Return whether a program is asked for its help or its version, and for nothing else.

    Nobody who waits for one of ours starts it so: `introduction.py` has what is said then.
    """
    return len(argv) == 2 and argv[1] in ("--help", "--version")


def guarded(
    work: Callable[[], _T], log: Log, log_file: str, end_seconds: float = END_SECONDS
) -> tuple[_T | None, str]:
    """Do the work; return what it returned and "", or None and why it failed.

    The reason is one sentence without secrets. To write it is all that the process still does, so
    from here on it has `end_seconds` to end.
    """
    try:
        done = work()
    except FAILURES as error:
        limit_end(end_seconds)
        return None, reason(error, log, f"{log_file} or syslog on this host", installation.HOST)
    limit_end(end_seconds)
    return done, ""


def reason(error: BaseException, log: Log, log_place: str, what: str) -> str:
    """Return why a program failed, in one sentence without secrets.

    The trace of a bug goes to the log. `log_place` is where that is, `what` needs what
    is missing, in `installation.py`'s words.
    """
    if isinstance(error, errors.Error):
        return log.sentence(error)
    if isinstance(error, ImportError):
        advice = installation.mend(what, error)
        return log.sentence(f"a library is missing or broken ({error}): run  {advice}")
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted before it was done: try again"
    if isinstance(error, MemoryError):
        return "this machine has not enough memory left: free some, then try again"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "no more files can be opened here: raise the limit (ulimit -n), then try again"
    try:
        log.trace()
    except Exception as lost:  # a trace that cannot be written must not hide that the work failed
        log.line("trace_lost", reason=lost.__class__.__name__)
    return f"internal error {error.__class__.__name__}: see {log_place}"


def delivered(answer: Answer, text: str, log: Log, *, error: bool = False, **facts: object) -> bool:
    """Write the answer; return whether somebody read it.

    Where nobody does, a line with these facts is in the log.
    """
    try:
        answer.give(text, error=error)
    except OSError as unread:
        log.line("answer_not_delivered", **facts, reason=unread)
        return False
    return True


class Answer:
    """The real stdout and stderr, kept aside.

    What any library writes goes to `aside` (the log) or nowhere. `given` says that a line was
    written, or at least begun.
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
        """Write one line, whole, to stdout (or to stderr).

        Raises OSError when nobody reads it any more, or ever did.
        """
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
    """Put /dev/null in the place of stdin.

    Engine's is a pipe that is never written and never closed.
    """
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    if nowhere:
        os.close(nowhere)
