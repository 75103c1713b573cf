"""disposal.py: a delete that died is ended by a machine whose clock is days off, or was begun by
one: all of it is kept as long as what StorPool has in the trash already."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.deaths import Death
from rigs.disk_model import GIB
from rigs.trash_yard import entries
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = int(48 * HOUR)
DAYS = 5 * 24 * HOUR
NEAR = 120  # seconds


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine that keeps what is deleted, with a disk that has data and two snapshots."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 1)
    for _ in range(2):
        yard.verb("snapshot", DISK)
    yield yard
    assert yard.forced() == []


def dates(yard: Yard) -> list[float]:
    """Return when StorPool deletes what is in the trash, in seconds from now."""
    listed = [each for each in yard.ask("SnapshotsList") if each["name"].startswith("ovirt-trash")]
    return [each["targetDeleteDate"] - time.time() for each in listed]


def run(yard: Yard, off: float, verb: str = "delete", dies_at: int | None = None) -> None:
    """Run a verb on the disk by a clock that is so far off."""
    with yard.engine(verb) as work, trash_yard.dying(dies_at):
        shifted = dataclasses.replace(work, now=lambda: time.time() + off)
        getattr(disks, verb)(shifted, DISK)
        work.mapping.journal.delivered()


def dies(yard: Yard, off: float, snapshots: int) -> None:
    """Have the delete die, by a clock that is so far off, when the volume and so many snapshots
    have gone into the trash."""
    for step in range(40):
        with pytest.raises(Death):
            run(yard, off, dies_at=step)
        seen = yard.see()
        if len(seen.things) == 2 - snapshots:
            return
        if f"ovirt--{DISK}" in seen.things and seen.pending:
            yard.verb("connection", DISK)  # it is taken back
    raise AssertionError("it never died then")


def near(found: list[float]) -> bool:
    """Return whether all of these times are two days away."""
    return all(abs(each - DELAY) < NEAR for each in found)


@pytest.mark.parametrize(
    ("begun", "ended", "snapshots", "verb"),
    [
        (-DAYS, 0.0, 0, "delete"),
        (-DAYS, 0.0, 1, "connection"),
        (DAYS, 0.0, 0, "connection"),
        (DAYS, 0.0, 1, "delete"),
        (0.0, -DAYS, 0, "connection"),
        (0.0, -DAYS, 1, "delete"),
        (0.0, DAYS, 0, "delete"),
        (0.0, DAYS, 1, "connection"),
        (0.0, 0.0, 1, "delete"),
    ],
)
def test_it_is_kept_as_long_as_what_is_there(
    kept: Yard, begun: float, ended: float, snapshots: int, verb: str
) -> None:
    """T83: nothing goes early, and nothing stays for days more; rows and tags say when it goes."""
    dies(kept, begun, snapshots)
    if verb == "delete":
        run(kept, ended)
    else:
        with pytest.raises(errors.NotFound):
            run(kept, ended, "connection")
    assert len(dates(kept)) == 3
    assert near(dates(kept))
    found = entries(kept)
    assert len(found) == 3
    assert near([each.ends_at - time.time() for each in found])
    assert kept.see().pending == []
    assert kept.report().findings == ()
