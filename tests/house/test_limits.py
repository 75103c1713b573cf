"""docs/faults.md has every limit, with its seconds: a table that nobody holds against the values
would soon be wrong."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

import storpool_ovirt
from storpool_ovirt import limits, option_table
from storpool_ovirt.engine import adapter
from storpool_ovirt.limits import Limits

PACKAGE = Path(storpool_ovirt.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
# How often is looked, not how long is waited.
PAUSES = ("POLL_SECONDS", "PAUSE_SECONDS")
WHOLE = ("deadline_seconds", "last_seconds")


def rows() -> list[list[str]]:
    """Return the cells of all tables of the section, without their marks."""
    section = PAGE.read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|") and "---" not in line
    ]


def value(name: str) -> Any:
    """Return what a name like `engine.adapter.NOTE_SECONDS` stands for."""
    module, _, constant = name.rpartition(".")
    return getattr(importlib.import_module(f"storpool_ovirt.{module}"), constant)


def constants() -> list[str]:
    """Return the names of all limits that stand in modules of the product."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        names = [
            each.id
            for statement in ast.parse(path.read_text()).body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            for each in ast.walk(target)
            if isinstance(each, ast.Name)
        ]
        found += [
            f"{module}.{name}"
            for name in names
            if name.endswith("SECONDS") and not name.endswith(PAUSES)
        ]
    return found


@pytest.mark.parametrize("name", constants())
def test_a_modules_limit_is_in_the_table(name: str) -> None:
    """With its seconds, and what it is for."""
    (row,) = [row for row in rows() if row[0] == name]
    assert float(row[1]) == value(name)
    assert row[2]


def test_the_table_names_no_limit_that_is_gone() -> None:
    """Whoever takes one away takes its row away."""
    assert {row[0] for row in rows() if row[0].endswith("SECONDS")} == {*constants()}


def test_what_is_handed_down_is_in_the_table() -> None:
    """Each part of the value, in its order."""
    told = {row[0]: float(row[1]) for row in rows() if row[0].endswith("_seconds")}
    parts = {key: each for key, each in Limits()._asdict().items() if key not in WHOLE}
    assert told == parts
    assert list(told) == list(parts)


def test_each_program_has_the_time_that_the_table_says() -> None:
    """The whole of its run, and what it has beyond that."""
    programs = {row[1]: row for row in rows() if len(row) == 5 and row[0] != "program"}
    ours = programs.pop("sp_deadline")
    assert (float(ours[2]), float(ours[3])) == (
        option_table.DEADLINE_SECONDS,
        adapter.GRACE_SECONDS,
    )
    for module, row in programs.items():
        told = value(f"{module}.LIMITS")
        assert (float(row[2]), float(row[3])) == (told.deadline_seconds, told.last_seconds), module
    assert len(programs) == 7


def test_who_differs_is_named() -> None:
    """The other parts are the same for all programs, but for the lock that a boot waits for."""
    for module in ("host.helper", "host.vm_hook", "host.vm_door", "fence.agent", "fence.door"):
        own = value(f"{module}.LIMITS")
        assert own._replace(deadline_seconds=45.0, last_seconds=10.0) == limits.LIMITS
    boot = value("host.boot_hook.LIMITS")
    (row,) = [row for row in rows() if row[0] == "lock_seconds"]
    assert f"`storpool-boot-hook`: {boot.lock_seconds:g}" in row[2]
