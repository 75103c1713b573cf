"""The values of options: each is parsed once, and is plain and typed from there on.

Each function returns what a text means, or raises ValueError with what is wrong and what to do.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, text
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_NEAR = 0.75  # of difflib: how alike a name is that was mistyped, and not one of another thing
_HOST = text.Shape(text.LETTERS + text.DIGITS + "._:-[]", (1, 253))
_LABEL_MAX = 63  # of a name's part, in the DNS
_TOKEN_MAX = 4096
_BYTE_MAX = 255
_NONE = "none"
# How a program talks to StorPool (`cluster/transport.py`): each has its own default.
AUTO, WIRE, BINDING = TRANSPORTS = ("auto", "wire", "binding")
# By what the verbs of one action of Engine's are known, where it snapshots several disks of a VM.
CORRELATION_KEY, ENGINE_KEY = "correlation", "engine"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # OpenNebula's add-on of StorPool has the same


class CopyTo(NamedTuple):
    """Where copies go: the name of a StorPool location, and the tags that they get beside ours."""

    location: str
    tags: tuple[tuple[str, str], ...] = ()


def parsed(parse: Callable[[str], Any], given: str, where: str) -> Any:
    """Return what a text means to one of these functions; raise ConfigError, which has the text
    unless that was to be a token.

    `where` is what has the text, for the sentence.
    """
    try:
        return parse(given)
    except ValueError as error:
        why, advice = error.args
        shown = "" if parse is token else f" ({names.shown(given)})"
        raise errors.ConfigError(where, f"{why}{shown}", advice) from None


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str | None:
    """Return the name that was meant by one that is not known, None where none is like it.

    It was mistyped, or some of its words were left out. `prefix` is what names have in common,
    which makes none like another.
    """
    import difflib  # who knows all names does not pay for it

    word = word.removeprefix(prefix)
    tails = {each.removeprefix(prefix): each for each in known}
    parts = {*word.split("_")}
    whole = [each for each in tails if parts <= {*each.split("_")}]
    near = difflib.get_close_matches(word, whole or tails, 1, 0.0 if whole else _NEAR)
    return tails[near[0]] if near else None


def host(given: str) -> str:
    """Return the name or the address of a host, without a port."""
    # A resolver refuses what is no name, in words of its own; the dot at the end of a whole name is
    # no part of it.
    parts = given[:-1].split(".") if given.endswith(".") else given.split(".")
    if (
        "://" in given
        or not _HOST.fits(given)
        or not all(0 < len(part) <= _LABEL_MAX for part in parts)
    ):
        raise ValueError(
            "is not a host name or address", "give it alone, without http:// and without a port"
        )
    if given.count(":") == 1 or "]:" in given:  # an IPv6 address has more of them
        raise ValueError(
            "has a port in it", "give the port as sp_api_http_port, or SP_API_HTTP_PORT"
        )
    if all(map(_is_number, given.split("."))) and not _is_ipv4(given):
        # The C library takes 10.1.100 for 10.1.0.100, and would send the token there.
        raise ValueError("is not an address", "give all four numbers of it")
    return given


def _is_number(part: str) -> bool:
    """Return whether inet_aton(3) takes this part of a name for one of an address."""
    digits = part[2:] if part[:2] in ("0x", "0X") else ""
    return part.isdigit() or (digits != "" and not digits.strip(f"{text.DIGITS}abcdefABCDEF"))


def _is_ipv4(given: str) -> bool:
    """Return whether it is an address as an administrator means one: without zeros in front."""
    parts = given.split(".")
    small = [int(part) for part in parts if part.isdigit() and part == str(int(part))]
    return len(parts) == len(small) == 4 and max(small) <= _BYTE_MAX


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a function that reads a number, which may have a fraction."""

    def parse(given: str) -> float:
        advice = f"give a number from {low:g} to {high:g}"
        found = text.decimal(given)
        if found is None and text.decimal(given[1:] if given.startswith("-") else "") is None:
            raise ValueError("is no number like 20 or 0.5", advice)
        if found is None or not low <= found <= high:
            raise ValueError("is out of range", advice)
        return found

    return parse


def count(most: int) -> Callable[[str], int]:
    """Return a function that reads how many of something there may be, as a whole number."""

    def parse(given: str) -> int:
        found = text.number(given, 0, most)
        if found is None:
            why = "is out of range" if text.are_digits(given) else "is no whole number"
            raise ValueError(why, f"give a number from 0 to {most}; 0 is no limit")
        return found

    return parse


