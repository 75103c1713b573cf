"""The papers of the doctor have each check, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storpool_ovirt.doctor import checks, report, tables

pytestmark = pytest.mark.fast
DOCS = Path(__file__).parents[2] / "docs"
PLACES = (checks.ENGINE, checks.HOST)
_AN_ID = re.compile(rf"`((?:{'|'.join(PLACES)})(?:-[a-z0-9]+)+)`")
# What else is called so.
OTHERS = {"engine-backup", "engine-config", "engine-setup"}


def ids() -> set[str]:
    """Return the ids of all checks."""
    return {each.id for place in PLACES for each in tables.of(place)}


def test_the_table_has_each_check_and_no_other() -> None:
    """Each once, in a row with what it asks, what may be wrong and what mends it."""
    section = (DOCS / "doctor.md").read_text().partition("\n## The checks\n")[2]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in _AN_ID.findall(row.split("|")[1])]
    assert len(told) == len(set(told))
    assert set(told) == ids()
    for row in rows:
        assert row.count("|") == 5, row
        assert all(cell.strip() for cell in row.split("|")[1:4]), row


def test_each_check_that_a_symptom_names_is_there() -> None:
    """docs/troubleshooting.md, row by row; and each check has a symptom there."""
    text = (DOCS / "troubleshooting.md").read_text()
    named = set(_AN_ID.findall(text)) - OTHERS
    assert named == ids()


def test_each_row_by_symptom_is_as_wide_as_its_table() -> None:
    """A cell more or less would put what is to be done under another heading."""
    width = 0
    for line in (DOCS / "troubleshooting.md").read_text().splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and width) or cells == width, line
        width = cells


def test_the_exit_codes_are_told_as_they_are() -> None:
    """The table of results."""
    text = (DOCS / "doctor.md").read_text()
    for result, code in report.EXIT_CODES.items():
        assert re.search(rf"^\| {result} \| .* \| {code} \|$", text, re.MULTILINE)
