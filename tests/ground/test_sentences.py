"""sentences.py: no secret in any form, nothing that is not seen, one line, not too long."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storpool_ovirt import names, sentences

PASSWORD = "pä'ss\"wö\\rd & 100% <x>+/@:\n"


def masking(*hidden: str) -> sentences.Secrets:
    """Return what masks these."""
    secrets = sentences.Secrets()
    for each in hidden:
        secrets.hide(each)
    return secrets


SIGNS = {chr(byte) for byte in range(256) if not chr(byte).isalnum() or byte > 127}
FORMS = {
    "as it is": lambda text: text,
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "unicode_escape": lambda text: text.encode("unicode_escape").decode(),
    "backslashreplace": lambda text: text.encode("ascii", "backslashreplace").decode(),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with all letters": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "percent": urllib.parse.quote,
    "percent, all": lambda text: urllib.parse.quote(text, safe=""),
    "percent, small": lambda text: "".join(
        f"%{b:02x}" if chr(b) in SIGNS else chr(b) for b in text.encode()
    ),
    "form": urllib.parse.quote_plus,
    "SQL": lambda text: text.replace("'", "''"),
    "conninfo": lambda text: text.replace("\\", "\\\\").replace("'", "\\'"),
    "XML": html.escape,
    "XML, numbers": lambda text: "".join(
        f"&#{ord(each)};" if each in SIGNS else each for each in text
    ),
    "visible": sentences.visible,
    "shown": lambda text: names.shown(text)[1:-1],
    "repr of JSON": lambda text: repr(json.dumps(text))[2:-2],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form(form: str) -> None:
    """T75: libraries print what they were given escaped, quoted, doubled, or encoded."""
    said = f"connection to <{FORMS[form](PASSWORD)}> failed"
    assert masking(PASSWORD).masked(said) == "connection to <***> failed"


@given(
    st.text(
        st.characters(exclude_categories=["Cs"]), min_size=sentences.SHORTEST_INSIDE, max_size=20
    ),
    st.sampled_from(sorted(FORMS)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)
@example("%25%25%25", "percent", "")
@example("\\\\\\\\\\\\", "repr", "")
def test_any_secret_is_masked_in_any_form(secret: str, form: str, around: str) -> None:
    """T75: whatever characters it has."""
    said = FORMS[form](secret)
    masked = masking(secret).masked(f"{around}: {said} :{around}")
    assert said not in masked.replace(sentences.MASK, "") or said in around


@pytest.mark.parametrize("secret", ["Zk3:s@cret/1%\\x", "1556560560218011653", 's3cr\'et\n"x"\\'])
@pytest.mark.parametrize("form", ["as it is", "repr", "JSON", "percent, all", "unicode_escape"])
def test_a_secret_that_was_cut_is_masked(secret: str, form: str) -> None:
    """T75: wherever a library, or we, cut a text that has one in it: less than four characters of
    it are left."""
    whole = FORMS[form](secret)
    for length in range(len(whole)):
        masked = masking(secret).masked(f'the token "{whole[:length]}..." is not valid')
        assert not any(
            FORMS[form](secret[:size]) in masked for size in range(4, len(secret) + 1)
        ), masked


def test_one_secret_in_another() -> None:
    """The longer one is looked for first, whatever came first: nothing of it is left beside the
    mask."""
    for hidden in (("secret", "secret-secret2"), ("secret-secret2", "secret")):
        assert masking(*hidden).masked("a secret-secret2, a secret") == "a ***, a ***"


@pytest.mark.parametrize(
    ("secret", "said", "masked"),
    [
        ("", "a volume", "a volume"),
        ("a", "a volume", "a volume"),
        ("81", "at 10.0.0.1:81", "at 10.0.0.1:81"),
        ("abc", 'password "abc" abcd x-abc abc', 'password "***" abcd x-abc ***'),
        ("a%c", 'password "a%25c"', 'password "***"'),
        ("ovirt", "of storpool-ovirt as ovirt", "of storpool-ovirt as ***"),
        ("storpool", "storpool-ovirt", "***-ovirt"),
    ],
)
def test_short_secrets(secret: str, said: str, masked: str) -> None:
    """A short one is masked as a word of its own; a letter or two are in any sentence, and a mask
    would tell them."""
    assert masking(secret).masked(said) == masked


def test_a_sentence_is_one_line_and_shows_what_it_has() -> None:
    """Nothing is dropped: what is not seen is escaped, and a name keeps its letters."""
    assert (
        sentences.fit("  VM Größe 虚\n\x1b[31m\u202e\0 x ") == r"VM Größe 虚\n\x1b[31m\u202e\x00 x"
    )
    assert sentences.fit(" \n ") == "no reason was given"


@pytest.mark.parametrize("size", [999, 1000, 1001, 2000, 1_000_000])
@pytest.mark.parametrize("letter", ["x", "\n", "ß"])
def test_a_long_sentence_is_cut_in_the_middle(size: int, letter: str) -> None:
    """Who reads it sees what it is about and what to do, and that something is missing."""
    said = sentences.fit(f"begin{letter * size}end")
    assert len(said) <= sentences.SENTENCE_MAX
    assert said.startswith("begin")
    assert said.endswith("end")
    assert ("are left out" in said) == (
        size * len(sentences.visible(letter)) + 8 > sentences.SENTENCE_MAX
    )
    assert sentences.fit(said) == said


@pytest.mark.parametrize("first", ["!", "\\", '"', "é"])
def test_a_text_of_backslashes_alone_is_searched_in_no_time(first: str) -> None:
    """T73: whoever chooses an error's words must not choose how long a program takes to hide a
    secret in them."""
    secrets = sentences.Secrets()
    secrets.hide(f"{first}1234567890")
    began = time.monotonic()
    assert secrets.masked("\\" * 200_000) == "\\" * 200_000
    assert time.monotonic() - began < 5


def test_what_cannot_be_looked_through_is_not_shown() -> None:
    """T75: where no more files can be opened, and so no patterns be loaded, all of a text that may
    have a secret in another form is masked."""
    code = f"""
import sys
sys.path[:0] = [{str(Path(sentences.__file__).parents[1])!r}]
from storpool_ovirt import sentences
secrets = sentences.Secrets()
secrets.hide("pass'word")
before = secrets.masked("a pass'word")
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
assert "re" not in sys.modules
print(before, secrets.masked("a plain one"), secrets.masked("a pass\\\\\\\\'word or not"), sep="|")
"""
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a ***|a plain one|***\n"
