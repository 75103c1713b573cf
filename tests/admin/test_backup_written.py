"""backup.py: what is copied of the disks of a VM is of one moment, while its guest writes to all of
them in turns."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from rigs import clusters, ordered_writes
from rigs.backup_yard import VM, BackupYard
from rigs.yard import CLONE, DISK, OTHER
from storpool_ovirt.engine import copies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from storpool_ovirt.engine.copies import Copy

DISKS = (OTHER, DISK, CLONE)  # as its guest writes to them: not as they are sorted
MOMENTS = 5
APART = 5  # numbers between copies that are asked for one after the other


@pytest.fixture
def guest(
    module_database: Database, tmp_path: Path
) -> Iterator[tuple[BackupYard, ordered_writes.Writer]]:
    """Give a yard whose hosts have block devices, and the guest of a VM that writes to three."""
    clusters.need_devices("loop", tmp_path / "tried")
    with (
        contextlib.closing(BackupYard(tmp_path, module_database, devices="loop")) as yard,
        contextlib.ExitStack() as attached,
    ):
        devices = []
        for uuid in DISKS:
            yard.disk(uuid, vm=VM)
            global_id = yard.global_id(uuid)
            yard.hold(f"~{global_id}", 1)
            devices.append(yard.device(1, global_id))
        writer = attached.enter_context(ordered_writes.writing(*devices))
        yield yard, writer
        assert writer.problem is None


def numbers(yard: BackupYard, rows: list[Copy]) -> list[int]:
    """Return what the copies hold on the far side, in the order in which it was written."""
    seen = {each.row.disk: each for each in yard.waited(rows)}
    assert {each.state for each in seen.values()} == {copies.THERE}
    files = yard.sides.far.simulator.cluster.files
    return [ordered_writes.number_in(files.path(str(seen[uuid].row.remote_id))) for uuid in DISKS]


def test_the_copies_of_a_vm_are_of_one_moment(
    guest: tuple[BackupYard, ordered_writes.Writer],
) -> None:
    """F62: each disk has the number of the one before it, or the number before that; nothing is
    older than the command or newer than its end."""
    yard, writer = guest
    for _ in range(MOMENTS):
        writer.go_on()
        before = writer.count
        rows = yard.backup(VM)
        after = writer.begun
        found = numbers(yard, rows)
        assert found == sorted(found, reverse=True)
        assert found[0] - found[-1] <= 1
        assert before <= found[-1] <= found[0] <= after
    assert after > MOMENTS


def test_copies_of_single_disks_are_not(guest: tuple[BackupYard, ordered_writes.Writer]) -> None:
    """F62: so the test above can fail."""
    yard, writer = guest
    rows = []
    for uuid in DISKS:
        rows += yard.backup(uuid)
        writer.go_on(APART)
    found = numbers(yard, rows)
    assert found[0] + APART <= found[1] <= found[2] - APART
