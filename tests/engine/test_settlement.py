"""settlement.py: what a verb that died has made is finished or undone by the next verb on the same
disk."""

from __future__ import annotations

import contextlib

import pytest

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import operations, settlement


def test_a_disk_whose_create_died_is_finished_by_its_repetition(yard: Yard) -> None:
    """T71, T61: Engine repeats, finds the object of the first try, and has one."""
    yard.die_made("create", DISK, GIB)
    made = yard.see().things
    yard.verb("create", DISK, GIB)
    assert yard.see().things == made
    assert (yard.see().rows[DISK].state, yard.operations()) == ("live", [])


def test_a_create_finds_the_disk_that_an_administrator_has_a_policy_for(yard: Yard) -> None:
    """T71: a class, VolumeCare's policy or a free tag, set meanwhile, tell nothing of its owner."""
    yard.die_made("create", DISK, GIB)
    given = {"qc": "gold", "vc-policy": "daily", "owner": "me"}
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": given})
    before = yard.see().things
    yard.verb("create", DISK, GIB)
    yard.verb("create", DISK, GIB)
    assert yard.see().things == before
    assert before[f"ovirt--{DISK}"].tags == {**yard.tags(DISK), **given}


def test_a_disk_whose_create_died_before_it_was_made_is_made(yard: Yard) -> None:
    """T71: what never reached StorPool is made by the repetition."""
    yard.die_planned("create", DISK, GIB)
    yard.verb("create", DISK, GIB)
    assert set(yard.see().things) == {f"ovirt--{DISK}"}


def test_a_repetition_with_another_size_is_free_where_nothing_was_made(yard: Yard) -> None:
    """T2: only what exists binds the size."""
    yard.die_planned("create", DISK, GIB)
    yard.verb("create", DISK, 2 * GIB)
    assert (
        yard.see().things[f"ovirt--{DISK}"].size_bytes
        == yard.see().rows[DISK].size_bytes
        == 2 * GIB
    )


def test_a_create_that_died_is_undone_by_its_delete(yard: Yard) -> None:
    """T72: Engine deletes the disk whose create failed: nothing is left, and nothing is open."""
    yard.die_made("create", DISK, GIB)
    yard.verb("delete", DISK)
    assert (yard.see().rows, yard.see().things, yard.see().pending) == ({}, {}, [])


@pytest.mark.parametrize("how", ["planned", "made", "done"])
@pytest.mark.parametrize("verb", ["snapshot", "preview"])
def test_what_engine_never_got_the_id_of_is_undone(yard: Yard, verb: str, how: str) -> None:
    """T71, T72: the next verb on the disk deletes it, wherever it died; the volume before it is
    active again."""
    yard.verb("create", DISK, GIB)
    source = yard.verb("snapshot", DISK) if verb == "preview" else DISK
    before = yard.see()
    if how == "planned":
        yard.die_planned(verb, source)
    elif how == "made":
        yard.die_made(verb, source)
    else:
        yard.undelivered(verb, source)
    assert len(yard.see().rows) == len(before.rows) + 1
    yard.verb("extend", DISK, GIB)
    assert yard.see() == before


