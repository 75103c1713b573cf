"""What passes a wire: a conversation of a client with a server, understood as far as strikes need
it."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

SQL, API = "sql", "api"
BEFORE, AFTER = "before", "after"
KILL, CUT, TRANSIENT, NONSENSE, HOLD = "kill", "cut", "transient", "nonsense", "hold"
LIMIT_SECONDS = 60.0  # of every wait: longer than a verb that waits for a lock

CONNECT = "connect"
QUERY, PARSE, SYNC, READY = b"Q", b"P", b"S", b"Z"
ENCRYPTION_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest: one byte is the answer

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b-?\d+\b")
_PATH = re.compile(
    r"/ctrl/1\.0/(?:RemoteCommand/[^/]+/)?(?:MultiCluster/)?(?:AllClusters/)?([^/?]+)"
)
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_LASTING = re.compile(
    rb"HTTP/1\.1 (?!.*^connection: *close)", re.IGNORECASE | re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Strike:
    """What is to happen at the point `number` of a wire."""

    number: int
    wire: str
    when: str = BEFORE
    how: str = KILL


class Struck(Exception):
    """The strike of this conversation is done: nothing passes here any more."""


class Wires(Protocol):
    """What a conversation needs of the wires that it is a part of."""

    def reach(self, wire: str, label: str) -> Strike | None:
        """Count a point; return the strike that belongs to it, once."""

    def kill(self) -> None:
        """Kill the victim and wait until it is dead."""

    def hold(self) -> None:
        """Wait until the answer may be given up."""

    def ended(self, talk: Talk) -> None:
        """Forget a conversation."""


class _Side:
    """One end of a conversation, read in whole pieces; EOFError when it has ended."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.buffer = bytearray()

    def take(self, length: int) -> bytes:
        """Read so many bytes."""
        while len(self.buffer) < length:
            self._read()
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def message(self) -> bytes:
        """Read one typed message of PostgreSQL's protocol."""
        head = self.take(5)
        return head + self.take(struct.unpack(">I", head[1:])[0] - 4)

    def http(self, unmeasured: bool = False) -> bytes:
        """Read one request or reply; `unmeasured` says that it ends with the connection where it
        has no length."""
        while b"\r\n\r\n" not in self.buffer:
            self._read()
        head = self.take(self.buffer.index(b"\r\n\r\n") + 4)
        measured = _LENGTH.search(head)
        if measured is None and unmeasured:
            with contextlib.suppress(EOFError):
                while True:
                    self._read()
            return head + self.take(len(self.buffer))
        return head + self.take(int(measured[1]) if measured else 0)

    def close(self, reset: bool = False) -> None:
        """Close this end, with a reset in place of a farewell if that is wanted."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _read(self) -> None:
        data = self.connection.recv(1 << 16)
        if not data:
            raise EOFError
        self.buffer += data


class Talk:
    """One conversation of a client with a server."""

    def __init__(self, wires: Wires, connection: socket.socket, address: tuple[str, int]) -> None:
        self.wires = wires
        self.client = _Side(connection)
        self.address = address
        self.server: _Side | None = None

    def run(self) -> None:
        """Pass on what both say until one of them ends it."""
        with contextlib.suppress(OSError, EOFError, Struck):
            try:
                self.talk()
            finally:
                self.close()
                self.wires.ended(self)

    def talk(self) -> None:
        """Do the work."""
        raise NotImplementedError

    def reached(self) -> _Side:
        """Connect to the server where that was not done yet."""
        if self.server is None:
            self.server = _Side(socket.create_connection(self.address, LIMIT_SECONDS))
        return self.server

    def strike(self, strike: Strike) -> NoReturn:
        """Do what the strike says.

        The server's side is closed after the client's death, so it sees the same order.
        """
        if strike.how == KILL:
            self.wires.kill()
        elif strike.how == HOLD:
            self.wires.hold()
        elif strike.how in _ANSWERS:
            self.client.connection.sendall(_ANSWERS[strike.how])
        self.close(reset=strike.how == CUT)
        raise Struck

    def close(self, reset: bool = False) -> None:
        """Close both sides."""
        self.client.close(reset)
        if self.server:
            self.server.close()

    def wake(self) -> None:
        """End this conversation from another thread."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                if side:
                    side.connection.shutdown(socket.SHUT_RDWR)


