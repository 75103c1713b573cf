"""Times as people and programs are told them."""

from __future__ import annotations

import time

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """Return a time in the largest unit that it fills: "3 h"."""
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def stamp(at: float) -> str:
    """Return a time in seconds since 1970 as it is written for people and programs, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def when(at: float, now: float) -> str:
    """Return a time, and how long ago that is."""
    return f"{stamp(at)} ({span(now - at)})"
