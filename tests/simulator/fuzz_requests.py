"""Requests that no client of the API means well: each is answered by its rules, and one that is
refused changes nothing.

    python tests/simulator/fuzz_requests.py --seed 1 --inputs 10000

An input is a good request of every simulated call with damage in a value, a field, the body's bytes
or the path. Each comes from the seed and its number.
"""

from __future__ import annotations

import argparse
import copy
import http.client
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import binding_cases
from simulator_fixtures import TOKEN, Peer, opened_peer
from storpool import spapi

from storpool_simulator.api import calls

WORLD = 150  # inputs on one cluster: what was accepted stays
CHECK = 10  # inputs after which all lists are read
LIMIT_SECONDS = 60
SHOWN = 200  # characters of a body
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    511,
    512,
    2**31,
    2**63,
    2**64,
    2**70,
    10**400,
    1.5,
    1e308,
    "",
    " ",
    "0",
    "512",
    "1073741824",
    "-1",
    "1e3",
    "0x10",
    "\u0665\u0661\u0662",
    "true",
    "null",
    "-",
    "list",
    "status",
    "all",
    "~",
    "~~",
    "~a.b.c",
    "~no.such.id",
    "*",
    "@",
    "#system",
    "v",
    "s",
    "nvme",
    "..",
    "../v",
    "a/b",
    "a%2fb",
    "a b",
    "a\n",
    "\0",
    "\ud800",
    "\U0001f600",
    "x" * 199,
    "x" * 200,
    "x" * 70_000,
    [],
    [[]],
    [None],
    ["1"],
    [1, 1],
    [2**70],
    {},
    {"": ""},
    {"a": None},
    {"volume": "v"},
)
BODIES = (
    b"",
    b" ",
    b"null",
    b"5",
    b'"x"',
    b"[]",
    b"{}",
    b"{",
    b"{}}",
    b"NaN",
    b'{"size": Infinity}',
    b'{"size": 1' + b"0" * 5000 + b"}",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b'{"name": "\xff"}',
    b'{"name": "\\ud800"}',
    b'{"name": "a", "name": "b", "size": 512}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"tags": {' + b",".join(b'"k%d": ""' % n for n in range(20_000)) + b"}}",
    b'{"name": "' + b"x" * 3_000_000 + b'"}',
)
PATHS = (
    "",
    "/",
    "//",
    "/..",
    "/../VolumesList",
    "/%2e%2e",
    "/%00",
    "/%ff",
    "/%",
    "/%zz",
    "/v%2Fv",
    "/v/v",
    "/v/",
    "/%7Eno.such.id",
    "/~",
    "/*",
    "/%23system",
    "/list",
    "/\xe9",
    "/" + "x" * 20_000,
    "?json=%7B",
    "?json={}",
    "/v?x=y",
    "#fragment",
)
BEFORE = (
    "",
    "MultiCluster/",
    "MultiCluster/MultiCluster/",
    "MultiCluster/AllClusters/",
    "AllClusters/",
    "RemoteCommand/",
    "RemoteCommand/one/",
    "RemoteCommand/~abcd.e/MultiCluster/",
    "RemoteCommand/nowhere/MultiCluster/AllClusters/",
    "RemoteCommand/far/RemoteCommand/one/",
    "/",
    "../",
)


def good() -> list[tuple[str, str, tuple[str, ...], Any]]:
    """Return good requests of all calls: method, query, arguments of the path, body."""
    found = []
    for name, cases in binding_cases.CASES.items():
        document = getattr(spapi.Api, name).spDoc
        path = document.path[len("/ctrl/1.0/") :].replace("MultiCluster/", "").split("/{")[0]
        for case in cases:
            has_body = document.json is not None and bool(case) and not isinstance(case[-1], str)
            *arguments, body = case if has_body else (*case, None)
            found.append((document.method, path, tuple(map(str, arguments)), body))
    known = {query for _, query, _, _ in found}
    rest = (query for query in calls.TABLE.values() if query.name not in known)
    return [*found, *((query.method, query.name, ("v",) * query.arity, None) for query in rest)]


