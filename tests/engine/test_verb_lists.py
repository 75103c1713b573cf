"""Whoever lists Engine's verbs lists all of them: the product's own table is what they are held
to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ovirt_demo import flows
from rigs import verb_samples
from storpool_ovirt.engine import verbs

TREE = Path(__file__).parents[2]
# Places that name verbs in an order, or with facts, of their own.
LISTS = (
    TREE / "benchmarks" / "verbs.py",
    TREE / "benchmarks" / "soak.py",
    TREE / "tests" / "house" / "test_benchmarks.py",
    TREE / "tests" / "engine" / "fault_scenes.py",
    TREE / "tests" / "engine" / "test_adapter_protocol.py",
)
ENDS = ("_volume", "_snapshot", "_device", "_info", "_stats")


def words(path: Path) -> set[str]:
    """Return the texts in a file that are made as the names of verbs are."""
    texts = (each.value for each in ast.walk(ast.parse(path.read_text())) if is_text(each))
    return {text for text in texts if text.endswith(ENDS) and text.isidentifier()}


def is_text(node: ast.AST) -> bool:
    """Tell whether a node is a text."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_a_verb_has_a_sample(verb: str) -> None:
    """With as many arguments as it takes."""
    sample = verb_samples.arguments(verb, "d", "s", "n")
    assert len(sample) == len(verbs.VERBS[verb].arguments)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_list_of_verbs_has_all_of_them(path: Path) -> None:
    """A verb that is new is measured, killed at every point and counted."""
    assert set(verbs.VERBS) - words(path) == set(), "is not in that list"


def test_the_demos_flows_ask_for_verbs_that_there_are() -> None:
    """It must not import the product, so its names are compared here; no flow of oVirt's that it
    plays asks for a connection a second time."""
    asked = re.findall(r'\.ask\(\s*"(\w+)"', Path(flows.__file__).read_text())
    assert set(verbs.VERBS) - set(asked) == {"get_connection_info"}
    assert set(asked) <= set(verbs.VERBS)
