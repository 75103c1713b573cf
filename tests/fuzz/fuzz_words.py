"""Odd texts: what arguments, options, JSON and XML are made of when somebody means harm, or a peer
is broken."""

from __future__ import annotations

import json
from random import Random
from typing import Any

UUID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
ODD = (
    "",
    " ",
    "\t",
    "0",
    "-1",
    "1",
    "20",
    "1e999",
    "NaN",
    "1.5",
    "9" * 20,
    "9" * 5000,
    str(1 << 63),
    "0x10",
    "٣",
    "²",
    "1_0",
    "true",
    "false",
    "null",
    "None",
    "[]",
    "{}",
    '"',
    "'",
    "\\",
    "\\n",
    "a\nb",
    "a\rb",
    "a\x0bb",
    "a\x85b",
    "a\u2028b",
    "\x1b[31m",
    "\u202e",
    "\ufeff",
    "\ud800",
    "\udcff",
    "\U0001f600",
    "ä",
    "虚拟机",
    "%s%n",
    "%00",
    "../../etc/passwd",
    "/dev/storpool-byid/sim.a.b",
    "/run/vdsm/managedvolumes/x_" + UUID,
    "~sim.a.b",
    "sim.a.b",
    "*",
    "-o",
    "--help",
    "--",
    "=",
    "a=b",
    "#",
    ";",
    "$(id)",
    "`id`",
    "x" * 100_000,
    "[" * 60_000,
    '{"a":' * 20_000,
    "{" + UUID + "}",
    UUID.upper(),
    "00000000-0000-0000-0000-000000000000",
    UUID,
    UUID + "\n",
    "storpool",
    "error",
    "error:x",
    "postgresql://u:p@h:1/d",
)


def text(random: Random) -> str:
    """Return an odd text; never one that no argument could be (with NUL, or too long for the
    kernel)."""
    if random.random() < 0.6:
        return random.choice(ODD)
    length = random.choice((1, 3, 36, 300))
    return "".join(
        chr(random.choice((random.randrange(1, 128), random.randrange(1, 0xD800))))
        for _ in range(length)
    )


def bent(random: Random, good: str) -> str:
    """Return a good text with something done to it."""
    for _ in range(random.choice((1, 1, 1, 3))):
        at, end = sorted((random.randrange(len(good) + 1), random.randrange(len(good) + 1)))
        good = random.choice(
            (
                lambda at=at, end=end, good=good: good[:at] + good[end:],
                lambda at=at, good=good: good[:at] + text(random)[:200] + good[at:],
                lambda at=at, end=end, good=good: good[:end] + good[at:],
                lambda at=at, end=end, good=good: good[:at] + text(random)[:200] + good[end:],
                lambda at=at, end=end, good=good: good[:at] + good[at:end].swapcase() + good[end:],
            )
        )()
    return good


def value(random: Random, depth: int = 2) -> Any:
    """Return an odd value of JSON."""
    if depth and random.random() < 0.2:
        return [value(random, depth - 1) for _ in range(random.randrange(3))]
    if depth and random.random() < 0.2:
        return {text(random)[:50]: value(random, depth - 1) for _ in range(random.randrange(3))}
    return random.choice((None, True, False, 0, -1, 1, 1.5, 10**30, text(random)[:300]))


def bent_document(random: Random, good: Any) -> str:
    """Return JSON of a good value with one of its leaves replaced, added, gone or twice; or bent as
    a text."""
    if random.random() < 0.3:
        return bent(random, json.dumps(good))
    copy = json.loads(json.dumps(good))
    there = list(places(copy))
    holder, key = random.choice(there) if there else ([copy], 0)
    action = random.randrange(4)
    if action == 0 and isinstance(holder, dict):
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[bent(random, str(key))] = holder[key]
    elif action == 2:
        mark = "\x00mark"
        holder[key] = mark
        return json.dumps(copy).replace(
            json.dumps(mark),
            random.choice(
                ("NaN", "1e999", "-Infinity", "9" * 5000, "0" * 9, "tru", "'x'", "1,", "[" * 9999)
            ),
        )
    else:
        holder[key] = value(random)
    return json.dumps(copy, ensure_ascii=random.random() < 0.5)


def places(value: Any) -> Any:
    """Give each place in a JSON value: what holds it, and its key or number."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in list(pairs):
        yield value, key
        yield from places(inner)
