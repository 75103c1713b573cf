"""trash_findings.py: the audit tells what is wrong with the trash, and nothing of what is right;
reconcile takes away what is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import DELAY_SECONDS, entries, thrown
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt.admin import audit, reconcile, rows_seen, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import fullness, tree

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("a_disk")
DAY = 86400


def update(yard: Yard, global_id: str, **change: object) -> None:
    """Change a snapshot in the trash by hand."""
    yard.ask(f"SnapshotUpdate/~{global_id}", change)


def test_what_is_right_is_no_finding(yard: Yard) -> None:
    """T83: neither as trash, nor as something unmapped, kept by others or lost."""
    yard.verb("snapshot", DISK)
    yard.verb("create", OTHER, GIB)
    thrown(yard, DISK)
    yard.verb("clone", OTHER, DISK)  # Engine may use the id again
    assert yard.report().findings == ()


def _gone(yard: Yard, global_id: str) -> None:
    yard.ask(f"SnapshotDelete/~{global_id}", {})


def _undated(yard: Yard, global_id: str) -> None:
    update(yard, global_id, deleteAfter=0)


def _redated(yard: Yard, global_id: str) -> None:
    update(yard, global_id, deleteAfter=9 * DAY)


def _renamed(yard: Yard, global_id: str) -> None:
    update(yard, global_id, rename="mine")


def _taken(yard: Yard, global_id: str) -> None:
    update(yard, global_id, tags={"ovirt-loc": "ffffffff"})


def _attached(yard: Yard, global_id: str) -> None:
    item = {"snapshot": f"~{global_id}", "ro": [3]}
    yard.ask("VolumesReassignWait", {"reassign": [item]})


def _half_purged(yard: Yard, _global_id: str) -> None:
    yard.sql("UPDATE storpool_ovirt.trash SET ends_at = 'epoch'")


def _rowless(yard: Yard, _global_id: str) -> None:
    yard.sql("DELETE FROM storpool_ovirt.trash")


def _rowless_for_ever(yard: Yard, global_id: str) -> None:
    _undated(yard, global_id)
    _rowless(yard, global_id)


WRONG: dict[str, tuple[Callable[[Yard, str], None], str, str, str]] = {
    "gone": (_gone, "warning", "StorPool does not have it any more", "trash purge"),
    "undated": (_undated, "warning", "stays for ever", "targetDeleteDate"),
    "redated": (_redated, "info", "somebody changed that", "StorPool's date counts"),
    "renamed": (_renamed, "warning", "somebody changed its name", "trash restore"),
    "taken": (_taken, "warning", "its tag ovirt-loc", "belongs to the Engine of location ffff"),
    "attached": (_attached, "warning", "client 3 has it attached", "detach it there"),
    "half purged": (_half_purged, "warning", "a purge of it died", "reconcile"),
    "rowless": (_rowless, "info", "the mapping does not know it", "storpool-ovirt rebuild"),
    "rowless for ever": (_rowless_for_ever, "warning", "stays for ever", "rebuild"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_once(yard: Yard, what: str) -> None:
    """T72: with its cause and what mends it; nothing else is said of it."""
    (entry,) = thrown(yard, DISK)
    spoil, severity, cause, mend = WRONG[what]
    spoil(yard, entry.global_id)
    (found,) = yard.report().findings
    assert (found.kind, found.severity, found.disk) == ("trash", severity, DISK)
    assert cause in found.cause
    assert mend in found.mend


def test_what_is_purged_while_an_audit_looks_is_no_finding(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T83: its snapshot was listed, and its row has gone with it since."""
    thrown(yard, DISK)
    before = rows_seen.look_before

    def purged_since(work: tree.Work, words: Words) -> rows_seen.Earlier:
        found = before(work, words)
        yard.sql("DELETE FROM storpool_ovirt.trash")
        return found

    monkeypatch.setattr(rows_seen, "look_before", purged_since)
    assert yard.report().findings == ()


def test_what_is_over_is_a_row_less(yard: Yard) -> None:
    """T83: no finding; reconcile takes the row away when StorPool has nothing of it any more."""
    (entry,) = thrown(yard, DISK)
    yard.simulator.advance(DELAY_SECONDS + 3600)
    trash_yard.age(yard, [entry.entry], time.time() - 3600)
    with yard.administrator() as work:
        report = audit.report(survey.look(work), 900)
        assert report.findings == ()
        assert reconcile.over(report) == entries(yard)
        reconcile.forget(work, reconcile.over(report))
    assert entries(yard) == []


def test_what_should_be_over_and_is_there_stays(yard: Yard) -> None:
    """T60: it is told that StorPool has another date, and the row stays."""
    (entry,) = thrown(yard, DISK)
    trash_yard.age(yard, [entry.entry], time.time() - DAY)
    report = yard.report()
    assert [each.kind for each in report.findings] == ["trash"]
    assert reconcile.over(report) == []


def test_another_cluster_has_nothing_to_say(yard: Yard) -> None:
    """T77: there nothing is lost, and no row is over."""
    (entry,) = thrown(yard, DISK)
    trash_yard.age(yard, [entry.entry], time.time() - DAY)
    with yard.another_cluster("mine") as there, yard.administrator(cluster=there) as work:
        report = audit.report(survey.look(work), 0)
    assert reconcile.over(report) == []


@pytest.mark.parametrize(
    ("free", "percent", "is_full"),
    [(100, 0, False), (10, 90, False), (9, 91, True), (0, 100, True)],
)
def test_a_template_that_is_nearly_full(free: int, percent: float, is_full: bool) -> None:
    """T28: above 90 % of what it can hold."""
    template = api.Template("hybrid", 100 * GIB, free * GIB)
    assert fullness.used_percent(template) == percent
    assert fullness.is_nearly_full(template) is is_full
    assert not fullness.is_nearly_full(api.Template("empty", 0, 0))


@pytest.mark.parametrize("has_trash", [True, False])
def test_a_cluster_that_is_nearly_full_is_told_with_the_command(
    yard: Yard, has_trash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T28: the trash is what can be let go."""
    monkeypatch.setattr(fullness, "FULL_PERCENT", -1.0)
    if has_trash:
        thrown(yard, DISK)
    (found,) = yard.report().findings
    assert (found.kind, found.severity) == ("nearly full", "warning")
    command = "storpool-ovirt trash purge --oldest N"
    assert (command in found.mend) is has_trash


def test_a_cluster_that_tells_no_space_is_audited_all_the_same(yard: Yard) -> None:
    """T24: nothing rests on it."""
    with yard.trouble("error_200", query="VolumeTemplatesStatus", times=9, name="invalidParam"):
        assert yard.report().findings == ()
