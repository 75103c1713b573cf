"""lazily.py: a list of very much is written as any list."""

from __future__ import annotations

import io
import json
import sys

import pytest

from storpool_ovirt.admin import console, lazily


def each(count: int) -> lazily.Each:
    """Return a list of so many values, each with a secret."""
    return lazily.Each(lambda: ({"number": number, "said": "SECRET"} for number in range(count)))


@pytest.mark.parametrize("count", [0, 1, 30_000])
def test_it_is_written_as_any_list(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """T75: some at a time, with secrets masked, also when it is gone through again."""
    out = console.Console("test")
    out.hide("SECRET")
    found = each(count)
    assert (len(found), bool(found)) == (count, count > 0)
    for _ in range(2):
        written = io.StringIO()
        monkeypatch.setattr(sys, "stdout", written)
        out.document({"a": found, "b": "\u200b"})
        text = written.getvalue()
        told = json.loads(text)
        assert [one["number"] for one in told["a"]] == [*range(count)]
        assert told["b"] == "\u200b"
        assert (
            text
            == json.dumps(told, indent=2, ensure_ascii=False).replace("\u200b", "\\u200b") + "\n"
        )
        assert "SECRET" not in text


def test_json_writes_it_at_once_too() -> None:
    """Python's code in C goes through it as well."""
    assert json.loads(json.dumps(each(2))) == [*each(2)]
    assert json.dumps(each(0)) == "[]"
