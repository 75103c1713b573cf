"""Secrets: a type that is never shown, and what may be one in an argument that is not read yet."""

from __future__ import annotations

from storpool_ovirt import documents, errors, text
from storpool_ovirt.light import TYPE_CHECKING, suppress

if TYPE_CHECKING:
    from collections.abc import Iterator

# What an option with a secret looks like in JSON, or as Python prints it, however the rest of it
# does.
_NAMES = ("token", "password", "secret")
_OPTION = (
    r"""["'][^"]{0,100}?(?:token|password|secret)["']\s{0,9}:\s{0,9}"""
    r"""("(?:[^"\\]|\\.){0,9999}"?|'(?:[^'\\]|\\.){0,9999}'?|[0-9a-zA-Z.+-]{1,9999})"""
)
# The numbers in the pattern: of what stands before the word in a name, of a value, of blanks.
_BEFORE_MAX, _VALUE_MAX, _BLANKS_MAX = 100, 9999, 9
_BARE = f"{text.DIGITS}{text.LETTERS}.+-"


class Secret:
    """A text that is never shown: its `repr` and `str` are masked.

    `reveal` is called where it is used.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, for the one place that sends it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def found_in(argument: str) -> Iterator[str]:
    """Yield what may be a secret in an argument of Engine's.

    The argument may be well-formed or not, and the secret may stand in a wrong place.
    """
    if any(each in argument.casefold() for each in _NAMES):
        is_plain = argument.isascii() and "\\" not in argument and "'" not in argument
        yield from _named_plainly(argument) if is_plain else _named(argument)
    scheme, separator, rest = argument.partition("://")
    if separator and scheme.isprintable() and " " not in scheme:
        credentials, at, _ = rest.rpartition("@")
        if scheme in ("http", "https") and not at:  # the address of a server, with its port
            return
        yield (credentials if at else rest).partition(":")[2]


def _named(argument: str) -> Iterator[str]:
    import re  # 2 ms, for what Engine seldom gives

    for found in re.finditer(_OPTION, argument, re.I):
        raw = found.group(1).strip("\"'")
        yield raw
        with suppress(errors.InputError):
            yield documents.parse(f'"{raw}"', "", "")


def _named_plainly(argument: str) -> Iterator[str]:
    """Yield what `_OPTION` finds in a text of ASCII that has nothing escaped and no apostrophe.

    There each text stands between two quotation marks, and ends at the next one.
    """
    parts = argument.split('"')
    place = 1
    while place + 1 < len(parts):
        rest = _behind_colon(parts[place + 1]) if _names_secret(parts[place]) else None
        bare = "" if rest is None else rest[: len(rest) - len(rest.lstrip(_BARE))]
        if bare:
            yield bare[:_VALUE_MAX]
            place += 2
        elif rest == "" and place + 2 < len(parts):
            yield parts[place + 2][:_VALUE_MAX]
            place += 4 if len(parts[place + 2]) <= _VALUE_MAX else 3
        else:
            place += 1


def _names_secret(name: str) -> bool:
    lowered = name.lower()
    return any(lowered.endswith(each) and len(name) <= len(each) + _BEFORE_MAX for each in _NAMES)


def _behind_colon(between: str) -> str | None:
    """Return what follows the colon, and a few blanks, behind a name; None where none is there."""
    before, colon, rest = between.partition(":")
    value = rest.lstrip()
    blanks = max(len(before), len(rest) - len(value))
    return value if colon and not before.strip() and blanks <= _BLANKS_MAX else None
