"""docs/trash.md: each of its commands, in their order, does what the page says, by the installed
program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rigs import disk_rig, runbook, trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import thrown
from rigs.yard import DISK, Yard

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

NEW, LATER, OTHER, OLDEST, OLD, USED = (
    f"{number}0000000-0000-4000-8000-000000000000" for number in range(1, 7)
)


def typed(yard: Yard, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page as an administrator types it."""
    options = folder / "options.json"
    api = {"sp_api_http_host": yard.simulator.host, "sp_api_http_port": yard.simulator.port}
    options.write_text(json.dumps({**api, "sp_auth_token": disk_rig.TOKEN}))
    where = ["--database", yard.url, "--options", str(options)]
    environment = {"STORPOOL_OVIRT_ROOT": str(folder), "PATH": "/usr/bin:/bin"}
    return runbook.typed(line, where, environment)


def aged(yard: Yard, disk: str, days: int) -> None:
    """Have a disk that was deleted so many days ago."""
    yard.verb("create", disk, GIB)
    (entry,) = thrown(yard, disk)
    yard.sql(
        "UPDATE storpool_ovirt.trash SET deleted_at = deleted_at - make_interval(days => %s)"
        " WHERE entry = %s",
        days,
        entry.entry,
    )


def test_the_page_is_played(yard: Yard, tmp_path: Path) -> None:
    """T83: from the look at the trash to its end; checksums of what comes back."""
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 1)
    first = trash_yard.digest(yard, DISK)
    snapshot = yard.verb("snapshot", DISK)
    trash_yard.write(yard, DISK, 2)
    last = trash_yard.digest(yard, DISK)
    thrown(yard, DISK)
    known = {"DISK": DISK, "NEW": NEW, "LATER": LATER, "OTHER": OTHER, "SNAPSHOT": snapshot}
    known["USED"] = USED
    for disk in (NEW, OTHER, USED):
        yard.verb("create", disk, GIB)
    trash_yard.write(yard, USED, 5)
    had = trash_yard.digest(yard, USED)
    aged(yard, OLDEST, 3)
    aged(yard, OLD, 2)
    steps = runbook.steps("trash.md")
    assert len(steps) >= 10
    for step in steps:
        said = typed(yard, tmp_path, runbook.filled(step.command, known))
        assert (said.returncode, said.stderr) == (0, ""), (step, said)
        assert said.stdout
        if step.output:
            runbook.check(step, said.stdout.splitlines(), known)
    yard.verb("create", LATER, GIB)
    assert trash_yard.digest(yard, NEW) == trash_yard.digest(yard, LATER) == last
    assert trash_yard.digest(yard, OTHER) == first
    assert trash_yard.digest(yard, USED) == had
    assert {each.disk for each in trash_yard.entries(yard)} == {USED}
    assert yard.report().findings == ()
