"""Reading JSON of a request field by field, with StorPool's own patterns and limits [sptypes].

A field is known when somebody reads it; ``end`` refuses the others, and nulls, when the simulator
is strict: the real API "may reject them as unknown" [readme 5.1.0].
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from storpool_simulator import errors
from storpool_simulator.model import objects

NAME_LENGTH = 199  # names are shorter than 200 [sptypes] VOLUME_NAME_SIZE
COMBINED_LENGTH = 200  # name and tags together, in bytes [kb]
VOLUME_NAME = re.compile(r"#?[A-Za-z0-9_\-.:]+")
SNAPSHOT_NAME = re.compile(r"\*?[A-Za-z0-9_\-.:@]+")
GLOBAL_ID = re.compile(r"~[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_\-]+")
_TAG_NAME = re.compile(r"[A-Za-z0-9_\-.:]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_\-.:]*")
_RESERVED = ("list", "status")


class Fields:
    """One JSON object of a request."""

    def __init__(self, value: object, what: str, *, strict: bool) -> None:
        if not isinstance(value, dict):
            raise errors.InvalidParamError(
                f"{what} must be a JSON object, not {type(value).__name__}."
            )
        self.what = what
        self.strict = strict
        self._value: dict[str, object] = value
        self._read: set[str] = set()

    def end(self) -> None:
        """Everything is read: what is left is unknown."""
        unknown = sorted(set(self._value) - self._read)
        if self.strict and unknown:
            raise errors.InvalidParamError(f"{self.what}: unknown field '{unknown[0]}'.")

    def raw(self, key: str) -> object:
        """The value, or None when absent."""
        self._read.add(key)
        value = self._value.get(key)
        if value is None and key in self._value and self.strict:
            raise errors.InvalidParamError(f"{self.what}: '{key}' must not be null.")
        return value

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "a string")

    def required(self, key: str) -> str:
        """A string that must be there."""
        value = self.text(key)
        if not value:
            raise errors.InvalidParamError(f"{self.what}: '{key}' is missing.")
        return value

    def integer(self, key: str, least: int = 0) -> int | None:
        """A whole number."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(key, f"an integer of at least {least}")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "true or false")

    def size(self, key: str) -> int | None:
        """A size in bytes: positive, whole sectors [sptypes]."""
        value = self.integer(key, least=1)
        if value is not None and value % objects.SECTOR_SIZE:
            raise self.wrong(key, f"a multiple of {objects.SECTOR_SIZE}")
        return value

    def limit(self, key: str) -> int | None:
        """A limit: a number, or "-" for none [sptypes]."""
        return objects.UNLIMITED if self.raw(key) == "-" else self.integer(key)

    def name(self, key: str, pattern: re.Pattern[str] = VOLUME_NAME) -> str | None:
        """A new name; "" is kept, as it means "no name" [cs]."""
        value = self.text(key)
        if value and not is_name(value, pattern):
            raise self.wrong(
                key, f"a name of {pattern.pattern} with at most {NAME_LENGTH} characters"
            )
        return value

    def tags(self, key: str = "tags") -> Mapping[str, str] | None:
        """Tags; the empty string stands for none [pve]."""
        value = self.raw(key)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "an object of strings")
        for tag, text in value.items():
            if not (0 < len(tag) <= NAME_LENGTH and _TAG_NAME.fullmatch(tag)):
                raise self.wrong(f"{key}.{tag}", "a tag name")
            if not (
                isinstance(text, str) and len(text) <= NAME_LENGTH and _TAG_VALUE.fullmatch(text)
            ):
                raise self.wrong(f"{key}.{tag}", f"a tag value of {_TAG_VALUE.pattern}")
        return value

    def client_ids(self, key: str) -> tuple[int, ...] | None:
        """Client ids: numbers or numeric strings [brick] [pve]."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(key, "a list of client ids")
        return tuple(self._client_id(key, one) for one in value)

    def _client_id(self, key: str, value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and 1 <= value <= objects.MAX_CLIENT_ID
        ):
            return value
        raise self.wrong(key, f"a list of client ids from 1 to {objects.MAX_CLIENT_ID}")

    def wrong(self, key: str, wanted: str) -> errors.InvalidParamError:
        """The error for a field of a wrong type or value."""
        return errors.InvalidParamError(f"{self.what}: '{key}' must be {wanted}.")


def is_name(value: str, pattern: re.Pattern[str]) -> bool:
    """Whether something can be the name of a new object."""
    return (
        len(value) <= NAME_LENGTH
        and value not in _RESERVED
        and pattern.fullmatch(value) is not None
    )


def check_combined(name: str | None, tags: Mapping[str, str]) -> None:
    """Raise InvalidParamError when name and tags take more than 200 bytes together [kb]."""
    if (
        len(name or "") + sum(len(key) + len(value) for key, value in tags.items())
        > COMBINED_LENGTH
    ):
        raise errors.InvalidParamError(
            f"The name and the tags together exceed {COMBINED_LENGTH} bytes."
        )
