"""database.py: the tables, the locks and the limits, on a real PostgreSQL."""

from __future__ import annotations

import _socket
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rigs import name_servers
from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from storpool_ovirt.engine import database as sessions

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"


COUNT = "SELECT count(*) FROM storpool_ovirt.node"
OPEN = (
    "import sys; from storpool_ovirt.engine import database, database_url;"
    " from storpool_ovirt.deadline import Deadline\nwith"
    " database.opened(database_url.parse(sys.argv[1]), Deadline(60)) as session:\n"
)


@contextlib.contextmanager
def opened(database: Database, seconds: float = 20) -> Iterator[sessions.Session]:
    """Open the database as the adapter does."""
    from storpool_ovirt.engine import database as sessions

    with sessions.opened(database_url.parse(database.url), Deadline(seconds)) as session:
        yield session


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a lock soon."""
    from storpool_ovirt.engine import database as sessions

    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0.3)


def test_the_tables_are_made_once_and_the_location_stays(database: Database) -> None:
    """The first use makes the tables in a schema of their own; this Engine's location is the same
    for ever after."""
    with opened(database) as session:
        location = session.location
        assert len(location) == 8
        int(location, 16)
    with opened(database) as session:
        assert session.location == location
        assert session.statements == 1, "an open with nothing to migrate is one question"


def test_other_tables_in_the_database_are_left_alone(database: Database) -> None:
    """The database may hold cinderlib's tables and others of the same names: nothing of theirs
    changes."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE meta (version text); CREATE TABLE node (x int); CREATE SCHEMA other"
        )
        with opened(database):
            pass
        cursor.execute("SELECT count(*) FROM meta")
        assert cursor.fetchone()[0] == 0
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname IN ('other', 'storpool_ovirt',"
            " 'public')"
        )
        assert len(cursor.fetchall()) == 3


def test_many_first_uses_at_once_make_one_schema(database: Database) -> None:
    """Eight processes that come first together: one makes the tables, all of them work, with one
    location."""
    argv = [sys.executable, "-c", f"{OPEN}    print(session.location)", database.url]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    locations = {each.communicate(timeout=60)[0] for each in started}
    assert all(each.returncode == 0 for each in started)
    assert len(locations) == 1


def test_an_older_schema_is_migrated_and_a_newer_one_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration is applied once, rows stay; a program that is older than the tables does not
    touch them."""
    from storpool_ovirt.engine import tables

    with opened(database) as session:
        location = session.location
    known = len(tables.MIGRATIONS)
    with monkeypatch.context() as patch:
        patch.setattr(
            tables, "MIGRATIONS", (*tables.MIGRATIONS, "CREATE TABLE storpool_ovirt.extra (x int)")
        )
        for _ in range(2):
            with opened(database) as session:
                assert session.location == location
    newer = f"version {known + 1}, this program knows {known}: upgrade"
    with pytest.raises(errors.DatabaseUnavailable, match=newer), opened(database):
        pass


def test_what_an_older_version_left_half_done_is_in_the_journal(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intents from before the journal get an entry, which proves nothing about what Engine
    learnt."""
    from storpool_ovirt.engine import tables

    with monkeypatch.context() as patch:
        patch.setattr(tables, "MIGRATIONS", tables.MIGRATIONS[:1])
        patch.setattr(tables, "ADDITIONS", ())
        with opened(database) as session:
            session.rows(
                "INSERT INTO storpool_ovirt.node (uuid, kind, root, size_bytes, state,"
                " correlation_id) VALUES (%s, 'volume', %s, 1, 'planned', 'a'), (%s, 'volume', %s,"
                " 1, 'deleting', 'b')",
                ID,
                ID,
                OTHER,
                OTHER,
            )
    with opened(database) as session:
        rows = session.rows(
            "SELECT node::text, kind, state, incarnation FROM storpool_ovirt.operation ORDER BY"
            " kind"
        )
    assert rows == [(OTHER, "drop", "running", ""), (ID, "make", "running", "")]


def test_a_mapping_from_before_the_notes_gets_their_table(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T66: rows stay, nothing is noted of them yet, and what is noted goes with its row."""
    from storpool_ovirt.engine import tables

    with monkeypatch.context() as patch:
        patch.setattr(tables, "MIGRATIONS", tables.MIGRATIONS[:2])
        patch.setattr(tables, "ADDITIONS", ())
        with opened(database) as session:
            session.rows(
                "INSERT INTO storpool_ovirt.node (uuid, kind, root, size_bytes, state, global_id,"
                " correlation_id) VALUES (%s, 'volume', %s, 1, 'live', 'a.b.c', 'a')",
                ID,
                ID,
            )
    with opened(database) as session:
        assert session.rows(
            "SELECT uuid::text, (SELECT count(*) FROM storpool_ovirt.asked) FROM"
            " storpool_ovirt.node"
        ) == [(ID, 0)]
        session.rows("INSERT INTO storpool_ovirt.asked VALUES (%s, '[]')", ID)
        session.rows("DELETE FROM storpool_ovirt.node")
        assert session.rows("SELECT node FROM storpool_ovirt.asked") == []


def test_a_failed_migration_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are made in one transaction: an error in the middle leaves the database as it was."""
    from storpool_ovirt.engine import tables

    with monkeypatch.context() as patch:
        patch.setattr(tables, "MIGRATIONS", (*tables.MIGRATIONS, "SELECT 1/0"))
        with pytest.raises(errors.DatabaseUnavailable, match="division by zero"), opened(database):
            pass
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_regclass('storpool_ovirt.meta'), to_regnamespace('storpool_ovirt')"
        )
        assert cursor.fetchone() == (None, None)
    with opened(database) as session:
        assert session.location


