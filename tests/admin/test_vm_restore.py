"""vm_backups.py, vm_restore.py, engine/engine_vm_states.py: a VM that is down gets what its disks
had when VolumeCare, or somebody, took a snapshot of all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from rigs import policy_yard, trash_yard
from rigs.deaths import Death
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, SUSPENDED, UP, VM
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors, names
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin import vm_backups, vm_restore
from storpool_ovirt.admin.vm_backups import Backups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase

DISKS = (DISK, OTHER)
STEPS_MAX = 100  # requests and statements of a restore
BEFORE, NOW = 1, 2  # the bytes that both disks have
TAGS = {"cvm": VM, "vc-policy": "hourly", "qc": "gold"}


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM of two disks, which is down."""
    with policy_yard.engine_of(yard, database_server) as made:
        for disk in DISKS:
            yard.verb("create", disk, GIB)
            policy_yard.has_disk(made, disk)
            policy_yard.tag(yard, disk, **TAGS)
            trash_yard.write(yard, disk, BEFORE)
        policy_yard.has_vm(made, VM, "web01", *DISKS)
        yield made


@pytest.fixture
def at(yard: Yard, engine: EngineDatabase) -> str:
    """Have a backup of both disks, and what was written since; return its moment."""
    assert engine
    group(yard)
    for disk in DISKS:
        trash_yard.write(yard, disk, NOW)
    (found,) = look(yard).moments
    return found.stamp


def group(yard: Yard, *disks: str, **more: Any) -> None:
    """Take a backup as VolumeCare does: one snapshot of each disk, at one moment."""
    volumes = [{"volume": yard.address(disk), **more} for disk in disks or DISKS]
    yard.ask("VolumesGroupSnapshot", {"volumes": volumes})


def look(yard: Yard, vm: str = VM) -> Backups:
    """Return the backups of the VM."""
    with yard.administrator("backups") as work:
        return vm_backups.look(work, vm_backups.found(work, vm))


def restore(yard: Yard, at: str, vm: str = VM, dies_at: int | None = None) -> list[str]:
    """Take the VM back to a moment."""
    with yard.administrator("restore") as work, trash_yard.dying(dies_at):
        return vm_restore.restore(work, vm, at)


def has(yard: Yard) -> int:
    """Return which bytes both disks have, which are the same, and check that nothing is open, and
    that what they had is in the trash where they were written over."""
    digests = {}
    yard.verb("create", CLONE, GIB)
    for byte in (BEFORE, NOW):
        trash_yard.write(yard, CLONE, byte)
        digests[trash_yard.digest(yard, CLONE)] = byte
    yard.verb("delete", CLONE)
    (found,) = {digests[trash_yard.digest(yard, disk)] for disk in DISKS}
    if found == BEFORE:
        kept = {
            (each.disk, digests[trash_yard.kept_digest(yard, each)])
            for each in trash_yard.entries(yard)
            if each.is_safety
        }
        assert {(disk, NOW) for disk in DISKS} <= kept
    assert yard.entries() == 0
    return found


def test_a_disk_that_is_not_in_storpool_is_told(
    yard: Yard, engine: EngineDatabase, at: str
) -> None:
    """It has its data of now, beside the others of then."""
    policy_yard.has_disk(engine, CLONE, "on nfs")
    engine.execute("INSERT INTO vm_device VALUES (%s, %s, true, NULL)", CLONE, VM)
    told = restore(yard, at)
    assert [line for line in told if "is not in StorPool" in line] == [
        f"  disk {CLONE} (on nfs) is not in StorPool, and was left as it is"
    ]


def test_the_backups_are_told_by_moment(yard: Yard, engine: EngineDatabase) -> None:
    """What oVirt made, and what is of another VM, is none."""
    assert engine
    group(yard)
    yard.simulator.advance(60)
    yard.verb("snapshot", DISK)
    policy_yard.tag(yard, DISK)
    yard.ask(f"VolumeSnapshot/{yard.address(OTHER)}", {"tags": {"vc-policy": "x"}})
    yard.simulator.advance(60)
    group(yard, tags={**yard.tags(DISK), **TAGS})  # VolumeCare's may have a volume's tags
    yard.simulator.advance(60)
    group(yard, tags={"cvm": OTHER_VM})  # as when its disks were another VM's
    found = look(yard, "web01")
    whole = [not each.missing(found.disks) for each in found.moments]
    assert whole == [True, False, True]
    told = list(vm_backups.text(found, found.moments[0].at))
    assert told[0] == f"VM {VM} (web01): 2 disks, 3 backups"
    assert told[2].endswith(f"(1 min ago): not of disk {DISK}")
    document = vm_backups.document(found)
    assert [each["is_whole"] for each in document["backups"]] == whole
    assert [each["disk"] for each in document["backups"][0]["snapshots"]] == sorted(DISKS)
    with pytest.raises(errors.InputError, match="is no VM"):
        look(yard, DISK)


