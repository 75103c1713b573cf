"""lists.py: a reply that is read piece by piece is what it is as a whole, and never a shorter
list."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cluster.canned_client import VOLUME, client
from hypothesis import given
from hypothesis import strategies as st

from rigs import http_peers
from rigs.canned_api import answering, refusal
from rigs.clock import Clock
from storpool_ovirt import errors
from storpool_ovirt.cluster import lists, replies

MANY = 200_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(width=32) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
ENTRIES = st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=6)
REPLIES = st.fixed_dictionaries(
    {}, optional={"generation": JSON, "data": ENTRIES | JSON, "error": JSON, "more": JSON}
)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of this size."""
    for at in range(0, len(body), size):
        yield body[at : at + size]


def read(body: bytes, size: int = 7) -> Mapping[str, Any]:
    """Read a body that comes in pieces of this size, and keep each entry as it is."""
    return lists.read(pieces(body, size), dict)


def listing(*names: str) -> bytes:
    """Return a reply with these volumes."""
    data = [{**VOLUME, "name": name} for name in names]
    return json.dumps({"generation": 5, "data": data}).encode()


@given(REPLIES, st.integers(1, 30), st.booleans(), st.sampled_from([None, 1]))
def test_it_is_what_it_is_as_a_whole(
    reply: dict[str, Any], size: int, is_ascii: bool, indent: int | None
) -> None:
    """Whatever is in it, and wherever the pieces end: within a number, a name, a character."""
    body = json.dumps(reply, ensure_ascii=is_ascii, indent=indent).encode()
    whole = json.loads(body)
    if not all(isinstance(each, dict) for each in listed(whole)):
        assert read(body, size)["data"].odd is not None
    else:
        assert repr(dict(read(body, size))) == repr(whole)  # NaN does not equal itself


def listed(reply: Mapping[str, Any]) -> list[Any]:
    """Return the entries of a reply, none where it has no list."""
    data = reply.get("data")
    return data if isinstance(data, list) else []


@given(ENTRIES, st.integers(1, 30), st.data())
def test_what_is_cut_anywhere_is_a_failure(
    entries: list[dict[str, Any]], size: int, data: st.DataObject
) -> None:
    """T41: no end of a reply but its own is taken for one."""
    body = json.dumps({"generation": 3, "data": entries}).encode()
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(replies.OddReply):
        read(body[:end], size)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_one_character_too_many_or_too_few(size: int) -> None:
    """T41: wherever it is: what is no JSON as a whole is a failure, and what is one is the same."""
    body = json.dumps({"generation": 5, "data": [{"n": "a", "s": 1}, {"n": "b"}, {}]}).encode()
    damaged = [body[:at] + body[at + 1 :] for at in range(len(body))]
    for at in range(len(body) + 1):
        damaged += [body[:at] + bytes([each]) + body[at:] for each in b'-9xe.,:"\\[]{} ']
    for each in damaged:
        try:
            whole = json.loads(each)
        except ValueError:
            with pytest.raises(replies.OddReply):
                read(each, size)
        else:
            assert dict(read(each, size)) == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"data":[]}{}',
        b'{"data":[]}]',
        b'{"data":[{}{}]}',
        b'{"data":[{},]}',
        b'{"data":[,{}]}',
        b'{"data":[{}}',
        b'{"data":[{}]',
        b'{"data":[{}],}',
        b'{"data":[{}] "generation":1}',
        b'{"data" [{}]}',
        b"{1:[{}]}",
        b'{"data":[{"a":1,"b"}]}',
        b'{"data":[{}, nul]}',
        b'{"data":[{"a":"\xff"}]}',
        b'{"data":[{"a":"\xc3',
        b"<html>",
        b'{"data":' + b"[" * 100_000,
        b'{"data":[{"a":' + b"9" * 5000 + b"}]}",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1 << 18])
def test_what_is_no_reply_is_a_failure(body: bytes, size: int) -> None:
    """Whatever JSON's own rules do not allow, between the entries and beside the list too."""
    with pytest.raises(replies.OddReply):
        read(body, size)


def test_what_others_put_before_and_behind_is_taken_as_ever() -> None:
    """A byte order mark, white space; of two values under one name the last one."""
    body = b'\xef\xbb\xbf \n{"data":[{"a":1}],"data" : [ {"a":2} , {"a":3} ] ,"generation":12}\r\n'
    for size in (1, 2, 1000):
        assert read(body, size) == {"data": [{"a": 2}, {"a": 3}], "generation": 12}


def test_a_value_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that goes on and on, and a list that does, take no host's memory."""
    monkeypatch.setattr(lists, "VALUE_MAX", 10_000)
    monkeypatch.setattr(lists, "ENTRIES_MAX", 1000)

    def endless(first: bytes, again: bytes) -> Iterator[bytes]:
        yield first
        while True:
            yield again

    for first, again in ((b'{"data":[{"a":"', b"x" * 100), (b'{"data":[{}', b",{}" * 30)):
        with pytest.raises(replies.OddReply, match="longer than any of StorPool's"):
            lists.read(endless(first, again), dict)


