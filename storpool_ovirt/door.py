"""What the programs of a host have in common: whatever happens inside comes out as one sentence.

Vdsm runs them and reads what they write; a trace is for the log.
"""

from __future__ import annotations

from typing import Callable, TypeVar

from storpool_ovirt import errors, log, streams

_T = TypeVar("_T")


def guarded(work: Callable[[], _T], journal: log.Log, log_file: str) -> tuple[_T | None, str]:
    """Do it; return what came of it and "", or None and why it failed, in one sentence without secrets."""
    try:
        return work(), ""
    except errors.Error as error:
        reason = journal.masked(str(error))
    except ImportError as error:
        reason = f"a library is missing or broken ({error}): install storpool-ovirt[host] for this Python"
    except Exception as error:
        # A bug too is one sentence for Vdsm, and its trace is in the log.
        reason = f"internal error {error.__class__.__name__}: see {log_file} or syslog on this host"
        journal.trace()
    return None, streams.one_line(reason)


def delivered(answer: streams.Answer, text: str, journal: log.Log, *, error: bool = False, **facts: object) -> bool:
    """Write the answer; false, and a line in the log with these facts, when nobody reads it any more."""
    try:
        answer.give(text, error=error)
    except OSError as unread:
        journal.line("answer_not_delivered", **facts, reason=unread)
        return False
    return True
