"""The trash of several clusters: what was deleted in one is listed, restored and purged with the
options of all of them, and nothing of it is lost sight of while one of them is away, or has it now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import several_yard
from rigs.several_yard import GIB, ONE, TWO, SeveralYard
from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.admin import trash, trash_purge, trash_restore, trash_text
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import trash as entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

DISK, OTHER, BACK, LATER = (f"{letter}0000000-0000-4000-8000-0000000000c1" for letter in "deba")
HOST_OF = {ONE: 1, TWO: 4}
BYTES = {DISK: b"1" * 4096, OTHER: b"2" * 4096}
AWAY = (errors.ApiUnavailable, errors.DeadlineExceeded)


EACH_RELEASE = pytest.mark.parametrize(
    "yard", ["error-take", "omit-take", "omit-refuse"], indirect=True
)


@pytest.fixture
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[SeveralYard]:
    """An Engine that had a disk in each of two clusters, both with data and a snapshot."""
    unreachable, together = getattr(request, "param", "omit-take").split("-")
    switches = {"mc_unreachable": unreachable, "remote_multicluster": together}
    with several_yard.opened(module_database, tmp_path, **switches) as made:
        made.options = {"delete_delay_seconds": 48 * 3600}
        for disk, cluster_id in ((DISK, ONE), (OTHER, TWO)):
            made.verb("create", disk, GIB, pinned=cluster_id)
            made.verb("snapshot", disk, pinned=cluster_id)
            device(made, disk, cluster_id).write_bytes(BYTES[disk])
            detach(made, disk, cluster_id)
            made.verb("delete", disk)
        yield made


def device(yard: SeveralYard, disk: str, cluster_id: str) -> Path:
    """Have a host of a cluster attach a disk; return its device there."""
    yard.attach(disk, cluster_id, HOST_OF[cluster_id])
    core = yard.pair.one if cluster_id == ONE else yard.pair.two
    root = core.folder / f"host{HOST_OF[cluster_id]}"
    return root / "dev" / "storpool-byid" / yard.target(disk).global_id


def detach(yard: SeveralYard, disk: str, cluster_id: str) -> None:
    """Have that host let it go."""
    address = names.address(yard.target(disk).global_id)
    body = {"reassign": [{"volume": address, "detach": [HOST_OF[cluster_id]]}]}
    core = yard.pair.one if cluster_id == ONE else yard.pair.two
    core.post("VolumesReassignWait", body)


def look(yard: SeveralYard) -> trash.Listing:
    """List the trash."""
    with yard.work("trash") as work:
        return trash.look(work)


def states(yard: SeveralYard) -> dict[str, bool | None]:
    """Return of each disk in the trash whether all of it is there, None where nobody looked."""
    return {
        each.disk: all(item.there is not None for item in each.items)
        if all(item.is_here for item in each.items)
        else None
        for each in look(yard).deletions
    }


def restore(yard: SeveralYard, uuid: str, into: str) -> list[str]:
    """Restore."""
    with yard.work("trash-restore") as work:
        return trash_restore.restore(work, uuid, into)


def purge(yard: SeveralYard, which: trash_purge.Which) -> list[str]:
    """Purge; return what could not be, and why."""
    with yard.work("trash-purge") as work:
        plan = trash_purge.plan(work, trash.look(work), which)
        return [line for each in plan for line in trash_purge.carry_out(work, each)]


def rows(yard: SeveralYard) -> list[entries.Entry]:
    """Return the rows of the trash."""
    with yard.work() as work:
        return entries.entries(work.mapping)


def trash_there(yard: SeveralYard) -> set[str]:
    """Return the global ids of what both clusters have in the trash."""
    client = yard.pair.client()
    return {
        each.global_id
        for each in client.snapshots()
        if trash_names.entry_of(each.name) and not each.dying
    }


@EACH_RELEASE
def test_it_is_listed_with_its_space(yard: SeveralYard) -> None:
    """T83: of both clusters, each object once, with what it holds; the audit has nothing to say."""
    assert states(yard) == {DISK: True, OTHER: True}
    found = look(yard)
    assert found.space_at is not None
    assert found.freed_bytes is not None
    assert found.freed_bytes > 0
    assert all(item.stored_bytes is not None for each in found.deletions for item in each.items)
    assert yard.found() == []


@pytest.mark.parametrize("into", [ONE, TWO, None], ids=["disk here", "disk there", "no disk yet"])
@pytest.mark.parametrize("disk", [DISK, OTHER])
def test_a_disk_of_either_cluster_comes_back(
    yard: SeveralYard, disk: str, into: str | None
) -> None:
    """T83: whatever cluster the fresh disk was made in; it reads the bytes that were deleted."""
    if into is not None:
        yard.verb("create", BACK, GIB, pinned=into)
    (told, *_) = restore(yard, disk, BACK)
    assert told.startswith(f"restored disk {disk}, deleted at ")
    assert "has it already" in restore(yard, disk, BACK)[0]
    if into is None:
        yard.verb("create", BACK, GIB)
    assert device(yard, BACK, ONE).read_bytes()[:4096] == BYTES[disk]
    detach(yard, BACK, ONE)
    assert yard.found() == []
    assert len(yard.pair.client().volumes()) == 1
    yard.verb("delete", BACK)
    assert len(rows(yard)) == 5


@EACH_RELEASE
def test_storpool_refuses_to_make_it_of_another_clusters(yard: SeveralYard) -> None:
    """T83: where StorPool makes no volume of what another cluster has, a restore fails with its
    words, and the fresh disk is empty, as before."""
    yard.pair.switch(mc_create_from="refuse")
    yard.verb("create", BACK, GIB)
    try:
        restore(yard, OTHER, BACK)
    except errors.Rejected:
        assert device(yard, BACK, ONE).read_bytes()[:4096] == bytes(4096)
    else:  # the way to each cluster alone asks the one that has it
        assert device(yard, BACK, ONE).read_bytes()[:4096] == BYTES[OTHER]
    detach(yard, BACK, ONE)
    assert yard.found() == []
    assert states(yard) == {DISK: True, OTHER: True}


def test_no_disk_is_written_over_by_what_another_cluster_has(yard: SeveralYard) -> None:
    """T83: no document tells what StorPool does with that; in one cluster it is done."""
    yard.verb("create", BACK, GIB, pinned=ONE)
    device(yard, BACK, ONE).write_bytes(b"3" * 4096)
    detach(yard, BACK, ONE)
    before = rows(yard)
    with (
        yard.work("trash-restore") as work,
        pytest.raises(errors.WrongCluster, match=f"lives in StorPool cluster {TWO}, and disk"),
    ):
        trash_restore.restore(work, OTHER, BACK, over_data=True)
    assert rows(yard) == before
    with yard.work("trash-restore") as work:
        trash_restore.restore(work, DISK, BACK, over_data=True)
    assert device(yard, BACK, ONE).read_bytes()[:4096] == BYTES[DISK]


@EACH_RELEASE
def test_all_is_purged(yard: SeveralYard) -> None:
    """T83: by an id, and all of it, in both clusters."""
    assert purge(yard, trash_purge.Which(OTHER)) == []
    assert {each.disk for each in rows(yard)} == {DISK}
    assert purge(yard, trash_purge.Which(all=True)) == []
    assert (rows(yard), trash_there(yard)) == ([], set())
    assert yard.found() == []


@EACH_RELEASE
def test_while_a_cluster_is_away(yard: SeveralYard) -> None:
    """T57: nothing is told as gone, nothing is forgotten, and nothing half done stays."""
    before, there = rows(yard), trash_there(yard)
    yard.verb("create", BACK, GIB)
    yard.pair.cut()
    for act in (
        lambda: look(yard),
        lambda: restore(yard, OTHER, BACK),
        lambda: restore(yard, OTHER, LATER),
        lambda: purge(yard, trash_purge.Which(OTHER)),
        lambda: purge(yard, trash_purge.Which(all=True)),
    ):
        with pytest.raises(AWAY):
            act()
    yard.pair.heal()
    assert (rows(yard), trash_there(yard)) == (before, there)
    assert [*yard.rows()] == [BACK]
    assert yard.found() == []
    assert restore(yard, OTHER, BACK)[0].startswith("restored")


@EACH_RELEASE
def test_a_cluster_that_goes_away_in_the_middle_of_a_purge(
    yard: SeveralYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T57, T83: what was not purged keeps its row, and a second run ends it."""
    real: Any = api.Client.snapshot_delete

    def cut(self: api.Client, address: str) -> None:
        yard.pair.cut()
        monkeypatch.setattr(api.Client, "snapshot_delete", real)
        real(self, address)

    monkeypatch.setattr(api.Client, "snapshot_delete", cut)
    with pytest.raises(AWAY):
        purge(yard, trash_purge.Which(OTHER))
    yard.pair.heal()
    assert {each.disk for each in rows(yard)} == {DISK, OTHER}
    assert {each.global_id for each in rows(yard)} >= trash_there(yard)
    assert purge(yard, trash_purge.Which(OTHER)) == []
    assert {each.disk for each in rows(yard)} == {DISK}
    assert {each.global_id for each in rows(yard)} == trash_there(yard)


