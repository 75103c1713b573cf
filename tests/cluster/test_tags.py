"""Who may change tags: StorPool's update may replace all of them, so one function sends them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cinder_driver
import storpool_ovirt

PACKAGE = Path(storpool_ovirt.__file__).parent
DRIVER = Path(cinder_driver.__file__).parent
PRODUCT = [*PACKAGE.rglob("*.py"), *DRIVER.rglob("*.py")]
# How an object is changed: the client's methods, the binding's, and StorPool's own names of them.
UPDATES = (
    *("volume_update", "snapshot_update"),
    *("volumeUpdate", "snapshotUpdate"),
    *("VolumeUpdate", "SnapshotUpdate"),
)


def functions(tree: ast.AST) -> list[tuple[str, list[ast.AST]]]:
    """Return the outermost functions by their names, a method's with its class, and what each
    holds; the rest is `-`."""
    found: list[tuple[str, list[ast.AST]]] = []
    rest: list[ast.AST] = []
    for top in ast.iter_child_nodes(tree):
        methods = top.body if isinstance(top, ast.ClassDef) else [top]
        prefix = f"{top.name}." if isinstance(top, ast.ClassDef) else ""
        for node in methods:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append((prefix + node.name, list(ast.walk(node))))
            else:
                rest += ast.walk(node)
    return [*found, ("-", rest)]


def updates(tree: ast.AST) -> set[str]:
    """Return the functions in which something is updated, by whichever name."""
    return {
        name
        for name, nodes in functions(tree)
        if any(
            (isinstance(node, ast.Attribute) and node.attr in UPDATES)
            or (isinstance(node, ast.Constant) and node.value in UPDATES)
            for node in nodes
        )
    }


def sends(tree: ast.AST) -> set[str]:
    """Return the functions that write the word `tags` into data: as a key, or as one that is
    set."""
    return {name for name, nodes in functions(tree) if any(map(_writes_tags, nodes))}


def _writes_tags(node: ast.AST) -> bool:
    if isinstance(node, ast.Dict):
        return any(isinstance(key, ast.Constant) and key.value == "tags" for key in node.keys)
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "tags"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return any(keyword.arg == "tags" for keyword in node.keywords)
    return False


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(): c.volume_update(a, {'tags': t})", ({"f"}, {"f"})),
        ("class C:\n  def f(self): self.volumeUpdate(a, b)", ({"C.f"}, set())),
        ("def f(): call('SnapshotUpdate', b)", ({"f"}, set())),
        ("update = c.snapshot_update", ({"-"}, set())),
        ("def f():\n  b['tags'] = t", (set(), {"f"})),
        ("def f(): return dict(name=n, tags=t)", (set(), {"f"})),
        ("BODY = {'tags': t}", (set(), {"-"})),
        ("def f(): return raw['tags'], raw.get('tags'), change(a, tags=t)", (set(), set())),
    ],
)
def test_the_search_finds_it(code: str, found: tuple[set[str], set[str]]) -> None:
    """T79: the tests below see each way to write it."""
    tree = ast.parse(code)
    assert (updates(tree), sends(tree)) == found


def test_one_function_changes_tags() -> None:
    """T79: of the two that update an object only `change` sends tags, and it sends all of them."""
    trees = {path: ast.parse(path.read_text()) for path in PRODUCT}
    where = {str(path.relative_to(PACKAGE.parent)): updates(tree) for path, tree in trees.items()}
    assert {path: found for path, found in where.items() if found} == {
        "storpool_ovirt/cluster/api.py": {"Client.volume_update", "Client.snapshot_update"},
        # The table of all requests, which sends nothing.
        "storpool_ovirt/cluster/requests.py": {"-"},
        "storpool_ovirt/cluster/volumes.py": {"grow", "change", "limit", "revert"},
    }
    where = {str(path.relative_to(PACKAGE.parent)): sends(tree) for path, tree in trees.items()}
    assert {path: found for path, found in where.items() if found} == {
        # What is made anew has only the tags of its plan.
        "storpool_ovirt/cluster/volumes.py": {"create", "snapshot", "group_snapshot", "change"},
        # Of a copy in another location, and of what is fetched from there: its whole plan.
        "storpool_ovirt/cluster/remote.py": {"backup", "fetch"},
        # What a rehearsal foresees, the journal and our tables keep, and people are shown; nothing
        # is sent.
        "storpool_ovirt/cluster/foreseen.py": {"World._new", "_fields"},
        "storpool_ovirt/engine/intent.py": {"making", "dropping"},
        "storpool_ovirt/engine/trash.py": {"written"},
        "storpool_ovirt/admin/trash_text.py": {"_object", "_rowless"},
        "storpool_ovirt/admin/vm_backups.py": {"_facts"},
    }
