"""presence.py: what is there, what is not, and what nobody can tell."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest

import storpool_ovirt
from rigs import faulty_files
from storpool_ovirt import errors, presence

PACKAGE = Path(storpool_ovirt.__file__).parent
PRODUCT = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "cinder_driver").glob("*.py")]
# Each takes an error for an answer: os.path's turn any OSError into "no", glob's into "nothing".
SILENT = tuple(
    "exists lexists isfile isdir islink ismount glob rglob walk is_file is_dir is_symlink".split()
)


def test_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    """A file is there, a missing one, a dangling link and what is below a file are not; a dangling
    link has a name."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    there = {
        name: presence.there(f"{tmp_path}/{name}")
        for name in ("file", "none", "dangling", "file/below")
    }
    assert there == {"file": True, "none": False, "dangling": False, "file/below": False}
    assert presence.named(f"{tmp_path}/dangling")
    assert not presence.named(f"{tmp_path}/none")
    assert not presence.named(f"{tmp_path}/file/below")
    assert presence.target(f"{tmp_path}/dangling") == "nowhere"
    assert [presence.target(f"{tmp_path}/{name}") for name in ("file", "none", "file/below")] == [
        None
    ] * 3


def test_a_folder(tmp_path: Path) -> None:
    """Its names in order; a missing one has none; a file in its place is no empty folder."""
    for name in ("b", "a"):
        (tmp_path / name).touch()
    assert presence.listed(str(tmp_path)) == ["a", "b"]
    assert presence.listed(f"{tmp_path}/none") == []
    with pytest.raises(errors.InputError, match=r"a cannot be looked at \(Not a directory\)"):
        presence.listed(f"{tmp_path}/a")


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_what_cannot_be_looked_at_is_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Whatever else the kernel answers, each question raises, and the sentence names the path and
    the reason."""
    faulty_files.inject(monkeypatch, tmp_path, code)
    for ask in (presence.there, presence.named, presence.target, presence.listed):
        with pytest.raises(errors.InputError) as raised:
            ask(f"{tmp_path}/x")
        assert f"{tmp_path}/x cannot be looked at ({os.strerror(code)})" in str(raised.value)


def test_a_real_circle_and_a_real_denial(tmp_path: Path) -> None:
    """The same with a link that leads to itself, and for an ordinary user with a folder that is
    closed to all."""
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(errors.InputError, match="Too many levels of symbolic links"):
        presence.there(str(circle))
    assert presence.named(str(circle))
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(errors.InputError, match=os.strerror(errno.EACCES)):
            presence.there(f"{tmp_path}/closed/x")


def silent(tree: ast.AST) -> list[int]:
    """Return the lines that ask in a way that cannot tell an error from an absence."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SILENT
        and len(node.args) < 2  # more have questions to a database
    ]


@pytest.mark.parametrize(
    ("code", "found"),
    [("os.path.exists(x)", 1), ("Path(x).glob('*')", 1), ("presence.there(x)", 0)],
)
def test_the_search_for_silent_questions_finds_them(code: str, found: int) -> None:
    """The test below sees each way to write it."""
    assert len(silent(ast.parse(code))) == found


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nobody_asks_in_a_way_that_takes_an_error_for_absence(path: Path) -> None:
    """Whether something is there is asked through presence.py alone."""
    assert silent(ast.parse(path.read_text())) == []
