"""What a setup is made of: steps, each of which can be looked at, done and taken back.

A plan is a list of them in their order. It is looked at, done and looked at again, so what is told
is what is so afterwards; to be taken back it is gone through from its end. One step that fails
keeps none of the others from being done, but those that a plan holds back then.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from storpool_ovirt import errors
from storpool_ovirt.setup.site import Site

# What a look finds.
DONE = "done"
WOULD_CHANGE = "would change"
WOULD_UNDO = "would undo"
NEEDS_YOU = "needs you"
NOT_NEEDED = "not needed"
# What became of it.
CHANGED = "changed"
UNDONE = "undone"
FAILED = "failed"
STATES = (DONE, CHANGED, WOULD_CHANGE, UNDONE, WOULD_UNDO, NEEDS_YOU, NOT_NEEDED, FAILED)
_WIDTH = 80
_CHANGES = (CHANGED, UNDONE, WOULD_CHANGE, WOULD_UNDO)


class Found(NamedTuple):
    """What is so: a state, one sentence, and what a person has to do, or nothing."""

    state: str
    what: str
    do: str = ""


class Step(Protocol):
    """One step."""

    @property
    def id(self) -> str:
        """Its name, stable for ever."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    def look(self) -> Found:
        """Return DONE, WOULD_CHANGE, NEEDS_YOU or NOT_NEEDED, and change nothing."""

    def do(self) -> None:
        """Make it so; may be run again after a death at any moment."""

    def look_back(self) -> Found:
        """Return WOULD_UNDO, NEEDS_YOU or NOT_NEEDED, and change nothing."""

    def undo(self) -> None:
        """Take back what we made."""


class Told:
    """A step that is only looked at: somebody else's work, of which setup tells what is lacking."""

    def do(self) -> None:
        """As Step has it: there is nothing that setup could do."""

    def undo(self) -> None:
        """As Step has it."""


class Restart(NamedTuple):
    """A service that has to be restarted by somebody, why, and when that is safe."""

    service: str
    why: str
    when: str


class Row(NamedTuple):
    """A step, and what became of it."""

    id: str
    title: str
    found: Found


# Says why a step must not be done, or taken back, after these (in a look or not); None: it may.
Held = Callable[[Step, Sequence[Row], bool], Optional[Found]]


class Report(NamedTuple):
    """What was done, or would be."""

    place: str
    dry_run: bool
    rows: Sequence[Row]
    restarts: Sequence[Restart]

    @property
    def changed(self) -> int:
        """How many steps were changed, or would be."""
        return sum(row.found.state in _CHANGES for row in self.rows)

    @property
    def is_failed(self) -> bool:
        """Whether one of them failed."""
        return any(row.found.state == FAILED for row in self.rows)


def done(
    steps: Sequence[Step], dry_run: bool, told: Callable[[Row], None], held: Held | None = None
) -> list[Row]:
    """Do a plan, or only look at it; `told` hears of each change."""
    rows: list[Row] = []
    for step in steps:
        why = _held(held, step, rows, dry_run)
        rows.append(_row(step, why or _done(step, dry_run), told))
    return rows


def undone(
    site: Site,
    steps: Sequence[Step],
    dry_run: bool,
    told: Callable[[Row], None],
    held: Held | None = None,
) -> list[Row]:
    """Take a plan back, or only look at it; the record stays with what is held."""
    rows: list[Row] = []
    is_held = False
    for step in reversed(steps):
        why = _held(held, step, rows, dry_run)
        is_held = is_held or why is not None
        rows.append(_row(step, why or _undone(step, dry_run), told))
    if not dry_run and not is_held and not any(row.found.state == FAILED for row in rows):
        site.record.close(with_folder=not (site.is_packaged or site.has_packages))
    return rows


def document(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "place": report.place,
        "dry_run": report.dry_run,
        "changed": report.changed,
        "steps": [{"id": row.id, "title": row.title, **row.found._asdict()} for row in report.rows],
        "restarts": [each._asdict() for each in report.restarts],
    }


def text(report: Report) -> list[str]:
    """Return a report for people."""
    lines = []
    for row in report.rows:
        lines += _wrapped(f"{row.found.state:<12}  ", f"{row.id}: {row.found.what}")
        lines += _wrapped(f"{'':<12}  -> ", row.found.do) if row.found.do else []
    for each in report.restarts:
        lines += ["", *_wrapped("to be restarted by you: ", f"{each.service}, as {each.why}", 2)]
        lines += _wrapped("  ", each.when)
    would = "would be changed; nothing was" if report.dry_run else "changed"
    left = sum(row.found.state == NEEDS_YOU for row in report.rows)
    needs = f"; {left} {'needs' if left == 1 else 'need'} you" if left else ""
    of_all = f"{report.place}: {report.changed} of {len(report.rows)} steps"
    return [*lines, "", f"{of_all} {would}{needs}"]


def _wrapped(first: str, told: str, indent: int | None = None) -> list[str]:
    """Return the lines of a text behind what its first line begins with."""
    return textwrap.wrap(
        told,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * (len(first) if indent is None else indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _row(step: Step, found: Found, told: Callable[[Row], None]) -> Row:
    row = Row(step.id, step.title, found)
    if found.state in (CHANGED, UNDONE, FAILED):
        told(row)
    return row


def _held(held: Held | None, step: Step, rows: Sequence[Row], dry_run: bool) -> Found | None:
    if held is None:
        return None
    try:
        return held(step, rows, dry_run)
    except errors.Error as error:
        return _failure(error)


def _done(step: Step, dry_run: bool) -> Found:
    return _guarded(lambda: _carried_out(step.look, step.do, dry_run, CHANGED))


def _undone(step: Step, dry_run: bool) -> Found:
    return _guarded(lambda: _carried_out(step.look_back, step.undo, dry_run, UNDONE))


def _carried_out(
    look: Callable[[], Found], act: Callable[[], None], dry_run: bool, changed: str
) -> Found:
    found = look()
    if dry_run or found.state not in (WOULD_CHANGE, WOULD_UNDO):
        return found
    act()
    after = look()
    if after.state in (WOULD_CHANGE, WOULD_UNDO):
        return after._replace(state=FAILED)
    return after if after.state == NEEDS_YOU else after._replace(state=changed)


def _guarded(work: Callable[[], Found]) -> Found:
    try:
        return work()
    except errors.Error as error:
        return _failure(error)


def _failure(error: errors.Error) -> Found:
    if isinstance(error, errors.InputError):
        return Found(FAILED, f"{error.what} {error.why}", error.advice)
    return Found(FAILED, str(error))
