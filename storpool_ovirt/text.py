"""Text from outside: where its lines end, what is blank in it, and how its bytes are read.

Files, the stdin of a program, messages of servers: whoever wrote them chose every character.
Python's own methods take many characters for the end of a line or for a blank (`str.splitlines`,
`str.strip`, `\\s`: U+2028, U+0085, form feeds, the separators U+001C to U+001F, no-break spaces
...) that mean nothing to the programs that such text is made for. A password with one of them must
not become a line of its own.
"""

from __future__ import annotations

import re

from storpool_ovirt import errors

BLANKS = " \t"
# A number of this many digits is larger than any that we take; Python itself refuses more than
# 4,300 by an error.
DIGITS_MAX = 19

PORT_MAX = (1 << 16) - 1

_END_OF_LINE = re.compile("\r\n|\n|\r")
_DIGITS = re.compile(f"[0-9]{{1,{DIGITS_MAX}}}\\Z")
_DECIMAL = re.compile(r"[0-9]{1,19}(\.[0-9]{0,19})?\Z")
_MARK = "\ufeff"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def lines(text: str) -> list[str]:
    """Return the lines of a text, without their ends.

    \\n, \\r\\n and \\r end one, and nothing else does.
    """
    found = _END_OF_LINE.split(text)
    return found[:-1] if found[-1] == "" else found


def stripped(text: str) -> str:
    """Return a text without the blanks, tabs and ends of lines around it."""
    return text.strip(" \t\r\n")


def number(text: str, low: int, high: int) -> int | None:
    """Return the whole number that a text is, None when it is anything else.

    It has digits alone, and is from `low` to `high`.
    """
    found = int(text) if _DIGITS.match(text) else None
    return found if found is not None and low <= found <= high else None


def port(text: str) -> int | None:
    """Return the TCP port that a text is, None when it is anything else."""
    return number(text, 1, PORT_MAX)


def decimal(text: str) -> float | None:
    """Return the number that a text is, like 20 or 0.5; None when it is anything else."""
    return float(text) if _DECIMAL.match(text) else None


def decoded(data: bytes, what: str, *, may_have_mark: bool = False, damaged: bool = False) -> str:
    """Return the text of UTF-8 bytes.

    `may_have_mark` lets a byte order mark of UTF-8 begin it; the mark is left out. `damaged` makes
    U+FFFD of bytes that are no UTF-8. Raises ConfigError, with `what` in its sentence, when they
    are something else.
    """
    advice = "save it as UTF-8 without a byte order mark"
    if data.startswith(_WIDE_MARKS):
        raise errors.ConfigError(what, "is UTF-16, not UTF-8", advice)
    try:
        text = data.decode("utf-8", "replace" if damaged else "strict")
    except UnicodeDecodeError as error:
        line = 1 + data[: error.start].count(b"\n")
        raise errors.ConfigError(
            what,
            f"is not UTF-8 (line {line} has the byte 0x{data[error.start]:02x}; is it Latin-1?)",
            advice,
        ) from None
    if text.startswith(_MARK):
        if not may_have_mark:
            raise errors.ConfigError(what, "begins with a byte order mark", advice)
        text = text[1:]
    if "\0" in text:
        raise errors.ConfigError(what, "has NUL bytes (is it UTF-16, or damaged?)", advice)
    return text


def is_utf8(text: str) -> bool:
    """Tell whether a text can be given to the system, or a server: half a character can not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
