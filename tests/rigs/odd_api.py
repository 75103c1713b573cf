"""A proxy between a client and the simulator that damages replies: for what no release of StorPool
is known to send.

Only what cannot be true is sent: a reply that is well formed and wrong is a lie that nobody could
notice. A damage is made from a seed alone, so that a case can be run again.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rigs import http_peers

NOISE = "\x1b[31m\u2028\r\n\x00\u202e"
DIGITS = "9" * 5000

# Each makes the whole body of a reply from the right one.
PAGES: dict[str, Callable[[bytes], tuple[int, bytes]]] = {
    "a proxy's page": lambda _body: (200, b"<html><body>Bad Gateway</body></html>"),
    "a proxy's error": lambda _body: (502, b"<html>"),
    "nothing": lambda _body: (200, b""),
    "null": lambda _body: (200, b"null"),
    "an empty object": lambda _body: (200, b"{}"),
    "an empty list": lambda _body: (200, b"[]"),
    "a text": lambda _body: (200, b'"ok"'),
    "a number": lambda _body: (200, DIGITS.encode()),
    "half of it": lambda body: (200, body[: len(body) // 2]),
    "Latin-1": lambda _body: (200, '{"data": "é"}'.encode("latin-1")),
    "a byte order mark": lambda body: (200, b"\xef\xbb\xbf" + body),
    "UTF-16": lambda body: (200, body.decode().encode("utf-16")),
    "very deep": lambda _body: (200, b'{"data":' + b"[" * 100_000),
    "twice": lambda body: (200, body + body),
    "an error without parts": lambda _body: (400, b'{"error": {}}'),
    "an error that is a list": lambda _body: (400, b'{"error": ["busy"]}'),
    "an error of null": lambda _body: (500, b'{"error": null}'),
    "an error with odd parts": lambda _body: (
        400,
        b'{"error": {"name": ["x"], "descr": {"y": 1}, "transient": "no"}}',
    ),
    "a very long error": lambda _body: (
        400,
        json.dumps(
            {"error": {"name": "invalidParam", "descr": NOISE + "x" * 100_000 + NOISE}}
        ).encode(),
    ),
    "no data": lambda _body: (200, b'{"generation": 7}'),
    "a redirect": lambda _body: (302, b""),
    "a status of its own": lambda body: (299, body[:-1] + b"}}"),
}

# Each stands in the place of one value of a reply.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "infinity": float("inf"),
    "no number": float("nan"),
    "many digits": 10**19,
    "a fraction": 0.5,
    "a list": [],
    "a list of lists": [[]],
    "an object": {"": None},
    "noise": NOISE,
    "a long text": "x" * 100_000,
    "thousands of digits": DIGITS,
}
MISSING = "nothing at all"
KINDS = (*PAGES, *VALUES, MISSING)

# What a reply may leave out, or give as something else, by what the client has to take: older
# releases lack it.
OPTIONAL = frozenset(
    (
        "createdFromGlobalId parentName creationTimestamp visibleVolumeId transient deleted tags "
        "autoName size generation remote info pos flags snapshot volumes"
    ).split()
)


LIMIT_SECONDS = 10.0


@dataclass
class Damage:
    """What happens to the replies to one query: the first `times` that come."""

    query: str
    kind: str
    seed: int
    times: int = 1


@dataclass
class Proxy:
    """The running proxy: its port, who is behind it, the damage to come, the queries struck."""

    port: int
    behind: tuple[str, int]
    damage: Damage | None = None
    struck: list[str] = field(default_factory=list)


class _Handler(http_peers.Handler):
    """Pass a request on, and the reply back, with the damage that is due."""

    def serve(self) -> None:
        proxy: Proxy = self.server.facts
        status, content = self.pass_on(*proxy.behind, self.read_body(), LIMIT_SECONDS)
        damage = proxy.damage
        queries = self.path.partition("?")[0].split("/")
        if damage and damage.times > 0 and damage.query in queries:
            damage.times -= 1
            proxy.struck.append(damage.query)
            status, content = _damaged(damage, status, content)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def before(host: str, port: int) -> Iterator[Proxy]:
    """Stand before the API at this address."""
    proxy = Proxy(0, (host, port))
    with http_peers.serving(_Handler, proxy) as proxy.port:
        yield proxy


def _damaged(damage: Damage, status: int, content: bytes) -> tuple[int, bytes]:
    if damage.kind in PAGES:
        return PAGES[damage.kind](content)
    try:
        told = json.loads(content)
    except ValueError:
        return status, content
    places = list(_places(told))
    if not places:
        return PAGES["no data"](content)
    parent, key = random.Random(damage.seed).choice(places)
    if damage.kind == MISSING:
        del parent[key]
    else:
        parent[key] = copy.deepcopy(VALUES[damage.kind])
    return status, json.dumps(told).encode()


def _places(told: Any) -> Iterator[tuple[Any, Any]]:
    """Return where a value stands that a client must not take as anything else: (the object, its
    key)."""
    if isinstance(told, dict):
        for key, value in told.items():
            if key not in OPTIONAL:
                yield told, key
                yield from _places(value)
    elif isinstance(told, list):
        for value in told:
            yield from _places(value)
