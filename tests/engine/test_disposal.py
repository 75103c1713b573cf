"""disposal.py: what a delete takes is kept for a while, and goes by itself."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.trash_yard import entries
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.engine import trash

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600
DELAY = 48 * HOUR
DATA = b"what nobody may lose"


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine whose domain keeps what is deleted."""
    yard.given(delete_delay_seconds=DELAY)
    yield yard
    assert yard.forced() == []


def raw(yard: Yard, entry: trash.Entry) -> dict[str, Any]:
    """Return an object in the trash, as StorPool tells of it."""
    [there] = yard.ask(f"Snapshot/~{entry.global_id}")
    assert there["name"] == trash_names.name(entry.entry)
    found: dict[str, Any] = there
    return found


def written(yard: Yard, uuid: str, data: bytes) -> None:
    """Write to a disk as a guest does."""
    with yard.device(1, yard_attached(yard, uuid)).open("r+b") as device:
        device.write(data)
    yard.detach(1, yard.verb("connection", uuid)["data"])


def yard_attached(yard: Yard, uuid: str) -> str:
    """Attach a disk to host 1; return the global id of its device."""
    data = yard.verb("connection", uuid)["data"]
    yard.attach(1, data)
    return str(data["global_id"])


def restored(yard: Yard, entry: trash.Entry) -> bytes:
    """Return the first bytes of what is in the trash, by a volume that is made of it by hand."""
    made = yard.ask("VolumeCreate", {"name": "restored", "parent": f"~{entry.global_id}"})
    yard.hold("restored", 2)
    with yard.device(2, made["globalId"]).open("rb") as device:
        found = device.read(len(DATA))
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": "restored", "detach": [2]}]})
    yard.ask("VolumeDelete/restored", {})
    return found


def is_nothing_left(yard: Yard, uuid: str = DISK) -> bool:
    """Return whether neither the mapping nor the cluster has anything of a disk in use."""
    seen = yard.see()
    return not seen.rows and not seen.things and not seen.pending


def test_a_deleted_disk_is_in_the_trash_with_the_same_bytes(kept: Yard) -> None:
    """T83: its volume is gone, its row too, and a snapshot with a date has its content."""
    kept.verb("create", DISK, GIB)
    written(kept, DISK, DATA)
    kept.verb("delete", DISK)
    assert is_nothing_left(kept)
    [entry] = entries(kept)
    there = raw(kept, entry)
    assert (entry.disk, entry.node, entry.kind, entry.active) == (DISK, DISK, "volume", True)
    assert entry.size_bytes == there["size"] == GIB
    now = time.time()
    assert abs(there["targetDeleteDate"] - now - DELAY) < 60
    assert abs(entry.ends_at - now - DELAY) < 60
    assert names.is_ours(there["tags"], DISK, kept.location)
    assert trash_names.mark_of(there["tags"]) == (entry.ends_at, True, True)
    assert restored(kept, entry) == DATA
    kept.verb("delete", DISK)
    assert len(entries(kept)) == 1


def test_storpool_deletes_it_when_its_time_has_come(kept: Yard) -> None:
    """T83: nobody of ours has to run then."""
    kept.verb("create", DISK, GIB)
    kept.verb("delete", DISK)
    kept.simulator.advance(DELAY - 60)
    assert len(kept.see().trash) == 1
    kept.simulator.advance(120)
    assert kept.see().trash == {}


def test_a_whole_tree_goes_to_the_trash_together(kept: Yard) -> None:
    """T83: volumes as copies, snapshots as they are, all of one deletion."""
    kept.verb("create", DISK, GIB)
    written(kept, DISK, DATA)
    snapshot = kept.verb("snapshot", DISK)
    written(kept, DISK, DATA[::-1])
    preview = kept.verb("preview", snapshot)
    before = {uuid: kept.global_id(uuid) for uuid in (DISK, snapshot, preview)}
    kept.verb("delete", DISK)
    assert is_nothing_left(kept)
    found = {entry.node: entry for entry in entries(kept)}
    assert set(found) == set(before)
    assert len({entry.deletion for entry in found.values()}) == 1
    assert found[snapshot].global_id == before[snapshot]
    assert {uuid: entry.kind for uuid, entry in found.items()} == {
        DISK: "volume",
        snapshot: "snapshot",
        preview: "volume",
    }
    assert [uuid for uuid, entry in found.items() if entry.active] == [preview]
    marks = {uuid: trash_names.mark_of(raw(kept, entry)["tags"]) for uuid, entry in found.items()}
    assert {uuid: mark and mark[1:] for uuid, mark in marks.items()} == {
        DISK: (True, False),
        snapshot: (False, False),
        preview: (True, True),
    }
    assert restored(kept, found[DISK]) == DATA[::-1]
    assert restored(kept, found[snapshot]) == restored(kept, found[preview]) == DATA


