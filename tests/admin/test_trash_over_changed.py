"""engine/overwriting.py: whatever StorPool changes of a volume with its data is put right, also
where the restore is killed, or refused, half-way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.deaths import Death
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, restored, thrown
from rigs.yard import DISK, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.admin import trash_restore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.yard import Yard

STEPS_MAX = 60  # requests and statements of a restore
LIMITS = {"iops": 500, "bandwidth_mib": 7}
WIRE_LIMITS = (500, 7 * 1024)


@pytest.fixture
def changing(module_database: Database, tmp_path: Path) -> Iterator[Yard]:
    """Give a yard whose StorPool changes with a volume's data its global id, its size and its
    limits; a disk of 1 GiB is in the trash, another one of 2 GiB has data."""
    changed = {"revert_identity": "all", "revert_size": "snapshot", "revert_limits": "snapshot"}
    with opened_yard(module_database, tmp_path, **changed) as yard:
        yard.verb("create", DISK, GIB)
        trash_yard.write(yard, DISK, 7)
        thrown(yard, DISK)
        yard.given(**LIMITS)
        yard.verb("create", BACK, 2 * GIB)
        trash_yard.write(yard, BACK, 5)
        trash_yard.noted(yard)
        yield yard


def is_whole(yard: Yard) -> None:
    """Check that the disk is what it was: as large, with its limits, under the row's global id, and
    that nothing is open on it."""
    there = yard.see().things[f"ovirt--{BACK}"]
    row = yard.see().rows[BACK]
    (raw,) = yard.ask(f"Volume/~{there.global_id}")
    assert there.size_bytes == row.size_bytes == 2 * GIB
    assert (raw["iops"], raw["bw"]) == WIRE_LIMITS
    assert row.global_id == there.global_id
    assert yard.tags(BACK).items() <= there.tags.items()
    assert yard.entries() == 0


def test_it_stays_what_it_is(changing: Yard) -> None:
    """T79, T82."""
    restored(changing, DISK, over_data=True)
    is_whole(changing)
    assert changing.report().findings == ()


def test_killed_anywhere_it_stays_what_it_is(changing: Yard) -> None:
    """T71, T79: for the next verb, and for the VM that starts."""
    yard, deaths = changing, 0
    for step in range(0, STEPS_MAX, 2):
        try:
            restored(yard, DISK, over_data=True, dies_at=step)
        except Death:
            deaths += 1
        else:
            break
        yard.verb("connection", BACK)
        is_whole(yard)
        trash_yard.write(yard, BACK, 5)
    assert deaths > 6
    is_whole(yard)


def test_what_storpool_refuses_of_the_rest_gives_the_data_back(changing: Yard) -> None:
    """T83: its size, its tags or its limits: the disk has its data of before, and is as it was."""
    yard, refused = changing, 0
    before = trash_yard.digest(yard, BACK, 2 * GIB)
    facts = {"query": "VolumeUpdate", "name": "invalidParam", "descr": "it does not like that"}
    for step in range(1, STEPS_MAX, 2):
        try:
            with (
                trash_yard.happening(step, lambda: yard.simulator.faults.add("error_200", **facts)),
                yard.troubled(None),
                yard.administrator("trash-restore") as work,
            ):
                trash_restore.restore(work, DISK, BACK, over_data=True)
        except errors.Error:
            refused += 1
        else:
            break
        is_whole(yard)
        assert trash_yard.digest(yard, BACK, 2 * GIB) == before
    assert refused > 5


def test_no_vm_starts_with_a_disk_that_is_half_put_right(changing: Yard) -> None:
    """T71: it died with the other data and the snapshot's size, and StorPool refuses to make it
    larger: the next verb says so, and a later one ends it."""
    yard = changing
    with trash_yard.dying_before("volumeUpdate"):
        restored(yard, DISK, over_data=True)
    assert yard.see().things[f"ovirt--{BACK}"].size_bytes == GIB
    facts = {"query": "VolumeUpdate", "name": "invalidParam", "descr": "it has no room"}
    with yard.trouble("error_200", **facts), pytest.raises(errors.Error, match="it has no room"):
        yard.verb("connection", BACK)
    assert yard.entries() == 1
    yard.verb("connection", BACK)
    is_whole(yard)


def test_limits_that_are_refused_keep_no_vm_from_starting(changing: Yard) -> None:
    """T71: it died before they were set."""
    yard = changing
    with trash_yard.dying_before("volumeUpdate"):  # its size, with its limits
        restored(yard, DISK, over_data=True)
    facts = {"query": "VolumeUpdate", "name": "invalidParam", "descr": "it does not like that"}
    with (
        yard.troubled(None),
        trash_yard.happening_before(  # its size, its tags, its limits
            "volumeUpdate", 3, lambda: yard.simulator.faults.add("error_200", **facts)
        ),
    ):
        yard.verb("connection", BACK)
    assert yard.entries() == 0