@pytest.mark.usefixtures("hasty")
def test_a_lock_is_held_by_one_and_waited_for_a_bounded_time(database: Database) -> None:
    """T19: the second one waits and is told; another name is free; the end of the connection gives
    it back."""
    with opened(database) as first, opened(database) as second:
        assert first.lock(ID)
        assert second.lock(OTHER)
        assert not second.lock(ID)
    with opened(database) as third:
        assert third.lock(ID)
        third.unlock(ID)
        with opened(database) as fourth:
            assert fourth.lock(ID)


@pytest.mark.usefixtures("hasty")
def test_shared_locks_keep_only_exclusive_ones_out(database: Database) -> None:
    """Many clones of one template run at once, its delete waits."""
    with opened(database) as first, opened(database) as second, opened(database) as third:
        assert first.lock(ID, shared=True)
        assert second.lock(ID, shared=True)
        assert not third.lock(ID)


def test_a_dead_process_holds_no_lock(database: Database) -> None:
    """The lock ends with the connection: a verb that was killed never blocks the next one."""
    code = f"{OPEN}    session.lock('{ID}'); print('held', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, database.url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    with opened(database) as session:
        assert session.lock(ID)


def test_a_server_that_hangs_cannot_outlast_the_deadline(own_database: Database) -> None:
    """T73: a PostgreSQL that accepts and does not answer, or stops in the middle, ends in our error
    and in our time."""
    with opened(own_database):
        pass
    own_database.pause()
    try:
        began = time.monotonic()
        with (
            pytest.raises(errors.DeadlineExceeded, match="the mapping database"),
            opened(own_database, 1),
        ):
            pass
        assert time.monotonic() - began < 10
    finally:
        own_database.resume()
    with pytest.raises(errors.DeadlineExceeded), opened(own_database, 2) as session:
        own_database.pause()
        timer = threading.Timer(4, own_database.resume)
        timer.start()
        try:
            session.rows(COUNT)
        finally:
            timer.cancel()
            own_database.resume()


def test_a_server_that_is_down_is_one_sentence_without_the_password(own_database: Database) -> None:
    """T24, T75: a refused connection names the database, never the password."""
    own_database.stop_server()
    with pytest.raises(errors.DatabaseUnavailable) as raised, opened(own_database):
        pass
    own_database.start_server()
    assert f"at {own_database.login.host}:{own_database.login.port}" in str(raised.value)
    assert own_database.login.password not in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_wrong_password_is_one_sentence(database: Database) -> None:
    """T24: what PostgreSQL says about the login is passed on, without the password."""
    from storpool_ovirt.engine import database as sessions

    address = database_url.parse(database.url.replace(database.login.password, "wr@ng"))
    with (
        pytest.raises(errors.DatabaseUnavailable, match="authentication failed") as raised,
        sessions.opened(address, Deadline(10)),
    ):
        pass
    assert "wr@ng" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Passwort-Authentifizierung für Benutzer „x“ fehlgeschlagen".encode(
                "cp1252", "replace"
            ),
            "für Benutzer",
        ),
        ("пароль".encode("koi8-r"), "is not usable ("),
        (b"\xff\xfe\n\xff", "is not usable ("),
    ],
)
def test_messages_in_another_encoding_are_told(said: bytes, told: str) -> None:
    """Before a connection has an encoding, a server speaks in that of its own language: no internal
    error."""
    from storpool_ovirt.engine import database as sessions

    fields = b"SFATAL\0C28P01\0M" + said + b"\0\0"
    answer = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while b"\x00\x03\x00\x00" not in connection.recv(1000):
                    connection.sendall(b"N")  # neither TLS nor GSS
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = database_url.Database("127.0.0.1", server.getsockname()[1], "x", Secret("x"), "x")
        with (
            pytest.raises(errors.DatabaseUnavailable) as raised,
            sessions.opened(address, Deadline(10)),
        ):
            pass
        thread.join(10)
    # On some builds of Python psycopg2 has no text for it at all.
    assert told in str(raised.value) or "is not usable (OperationalError)" in str(raised.value)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_no_server_holds_is_an_error_of_ours(database: Database, value: str) -> None:
    """NUL, half a character: refused by the driver, told as the database's."""
    with (
        opened(database) as session,
        pytest.raises(errors.DatabaseUnavailable, match="could not be passed on"),
    ):
        session.rows("SELECT %s", value)


def named(database: Database) -> database_url.Database:
    """Return the database's address with a name that no resolver knows but that of a test."""
    return database_url.parse(
        database.url.replace(f"@{database.login.host}:", "@database.example:")
    )


def test_the_servers_name_is_resolved_within_the_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T24, T73: a name server that never answers is told as such, in its time; libpq alone waits
    without limit."""
    from storpool_ovirt.engine import database as sessions

    began = time.monotonic()
    told = "the name database.example cannot be resolved: no name server answered"
    with name_servers.silent(monkeypatch):
        with (
            pytest.raises(errors.DatabaseUnavailable, match=told),
            sessions.opened(named(database), Deadline(60)),
        ):
            pass
        with pytest.raises(errors.DatabaseUnavailable, match=told):
            sessions.ask(named(database), Deadline(60), "SELECT 1")
        assert time.monotonic() - began < 10


def test_each_address_of_the_servers_name_is_tried(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that refuses the connection does not keep us from the next."""
    from storpool_ovirt.engine import database as sessions

    def getaddrinfo(
        _host: str, port: int, *_: object, flags: int = 0, **__: object
    ) -> list[object]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, (address, port)) for address in ("127.0.0.99", database.login.host)]

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    with sessions.opened(named(database), Deadline(20)) as session:
        assert session.rows(COUNT)
    assert sessions.ask(named(database), Deadline(20), "SELECT 1") == [(1,)]