def moved_away(yard: SeveralYard, disk: str, to: str) -> None:
    """Have somebody move what the trash has of a disk to another cluster: what the VM wrote, and
    with that what it stands on."""
    core, name = (yard.pair.one, "two") if to == TWO else (yard.pair.two, "one")
    (last,) = [each.global_id for each in rows(yard) if each.disk == disk and each.active]
    core.post(f"SnapshotMoveToRemote/~{last}", {"cluster": name})


def test_what_was_moved_to_another_cluster_is_still_the_trash(yard: SeveralYard) -> None:
    """T77, T83: with sp_multicluster it is listed, restored and purged where it is now."""
    moved_away(yard, DISK, TWO)
    assert states(yard) == {DISK: True, OTHER: True}
    assert yard.found() == []
    yard.verb("create", BACK, GIB)
    restore(yard, DISK, BACK)
    assert device(yard, BACK, ONE).read_bytes()[:4096] == BYTES[DISK]
    assert purge(yard, trash_purge.Which(all=True)) == []
    assert (rows(yard), trash_there(yard)) == ([], set())


@pytest.mark.parametrize("pinned", [ONE, None], ids=["pinned", "unpinned"])
def test_without_the_option_what_was_moved_away_is_not_gone(
    yard: SeveralYard, pinned: str | None
) -> None:
    """T77, T83: a domain of one cluster is told where it is, by the list as by the audit; it
    neither comes back nor is forgotten, and nothing is begun of it."""
    moved_away(yard, DISK, TWO)
    yard.multicluster, yard.pinned = False, pinned
    yard.verb("create", BACK, GIB)
    before = rows(yard)
    (found,) = [each for each in look(yard).deletions if each.disk == DISK]
    assert {(item.is_here, item.there) for item in found.items} == {(False, None)}
    lines = "\n".join(trash_text.text(look(yard)))
    assert f"in cluster {TWO}" in lines
    assert "GONE" not in lines
    told = trash_text.document(look(yard))["deletions"]
    assert {item["there"] for each in told if each["disk"] == DISK for item in each["entries"]} == {
        None
    }
    for act in (lambda: restore(yard, DISK, BACK), lambda: restore(yard, DISK, LATER)):
        with pytest.raises(errors.WrongCluster, match=TWO):
            act()
    failed = purge(yard, trash_purge.Which(DISK))
    assert len(failed) == 2
    assert all(TWO in each for each in failed)
    assert rows(yard) == before
    assert [*yard.rows()] == [BACK]
    yard.pair.cut()
    lines = "\n".join(trash_text.text(look(yard)))
    assert "GONE" not in lines
    assert "other clusters could not be looked at" in lines


