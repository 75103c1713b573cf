"""What the programs have in common: whatever happens inside comes out as one sentence.

Engine and Vdsm run them and read what they write; a trace is for the log.
"""

from __future__ import annotations

import errno
from typing import Callable, TypeVar

from storpool_ovirt import errors, log, streams
from storpool_ovirt.deadline import END_SECONDS, limit_end

_T = TypeVar("_T")
# What a program turns into a sentence: Ctrl-C before there is a limit, and so a handler, is no Exception.
FAILURES = (Exception, KeyboardInterrupt)


def guarded(
    work: Callable[[], _T], journal: log.Log, log_file: str, end_seconds: float = END_SECONDS
) -> tuple[_T | None, str]:
    """Do it; return what came of it and "", or None and why it failed, in one sentence without secrets.

    Telling that is all that the process still does, so from here on it has `end_seconds` to end.
    """
    try:
        done = work()
    except FAILURES as error:
        limit_end(end_seconds)
        return None, reason(error, journal, f"{log_file} or syslog on this host", "host")
    limit_end(end_seconds)
    return done, ""


def reason(error: BaseException, journal: log.Log, log_place: str, extra: str) -> str:
    """Return why a program failed, in one sentence without secrets; the trace of a bug goes to the log.

    `log_place` is where that is, `extra` what of storpool-ovirt the program needs installed.
    """
    if isinstance(error, errors.Error):
        return journal.sentence(error)
    if isinstance(error, ImportError):
        advice = f"install storpool-ovirt[{extra}] for this Python"
        return journal.sentence(f"a library is missing or broken ({error}): {advice}")
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted before it was done: try again"
    if isinstance(error, MemoryError):
        return "this machine has not enough memory left: free some, then try again"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "no more files can be opened here: raise the limit (ulimit -n), then try again"
    try:
        journal.trace()
    except Exception as untold:  # what cannot be told any more must not hide that it failed
        journal.line("trace_lost", reason=untold.__class__.__name__)
    return f"internal error {error.__class__.__name__}: see {log_place}"


def delivered(answer: streams.Answer, text: str, journal: log.Log, *, error: bool = False, **facts: object) -> bool:
    """Write the answer; false, and a line in the log with these facts, when nobody reads it any more."""
    try:
        answer.give(text, error=error)
    except OSError as unread:
        journal.line("answer_not_delivered", **facts, reason=unread)
        return False
    return True
