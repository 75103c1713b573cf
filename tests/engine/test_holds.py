"""holds.py: what locks a disk also reads what the lock protects, as it is once the lock was got."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import changes, database_url, holds, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from storpool_ovirt.engine import mapping

DISK = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
NODE = "0ddba115-1c76-4d1e-9d53-6d2f7c9d1a10"
LIMIT_SECONDS = 20
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"


@contextlib.contextmanager
def opened(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does: nothing is asked yet."""
    from storpool_ovirt.engine import journal, mapping

    address = database_url.parse(database.url)
    caller = journal.Caller("corr-1", "create_volume")
    with mapping.opened(address, Deadline(LIMIT_SECONDS), caller) as there:
        yield there


def row(uuid: str = DISK, root: str = DISK, **facts: Any) -> mapping.Node:
    """Return the row of a volume that is there."""
    from storpool_ovirt.engine import mapping

    made = mapping.Node(uuid, "volume", root, None, 1 << 30, mapping.LIVE, f"a.b.{uuid[:3]}")
    return made._replace(**facts)


@contextlib.contextmanager
def beside(work: Any) -> Iterator[list[Any]]:
    """Do work in a thread meanwhile; give where its result will be."""
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    yield done
    thread.join(LIMIT_SECONDS)
    assert done, "it never ended"


def wait_for_waiting(there: mapping.Mapping, count: int = 1) -> None:
    """Wait until so many wait for locks."""
    end = time.monotonic() + LIMIT_SECONDS
    while there.session.rows(WAITING)[0][0] < count:
        assert time.monotonic() < end, "nobody waits"
        threading.Event().wait(0.01)


def isolate(database: Database, level: str) -> None:
    """Have the server look at tables in this way for who asks for none."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            f'ALTER DATABASE "{database.name}" SET default_transaction_isolation = %s', (level,)
        )


def test_programs_of_both_ages_mean_the_same_lock(database: Database) -> None:
    """T19: before this the number was made by the program: the first 64 bits of a SHA-256."""
    digest = hashlib.sha256(f"storpool_ovirt:{DISK}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with opened(database) as there:
        assert there.session.rows(f"SELECT {holds.key('%s')}", DISK) == [(number,)]


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_rows_are_read_after_the_lock_was_got(database: Database, level: str) -> None:
    """T19: what the holder writes while another waits is what that one reads, in whatever way the
    server would look at it for others."""
    isolate(database, level)
    with opened(database) as holder, opened(database) as waiter:
        records.adopt(holder, [(row(), 0)])
        holder.lock(DISK)
        with beside(lambda: waiter.held_tree(DISK)) as done:
            wait_for_waiting(holder)
            holder.write(changes.resized(DISK, 7 << 30))
            holder.session.unlock_all()
        assert [each.size_bytes for each in done[0]] == [7 << 30]


@pytest.mark.parametrize("or_itself", [False, True])
def test_a_node_that_is_made_meanwhile_is_held_by_its_disk(
    database: Database, or_itself: bool
) -> None:
    """T19: nobody knew of which disk it would be when the question was asked."""
    with opened(database) as holder, opened(database) as waiter, opened(database) as third:
        records.adopt(holder, [(row(), 0)])
        if not or_itself:
            assert waiter.held_tree(NODE) == [], "there is nothing to wait for"
        holder.lock(NODE)
        with beside(lambda: waiter.held_tree(NODE, or_itself=True)) as done:
            wait_for_waiting(holder)
            records.adopt(holder, [(row(NODE, source=DISK, root=DISK), 1)])
            holder.session.unlock_all()
        assert [each.uuid for each in done[0]] == [DISK, NODE]
        assert not third.session.try_lock(DISK)


def test_a_disk_with_something_open_is_no_source_that_is_only_shared(database: Database) -> None:
    """What dead operations left on it is to be put right: nobody else may read it meanwhile."""
    with opened(database) as first, opened(database) as second, opened(database) as third:
        records.adopt(first, [(row(), 0)])
        first.begin_growth(row(), 2 << 30)
        found, _ = second.held_source(DISK, OTHER)
        assert found is not None
        assert found.pending
        third.session.rows("SET lock_timeout = '0.2s'")
        with pytest.raises(errors.Locked):
            third.held_source(DISK, NODE)


def test_a_lock_that_is_busy_is_told_with_its_disk(database: Database) -> None:
    """T19: the question alone does not tell which disk a node is of."""
    with opened(database) as holder, opened(database) as waiter:
        records.adopt(holder, [(row(), 0)])
        records.adopt(holder, [(row(NODE), 1)])
        holder.lock(DISK)
        waiter.session.rows("SET lock_timeout = '0.2s'")
        with pytest.raises(errors.Locked, match=f"disk {DISK}"):
            waiter.held_tree(NODE)


@contextlib.contextmanager
def table_locked(database: Database, table: str) -> Iterator[None]:
    """Let nobody read a table meanwhile, as VACUUM FULL and other programs' migrations do."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE storpool_ovirt.{table} IN ACCESS EXCLUSIVE MODE")
        yield
        cursor.execute("ROLLBACK")


