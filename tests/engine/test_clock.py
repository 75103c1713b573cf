"""A clock of the database that goes back: no verb waits for it to come back, and nothing old looks
new."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import process, records, recovery, settlement

if TYPE_CHECKING:
    from typing import Any

HOUR = 3600.0
ELSEWHERE = "00000000-0000-4000-8000-000000000000/4026531836:4711:99"
BACK = [HOUR, 24 * HOUR, 40.0]


def clock_goes_back(yard: Yard, seconds: float) -> None:
    """Let all that was written be written so much later, as if the clock had gone back since."""
    later = (
        "started_at = started_at + make_interval(secs => %s), until = until + make_interval(secs"
        " => %s)"
    )
    yard.sql(f"UPDATE storpool_ovirt.operation SET {later}", seconds, seconds)
    yard.sql(
        "UPDATE storpool_ovirt.node SET created_at = created_at + make_interval(secs => %s)",
        seconds,
    )


def elsewhere(yard: Yard) -> None:
    """Let what is in the journal be of a process on another machine."""
    yard.sql("UPDATE storpool_ovirt.operation SET process = %s", ELSEWHERE)


def a_lost_delete(yard: Yard) -> None:
    """Have a delete give up that has taken no effect."""
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("delete", DISK, fault=Fault("reset_before", query="VolumeDelete", times=50))


def a_lost_snapshot(yard: Yard) -> None:
    """Have a verb die that has made a snapshot."""
    yard.die_made("snapshot", DISK)


def a_planned_snapshot(yard: Yard) -> None:
    """Have a verb die that was about to make a snapshot."""
    yard.die_planned("snapshot", DISK)


def a_lost_growth(yard: Yard) -> None:
    """Have a growth give up."""
    with pytest.raises(errors.ApiUnavailable):
        yard.verb(
            "extend", DISK, 2 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )


SCENES = [a_lost_delete, a_lost_snapshot, a_planned_snapshot, a_lost_growth]


def seconds_of(yard: Yard, verb: str, *arguments: Any) -> float:
    """Return how long a verb has waited."""
    began = yard.clock.now
    yard.verb(verb, *arguments)
    return yard.clock.now - began


@pytest.mark.parametrize("seconds", BACK)
@pytest.mark.parametrize("where", [None, elsewhere], ids=["here", "elsewhere"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_no_verb_waits_for_the_clock(
    yard: Yard, scene: Callable[[Yard], None], where: Callable[[Yard], None] | None, seconds: float
) -> None:
    """T73: whatever died, here or on another machine: the next verb works, and waits no longer than
    it ever would."""
    yard.verb("create", DISK, GIB)
    scene(yard)
    if where is not None:
        where(yard)
    clock_goes_back(yard, seconds)
    assert (
        seconds_of(yard, "extend", DISK, 4 * GIB) <= settlement.LATE_SECONDS + recovery.POLL_SECONDS
    )
    assert seconds_of(yard, "connection", DISK) == 0
    assert seconds_of(yard, "delete", DISK) <= settlement.LATE_SECONDS + recovery.POLL_SECONDS


def test_no_age_is_negative_and_none_has_more_time_than_it_had(yard: Yard) -> None:
    """Ages that people and programs read are never below nothing; what is left is never more than
    there was."""
    yard.verb("create", DISK, GIB)
    a_lost_snapshot(yard)
    elsewhere(yard)
    clock_goes_back(yard, HOUR)
    (operation,) = yard.operations()
    assert operation.age_seconds == 0
    assert 0 < operation.left_seconds <= 600, "the time that the process had"
    assert (operation.is_past, operation.is_clock_sound) == (False, False)
    with yard.engine() as engine:
        assert {record.age_seconds for record in records.all(engine.mapping)} == {0}
    assert all(each.age_seconds is None or each.age_seconds >= 0 for each in yard.report().findings)


def test_what_a_fresh_verb_left_is_taken_back(yard: Yard) -> None:
    """T71: with a sound clock a snapshot that nobody knows goes with the next verb."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    yard.verb("extend", DISK, GIB)
    assert f"ovirt--{snapshot}" not in yard.see().things


@pytest.mark.parametrize("seconds", [HOUR, 24 * HOUR])
def test_nothing_old_looks_new(yard: Yard, seconds: float) -> None:
    """T72: an entry of two hours ago is left to the audit, also when it is dated half an hour ago,
    or in the future."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    yard.verb("create", OTHER, GIB)  # what was written last tells that the clock was further then
    yard.age(2 * HOUR)
    clock_goes_back(yard, 1.5 * HOUR)
    yard.verb("extend", DISK, GIB)
    assert f"ovirt--{snapshot}" in yard.see().things
    clock_goes_back(yard, seconds)
    yard.verb("extend", DISK, 2 * GIB)
    assert f"ovirt--{snapshot}" in yard.see().things


def test_an_entry_is_no_older_than_its_process(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T72: an entry that is dated just now, of a process that was started long ago on this machine,
    is not fresh."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    machine = process.own().machine
    yard.sql("UPDATE storpool_ovirt.operation SET process = %s", f"{machine}:1999999:1")
    monkeypatch.setattr(settlement, "FRESH_SECONDS", 30.0)
    assert time.clock_gettime(time.CLOCK_BOOTTIME) > 30, "this machine was started just now"
    yard.verb("extend", DISK, GIB)
    assert f"ovirt--{snapshot}" in yard.see().things
    monkeypatch.setattr(settlement, "FRESH_SECONDS", time.clock_gettime(time.CLOCK_BOOTTIME) + HOUR)
    yard.verb("extend", DISK, GIB)
    assert f"ovirt--{snapshot}" not in yard.see().things
