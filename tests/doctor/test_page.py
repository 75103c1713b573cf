"""The page for support: it asks for nothing, shows everything as text, and has no secret."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import doctor_samples as samples
import pytest

from storpool_ovirt import sentences
from storpool_ovirt.doctor import mending, page, page_style, report

pytestmark = pytest.mark.fast
# Everything by which HTML asks for something else, or runs something.
ASKING = set(
    (
        "script iframe frame object embed applet link base form img picture source audio video svg "
        "input-image import template slot portal"
    ).split()
)
EMPTY = {"meta", "input", "br"}
STEP = mending.Step("engine-link", "", "make the link", mending.DONE, "it is there")


class Outline(HTMLParser):
    """What a page consists of: its elements with their attributes, its text, and whether each end
    fits its beginning."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text, but that of the style."""
        if self.open[-1:] != ["style"]:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def made(**given: object) -> tuple[str, Outline]:
    """Return the page of the samples, or of others, and its outline."""
    text = page.html_of(report.document(samples.look(**given), [STEP]))  # type: ignore[arg-type]
    outline = Outline(text)
    assert outline.open == []
    return text, outline


@pytest.mark.parametrize("findings", [samples.FOUND, samples.hostile()], ids=["usual", "hostile"])
def test_it_asks_for_nothing_and_runs_nothing(findings: object) -> None:
    """No element that does, no address, no handler, no style but its own: also where a text that a
    check told would like one."""
    text, outline = made(findings=findings)
    assert not {tag for tag, _ in outline.elements} & ASKING
    names = {name for _, attributes in outline.elements for name in attributes}
    assert not {each for each in names if each.startswith("on")}
    assert not names & {"src", "href", "srcset", "action", "data", "style", "background", "ping"}
    assert "url(" not in page_style.STYLE
    assert "@import" not in page_style.STYLE
    assert "http:" not in text
    assert "https:" not in text


def test_its_policy_forbids_what_it_does_not_need() -> None:
    """All is forbidden but the one style, by its sum; it stands before all that could ask."""
    text, outline = made()
    (policy,) = [
        each["content"]
        for each in outline.named("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    ]
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    parts = set((policy or "").split("; "))
    assert parts == {
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    }
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_every_check_is_there_with_all_that_was_found() -> None:
    """In the order of their urgency: those that are wrong as articles, what is fine as rows."""
    _, outline = made()
    order = [each["data-check"] for _, each in outline.elements if "data-check" in each]
    assert order == [
        "engine-domain-stats",
        "engine-clock",
        "engine-fence-agent",
        "engine-database",
        "engine-domain-stats",
        "engine-domain-stats",
    ]
    for each in samples.FOUND:
        told = [each.check.id, each.check.title, each.result.cause, each.result.subject]
        if each.result.result != "unknown":
            told += [each.result.risk, each.result.fix]
        assert all(part in outline.text for part in told), each
    for part in ("engine1.example.com", "2026-11-26 13:46:41 UTC", "oVirt Engine", "4.5.7-1.el9"):
        assert part in outline.text
    assert "make the link" in outline.text


@pytest.mark.parametrize("kind", samples.HOSTILE)
def test_a_hostile_text_is_text(kind: str) -> None:
    """It stands there whole, each character that cannot be seen as its number, and the page has
    the elements that it has without it."""
    given = samples.HOSTILE[kind]
    harmless = samples.finding("host-x", samples.FOUND[1].result)
    result = samples.FOUND[1].result
    hostile = samples.finding("host-x", type(result)(result.result, given, given, given, given))
    _, outline = made(findings=[hostile])
    subject = type(result)(*[result.result, "c", "r", "f", "s"])
    _, usual = made(findings=[harmless._replace(result=subject)])
    assert [tag for tag, _ in outline.elements] == [tag for tag, _ in usual.elements]
    assert outline.text.count(sentences.visible(given)) == 4
    assert outline.text.replace("\n", "").isprintable() or "\xa0" in outline.text


def test_it_can_be_read_aloud() -> None:
    """A language, a title, one first heading, no level left out, captions, heads of rows and
    columns, a name for what is chosen."""
    text, outline = made()
    assert outline.named("html") == [{"lang": "en"}]
    assert re.search(r"<title>[^<]+engine1[^<]*</title>", text)
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= sooner + 1 for sooner, later in zip(levels, levels[1:]))
    assert len(outline.named("caption")) == len(outline.named("table")) == 3
    assert all(each.get("scope") in ("row", "col") for each in outline.named("th"))
    ids = [each["id"] for _, each in outline.elements if "id" in each]
    assert len(ids) == len(set(ids))
    for section in outline.named("section"):
        assert section["aria-labelledby"] in ids
    assert len(outline.named("legend")) == len(outline.named("fieldset")) == 1
    assert len(outline.named("label")) == len(outline.named("input")) == 5
