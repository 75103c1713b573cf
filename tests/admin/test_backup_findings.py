"""backup_findings.py: the audit tells of copies that never came, that stay for ever, that nobody
can see; and of no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import backup_yard
from rigs.backup_yard import BackupYard
from rigs.yard import DISK
from storpool_ovirt.admin import backup_findings, findings
from storpool_ovirt.admin.findings import COPY, CRITICAL, INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

MIB = 1 << 20


@pytest.fixture
def yard(module_database: Database, tmp_path: Path) -> Iterator[BackupYard]:
    """A yard with a far side, and a disk that takes a while to be copied."""
    with backup_yard.opened(module_database, tmp_path) as opened:
        opened.disk(DISK, b"x" * 4 * MIB)
        opened.sides.slow()
        yield opened


def looked(yard: BackupYard) -> list[findings.Finding]:
    """Look as the audit does, and check that this changed nothing."""
    before = yard.world()
    with yard.administrator("audit") as work:
        found = backup_findings.look(work)
    assert yard.world() == before
    assert all(each.kind == COPY for each in found)
    return found


def aged(yard: BackupYard, age: str = "2 days") -> None:
    """Have the copies be made before that."""
    yard.sql(f"UPDATE storpool_ovirt.backup SET made_at = made_at - interval '{age}'")


def test_what_is_well_is_not_told(yard: BackupYard) -> None:
    """F62: on its way, cut for a while, there: that is as it should be; no copies cost no call."""
    yard.queries()
    assert looked(yard) == []
    assert [each for each in yard.queries() if "List" in each and "Remote" in each] == []
    rows = yard.backup(DISK)
    assert looked(yard) == []
    yard.sides.cut()
    assert looked(yard) == []
    yard.sides.heal()
    yard.waited(rows)
    assert looked(yard) == []


@pytest.mark.parametrize(("reason", "severity"), [("asked", WARNING), ("deleted", CRITICAL)])
def test_a_copy_that_was_given_up(yard: BackupYard, reason: str, severity: str) -> None:
    """F62: what StorPool gives up at a cut is told as soon as it can be known; where the disk is
    gone it is as bad as can be."""
    yard.sides.switch(cut_copy="fail")
    yard.backup(DISK)
    yard.sql(f"UPDATE storpool_ovirt.backup SET reason = '{reason}'")
    yard.sides.cut()
    yard.simulator.advance(10)
    [found] = looked(yard)
    assert (found.severity, "cannot be seen" in found.cause) == (INFO, True)
    yard.sides.heal()
    [found] = looked(yard)
    assert (found.severity, found.disk) == (severity, DISK)
    assert "given up on its way" in found.cause
    assert ("trash list" in found.mend) == (reason == "deleted")


def test_a_copy_that_nobody_can_see(yard: BackupYard) -> None:
    """F62: for a day it is information, then a warning; so is one that does not come at all."""
    yard.backup(DISK)
    aged(yard)
    [found] = looked(yard)
    assert (found.severity, found.cause) == (WARNING, "is still on its way")
    yard.simulator.advance(1000)
    assert looked(yard) == []
    yard.sides.cut()
    [found] = looked(yard)
    assert (found.severity, "cannot be seen" in found.cause) == (WARNING, True)


def test_a_location_that_ignores_dates(yard: BackupYard) -> None:
    """F63: what was given up there, and stays, is told until somebody deletes it there."""
    for _ in range(2):
        yard.waited(yard.backup(DISK))
    aged(yard, "9 days")
    yard.expire(86400)
    [found] = looked(yard)
    assert (found.severity, "ignores dates" in found.cause) == (WARNING, True)
    yard.sides.far.client().snapshot_delete(found.what.split()[1])
    yard.simulator.advance(5)
    assert looked(yard) == []
