"""One HTTP request to the StorPool API, within one limit: the name, the addresses, the answer to
its last byte.

What is limited here is the whole of each: a name server that is silent, an address of a name that
drops what comes, a peer that sends a byte now and then. How an answer is read is in `answers.py`.
Python's own module `_socket` is all that this needs: `socket` loads five others.
"""

from __future__ import annotations

import _socket
import _thread
import time

from storpool_ovirt.cluster import answers
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Callable

# glibc asks the second name server after 5 s (resolv.conf(5), `timeout`).
RESOLVE_SECONDS = 8.0
# An address that is there answers in milliseconds; a lost packet is sent again after one second,
# and after three.
CONNECT_SECONDS = 4.0
HTTP_PORT = 80  # which a request does not name (RFC 9110, 7.2)
_LABEL_MAX = 63  # of a name's part, in the DNS


class UnknownName(OSError):
    """The host's name cannot be resolved."""


class Unreachable(OSError):
    """No address of the host took the connection: nothing was sent."""


class Answer(NamedTuple):
    """What came back: the status, and the body as it is, or what its reader made of it; `date` is
    the server's own time, as its header has it, "" where it tells none."""

    status: int
    body: Any
    date: str = ""


class Wire:
    """The way to one host.

    The address that answered last is tried first for as long as this lives. Several requests may be
    under way at once: each has a connection of its own.
    """

    def __init__(self, host: str, port: int) -> None:
        # In a URL an IPv6 address has brackets, for the resolver it has none.
        self.host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        self.port = port
        self._addresses: list[tuple[int, Any]] = []

    def request(  # noqa: PLR0913  what a request has
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        *,
        read: Callable[[Iterator[bytes]], Any] = answers.whole,
    ) -> Answer:
        """Send one request and return the answer, all within so many seconds.

        `read` is given the body in pieces as they come, and makes the answer's own of it: it has to
        read to the end, where it is told whether all has come. Raises UnknownName or Unreachable
        when nothing was sent; any other OSError, answers.Malformed, and what `read` raises, when it
        may have taken effect.
        """
        return self.send(method, path, body, headers, seconds).answer(read)

    def send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Exchange:
        """Send one request; what is returned waits for its answer, and has to be closed.

        Raises as `request` does.
        """
        end = time.monotonic() + seconds
        under_way = self._exchange(end)
        try:
            under_way.send(method, path, body, headers)
        except BaseException:
            under_way.give_up()
            raise
        return under_way

    def _exchange(self, end: float) -> Exchange:
        return Exchange(self, *self.connected(end), end)

    def connected(self, end: float) -> tuple[Any, Any]:
        """Return a connection, and the address that took it."""
        if not self._addresses:
            self._addresses = resolved(self.host, self.port, left(end))
        refusals: list[OSError] = []
        tried = list(self._addresses)
        for each in tried:
            family, address = each
            try:
                there = _socket.socket(family, _socket.SOCK_STREAM)
            except OSError as error:  # a kernel without IPv6, say
                refusals.append(error)
                continue
            try:
                there.settimeout(min(CONNECT_SECONDS, left(end)))
                there.connect(address)
                # An answer is read at once: nothing is gained by waiting for more to send.
                there.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError as error:
                there.close()
                refusals.append(error)
            except BaseException:
                there.close()
                raise
            else:
                self._move(each, 0)
                return there, each
        raise Unreachable(_told(refusals, tried)) from refusals[-1]

    def demote(self, address: Any) -> None:
        """Begin with another address next time."""
        self._move(address, len(self._addresses))

    def _move(self, address: Any, place: int) -> None:
        if address in self._addresses:
            self._addresses.remove(address)
            self._addresses.insert(place, address)


class Exchange:
    """A request that is under way on a connection of its own."""

    def __init__(self, there: Wire, connection: Any, address: Any, end: float) -> None:
        self._there = there
        self._connection = connection
        self._address = address
        self._end = end

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send the request, head and body at once."""
        host = f"[{self._there.host}]" if ":" in self._there.host else self._there.host
        port = "" if self._there.port == HTTP_PORT else f":{self._there.port}"
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}{port}", "Accept-Encoding: identity"]
        if body is not None or method == "POST":
            lines.append(f"Content-Length: {len(body or b'')}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._connection.settimeout(left(self._end))  # one limit for all of it
        self._connection.sendall("\r\n".join((*lines, "", "")).encode("ascii") + (body or b""))

    def answer(self, read: Callable[[Iterator[bytes]], Any] = answers.whole) -> Answer:
        """Return the answer, and end the connection."""
        try:
            status, date, pieces = self._received()
            answer = Answer(status, read(pieces), date)
        except BaseException:
            self.give_up()
            raise
        self.close()
        return answer

    def _received(self) -> tuple[int, str, Iterator[bytes]]:
        return answers.received(self._more)

    def _more(self) -> bytes:
        self._connection.settimeout(left(self._end))
        return self._connection.recv(answers.PIECE_BYTES)  # type: ignore[no-any-return]

    def give_up(self) -> None:
        """End the connection for a failure: the next request begins with another address."""
        self._there.demote(self._address)
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def left(end: float) -> float:
    """Return the seconds until a moment; raise the error of a time-out when it has passed."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise _socket.timeout("timed out")
    return seconds


def resolved(host: str, port: int, seconds: float) -> list[tuple[int, Any]]:
    """Return the addresses of a host, in the order of the system's resolver; raise UnknownName."""
    try:
        return _asked(host, port, _socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass  # a name
    found: list[Any] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def resolve() -> None:
        try:
            found.append(_asked(host, port, 0))
        except (OSError, UnicodeError) as error:
            found.append(error)
        finally:
            ended.release()

    # The C library's resolver cannot be broken off: a thread that is still in it ends with the
    # process.
    _thread.start_new_thread(resolve, ())
    ended.acquire(timeout=max(0.0, min(RESOLVE_SECONDS, seconds)))
    if not found:
        raise UnknownName(f"no name server answered within {min(RESOLVE_SECONDS, seconds):.0f} s")
    if isinstance(found[0], Exception):
        raise UnknownName(
            getattr(found[0], "strerror", None) or "it is no name of a host"
        ) from found[0]
    return list(found[0])


def _asked(host: str, port: int, flags: int) -> list[tuple[int, Any]]:
    """Return what the resolver says; raise its error, or UnicodeError for what is no name."""
    given: str | bytes = host
    if host.isascii():
        # As a text it would go through a codec of Python's that loads four modules for it.
        given = host.encode()
        labels = (host[:-1] if host.endswith(".") else host).split(".")
        if not all(0 < len(label) <= _LABEL_MAX for label in labels):
            raise UnicodeError("label empty or too long")
    rows = _socket.getaddrinfo(given, port, type=_socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in rows))


def _told(refusals: list[OSError], addresses: list[tuple[int, Any]]) -> str:
    """Return why there is no connection: one reason where there is one, else one for each
    address."""
    reasons = [error.strerror or str(error) for error in refusals]
    if len(set(reasons)) == 1:
        return reasons[0].lower()
    return ", ".join(
        f"{address[0]}: {reason.lower()}" for (_, address), reason in zip(addresses, reasons)
    )
