"""answers.py: what a peer says is read as RFC 9112 has it, and as Python's own HTTP client reads
it."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storpool_ovirt.cluster import answers

BODY = b'{"generation": 1, "data": []}'
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.fixture(autouse=True)
def transport_kind() -> None:
    """No test here is run by both ways: one of them is what is read here."""


def read(said: bytes, size: int = 1 << 16) -> tuple[int, bytes]:
    """Return the status and the body of what is said in pieces of this size, to the end of the
    connection."""
    pieces: Iterator[bytes] = iter([said[at : at + size] for at in range(0, len(said), size)])
    status, _, body = answers.received(lambda: next(pieces, b""))
    return status, answers.whole(body)


def read_by_python(said: bytes) -> tuple[int, bytes]:
    """Return the same as Python's own client reads it."""

    class Peer:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(said)

    response = http.client.HTTPResponse(Peer(), method="GET")  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return response.status, body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body in parts."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# What is rare, and is an answer all the same.
LEGAL = {
    "plain": OK + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0, to the end of the connection": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty reason": b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\n" + BODY,
    "a long reason": b"HTTP/1.1 200 All is well: no change\r\n" + LENGTH + b"\r\n" + BODY,
    "small letters": OK + LENGTH.lower() + b"\r\n" + BODY,
    "capitals": OK + LENGTH.upper() + b"\r\n" + BODY,
    "no blank": OK + LENGTH.replace(b": ", b":") + b"\r\n" + BODY,
    "many blanks": OK + LENGTH.replace(b": ", b": \t ") + b"\r\n" + BODY,
    "lines end without CR": (OK + LENGTH + b"\r\n").replace(b"\r", b"") + BODY,
    "a length that is told twice": OK + LENGTH * 2 + b"\r\n" + BODY,
    "more than is said": OK + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 500 No\r\n\r\n",
    "other headers": OK + b"Date: x\r\nServer:\r\nSet-Cookie: a=b\r\n" + LENGTH + b"\r\n" + BODY,
    "a long header": OK + b"X: %b\r\n" % (b"x" * 60_000) + LENGTH + b"\r\n" + BODY,
    "many headers": OK + b"X: y\r\n" * 90 + LENGTH + b"\r\n" + BODY,
    "a folded header": OK + b"X: y\r\n z\r\n\tz\r\n" + LENGTH + b"\r\n" + BODY,
    "a header of Latin-1": OK + b"X: \xe9\r\n" + LENGTH + b"\r\n" + BODY,
    "an interim answer": b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY,
    "several": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK + LENGTH + b"\r\n" + BODY,
    "chunks": CHUNKED + chunked(BODY[:5], BODY[5:]),
    "chunks of one": CHUNKED + chunked(*[BODY[at : at + 1] for at in range(len(BODY))]),
    "with extensions": CHUNKED + b'%x;a=b;c="d"\r\n%b\r\n0;e\r\n\r\n' % (len(BODY), BODY),
    "with a blank": CHUNKED + b"%x \r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "with zeros before": CHUNKED + b"000%x\r\n%b\r\n000\r\n\r\n" % (len(BODY), BODY),
    "with trailers": CHUNKED + chunked(BODY, end=b"0\r\nDigest: x\r\nY: z\r\n\r\n"),
    "and nothing behind": CHUNKED + chunked(BODY, end=b"0\r\n"),
    "Chunked": OK + b"transfer-encoding: Chunked\r\n\r\n" + chunked(BODY),
    "and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + chunked(BODY),
    "an empty body": OK + b"Content-Length: 0\r\n\r\n",
    "an empty one in chunks": CHUNKED + chunked(),
    "an error": b"HTTP/1.1 503 Service Unavailable\r\n" + LENGTH + b"\r\n" + BODY,
    "no content": b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n",
    "a large one": OK + b"\r\n" + b"x" * 300_000,
    "a large one in chunks": CHUNKED + chunked(b"x" * 200_000, b"y" * 100_000),
}


@pytest.mark.parametrize("said", LEGAL.values(), ids=LEGAL)
@pytest.mark.parametrize("size", [1 << 16, 3])
def test_what_is_an_answer(said: bytes, size: int) -> None:
    """Python's own client reads the same, however the network cuts it."""
    assert read(said, size) == read_by_python(said)


