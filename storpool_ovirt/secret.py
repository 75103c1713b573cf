"""Secrets: a type that is never shown, and what may be one in an argument that is not read yet."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from storpool_ovirt import documents, errors

# What an option with a secret looks like in JSON, or as Python prints it, however the rest of it
# does.
_OPTION = (
    r"""["'][^"]{0,100}?(?:token|password|secret)["']\s{0,9}:\s{0,9}"""
    r"""("(?:[^"\\]|\\.){0,9999}"?|'(?:[^'\\]|\\.){0,9999}'?|[0-9a-zA-Z.+-]{1,9999})"""
)


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
    for found in re.finditer(_OPTION, argument, re.I):
        raw = found.group(1).strip("\"'")
        yield raw
        with contextlib.suppress(errors.InputError):
            yield documents.parse(f'"{raw}"', "", "")
    scheme, separator, rest = argument.partition("://")
    if separator and scheme.isprintable() and " " not in scheme:
        credentials, at, _ = rest.rpartition("@")
        if scheme in ("http", "https") and not at:  # the address of a server, with its port
            return
        yield (credentials if at else rest).partition(":")[2]
