"""host_notes.py: for which hosts a node was asked for is kept, for people, at no cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import changes, database_url, host_notes, journal, mapping

if TYPE_CHECKING:
    from ovirt_demo.database import Database

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"


@contextlib.contextmanager
def opened(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does."""
    address = database_url.parse(database.url)
    caller = journal.Caller("corr-1", "connect_volume")
    with mapping.opened(address, Deadline(20), caller) as there:
        yield there


def node(uuid: str = ID) -> mapping.Node:
    """Return the row of a new disk."""
    return mapping.Node(uuid, "volume", uuid, None, 1 << 30, mapping.PLANNED, active=uuid)


def made(there: mapping.Mapping, uuid: str = ID, global_id: str = "sim.a.1") -> None:
    """Write the row of a disk that is there."""
    there.plan(node(uuid), {})
    there.complete(uuid, global_id)


def hosts(there: mapping.Mapping, uuid: str = ID) -> list[str | None]:
    """Return for which hosts an id was asked, newest first."""
    return [each.host for each in host_notes.of_all(there).get(uuid, [])]


def test_the_hosts_that_a_node_was_asked_for_are_kept(database: Database) -> None:
    """T66: newest first, each host once with its last time, no more than a few; a host without a
    name is one too."""

    with opened(database) as there:
        made(there)
        for host in ("host1", "host2", None, "host1"):
            assert host_notes.noted(there, ID, host, None) == (there.node(ID), False)
        assert hosts(there) == ["host1", None, "host2"]
        times = [each.at for each in host_notes.of_all(there)[ID]]
        assert times == sorted(times, reverse=True)
        for number in range(20):
            host_notes.noted(there, ID, f"h{number}", "sim.a")
        assert hosts(there) == [
            f"h{number}" for number in range(19, 19 - host_notes.KEPT_HOSTS, -1)
        ]


def test_a_note_costs_no_statement(database: Database) -> None:
    """T66: row and note are one question, the first time and ever after."""
    with opened(database) as there:
        made(there)
        for _ in range(3):
            before = there.session.statements
            host_notes.noted(there, ID, "host1", None)
            assert there.session.statements == before + 1
        assert there.session.rows("SHOW synchronous_commit") == [("on",)], (
            "the journal's own statements need it"
        )


def test_what_is_not_there_gets_no_note(database: Database) -> None:
    """T77: neither an unknown id, nor one that is not finished, nor an object of another
    cluster."""
    with opened(database) as there:
        assert host_notes.noted(there, ID, "host1", None) == (None, False)
        there.plan(node(), {})
        host_notes.noted(there, ID, "host1", None)
        there.complete(ID, "sim.a.1")
        host_notes.noted(there, ID, "host1", "sim.b")
        assert host_notes.of_all(there) == {}


def test_the_notes_go_with_their_row(database: Database) -> None:
    """T66: a disk that is gone leaves none."""

    with opened(database) as there:
        made(there)
        made(there, OTHER, "sim.a.2")
        for uuid in (ID, OTHER):
            host_notes.noted(there, uuid, "host1", None)
        there.write(changes.forgotten([ID]))
        assert list(host_notes.of_all(there)) == [OTHER]


def test_a_database_that_only_reads_still_answers(database: Database) -> None:
    """T66: a VM starts from a disk that is known, whatever keeps the note from being written."""
    with opened(database) as there:
        made(there)
        there.session.rows("SET default_transaction_read_only = on")
        found, _ = host_notes.noted(there, ID, "host1", None)
        assert found is not None
        assert (found.uuid, host_notes.of_all(there)) == (ID, {})


def test_a_row_that_is_being_deleted_is_not_waited_for(database: Database) -> None:
    """T19: what holds the row does not hold up who only asks; there is no note then, and no second
    question."""
    with opened(database) as there, contextlib.closing(database.connect()) as other:
        made(there)
        cursor = other.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM storpool_ovirt.node FOR UPDATE")
        before = there.session.statements
        assert host_notes.noted(there, ID, "host1", None)[0] is not None
        assert there.session.statements == before + 1
        cursor.execute("ROLLBACK")
        assert host_notes.of_all(there) == {}


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
        assert host_notes.of_all(there) == {ID: []}


def test_json_that_is_too_deep_is_one_sentence(database: Database) -> None:
    """T24: PostgreSQL holds what Python does not read."""
    with opened(database) as there:
        there.plan(node(), {})
        there.session.rows(
            "INSERT INTO storpool_ovirt.asked VALUES (%s, %s::jsonb)", ID, "[" * 3000 + "]" * 3000
        )
        with pytest.raises(errors.DatabaseUnavailable, match="could not be passed on"):
            host_notes.of_all(there)