def test_other_interim_answers() -> None:
    """RFC 9110, 15.2: whatever is below 200 says that the answer is still to come."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert read(early * 2 + OK + LENGTH + b"\r\n" + BODY) == (200, BODY)


ILLEGAL = {
    "nothing": b"",
    "a page": b"<html>\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_8.7\r\n",
    "a later one": b"HTTP/2 200 OK\r\n\r\n",
    "no number": b"HTTP/1.1 OK\r\n\r\n",
    "a number that is none": b"HTTP/1.1 2\xb20 OK\r\n\r\n",
    "a long number": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n",
    "a small number": b"HTTP/1.1 099 OK\r\n\r\n",
    "a long line": OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n" + BODY,
    "a long status": b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n" + BODY,
    "headers without end": OK + b"X: y\r\n" * 200 + b"\r\n" + BODY,
    "less than is said": OK + b"Content-Length: 99\r\n\r\n" + BODY,
    "two lengths": OK + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "two in one": OK + b"Content-Length: 3, 29\r\n\r\n" + BODY,
    "a length below zero": OK + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length with a sign": OK + b"Content-Length: +29\r\n\r\n" + BODY,
    "a length of another alphabet": OK + b"Content-Length: \xb2\r\n\r\n" + BODY,
    "a length of thousands of digits": OK + b"Content-Length: " + b"9" * 9000 + b"\r\n\r\n",
    "a chunk below zero": CHUNKED + b"-1\r\n" + BODY,
    "a chunk with a sign": CHUNKED + b"+5\r\n" + BODY,
    "a chunk with 0x": CHUNKED + b"0x5\r\n" + BODY,
    "a chunk that is cut": CHUNKED + b"ff\r\n" + BODY,
    "a chunk without its end": CHUNKED + b"5\r\n" + BODY[:5],
    "a chunk that is longer": CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no chunk": CHUNKED + b"\r\n",
    "a chunk without number": CHUNKED + b";a\r\n",
    "trailers without end": CHUNKED + chunked(BODY, end=b"0\r\n" + b"X: y\r\n" * 200),
    "a coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(BODY),
}


@pytest.mark.parametrize("said", ILLEGAL.values(), ids=ILLEGAL)
@pytest.mark.parametrize("size", [1 << 16, 7])
def test_what_is_none(said: bytes, size: int) -> None:
    """T73: it is told as what it is, and nothing of it is taken for an answer."""
    with pytest.raises(answers.Malformed) as raised:
        read(said, size)
    assert str(raised.value)


def test_pythons_words_stay() -> None:
    """What an administrator may look for in the log is said as Python's client says it."""
    for said in ("nothing", "a page", "less than is said", "headers without end", "a long line"):
        with pytest.raises(answers.Malformed) as ours:
            read(ILLEGAL[said])
        try:
            read_by_python(ILLEGAL[said])
        except http.client.IncompleteRead as error:  # of what was read it counts the last piece
            assert str(ours.value).endswith(str(error).partition("read, ")[2])
        except (http.client.HTTPException, OSError) as error:
            assert str(ours.value) == str(error)


PART = st.one_of(
    st.sampled_from([*LEGAL.values(), *ILLEGAL.values()]).map(lambda said: said[:2000]),
    st.sampled_from(
        [
            OK, LENGTH, BODY, CHUNKED, chunked(BODY), b"0\r\n\r\n", b"Content-Length:", b"29",
            b"Transfer-Encoding: chunked\r\n", b"5\r\n", b";", b":", b" ", b"\r\n", b"\n",
            b"HTTP/1.1 ", b"HTTP/1.0 ", b"100 Continue\r\n", b"204 No\r\n", b"304 No\r\n", b"fff",
        ]
    ),
    st.binary(max_size=8),
)  # fmt: skip


@st.composite
def saying(draw: st.DrawFn) -> bytes:
    """Draw what somebody may say: a right answer with something else in it, or any parts."""
    parts = draw(st.lists(PART, max_size=6))
    if draw(st.booleans()):
        return b"".join(parts)
    said = draw(st.sampled_from(list(LEGAL.values())))[:2000]
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(said))] * 2)))
    return said[:begin] + draw(PART) + said[end:]


@given(saying(), st.integers(1, 40))
@settings(max_examples=1500, deadline=None)
def test_whatever_is_said(said: bytes, size: int) -> None:
    """T73: it is an answer, or Malformed, and the same however it comes. Where Python's client
    takes it too, and it is what StorPool sends, both have read the same."""
    found = outcome(said, 1 << 16)
    assert found == outcome(said, size)
    try:
        other = read_by_python(said)
    except (http.client.HTTPException, OSError, ValueError, OverflowError):
        return
    if not isinstance(found, str) and is_document(found[1]) and is_document(other[1]):
        assert (found[0], json.loads(found[1])) == (other[0], json.loads(other[1]))


def outcome(said: bytes, size: int) -> Any:
    """Return what was read, or why nothing was."""
    try:
        return read(said, size)
    except answers.Malformed as error:
        return str(error)


def is_document(body: bytes) -> bool:
    """Return whether a body is an object of JSON."""
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