def test_what_was_undone_is_active_no_more_even_through_a_chain(yard: Yard) -> None:
    """T71: of two previews the second died: the first is the one that grows."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    first = yard.verb("preview", snapshot)
    yard.undelivered("preview", snapshot)
    yard.verb("extend", DISK, 2 * GIB)
    sizes = {uuid: row.size_bytes for uuid, row in yard.see().rows.items()}
    assert sizes == {DISK: GIB, snapshot: GIB, first: 2 * GIB}


@pytest.mark.parametrize("verb", ["create", "snapshot", "preview"])
def test_an_entry_of_a_restored_backup_never_deletes(yard: Yard, verb: str) -> None:
    """T76, T85: it is older than what Engine knows, so what exists is completed, and left to the
    audit."""
    if verb != "create":
        yard.verb("create", DISK, GIB)
    source = yard.verb("snapshot", DISK) if verb == "preview" else DISK
    made = yard.die_made(verb, *((DISK, GIB) if verb == "create" else (source,)))
    yard.restored()
    things = yard.see().things
    yard.verb("extend", DISK, GIB)
    seen = yard.see()
    assert seen.things == things
    assert len(seen.pending) == (verb != "create"), (
        "only the disk itself is known by whoever extends it"
    )
    assert (seen.rows[made].state, seen.rows[made].global_id) == (
        "live",
        things[f"ovirt--{made}"].global_id,
    )


def test_a_preview_of_a_restored_backup_is_the_active_volume(yard: Yard) -> None:
    """T82, T85: Engine knows it, and it was made last: what is to grow is the VM's volume, not the
    one before it."""
    yard.verb("create", DISK, GIB)
    preview = yard.die_made("preview", yard.verb("snapshot", DISK))
    yard.restored()
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.see().rows[DISK].active == preview
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB


@pytest.mark.parametrize("verb", ["snapshot", "preview"])
def test_a_plan_of_a_restored_backup_is_forgotten(yard: Yard, verb: str) -> None:
    """T76, T85: nothing was made that the cluster shows, and what comes of it later is not deleted
    either."""
    yard.verb("create", DISK, GIB)
    source = yard.verb("snapshot", DISK) if verb == "preview" else DISK
    before = yard.see()
    yard.die_planned(verb, source)
    yard.restored()
    for _ in range(2):
        yard.verb("extend", DISK, GIB)
        assert yard.see() == before
        yard.age(settlement.LATE_SECONDS)


def test_what_is_long_dead_is_set_aside(yard: Yard) -> None:
    """T71, T85: an old entry may be older than what Engine knows, so its object stays; the volume
    before it grows."""
    yard.verb("create", DISK, GIB)
    preview = yard.undelivered("preview", yard.verb("snapshot", DISK))
    yard.age(settlement.FRESH_SECONDS)
    yard.verb("extend", DISK, 2 * GIB)
    seen = yard.see()
    assert (seen.rows[DISK].active, len(seen.pending)) == (DISK, 1)
    assert {name: each.size_bytes // GIB for name, each in seen.things.items()}[
        f"ovirt--{preview}"
    ] == 1
    assert seen.things[f"ovirt--{DISK}"].size_bytes == 2 * GIB


def late_snapshot(yard: Yard) -> str:
    """Have a snapshot die before it was made, its entry be taken back, and it come after all;
    return its id."""
    yard.verb("create", DISK, GIB)
    yard.die_planned("snapshot", DISK)
    made = yard.operations()[0].node
    yard.verb("extend", DISK, GIB)
    yard.ask(
        f"VolumeSnapshot/{yard.address(DISK)}",
        {"name": f"ovirt--{made}", "tags": yard.tags(made, DISK)},
    )
    return str(made)


def test_what_comes_late_is_deleted_by_the_next_verb(yard: Yard) -> None:
    """T71, T72: as soon as nothing can come any more; until then it is left, as is the entry that
    explains it."""
    late = late_snapshot(yard)
    yard.verb("extend", DISK, GIB)
    assert f"ovirt--{late}" in yard.see().things
    assert [each.state for each in yard.operations()] == [operations.UNDONE]
    yard.age(settlement.LATE_SECONDS)
    yard.verb("extend", DISK, GIB)
    assert set(yard.see().things) == {f"ovirt--{DISK}"}
    assert yard.operations() == []


def test_what_comes_late_goes_with_its_disk(yard: Yard) -> None:
    """T71, T72: whoever deletes the disk does not wait to see it."""
    late_snapshot(yard)
    yard.verb("delete", DISK)
    assert (yard.see().rows, yard.see().things) == ({}, {})


def test_what_did_not_come_is_looked_for_once(yard: Yard) -> None:
    """T72: verbs that run later cost no request for it; the entry stays, for the audit."""
    yard.verb("create", DISK, GIB)
    yard.die_planned("snapshot", DISK)
    yard.verb("extend", DISK, GIB)
    yard.age(settlement.LATE_SECONDS)
    looks = []
    for _ in range(3):
        yard.queries()
        yard.verb("extend", DISK, GIB)
        looks.append(yard.queries().count("GET Snapshot"))
    assert looks == [2, 0, 0], "that it is not there is asked once more, behind a barrier"
    assert [each.state for each in yard.operations()] == [operations.UNDONE]


def test_what_was_taken_back_and_made_again_is_kept(yard: Yard) -> None:
    """T72: the entry of the first try says nothing of the second one's disk, also when its answer
    was lost."""
    yard.verb("create", DISK, GIB)
    yard.die_planned("clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    yard.undelivered("clone", DISK, CLONE)
    yard.age(settlement.LATE_SECONDS)
    yard.verb("extend", CLONE, GIB)
    assert f"ovirt--{CLONE}" in yard.see().things
    assert yard.operations() == []


def test_whoever_connects_a_disk_knows_it(yard: Yard) -> None:
    """T72: in a copy Engine goes on with a disk whose create "failed": it is finished, and never
    undone after that."""
    yard.die_made("create", DISK, GIB)
    yard.verb("connection", DISK)
    assert yard.see().rows[DISK].state == "live"
    yard.verb("create", OTHER, GIB)
    yard.undelivered("create", OTHER, GIB)
    yard.verb("connection", OTHER)
    yard.reconcile()
    assert set(yard.see().things) == {f"ovirt--{DISK}", f"ovirt--{OTHER}"}


def test_a_disk_in_use_is_known_though_its_entry_is_open(yard: Yard) -> None:
    """T72: snapshotted by somebody who has its id, a clone is never undone."""
    yard.verb("create", OTHER, GIB)
    yard.undelivered("clone", OTHER, CLONE)
    yard.verb("snapshot", CLONE)
    assert yard.see().pending == []
    assert f"ovirt--{CLONE}" in yard.see().things


def test_a_process_that_lost_its_lock_is_waited_for_and_then_named(yard: Yard) -> None:
    """T19: PostgreSQL was restarted, so nothing is locked, but the other verb still works."""
    yard.verb("create", DISK, GIB)
    with yard.holder(DISK) as (_, backend):
        yard.sql("SELECT pg_terminate_backend(%s, 5000)", backend)
        before = yard.clock.now
        with pytest.raises(errors.Locked, match=r"extend_volume \(correlation id corr-9\)"):
            yard.verb("extend", DISK, GIB)
        assert yard.clock.now - before <= 30
        assert len(yard.see().pending) == 1
    yard.verb("extend", DISK, GIB)
    assert yard.see().pending == []


def test_a_process_that_lost_its_lock_and_ends_meanwhile_is_over(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: the second waits no longer than the first lives."""
    yard.verb("create", DISK, GIB)
    with contextlib.ExitStack() as running:
        _, backend = running.enter_context(yard.holder(DISK))
        yard.sql("SELECT pg_terminate_backend(%s, 5000)", backend)
        monkeypatch.setattr(yard.clock, "sleep", lambda _: running.close())
        yard.verb("extend", DISK, GIB)
    assert yard.see().pending == []