def test_only_what_is_kept_of_each_entry_is_held() -> None:
    """A list of many MB is read with little more than a piece of it in memory."""
    entry = json.dumps({"name": "x", "much": "y" * 500})

    def body() -> Iterator[bytes]:
        yield b'{"data":[' + entry.encode()
        for _ in range(500):
            yield (f",{entry}" * 100).encode()
        yield b"]}"

    tracemalloc.start()
    found = lists.read(body(), lambda raw: raw["name"])["data"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 50_001
    assert most < 4 << 20


def test_an_error_behind_the_entries_is_the_answer() -> None:
    """T41: what was read before it is no list."""
    told = {"name": "notReady", "descr": "no", "transient": False}
    body = listing("a", "b")[:-1] + b', "error": ' + json.dumps(told).encode() + b"}"
    with answering([(200, body)]) as server, pytest.raises(errors.Rejected, match="notReady"):
        client(server.port, Clock()).volumes()


def test_an_error_in_place_of_a_list() -> None:
    """As for any other call: a refusal is told, what passes is asked again."""
    busy = refusal("notReady", transient=True)
    with answering([busy, (200, listing("a"))]) as server:
        assert [each.name for each in client(server.port, Clock()).volumes()] == ["a"]
    with answering([refusal("invalidParam")]) as server, pytest.raises(errors.Rejected):
        client(server.port, Clock()).volumes()


def test_a_list_that_is_cut_or_damaged_is_asked_for_again() -> None:
    """T41: the next answer is whole, and nothing of the first one is in it."""
    good = listing("a", "b", "c")
    for bad in (good[:-40], good.replace(b'"b"', b'"b'), b"", good[: good.index(b'"b"')] + b"]}"):
        with answering([(200, bad), (200, good)]) as server:
            found = client(server.port, Clock()).volumes()
        assert [each.name for each in found] == ["a", "b", "c"]


def test_a_list_that_is_never_whole_is_a_failure() -> None:
    """T41: it says so, and does not go on with what came."""
    with (
        answering([(200, listing("a", "b")[:-9])]) as server,
        pytest.raises(errors.ApiUnavailable, match=r"volumesList.*not what StorPool sends"),
    ):
        client(server.port, Clock()).volumes()


class _Cut(http_peers.Handler):
    """Announce a whole list, and send a part of it."""

    def serve(self) -> None:
        body = listing(*(f"v{number}" for number in range(2000)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if self.server.facts:  # it hangs then
            self.server.facts.wait(20)


def test_a_list_whose_end_was_announced_and_did_not_come() -> None:
    """T41: a connection that breaks off in the middle."""
    with (
        http_peers.serving(_Cut, None) as port,
        pytest.raises(errors.ApiUnavailable, match="volumesList"),
    ):
        client(port, Clock()).volumes()


def test_a_list_that_hangs_in_the_middle() -> None:
    """T41: the request's own limit ends it."""
    import threading

    over = threading.Event()
    with http_peers.serving(_Cut, over) as port:
        began = time.monotonic()
        there = client(port, Clock())
        there.limits = there.limits._replace(request_seconds=0.5, retry_seconds=0.0)
        with pytest.raises(errors.ApiUnavailable, match="volumesList"):
            there.volumes()
        over.set()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("odd", "before"),
    [
        ({"size": "much"}, MANY),
        ({"globalId": None}, 100),
        ({"tags": ["virt"]}, 100),
        ({"name": 7}, 0),
        (None, 100),
    ],
)
def test_one_odd_entry(odd: dict[str, Any] | None, before: int) -> None:
    """T41: one wrong type, in the 200,000th entry too, and there is no list at all."""
    facts = {"name": "x", "globalId": "a.b.1", "size": 1, "tags": {}, "templateName": "t"}
    one, last = json.dumps(facts), json.dumps(odd if odd is None else {**facts, **odd})
    entries = ",".join([*[one] * before, last, one])
    body = f'{{"generation":1,"data":[{entries}]}}'.encode()
    with answering([(200, body)]) as server, pytest.raises(errors.ApiUnavailable) as caught:
        client(server.port, Clock()).volumes()
    assert "cannot be read" in str(caught.value)
    assert len(server.requests) == 1  # as for one object: such a release is not asked again


@pytest.mark.parametrize("data", [b"null", b"{}", b'"x"', b"7", b"true"])
def test_a_list_that_is_none(data: bytes) -> None:
    """T41: nothing but a list is a list without entries."""
    body = b'{"generation":1,"data":' + data + b"}"
    for method in ("volumes", "snapshots", "attachments", "snapshot_spaces"):
        with answering([(200, body)]) as server, pytest.raises(errors.ApiUnavailable):
            getattr(client(server.port, Clock()), method)()


def test_an_older_list_is_asked_for_again() -> None:
    """The generation counts for a list that is read in pieces too, wherever it stands."""
    new, old = listing("new"), listing("old").replace(b": 5", b": 4")
    behind = b'{"data":' + old[old.index(b"[") : -1] + b', "generation": 4}'
    with answering([(200, new), (200, behind), (200, old), (200, new)]) as server:
        there = client(server.port, Clock())
        assert [[each.name for each in there.volumes()] for _ in range(2)] == [["new"], ["new"]]
    assert len(server.requests) == 4
