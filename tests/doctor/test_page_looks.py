"""The page for support in a real browser: nothing is asked for, all can be read, on a phone too."""

from __future__ import annotations

import functools
import html
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import doctor_samples as samples
import pytest

from storpool_ovirt import sentences
from storpool_ovirt.doctor import mending, page, report

CHROMIUM = shutil.which("chromium")
LIMIT_SECONDS = 60
PHONE, DESK = 390, 1280
KINDS: dict[str, Any] = {"usual": samples.FOUND, "hostile": samples.hostile()}
STEP = mending.Step("engine-link", "", "make the link", mending.DONE, "it is there")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (.ci/packages)")

# What a browser has made of the page, told as text in its body.
MEASURING = """
<script>
const shown = (each) =>
  each.checkVisibility({checkVisibilityCSS: true}) && each.getClientRects().length > 0;
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (each) => {
  for (let at = each; at; at = at.parentElement) {
    const colour = rgb(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const contrast = (each) => {
  const [one, two] = [light(rgb(getComputedStyle(each).color)), light(behind(each))];
  return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
};
const words = [...document.body.querySelectorAll("*")].filter((each) =>
  shown(each) && [...each.childNodes].some((one) => one.nodeType === 3 && one.data.trim()));
const found = {
  title: document.title,
  width: innerWidth,
  needed: document.documentElement.scrollWidth,
  outside: [...document.body.querySelectorAll("*")].filter((each) => shown(each)
    && each.getBoundingClientRect().right > innerWidth + 0.5).map((each) => each.outerHTML),
  loaded: performance.getEntriesByType("resource").map((each) => each.name),
  scripts: document.scripts.length - 1,
  faintest: words.map((each) => [contrast(each), each.outerHTML]).sort((a, b) => a[0] - b[0])[0],
  smallest: Math.min(...words.map((each) => parseFloat(getComputedStyle(each).fontSize))),
  paper: getComputedStyle(document.body).backgroundColor,
  text: document.body.innerText,
  chosen: {},
};
for (const input of document.querySelectorAll("input")) {
  input.click();
  found.chosen[input.id] = [...document.querySelectorAll("[data-check]")].filter(shown)
    .map((each) => each.dataset.check);
}
parent.document.body.textContent = JSON.stringify(found);
</script>
"""


def made(findings: Any = samples.FOUND) -> str:
    """Return the page of the samples, or of others."""
    return page.html_of(report.document(samples.look(findings), [STEP]))


def browse(text: str, width: int = DESK, *more: str) -> str:
    """Return what the browser's document is, once it has opened a page; it keeps nothing."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder, "page.html")
        file.write_text(text, errors="backslashreplace")
        words = (
            f"{CHROMIUM} --headless --no-sandbox --disable-gpu --no-first-run --disable-sync"
            " --disable-background-networking --disable-component-update --hide-scrollbars"
        ).split()
        where = [f"--user-data-dir={folder}/profile", f"--window-size={width},2000"]
        done = subprocess.run(
            [*words, *where, *more, "--dump-dom", file.as_uri()],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def measured(kind: str, width: int, *more: str) -> Any:
    """Return what is measured of a page in the browser, by a script in a copy that allows one.

    The copy is in a frame of this width: a window of the browser's is wider than a phone.
    """
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", made(KINDS[kind]))
    copy = html.escape(copy.replace("</body>", f"{MEASURING}</body>"))
    outer = (
        '<!DOCTYPE html><meta name="color-scheme" content="light dark"><body style="margin: 0">'
        f'<iframe style="border: 0" width="{width}" height="2000" srcdoc="{copy}"></iframe></body>'
    )
    dom = browse(outer, DESK, *more)
    body = re.search(r"<body[^>]*>(.*)</body>", dom, re.DOTALL)
    assert body, dom[:2000]
    return json.loads(html.unescape(body[1]))


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("kind", KINDS)
def test_it_fits(kind: str, width: int) -> None:
    """Nothing sticks out to the side, whatever a text is like; every word is large enough."""
    found = measured(kind, width)
    assert found["width"] == width
    assert (found["needed"], found["outside"]) == (width, [])
    assert found["smallest"] >= 12
    assert found["loaded"] == []


@pytest.mark.parametrize("more", [(), ("--force-dark-mode",)], ids=["light", "dark"])
def test_every_word_stands_out(more: tuple[str, ...]) -> None:
    """By day and by night each has the contrast that WCAG's level AA asks of small letters, 4.5."""
    found = measured("usual", DESK, *more)
    ink = sum(map(int, re.findall(r"\d+", found["paper"])))
    assert (ink < 150) is bool(more)
    assert found["faintest"][0] >= 4.5, found["faintest"]


def test_a_choice_shows_what_it_counts() -> None:
    """Without a script of its own: all, or those with one result."""
    assert measured("usual", DESK)["chosen"] == {
        "show-all": [
            "engine-domain-stats",
            "engine-clock",
            "engine-fence-agent",
            "engine-database",
            "engine-domain-stats",
            "engine-domain-stats",
        ],
        "show-critical": ["engine-domain-stats"],
        "show-warning": ["engine-clock"],
        "show-unknown": ["engine-fence-agent"],
        "show-ok": ["engine-database", "engine-domain-stats", "engine-domain-stats"],
    }


def test_hostile_texts_are_read_as_they_are() -> None:
    """None of them became an element, ran, or renamed the page, also where the policy is gone."""
    found = measured("hostile", DESK)
    assert found["scripts"] == 0
    assert found["title"].startswith("Something is broken")
    shown = re.sub(r"\s+", " ", found["text"])
    for given in samples.HOSTILE.values():
        assert re.sub(r"\s+", " ", sentences.visible(given)).strip() in shown


def test_the_policy_holds_and_nothing_is_asked_for() -> None:
    """A script that somebody put into the page as it is does not run, and no picture or style of
    another place is fetched; without the policy it would be."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        there = f"http://127.0.0.1:{listener.getsockname()[1]}"
        calling = f'<img src="{there}/x" alt=""><link rel="stylesheet" href="{there}/y">'
        running = '<script>document.querySelector("h1").textContent = "taken"</script>'
        meddled = made().replace("</main>", f"{calling}{running}</main>")
        dom = browse(meddled)
        with pytest.raises(TimeoutError):
            listener.accept()
        assert ">taken</h1>" not in dom
        assert dom.count("data-check=") == len(samples.FOUND)
        free = re.sub(r"<meta http-equiv=[^>]*>", "", meddled)
        listener.settimeout(LIMIT_SECONDS)
        answering = threading.Thread(target=_taken, args=(listener,))
        answering.start()
        assert ">taken</h1>" in browse(free.replace(calling, calling.partition("<link")[0]))
        answering.join()


def _taken(listener: socket.socket) -> None:
    """Take one connection."""
    listener.accept()[0].close()
