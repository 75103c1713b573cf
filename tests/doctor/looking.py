"""Checks of the doctor, run in a machine as the command runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from rigs.machine import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rigs.machine import Machine

# The command's own start, what is found, then what is done of that which is safe.
_DRIVER = """
import json, sys, time
from storpool_ovirt.doctor import checks, run, tables
place, limit, fix, wanted = json.loads(sys.argv[1])
sys.argv[0] = "{prefix}/bin/storpool-ovirt"
table = [each for each in tables.of(place) if each.id in wanted or not wanted]
assert {{each.id for each in table}} >= set(wanted), wanted
began = time.monotonic()
found = run.examined(checks.Site(place), table, limit)
took = time.monotonic() - began
said = [each.result.action.do("") for each in found if fix and each.result.action]
rows = [
    {{
        **vars(each.result),
        "id": each.check.id,
        "action": each.result.action.what if each.result.action else "",
        "seconds": each.seconds,
    }}
    for each in found
]
print(json.dumps([rows, said, took]))
"""


class Found(NamedTuple):
    """A result as the doctor tells it; `action` is what --fix would do."""

    id: str
    result: str
    cause: str
    risk: str
    fix: str
    subject: str
    action: str
    seconds: float


class Look(NamedTuple):
    """What was found, what was said of each step that mended something, and the seconds it took."""

    found: list[Found]
    said: list[str]
    took: float


class Wanted(NamedTuple):
    """Which checks: of a place, all or those with these ids, within a limit; `fix` does what they
    offer."""

    place: str
    ids: Sequence[str]
    limit: float
    fix: bool = False


def look(
    machine: Machine, wanted: Wanted, secrets: Sequence[str], env: Mapping[str, str] | None = None
) -> Look:
    """Run checks in a machine; none of these secrets is told."""
    asked = json.dumps([wanted.place, wanted.limit, wanted.fix, list(wanted.ids)])
    code = _DRIVER.format(prefix=PREFIX)
    done = machine.run(f"{PREFIX}/bin/python3", "-c", code, asked, env=env)
    assert done.returncode == 0, done.stderr
    assert not [each for each in secrets if each in done.stdout], done.stdout
    rows, said, took = json.loads(done.stdout)
    return Look([Found(**row) for row in rows], said, took)
