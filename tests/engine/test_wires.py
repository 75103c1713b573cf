"""wires.py itself: what is struck is struck exactly there, and what is not passes as if there
were no wire."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest
from wire_talks import AFTER, API, BEFORE, CUT, HOLD, KILL, NONSENSE, SQL, TRANSIENT, Strike
from wires import Point, Wires

from ovirt_demo.database import Database

LIMIT_SECONDS = 20
LARGE = 3_000_000

ASKS = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("POST", "/ctrl/1.0/VolumeCreate", b"{}")
print(connection.getresponse().read())
"""
INSERTS = """
import psycopg2, sys
connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
connection.cursor().execute("SELECT pg_advisory_lock(1); INSERT INTO effects VALUES (1)")
print("done")
"""


@dataclass
class Echo:
    """A server that sends back what it is sent, on lasting connections, and remembers it."""

    port: int
    seen: list[bytes] = field(default_factory=list)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Give a running echo."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.seen.append(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Echo(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        server.shutdown()
        thread.join()


@pytest.fixture
def wires(database: Database, echo: Echo) -> Iterator[Wires]:
    """Give wires to a database with one table, and to an echo."""
    with contextlib.closing(database.connect()) as connection:
        connection.cursor().execute("CREATE TABLE effects (number integer)")
    with Wires((database.login.host, database.login.port), ("127.0.0.1", echo.port)) as made:
        yield made


def effects(database: Database) -> int:
    """Count what has been done, past the wire; whoever was cut off holds no lock any more."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SET lock_timeout = '20s'; SELECT pg_advisory_lock(1); SELECT count(*) FROM effects"
        )
        return int(cursor.fetchone()[0])


@contextlib.contextmanager
def connected(database: Database, wires: Wires) -> Iterator[Any]:
    """Give a cursor of a connection through the wire."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=wires.sql_port,
        user=database.login.user,
        password=database.login.password,
        dbname=database.name,
        connect_timeout=LIMIT_SECONDS,
    )
    connection.autocommit = True
    with contextlib.closing(connection):
        yield connection.cursor()


