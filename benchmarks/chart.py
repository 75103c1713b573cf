"""Bars of where time goes, as an SVG: a scale for what is short, one for all, and the numbers.

It is read on light and on dark ground, and without colours: every part has its number in the table,
and in its bar where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 960
LEFT, RIGHT = 190, 90  # what is beside the bars
BAR, GAP, LINE = 30, 12, 22
COLUMN = 110
EDGE = 3
LABELLED = 24  # a part as wide has its number in it
STEPS = (1, 2, 5)
MOST_LINES = 8
SHORT = 4  # bars so many times shorter than the longest get a scale of their own

STYLE = """
svg { color-scheme: light dark }
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
text.note, text.tick { fill: #59636e; font-size: 12px }
.number { text-anchor: end; font-variant-numeric: tabular-nums }
.inside { fill: #101418; text-anchor: middle; font-size: 12px }
.head, .sum, .whole { font-weight: 600 }
.line { stroke: #d1d9e0 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text:not(.inside) { fill: #e6edf3 }
  text.note, text.tick { fill: #9aa5b1 }
  .line { stroke: #3a424c }
  .ground { fill: #0d1117 }
}
"""


@dataclass(frozen=True)
class Part:
    """A part that bars have, its label and its colour."""

    name: str
    label: str
    colour: str


@dataclass(frozen=True)
class Bar:
    """What has taken so many milliseconds, by part."""

    name: str
    taken: Mapping[str, float]

    @property
    def whole(self) -> float:
        """All of it."""
        return sum(self.taken.values())


def drawn(title: str, note: str, parts: Sequence[Part], bars: Sequence[Bar]) -> str:
    """Return the picture."""
    longest = max(bar.whole for bar in bars)
    short = [bar for bar in bars if bar.whole * SHORT <= longest]
    body: list[str] = [_text(16, 30, title, "title")]
    body.append(_text(16, 50, note, "note"))
    top = 66
    for group in (short, bars) if short else (bars,):
        top = _draw_group(body, top, parts, group)
    top = _draw_table(body, top + LINE, parts, bars)
    told = "; ".join(f"{bar.name} {bar.whole:.0f} ms" for bar in bars)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}"'
            f' height="{top}" role="img" aria-labelledby="title told">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="told">{escape(told)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{top}" rx="6"/>',
            *body,
            "</svg>\n",
        ]
    )


def _draw_group(body: list[str], top: int, parts: Sequence[Part], bars: Sequence[Bar]) -> int:
    """Draw bars with a scale of their own; return where they end."""
    longest = max(bar.whole for bar in bars)
    wide = (WIDTH - LEFT - RIGHT) / longest
    bottom = top + len(bars) * (BAR + GAP)
    for value in _ticks(longest):
        at = LEFT + value * wide
        body.append(f'<path class="line" d="M{at:.1f} {top}V{bottom}"/>')
        words = f"{value:g} ms"
        body.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 14}" text-anchor="middle">')
        body[-1] += f"{words}</text>"
    for number, bar in enumerate(bars):
        y = top + number * (BAR + GAP) + GAP // 2
        body.append(_text(LEFT - 10, y + BAR // 2 + 5, bar.name, "number"))
        x = float(LEFT)
        for part in parts:
            width = bar.taken[part.name] * wide
            body += _segment(x, y, width, part, bar.taken[part.name])
            x += width
        body.append(_text(x + 8, y + BAR // 2 + 5, f"{bar.whole:,.0f} ms", "whole"))
    return bottom + LINE + GAP


def _segment(x: float, y: int, width: float, part: Part, milliseconds: float) -> Iterator[str]:
    told = f"{part.label}: {_number(milliseconds)} ms"
    shown = width - 1 if width > EDGE else width  # what is narrow would be all edge
    yield (
        f'<rect x="{x:.1f}" y="{y}" width="{shown:.1f}" height="{BAR}"'
        f' fill="{part.colour}"><title>{escape(told)}</title></rect>'
    )
    if width >= LABELLED:
        middle = x + width / 2
        yield _text(middle, y + BAR // 2 + 4, f"{milliseconds:.0f}", "inside")


def _draw_table(body: list[str], top: int, parts: Sequence[Part], bars: Sequence[Bar]) -> int:
    """Draw the numbers, with the colours beside the names; return where they end."""
    first = LEFT + 130
    places = [first + COLUMN * (number + 1) + 60 for number in range(len(bars))]
    for bar, at in zip(bars, places):
        body.append(_text(at, top, bar.name, "number head"))
    body.append(_text(40, top, "milliseconds", "note"))
    rows = [(part, [bar.taken[part.name] for bar in bars]) for part in parts]
    for part, numbers in rows:
        top += LINE
        body.append(f'<rect x="16" y="{top - 12}" width="14" height="14" fill="{part.colour}"/>')
        body.append(_text(40, top, part.label, "label"))
        body += [_text(at, top, _number(each), "number") for at, each in zip(places, numbers)]
    top += LINE + 6
    body.append(f'<path class="line" d="M16 {top - LINE + 3}H{places[-1]}"/>')
    body.append(_text(40, top, "all of it", "sum"))
    body += [_text(at, top, _number(bar.whole), "number sum") for bar, at in zip(bars, places)]
    return top + LINE


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _number(milliseconds: float) -> str:
    if milliseconds < 0.05:
        return "-"
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"


def _ticks(longest: float) -> Iterator[float]:
    """Yield round values from nothing up to what is shown."""
    step, power = 1.0, 1.0
    while longest / step > MOST_LINES:
        for each in STEPS:
            step = each * power
            if longest / step <= MOST_LINES:
                break
        power *= 10
    number = 0
    while number * step <= longest:
        yield number * step
        number += 1
