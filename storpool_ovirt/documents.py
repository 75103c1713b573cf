"""JSON from outside: what RFC 8259 calls JSON, and nothing that Python's reader takes beside it.

NaN and Infinity are none of its numbers. A number too large for a float is not infinite. Of two
values under one name nobody knows which was meant.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from storpool_ovirt import errors, names


def parse(
    text: str, what: str, advice: str, kind: type[errors.InputError] = errors.InputError
) -> Any:
    """Return the value that a JSON text from outside is.

    Raises InputError (or `kind`) naming `what`, with `advice`.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_float
        )
    except _Odd as error:
        raise kind(what, f"is not JSON: {error}", advice) from None
    except RecursionError:
        raise kind(what, "is not JSON: it is nested too deep", advice) from None
    except ValueError:  # also a number of more digits than Python converts
        raise kind(what, "is not JSON", advice) from None


class _Odd(ValueError):
    """A text that Python's reader would take."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Odd(f"{names.shown(twice)} is in it twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise _Odd(f"{text} is no number")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Odd("a number is too large")
    return number