def post(wires: Wires, body: bytes, path: str = "/ctrl/1.0/VolumeCreate") -> tuple[int, bytes]:
    """Send one request through the wire and return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", wires.api_port, timeout=LIMIT_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def die(wires: Wires, program: str, argument: str) -> None:
    """Run a program that the wires have to kill, and check that they did."""
    process = subprocess.Popen([sys.executable, "-c", program, argument], stdout=subprocess.PIPE)
    wires.victim(process.pid)
    said, _ = process.communicate(timeout=LIMIT_SECONDS)
    wires.settle()
    assert (process.returncode, said) == (-signal.SIGKILL, b"")


def test_statements_pass_unchanged_and_are_counted(database: Database, wires: Wires) -> None:
    """Several statements in one connection, a large answer, an error: as without a wire."""
    with connected(database, wires) as cursor:
        cursor.execute("SELECT repeat('x', %s), %s", (LARGE, "it's"))
        assert cursor.fetchone() == ("x" * LARGE, "it's")
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute("SELECT * FROM nosuch")
        cursor.execute("SELECT g FROM generate_series(1, 1000) g")
        assert len(cursor.fetchall()) == 1000
    labels = [
        "connect",
        "SELECT repeat(?, ?), ?",
        "SELECT * FROM nosuch",
        "SELECT g FROM generate_series(?, ?) g",
    ]
    assert wires.points == [Point(SQL, number, label) for number, label in enumerate(labels, 1)]


def test_requests_pass_unchanged_and_are_counted(wires: Wires, echo: Echo) -> None:
    """Large bodies and every form of path; the label is the query."""
    large = b"y" * LARGE
    prefixes = (
        "",
        "MultiCluster/",
        "RemoteCommand/~sim.a/",
        "RemoteCommand/~sim.a/MultiCluster/AllClusters/",
    )
    for prefix in prefixes:
        assert post(wires, large, f"/ctrl/1.0/{prefix}VolumeUpdate/~a.b.c") == (200, large)
    assert echo.seen == [large] * len(prefixes)
    assert wires.points == [
        Point(API, number, "VolumeUpdate") for number in range(1, len(prefixes) + 1)
    ]


def test_bytes_that_come_split_or_together_are_the_same_requests(wires: Wires, echo: Echo) -> None:
    """Two requests on one connection, sent byte by byte and then as one packet."""
    head = "POST /ctrl/1.0/{} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    both = f"{head.format('VolumeCreate')}one{head.format('VolumeDelete/x')}two".encode()
    for pieces in ([both[at : at + 1] for at in range(len(both))], [both]):
        with socket.create_connection(("127.0.0.1", wires.api_port), LIMIT_SECONDS) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.sendall(piece)
            answer = b""
            while not answer.endswith(b"two"):
                answer += client.recv(65536)
            assert answer.count(b"HTTP/1.1 200") == 2
    assert [point.label for point in wires.points] == ["VolumeCreate", "VolumeDelete"] * 2
    assert echo.seen == [b"one", b"two"] * 2


@pytest.mark.parametrize(
    ("number", "when", "done"), [(1, BEFORE, 0), (1, AFTER, 0), (2, BEFORE, 0), (2, AFTER, 1)]
)
def test_a_client_of_postgresql_is_killed(
    database: Database, wires: Wires, number: int, when: str, done: int
) -> None:
    """At the connection and at the statement: before it nothing is done, after it once; its lock is
    free again."""
    wires.clear(Strike(number, SQL, when, KILL))
    login = (
        f"host=127.0.0.1 port={wires.sql_port} dbname={database.name} user={database.login.user}"
    )
    die(wires, INSERTS, f"{login} password={database.login.password}")
    assert wires.struck == wires.points[-1]
    assert [point.number for point in wires.points] == [*range(1, number + 1)]
    assert effects(database) == done


@pytest.mark.parametrize(("when", "done"), [(BEFORE, 0), (AFTER, 1)])
def test_a_client_of_the_api_is_killed(wires: Wires, echo: Echo, when: str, done: int) -> None:
    """Before the request the server has seen nothing, after it the request once."""
    wires.clear(Strike(1, API, when, KILL))
    die(wires, ASKS, str(wires.api_port))
    assert wires.struck == Point(API, 1, "VolumeCreate")
    assert echo.seen == [b"{}"] * done


@pytest.mark.parametrize(("when", "done"), [(BEFORE, 0), (AFTER, 1)])
def test_a_statement_is_cut_off(database: Database, wires: Wires, when: str, done: int) -> None:
    """The client loses its connection, the server's session ends, and the next connection is a good
    one."""
    wires.clear(Strike(2, SQL, when, CUT))
    with connected(database, wires) as cursor, pytest.raises(psycopg2.OperationalError):
        cursor.execute("SELECT pg_advisory_lock(1); INSERT INTO effects VALUES (1)")
    assert effects(database) == done
    with connected(database, wires) as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_login_is_cut_off(database: Database, wires: Wires, when: str) -> None:
    """A connection that is cut never comes about."""
    wires.clear(Strike(1, SQL, when, CUT))
    with pytest.raises(psycopg2.OperationalError), connected(database, wires):
        pass
    assert wires.points[0].label == "connect"


@pytest.mark.parametrize(("when", "done"), [(BEFORE, 0), (AFTER, 1)])
def test_a_request_is_cut_off(wires: Wires, echo: Echo, when: str, done: int) -> None:
    """A reset in place of the answer, once; the request after it passes."""
    wires.clear(Strike(1, API, when, CUT))
    with pytest.raises(ConnectionResetError):
        post(wires, b"first")
    assert echo.seen == [b"first"] * done
    assert post(wires, b"second") == (200, b"second")


@pytest.mark.parametrize(("when", "done"), [(BEFORE, 0), (AFTER, 1)])
def test_a_request_gets_another_answer(wires: Wires, echo: Echo, when: str, done: int) -> None:
    """A transient error as StorPool sends it, or a proxy's page."""
    wires.clear(Strike(1, API, when, TRANSIENT))
    status, body = post(wires, b"one")
    assert (status, json.loads(body)["error"]["transient"]) == (503, True)
    wires.clear(Strike(1, API, when, NONSENSE))
    assert post(wires, b"two")[0] == 502
    assert echo.seen == [b"one", b"two"] * done


@pytest.mark.parametrize(("when", "done"), [(BEFORE, 0), (AFTER, 1)])
def test_a_request_gets_no_answer(wires: Wires, echo: Echo, when: str, done: int) -> None:
    """The client waits until the wire lets go, and gets nothing then."""
    wires.clear(Strike(1, API, when, HOLD))
    with socket.create_connection(("127.0.0.1", wires.api_port), 0.2) as client:
        client.sendall(b"POST /ctrl/1.0/VolumeCreate HTTP/1.1\r\nContent-Length: 3\r\n\r\none")
        with pytest.raises(socket.timeout):
            client.recv(1)
        client.settimeout(LIMIT_SECONDS)
        wires.release()
        assert client.recv(1) == b""
    assert echo.seen == [b"one"] * done


def test_postgresql_cannot_answer_like_an_api(wires: Wires) -> None:
    """A strike that means nothing is refused, not ignored."""
    with pytest.raises(ValueError, match="transient"):
        wires.clear(Strike(1, SQL, BEFORE, TRANSIENT))
