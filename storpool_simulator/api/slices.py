"""Replies that are made while they are sent, slice by slice.

So a list of all objects neither fills the memory nor keeps the calls beside it waiting: none of its
steps holds the interpreter for long, and none the lock of the cluster, as it is made from a picture
of the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NoReturn

SLICE = 50  # elements at a time: measured, they are made in half a millisecond


class Rows:
    """An array of a reply whose elements are made when they are needed; they are needed once."""

    def __init__(self, elements: Iterable[Any]) -> None:
        self.elements = elements


class Named:
    """An object of a reply whose members are made when they are needed; they are needed once."""

    def __init__(self, members: Iterable[tuple[str, Any]]) -> None:
        self.members = members


class _SlicedError(Exception):
    """There are Rows or Named in what was to be written at once."""


def _sliced(value: object) -> NoReturn:
    if isinstance(value, (Rows, Named)):
        raise _SlicedError
    raise TypeError(f"a reply has no {type(value).__name__}")


_encode = json.JSONEncoder(separators=(",", ":"), default=_sliced).encode


def text(value: Any) -> Iterator[str]:
    """Yield a value as JSON: in one piece, or in many where there are Rows or Named in it."""
    if isinstance(value, Rows):
        yield from _within("[", "]", _slices(value.elements))
    elif isinstance(value, Named):
        yield from _within("{", "}", _slices(value.members))
    else:
        try:
            yield _encode(value)
        except _SlicedError:
            yield from _parts(value)


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        named = (_member(key, one) for key, one in value.items())
        yield from _within("{", "}", named)
    else:
        yield from _within("[", "]", map(text, value))


def _member(key: str, value: Any) -> Iterator[str]:
    yield f"{_encode(key)}:"
    yield from text(value)


def _slices(elements: Iterable[Any]) -> Iterator[Iterator[str]]:
    """Yield the JSON of some elements or members at a time, without the brackets around it."""
    left = iter(elements)
    while True:
        some = list(islice(left, SLICE))
        if not some:
            return
        together = dict(some) if isinstance(some[0], tuple) else some
        yield iter((_encode(together)[1:-1],))


def _within(before: str, after: str, parts: Iterable[Iterator[str]]) -> Iterator[str]:
    yield before
    is_first = True
    for part in parts:
        if not is_first:
            yield ","
        is_first = False
        yield from part
    yield after