def test_tags_of_services_stay_where_they_fit_and_no_vm_is_named(kept: Yard) -> None:
    """T83, T5: the QoS class stays; the VM and VolumeCare's policy are for what is in use; the row
    has all of them."""
    kept.verb("create", DISK, GIB)
    vm = "a0000000-0000-4000-8000-00000000000a"
    tags = {"cvm": vm, "qc": "gold", "vc-policy": "daily", "note": "x" * 20}
    kept.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": tags})
    kept.verb("delete", DISK)
    [entry] = entries(kept)
    there = raw(kept, entry)["tags"]
    assert there["qc"] == "gold"
    assert there["note"] == "x" * 20
    assert not {"cvm", "vc-policy"} & set(there)
    assert tags.items() <= entry.tags.items()


def test_a_cluster_that_gives_no_date_deletes_nothing(kept: Yard) -> None:
    """T83, T9: all is as before, and one sentence says how disks are deleted there."""
    kept.verb("create", DISK, GIB)
    kept.verb("snapshot", DISK)
    kept.simulator.switches.set({"deferred_deletion": "off"})
    before = kept.see()
    with pytest.raises(errors.Conflict, match=r"sp_delete_delay=0 .*SP_OVIRT_DELETE_DELAY=0"):
        kept.verb("delete", DISK)
    assert kept.see() == before
    kept.simulator.switches.set({"deferred_deletion": "on"})
    kept.verb("delete", DISK)
    assert is_nothing_left(kept)


def test_a_disk_that_is_open_stays_with_all_of_it(kept: Yard) -> None:
    """T9: nothing is copied, nothing has a date."""
    kept.verb("create", DISK, GIB)
    kept.verb("snapshot", DISK)
    kept.shut(DISK, declared_open=True)
    before = kept.see()
    with pytest.raises(errors.InUse):
        kept.verb("delete", DISK)
    assert kept.see() == before
    dates = [each["targetDeleteDate"] for each in kept.ask("SnapshotsList")]
    assert not any(dates)


def test_a_disk_that_is_opened_meanwhile_stays_and_its_copy_goes(kept: Yard) -> None:
    """T9: a host opens the volume between its copy and its delete."""
    kept.verb("create", DISK, GIB)
    before = kept.see()
    global_id = kept.global_id(DISK)
    opened = Fault("death", when=lambda: _opened(kept, global_id))
    with pytest.raises(errors.InUse):
        kept.verb("delete", DISK, fault=opened)
    after = kept.see()
    assert after == dataclasses.replace(before, attached=after.attached)


def _opened(kept: Yard, global_id: str) -> bool:
    """Have a host open the volume as soon as there is a copy of it; never tell that it is so."""
    if kept.see().trash and not kept.declared[2]:
        kept.hold(f"~{global_id}", 2)
        kept.declared[2] = {global_id}
        kept.declare(2)
    return False


def test_clones_of_what_is_in_the_trash_go_on(kept: Yard) -> None:
    """T83: also when its time has come: StorPool keeps the data for them."""
    kept.verb("create", DISK, GIB)
    written(kept, DISK, DATA)
    snapshot = kept.verb("snapshot", DISK)
    kept.verb("clone", snapshot, CLONE)
    kept.verb("delete", DISK)
    kept.simulator.advance(DELAY + 60)
    with kept.device(1, yard_attached(kept, CLONE)).open("rb") as device:
        assert device.read(len(DATA)) == DATA
    kept.declared[1] = set()
    kept.verb("delete", CLONE)
    assert [entry.disk for entry in entries(kept) if entry.node == CLONE] == [CLONE]


