"""What others made with a copy of our tags: told, and else as if it were not there; never adopted,
never deleted."""

from __future__ import annotations

from typing import Any

import pytest
from one_finding import check, only

from rigs.disk_model import GIB
from rigs.rebuilding import lose, rows
from rigs.tag_updates import with_both
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import reconcile
from storpool_ovirt.engine import host_notes, records

pytestmark = pytest.mark.usefixtures("a_disk")


def snapshot_by_hand(yard: Yard, of: str, name: str) -> str:
    """Make a snapshot that carries the tags of its volume, as VolumeCare or a backup does; return
    its address."""
    tags = yard.ask(f"Volume/ovirt--{of}")[0]["tags"]
    made = yard.ask(f"VolumeSnapshot/ovirt--{of}", {"name": name, "tags": tags})
    return f"~{made['snapshotGlobalId']}"


def others(yard: Yard) -> Any:
    """Return everything that is not ours to touch, as StorPool lists it."""
    listed = (*yard.ask("VolumesList"), *yard.ask("SnapshotsList"))
    return sorted(
        (each["globalId"], each["name"], each["size"], tuple(each["tags"].items()))
        for each in listed
        if not each["name"].startswith("ovirt--") and not each.get("deleted")
    )


def test_it_is_told_and_nothing_more(yard: Yard) -> None:
    """T72, T76: one line for a disk's copies, at most for information, with all of them named or
    counted."""
    addresses = [snapshot_by_hand(yard, DISK, f"daily-{number}") for number in range(7)]
    found = only(yard)
    check(
        found,
        "kept by others",
        "info",
        None,
        cause=f"carry the tags of {DISK}",
        mend="nothing here touches it",
    )
    assert all(each in found.what for each in addresses[:5])
    assert found.what.endswith("and 2 more")
    assert yard.report().severity == "info"


def test_a_copy_of_a_volume_is_told_too(yard: Yard) -> None:
    """T76: a clone by hand with copied tags and its own name."""
    address = yard.by_hand(DISK, name="a-copy")
    yard.hold(address)
    check(
        only(yard),
        "kept by others",
        "info",
        None,
        cause=f"carries the tags of {DISK}",
        mend="nothing here touches",
    )


def test_it_blocks_no_reconcile(yard: Yard) -> None:
    """T72, T76: leaks go, deletes are taken back, and what others keep stays, also of what is
    deleted."""
    snapshot = yard.verb("snapshot", DISK)
    leak = yard.die_made("clone", DISK, CLONE)
    yard.verb("create", OTHER, GIB)
    yard.verb("snapshot", OTHER)
    for each in (DISK, CLONE, OTHER):
        snapshot_by_hand(yard, each, f"daily-{each}")
    before = others(yard)
    yard.die_when(lambda: f"ovirt--{OTHER}" not in yard.see().things, "delete", OTHER)
    assert len(yard.reconcile()) == 2
    assert {each.kind for each in yard.report().findings} == {"kept by others"}
    assert f"ovirt--{leak}" not in yard.see().things
    assert {f"ovirt--{DISK}", f"ovirt--{snapshot}"} == {
        name for name in yard.see().things if name.startswith("ovirt--")
    }
    assert others(yard) == before


