"""mapping.py: the rows of disks, written together with their entries in the journal, on a real
PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import config, errors
from storpool_ovirt.deadline import Deadline

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from storpool_ovirt.engine import mapping

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"


@contextlib.contextmanager
def opened(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does."""
    from storpool_ovirt.engine import journal, mapping

    address = config.parse_database_url(database.url)
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
        assert {each.node.state for each in there.records()} == {"deleting"}
        there.journal.take_back(mapping.marked([ID, OTHER], mapping.LIVE))
        assert {each.node.uuid: each.node.state for each in there.records()} == {
            ID: "live",
            OTHER: "planned",
        }
        there.write(mapping.forgotten([ID, OTHER]))
        assert there.node(ID) is None


def test_one_disk_is_one_operation_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: a second operation on the disk waits a bounded time and then says who holds it; another
    disk is free."""
    from storpool_ovirt.engine import database as tables

    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.3)
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
    from storpool_ovirt.engine import database as tables

    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.3)
    with opened(database) as first, opened(database) as second, opened(database) as third:
        first.lock("c1", shared=ID)
        second.lock("c2", shared=ID)
        with pytest.raises(errors.Locked):
            third.lock(ID)


# For which hosts a node was asked


def made(there: mapping.Mapping, uuid: str = ID, global_id: str = "sim.a.1") -> None:
    """Write the row of a disk that is there."""
    there.plan(node(uuid), {})
    there.complete(uuid, global_id)


def hosts(there: mapping.Mapping, uuid: str = ID) -> list[str | None]:
    """Return for which hosts an id was asked, newest first."""
    return [each.host for each in there.asked().get(uuid, [])]


def test_the_hosts_that_a_node_was_asked_for_are_kept(database: Database) -> None:
    """T66: newest first, each host once with its last time, no more than a few; a host without a
    name is one too."""
    from storpool_ovirt.engine import mapping

    with opened(database) as there:
        made(there)
        for host in ("host1", "host2", None, "host1"):
            assert there.asked_for(ID, host, None) == there.node(ID)
        assert hosts(there) == ["host1", None, "host2"]
        times = [each.at for each in there.asked()[ID]]
        assert times == sorted(times, reverse=True)
        for number in range(20):
            there.asked_for(ID, f"h{number}", "sim.a")
        assert hosts(there) == [f"h{number}" for number in range(19, 19 - mapping.ASKED_HOSTS, -1)]


def test_a_note_costs_no_statement(database: Database) -> None:
    """T66: row and note are one question, the first time and ever after."""
    with opened(database) as there:
        made(there)
        for _ in range(3):
            before = there.session.statements
            there.asked_for(ID, "host1", None)
            assert there.session.statements == before + 1
        assert there.session.rows("SHOW synchronous_commit") == [("on",)], (
            "the journal's own statements need it"
        )


def test_what_is_not_there_gets_no_note(database: Database) -> None:
    """T77: neither an unknown id, nor one that is not finished, nor an object of another
    cluster."""
    with opened(database) as there:
        assert there.asked_for(ID, "host1", None) is None
        there.plan(node(), {})
        there.asked_for(ID, "host1", None)
        there.complete(ID, "sim.a.1")
        there.asked_for(ID, "host1", "sim.b")
        assert there.asked() == {}


def test_the_notes_go_with_their_row(database: Database) -> None:
    """T66: a disk that is gone leaves none."""
    from storpool_ovirt.engine import mapping

    with opened(database) as there:
        made(there)
        made(there, OTHER, "sim.a.2")
        for uuid in (ID, OTHER):
            there.asked_for(uuid, "host1", None)
        there.write(mapping.forgotten([ID]))
        assert list(there.asked()) == [OTHER]


def test_a_database_that_only_reads_still_answers(database: Database) -> None:
    """T66: a VM starts from a disk that is known, whatever keeps the note from being written."""
    with opened(database) as there:
        made(there)
        there.session.rows("SET default_transaction_read_only = on")
        found = there.asked_for(ID, "host1", None)
        assert found is not None
        assert (found.uuid, there.asked()) == (ID, {})


def test_a_row_that_is_being_deleted_is_not_waited_for(database: Database) -> None:
    """T19: what holds the row does not hold up who only asks; there is no note then, and no second
    question."""
    with opened(database) as there, contextlib.closing(database.connect()) as other:
        made(there)
        cursor = other.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM storpool_ovirt.node FOR UPDATE")
        before = there.session.statements
        assert there.asked_for(ID, "host1", None) is not None
        assert there.session.statements == before + 1
        cursor.execute("ROLLBACK")
        assert there.asked() == {}


ODD_NOTES = (
    "null",
    "7",
    "[null]",
    '["x"]',
    '[{"host": 1, "at": 1}]',
    '[{"host": "h"}]',
    '[{"host": "h", "at": "x"}]',
    '[{"host": "h", "at": 1e300}]',
    '[{"host": "h", "at": 1e400}]',
    '[{"host": "h", "at": -1}]',
)


@pytest.mark.parametrize("hosts", ODD_NOTES)
def test_a_note_that_others_wrote_is_skipped(database: Database, hosts: str) -> None:
    """T24: the notes are a hint for people, and an odd one must not keep them from the rest."""
    with opened(database) as there:
        there.plan(node(), {})
        there.session.rows("INSERT INTO storpool_ovirt.asked VALUES (%s, %s::jsonb)", ID, hosts)
        assert there.asked() == {ID: []}


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


def test_json_that_is_too_deep_is_one_sentence(database: Database) -> None:
    """T24: PostgreSQL holds what Python does not read."""
    with opened(database) as there:
        there.plan(node(), {})
        there.session.rows(
            "INSERT INTO storpool_ovirt.asked VALUES (%s, %s::jsonb)", ID, "[" * 3000 + "]" * 3000
        )
        with pytest.raises(errors.DatabaseUnavailable, match="could not be passed on"):
            there.asked()
