"""A proxy before an API that damages the replies that it is told to: what a broken peer, or a proxy
of others', does.

    python tests/fuzz/damaging_proxy.py PORT

It prints its own port, and takes orders: POST /damage {"kind", "first", "times", "seed", "lost"}.
`first` is the number of the first request whose reply is damaged, from the last POST on; `lost`:
the request is not passed on at all. It knows nothing of StorPool but that replies are JSON with
"data" or "error".
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).parents[1]))

import fuzz_words

from rigs import http_peers

DRIP_SECONDS = 0.2
LONGEST_SECONDS = 30.0
MARK = "\x01mark"
OTHERS = (
    None,
    True,
    "",
    "x",
    "-1",
    7,
    -1,
    1.5,
    [],
    {},
    ["x"],
    {"x": 1},
    [[]],
    "true",
    "null",
    10**30,
    1 << 63,
)
ODD_IDS = (
    "",
    "~",
    "sim.a",
    "sim.a.b.c",
    "SIM.A.B",
    "sim.a.b\n",
    "../../x",
    "sim.a." + "b" * 5000,
    "٣.a.b",
    " sim.a.b",
    "~sim.a.b",
)
ODD_NAMES = (
    "a\nb",
    "\r\nerror:x",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "x" * 100_000,
    "",
    "a b",
    "ovirt--\n",
    "\u2028",
)


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a reply as it goes over the wire."""
    size = len(body) if length is None else length
    lines = [
        f"HTTP/1.1 {status} x",
        "Content-Type: application/json",
        f"Content-Length: {size}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _dumped(value: Any, raw: str | None = None) -> bytes:
    text = json.dumps(value)
    return (text if raw is None else text.replace(json.dumps(MARK), raw)).encode()


def _leaf(random: Random, reply: Any, *keys: str) -> tuple[Any, Any]:
    """Choose a place in the data of a reply: one of these keys where it has one."""
    places = list(fuzz_words.places(reply.get("data"))) or list(fuzz_words.places(reply))
    wanted = [place for place in places if place[1] in keys]
    return random.choice(wanted or places)


def _replaced(random: Random, reply: Any, values: Any, *keys: str) -> bytes:
    holder, key = _leaf(random, reply, *keys)
    holder[key] = random.choice(values)
    return answer(200, _dumped(reply))


def _raw(random: Random, reply: Any, raw: str) -> bytes:
    holder, key = _leaf(random, reply)
    holder[key] = MARK
    return answer(200, _dumped(reply, raw))


def _missing(random: Random, reply: Any) -> bytes:
    dicts = [place for place in fuzz_words.places(reply) if isinstance(place[0], dict)]
    holder, key = random.choice(dicts)
    del holder[key]
    return answer(200, _dumped(reply))


def _twice(random: Random, reply: Any) -> bytes:
    dicts = [(holder, key) for holder, key in fuzz_words.places(reply) if isinstance(holder, dict)]
    holder, key = random.choice(dicts)
    kept = holder[key]
    holder[key] = MARK
    return answer(
        200,
        _dumped(
            reply, f"{random.choice(('null', '7', '[]'))}, {json.dumps(key)}: {json.dumps(kept)}"
        ),
    )


def _negative(random: Random, reply: Any) -> bytes:
    numbers = [
        (holder, key)
        for holder, key in fuzz_words.places(reply)
        if type(holder[key]) in (int, float)
    ]
    holder, key = random.choice(numbers)
    holder[key] = random.choice((-1, -holder[key], -(1 << 63), -(10**30), -0.5))
    return answer(200, _dumped(reply))


def _not_ok(random: Random, reply: Any) -> bytes:
    data = reply.get("data")
    if isinstance(data, dict) and "ok" in data:
        data["ok"] = random.choice((False, None, "true", 1, "ok"))
    else:
        reply["data"] = {"ok": False}
    return answer(200, _dumped(reply))


def _other_shape(random: Random, reply: Any) -> bytes:
    data = reply.get("data")
    shapes = [{}, [], [data], {"data": data}, None, "x", [None], [[]], [7], {"ok": [True]}]
    reply["data"] = random.choice([each for each in shapes if each != data])
    return answer(200, _dumped(reply))


def _error(random: Random, **facts: Any) -> bytes:
    error = {"name": "busy", "descr": "x", "transient": False, **facts}
    error = {key: value for key, value in error.items() if value is not MARK}
    return answer(random.choice((200, 400, 404, 500)), _dumped({"error": error, "generation": 1}))


def _cut(random: Random, body: bytes) -> bytes:
    return body[: random.randrange(len(body))]


def _odd_length(random: Random, _: Any, body: bytes) -> bytes:
    given = random.choice((b"-1", b"x", b"9" * 5000, b"1e3", b""))
    return answer(200, body).replace(
        f"Content-Length: {len(body)}".encode(), b"Content-Length: " + given
    )


def _chunked(random: Random, _: Any, body: bytes) -> bytes:
    chunk = random.choice((b"zz\r\n", b"5\r\nabc", b"-1\r\n", b"ffffffffff\r\n"))
    return answer(200, chunk + body, "Transfer-Encoding: chunked").replace(b"Content-Length", b"X")


def _not_utf8(random: Random, _: Any, body: bytes) -> bytes:
    half = len(body) // 2
    return answer(
        200, body[:half] + random.choice((b"\xff", b"\xc3", b"\xed\xa0\x80")) + body[half:]
    )


def _nul(random: Random, reply: Any, body: bytes) -> bytes:
    if random.random() < 0.5:
        return answer(200, body.replace(b":", b":\0", 1))
    return _replaced(random, reply, ("a\0b", "\0"), "name", "volume", "globalId")


def _no_http(random: Random, *_: Any) -> bytes:
    head = b"HTTP/1.1 200 x\r\n"
    return random.choice(
        (
            b"SSH-2.0-x\r\n",
            b"\x15\x03\x01\x00\x02\x02",
            b"HTTP/9 x\r\n\r\n",
            b"\r\n" * 9999,
            head + b"a: b\r\n" * 500 + b"\r\n",
            head + b"a" * 100_000,
        )
    )


def _wrong_generation(random: Random, reply: Any, _: bytes) -> bytes:
    return answer(
        200,
        _dumped(
            {**reply, "generation": random.choice((None, "7", -1, 0, 1, 10**30, 1.5, [], True))}
        ),
    )


def _odd_error(random: Random, *_: Any) -> bytes:
    error = random.choice((None, "x", [], ["x"], 7, {}, {"name": {}}))
    return answer(400, _dumped({"error": error, "generation": 1}))


Damage = Callable[[Random, Any, bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "wrong type": lambda random, reply, _: _replaced(random, reply, OTHERS),
    "null": lambda random, reply, _: _replaced(random, reply, (None,)),
    "1e999": lambda random, reply, _: _raw(
        random, reply, random.choice(("1e999", "-1e999", "NaN", "Infinity"))
    ),
    "huge number": lambda random, reply, _: _raw(
        random, reply, random.choice(("9" * 30, "9" * 5000, str(1 << 63)))
    ),
    "missing key": lambda random, reply, _: _missing(random, reply),
    "truncated": lambda random, _, body: answer(200, _cut(random, body)),
    "a page": lambda random, *_: answer(
        random.choice((200, 502, 407)), b"<html><body>Proxy \xff error</body></html>"
    ),
    "too long a length": lambda _random, _, body: answer(200, body, length=len(body) + 100),
    "too short a length": lambda random, _, body: answer(
        200, body, length=random.randrange(len(body))
    ),
    "odd length": _odd_length,
    "chunked nonsense": _chunked,
    "gzip": lambda _random, _, body: answer(200, gzip.compress(body), "Content-Encoding: gzip"),
    "empty": lambda random, *_: answer(random.choice((200, 204, 500)), b""),
    "key twice": lambda random, reply, _: _twice(random, reply),
    "deep": lambda random, reply, _: _raw(random, reply, random.choice(("[", '{"a":')) * 60_000),
    "not UTF-8": _not_utf8,
    "NUL": _nul,
    "wrong status": lambda random, _, body: answer(
        random.choice((201, 204, 304, 400, 403, 500, 503, 999)), body
    ),
    "redirect": lambda random, _, body: answer(
        random.choice((301, 302, 307)), body, "Location: http://127.0.0.1:1/x"
    ),
    "early close": lambda random, _, body: answer(200, body)[: random.choice((0, 0, 5, 30))],
    "drip": lambda *_: b"",
    "two replies": lambda _random, _, body: answer(200, body) * 2,
    "no HTTP": _no_http,
    "wrong generation": _wrong_generation,
    "negative": lambda random, reply, _: _negative(random, reply),
    "odd global id": lambda random, reply, _: _replaced(
        random, reply, ODD_IDS, "globalId", "snapshotGlobalId"
    ),
    "odd name": lambda random, reply, _: _replaced(
        random, reply, ODD_NAMES, "name", "volume", "templateName"
    ),
    "not ok": lambda random, reply, _: _not_ok(random, reply),
    "error without name": lambda random, *_: _error(
        random, name=random.choice((MARK, None, 7, "", [], "\n"))
    ),
    "error without words": lambda random, *_: _error(
        random, descr=random.choice((MARK, None, 7, [], "a\nb\x1b"))
    ),
    "odd transient": lambda random, *_: _error(
        random, transient=random.choice((MARK, None, "true", "false", 1, []))
    ),
    "another shape": lambda random, reply, _: _other_shape(random, reply),
    "odd error": _odd_error,
}
# Nothing in these says that anything was done, so the request may as well have been lost.
MAY_BE_LOST = ("a page", "empty", "early close", "redirect", "no HTTP", "drip", "odd error")


class _Handler(http_peers.Handler):
    def serve(self) -> None:
        """Take an order, or pass a request on and damage the reply that is due."""
        self.close_connection = True
        body, orders = self.read_body(), self.server.facts
        with contextlib.suppress(OSError):
            if self.path == "/damage":
                orders.order, orders.seen = json.loads(body), 0
                self.wfile.write(answer(200, b"{}"))
                return
            order, number = orders.order, orders.seen
            orders.seen += 1
            damaged = order["first"] <= number < order["first"] + order["times"]
            if damaged and order["lost"]:
                status, reply = 200, _dumped({"generation": 1, "data": {"ok": True}})
            else:
                status, reply = self.pass_on("127.0.0.1", orders.target, body, LONGEST_SECONDS)
            if damaged:
                self._damage(Random(f"{order['seed']}/{number}"), order["kind"], reply)
            else:
                self.wfile.write(answer(status, reply))

    def _damage(self, random: Random, kind: str, reply: bytes) -> None:
        try:
            said = DAMAGES[kind](random, json.loads(reply), reply)
        except (
            IndexError,
            KeyError,
            AttributeError,
        ):  # it has no part of that kind: StorPool's own error, or no data
            said = answer(200, b"[]")
        if kind == "drip":
            self._drip(answer(200, reply, length=len(reply) + 9999))
        else:
            self.wfile.write(said)

    def _drip(self, said: bytes) -> None:
        end = time.monotonic() + LONGEST_SECONDS
        self.wfile.write(said)
        while time.monotonic() < end:
            time.sleep(DRIP_SECONDS)
            self.wfile.write(b" ")
            self.wfile.flush()


@dataclass
class Orders:
    """Where the API is, what is to be damaged, and how many requests came since that was said."""

    target: int
    seen: int = 0
    order: dict[str, Any] = field(
        default_factory=lambda: {"first": 0, "times": 0, "kind": "", "seed": 0, "lost": False}
    )


if __name__ == "__main__":
    server = http_peers.Server(_Handler, Orders(int(sys.argv[1])))
    print(server.server_port, flush=True)
    server.serve_forever(poll_interval=0.05)
