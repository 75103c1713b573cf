"""A reply with a long list, read piece by piece: each entry becomes a value as soon as it is there,
and its text is dropped.

A cluster of 300,000 objects has a list of hundreds of MB, which as text and as Python's objects of
all of its fields would take gigabytes. What is kept of each is the caller's choice. Nothing is
given to the caller before the whole reply was read: a list that is cut, damaged or followed by an
error is a failure, and never a shorter list.

The scanner is that of Python's `json`, entry by entry: it takes what `json.loads` takes, in C, on
every Python, and needs no other package on Engine's machine.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from typing import Any, Callable, NoReturn

from storpool_ovirt.cluster import replies

# One value of a reply: an entry of StorPool's has some thousand characters. This much of the text
# is held at most, and no more.
VALUE_MAX = 8 << 20
# Ours: some times as many as any cluster has. What is kept of so many takes less than a host's
# memory.
ENTRIES_MAX = 2_000_000
SPACE = " \t\n\r"
ENDS = tuple(f"{SPACE},:]}}")  # what stands behind a value
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class Entries(list[Any]):
    """What was made of the entries of a list, in its order, without those of which None was made.

    `odd`: why one of them made no sense; there is nothing else in it then. It is told by whoever
    knows that the reply is none that is to be asked for again for another reason.
    """

    odd: replies.OddReply | None = None


def read(pieces: Iterable[bytes], make: Callable[[Mapping[str, Any]], object]) -> Mapping[str, Any]:
    """Return the JSON object that a body holds; where its "data" is a list, that is an `Entries` of
    what `make` makes of each entry.

    Raises OddReply for a body that is anything else or longer than any of StorPool's, and what
    `pieces` raises.
    """
    try:
        return _Body(pieces, make).read()
    except (UnicodeDecodeError, RecursionError) as error:
        raise replies.OddReply("it is not what StorPool sends") from error


class _Body:
    """The text of a body as far as it was read, and the place in it that was reached."""

    def __init__(
        self, pieces: Iterable[bytes], make: Callable[[Mapping[str, Any]], object]
    ) -> None:
        self._pieces = iter(pieces)
        self._make = make
        self._rest = b""  # of a character that is cut
        self._is_begun = False
        self._is_whole = False
        self._text = ""
        self._at = 0

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._take("{")
        if self._next() == "}":
            self._take("}")
        else:
            mark = ","
            while mark == ",":
                key = self._value()
                if not isinstance(key, str):
                    self._fail()
                self._take(":")
                is_list = key == "data" and self._next() == "["
                found[key] = self._entries() if is_list else self._value()
                mark = self._take(",}")
        if self._next():
            self._fail()  # something stands behind it
        return found

    def _entries(self) -> Entries:
        found, count = Entries(), 0
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return found
        mark = ","
        while mark == ",":
            entry = self._value()
            if found.odd is None:
                try:
                    made = self._make(replies.mapping(entry))
                    if made is not None:
                        found.append(made)
                except replies.OddReply as error:
                    found.odd = error
                    found.clear()
            count += 1
            if count > ENTRIES_MAX:
                raise replies.OddReply("the list is longer than any of StorPool's")
            mark = self._take(",]")
        return found

    def _value(self) -> Any:
        """Return the value that begins here."""
        self._next()
        while True:
            try:
                found, end = _scan(self._text, self._at)
            except (ValueError, StopIteration):
                # Cut by the end of the piece, or damaged: only what comes after it tells.
                if not self._read_on():
                    self._fail()
                continue
            length = end - self._at
            # A number may go on in the next piece: 1 | 1. | 1.5
            if self._text[end : end + 1] in ENDS or not self._read_on():
                self._at += length  # not `end`: to read on moves all that is left
                return found

    def _take(self, marks: str) -> str:
        """Return the mark that stands here, which must be one of these, and go behind it."""
        mark = self._next()
        if not mark or mark not in marks:
            self._fail()
        self._at += 1
        return mark

    def _next(self) -> str:
        """Go to the next character that is no white space, and return it; "" at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._read_on():
                return ""

    def _read_on(self) -> bool:
        """Read more, and drop what lies behind; return False at the end of the body.

        It is at least as much as is left here: a value that is read again and again, as it is cut,
        takes no more than twice its length in all.
        """
        left = self._text[self._at :]
        if len(left) > VALUE_MAX:
            raise replies.OddReply("a value in it is longer than any of StorPool's")
        parts, length = [left], 0
        while not self._is_whole and (not length or length < len(left)):
            part = self._decoded()
            parts.append(part)
            length += len(part)
        self._text, self._at = "".join(parts), 0
        return length > 0

    def _decoded(self) -> str:
        piece = next(self._pieces, b"")
        self._is_whole = not piece
        data = self._rest + piece
        text, used = codecs.utf_8_decode(data, "strict", self._is_whole)
        self._rest = data[used:]
        if text and not self._is_begun:
            self._is_begun = True
            return text[text.startswith("\ufeff") :]
        return text

    def _fail(self) -> NoReturn:
        raise replies.OddReply("it is not what StorPool sends")
