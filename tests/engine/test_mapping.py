"""mapping.py: the rows of disks, written together with their entries in the journal, on a real
PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import changes, database_url, records

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from storpool_ovirt.engine import mapping

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
THIRD = "0ddba115-1c76-4d1e-9d53-6d2f7c9d1a10"


@contextlib.contextmanager
def opened(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does."""
    from storpool_ovirt.engine import journal, mapping

    address = database_url.parse(database.url)
    with mapping.opened(
        address, Deadline(20), journal.Caller("corr-1", "create_volume", (ID, "1"))
    ) as there:
        yield there


def node(uuid: str = ID, size_bytes: int = 1 << 30, **facts: bool) -> mapping.Node:
    """Return the row of a new disk."""
    from storpool_ovirt.engine import mapping

    return mapping.Node(
        uuid, "volume", uuid, None, size_bytes, mapping.PLANNED, active=uuid, **facts
    )


def test_an_intent_is_written_once(database: Database) -> None:
    """The row that was there first is returned and not changed: a repetition sees what the first
    try meant."""
    with opened(database) as there:
        assert there.plan(node(), {}) is None
        first = there.plan(node(size_bytes=2 << 30), {})
        assert first == node(pending=True)
        there.complete(ID, "sim.a.1")
        live = there.node(ID)
        assert live is not None
        assert (live.state, live.global_id) == ("live", "sim.a.1")


def test_a_disk_is_pending_until_the_answer_is_delivered(database: Database) -> None:
    """Every node of a disk tells that something is open on it, from the intent to the delivery."""
    with opened(database) as there:
        there.plan(node(), {})
        there.complete(ID, "sim.a.1")
        assert [each.pending for each in there.tree(ID)] == [True]
        there.journal.delivered()
        assert [each.pending for each in there.tree(ID)] == [False]


def test_a_delete_that_is_taken_back_restores_what_was(database: Database) -> None:
    """Rows that were live are live again; one that was only planned stays planned."""
    from storpool_ovirt.engine import mapping

    with opened(database) as there:
        there.plan(node(), {})
        there.complete(ID, "sim.a.1")
        there.plan(node(OTHER), {})
        there.begin_delete(ID, ID, [ID, OTHER])
        assert {each.node.state for each in records.all(there)} == {"deleting"}
        there.journal.take_back(changes.marked([ID, OTHER], mapping.LIVE))
        assert {each.node.uuid: each.node.state for each in records.all(there)} == {
            ID: "live",
            OTHER: "planned",
        }
        there.write(changes.forgotten([ID, OTHER]))
        assert there.node(ID) is None


def test_one_disk_is_one_operation_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: a second operation on the disk waits a bounded time and then says who holds it; another
    disk is free."""
    from storpool_ovirt.engine import database as sessions

    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0.3)
    with opened(database) as first, opened(database) as second:
        first.lock(ID)
        second.lock(OTHER)
        with pytest.raises(
            errors.Locked, match=f"another operation works on disk {ID} .* within 0 s: wait"
        ):
            second.lock(ID)
        first.plan(node(), {})
        with pytest.raises(
            errors.Locked,
            match=r"\(create_volume with correlation id corr-1, process \d+, since .* UTC",
        ):
            second.lock(ID)
    with opened(database) as third:
        third.lock(ID)


def test_clones_of_one_source_do_not_wait_for_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source is held against changes only: many clones of one template run at once, its delete
    waits."""
    from storpool_ovirt.engine import database as sessions

    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0.3)
    with opened(database) as first, opened(database) as second, opened(database) as third:
        records.adopt(first, [(node(ID), 0)])
        for there, clone in ((first, OTHER), (second, THIRD)):
            held, _ = there.held_source(ID, clone)
            assert held is not None
            assert held.uuid == ID
        with pytest.raises(errors.Locked):
            third.lock(ID)


# For which hosts a node was asked


@pytest.mark.parametrize(
    "change",
    [
        "plan = '[]'",
        "plan = 'null'",
        """plan = '{"cluster": []}'""",
        "process = ''",
        "process = 'h:1'",
        "process = 'h:99999999999999999999:1'",
        "process = 'h:x:1'",
        "process = 'h:4194305:1'",
        "started_at = 'infinity'",
        "started_at = '-infinity'",
        "until = 'infinity'",
        "until = '-infinity'",
        "started_at = 'infinity', until = 'infinity'",
    ],
)
def test_an_entry_that_others_changed_is_one_sentence(database: Database, change: str) -> None:
    """T24: what it was to be nobody knows then, and nothing is decided from it."""
    with opened(database) as there:
        there.plan(node(), {})
        there.session.rows(f"UPDATE storpool_ovirt.operation SET {change}")
        told = f"on disk {ID}, was changed by others"
        with pytest.raises(errors.DatabaseUnavailable, match=told):
            there.journal.all()
    with opened(database) as there, pytest.raises(errors.DatabaseUnavailable, match=told):
        there.journal.of_disk(ID)


@pytest.mark.parametrize("made", ["infinity", "-infinity"])
def test_a_row_without_a_time_has_no_age(database: Database, made: str) -> None:
    """T24: others have changed when it was made, and all else of it is as good as before."""
    with opened(database) as there:
        there.plan(node(), {})
        there.session.rows("UPDATE storpool_ovirt.node SET created_at = %s", made)
        assert [(each.node.uuid, each.age_seconds) for each in records.all(there)] == [(ID, None)]
        assert [each.is_clock_sound for each in there.journal.all()] == [made == "-infinity"]
