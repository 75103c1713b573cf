"""mapping.py: the tables, the locks and the limits, on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import config, errors
from storpool_ovirt.deadline import Deadline

if TYPE_CHECKING:
    from storpool_ovirt import mapping
    from storpool_ovirt.demo.database import Database

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"


@contextlib.contextmanager
def opened(database: Database, seconds: float = 20) -> Iterator[mapping.Mapping]:
    """Open the mapping as the adapter does."""
    from storpool_ovirt import mapping

    address = config.parse_database_url(database.url)
    with mapping.opened(address, Deadline(seconds), "corr-1") as there:
        yield there


def node(uuid: str = ID, size_bytes: int = 1 << 30) -> mapping.Node:
    """Return the row of a new disk."""
    from storpool_ovirt import mapping

    return mapping.Node(uuid, "volume", uuid, None, size_bytes, mapping.PLANNED, active=uuid)


def test_the_tables_are_made_once_and_the_location_stays(database: Database) -> None:
    """The first use makes the tables in a schema of their own; this Engine's location is the same for ever after."""
    with opened(database) as there:
        location = there.location
        assert len(location) == 8
        int(location, 16)
    with opened(database) as there:
        assert there.location == location
        assert there.statements == 1, "an open with nothing to migrate is one question"


def test_other_tables_in_the_database_are_left_alone(database: Database) -> None:
    """The database may hold cinderlib's tables and others of the same names: nothing of theirs changes."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE meta (version text); CREATE TABLE node (x int); CREATE SCHEMA other")
        with opened(database) as there:
            there.plan(node())
        cursor.execute("SELECT count(*) FROM meta")
        assert cursor.fetchone()[0] == 0
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname IN ('other', 'storpool_ovirt', 'public')")
        assert len(cursor.fetchall()) == 3


def test_many_first_uses_at_once_make_one_schema(database: Database) -> None:
    """Eight processes that come first together: one makes the tables, all of them work, with one location."""
    code = (
        "import sys; from storpool_ovirt import config, mapping; from storpool_ovirt.deadline import Deadline\n"
        "with mapping.opened(config.parse_database_url(sys.argv[1]), Deadline(30), 'c') as m: print(m.location)"
    )
    argv = [sys.executable, "-c", code, database.url]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    locations = {each.communicate(timeout=60)[0] for each in started}
    assert all(each.returncode == 0 for each in started)
    assert len(locations) == 1


def test_an_older_schema_is_migrated_and_a_newer_one_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration is applied once, rows stay; a program that is older than the tables does not touch them."""
    from storpool_ovirt import mapping

    with opened(database) as there:
        there.plan(node())
        location = there.location
    more = (*mapping.MIGRATIONS, "ALTER TABLE storpool_ovirt.node ADD COLUMN extra integer DEFAULT 7")
    with monkeypatch.context() as patch:
        patch.setattr(mapping, "MIGRATIONS", more)
        for _ in range(2):
            with opened(database) as there:
                assert there.location == location
                assert there.node(ID) is not None
    with pytest.raises(errors.DatabaseUnavailable, match="version 2, this program knows 1: upgrade"), opened(database):
        pass


