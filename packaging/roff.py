"""Manual pages in roff, with the macros of man(7): the text of a page from its parts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple, Union

SECTION = 8
SOURCE = r"storpool\-ovirt"
MANUAL = "StorPool"
LINE_MAX = 78
# What groff and mandoc would set in the characters of print, and whoever copies a command would
# get.
_ESCAPES = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
}


class Term(NamedTuple):
    """A thing and what it is: an option, a command, a file."""

    name: str
    meaning: str


class Verbatim(NamedTuple):
    """Lines that stay as they are."""

    lines: Sequence[str]


# A paragraph is a text: what is in `backquotes` there is bold.
Block = Union[str, Term, Verbatim]


class Page(NamedTuple):
    """A page: its name, what it is in half a sentence, and sections of blocks in their order.

    `synopsis` has a line for each way to call it.
    """

    name: str
    purpose: str
    synopsis: Sequence[str]
    sections: Sequence[tuple[str, Sequence[Block]]]


def text(page: Page, day: str, version: str) -> str:
    """Return a page as man reads it; `day` is that of its source."""
    lines = [
        f'.TH {_escaped(page.name.upper())} {SECTION} {day} "{SOURCE} {version}" "{MANUAL}"',
        ".nh",
        ".ad l",
        ".SH NAME",
        *textwrap.wrap(f"{_escaped(page.name)} \\- {_escaped(page.purpose)}", LINE_MAX),
        ".SH SYNOPSIS",
        ".nf",
        *(_synopsis(each, page.name) for each in page.synopsis),
        ".fi",
    ]
    for title, blocks in page.sections:
        if blocks:
            lines.append(f".SH {title}")
        for number, block in enumerate(blocks):
            lines += _block(block, first=number == 0)
    return "\n".join(lines) + "\n"


def _block(block: Block, first: bool) -> list[str]:
    if isinstance(block, Term):
        return [".TP", _bold(block.name), *_sentences(block.meaning)]
    start = [] if first else [".PP"]
    if isinstance(block, Verbatim):
        return [*start, ".nf", *(_guarded(_marked(each)) for each in block.lines), ".fi"]
    return [*start, *_sentences(block)]


def _sentences(paragraph: str) -> list[str]:
    """Return a paragraph, with a new line for each sentence and none too wide for mandoc."""
    found = re.sub(r"(?<=[.:;!?]) (?=[A-Z`])", "\n", " ".join(paragraph.split()))
    return [
        _guarded(line)
        for each in found.split("\n")
        for line in textwrap.wrap(
            _marked(each), LINE_MAX, break_long_words=False, break_on_hyphens=False
        )
    ]


def _guarded(line: str) -> str:
    """Return a line that roff takes for none of its requests."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _marked(given: str) -> str:
    """Return a text in roff, bold where it has `backquotes`."""
    parts = re.split(r"`([^`]+)`", given.rstrip())
    return "".join(_bold(each) if at % 2 else _escaped(each) for at, each in enumerate(parts))


def _bold(given: str) -> str:
    return f"\\fB{_escaped(given)}\\fR"


def _synopsis(line: str, name: str) -> str:
    """Return a line with the command itself in bold."""
    words = name.replace("storpool-ovirt-", "storpool-ovirt ", 1)
    if line.startswith(words):
        return f"{_bold(words)}{_escaped(line[len(words) :])}"
    return _guarded(_marked(line)) or "\\&"


def _escaped(given: str) -> str:
    return "".join(_ESCAPES.get(each, each) for each in given)
