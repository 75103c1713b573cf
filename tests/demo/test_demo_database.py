"""The real PostgreSQL below the demo and the tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from ovirt_demo import database, postgres

# A shell without job control starts what is in the background with SIGINT ignored; these tests may
# run in one.
TEST_PROCESS = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ovirt_demo import database
with database.running(pathlib.Path(sys.argv[1])) as server:
    print(server.login.port, server.server.process.data, flush=True)
    sys.stdin.read()
"""


def test_url_is_engines_template_with_a_password_that_is_not_quoted(
    database_server: database.Database,
) -> None:
    """The URL is put together as Engine does it, also where that makes it ambiguous."""
    server, login = database_server, database_server.login
    assert (
        server.url
        == f"postgresql+psycopg2://{login.user}:{login.password}@{login.host}:{login.port}/{server.name}"
    )
    if server.owned:
        assert {"@", ":", "/"} <= set(server.login.password)
        assert server.login.user == server.name == "ovirt_managedblock"


def test_password_is_needed_and_the_role_is_no_superuser(
    database_server: database.Database,
) -> None:
    """The role is one like Engine's: it logs in with its password and owns its database, no
    more."""
    server = database_server
    with pytest.raises(psycopg2.OperationalError, match=r"password|authentication"):
        database.Login(server.login.host, server.login.port, server.login.user, "wrong").connect(
            server.name
        )
    if server.owned:
        connection = server.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
                )
                assert cursor.fetchone() == (False, False)
        finally:
            connection.close()


def test_a_login_costs_no_thousands_of_rounds(tmp_path: Path) -> None:
    """Each program logs in anew; the server of the demo and the tests has passwords that are hashed
    once, also its superuser's."""
    with database.started(tmp_path) as server:
        connection = server.server._admin.connect(server.name)
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin")
            kept = dict(cursor.fetchall())
    assert {*kept} == {server.login.user, postgres.ADMIN}
    assert all(each.startswith("SCRAM-SHA-256$1:") for each in kept.values())


def test_fresh_databases_are_empty_apart_and_cheap(database_server: database.Database) -> None:
    """What one test writes no other test sees, also when it takes the same name again."""
    began = time.monotonic()
    first, second = database_server.fresh("first"), database_server.fresh("second")
    assert time.monotonic() - began < 3
    connection = first.connect()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE mine (id int)")
    first = database_server.fresh("first")  # also while somebody is connected to the old one
    connection.close()
    for fresh in (first, second):
        connection = fresh.connect()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            )
            assert cursor.fetchone() == (0,)
        connection.close()
        fresh.drop()


def test_server_can_be_stopped_started_and_paused(own_database: database.Database) -> None:
    """A test can take the database away and give it back, with the data that was there."""
    connection = own_database.connect()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (id int)")
    own_database.stop_server()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        own_database.connect()
    own_database.start_server()
    connection.close()
    connection = own_database.connect()
    own_database.pause()
    with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
        psycopg2.connect(
            host=own_database.login.host,
            port=own_database.login.port,
            user=own_database.login.user,
            password=own_database.login.password,
            dbname=own_database.name,
            connect_timeout=2,
        )
    own_database.resume()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        assert cursor.fetchone() == (0,)
    connection.close()


def test_server_is_up_soon_and_gone_at_once_also_when_it_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in the block takes the server and its files away, whatever state it is in."""
    monkeypatch.delenv(database.GIVEN_SERVER_VARIABLE, raising=False)
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), database.running(tmp_path) as server:
        assert time.monotonic() - began < 10  # 0.5 s on an idle machine
        server.pause()
        began = time.monotonic()
        raise ZeroDivisionError
    assert time.monotonic() - began < 5
    assert server.server.process
    assert not server.server.process.data.parent.exists()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        server.connect()


@pytest.mark.parametrize("how", ["Ctrl-C", "end of input"])
def test_interrupted_program_takes_the_server_along(tmp_path: Path, how: str) -> None:
    """A program that is interrupted, or whose input ends, leaves no process and no file."""
    environment = {
        key: value for key, value in os.environ.items() if key != database.GIVEN_SERVER_VARIABLE
    }
    with subprocess.Popen(
        [sys.executable, "-c", TEST_PROCESS, tmp_path],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port, data = process.stdout.readline().decode().split()
        assert Path(data, "postmaster.pid").exists()
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            process.stdin.close()
        process.wait(20)
    assert not Path(data).parent.exists()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        database.Login("127.0.0.1", int(port), "postgres", "").connect("postgres")


def test_given_server_gets_a_database_that_goes_again(
    database_server: database.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that the user names, only databases of ours are touched, and none is left."""
    if not database_server.owned:
        pytest.skip(
            "needs the superuser of a server of our own to make a role that may create databases"
        )
    admin = database_server.server
    admin.run("CREATE ROLE {} LOGIN CREATEDB PASSWORD %s", "giver", values=("p@ss:w/rd",))
    admin.run("CREATE DATABASE {} OWNER {}", "home", "giver")
    where = f"{admin.login.host}:{admin.login.port}"
    address = f"postgresql://giver:p%40ss%3Aw%2Frd@{where}/home"
    monkeypatch.setenv(database.GIVEN_SERVER_VARIABLE, address)
    with database.running(tmp_path) as given:
        assert given.url.startswith("postgresql+psycopg2://giver:p@ss:w/rd@")
        assert not given.owned
        with pytest.raises(database.GivenServer):
            given.stop_server()
        fresh = given.fresh("one")
        fresh.connect().close()
        assert fresh.name.startswith(given.name)
    for gone in (given, fresh):
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            gone.connect()
    admin.drop("home")
    admin.run("DROP ROLE {}", "giver")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "postgresql+psycopg2://u:p@ss:w/rd%41@db.example:5433/name",
            ("db.example", 5433, "u", "p@ss:w/rd%41", "name"),
        ),
        ("postgresql://u:p%40ss@db.example/name", ("db.example", 5432, "u", "p@ss", "name")),
        ("postgres://u@localhost:5432/name", ("localhost", 5432, "u", "", "name")),
    ],
)
def test_address_of_a_given_server_is_read_in_both_forms(
    address: str, expected: tuple[object, ...]
) -> None:
    """Engine's form quotes nothing, a plain URL is percent-encoded."""
    login, name = database.read_address(address)
    assert (login.host, login.port, login.user, login.password, name) == expected


@pytest.mark.parametrize(
    "address",
    ["mysql://u:secret@h/d", "postgresql://u:secret@h", "postgresql://u:secret@h/d?a=b", "x"],
)
def test_bad_address_is_refused_without_showing_it(address: str) -> None:
    """The reason is told, the password is not."""
    with pytest.raises(database.BadAddress) as caught:
        database.read_address(address)
    assert "secret" not in str(caught.value)


def test_missing_wheel_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did not install the demo's requirements is told so."""
    monkeypatch.setattr(postgres, "WHEEL", "no_such_wheel")
    with pytest.raises(postgres.WheelMissing, match=r"make demo  in a clone"):
        postgres.installed_programs()


def test_programs_that_the_servers_user_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root the server runs as nobody; a virtualenv below a folder of mode 0700 is no
    hindrance."""
    if os.geteuid() != 0:
        pytest.skip("only root runs the server as another user")
    monkeypatch.setattr(postgres, "_open_to_all", lambda _: False)
    with postgres.started(tmp_path / "log", "secret") as process:
        database.Login(process.host, process.port, postgres.ADMIN, "secret").connect(
            "postgres"
        ).close()