def test_what_engine_never_had_is_not_kept(kept: Yard) -> None:
    """T83: a make whose answer nobody read is gone at once."""
    kept.undelivered("create", DISK, GIB)
    kept.verb("delete", DISK)
    assert is_nothing_left(kept)
    assert entries(kept) == []
    assert kept.see().trash == {}


def test_an_undone_preview_is_not_kept(kept: Yard) -> None:
    """T83: Engine undoes it because a person asked for the state before."""
    kept.verb("create", DISK, GIB)
    preview = kept.verb("preview", kept.verb("snapshot", DISK))
    kept.verb("delete", preview)
    assert entries(kept) == []
    assert kept.see().trash == {}


def test_the_probe_of_a_domain_is_not_kept(kept: Yard) -> None:
    """T83, D8: storage_stats leaves nothing, not in the trash either."""
    kept.verb("stats")
    assert kept.see().trash == {}


def test_a_single_snapshot_is_kept_where_the_domain_says_so(kept: Yard) -> None:
    """T83: by its own option; its disk goes on."""
    kept.verb("create", DISK, GIB)
    first, second = kept.verb("snapshot", DISK), kept.verb("snapshot", DISK)
    kept.verb("remove", first)
    assert entries(kept) == []
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=HOUR)
    before = kept.global_id(second)
    kept.verb("remove", second)
    [entry] = entries(kept)
    assert (entry.node, entry.kind, entry.global_id) == (second, "snapshot", before)
    assert abs(raw(kept, entry)["targetDeleteDate"] - time.time() - HOUR) < 60
    assert set(kept.see().rows) == {DISK}
    kept.verb("remove", second)


def test_a_snapshot_that_gets_no_date_stays_as_it_was(kept: Yard) -> None:
    """T83: name, tags and row."""
    kept.verb("create", DISK, GIB)
    snapshot = kept.verb("snapshot", DISK)
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=HOUR)
    kept.simulator.switches.set({"deferred_deletion": "off"})
    before = kept.see()
    with pytest.raises(errors.Conflict, match="sp_snapshot_delete_delay=0"):
        kept.verb("remove", snapshot)
    after = kept.see()
    assert {name: each.global_id for name, each in after.things.items()} == {
        name: each.global_id for name, each in before.things.items()
    }
    assert after.rows == before.rows


def test_the_first_volume_of_a_disk_that_goes_on_may_be_kept(kept: Yard) -> None:
    """T83: after a commit the disk's id stays known, and its first volume is in the trash."""
    kept.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=HOUR)
    kept.verb("create", DISK, GIB)
    written(kept, DISK, DATA)
    preview = kept.verb("preview", kept.verb("snapshot", DISK))
    kept.verb("connection", preview)
    kept.verb("remove", DISK)
    assert kept.see().rows[DISK].state == "removed"
    [entry] = entries(kept)
    assert (entry.node, entry.active) == (DISK, False)
    assert restored(kept, entry) == DATA
    kept.verb("delete", DISK)
    assert is_nothing_left(kept)
    assert sorted(each.node == DISK for each in entries(kept)) == [False, False, True]


def test_an_id_may_be_used_again_and_both_are_kept(kept: Yard) -> None:
    """T83: Engine's REST takes the id of a disk that was deleted; what was deleted each time stays
    apart."""
    for data in (DATA, DATA[::-1]):
        kept.verb("create", DISK, GIB)
        written(kept, DISK, data)
        kept.verb("delete", DISK)
    first, second = entries(kept)
    assert first.deletion != second.deletion
    assert (restored(kept, first), restored(kept, second)) == (DATA, DATA[::-1])


def test_without_the_trash_nothing_more_is_asked(kept: Yard) -> None:
    """T83: a domain that wants none pays nothing for it."""
    kept.given()
    kept.verb("create", DISK, GIB)
    kept.queries()
    kept.verb("delete", DISK)
    assert [each for each in kept.queries() if "Snapshot" in each or "Attachments" in each] == []
    assert kept.see().trash == {}
