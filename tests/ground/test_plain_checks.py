"""Checks without patterns, for programs that are waited for, answer as the patterns of their rules.

Each pattern is what a rule of StorPool's, of a resolver or of ours says; the check that runs in its
place must take and refuse the same texts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import documents, errors, names, option_values, secret, sentences, text
from storpool_ovirt import storpool_conf as conf
from storpool_ovirt.engine import adapter

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
GLOBAL_ID = r"[a-z0-9]{1,20}\.[a-z0-9]{1,20}\.[a-z0-9]{1,20}\Z"
NUMBERS = r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+))*\Z"
IPV4 = r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}\Z"
HOST = r"[A-Za-z0-9._:\-\[\]]{1,253}\Z"


def taken(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    """Return whether a text is taken by a function that raises ValueError for what it refuses."""

    def check(given_text: str) -> bool:
        try:
            parse(given_text)
        except ValueError:
            return False
        return True

    return check


CHECKS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "uuid": (UUID, names.UUID.fits),
    "global id": (GLOBAL_ID, names.GLOBAL_ID.fits),
    "cluster id": (r"[a-z0-9]{1,20}\.[a-z0-9]{1,20}\Z", names.CLUSTER_ID.fits),
    "template": (r"[A-Za-z0-9_\-]{1,199}\Z", names.TEMPLATE.fits),
    "vm tag": (r"[A-Za-z0-9_\-.:]{1,199}\Z", names.VM_TAG.fits),
    "correlation id": (r"[0-9a-zA-Z_-]{1,50}\Z", adapter.CORRELATION_ID.fits),
    "digits": (r"[0-9]{1,19}\Z", text.are_digits),
    "decimal": (r"[0-9]{1,19}(\.[0-9]{0,19})?\Z", lambda it: text.decimal(it) is not None),
    "token": (r"[\x21-\x7e]{1,4096}\Z", taken(option_values.token)),
    "address": (IPV4, option_values._is_ipv4),
    "numbers": (NUMBERS, lambda it: all(map(option_values._is_number, it.split(".")))),
}
# What checks go wrong with: ends of lines, blanks of all kinds, digits and letters of other scripts
# (some of which are ASCII's in another case), and what stands between parts.
ODD = (
    "\n\r\t \x0b\x0c\x1c\x85\u2028\u00a0\0\x7f\ud800\ufeff-_.:+%[]#;=\"'\\/0xX9afzAFZ"
    "\u0663\xb2\u2167\u2460\u017f\u212a\u0130\u0131\xdf\xe9\u24d0\uff10\uff41"
)


def mutated(pattern: str) -> st.SearchStrategy[str]:
    """Return texts that match, or nearly do, and any others."""
    matching = st.from_regex(pattern).map(lambda it: it[:400])
    damage = st.tuples(matching, st.integers(0, 400), st.integers(0, 3), st.text(ODD, max_size=3))

    def damaged(parts: tuple[str, int, int, str]) -> str:
        whole, place, gone, put = parts
        place %= len(whole) + 1
        return whole[:place] + put + whole[place + gone :]

    return matching | damage.map(damaged) | st.text(ODD, max_size=12) | st.text(max_size=12)


@pytest.mark.parametrize("kind", CHECKS)
def test_a_check_takes_what_its_pattern_takes(kind: str) -> None:
    """And refuses the rest, ends of lines, other scripts and the empty text too."""
    pattern, check = CHECKS[kind]

    @given(mutated(pattern))
    def compared(text_given: str) -> None:
        if kind in ("address", "numbers") and not text_given.isascii():
            return  # `host` asks with characters of ASCII alone
        assert bool(check(text_given)) == bool(re.match(pattern, text_given)), repr(text_given)

    compared()
    for each in ("", "\n", "0\n", "٣", "1.2.3.4\n", "1.2.3.4.", "01.2.3.4", "0x1", "0x", "1..2"):
        if each.isascii() or kind not in ("address", "numbers"):
            assert bool(check(each)) == bool(re.match(pattern, each)), repr(each)


@given(mutated(HOST) | mutated(NUMBERS) | mutated(IPV4))
def test_a_host_is_refused_as_by_patterns(name: str) -> None:
    """By its characters, its parts, a port in it, and where it is no whole address."""
    parts = name[:-1].split(".") if name.endswith(".") else name.split(".")
    is_host = (
        "://" not in name
        and re.match(HOST, name)
        and all(0 < len(part) <= 63 for part in parts)
        and name.count(":") != 1
        and "]:" not in name
        and not (re.match(NUMBERS, name) and not re.match(IPV4, name))
    )
    assert taken(option_values.host)(name) == bool(is_host)


SECTION = re.compile(r"\[[ \t]*([^ \t\]][^\]]*)\][ \t]*\Z")
VARIABLE = re.compile(r"([^ \t\[#;=]+)[ \t]*=[ \t]*(.*)\Z", re.DOTALL)


@given(mutated(SECTION.pattern) | mutated(VARIABLE.pattern))
def test_a_line_of_storpool_conf_is_what_its_patterns_say(line: str) -> None:
    """Which section it begins, or which key has which value."""
    line = line.lstrip(" \t")
    section, variable = SECTION.match(line), VARIABLE.match(line)
    assert conf._section(line) == (section and section.group(1).rstrip())
    assert conf._variable(line) == (variable and variable.groups())


@given(st.text(ODD) | st.text() | st.text("a\r\n"))
def test_lines_end_as_the_pattern_says(whole: str) -> None:
    """At \\r\\n, \\n and \\r; an end at the end is none of another line."""
    found = re.split("\r\n|\n|\r", whole)
    assert text.lines(whole) == (found[:-1] if found[-1] == "" else found)


PIECES = st.sampled_from(
    [
        '"', "'", "\\", ":", " ", "\t", "\x1c", "\xa0", ",", "{", "}", "[", "x", "token", "TOKEN",
        "password", "secret", "\u017fecret", "to\u212aen", "sp_auth_token", "a" * 100, "b" * 9999,
        "         ", '": "', '"token": "', "'secret':", "4711", "1.5e+3", "-", "true", "é", "\n",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_may_be_a_secret_is_found_as_by_its_pattern(argument: str) -> None:
    """In whatever Engine gives, well-formed or not."""
    wanted = list(secret._named(argument))
    found = list(secret.found_in(argument))
    assert set(found) == set(wanted)
    plain = argument.replace("'", "").replace("\\", "")
    if plain.isascii():
        raws = [each.strip("\"'") for _, each in re.findall(f"({secret._OPTION})", plain, re.I)]
        assert list(secret._named_plainly(plain)) == raws


@given(st.text("ab-_ é٣.", max_size=20), st.text("ab-_é.", min_size=3, max_size=5))
def test_a_short_secret_is_masked_where_it_is_a_word(said: str, word: str) -> None:
    """Not within a longer one, in any script."""
    for whole in (said, f"{said}{word}", f"{word}{said}", f"{word} {said}{word}{said} {word}"):
        wanted = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", sentences.MASK, whole)
        assert sentences._without_word(whole, word) == wanted


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_document_is_written_as_by_json(value: Any) -> None:
    """Byte for byte: Vdsm compares what it was given with what it has stored."""
    assert documents.written(value) == json.dumps(value)
    assert documents.compact(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))
    again = documents.read(json.dumps(value, ensure_ascii=False))
    assert repr(again) == repr(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    "value", [{1: 2}, {None: 1, True: 2, 1.5: 3}, [(1, 2)], "ü\n", float("nan")]
)
def test_what_json_knows_to_write_is_written_so(value: Any) -> None:
    """Names that are no texts, tuples, a text alone."""
    assert documents.written(value) == json.dumps(value)


def test_what_has_no_form_is_refused() -> None:
    """As by json: no program answers with half a document."""
    with pytest.raises(TypeError):
        documents.written({"a": {1, 2}})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        documents.written(circle)


BAD = [
    "{",
    '{"a" 1}',
    '"\\x"',
    '"\t"',
    "[1 2]",
    "[NaN]",
    "",
    "{}{}",
    "[" * 100_000,
    '{"a": 1, "a": 2}',
]


@pytest.mark.parametrize("bad", BAD)
def test_a_damaged_document_is_refused_where_the_package_is_not_loaded(bad: str) -> None:
    """In the first thing that a program does; the sentence is the same as where it is loaded."""
    code = f"""