def test_it_is_not_what_a_late_request_made(yard: Yard) -> None:
    """T76: a clone was taken back, and somebody made a copy that carries its id: no entry proves
    anything of that."""
    yard.die_when(lambda: CLONE in yard.see().rows, "clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    yard.by_hand(CLONE, name="a-copy")
    before = others(yard)
    yard.reconcile()
    assert others(yard) == before
    assert [each.kind for each in yard.report().findings] == ["kept by others"]


def test_it_blocks_no_rebuild_and_is_not_taken_in(yard: Yard) -> None:
    """T76, T85: the object with the name is the disk, whatever else carries its tags."""
    snapshot = yard.verb("snapshot", DISK)
    before = rows(yard)
    snapshot_by_hand(yard, DISK, "daily-1")
    yard.by_hand(DISK, name="a-copy")
    kept = others(yard)
    lost = lose(yard)
    yard.rebuild(lost)
    assert rows(yard).keys() == {DISK, snapshot} == before.keys()
    assert rows(yard)[DISK]["global_id"] == before[DISK]["global_id"]
    assert others(yard) == kept
    assert yard.plan_of_rebuild().left_out == ()


def test_it_is_no_disk_where_the_disk_is_gone(yard: Yard) -> None:
    """T76, T85: a snapshot of VolumeCare's is not made a disk's first volume; what to do is
    told."""
    yard.verb("create", OTHER, GIB)
    address = snapshot_by_hand(yard, OTHER, "daily-1")
    yard.verb("delete", OTHER)
    body = {"name": f"ovirt--{CLONE}", "tags": yard.tags(CLONE)}
    named = f"~{yard.ask(f'VolumeSnapshot/ovirt--{DISK}', body)['snapshotGlobalId']}"
    lost = lose(yard)
    yard.rebuild(lost)
    assert set(rows(yard)) == {DISK}
    why = {why.partition(")")[0].rpartition("(")[2]: why for why in yard.plan_of_rebuild().left_out}
    assert set(why) == {address, named}
    assert f"rename it to ovirt--{OTHER}" in why[address]


@with_both
def test_a_new_location_is_not_written_to_it(yard: Yard) -> None:
    """T76, T79: rebuild --location changes the tags of what is ours, and of nothing else."""
    lost = lose(yard)
    with yard.engine() as engine:
        yard.location = engine.mapping.location
    yard.verb("create", OTHER, GIB)
    snapshot_by_hand(yard, OTHER, "daily-1")
    kept = others(yard)
    yard.rebuild(lost)
    assert others(yard) == kept
    assert yard.see().things[f"ovirt--{OTHER}"].tags["ovirt-loc"] == lost


@pytest.mark.parametrize("dry_run", [False, True])
def test_it_is_not_removed(yard: Yard, dry_run: bool) -> None:
    """T76: not even by name; who made it has to delete it."""
    address = snapshot_by_hand(yard, DISK, "daily-1")
    before = yard.world()
    with (
        yard.engine("reconcile") as engine,
        pytest.raises(errors.Foreign, match=r"daily-1.*others keep it"),
    ):
        reconcile.remove(engine, address, 0.0, dry_run)
    assert yard.world() == before


def test_what_has_our_name_and_no_row_blocks_as_ever(yard: Yard) -> None:
    """T72, T85: it is the sign of a database that is older than the cluster, beside what others
    keep too."""
    yard.verb("create", OTHER, GIB)
    snapshot_by_hand(yard, OTHER, "daily-1")
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", OTHER)
    leak = yard.die_made("clone", DISK, CLONE)
    assert yard.reconcile() == []
    assert f"ovirt--{leak}" in yard.see().things
    assert {each.kind for each in yard.report().findings} == {"unmapped", "kept by others", "leak"}


# A row is forgotten only when its object lives nowhere


def lost_row(yard: Yard) -> None:
    """Have the mapping tell a global id that does not exist, as it does after a restore by hand."""
    yard.sql("UPDATE storpool_ovirt.node SET global_id = 'sim.a.zzz' WHERE uuid = %s", DISK)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    "change",
    [{}, {"tags": {"virt": "", "ovirt-uuid": "", "ovirt-loc": ""}}, {"rename": "restored"}],
    ids=["all", "the name", "the tags"],
)
def test_a_row_whose_object_lives_is_not_forgotten(
    yard: Yard, change: dict[str, Any], dry_run: bool
) -> None:
    """T61, T76: it is looked for by name and by tags too, and the command that puts it right is
    named."""
    address = yard.address(DISK)
    if change:
        yard.ask(f"VolumeUpdate/{address}", change)
    lost_row(yard)
    before = yard.world()
    with yard.engine("reconcile") as engine, pytest.raises(errors.Conflict) as refused:
        reconcile.remove(engine, DISK, 0.0, dry_run)
    assert address in str(refused.value)
    assert f"storpool-ovirt mend {DISK}" in str(refused.value)
    assert yard.world() == before


def test_it_is_not_listed_as_attached_to_the_disk(yard: Yard) -> None:
    """T76: a backup that reads a copy somewhere makes no second host of the disk."""
    from storpool_ovirt.admin import entries, listing

    yard.shut(DISK)
    yard.hold(yard.by_hand(DISK, name="a-copy"))
    with yard.engine("attachments") as engine:
        rows = {each.uuid: each for each in records.all(engine.mapping)}
        known = entries.MappingSide(
            rows, host_notes.of_all(engine.mapping), "db", engine.mapping.location
        )
        found = listing.look(engine.client, known, engine.root)
    assert [(each.thing.uuid, each.client_id) for each in found.entries] == [(DISK, 1)]
