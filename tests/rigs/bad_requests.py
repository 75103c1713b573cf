"""Requests to a door of root's that nobody means well: odd texts, and good requests with damage."""

from __future__ import annotations

import json
import random
from typing import Any

DISK = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"


BAD_TEXTS = (
    "",
    "x",
    "\0",
    "../../etc/shadow",
    "/etc/shadow",
    "/dev/../etc/shadow",
    "/dev/a\nb",
    "/dev/\u2028",
    "/dev/\ud800",
    "/dev/\x1b[2J",
    "~vol",
    "bgu4.n.a1z\n",
    "BGU4.N.A1Z",
    "a" * 70_000,
    "-rf",
    "$(id)",
    "%s%n",
    DISK.upper(),
    DISK + "\n",
    "\u0665" * 8,
    "{}",
    "null",
)


BAD_VALUES: tuple[Any, ...] = (None, True, 0, -1, 1e308, [], {}, [[]], {"": ""}, *BAD_TEXTS)


def damaged(dice: random.Random, good: bytes) -> bytes:
    """Return this request with one kind of damage or several."""
    data = bytearray(good)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(data) or 1)
        kind = dice.randrange(7)
        if kind == 0:
            data[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del data[at : at + dice.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = dice.choice(
                (b"\n", b"\0", b'"', b"\\u0000", b"\\ud800", b"{", b"]", b"1", b" ", b"../")
            )
        elif kind == 3:
            data[at:at] = data[dice.randrange(len(data) or 1) :][:40]
        elif kind == 4:
            data = bytearray(
                data.replace(b"before_vm_start", dice.choice(BAD_TEXTS).encode("utf-8", "replace"))
            )
        elif kind == 5:
            data = bytearray(_swapped(dice, bytes(data)))
        else:
            data = bytearray(data[:at])
    return bytes(data)


def _swapped(dice: random.Random, data: bytes) -> bytes:
    """Return it with another value in some place, where it still is JSON."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    places = [value] if isinstance(value, dict) else []
    if places and isinstance(value.get("disks"), list):
        places += [each for each in value["disks"] if isinstance(each, dict)]
    if not places:
        return data
    place = dice.choice(places)
    if place:
        place[dice.choice(sorted(place))] = dice.choice(BAD_VALUES)
    return json.dumps(value).encode() + b"\n"