def test_a_vm_goes_back_and_its_disks_stay_what_they_are(yard: Yard, at: str) -> None:
    """T79, T83: also one that was grown since; what others keep stays, and what was there is in the
    trash."""
    yard.verb("extend", OTHER, 2 * GIB)
    snapshot = yard.verb("snapshot", DISK)
    before = {disk: yard.see().things[names.object_name(disk)] for disk in DISKS}
    theirs = {each["globalId"] for each in yard.ask("SnapshotsList")}
    told = restore(yard, at, "web01")
    assert told[0] == f"restored VM {VM} (web01) to {at}: 2 disks"
    assert [line.split()[1] for line in told if line.startswith("  disk")] == sorted(DISKS)
    assert has(yard) == BEFORE
    for disk in DISKS:
        there, row = yard.see().things[names.object_name(disk)], yard.see().rows[disk]
        tags = {key: value for key, value in there.tags.items() if key != "ovirt-src"}
        assert (tags, there.size_bytes) == (before[disk].tags, before[disk].size_bytes)
        assert (row.global_id, row.size_bytes) == (there.global_id, there.size_bytes)
    assert theirs <= {each["globalId"] for each in yard.ask("SnapshotsList")}
    assert snapshot in yard.see().rows
    assert {each.kind for each in yard.report().findings} == {"kept by others"}
    assert [each.stamp for each in look(yard).moments] == [at]
    copies = {each.disk: each.entry for each in trash_yard.entries(yard) if each.is_safety}
    for disk in DISKS:
        trash_yard.restored(yard, copies[disk], disk, over_data=True)
    assert has(yard) == NOW


def test_a_preview_that_the_vm_writes_goes_back(yard: Yard, at: str) -> None:
    """What the disk was before the preview stays, for its undo."""
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    restore(yard, at)
    digest = trash_yard.digest(yard, preview)
    assert digest == trash_yard.digest(yard, OTHER)
    assert trash_yard.digest(yard, DISK) != digest


def test_a_disk_that_several_vms_may_have_is_left_alone(
    yard: Yard, engine: EngineDatabase, at: str
) -> None:
    """It is in no backup of one of them."""
    yard.verb("create", CLONE, GIB)
    policy_yard.has_disk(engine, CLONE, shareable=True)
    engine.execute("INSERT INTO vm_device VALUES (%s, %s, true, NULL)", CLONE, VM)
    told = restore(yard, at)
    assert f"  disk {CLONE} may be other VMs' too, and was left as it is" in told
    yard.verb("delete", CLONE)
    assert has(yard) == BEFORE


def is_refused(yard: Yard, at: str, match: str, error: type[errors.Error]) -> None:
    """Check that it is refused with a sentence, and that all is as before."""
    before = yard.world()
    with pytest.raises(error, match=match):
        restore(yard, at)
    assert yard.world() == before


def test_a_vm_that_is_not_down_is_refused(yard: Yard, engine: EngineDatabase, at: str) -> None:
    """By Engine's own word; one that is suspended goes on with what it knows of its disks, so its
    disk gets nothing out of the trash either."""
    for status, said in ((UP, "up"), (SUSPENDED, "suspended"), (99, "of the status 99")):
        policy_yard.set_status(engine, VM, status)
        is_refused(
            yard, at, rf"VM {VM} \(web01\) is {said}.* in oVirt: shut it down", errors.Conflict
        )
    policy_yard.set_status(engine, VM, SUSPENDED)
    yard.verb("create", CLONE, GIB)
    trash_yard.thrown(yard, CLONE)
    with pytest.raises(errors.Conflict, match="is suspended in oVirt"):
        trash_yard.restored(yard, CLONE, DISK, over_data=True)


