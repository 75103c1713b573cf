"""docs/promises.md: the ids that tests name."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_promise_that_a_test_names_is_told() -> None:
    """A reader of a test finds what T9 means, and a reader of the page finds no promise that nobody
    shows."""
    told = set(
        re.findall(
            r"^\| (T\d+) \|", (TESTS.parent / "docs" / "promises.md").read_text(), re.MULTILINE
        )
    )
    named = {
        promise
        for path in TESTS.rglob("*.py")
        if path.name != Path(__file__).name
        for promise in re.findall(r"\bT\d{1,2}\b", path.read_text())
    }
    assert named == told
