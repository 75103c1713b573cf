"""What a check of the doctor is, and what it may find.

A check looks at one thing and changes nothing. It yields a result for each thing of that kind (a
domain, a hook, a device); what is fine is a result too. One that could not look is UNKNOWN, which
is neither good nor bad. What is wrong is told with its cause, the risk of leaving it, and the exact
step that mends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

OK, WARNING, CRITICAL, UNKNOWN = "ok", "warning", "critical", "unknown"
# Worst first. What could not be looked at may be anything, but nobody is woken up for it.
ORDER = (CRITICAL, WARNING, UNKNOWN, OK)
ENGINE, HOST = "engine", "host"

# What one check may take, of the ten seconds that a person waits: a name server that is silent is
# given up by glibc after five.
CHECK_SECONDS = 7.0


class Action(NamedTuple):
    """What `--fix` may do about a result, as it is safe at any moment and may be repeated.

    `what` says it in words, as a command of its own: "give user ovirt the file ...". `do` is a
    function of a module, or a `functools.partial` of one (it comes from another process), called
    with the root of the machine; it returns what is so now, and raises one of our errors or
    OSError.
    """

    what: str
    do: Callable[[str], str]


@dataclass(frozen=True)
class Result:
    """What a check found of one thing, its `subject` ("" where there is only one).

    `fix` is a command, or a sentence where there is none. What is OK has a cause too: what was
    seen.
    """

    result: str
    cause: str
    risk: str = ""
    fix: str = ""
    subject: str = ""
    action: Action | None = None


def ok(cause: str, subject: str = "") -> Result:
    """Return that something is as it has to be; `cause` says what was seen."""
    return Result(OK, cause, subject=subject)


def unknown(cause: str, fix: str = "", subject: str = "") -> Result:
    """Return that something could not be looked at, and why."""
    return Result(UNKNOWN, cause, "nobody knows whether this is right", fix, subject)


@dataclass
class Site:
    """The machine that is looked at: its `/` is `root`.

    Each check has a copy of its own, in a process of its own; `end` is its last moment, by the
    monotonic clock.
    """

    place: str
    root: str = ""
    end: float = field(default_factory=lambda: time.monotonic() + CHECK_SECONDS)
    secrets: list[str] = field(default_factory=list)

    def left(self) -> float:
        """Return how many seconds this check still has."""
        return max(0.0, self.end - time.monotonic())

    def path(self, name: str) -> str:
        """Return where a path of the machine is."""
        return self.root + name

    def hide(self, *secrets: str) -> None:
        """Mask these in all that this check tells."""
        self.secrets += [each for each in secrets if each]


class Check(NamedTuple):
    """One row of a table of checks.

    `id` stays for ever: pages, monitoring and scripts know it. `title` completes "is it so that
    ..." for people, as in "Engine's client leads to our dispatcher". `look` may raise any of our
    errors and OSError: the check could not look then.
    """

    id: str
    title: str
    look: Callable[[Site], Iterable[Result]]
    seconds: float = CHECK_SECONDS


class Finding(NamedTuple):
    """A result, of which check it is, and how long that took."""

    check: Check
    result: Result
    seconds: float


def worst(results: Iterable[str]) -> str:
    """Return the worst of several kinds of results; OK when there is none."""
    return min(results, key=ORDER.index, default=OK)
