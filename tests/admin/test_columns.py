"""Columns: what stands below each other does so on a terminal, and nothing of it is cut."""

from __future__ import annotations

from storpool_ovirt.admin import columns

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"


def test_a_column_is_as_wide_as_its_widest_cell() -> None:
    """Two blanks between them, none at the end."""
    rows = [("client 1", "host1.example", "rw"), ("client 200", "-", "ro"), ("", "", "")]
    assert list(columns.lines(rows)) == [
        "client 1    host1.example  rw",
        "client 200  -              ro",
        "",
    ]
    assert list(columns.lines([])) == []


def test_a_wide_character_takes_two_cells() -> None:
    """A host may have a name of any script: `len` counts characters, a terminal cells."""
    assert list(columns.lines([("虚拟机", "up"), ("диск-1", "up"), ("e\u0301", "up")])) == [
        "虚拟机  up",
        "диск-1  up",
        "e\u0301       up",
    ]


def test_nothing_is_wrapped_cut_or_taken_for_markup() -> None:
    """A script looks for an id, whatever the width of a terminal; a name in brackets is a name."""
    [line] = columns.lines([("x" * 500, ID, "[red]host[/red]", ":disk:")])
    assert line == f"{'x' * 500}  {ID}  [red]host[/red]  :disk:"
