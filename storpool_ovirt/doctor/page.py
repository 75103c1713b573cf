"""The page that `storpool-ovirt doctor --html` writes for support: one file that needs nothing
else.

It has no script and asks for nothing: its own policy forbids both, so that a text from outside
could not either. All that a check found stands in it as text, and what cannot be seen is told by
its number. Without colours, without the filter, printed or read aloud it says the same.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from storpool_ovirt import sentences, text
from storpool_ovirt.doctor import page_style, report

Row = Mapping[str, Any]

FINE = "ok"
# Each result that wants somebody: what its badge says, and the heading of those that have it.
_SECTIONS = {
    "critical": ("Critical", "Critical: mend this first"),
    "warning": ("Warning", "Warnings"),
    "unknown": ("Not known", "What could not be looked at"),
}
_VERDICTS = {
    "critical": "Something is broken",
    "warning": "It works, and something should be mended",
    "unknown": "Not everything could be looked at",
    FINE: "All is well",
}
_PARTS = {"cause": "Cause", "risk": "Risk", "fix": "Fix"}
_MENDS = " · <code>storpool-ovirt doctor --fix</code> does it"


def html_of(document: Row) -> str:
    """Return the page of a document as `report.document` makes it.

    There are no secrets in its texts any more: whoever made the document has masked them.
    """
    lines = ("<!DOCTYPE html>", '<html lang="en">', *_head(document), *_body(document), "</html>")
    return "\n".join(lines) + "\n"


def _head(document: Row) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(page_style.STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{_VERDICTS[document['result']]}: {_shown(document['host'])}"
    yield '<head><meta charset="utf-8">'
    yield f'<meta name="generator" content="{_shown(document["program"])}">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title}</title>"
    yield f"<style>{page_style.STYLE}</style></head>"


def _body(document: Row) -> Iterator[str]:
    checks, time = document["checks"], _shown(document["time"])
    shown = time.replace("T", " ").replace("Z", " UTC")
    yield f'<body><header class="{document["result"]}"><div>'
    yield f'<p class="program">{_shown(document["program"])}</p>'
    yield f"<h1>{_VERDICTS[document['result']]}</h1>"
    yield f"<p>{_shown(document['place'].capitalize())} on"
    yield f"<b><bdi>{_shown(document['host'])}</bdi></b>, looked at"
    yield f'<time datetime="{time}">{shown}</time> within {document["seconds"]:.1f}&nbsp;s</p>'
    yield "</div></header><main>"
    yield from _filter(checks)
    yield from _mended(document.get("mended", ()))
    for result in _SECTIONS:
        yield from _section(result, _of(result, checks))
    if report.note(document):
        yield f"<p>{_shown(report.note(document).capitalize())}</p>"
    yield from _fine(_of(FINE, checks))
    yield from _versions(document["versions"])
    yield "</main><footer><p>Tokens and passwords are masked as <code>***</code>. Names, addresses"
    yield "and paths are as they are on this machine.</p></footer></body>"


def _filter(checks: Sequence[Row]) -> Iterator[str]:
    """Yield what is counted, each number a choice of what is shown: by the style alone."""
    names = {"all": "All checks", **{key: badge for key, (badge, _) in _SECTIONS.items()}}
    names[FINE] = "Fine"
    yield '<fieldset class="filter"><legend>Show</legend>'
    for result, name in names.items():
        number = len(checks if result == "all" else _of(result, checks))
        chosen = " checked" if result == "all" else ""
        yield f'<label class="{result}"><input type="radio" name="show" id="show-{result}"{chosen}>'
        yield f"<span><b>{number}</b> {name}</span></label>"
    yield "</fieldset>"


def _section(result: str, found: Sequence[Row]) -> Iterator[str]:
    if not found:
        return
    badge, heading = _SECTIONS[result]
    yield f'<section class="{result}" aria-labelledby="of-{result}">'
    yield f'<h2 id="of-{result}">{heading}</h2>'
    for problem in report.problems(found):
        each, ids = problem[0], [*dict.fromkeys(row["id"] for row in problem)]
        yield f'<article class="{result}" data-check="{_shown(" ".join(ids))}">'
        yield f'<h3><span class="badge">{badge}</span> {_heading(problem)}</h3>'
        subjects = report.names(problem, "subject", len(problem))
        if subjects:
            yield f'<p class="subject"><bdi>{_shown(subjects)}</bdi></p>'
        yield "<dl>"
        for key in report.parts(each):
            command = " command" if key == "fix" and report.is_command(each[key]) else ""
            yield f'<div class="{key}{command}"><dt>{_PARTS[key]}</dt>'
            yield f"<dd><bdi>{_lines(each[key])}</bdi></dd></div>"
        yield f'</dl><p class="check">{" ".join(f"<code>{_shown(each)}</code>" for each in ids)}'
        seconds = max(row["seconds"] for row in problem)
        yield f"· {seconds:.1f}&nbsp;s{_MENDS if each['fixable'] else ''}</p></article>"
    yield "</section>"


def _heading(problem: Sequence[Row]) -> str:
    """Return what should be so: the cause below it says what is."""
    wanted = report.wanted(problem)
    if not wanted:
        return f"{len(problem)} checks could not look, for one reason"
    return f'<span class="doubt">Should be:</span> {_shown(wanted)}'


def _fine(found: Sequence[Row]) -> Iterator[str]:
    if not found:
        return
    yield '<section class="ok" aria-labelledby="of-ok"><h2 id="of-ok">What is fine</h2>'
    yield from _head_of_table("Checks that found nothing wrong", "Check", "What is so", "Seconds")
    for each in found:
        subject = f' <bdi class="subject">{_shown(each["subject"])}</bdi>'
        yield f'<tr data-check="{_shown(each["id"])}"><th scope="row">{_shown(each["title"])}'
        yield f"{subject if each['subject'] else ''} <code>{_shown(each['id'])}</code></th>"
        yield f"<td><bdi>{_lines(each['cause'])}</bdi></td>"
        yield f'<td class="number">{each["seconds"]:.1f}</td></tr>'
    yield "</tbody></table></section>"


def _mended(steps: Sequence[Row]) -> Iterator[str]:
    if not steps:
        return
    yield '<section aria-labelledby="of-mended"><h2 id="of-mended">What was mended</h2>'
    yield from _head_of_table("Steps of --fix, before this look", "Check", "Step", "Result")
    for each in steps:
        came = f": {_lines(each['outcome'])}" if each["outcome"] else ""
        yield f'<tr><th scope="row"><code>{_shown(each["id"])}</code></th>'
        yield f"<td><bdi>{_lines(each['what'])}</bdi></td>"
        yield f"<td><bdi>{_shown(each['state'])}{came}</bdi></td></tr>"
    yield "</tbody></table></section>"


def _versions(versions: Sequence[Row]) -> Iterator[str]:
    yield '<section class="versions" aria-labelledby="of-versions">'
    yield '<h2 id="of-versions">This machine</h2>'
    yield "<table><caption>Versions of what plays a part</caption><tbody>"
    for each in versions:
        yield f'<tr><th scope="row">{_shown(each["of"])}</th>'
        yield f"<td><bdi>{_shown(each['version'])}</bdi></td></tr>"
    yield "</tbody></table></section>"


def _head_of_table(caption: str, *columns: str) -> Iterator[str]:
    yield f'<table class="checks"><caption>{caption}</caption><thead><tr>'
    for each in columns:
        kind = ' class="number"' if each == "Seconds" else ""
        yield f'<th scope="col"{kind}>{each}</th>'
    yield "</tr></thead><tbody>"


def _of(result: str, checks: Sequence[Row]) -> list[Row]:
    return [each for each in checks if each["result"] == result]


def _lines(given: str) -> str:
    """Return a text for HTML with its own lines; each is one of the page's."""
    return "<br>".join(_shown(line) for line in text.lines(given))


def _shown(given: str) -> str:
    """Return a text for HTML: what could change what stands around it is told by its number."""
    return html.escape(sentences.visible(given))
