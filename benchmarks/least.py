"""The least that an adapter in Python can do: the exchange of a verb by hand, and nothing else.

    python -IS -c 'import sys; sys.path[:0] = [FOLDER]; import least; least.main()' ARGUMENT...

So many calls of StorPool's API, each on a connection of its own, as the API closes it; one
connection to PostgreSQL, and so many round trips on it. Only built-in modules, no checks, no limits
of time, no errors but the interpreter's. `verbs.py` runs it beside each verb: the true floor.
"""

from __future__ import annotations

import sys

SERVICES = "GET /ctrl/1.0/ServicesList HTTP/1.0\r\nAuthorization: Storpool v1:%s\r\n\r\n"
PROTOCOL = 3 << 16
LENGTH = b"content-length:"
STATEMENT = b"SELECT 1\0"
OK, PASSWORD, MD5, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 5, 10, 11, 12
READ_BYTES = 1 << 16


def main() -> None:
    """Do the exchange that the arguments tell: the API with its number of calls, the database with
    its number of round trips."""
    host, port, token, calls, *database, trips = sys.argv[1:]
    if int(trips):
        base = Base(*database)
    for _ in range(int(calls)):
        ask(host, int(port), token)
    for _ in range(int(trips)):
        base.run()


def connected(host: str, port: int):
    """Return a connection to an address."""
    import _socket

    there = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    there.connect((host, port))
    there.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return there


def ask(host: str, port: int, token: str) -> None:
    """Make one call of the API."""
    there = connected(host, port)
    there.sendall((SERVICES % token).encode())
    answer = b""
    while not _is_whole(answer):
        piece = there.recv(READ_BYTES)
        assert piece, "the API has closed the connection"
        answer += piece
    there.close()


def _is_whole(answer: bytes) -> bool:
    """Return whether an answer is there to its end, which need not be that of its connection."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, found, length = head.lower().partition(LENGTH)
    assert found, head
    return len(body) >= int(length.split(b"\r\n", 1)[0])


class Base:
    """One connection to PostgreSQL, by its protocol 3.0."""

    def __init__(self, host: str, port: str, user: str, password: str, name: str) -> None:
        self._there = connected(host, int(port))
        self._read = b""
        settings = f"user\0{user}\0database\0{name}\0client_encoding\0UTF8\0\0".encode()
        body = PROTOCOL.to_bytes(4, "big") + settings
        self._there.sendall((len(body) + 4).to_bytes(4, "big") + body)
        self._log_in(user, password.encode())
        self._until_ready()

    def run(self) -> None:
        """Run one statement."""
        self._send(b"Q", STATEMENT)
        self._until_ready()

    def _log_in(self, user: str, password: bytes) -> None:
        kind, body = self._message()
        way = int.from_bytes(body[:4], "big")
        assert kind == b"R", body
        if way == SASL:
            self._scram(password)
        elif way == PASSWORD:
            self._send(b"p", password + b"\0")
        elif way == MD5:
            import _md5

            inner = _md5.md5(password + user.encode()).hexdigest().encode()
            self._send(b"p", b"md5" + _md5.md5(inner + body[4:8]).hexdigest().encode() + b"\0")
        else:
            assert way == OK, body

    def _scram(self, password: bytes) -> None:
        """Log in by SCRAM-SHA-256 (RFC 7677), as libpq does."""
        import _hashlib
        import binascii
        import posix

        nonce = binascii.b2a_hex(posix.urandom(9))
        bare = b"n=,r=" + nonce
        first = b"n,," + bare
        self._send(b"p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
        _, body = self._message()
        said = body[4:]
        facts = dict(each.split(b"=", 1) for each in said.split(b","))
        salt, turns = binascii.a2b_base64(facts[b"s"]), int(facts[b"i"])
        salted = _hashlib.pbkdf2_hmac("sha256", password, salt, turns)
        key = _hashlib.hmac_digest(salted, b"Client Key", "sha256")
        stored = _hashlib.openssl_sha256(key).digest()
        last = b"c=biws,r=" + facts[b"r"]
        proven = _hashlib.hmac_digest(stored, b",".join((bare, said, last)), "sha256")
        proof = bytes(one ^ other for one, other in zip(key, proven))
        self._send(b"p", last + b",p=" + binascii.b2a_base64(proof, newline=False))
        for expected in (SASL_FINAL, OK):
            kind, body = self._message()
            assert (kind, int.from_bytes(body[:4], "big")) == (b"R", expected), body

    def _send(self, kind: bytes, body: bytes) -> None:
        self._there.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def _until_ready(self) -> None:
        while (message := self._message())[0] != b"Z":
            assert message[0] != b"E", message

    def _message(self) -> tuple[bytes, bytes]:
        head = self._take(5)
        return head[:1], self._take(int.from_bytes(head[1:], "big") - 4)

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            piece = self._there.recv(READ_BYTES)
            assert piece, "PostgreSQL has closed the connection"
            self._read += piece
        taken, self._read = self._read[:count], self._read[count:]
        return taken


if __name__ == "__main__":
    main()