import sys
sys.path[:0] = [{str(Path(documents.__file__).parents[1])!r}]
from storpool_ovirt import documents, errors
assert documents.parse('{{"a": [1.5, true, "x"]}}', "this", "") == {{"a": [1.5, True, "x"]}}
assert documents.written({{"a": None}}) == '{{"a": null}}'
assert "json" not in sys.modules and "re" not in sys.modules
try:
    documents.parse({bad!r}, "this", "mend it")
except errors.InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", code], capture_output=True, text=True, check=True
    )
    with pytest.raises(errors.InputError) as raised:
        documents.parse(bad, "this", "mend it")
    assert done.stdout.rstrip("\n") == str(raised.value)


JSON_PIECES = st.lists(
    st.sampled_from(
        [
            "{", "}", "[", "]", ":", ",", '"', '"a"', "1", "-", "0", ".5", "e9", "NaN", "Infinity",
            "true", "null", " ", "\n", "\x0b", "\xa0", "\ufeff", "\\u00e9", "\\ud800", "\x00",
            "9" * 4400,
        ]
    )
).map("".join)  # fmt: skip


@given(JSON_PIECES | st.text() | VALUES.map(json.dumps))
def test_what_is_read_is_what_json_reads(whole: str) -> None:
    """And refused is what it refuses; the strict reader refuses more."""
    try:
        wanted = json.loads(whole)
    except ValueError:
        with pytest.raises(ValueError):  # whatever is wrong with it
            documents.read(whole)
        with pytest.raises(errors.InputError):
            documents.parse(whole, "this", "")
    else:
        assert repr(documents.read(whole)) == repr(wanted)
