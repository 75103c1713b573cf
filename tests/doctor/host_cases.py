"""What somebody may have done to a host, and what its check has to tell of it: a row for each.

Rows of different checks that do not disturb each other are played on one machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from host_ground import Found, Host

ORDER = ("critical", "warning", "unknown", "ok")


class Case(NamedTuple):
    """A shell script, and the worst that the check finds then: its result, words of its cause, how
    its fix begins.

    `mends`: it offers an action that mends it. `alone`: it breaks what other checks need too.
    """

    check: str
    script: str
    result: str
    said: str
    fix: str = ""
    mends: bool = False
    alone: bool = False


def rounds(cases: Sequence[Case]) -> list[list[Case]]:
    """Return groups, of which each has one row of a check at most; some have to be alone."""
    by_check: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if not case.alone:
            by_check[case.check].append(case)
    groups = [[case] for case in cases if case.alone]
    for number in range(max(map(len, by_check.values()), default=0)):
        groups.append([each[number] for each in by_check.values() if number < len(each)])
    return groups


def named(group: Sequence[Case]) -> str:
    """Return what a group is called in a report."""
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{group[0].check}: {group[0].said}{more}"


def play(host: Host, group: Sequence[Case]) -> None:
    """Do all of a group, and see that each check tells of its own; then do what they offer."""
    for case in group:
        host.do(case.script)
    ids = [case.check for case in group]
    found = host.look(*ids, fix=any(case.mends for case in group))
    for case in group:
        _compare(case, worst(found, case.check))
    mended = [case.check for case in group if case.mends]
    for each in host.look(*mended) if mended else ():
        assert each.result == "ok", each


def worst(found: Sequence[Found], check: str) -> Found:
    """Return the worst that a check found."""
    return min((e for e in found if e.id == check), key=lambda each: ORDER.index(each.result))


def _compare(case: Case, told: Found) -> None:
    assert told.result == case.result, (case, told)
    assert case.said in told.cause, (case, told)
    assert told.fix.startswith(case.fix), (case, told)
    assert bool(told.action) == case.mends, (case, told)
    if case.result in ("critical", "warning"):
        assert told.risk, told
        assert told.fix, told
