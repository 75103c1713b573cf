"""documents.py: JSON from outside is what RFC 8259 calls JSON, or one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import documents, errors


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\ufeff{}", "is not JSON"),
        ("{}{}", "is not JSON"),
        ("'x'", "is not JSON"),
        ('"\t"', "is not JSON"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e999", "a number is too large"),
        ("[-1E+400]", "a number is too large"),
        ('{"a": 1, "b": {}, "a": 1}', '"a" is in it twice'),
        ('{"x": {"\\n": 1, "\\u000a": 2}}', r'"\n" is in it twice'),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_json_is_one_sentence(text: str, why: str) -> None:
    """Also what Python's own reader takes."""
    with pytest.raises(errors.ConfigError) as raised:
        documents.parse(text, "this", "mend it", errors.ConfigError)
    assert why in str(raised.value)
    assert str(raised.value).startswith("this is not JSON")
    assert str(raised.value).endswith("mend it")
    assert str(raised.value).isprintable()


def test_a_number_of_thousands_of_digits_is_no_bug() -> None:
    """It is refused, or a number, depending on Python; never another exception than ours."""
    try:
        assert documents.parse("9" * 5000, "this", "") > 0
    except errors.InputError as error:
        assert "is not JSON" in str(error)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_what_is_json_is_read_as_it_is(value: object, plain: bool) -> None:
    """Whatever it has."""
    assert documents.parse(json.dumps(value, ensure_ascii=plain), "this", "") == value


TEXTS = (
    *(
        "",
        "{",
        "{}{}",
        "'x'",
        '"\t"',
        '"\\u00e9\\ud83d\\ude00"',
        "[1, 2.5, -0.0, 1e400]",
        "12345678901234567890",
    ),
    *(
        "NaN",
        "[-Infinity]",
        '{"a": 1, "b": {}, "a": 1}',
        ' {"a": [true, false, null]}\n',
        "[" * 100_000,
        "\ufeff1",
    ),
)
TOLD = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import json
from storpool_ovirt import documents, errors

def told(read, text):
    try:
        return repr(read(text))
    except errors.InputError as error:
        return str(error)
    except (ValueError, RecursionError) as error:
        return "RecursionError" if isinstance(error, RecursionError) else "ValueError"

strictly = lambda text: documents.parse(text, "this", "mend it")
readers = strictly, documents.read, documents.without_numbers
for text in json.load(sys.stdin):
    print([told(read, text) for read in readers])
value = {"b": [1, 2.5, None, True, "\u00e9"], "a": {}}
print(documents.written(value), documents.compact(value), documents.written("\u00e9"))
"""


def test_a_python_without_the_compiled_scanner_reads_the_same() -> None:
    """By the package's own: the same values, the same refusals, and the same texts are written."""
    told = [
        subprocess.run(
            [sys.executable, "-c", TOLD, *hidden],
            input=json.dumps(TEXTS),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hidden in ((), ("_json",))
    ]
    assert told[0] == told[1]
    assert told[0].count("\n") == len(TEXTS) + 1