def test_a_vm_of_which_engine_says_nothing_is_refused(
    yard: Yard, engine: EngineDatabase, at: str
) -> None:
    """It may be up."""
    engine.execute("DROP TABLE vm_dynamic")
    is_refused(yard, at, "may be up: Engine's own database.* cannot be read", errors.Conflict)


def test_a_disk_that_a_host_has_is_refused(yard: Yard, at: str) -> None:
    """Whatever Engine says: no data change below a VM. Both disks stay as they are."""
    yard.shut(OTHER)
    is_refused(yard, at, f"disk {OTHER} is attached to client 1", errors.Conflict)


def test_a_backup_without_one_of_the_disks_is_refused(
    yard: Yard, engine: EngineDatabase, at: str
) -> None:
    """All disks or none."""
    yard.verb("create", CLONE, GIB)
    policy_yard.has_disk(engine, CLONE)
    engine.execute("INSERT INTO vm_device VALUES (%s, %s, true, NULL)", CLONE, VM)
    is_refused(yard, at, f"has nothing of {CLONE}, and a VM gets all", errors.Conflict)


def test_a_moment_of_which_there_is_none_is_refused(yard: Yard, at: str) -> None:
    """The sentence names the latest."""
    is_refused(yard, "2020-01-01T00:00:00Z", f"the latest are: {at}", errors.NotFound)
    with pytest.raises(errors.InputError, match="is no moment"):
        vm_restore.moment("yesterday")


def test_another_cluster_is_refused(yard: Yard, at: str) -> None:
    """With the options of a domain that has another cluster."""
    with (
        yard.administrator("restore", pinned="else.where") as work,
        pytest.raises(errors.WrongCluster),
    ):
        vm_restore.restore(work, VM, at)
    assert has(yard) == NOW


def test_a_rehearsal_sends_nothing(yard: Yard, at: str) -> None:
    """It tells each request."""
    before, said = yard.world(), []
    with yard.administrator("restore") as work:
        rehearsals.played(work, said.append, lambda there: vm_restore.restore(there, VM, at))
    assert yard.world() == before
    sent = [line.split()[3].partition("/")[0] for line in said if "would send" in line]
    assert sent.count("VolumeSnapshot") == sent.count("VolumeRevert") == 2


def test_killed_anywhere_it_is_done_when_repeated(yard: Yard, at: str) -> None:
    """T71: all disks have the data of before then, and what they had is in the trash."""
    deaths = 0
    for step in range(0, STEPS_MAX, 3):
        try:
            restore(yard, at, dies_at=step)
        except Death:
            deaths += 1
        else:
            break
        restore(yard, at)
        assert has(yard) == BEFORE
        for disk in DISKS:
            trash_yard.write(yard, disk, NOW)
        for copy in trash_yard.entries(yard):
            yard.sql("DELETE FROM storpool_ovirt.trash WHERE entry = %s", copy.entry)
    assert deaths > len(DISKS) * 5
    assert has(yard) == BEFORE


def happening_at(yard: Yard, at: str, step: int, act: Callable[[], object]) -> list[str]:
    """Restore while something else happens; return what was told, nothing where it was refused."""
    with (
        contextlib.suppress(errors.Conflict),
        yard.administrator("restore") as work,
        trash_yard.happening(step, act),
    ):
        return vm_restore.restore(work, VM, at)
    return []


def test_a_vm_that_starts_meanwhile(yard: Yard, engine: EngineDatabase, at: str) -> None:
    """By Engine's word, as it is asked once more before anything is written over: both disks have
    the same, whenever that is."""
    seen = []
    for step in (8, 24, 40, STEPS_MAX):
        told = happening_at(yard, at, step, lambda: policy_yard.set_status(engine, VM, UP))
        policy_yard.set_status(engine, VM, 0)
        seen.append((bool(told), has(yard)))
    assert seen[0] == (False, NOW)
    assert seen[-1] == (True, BEFORE)


def test_a_backup_that_is_taken_meanwhile_is_told(yard: Yard, at: str) -> None:
    """It may have one disk of before, and another one of after."""
    yard.simulator.advance(3600)
    told = happening_at(yard, at, 30, lambda: group(yard))
    assert [line for line in told if "was taken meanwhile" in line]
    assert has(yard) == BEFORE
