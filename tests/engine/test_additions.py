"""tables.py: columns that older programs need not know are added at once, and programs of both ages
work on the same tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import reverts, shared_stage
from rigs.disk_model import GIB
from rigs.helper_stage import wait_for_call
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.engine import Result
    from rigs.stage_fixtures import Stage

# What a program from before the additions sends when it starts, and when it makes a row.
OLD_START = """
    SELECT pg_backend_pid(), version, location
    FROM (SELECT) AS one LEFT JOIN storpool_ovirt.meta ON true
"""
OLD_ROW = """
    INSERT INTO storpool_ovirt.node
        (uuid, kind, root, source, size_bytes, state, global_id, connected, active, replaced,
        correlation_id)
    VALUES (%s, 'volume', %s, NULL, %s, 'live', %s, true, %s, NULL, 'old')
"""
# As they were before there was a trash; which columns there are is the same.
OLD_TABLES = """
    DROP TABLE storpool_ovirt.trash, storpool_ovirt.backup, storpool_ovirt.asked_delete,
        storpool_ovirt.brake, storpool_ovirt.policy;
    UPDATE storpool_ovirt.meta SET additions = 3
"""


@pytest.fixture
def old(yard: Yard) -> Iterator[Yard]:
    """Give an Engine whose tables are those of before the additions, with a disk in them."""
    yard.verb("create", DISK, GIB)
    yard.sql(
        "ALTER TABLE storpool_ovirt.node DROP COLUMN visible_id, DROP COLUMN first_id,"
        " DROP COLUMN moment, DROP COLUMN reserved"
    )
    yard.sql("DROP TABLE storpool_ovirt.moment, storpool_ovirt.trash, storpool_ovirt.backup")
    yard.sql("ALTER TABLE storpool_ovirt.meta DROP COLUMN additions")
    yield yard
    yard.verb("create", OTHER, GIB)  # so that the next test has them, whatever this one did


def additions(yard: Yard) -> tuple[int, int]:
    """Return version and additions of the tables."""
    [(version, added)] = yard.sql("SELECT version, additions FROM storpool_ovirt.meta")
    return version, added


def test_old_tables_get_them_by_the_next_verb(old: Yard) -> None:
    """The rows stay, and have nothing in the new columns until their volumes are seen."""
    old.verb("connection", DISK)
    assert additions(old) == (len(tables.MIGRATIONS), len(tables.ADDITIONS))
    [(visible_id, first_id)] = old.sql("SELECT visible_id, first_id FROM storpool_ovirt.node")
    assert visible_id == old.ask(f"Volume/ovirt--{DISK}")[0]["visibleVolumeId"]
    assert first_id is None
    assert old.sql("SELECT moment, reserved FROM storpool_ovirt.node") == [(None, False)]
    assert old.sql("SELECT count(*) FROM storpool_ovirt.moment") == [(0,)]
    assert old.sql("SELECT count(*) FROM storpool_ovirt.trash") == [(0,)]
    assert old.sql("SELECT count(*) FROM storpool_ovirt.backup") == [(0,)]


def test_a_command_that_makes_nothing_says_so(old: Yard) -> None:
    """The audit changes no tables: it names the version that it needs."""
    with pytest.raises(errors.NotFound, match=f"of version {tables.VERSION}.*has version 3.0"):
        old.report()
    old.verb("connection", DISK)
    assert old.report().findings == ()


def test_an_older_program_works_beside_a_newer_one(old: Yard) -> None:
    """It sees the version that it knows, its rows are as good as all, and what it does not write is
    learnt by the next verb of a newer one."""
    old.verb("connection", DISK)
    [(_, version, location)] = old.sql(OLD_START)
    assert (version, location) == (len(tables.MIGRATIONS), old.location)
    made = old.by_hand(CLONE)
    old.sql(OLD_ROW, CLONE, CLONE, GIB, made[1:], CLONE)
    old.verb("snapshot", CLONE)
    now = reverts.revert(old, made)
    old.verb("extend", CLONE, 2 * GIB)
    assert old.address(CLONE) == f"~{now}"
    assert old.report().severity == "info"


def test_tables_of_a_newer_program_with_more_added_are_taken(yard: Yard) -> None:
    """Only a newer version is refused."""
    yard.verb("create", DISK, GIB)
    yard.sql("UPDATE storpool_ovirt.meta SET additions = additions + 1")
    yard.verb("connection", DISK)
    assert yard.report().findings == ()
    yard.sql("UPDATE storpool_ovirt.meta SET additions = additions - 1, version = version + 1")
    with pytest.raises(errors.DatabaseUnavailable, match="upgrade it"):
        yard.verb("connection", DISK)
    yard.sql("UPDATE storpool_ovirt.meta SET version = version - 1")


def test_first_verbs_at_once_beside_one_that_is_under_way(shared: Stage) -> None:
    """The tables are of before trash and policies; a verb that knows them so waits for StorPool
    while several of now make what is missing: each does its work, and what is deleted then is in
    the trash."""
    engine, database = shared.engine, shared.database
    disk, *others = (shared_stage.make_disk(engine) for _ in range(4))
    shared.simulator.clear_calls()
    shared.simulator.inject("delay", query="VolumeSnapshot", seconds=60)

    def newer() -> list[Result]:
        wait_for_call(shared, "VolumeSnapshot")
        shared_stage.sql(database, OLD_TABLES)
        try:
            return shared_stage.at_once(
                *(lambda each=each: engine.run("delete_volume", each) for each in others)
            )
        finally:
            shared.simulator.clear_faults()

    def older() -> list[Result]:
        return [engine.run("create_snapshot", disk)]

    before, after = shared_stage.at_once(older, newer)
    for result in (*before, *after):
        shared_stage.answered(result)
    found = "SELECT version, additions FROM storpool_ovirt.meta"
    assert shared_stage.sql(database, found) == [(len(tables.MIGRATIONS), len(tables.ADDITIONS))]
    deleted = "SELECT disk::text FROM storpool_ovirt.trash"
    assert {each for (each,) in shared_stage.sql(database, deleted)} == {*others}
    assert {*shared_stage.volumes(shared.simulator)} == {disk}
    assert shared_stage.sql(database, "SELECT FROM storpool_ovirt.operation") == []
