"""docs/agent.md has each option and each line of the log of storpool-vm-agent, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from storpool_ovirt.agent import options, service

pytestmark = pytest.mark.fast
PAGE = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()
ROOM = Path(service.__file__).parent
# Those of every program's log.
OTHERS = {"trace"}


def section(title: str) -> list[str]:
    """Return the rows of a section's table."""
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_each_option_is_told_as_it_is() -> None:
    """Its key, what is so without it, and what it means."""
    told = [re.split(r"\s*\|\s*", row.strip("| ")) for row in section("Options")]
    assert told == [[f"`{each.key}`", each.default, each.meaning] for each in options.OPTIONS]


def test_each_line_of_the_log_is_told() -> None:
    """Whatever the source writes, and nothing else."""
    written = set()
    for path in ROOM.glob("*.py"):
        for each in ast.walk(ast.parse(path.read_text())):
            if not isinstance(each, ast.Call) or not isinstance(each.func, ast.Attribute):
                continue
            said = each.args[0] if each.args else None
            if each.func.attr in ("line", "_say_once", "_tell") and isinstance(said, ast.Constant):
                written.add(said.value)
    told = {
        name.split()[0]
        for row in section("Log lines")
        for name in re.findall(r"`([a-z_]+(?: [^`]*)?)`", row.split("|")[1])
    }
    assert told - OTHERS == written