def test_a_failed_migration_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are made in one transaction: an error in the middle leaves the database as it was."""
    from storpool_ovirt import mapping

    with monkeypatch.context() as patch:
        patch.setattr(mapping, "MIGRATIONS", (*mapping.MIGRATIONS, "SELECT 1/0"))
        with pytest.raises(errors.DatabaseUnavailable, match="division by zero"), opened(database):
            pass
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('storpool_ovirt.meta'), to_regnamespace('storpool_ovirt')")
        assert cursor.fetchone() == (None, None)
    with opened(database) as there:
        assert there.location


def test_an_intent_is_written_once(database: Database) -> None:
    """The row that was there first is returned and not changed: a repetition sees what the first try meant."""
    with opened(database) as there:
        assert there.plan(node()) is None
        first = there.plan(node(size_bytes=2 << 30))
        assert first == node()
        there.complete(ID, "sim.a.1")
        live = there.node(ID)
        assert live is not None
        assert (live.state, live.global_id) == ("live", "sim.a.1")


def test_a_delete_that_is_taken_back_restores_what_was(database: Database) -> None:
    """Rows that were live are live again; one that was only planned stays planned."""
    with opened(database) as there:
        there.plan(node())
        there.complete(ID, "sim.a.1")
        there.plan(node(OTHER))
        there.mark([ID, OTHER], "deleting")
        there.mark([ID, OTHER], "live")
        states = {each.uuid: each.state for uuid in (ID, OTHER) for each in there.tree(uuid)}
        assert states == {ID: "live", OTHER: "planned"}
        there.forget([ID, OTHER])
        assert there.node(ID) is None


def test_one_disk_is_one_operation_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """T19: a second operation on the disk waits a bounded time and then says so; another disk is free."""
    from storpool_ovirt import mapping

    monkeypatch.setattr(mapping, "LOCK_SECONDS", 0.3)
    with opened(database) as first, opened(database) as second:
        first.lock(ID)
        second.lock(OTHER)
        with pytest.raises(errors.Locked, match=f"another operation works on disk {ID}"):
            second.lock(ID)
    with opened(database) as third:
        third.lock(ID)


def test_clones_of_one_source_do_not_wait_for_each_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is held against changes only: many clones of one template run at once, its delete waits."""
    from storpool_ovirt import mapping

    monkeypatch.setattr(mapping, "LOCK_SECONDS", 0.3)
    with opened(database) as first, opened(database) as second, opened(database) as third:
        first.lock("c1", shared=ID)
        second.lock("c2", shared=ID)
        with pytest.raises(errors.Locked):
            third.lock(ID)


def test_a_dead_process_holds_no_lock(database: Database) -> None:
    """The lock ends with the connection: a verb that was killed never blocks the next one."""
    code = (
        "import sys; from storpool_ovirt import config, mapping; from storpool_ovirt.deadline import Deadline\n"
        "with mapping.opened(config.parse_database_url(sys.argv[1]), Deadline(60), 'c') as m:\n"
        f"    m.lock('{ID}'); print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, database.url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    with opened(database) as there:
        there.lock(ID)


def test_a_server_that_hangs_cannot_outlast_the_deadline(own_database: Database) -> None:
    """T73: a PostgreSQL that accepts and does not answer, or stops in the middle, ends in our error and in our time."""
    with opened(own_database) as there:
        there.plan(node())
    own_database.pause()
    try:
        began = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded, match="the mapping database"), opened(own_database, 1):
            pass
        assert time.monotonic() - began < 10
    finally:
        own_database.resume()
    with pytest.raises(errors.DeadlineExceeded), opened(own_database, 2) as there:
        own_database.pause()
        timer = threading.Timer(4, own_database.resume)
        timer.start()
        try:
            there.node(ID)
        finally:
            timer.cancel()
            own_database.resume()


def test_a_server_that_is_down_is_one_sentence_without_the_password(own_database: Database) -> None:
    """T24, T75: a refused connection names the database, never the password."""
    own_database.stop_server()
    with pytest.raises(errors.DatabaseUnavailable) as raised, opened(own_database):
        pass
    own_database.start_server()
    assert f"at {own_database.host}:{own_database.port}" in str(raised.value)
    assert own_database.password not in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_wrong_password_is_one_sentence(database: Database) -> None:
    """T24: what PostgreSQL says about the login is passed on, without the password."""
    from storpool_ovirt import mapping

    address = config.parse_database_url(database.url.replace(database.password, "wr@ng"))
    with (
        pytest.raises(errors.DatabaseUnavailable, match="authentication failed") as raised,
        mapping.opened(address, Deadline(10), "c"),
    ):
        pass
    assert "wr@ng" not in str(raised.value)
