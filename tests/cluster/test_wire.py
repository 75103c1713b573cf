"""wire.py: one request within one limit, whatever the name server, the addresses and the peer
do."""

from __future__ import annotations

import _socket
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from rigs import name_servers, transports
from rigs.canned_api import DRIP, RESET, answering, ok
from storpool_ovirt.cluster import answers, binding, wire

V4 = socket.AF_INET


@pytest.fixture
def silent() -> Iterator[Any]:
    """An address that drops whoever connects: its queue is full, and nobody takes from it."""
    listener = socket.socket()
    listener.bind(("127.0.0.3", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:
        each.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            each.connect(listener.getsockname())
    yield listener.getsockname()
    for each in (*waiting, listener):
        each.close()


@pytest.fixture
def closed() -> Any:
    """An address where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.4", 0))
        return listener.getsockname()


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let a name have these addresses; what was asked for is in the list that is returned."""

    def give(*there: Any) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: bytes, *_: Any, flags: int = 0, **__: Any) -> list[Any]:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "a name")
            asked.append(host.decode())
            return [(V4, socket.SOCK_STREAM, 6, "", address) for address in there]

        monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(wire, "CONNECT_SECONDS", 0.3)
        return asked

    return give


def way(host: str, port: int) -> wire.Wire:
    """Give the way to a host, of the kind that this run of the test is about."""
    return (wire.Wire if transports.chosen() == "wire" else binding.Wire)(host, port)


def get(there: wire.Wire, seconds: float = 5.0) -> wire.Answer:
    """Send a request."""
    return there.request("GET", "/ctrl/1.0/VolumesList", None, {}, seconds)


def test_the_first_of_two_addresses_is_silent(
    silent: Any, addresses: Callable[..., list[str]]
) -> None:
    """T73: the other one is tried after some seconds, kept for the process, and the name is asked
    for once."""
    with answering([ok([])]) as server:
        asked = addresses(silent, ("127.0.0.1", server.port))
        there = way("storpool.example", 81)
        began = time.monotonic()
        assert get(there).status == 200
        first = time.monotonic()
        assert get(there).status == 200
        second = time.monotonic()
    assert first - began >= 0.3
    assert second - first < 0.3
    assert asked == ["storpool.example"]


def test_no_address_takes_the_connection(
    silent: Any, closed: Any, addresses: Callable[..., list[str]]
) -> None:
    """Each address is told with its own reason: nothing was sent."""
    addresses(silent, closed)
    with pytest.raises(
        wire.Unreachable, match=r"127\.0\.0\.3: timed out, 127\.0\.0\.4: connection refused"
    ):
        get(way("storpool.example", 81))


def test_silent_addresses_do_not_add_up_beyond_the_limit(
    silent: Any, addresses: Callable[..., list[str]]
) -> None:
    """However many there are, a request ends within its limit."""
    addresses(*[silent] * 20)
    began = time.monotonic()
    with pytest.raises(wire.Unreachable, match="timed out"):
        get(way("storpool.example", 81), 1.0)
    assert time.monotonic() - began < 2.0


def test_an_address_that_failed_is_not_the_first_next_time(
    addresses: Callable[..., list[str]],
) -> None:
    """An instance that takes connections and then fails does not keep us from the others."""
    with answering([RESET]) as bad, answering([ok([])]) as good:
        addresses(("127.0.0.1", bad.port), ("127.0.0.1", good.port))
        there = way("storpool.example", 81)
        with pytest.raises(OSError, match="reset"):
            get(there)
        assert get(there).status == 200


def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver cannot be broken off, but nobody waits for it longer than the limit."""
    began = time.monotonic()
    with (
        name_servers.silent(monkeypatch),
        pytest.raises(wire.UnknownName, match="no name server answered"),
    ):
        get(way("storpool.example", 81), 60.0)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["name.invalid", "a" * 70 + ".example", "a..b"])
def test_a_name_that_is_none(name: str) -> None:
    """Whatever the resolver or Python's own encoding of names says, it is one kind of error."""
    with pytest.raises(wire.UnknownName):
        get(way(name, 81))


def test_a_peer_that_drips() -> None:
    """T73: a byte now and then resets a socket's own time-out for ever; ours is for the whole
    answer."""
    with answering([DRIP]) as server:
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            get(way("127.0.0.1", server.port), 0.5)
    assert time.monotonic() - began < 3


def test_ipv6_in_brackets_and_without() -> None:
    """An address of IPv6 is written as in a URL, or alone."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                peer, _address = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        assert [get(way(host, port)).body for host in ("[::1]", "::1")] == [b"{}", b"{}"]
        thread.join(10)


def answer(head: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    """Return what says this, and closes."""

    def say(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)

    return say


@contextlib.contextmanager
def saying(say: Callable[[socket.socket], None]) -> Iterator[wire.Wire]:
    """Give the way to a peer that says something once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _address = listener.accept()
            with peer, contextlib.suppress(OSError):
                say(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield way("127.0.0.1", listener.getsockname()[1])
        thread.join(10)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 99999999999999999999", b"{}"),
        ("Content-Length: 100000000000000000", b"{}"),
        ("Content-Length: 9", b"{}"),
        ("Transfer-Encoding: chunked", b"ffffffffffffffffffff\r\n{}"),
        ("Transfer-Encoding: chunked", b"-1\r\n{}"),
        ("Transfer-Encoding: chunked", b"5\r\n{}"),
    ],
    ids=lambda value: str(value)[-24:],
)
def test_a_length_that_is_none(head: str, body: bytes) -> None:
    """T73: what is shorter than it says, or says what no machine can hold, is an answer that cannot
    be read."""
    with saying(answer(head, body)) as there, pytest.raises((OSError, answers.Malformed)):
        get(there)


def test_a_body_that_says_its_length_and_one_that_does_not() -> None:
    """Whole bodies are whole, in pieces or not."""
    whole = b"x" * (3 * answers.PIECE_BYTES + 1)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole)
    for head, body in (
        (f"Content-Length: {len(whole)}", whole),
        ("X: y", whole),
        ("Transfer-Encoding: chunked", chunked),
        ("Content-Length: 0", b""),
    ):
        with saying(answer(head, body)) as there:
            assert get(there).body == (whole if body else b"")


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a host is its VMs': what is longer than any answer of StorPool's is not read to
    its end."""
    monkeypatch.setattr(answers, "ANSWER_MAX_BYTES", 1 << 20)
    with (
        saying(answer("X: y", b"x" * (4 << 20))) as there,
        pytest.raises(OSError, match="longer than any"),
    ):
        get(there)


def test_a_kind_of_address_that_this_machine_does_not_have(
    addresses: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel has no IPv6, the other addresses of a name are tried all the same."""
    with answering([ok([])]) as server:
        addresses(("127.0.0.1", server.port))
        first = (9999, socket.SOCK_STREAM, 6, "", ("::1", 81))
        real = _socket.getaddrinfo

        def both(*arguments: Any, **facts: Any) -> list[Any]:
            return [first, *real(*arguments, **facts)]

        monkeypatch.setattr(_socket, "getaddrinfo", both)
        assert get(way("storpool.example", 81)).status == 200
