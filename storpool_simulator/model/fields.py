"""Reading JSON of a request field by field, with StorPool's own patterns and limits [sptypes].

A field is known when somebody reads it. `end` refuses the others, and `raw` refuses nulls, when the
simulator is strict. That is stricter than the truth on purpose: the real API ignores nulls, but for
"a couple of corner cases" [git 3783cb3] [readme 5.1.0].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from storpool_simulator import errors, switches
from storpool_simulator.model import objects

NAME_LENGTH = 199  # names are shorter than 200 [sptypes] VOLUME_NAME_SIZE
COMBINED_LENGTH = 200  # name and tags together, in bytes [kb]
LARGEST = (1 << 63) - 1  # numbers have 64 bits [sptypes]
GLOBAL_ID = re.compile(r"~[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
DISK_DESCRIPTION = re.compile(r"[A-Za-z0-9_\- ]{0,30}")
_MOST_DIGITS = 20  # of a number of 64 bits
_TAG_NAME = re.compile(r"[A-Za-z0-9_\-.:]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_\-.:]*")


@dataclass(frozen=True)
class Names:
    """What the objects of a kind can be called [sptypes]."""

    pattern: re.Pattern[str]
    reserved: tuple[str, ...] = ("list", "status")
    length: int = NAME_LENGTH

    def fits(self, value: str) -> bool:
        """Return whether something can be the name of such an object."""
        is_free = value not in self.reserved and len(value) <= self.length
        return is_free and self.pattern.fullmatch(value) is not None

    def finds(self, key: str) -> bool:
        """Return whether such an object can be asked for by this: its name, or `~` and its id."""
        return self.fits(key) or GLOBAL_ID.fullmatch(key) is not None


VOLUME_NAME = Names(re.compile(r"#?[A-Za-z0-9_\-.:]+"))
SNAPSHOT_NAME = Names(re.compile(r"\*?[A-Za-z0-9_\-.:@]+"))
TEMPLATE_NAME = Names(re.compile(r"[A-Za-z0-9_\-]+"), reserved=("list",))
GROUP_NAME = Names(re.compile(r"[A-Za-z0-9_\-]+"), reserved=("list",), length=127)
CLUSTER_NAME = Names(VOLUME_NAME.pattern, reserved=(".", ".."), length=63)  # a folder, too
REMOTE_NAME = Names(VOLUME_NAME.pattern, reserved=("list",), length=63)
BUCKET_NAME = Names(VOLUME_NAME.pattern, reserved=(), length=1022)


class Fields:
    """One JSON object of a request.

    Each reader returns None for a field that is absent, and raises InvalidParamError for a wrong
    one. What else is taken and what is refused is up to the switches.
    """

    def __init__(self, value: object, what: str, settings: switches.Switches) -> None:
        if not isinstance(value, dict):
            raise errors.InvalidParamError(
                f"{what} must be a JSON object, not {type(value).__name__}."
            )
        self.what = what
        self.switches = settings
        self._strict = settings.on("strict")
        self._value: dict[str, object] = value
        self._read: set[str] = set()

    def end(self) -> None:
        """Refuse what nobody has read, as unknown."""
        unknown = sorted(set(self._value) - self._read)
        if self._strict and unknown:
            raise errors.InvalidParamError(f"{self.what}: unknown field '{unknown[0]}'.")

    def raw(self, key: str) -> object:
        """Return the value of any type."""
        self._read.add(key)
        value = self._value.get(key)
        if value is None and key in self._value and self._strict:
            raise errors.InvalidParamError(f"{self.what}: '{key}' must not be null.")
        return value

    def text(self, key: str) -> str | None:
        """Return a string."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "a string")

    def required(self, key: str) -> str:
        """Return a string that must be there."""
        value = self.text(key)
        if not value:
            raise errors.InvalidParamError(f"{self.what}: '{key}' is missing.")
        return value

    def integer(self, key: str, least: int = 0) -> int | None:
        """Return a whole number."""
        value = self.raw(key)
        if value is None:
            return None
        if self.switches.on("string_numbers"):
            value = _as_number(value)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST:
            return value
        raise self.wrong(key, f"an integer from {least} to {LARGEST}")

    def flag(self, key: str) -> bool | None:
        """Return true or false."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "true or false")

    def size(self, key: str) -> int | None:
        """Return a size in bytes: positive, whole sectors [sptypes]."""
        value = self.integer(key, least=1)
        if value is not None and value % objects.SECTOR_SIZE:
            raise self.wrong(key, f"a multiple of {objects.SECTOR_SIZE}")
        return value

    def limit(self, key: str) -> int | None:
        """Return a limit: a number, or UNLIMITED for "-" [sptypes]."""
        return objects.UNLIMITED if self.raw(key) == "-" else self.integer(key)

    def choice(self, key: str, values: tuple[str, ...]) -> str | None:
        """Return one of some words."""
        value = self.text(key)
        if value is None or value in values:
            return value
        raise self.wrong(key, f"one of {', '.join(values)}")

    def reference(self, key: str) -> str | None:
        """Return the name or id of an object that there is; what "" is says `empty_reference`."""
        value = self.text(key)
        if value == "" and self.switches["empty_reference"] == "error":
            raise self.wrong(key, "a name")
        return value

    def name(self, key: str, names: Names = VOLUME_NAME) -> str | None:
        """Return a new name; "" is kept, as it means "no name" [cs]."""
        value = self.text(key)
        if value and not names.fits(value):
            pattern = names.pattern.pattern
            raise self.wrong(key, f"a name of {pattern} with at most {names.length} characters")
        return value

    def tags(self, key: str = "tags") -> Mapping[str, str] | None:
        """Return tags; the empty string stands for none [pve]."""
        value = self.raw(key)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "an object of strings")
        for tag, text in value.items():
            if not (0 < len(tag) <= NAME_LENGTH and _TAG_NAME.fullmatch(tag)):
                raise self.wrong(f"{key}.{tag}", "a tag name")
            is_short = isinstance(text, str) and len(text) <= NAME_LENGTH
            if not (is_short and _TAG_VALUE.fullmatch(text)):
                raise self.wrong(f"{key}.{tag}", f"a tag value of {_TAG_VALUE.pattern}")
        return value

    def client_ids(self, key: str) -> tuple[int, ...] | None:
        """Return client ids, which come as numbers or numeric strings [brick] [pve]."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(key, "a list of client ids")
        return tuple(self._client_id(key, one) for one in value)

    def _client_id(self, key: str, value: object) -> int:
        value = _as_number(value)
        least, most = 1, objects.MAX_CLIENT_ID
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise self.wrong(key, f"a list of client ids from {least} to {most}")

    def disk_ids(self, key: str) -> tuple[int, ...]:
        """Return ids of disks, which come as numbers or numeric strings [spapi]; none if absent."""
        value = self.raw(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.wrong(key, "a list of disk ids")
        return tuple(self._disk_id(key, one) for one in value)

    def _disk_id(self, key: str, value: object) -> int:
        value = _as_number(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self.wrong(key, "a list of disk ids")

    def wrong(self, key: str, wanted: str) -> errors.InvalidParamError:
        """Return the error for a field of a wrong type or value."""
        return errors.InvalidParamError(f"{self.what}: '{key}' must be {wanted}.")


def unknown(kind: str, key: str, *, possible: bool) -> errors.ApiError:
    """Return the error for an object that is not there.

    It is another one where its name or id is one that nothing can have, so not `possible`.
    """
    if possible:
        return errors.NoSuchObjectError(f"{kind} '{key}' does not exist.")
    return errors.ImpossibleNameError(f"{kind} '{key}': nothing can have that name.")


def _as_number(value: object) -> object:
    """Return the number for a string of digits, and everything else as it is."""
    if isinstance(value, str) and 0 < len(value) <= _MOST_DIGITS and value.isascii():
        return int(value) if value.isdigit() else value
    return value


def check_combined(name: str | None, tags: Mapping[str, str]) -> None:
    """Raise InvalidParamError when name and tags take more than 200 bytes together [kb]."""
    tags_length = sum(len(key) + len(value) for key, value in tags.items())
    if len(name or "") + tags_length > COMBINED_LENGTH:
        raise errors.InvalidParamError(
            f"The name and the tags together exceed {COMBINED_LENGTH} bytes."
        )
