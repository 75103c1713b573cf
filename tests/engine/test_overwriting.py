"""engine/overwriting.py: the data of several disks are written over together, all or none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.deaths import Death, Fault
from rigs.disk_model import GIB
from rigs.yard import DISK, OTHER
from storpool_ovirt import errors, names
from storpool_ovirt.engine import overwriting, recovery, trash, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.yard import Yard

DISKS = (DISK, OTHER)
STEPS_MIN, STEPS_MAX = 16, 80  # requests and statements


@pytest.fixture
def sources(yard: Yard) -> dict[str, str]:
    """Have two disks that a service took a snapshot of, and that were written since; return the
    global ids of the snapshots."""
    found = {}
    for disk in DISKS:
        yard.verb("create", disk, GIB)
        trash_yard.write(yard, disk, 1)
        found[disk] = yard.ask(f"VolumeSnapshot/{yard.address(disk)}", {})["snapshotGlobalId"]
        trash_yard.write(yard, disk, 2)
    return found


@pytest.fixture
def digests(yard: Yard, sources: dict[str, str]) -> tuple[str, str]:
    """Return the checksums of a disk's data when the snapshots were taken, and now."""
    now = trash_yard.digest(yard, DISK)
    yard.verb("create", "b0000000-0000-4000-8000-0000000000b1", GIB)
    trash_yard.write(yard, "b0000000-0000-4000-8000-0000000000b1", 1)
    return trash_yard.digest(yard, "b0000000-0000-4000-8000-0000000000b1"), now


def over(
    yard: Yard, sources: dict[str, str], fault: Fault | None = None, dies_at: int | None = None
) -> list[trash.Entry]:
    """Write the snapshots over both disks."""
    with yard.troubled(fault), yard.administrator() as work, trash_yard.dying(dies_at):
        return carried_out(work, sources)


def carried_out(work: tree.Work, sources: dict[str, str]) -> list[trash.Entry]:
    """Do that with these tools."""
    work.mapping.lock_all(DISKS)
    for disk in DISKS:
        recovery.settle_disk(work, disk, disk, again=True)
    aims = [
        overwriting.aimed(
            work,
            tree.known(work, disk),
            work.client.snapshot(names.address(sources[disk])),
        )
        for disk in DISKS
    ]
    return overwriting.overwrite(work, aims)


def deaths(yard: Yard, sources: dict[str, str]) -> Iterator[int]:
    """Have it die before each request and statement in turn, with the data of before each time."""
    for step in range(STEPS_MAX):
        try:
            over(yard, sources, dies_at=step)
        except Death:
            yield step
        else:
            assert step > STEPS_MIN
            return
        for disk in DISKS:
            trash_yard.write(yard, disk, 2)
        for copy in trash_yard.entries(yard):
            yard.sql("DELETE FROM storpool_ovirt.trash WHERE entry = %s", copy.entry)
            yard.ask(f"SnapshotDelete/~{copy.global_id}", {})
    raise AssertionError("it never ends")


def have(yard: Yard, digests: tuple[str, str]) -> str:
    """Return what both disks have, which is the same, and check that nothing of before is lost."""
    (found,) = {trash_yard.digest(yard, disk) for disk in DISKS}
    assert found in digests
    if found == digests[0]:
        found_in = trash_yard.entries(yard)
        kept = [(each.disk, trash_yard.kept_digest(yard, each)) for each in found_in]
        assert {(disk, digests[1]) for disk in DISKS} <= set(kept)
    assert yard.entries() == 0
    return found


def test_both_or_none(yard: Yard, sources: dict[str, str], digests: tuple[str, str]) -> None:
    """T83: each has a copy of its own in the trash; what the service keeps stays as it is."""
    before = {each["globalId"] for each in yard.ask("SnapshotsList")}
    entries = over(yard, sources)
    assert [each.disk for each in entries] == list(DISKS)
    assert have(yard, digests) == digests[0]
    assert before <= {each["globalId"] for each in yard.ask("SnapshotsList")}
    assert {each.kind for each in yard.report().findings} == {"kept by others"}


def test_killed_anywhere_both_have_the_same(
    yard: Yard, sources: dict[str, str], digests: tuple[str, str]
) -> None:
    """T72: whichever disk is met first, by whichever verb."""
    seen = set()
    for step in deaths(yard, sources):
        first, second = DISKS if step % 2 else reversed(DISKS)
        yard.verb("extend", first, GIB)
        yard.verb("connection", second)
        seen.add(have(yard, digests))
    assert seen == set(digests)


@pytest.mark.parametrize("query", ["VolumeSnapshot", "VolumeRevert"])
def test_what_storpool_refuses_changes_nothing(
    yard: Yard, sources: dict[str, str], digests: tuple[str, str], query: str
) -> None:
    """T83: both have their data, and nothing is open on either."""
    refusal = {"name": "invalidParam", "descr": "it does not like that"}
    with yard.trouble("error_200", query=query, **refusal), pytest.raises(errors.Error):
        over(yard, sources)
    assert have(yard, digests) == digests[1]


def test_a_host_that_opens_the_second_one_meanwhile(
    yard: Yard, sources: dict[str, str], digests: tuple[str, str]
) -> None:
    """T83: whenever it does, both have the same; StorPool refuses to revert what is open, and
    then the first one gets its data back."""
    seen = []
    global_id = yard.global_id(OTHER)

    def opened() -> None:
        yard.hold(f"~{global_id}")
        yard.declared[2] = {global_id}
        yard.declare(2)

    for step in range(0, STEPS_MAX, 3):
        with (
            contextlib.suppress(errors.Conflict, errors.InUse),
            yard.administrator() as work,
            trash_yard.happening(step, opened),
        ):
            carried_out(work, sources)
        is_over = not any(each["client"] == 2 for each in yard.ask("AttachmentsList"))
        yard.declared[2] = set()
        yard.declare(2)
        if not is_over:
            yard.detach(2, {"volume": OTHER, "global_id": global_id, "access_mode": "rw"})
        seen.append(have(yard, digests))
        if is_over:
            break
        for disk in DISKS:
            trash_yard.write(yard, disk, 2)
    assert set(seen) == set(digests)
    assert "data_given_back" in (yard.folder / "verbs.log").read_text()
