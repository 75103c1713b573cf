"""One HTTP request to the StorPool API, within one limit: the name, the addresses, the answer to
its last byte.

What is limited here is the whole of each: a name server that is silent, an address of a name that
drops what comes, a peer that sends a byte now and then. `http.client` alone limits each read, and
the resolver not at all. It is loaded for the first request: who only resolves a name, as for
PostgreSQL, is spared it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    import http.client

# glibc asks the second name server after 5 s (resolv.conf(5), `timeout`).
RESOLVE_SECONDS = 8.0
# An address that is there answers in milliseconds; a lost packet is sent again after one second,
# and after three.
CONNECT_SECONDS = 4.0
# Of what is held as a whole: a list of 100,000 volumes has about as much. What is longer would take
# a host's memory from its VMs.
ANSWER_MAX_BYTES = 256 << 20
PIECE_BYTES = 1 << 18


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


def whole(pieces: Iterator[bytes]) -> bytes:
    """Return a body as it is. Raises OSError where it is longer than any of StorPool's."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length > ANSWER_MAX_BYTES:
            raise OSError(errno.EMSGSIZE, "the answer is longer than any of StorPool's")
    return b"".join(held)


class Wire:
    """The way to one host.

    The address that answered last is tried first for as long as this lives.
    """

    def __init__(self, host: str, port: int) -> None:
        # In a URL an IPv6 address has brackets, for the resolver it has none.
        self._host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        self._port = port
        self._addresses: list[tuple[int, Any]] = []

    def request(  # noqa: PLR0913  what a request has
        self,
        method: str,
        path: str,
        body: str | None,
        headers: Mapping[str, str],
        seconds: float,
        *,
        read: Callable[[Iterator[bytes]], Any] = whole,
    ) -> Answer:
        """Send one request and return the answer, all within so many seconds.

        `read` is given the body in pieces as they come, and makes the answer's own of it: it has to
        read to the end, where it is told whether all has come. Raises UnknownName or Unreachable
        when nothing was sent; any other OSError, and what `http.client` and `read` raise, when it
        may have taken effect.
        """
        import http.client

        end = time.monotonic() + seconds
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.sock = self._connected(end)
        try:
            connection.request(method, path, body, dict(headers))
            # Left open after a failure, an answer that ends with its connection would keep the
            # socket.
            with contextlib.closing(connection.getresponse()) as response:
                told = response.getheader("Date", "")
                answer = Answer(response.status, read(_pieces(response)), told)
        except BaseException:
            self._addresses.append(self._addresses.pop(0))  # the next try begins with another one
            raise
        finally:
            connection.close()
        return answer

    def _connected(self, end: float) -> socket.socket:
        if not self._addresses:
            self._addresses = resolved(self._host, self._port, _left(end))
        refusals: list[OSError] = []
        for place, (family, address) in enumerate(list(self._addresses)):
            try:
                there = _Limited(family, end)
            except OSError as error:  # a kernel without IPv6, say
                refusals.append(error)
                continue
            try:
                there.settimeout(min(CONNECT_SECONDS, _left(end)))
                there.connect(address)
            except OSError as error:
                there.close()
                refusals.append(error)
            else:
                # An answer is read at once: nothing is gained by waiting for more to send.
                there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._addresses.insert(0, self._addresses.pop(place))
                return there
        raise Unreachable(_told(refusals, self._addresses)) from refusals[-1]


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield a body to its end, whatever length its header says."""
    import http.client

    while True:
        try:
            piece = response.read(PIECE_BYTES)
        except OverflowError as error:  # a chunk whose length is no number of this machine's
            raise http.client.HTTPException(f"a length that is none ({error})") from error
        if not piece:
            break
        yield piece
    if response.length:  # announced, and not come: `read` of a part does not complain
        raise http.client.IncompleteRead(b"", response.length)


class _Limited(socket.socket):
    """A socket whose reads and writes all end by one moment."""

    def __init__(self, family: int, end: float) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._end = end

    def recv_into(self, *arguments: Any, **facts: Any) -> int:  # what http.client's reader calls
        self.settimeout(_left(self._end))
        return super().recv_into(*arguments, **facts)

    def sendall(self, *arguments: Any, **facts: Any) -> None:
        self.settimeout(_left(self._end))  # Python's own limit here is one for all of it
        super().sendall(*arguments, **facts)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


def resolved(host: str, port: int, seconds: float) -> list[tuple[int, Any]]:
    """Return the addresses of a host, in the order of the system's resolver; raise UnknownName."""
    try:
        return _asked(host, port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass  # a name
    import threading

    found: list[Any] = []

    def resolve() -> None:
        try:
            found.append(_asked(host, port, 0))
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The C library's resolver cannot be broken off: a thread that is still in it ends with the
    # process.
    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(min(RESOLVE_SECONDS, seconds))
    if not found:
        raise UnknownName(f"no name server answered within {min(RESOLVE_SECONDS, seconds):.0f} s")
    if isinstance(found[0], Exception):
        raise UnknownName(
            getattr(found[0], "strerror", None) or "it is no name of a host"
        ) from found[0]
    return list(found[0])


def _asked(host: str, port: int, flags: int) -> list[tuple[int, Any]]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
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