def test_of_another_domains_cluster_nobody_says_anything(yard: SeveralYard) -> None:
    """T77: with the options of a domain of one cluster the other's trash is not told as gone, not
    restored and not purged."""
    yard.multicluster = False
    before, there = rows(yard), trash_there(yard)
    assert states(yard) == {DISK: True, OTHER: None}
    with pytest.raises(errors.WrongCluster, match=TWO):
        restore(yard, OTHER, LATER)
    assert len(purge(yard, trash_purge.Which(OTHER))) == 2
    assert (rows(yard), trash_there(yard)) == (before, there)


def test_a_move_in_the_middle_of_a_purge(
    yard: SeveralYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T77: StorPool says "does not exist" of what has just left: its row stays, with its end."""
    yard.multicluster = False
    before = rows(yard)
    real: Any = api.Client.snapshot_delete

    def moved(self: api.Client, address: str) -> None:
        monkeypatch.setattr(api.Client, "snapshot_delete", real)
        moved_away(yard, DISK, TWO)
        real(self, address)

    monkeypatch.setattr(api.Client, "snapshot_delete", moved)
    failed = purge(yard, trash_purge.Which(DISK))
    assert len(failed) == 2
    assert all(TWO in each for each in failed)
    assert rows(yard) == before
    yard.multicluster = True
    assert states(yard) == {DISK: True, OTHER: True}


def test_the_table_is_made_again_of_both(yard: SeveralYard) -> None:
    """T83: a rebuild takes in what both clusters have in the trash, and it comes back."""
    with yard.work() as work:
        location = work.mapping.location
        work.mapping.session.rows("DELETE FROM storpool_ovirt.trash RETURNING 1")
    assert len(look(yard).rowless) == 4
    yard.rebuild(location)
    assert states(yard) == {DISK: True, OTHER: True}
    restore(yard, OTHER, LATER)
    yard.verb("create", LATER, GIB)
    assert device(yard, LATER, ONE).read_bytes()[:4096] == BYTES[OTHER]
