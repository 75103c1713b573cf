"""`--dry-run`: what a command would do is done by the very code that does it, with a client that
sends no change, in a transaction that is rolled back, and is told call by call.

How a command uses it:

    done = dry_run.played(work, out.say, lambda rehearsed: trash.purge(rehearsed, uuid))

`rehearsed` is a `tree.Work` like `work`; the lines are said when that function has come to its end,
also when it raises, which goes on to the caller. A command without a database has `played_by`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Callable, TypeVar

from storpool_ovirt import errors
from storpool_ovirt.admin import console
from storpool_ovirt.cluster import api, rehearsal
from storpool_ovirt.engine import journal, mapping, tree
from storpool_ovirt.log import Unwritten

_T = TypeVar("_T")
Say = Callable[[str], object]

# More often than any repair waits for its own work: what waits longer waits for somebody else's.
WAITS_MAX = 8
_THEN = "  then: what follows depends on the answer to that"
_WAITS = "  then: it waits for what is under way, and what follows depends on that"
_DATABASE = "  would write to the mapping database"


def played(work: tree.Work, say: Say, act: Callable[[tree.Work], _T], title: str = "") -> _T | None:
    """Rehearse `act` with tools like `work`, and say what it would send and write, under the title
    where there is any; return what it returned, None where it ended before, at an answer that
    nobody has yet.

    Raises what `act` raises.
    """
    with (
        _told(say, title) as noted,
        work.mapping.session.rehearsal() as has_written,
        noted.ended(has_written),
    ):
        caller = work.mapping.journal.caller
        session = work.mapping.session
        return act(
            replace(
                work,
                client=work.client.rehearsing(noted.of),
                mapping=mapping.Mapping(session, journal.Journal(session, caller)),
                log=Unwritten(work.log),
                sleep=noted.waited,
            )
        )
    return None


def done(
    work: tree.Work,
    out: console.Console,
    act: Callable[[tree.Work], Iterable[str]],
    title: str,
    *,
    is_dry_run: bool,
) -> None:
    """Do it and say its lines; or rehearse it, under the title. Raises what `act` raises."""
    if is_dry_run:
        played(work, out.say, act, title)
    else:
        out.say_all(act(work))


def played_by(client: api.Client, say: Say, act: Callable[[api.Client], _T]) -> _T | None:
    """Rehearse `act` with a client like this one, as `played` does."""
    with _told(say) as noted, noted.ended(lambda: False):
        return act(client.rehearsing(noted.of))
    return None


class _Rehearsal(rehearsal.Rehearsal):
    """One that waits for nothing: what would take time is not sent."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.has_written = False

    @contextmanager
    def ended(self, has_written: Callable[[], bool]) -> Iterator[None]:
        """Have it end at what nobody can foresee; `has_written` tells whether the mapping would be
        changed by then."""
        with suppress(rehearsal.Unforeseen):
            yield
        self.has_written = has_written()

    def waited(self, _seconds: float) -> None:
        """Go on at once; end the rehearsal where that goes on and on, as only time ends it then."""
        self.waits += 1
        if self.waits > WAITS_MAX:
            raise rehearsal.Unforeseen


@contextmanager
def _told(say: Say, title: str = "") -> Iterator[_Rehearsal]:
    """Say at the end, when no row is locked any more: who reads may be slow."""
    noted = _Rehearsal()
    try:
        yield noted
    finally:
        then = _THEN if noted.ended_at is not None else _WAITS if noted.waits > WAITS_MAX else ""
        told = lines(noted.calls, written=noted.has_written, then=then)
        for line in [title, *told] if title and told else told:
            say(line)


def lines(calls: Sequence[rehearsal.Call], *, written: bool, then: str = "") -> list[str]:
    """Return what is said of a rehearsal; nothing where nothing would be changed. `then` is the
    line of one that ended before what it rehearsed."""
    told = [f"  would send: {each}" for each in calls]
    if then:
        told.append(then)
    return [*told, _DATABASE] if written else told


def allowed(dry_run: bool, say: Say, check: Callable[[], object]) -> bool:
    """Return whether a check lets the command begin. Raises what the check raises, but for a dry
    run: that says why, and goes on all the same."""
    try:
        check()
    except errors.Conflict as error:
        if not dry_run:
            raise
        say(refusal(error).strip())
        return False
    return True


def refusal(error: errors.Error) -> str:
    """Return the line of a step that would be refused."""
    return f"  would be refused: {error}"