def duration(most_days: int) -> Callable[[str], int]:
    """Return a function that reads how long something is, in seconds: a whole number with its unit,
    or 0."""

    def parse(given: str) -> int:
        advice = f"give 0, or a number with s, m, h or d, of at most {most_days}d"
        seconds = _UNITS.get(given[-1:].lower())
        count = text.number(given[:-1] if seconds else given, 0, most_days * _UNITS["d"])
        if count is None or (count and seconds is None):
            raise ValueError("is no time like 48h or 30m", advice)
        found = count * (seconds or 0)
        if found > most_days * _UNITS["d"]:
            raise ValueError("is too long", advice)
        return found

    return parse


def port(given: str) -> int:
    """Return a TCP port."""
    found = text.port(given)
    if found is None:
        raise ValueError("is not a port", f"give a number from 1 to {text.PORT_MAX}")
    return found


def boolean(given: str) -> bool:
    """Return true or false."""
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
            given.lower()
        ]
    except KeyError:
        raise ValueError("is neither true nor false", "give true or false") from None


def one_of(*words: str) -> Callable[[str], str]:
    """Return a function that takes one of these words, in capitals too."""

    def parse(given: str) -> str:
        if given.lower() not in words:
            raise ValueError("is not known", f"give {' or '.join(words)}")
        return given.lower()

    return parse


def token(given: str) -> Secret:
    """Return a token of StorPool's API."""
    is_one_word = given.isascii() and given.isprintable() and " " not in given
    if not is_one_word or not 0 < len(given) <= _TOKEN_MAX:
        raise ValueError(
            "is not a token", "give the value of SP_AUTH_TOKEN, without blanks or line breaks"
        )
    return Secret(given)


def path(given: str) -> str:
    """Return an absolute path."""
    if not given.startswith("/") or "\0" in given or not text.is_utf8(given):
        raise ValueError(
            "is not an absolute path", "give the full path of a file that holds only the token"
        )
    return given


def copy_to(given: str) -> CopyTo:
    """Return where copies go: `LOCATION`, or `LOCATION:tag KEY=VALUE ...`."""
    from storpool_ovirt import copy_names  # most domains copy nothing

    location, mark, more = given.partition(":")
    words = more.split()
    if not names.LOCATION.fits(location):
        raise ValueError(
            "names no location", "give a name that StorPool's LocationsList has, like backup"
        )
    if mark and words[:1] != ["tag"]:
        raise ValueError("is not known", "give LOCATION, or LOCATION:tag KEY=VALUE ...")
    tags = [each.partition("=") for each in words[1:] if each != "tag"]
    for key, sign, value in tags:
        fault = names.copy_tag_fault(key, value) if sign else "is none like del=y"
        if fault:
            raise ValueError(f"has a tag {names.shown(key)} that {fault}", "correct it")
    found = CopyTo(location, tuple((key, value) for key, _, value in tags))
    try:
        copy_names.tags(names.NIL_UUID, "0" * 8, names.NIL_UUID, dict(found.tags))
    except errors.InputError as error:
        raise ValueError("has too many tags", error.advice) from error
    return found


def copy_to_or_nowhere(given: str) -> CopyTo:
    """Return the same; for the word `none` one without a location, as it is a word of its own."""
    return CopyTo("") if given.lower() == _NONE else copy_to(given)


def policy_value(given: str) -> str:
    """Return the name of a QoS class, or of a policy of VolumeCare's; "" for the word `none`."""
    if given.lower() == _NONE:
        return ""
    if not names.POLICY_VALUE.fits(given):
        raise ValueError(
            "is no name of one",
            "give letters, digits and any of _ - . :, at most 64, or none for none",
        )
    return given


def classes(given: str) -> tuple[str, ...]:
    """Return the QoS classes that there are."""
    found = tuple(given.replace(",", " ").split())
    for each in found:
        if not names.POLICY_VALUE.fits(each) or each.lower() == _NONE:
            raise ValueError(
                f"has {names.shown(each)}, which is no name of a class",
                "give the tiers of StorPool's storpool_qos, like gold,silver",
            )
    return tuple(dict.fromkeys(found))


def free_tags(given: str) -> tuple[tuple[str, str], ...]:
    """Return tags `KEY=VALUE ...` that mean nothing to us."""
    found: dict[str, str] = {}
    for each in given.split():
        key, sign, value = each.partition("=")
        fault = names.free_tag_fault(key, value) if sign else "is none like cost=4711"
        if fault or key in found:
            raise ValueError(
                f"has a tag {names.shown(key)} that {fault or 'is there twice'}", "correct it"
            )
        found[key] = value
    return tuple(found.items())


def vm_tag(given: str) -> str:
    """Return the key of a tag for a volume's VM."""
    fault = names.vm_tag_fault(given)
    if fault:
        raise ValueError(*fault)
    return given


def shaped(wanted: text.Shape, advice: str) -> Callable[[str], str]:
    """Return a function that takes what is of a shape; `advice` is for everything else."""

    def parse(given: str) -> str:
        if not wanted.fits(given):
            raise ValueError("is not valid", advice)
        return given

    return parse
