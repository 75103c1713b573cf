"""Text from outside: where its lines end, what is blank in it, and how its bytes are read.

Files, the stdin of a program, messages of servers: whoever wrote them chose every character.
Python's own methods take many characters for the end of a line or for a blank (`str.splitlines`,
`str.strip`, `\\s`: U+2028, U+0085, form feeds, the separators U+001C to U+001F, no-break spaces
...) that mean nothing to the programs that such text is made for. A password with one of them must
not become a line of its own.
"""

from __future__ import annotations

from _operator import le

from storpool_ovirt import errors

BLANKS = " \t"
# A number of this many digits is larger than any that we take; Python itself refuses more than
# 4,300 by an error.
DIGITS_MAX = 19

PORT_MAX = (1 << 16) - 1

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = LOWER + LOWER.upper()

_MARK = "\ufeff"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Shape:
    """What a text looks like: parts between marks, each of so many of these characters.

    Two numbers for each part are the least and the most that it has.
    """

    def __init__(self, characters: str, *lengths: tuple[int, int], mark: str = "") -> None:
        self._characters, self._mark = characters + mark, mark
        self._least, self._most = zip(*lengths)

    def fits(self, text: str) -> bool:
        """Return whether a text is of this shape, the whole of it."""
        if text.strip(self._characters):
            return False
        lengths = [*map(len, text.split(self._mark))] if self._mark else [len(text)]
        return (
            len(lengths) == len(self._least)
            and all(map(le, self._least, lengths))
            and all(map(le, lengths, self._most))
        )


def lines(text: str) -> list[str]:
    """Return the lines of a text, without their ends.

    \\n, \\r\\n and \\r end one, and nothing else does.
    """
    found = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return found[:-1] if found[-1] == "" else found


def stripped(text: str) -> str:
    """Return a text without the blanks, tabs and ends of lines around it."""
    return text.strip(" \t\r\n")


def are_digits(text: str) -> bool:
    """Tell whether a text is a number, of digits alone, and of no more than anybody needs."""
    return text.isdigit() and text.isascii() and len(text) <= DIGITS_MAX


def number(text: str, low: int, high: int) -> int | None:
    """Return the whole number that a text is, None when it is anything else.

    It has digits alone, and is from `low` to `high`.
    """
    found = int(text) if are_digits(text) else None
    return found if found is not None and low <= found <= high else None


def port(text: str) -> int | None:
    """Return the TCP port that a text is, None when it is anything else."""
    return number(text, 1, PORT_MAX)


def decimal(text: str) -> float | None:
    """Return the number that a text is, like 20 or 0.5; None when it is anything else."""
    whole, _, part = text.partition(".")
    return float(text) if are_digits(whole) and (not part or are_digits(part)) else None


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