class SqlTalk(Talk):
    """PostgreSQL: one login, then statements, each answered up to ReadyForQuery."""

    waiting: Strike | None = None

    def talk(self) -> None:
        """Pass on the login, then what either side says."""
        strike = self.wires.reach(SQL, CONNECT)
        if strike and strike.when == BEFORE:
            self.strike(strike)
        server = self.reached()
        self._introduce(server)
        for side, message in self._messages(server):
            if side is self.client:
                self._ask(server, message)
            else:
                if strike and message[:1] == READY:
                    self.strike(strike)
                self.client.connection.sendall(message)

    def _introduce(self, server: _Side) -> None:
        while True:
            head = self.client.take(8)
            length, code = struct.unpack(">II", head)
            server.connection.sendall(head + self.client.take(length - 8))
            if code not in ENCRYPTION_REQUESTS:
                return
            answer = server.take(1)
            assert answer == b"N", "what is encrypted cannot be understood"
            self.client.connection.sendall(answer)

    def _messages(self, server: _Side) -> Iterator[tuple[_Side, bytes]]:
        """Yield what either side says while no statement is under way."""
        both = {side.connection.fileno(): side for side in (self.client, server)}
        waiting = select.poll()
        for number in both:
            waiting.register(number, select.POLLIN)
        while True:
            speaking = [side for side in both.values() if side.buffer]
            speaking = speaking or [both[each] for each, _ in waiting.poll(1000 * LIMIT_SECONDS)]
            if not speaking:
                raise EOFError
            yield speaking[0], speaking[0].message()

    def _ask(self, server: _Side, message: bytes) -> None:
        kind = message[:1]
        if kind in (QUERY, PARSE):
            self.waiting = self.wires.reach(SQL, _statement(message))
            if self.waiting and self.waiting.when == BEFORE:
                self.strike(self.waiting)
        server.connection.sendall(message)
        while kind in (QUERY, SYNC):
            answer = server.message()
            if self.waiting is None:
                self.client.connection.sendall(answer)
            if answer[:1] == READY:
                if self.waiting:
                    self.strike(self.waiting)
                return


class ApiTalk(Talk):
    """HTTP: requests and replies, one after the other."""

    def talk(self) -> None:
        """Pass on one request and its reply after the other."""
        lasting = True
        while lasting:
            request = self.client.http()
            strike = self.wires.reach(API, _query(request))
            if strike and strike.when == BEFORE:
                self.strike(strike)
            server = self.reached()
            server.connection.sendall(request)
            reply = server.http(unmeasured=True)
            if strike:
                self.strike(strike)
            self.client.connection.sendall(reply)
            head = reply[: reply.index(b"\r\n\r\n")]
            lasting = bool(_LASTING.match(head) and _LENGTH.search(head))


def _statement(message: bytes) -> str:
    text = message[5:].split(b"\0")[message[:1] == PARSE].decode(errors="replace")
    return " ".join(_LITERAL.sub("?", text).split())[:70]


def _query(request: bytes) -> str:
    path = request.split(b" ", 2)[1].decode()
    found = _PATH.match(path)
    return found[1] if found else path


def _answer(status: str, kind: str, body: str) -> bytes:
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


_NOT_READY = {
    "error": {"name": "notReady", "descr": "Try again.", "transient": True},
    "generation": 0,
}
_ANSWERS = {
    TRANSIENT: _answer("503 Service Unavailable", "application/json", json.dumps(_NOT_READY)),
    NONSENSE: _answer(
        "502 Bad Gateway", "text/html", "<html><body><h1>502 Bad Gateway</h1></body></html>"
    ),
}
