"""JSON, read and written: what the programs that somebody waits for use of Python's package for it.

That package takes 3 ms to load, most of it for patterns and classes that are not needed here: its
own scanner and encoder, which are compiled, do the work. Where Python has none of that kind, the
package is loaded.

What comes from outside is what RFC 8259 calls JSON, and nothing that Python's reader takes beside
it. NaN and Infinity are none of its numbers. A number too large for a float is not infinite. Of two
values under one name nobody knows which was meant.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_BLANKS = " \t\n\r"  # RFC 8259, section 2
_NOT_FINITE = {each: float(each) for each in ("NaN", "Infinity", "-Infinity")}


def parse(
    text: str, what: str, advice: str, kind: type[errors.InputError] = errors.InputError
) -> Any:
    """Return the value that a JSON text from outside is.

    Raises InputError (or `kind`) naming `what`, with `advice`.
    """
    try:
        return _value(text, _STRICTLY)
    except _Odd as error:
        raise kind(what, f"is not JSON: {error}", advice) from None
    except RecursionError:
        raise kind(what, "is not JSON: it is nested too deep", advice) from None
    except ValueError:  # also a number of more digits than Python converts
        raise kind(what, "is not JSON", advice) from None


def read(text: str) -> Any:
    """Return the value that a text is which a program of ours or of StorPool's has written.

    It is what `json.loads` returns. Raises ValueError, and RecursionError, as that does.
    """
    return _value(text, _AS_PYTHON)


def without_numbers(text: str) -> Any:
    """Return the value that a JSON text from outside is, in which no number may be: to read one of
    many digits takes long. Raises ValueError, and RecursionError."""
    return _value(text, _WITHOUT_NUMBERS)


def written(value: Any) -> str:
    """Return the text of a value, as `json.dumps` does."""
    return _text(value, ": ", ", ", is_sorted=False)


def compact(value: Any) -> str:
    """Return the text of a value without blanks, and with the names in order."""
    return _text(value, ":", ",", is_sorted=True)


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


class _Rules:
    """How a text is read, in the words of `json.JSONDecoder`."""

    strict = True  # a text has no control characters
    object_hook = None

    def __init__(
        self,
        object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None,
        parse_float: Callable[[str], float],
        parse_constant: Callable[[str], float],
        parse_int: Callable[[str], int] = int,
    ) -> None:
        self.object_pairs_hook, self.parse_float = object_pairs_hook, parse_float
        self.parse_constant, self.parse_int = parse_constant, parse_int


_STRICTLY: Any = _Rules(_object, _float, _no_number)
_WITHOUT_NUMBERS: Any = _Rules(_object, _no_number, _no_number, _no_number)
_AS_PYTHON: Any = _Rules(None, float, _NOT_FINITE.__getitem__)


def _value(text: str, rules: Any) -> Any:
    text = text.strip(_BLANKS)
    try:
        from _json import make_scanner

        value, end = make_scanner(rules)(text, 0)
    except (ImportError, SystemError):
        # Python has none; or, for a damaged text, it wants a class of the package, but loads none.
        import json

        return json.loads(text, **vars(rules))
    except StopIteration:
        raise ValueError("no value begins where one must") from None
    if end != len(text):
        raise ValueError(f"something follows the value, at {end}")
    return value


def _text(value: Any, colon: str, comma: str, is_sorted: bool) -> str:
    try:
        from _json import encode_basestring_ascii, make_encoder
    except ImportError:
        import json

        return json.dumps(value, separators=(comma, colon), sort_keys=is_sorted)
    if isinstance(value, str):
        return str(encode_basestring_ascii(value))
    encode = make_encoder(
        {}, _refused, encode_basestring_ascii, None, colon, comma, is_sorted, False, True
    )
    return "".join(encode(value, 0))


def _refused(value: object) -> NoReturn:
    raise TypeError(f"a value of {value.__class__.__name__} has no form in JSON")
