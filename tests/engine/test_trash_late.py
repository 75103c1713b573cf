"""removal.py, disposal.py: answers that come late, dates that are not honoured, hosts that come
between a copy and its volume's delete; nothing is lost, and nothing in use has a date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = int(48 * HOUR)


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine whose domain keeps disks and snapshots, with a disk that has data."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 7)
    yield yard
    assert yard.forced() == []


def dated(yard: Yard) -> list[str]:
    """Return the names of what StorPool deletes by itself."""
    return [each["name"] for each in yard.ask("SnapshotsList") if each["targetDeleteDate"]]


def refused_after_a_lost_try(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the delete of a volume be under way when a host opens it, so that its repetition is
    refused; return the volume's address."""
    address = f"~{yard.global_id(DISK)}"

    def opened() -> None:
        yard.hold(address, 2)
        yard.declared[2] = {address[1:]}
        yard.declare(2)

    yard.meanwhile(monkeypatch, opened)
    with pytest.raises(errors.InUse):
        yard.verb("delete", DISK, fault=Fault("reset_before", query="VolumeDelete"))
    return address


def let_go(yard: Yard, address: str) -> None:
    """Have the host close and detach it."""
    yard.declared[2] = set()
    yard.declare(2)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": address, "detach": [2]}]})


def test_a_volume_that_goes_late_leaves_its_copy(
    kept: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T83: a delete was told no, by a repetition; its first try takes effect all the same."""
    address = refused_after_a_lost_try(kept, monkeypatch)
    let_go(kept, address)
    kept.ask(f"VolumeDelete/{address}", {})
    with pytest.raises(errors.NotFound):
        kept.verb("connection", DISK)
    [entry] = trash_yard.entries(kept)
    assert (entry.disk, entry.active) == (DISK, True)
    assert kept.see().pending == []


def test_a_volume_that_does_not_go_late_is_as_before(
    kept: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T83, T9: when nothing can come any more its copy goes, and the disk works."""
    before = kept.see()
    refused_after_a_lost_try(kept, monkeypatch)
    kept.verb("connection", DISK)
    after = kept.see()
    assert (after.rows, after.things, after.trash, after.pending) == (
        before.rows,
        before.things,
        {},
        [],
    )


def test_no_snapshot_of_a_disk_gets_a_date_late(kept: Yard) -> None:
    """T83: what was refused to a repetition, and takes effect all the same, only goes forward."""
    snapshot = kept.verb("snapshot", DISK)
    kept.queries()
    kept.simulator.faults.add("reset_before", query="SnapshotUpdate")
    kept.simulator.faults.add("error_200", query="SnapshotUpdate", name="objectIsBusy", times=3)
    with pytest.raises(errors.Error):
        kept.verb("remove", snapshot)
    kept.simulator.faults.clear()
    asked = [each for each in kept.simulator.calls.list() if each.query == "SnapshotUpdate"]
    kept.ask(f"SnapshotUpdate/{kept.address(snapshot)}", asked[0].body)
    kept.verb("snapshot", DISK)
    assert snapshot not in kept.see().rows
    assert [each.node for each in trash_yard.entries(kept)] == [snapshot]


def test_a_host_that_comes_between_keeps_the_volume(kept: Yard) -> None:
    """T83: what was written since the copy would be in no copy."""
    address = f"~{kept.global_id(DISK)}"
    due = [True]

    def attached() -> bool:
        if due and kept.see().trash:
            due.clear()
            kept.hold(address, 2)
            with kept.device(2, address[1:]).open("r+b") as device:
                device.write(b"new")
        return False

    with pytest.raises(errors.InUse):
        kept.verb("delete", DISK, fault=Fault("death", when=attached))
    seen = kept.see()
    assert seen.rows[DISK].state == "live"
    assert seen.trash == {}


def test_a_remove_that_died_where_no_date_is_honoured_is_undone(kept: Yard) -> None:
    """T83: the snapshot is one of its disk again, with its name and its tags, and verbs go on."""
    snapshot = kept.verb("snapshot", DISK)
    before = kept.see()
    kept.simulator.switches.set({"deferred_deletion": "off"})
    kept.die_when(lambda: bool(kept.see().trash), "remove", snapshot)
    kept.verb("extend", DISK, GIB)
    after = kept.see()
    assert (after.things, after.trash, after.pending) == (before.things, {}, [])
    assert after.rows == before.rows
