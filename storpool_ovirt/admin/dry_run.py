"""`--dry-run`: what a command would do is done by the very code that does it, with a client that
sends no change, in a transaction that is rolled back, and is told call by call.

How a command uses it:

    done = dry_run.played(work, out.say, lambda rehearsed: trash.purge(rehearsed, uuid))

`rehearsed` is a `tree.Work` like `work`; the lines are said when that function has come to its end,
also when it raises, which goes on to the caller. A command without a database has `played_by`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Callable, TypeVar

from storpool_ovirt import errors
from storpool_ovirt.cluster import api, rehearsal
from storpool_ovirt.engine import journal, mapping, tree
from storpool_ovirt.log import Unwritten

_T = TypeVar("_T")
Say = Callable[[str], object]

_THEN = "  then: what follows depends on the answer to that"
_DATABASE = "  would write to the mapping database"


def played(work: tree.Work, say: Say, act: Callable[[tree.Work], _T]) -> _T | None:
    """Rehearse `act` with tools like `work`, and say what it would send and write; return what it
    returned, None where it ended before, at an answer that nobody has yet.

    Raises what `act` raises.
    """
    with work.mapping.session.rehearsal() as has_written, _told(say, has_written) as noted:
        caller = work.mapping.journal.caller
        session = work.mapping.session
        return act(
            replace(
                work,
                client=work.client.rehearsing(noted.of),
                mapping=mapping.Mapping(session, journal.Journal(session, caller)),
                log=Unwritten(work.log),
                sleep=_not_waiting,
            )
        )
    return None


def played_by(client: api.Client, say: Say, act: Callable[[api.Client], _T]) -> _T | None:
    """Rehearse `act` with a client like this one, as `played` does."""
    with _told(say, lambda: False) as noted:
        return act(client.rehearsing(noted.of))
    return None


@contextmanager
def _told(say: Say, has_written: Callable[[], bool]) -> Iterator[rehearsal.Rehearsal]:
    noted = rehearsal.Rehearsal()
    written = False
    try:
        yield noted
        written = has_written()
    except rehearsal.Unforeseen:
        written = has_written()
    finally:
        for line in lines(noted.calls, written=written, is_cut=noted.ended_at is not None):
            say(line)


def lines(calls: Sequence[rehearsal.Call], *, written: bool, is_cut: bool) -> list[str]:
    """Return what is said of a rehearsal; nothing where nothing would be changed."""
    told = [f"  would send: {each}" for each in calls]
    if is_cut:
        told.append(_THEN)
    return [*told, _DATABASE] if written else told


def refusal(error: errors.Error) -> str:
    """Return the line of a step that would be refused."""
    return f"  would be refused: {error}"


def _not_waiting(_seconds: float) -> None:
    """Wait for nothing: nothing was sent that takes time."""
