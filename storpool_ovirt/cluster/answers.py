"""The answer to one HTTP request, read as it comes (RFC 9112): the status line, the headers that
matter, the body to its end.

A request has a connection of its own, so what a peer says is never taken for the answer to another
one. What is not HTTP is `Malformed`; it is read no further.
"""

from __future__ import annotations

import errno

from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Callable

# Of what is held as a whole: a list of 100,000 volumes has about as much. What is longer would take
# a host's memory from its VMs.
ANSWER_MAX_BYTES = 256 << 20
PIECE_BYTES = 1 << 16
# Python's own client of HTTP takes no more either; no server sends nearly as much.
LINE_MAX_BYTES = 1 << 16
HEADERS_MAX = 100

_OK_TO_MISS = (204, 304)  # these have no body (RFC 9110, 15.3.5, 15.4.5)
_SWITCHED = 101  # not asked for; what comes then is not HTTP
_FINAL = 200  # what is below says that the answer is still to come
_STATUS_DIGITS = 3
_DIGITS_MAX = 16
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class Malformed(Exception):
    """What came back is not HTTP, or only a part of it."""


def whole(pieces: Iterator[bytes]) -> bytes:
    """Return a body as a whole; raise OSError where it is longer than any of StorPool's."""
    found: list[bytes] = []
    length = 0
    for piece in pieces:
        found.append(piece)
        length += len(piece)
        if length > ANSWER_MAX_BYTES:
            raise OSError(errno.EMSGSIZE, "the answer is longer than any of StorPool's")
    return b"".join(found)


def received(more: Callable[[], bytes]) -> tuple[int, str, Iterator[bytes]]:
    """Return the status of an answer, the date that it has ("" for none), and the pieces of its
    body, which are read as they are asked for.

    `more` returns the next bytes of the connection, none at its end. Raises Malformed.
    """
    stream = _Stream(more)
    while True:
        status = _status(stream.line("status line"))
        headers = _headers(stream)
        if status == _SWITCHED or status >= _FINAL:
            break
    date = b", ".join(headers[b"date"]).decode("latin-1")
    return status, date, _pieces(stream, status, headers)


def _pieces(stream: _Stream, status: int, headers: dict[bytes, list[bytes]]) -> Iterator[bytes]:
    coding = b", ".join(headers[b"transfer-encoding"]).lower()
    if coding not in (b"", b"chunked", b"identity"):
        raise Malformed(f"a transfer coding that was not asked for ({coding[:40]!r})")
    length = None if coding == b"chunked" else _length(headers[b"content-length"])
    if status in _OK_TO_MISS or status == _SWITCHED:
        return iter(())
    if coding == b"chunked":
        return _chunks(stream)
    return stream.rest() if length is None else stream.exactly(length)


def _status(line: bytes) -> int:
    if not line:
        raise Malformed("Remote end closed connection without response")
    words = line.decode("latin-1").split(None, 2)
    version, status = words[:2] if len(words) > 1 else ("", "")
    is_status = len(status) == _STATUS_DIGITS and status.isdecimal() and status[0] != "0"
    if not version.startswith("HTTP/") or not is_status:
        raise Malformed(line.decode("latin-1"))
    if not version.startswith("HTTP/1."):
        raise Malformed(version)
    return int(status)


def _headers(stream: _Stream) -> dict[bytes, list[bytes]]:
    """Return all values of those headers that matter."""
    found: dict[bytes, list[bytes]] = {b"content-length": [], b"transfer-encoding": [], b"date": []}
    values: list[bytes] = []
    for _ in range(HEADERS_MAX):
        line = stream.line("header line").rstrip(b"\r\n")
        if not line:
            return found
        name, colon, value = line.partition(b":")
        if line[:1] in b" \t":  # the rest of a folded one, which was allowed once
            if values:
                values[-1] += b" " + line.strip()
        elif colon:
            values = found.get(name.strip().lower(), [])
            values.append(value.strip())
    raise Malformed(f"got more than {HEADERS_MAX} headers")


def _length(told: list[bytes]) -> int | None:
    """Return how long a body is said to be; None where nothing is said."""
    if not told:
        return None
    values = {value.strip() for each in told for value in each.split(b",")}
    value = values.pop()
    if values or not value.isdigit() or len(value) > _DIGITS_MAX:
        raise Malformed("a length that is none")
    return int(value)


def _chunks(stream: _Stream) -> Iterator[bytes]:
    while True:
        digits = stream.line("chunk size").partition(b";")[0].strip()
        if not digits or digits.strip(_HEXADECIMAL) or len(digits) > _DIGITS_MAX:
            raise Malformed("a length that is none, of a part")
        length = int(digits, 16)
        if not length:
            break
        yield from stream.exactly(length)
        if stream.line("chunk end").rstrip(b"\r\n"):
            raise Malformed("a part that is longer than it says")
    for _ in range(HEADERS_MAX):  # what follows the last one
        if not stream.line("trailer line").rstrip(b"\r\n"):
            return
    raise Malformed(f"got more than {HEADERS_MAX} trailers")


class _Stream:
    """The bytes of a connection, by lines and by numbers."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._have = b""

    def line(self, what: str) -> bytes:
        """Return a line with its end; what there is at the end of the connection."""
        while b"\n" not in self._have:
            piece = self._more() if len(self._have) <= LINE_MAX_BYTES else b""
            if not piece:
                break
            self._have += piece
        line, end, rest = self._have.partition(b"\n")
        if len(line) >= LINE_MAX_BYTES:
            raise Malformed(f"got more than {LINE_MAX_BYTES} bytes when reading {what}")
        self._have = rest
        return line + end

    def exactly(self, length: int) -> Iterator[bytes]:
        """Give so many bytes in pieces; raise Malformed where they end before."""
        while length:
            piece = self._have or self._more()
            if not piece:
                raise Malformed(f"IncompleteRead(0 bytes read, {length} more expected)")
            self._have, piece = piece[length:], piece[:length]
            length -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Give all that comes, in pieces."""
        piece = self._have or self._more()
        while piece:
            yield piece
            piece = self._more()
