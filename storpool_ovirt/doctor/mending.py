"""What `doctor --fix` does: the steps that checks found to be safe, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storpool_ovirt import errors
from storpool_ovirt.doctor import asking, checks

DONE, FAILED, WOULD = "done", "failed", "would do"


class Step(NamedTuple):
    """A step of mending: of which check, in which words, and what came of it: what is so now, or
    why it failed."""

    id: str
    subject: str
    what: str
    state: str
    outcome: str


def is_mendable(finding: checks.Finding) -> bool:
    """Return whether something is wrong, and a step that mends it is safe."""
    return finding.result.result != checks.OK and finding.result.action is not None


def planned(findings: Sequence[checks.Finding]) -> Iterator[Step]:
    """Yield each step that would be done."""
    for finding, action in _actions(findings):
        yield Step(finding.check.id, finding.result.subject, action.what, WOULD, "")


def done(findings: Sequence[checks.Finding], root: str) -> Iterator[Step]:
    """Do each step, and yield what came of it: one that fails holds up no other."""
    for finding, action in _actions(findings):
        try:
            state, outcome = DONE, action.do(root)
        except (errors.Error, asking.Unasked) as error:
            state, outcome = FAILED, str(error)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            state, outcome = FAILED, f"{where}{error.strerror or error}"
        yield Step(finding.check.id, finding.result.subject, action.what, state, outcome)


def _actions(
    findings: Sequence[checks.Finding],
) -> Iterator[tuple[checks.Finding, checks.Action]]:
    """Yield what is to be done, each once: several things may be wrong for one reason."""
    seen = set()
    for finding in findings:
        action = finding.result.action
        if is_mendable(finding) and action is not None and action.what not in seen:
            seen.add(action.what)
            yield finding, action
