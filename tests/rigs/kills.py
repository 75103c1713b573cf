"""The death of a process at each point where it talks to StorPool or to PostgreSQL, before the
request or after its effect; all of it in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rigs.disk_rig import Death
from storpool_ovirt.cluster import transport
from storpool_ovirt.engine import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

BEFORE, AFTER = "before", "after"


class Points:
    """What was asked inside, point by point; at one of them the process may die."""

    def __init__(self, at: int | None = None, when: str = BEFORE) -> None:
        self.at = at
        self.when = when
        self.labels: list[str] = []
        self.is_dead = False

    def passed(self, label: str, ask: Callable[[], Any]) -> Any:
        """Ask, and die before or after that where it is the point."""
        self.labels.append(label)
        is_here = self.at == len(self.labels) - 1
        if self.is_dead or (is_here and self.when == BEFORE):
            self.is_dead = True  # what undoes things in this process is not done by one that died
            raise Death
        answer = ask()
        if is_here:
            self.is_dead = True
            raise Death
        return answer


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, points: Points) -> Iterator[Points]:
    """Have each request to StorPool and each statement inside be a point."""
    call, run = transport.Transport.call, database.Session._sent

    def asked(self: Any, method: str, *args: Any, **facts: Any) -> Any:
        return points.passed(method, lambda: call(self, method, *args, **facts))

    def stated(self: Any, statement: str, *args: Any, **facts: Any) -> Any:
        label = " ".join(str(statement).split())[:60]
        return points.passed(label, lambda: run(self, statement, *args, **facts))

    with monkeypatch.context() as patched:
        patched.setattr(transport.Transport, "call", asked)
        patched.setattr(database.Session, "_sent", stated)
        yield points


def each_point(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[Callable[[], Any]], None]
) -> list[str]:
    """Run a trial undisturbed, which discovers its points, then once for each of them and both
    moments; return the points.

    A trial takes what is to be used as a context around what may die: it swallows the death.
    """
    whole = Points()
    trial(lambda: counted(monkeypatch, whole))
    for place in range(len(whole.labels)):
        for when in (BEFORE, AFTER):
            points = Points(place, when)
            trial(lambda points=points: _dying(monkeypatch, points))  # type: ignore[misc]
    return whole.labels


@contextlib.contextmanager
def _dying(monkeypatch: pytest.MonkeyPatch, points: Points) -> Iterator[Points]:
    with contextlib.suppress(Death), counted(monkeypatch, points):
        yield points