def test_a_table_that_others_hold_is_told_as_what_it_is(database: Database) -> None:
    """T19: a question that asks for no disk's lock has no disk to tell."""
    with opened(database) as there:
        records.adopt(there, [(row(), 0)])
        there.session.rows("SET lock_timeout = '0.2s'")
        refused = pytest.raises(errors.DatabaseUnavailable, match="lock timeout")
        with table_locked(database, "operation"), refused:
            there.node(DISK)
        assert there.node(DISK) is not None


def test_a_note_that_waited_in_vain_is_none(database: Database) -> None:
    """Nothing rests on a note: the verb goes on without it."""
    from storpool_ovirt.engine import host_notes

    with opened(database) as there:
        records.adopt(there, [(row(), 0)])
        there.session.rows("SET lock_timeout = '0.2s'")
        with table_locked(database, "asked"):
            found, _ = host_notes.noted(there, DISK, "host", None)
    assert found is not None
    assert found.uuid == DISK


def test_no_disk_is_told_as_busy_where_there_is_none(database: Database) -> None:
    """T19: what was waited for in vain was a table, or the disk's delete came to its end just then:
    then it is asked for again."""
    with opened(database) as there:
        assert there.held_tree(NODE) == []
        there.session.rows("SET lock_timeout = '0.2s'")
        with contextlib.ExitStack() as others:
            others.enter_context(table_locked(database, "operation"))
            with beside(lambda: there.held_tree(NODE)) as done:
                threading.Event().wait(0.5)
                assert not done
                others.close()
        assert done == [[]]


def test_a_first_question_does_nothing_with_tables_that_it_does_not_know(
    database: Database,
) -> None:
    """A newer program's tables: no lock is taken and no note is written before they are refused."""
    from storpool_ovirt.engine import host_notes

    with opened(database) as there:
        records.adopt(there, [(row(), 0)])
        there.session.rows("UPDATE storpool_ovirt.meta SET version = version + 1")
        with opened(database) as older:
            with pytest.raises(errors.DatabaseUnavailable, match="upgrade it"):
                older.held_tree(DISK)
            with pytest.raises(errors.DatabaseUnavailable, match="upgrade it"):
                host_notes.noted(older, DISK, "host", None)
            assert there.session.rows(HELD) == [(0,)]
        assert there.session.rows("SELECT count(*) FROM storpool_ovirt.asked") == [(0,)]


def test_one_question_connects_reads_and_holds(database: Database) -> None:
    """Of what a verb asks, the look at the tables costs nothing of its own."""
    with opened(database) as there:
        records.adopt(there, [(row(), 0)])
    with opened(database) as there:
        assert [each.uuid for each in there.held_tree(DISK)] == [DISK]
        assert there.location
        assert there.session.statements == 1
