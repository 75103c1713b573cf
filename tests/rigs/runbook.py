"""A page of docs/ whose commands are played: lines that begin with `$ ` are typed, what is indented
below them has to be their output.

Words in capitals stand for something: what the test knows, or what the first output tells.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rigs import quick_starts

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

LIMIT_SECONDS = 60
DOCS = Path(__file__).parents[2] / "docs"
# The second words of commands that have two.
_SECOND_WORDS = ("list", "expire", "restore", "make", "purge")
_WORD = re.compile(r"[A-Z][A-Z0-9_]{1,}")
# What a word of the page stands for where nobody has said it yet.
_SHAPES = {
    "COPY": r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+",
    "AGO": r"\d+ (?:s|min|h|d)",
    "DATE": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "ENTRY": r"[0-9a-f-]{36}",
    "TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}


class Step(NamedTuple):
    """One command of a page, and the lines that it is to print."""

    command: str
    output: tuple[str, ...]


def steps(page: str) -> list[Step]:
    """Return the commands of a page in their order."""
    found: list[tuple[str, list[str]]] = []
    is_inside = False
    for line in (DOCS / page).read_text().splitlines():
        if not line.startswith("    "):
            is_inside = False
        elif line.startswith("    $ "):
            found.append((line[6:], []))
            is_inside = True
        elif is_inside:
            found[-1][1].append(line[4:])
    return [Step(command, tuple(output)) for command, output in found]


def filled(text: str, known: dict[str, str]) -> str:
    """Return a text with what its words stand for, as far as that is known."""
    return _WORD.sub(lambda word: known.get(word.group(), word.group()), text)


def typed(
    line: str, options: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of a page as an administrator types it, with these options after its name."""
    from ovirt_demo import children

    program, *words = shlex.split(line)
    place = 2 if len(words) > 1 and words[1] in _SECOND_WORDS else 1
    words = [children.find(program), *words[:place], *options, *words[place:]]
    return quick_starts.run(words, environment, LIMIT_SECONDS)


def check(step: Step, printed: list[str], known: dict[str, str]) -> None:
    """Check what a command has printed, and learn from it what new words stand for; how wide
    columns are does not count."""
    assert len(printed) == len(step.output), (step, printed)
    for wanted, line in zip(step.output, printed):
        found = re.fullmatch(_pattern(wanted, known), " ".join(line.split()))
        assert found, (wanted, line)
        known.update({key: value for key, value in found.groupdict().items() if key != "DATE"})


def _pattern(wanted: str, known: dict[str, str]) -> str:
    made, seen, end = "", set(), 0
    text = " ".join(wanted.split())
    for word in _WORD.finditer(text):
        name = word.group()
        made += re.escape(text[end : word.start()])
        end = word.end()
        shape = _SHAPES.get(name.rstrip("0123456789"))
        if name in known:
            made += re.escape(known[name])
        elif shape is None:
            made += re.escape(name)
        elif name in seen or name == "DATE":
            made += shape
        else:
            made += f"(?P<{name}>{shape})"
            seen.add(name)
    return made + re.escape(text[end:])
