"""tests/: rooms as those of the product, and one home for what several of them work with."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOMS = {path.name for path in TESTS.iterdir() if path.is_dir() and not path.name.startswith("_")}
FILES = sorted(TESTS.rglob("*.py"))
LINES_MAX = 430
HOME = {path.stem: path.parent.name for path in FILES if path.parent != TESTS}


def imported(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, anywhere in it."""
    found = set()
    for each in ast.walk(ast.parse(path.read_text())):
        if isinstance(each, ast.Import):
            found |= {name.name for name in each.names}
        elif isinstance(each, ast.ImportFrom):
            found.add(each.module or "")
    return found


def test_no_two_files_have_one_name() -> None:
    """Rooms are no packages: a file's name alone says which module it is."""
    names = Counter(path.name for path in FILES)
    twice = {name for name, count in names.items() if count > 1} - {"conftest.py", "__init__.py"}
    assert twice == set()


def test_services_are_beside_all_flows_and_vms() -> None:
    """Or README.md tells which modules are without them, and why."""
    paths = [path for room in ("flows", "vm") for path in (TESTS / room).glob("test_*.py")]
    without = {path for path in paths if "\nBESIDE = " not in path.read_text()}
    told = re.findall(r"`((?:flows|vm)/test_\w+\.py)`.* \|", _section("StorPool's services beside"))
    assert {str(path.relative_to(TESTS)) for path in without} == {*told}


def _section(title: str) -> str:
    _, _, text = (TESTS / "README.md").read_text().partition(f"## {title}\n")
    return text.partition("\n## ")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_room_imports_rigs_and_its_own_files(path: Path) -> None:
    """What two rooms share is in rigs/; rigs import no room."""
    for module in imported(path):
        home = HOME.get(module.split(".")[0])
        assert home in (None, path.parent.name), f"{module} is in {home}/"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_file_is_one_subject(path: Path) -> None:
    """At some 400 lines it is divided by subject, and each part has a name that says it."""
    assert len(path.read_text().splitlines()) <= LINES_MAX