class Requests:
    """Damaged requests, one for each number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._good = good()

    def make(self, number: int, ids: dict[str, str]) -> tuple[str, str, bytes | None]:
        """Return method, path and body."""
        dice = random.Random(self._seed * 1_000_000 + number)
        method, query, arguments, body = self._good[number % len(self._good)]
        arguments = tuple(binding_cases.named(arguments, ids))
        body = binding_cases.named(body, ids)
        path = "/".join((query, *arguments))
        kind = dice.randrange(10)
        if kind == 0:
            path = dice.choice(BEFORE) + path
        elif kind == 1:
            path = query + dice.choice(PATHS)
        elif kind == 2:
            method = dice.choice(("GET", "POST", "PUT", "DELETE", "PATCH"))
        elif kind == 3:
            return method, path, dice.choice(BODIES)
        for _ in range(dice.choice((0, 1, 1, 2, 4))):
            body = damaged(dice, body)
        data = None if body is None else json.dumps(body).encode()
        if data and kind == 4:
            at = dice.randrange(len(data))
            data = data[:at] + bytes([dice.randrange(256)]) + data[at + dice.randrange(4) :]
        return method, path, data


def damaged(dice: random.Random, body: Any) -> Any:
    """Return a body with other, more or fewer values somewhere in it."""
    places = list(_places(body))
    if not places or dice.random() < 0.05:
        return _odd(dice)
    place = dice.choice(places)
    if isinstance(place, list):
        if place and dice.random() < 0.7:
            place[dice.randrange(len(place))] = _odd(dice)
        else:
            place.extend([*place[:1], _odd(dice)])
        return body
    key = dice.choice([*place, "unknown", "name", "size", "tags", "template", "force", ""])
    if key in place and dice.random() < 0.15:
        del place[key]
    else:
        place[key] = _odd(dice)
    return body


def _odd(dice: random.Random) -> Any:
    return copy.deepcopy(dice.choice(ODD))


def _places(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _places(each)


def sent(peer: Peer, method: str, path: str, body: bytes | None) -> tuple[int, str]:
    """Send a request as it is, without the checks that a library makes; return status and text."""
    target = f"/ctrl/1.0/{path}".encode("latin-1")
    head = [
        b"%s %s HTTP/1.1" % (method.encode(), target),
        b"Host: sim",
        b"Authorization: Storpool v1:%s" % TOKEN.encode(),
        b"Connection: close",
        *([] if body is None else [b"Content-Length: %d" % len(body)]),
    ]
    connection = http.client.HTTPConnection(peer.host, peer.port, timeout=LIMIT_SECONDS)
    try:
        connection.connect()
        connection.send(b"\r\n".join(head) + b"\r\n\r\n" + (body or b""))
        response = http.client.HTTPResponse(connection.sock, method=method)
        response.begin()
        return response.status, response.read().decode()
    finally:
        connection.close()


def state(peer: Peer) -> Any:
    """Return all rows of the cluster but what is measured."""
    return [dict(table.rows) for table in peer.simulator.cluster.catalog.all_tables]


def fault(peer: Peer, method: str, path: str, body: bytes | None) -> str:
    """Send a request; return what is wrong with how it was taken, or ""."""
    before = state(peer)
    try:
        status, text = sent(peer, method, path, body)
        answer = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer: {type(error).__name__} {error}"
    refusal = answer.get("error") if isinstance(answer, dict) else answer
    if refusal is None:
        return "" if status == http.client.OK and "data" in answer else f"{status} {text[:300]}"
    if not isinstance(refusal, dict) or refusal.get("name") in (None, "internalError"):
        return f"{status} {text[:300]}"
    if refusal.keys() != {"name", "descr", "transient"} or status == http.client.OK:
        return f"an odd refusal: {status} {text[:300]}"
    return "" if state(peer) == before else f"refused, and changed: {text[:300]}"


def poisoned(peer: Peer) -> str:
    """Return which list cannot be had any more, or ""."""
    for query in calls.TABLE.values():
        if query.method == "GET" and not query.arity:
            form = "" if query.plain else "MultiCluster/"
            wrong = fault(peer, "GET", form + query.name, None)
            if wrong:
                return f"{query.name}: {wrong}"
    return ""


def run(seed: int, inputs: int, first: int = 0) -> Iterator[str]:
    """Send so many inputs; yield what did not hold."""
    requests = Requests(seed)
    for start in range(first, first + inputs, WORLD):
        with tempfile.TemporaryDirectory() as name:
            switches = {"linger": "0", "config_wait_down": "error"}
            with opened_peer(
                Path(name),
                cluster_id="abcd.e",
                cluster_name="one",
                clusters={"two": "abcd.f", "far": "wxyz.a"},
                switches=switches,
            ) as peer:
                ids = binding_cases.filled(peer)
                for number in range(start, min(start + WORLD, first + inputs)):
                    request = requests.make(number, ids)
                    wrong = fault(peer, *request)
                    if number % CHECK == 0 and not wrong:
                        wrong = poisoned(peer)
                    if wrong:
                        shown = repr(request[2])[:SHOWN]
                        yield f"--seed {seed} --first {number}: {request[:2]} {shown}: {wrong}"


def main(argv: Sequence[str]) -> int:
    """Run it; 1 when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args(argv)
    faults = 0
    for each in run(given.seed, given.inputs, given.first):
        faults += 1
        sys.stdout.write(each[:1500] + "\n")
    sys.stdout.write(f"seed {given.seed}: {given.inputs} inputs, {faults} faults\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
