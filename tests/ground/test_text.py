"""text.py: where lines end, what is blank, how bytes are read; and that nothing else in the product
decides it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cinder_driver
import storpool_ovirt
from storpool_ovirt import errors, text

# What str.splitlines, str.strip and \s take for an end or a blank, and text from outside does not
# mean so.
TRAPS = "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u3000\ufeff"
PACKAGES = [Path(package.__file__ or "").parent for package in (storpool_ovirt, cinder_driver)]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\r\nb\rc\n\n", ["a", "b", "c", ""]),
        ("\n", [""]),
        ("\r\r\n", ["", ""]),
    ],
)
def test_three_things_end_a_line(given: str, lines: list[str]) -> None:
    r"""\n, \r\n and \r; an end at the end of the text begins no further line."""
    assert text.lines(given) == lines


@given(st.text(st.sampled_from("ab=\n\r" + TRAPS)))
def test_lines_are_those_of_a_file_that_python_reads(given: str) -> None:
    """The same as iterating over a text file: what stands between two ends is kept, whatever it
    is."""
    import io

    assert text.lines(given) == [line.rstrip("\n") for line in io.StringIO(given, newline=None)]


@pytest.mark.parametrize("trap", TRAPS)
def test_what_looks_like_a_blank_belongs_to_the_text(trap: str) -> None:
    """It ends no line and is not taken off; numbers have the digits 0 to 9 only."""
    assert text.lines(f"a{trap}b") == [f"a{trap}b"]
    assert text.stripped(f" {trap}a{trap}\r\n") == f"{trap}a{trap}"
    assert text.number(f"{trap}1", 0, 9) is None
    assert text.decimal(f"1{trap}") is None


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("7", 7),
        ("007", 7),
        ("4095", 4095),
        ("4096", None),
        ("0", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        ("", None),
        ("x", None),
        ("٣", None),
        ("²", None),
        (" 1", None),
        ("1\n", None),
        ("1" * 5000, None),
    ],
)
def test_a_number_is_its_digits(given: str, number: int | None) -> None:
    """Nothing that Python's int() would take as well, and no error for 5,000 digits."""
    assert text.number(given, 1, 4095) == number


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("20", 20.0),
        ("0.5", 0.5),
        ("5.", 5.0),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("-1", None),
        ("٣", None),
        ("", None),
        (".", None),
        ("9" * 400, None),
    ],
)
def test_a_decimal_is_its_digits(given: str, number: float | None) -> None:
    """Nothing that Python's float() would take as well."""
    assert text.decimal(given) == number


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("a=b\n".encode("utf-16"), "the file is UTF-16, not UTF-8: save it as UTF-8"),
        ("a=b\n".encode("utf-16-be"), "the file has NUL bytes (is it UTF-16, or damaged?)"),
        (
            "a=b\nc=\xe9\n".encode("latin-1"),
            "the file is not UTF-8 (line 2 has the byte 0xe9; is it Latin-1?)",
        ),
        (
            "a=b\n".encode("utf-8-sig"),
            "the file begins with a byte order mark: save it as UTF-8 without",
        ),
        (b"a=b\0\n", "the file has NUL bytes"),
    ],
)
def test_another_encoding_is_named(data: bytes, sentence: str) -> None:
    """One sentence that says what is wrong with the bytes and what to do."""
    with pytest.raises(errors.ConfigError) as raised:
        text.decoded(data, "the file")
    assert str(raised.value).startswith(sentence)
    assert str(raised.value).isprintable()


def test_a_mark_is_left_out_where_one_may_be() -> None:
    """Only one, only at the beginning; and damaged bytes are shown as such where that is asked
    for."""
    assert text.decoded("\ufeffa\ufeff".encode(), "the file", may_have_mark=True) == "a\ufeff"
    assert text.decoded(b"a\xe9", "the file", damaged=True) == "a\ufffd"


def test_nothing_else_splits_text_into_lines() -> None:
    """No other place of the product may call str.splitlines: a character in a password must never
    make a line."""
    found = []
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found += [
                f"{path.name}:{node.lineno}"
                for node in tree
                if isinstance(node, ast.Attribute) and node.attr == "splitlines"
            ]
    assert found == []
