"""All disks of a running virtual machine at one moment: what its guest wrote to two of them in
turns.

The guest writes a number to the one disk, then to the other, past all caches and each behind the
one before. Engine takes snapshots of both, one verb after the other, and the guest is waited for in
between, so that it has gone on by some numbers. What the snapshots hold is read from previews: by
this machine for most rounds, by a guest that boots on them for the first and the last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vm_fixtures import VIRTUAL, Machines, serial
from vm_stream import BLOCK

from rigs import forked_engine
from rigs.shared_stage import engine_with, snapshots, volumes

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk, Domain

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while

ROUNDS = 50
ROUNDS_APART = 3  # are enough to see that the disks differ
BETWEEN = 3  # numbers that the guest writes to both disks between two verbs, at least
MOMENT = "ovirt-moment"


def test_two_disks_are_of_one_moment(machines: Machines) -> None:
    """T78: in each of 50 rounds the other disk has the first one's number or the one before it."""
    with engine(machines) as domain:
        disks, pairs = rounds(machines, domain, ROUNDS)
        assert all(len(marks(machines, pair)) == 1 for pair in pairs)
        found = [numbers(machines, domain, disks, pair) for pair in pairs]
        for pair, expected in ((pairs[0], found[0]), (pairs[-1], found[-1])):
            assert booted(machines, domain, disks, pair) == expected
        machines.delete(*disks)
    assert len(found) == ROUNDS
    assert {one - other for one, other in found} <= {0, 1}
    assert all(after[0] > before[0] for before, after in zip(found, found[1:]))


def test_without_the_group_they_are_not(machines: Machines) -> None:
    """T78: with sp_group_snapshot off the same guest's disks differ in each round, so the test
    above can fail."""
    with engine(machines, sp_group_snapshot="false") as domain:
        disks, pairs = rounds(machines, domain, ROUNDS_APART)
        assert all(marks(machines, pair) == {None} for pair in pairs)
        found = [numbers(machines, domain, disks, pair) for pair in pairs]
        machines.delete(*disks)
    assert all(other - one > 1 for one, other in found)


@contextlib.contextmanager
def engine(machines: Machines, **options: str) -> Iterator[Domain]:
    """Give the stage's storage domain with other driver options, in an Engine whose verbs share
    one start of Python."""
    given = engine_with(machines.play.stage, **options)
    with forked_engine.of(given) as quick:
        yield dataclasses.replace(machines.play.domain, engine=quick)


def rounds(
    machines: Machines, domain: Domain, count: int
) -> tuple[list[Disk], list[tuple[str, ...]]]:
    """Run a VM that counts, take so many snapshots of both its disks as Engine does, and stop it;
    return the disks and the snapshots of each round."""
    from ovirt_demo import flows

    disks = [flows.create_disk(domain, 1) for _ in range(2)]
    counter = serial(disks[0])
    vm_id = str(uuid.uuid4())
    vm = machines.start(vm_id, machines.play.host1, *disks)
    vm.run(f"count {counter} {serial(disks[1])} &")
    pairs = []
    for _ in range(count):
        action = dataclasses.replace(domain, correlation_id=str(uuid.uuid4()))
        pair = []
        for number, disk in enumerate(disks):
            vm.run("true")  # what it said until now may still be on its way here
            vm.further("count", counter, BETWEEN if number else 1)
            pair.append(flows.create_snapshot(action, disk))
        pairs.append(tuple(pair))
    machines.halt(vm, disks[0])
    assert vm.troubles() == []
    machines.stop(vm, *disks)
    return disks, pairs


def marks(machines: Machines, pair: Sequence[str]) -> set[str | None]:
    """Return which moments the snapshots of a round are marked with; None: with none."""
    listed = snapshots(machines.play.cluster)
    return {listed[each]["tags"].get(MOMENT) for each in pair}


@contextlib.contextmanager
def previewed(domain: Domain, disks: Sequence[Disk], pair: Sequence[str]) -> Iterator[None]:
    """Preview the snapshots of a round, and go back."""
    from ovirt_demo import flows

    for disk, snapshot in zip(disks, pair):
        flows.preview(domain, disk, snapshot)
    yield
    for disk in disks:
        flows.undo_preview(domain, disk)


def numbers(
    machines: Machines, domain: Domain, disks: Sequence[Disk], pair: Sequence[str]
) -> tuple[int, ...]:
    """Read the numbers that the previews of a round hold, where the simulator keeps the data."""
    data = machines.play.cluster.folder / "state" / "data"
    with previewed(domain, disks, pair):
        listed = volumes(machines.play.cluster)
        found = []
        for disk in disks:
            with (data / listed[disk.active]["globalId"]).open("rb") as file:
                found.append(int(file.read(BLOCK)))
    return tuple(found)


def booted(
    machines: Machines, domain: Domain, disks: Sequence[Disk], pair: Sequence[str]
) -> tuple[int, ...]:
    """Boot a guest on the previews of a round, and have it read the numbers."""
    with previewed(domain, disks, pair):
        vm = machines.start(str(uuid.uuid4()), machines.play.host2, *disks)
        found = tuple(int(vm.run(f"counted {serial(disk)}")[0]) for disk in disks)
        machines.stop(vm, *disks)
    return found
