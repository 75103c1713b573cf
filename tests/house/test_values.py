"""Values: what has many fields is made with their names, so that a reader knows which is which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from house.test_layers import FILES

# What a reader can still tell apart by its place.
PLACES_MAX = 6


def values_by_place(path: Path) -> Iterator[str]:
    """Yield the classes that a file calls with more arguments by place than can be told apart."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and len(node.args) > PLACES_MAX:
            name = (
                node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            )
            if name.lstrip("_")[:1].isupper():
                yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("module", FILES)
def test_a_value_of_many_fields_is_made_with_their_names(module: str) -> None:
    """A finding, an entry of a listing, an operation: not nine arguments by their place."""
    assert list(values_by_place(FILES[module])) == []
