"""ahead.py: many objects are read at once, and all comes out as if they were read one by one."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from canned_client import VOLUME, client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigs import http_peers
from rigs.clock import Clock, wait_until
from storpool_ovirt import config, errors
from storpool_ovirt.cluster import ahead, api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.secret import Secret

NOW = 7  # the cluster's generation
GOOD, ABSENT, OLD, LATE = "good", "absent", "old", "late"
FAILURES = ("reset", "closed", "page", "half", "busy", "no data", "a list", "no generation")
WAIT_SECONDS = 10.0  # ours: what does not come at once does not come


@dataclass
class Served:
    """A server of volumes: what is still to be said of each, in turn, the last of it for ever.

    `together`: no answer is given before so many have been asked for.
    """

    says: dict[str, list[str]]
    together: int = 0
    queries: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)


class _Handler(http_peers.Handler):
    """Answer a call for a volume, or any write."""

    def serve(self) -> None:
        served: Served = self.server.facts
        self.read_body()
        query = self.path.removeprefix("/ctrl/1.0/")
        with served.changed:
            served.queries.append(query)
            served.under_way += 1
            served.most = max(served.most, served.under_way)
            served.changed.notify_all()
            served.changed.wait_for(lambda: served.most >= served.together, WAIT_SECONDS)
            says = served.says.get(query.partition("/~")[2], [GOOD])
            word = says.pop(0) if len(says) > 1 else says[0]
        try:
            self._say(word, query)
        finally:
            with served.changed:
                served.under_way -= 1

    def _say(self, word: str, query: str) -> None:
        if word == LATE:
            threading.Event().wait(1.5)
        if word == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if word in ("reset", "closed"):
            self.connection.close()
            return
        status, body = _content(word, query)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if word == "half" else body)


def _content(word: str, query: str) -> tuple[int, bytes]:
    generation = {OLD: NOW - 2}.get(word, NOW)
    if word == "page":
        return 502, b"<html>"
    if word == "a list":
        return 200, b"[]"
    if word in (ABSENT, "busy"):
        name = "objectDoesNotExist" if word == ABSENT else "busy"
        error = {"name": name, "descr": "no", "transient": word == "busy"}
        return 404, json.dumps({"error": error, "generation": generation}).encode()
    data: Any = {"ok": True}
    if query.startswith(("Volume/", "Snapshot/")):
        data = [{**VOLUME, "globalId": query.partition("/~")[2]}]
    told = {"data": data, "generation": generation}
    if word in ("no data", "no generation"):
        del told[word.partition(" ")[2]]
    return 200, json.dumps(told).encode()


@contextlib.contextmanager
def serving(says: dict[str, list[str]], together: int = 0) -> Iterator[tuple[Served, int]]:
    """Serve, and give the server's facts and its port."""
    served = Served({key: list(words) for key, words in says.items()}, together)
    with http_peers.serving(_Handler, served) as port:
        yield served, port


def ids(count: int) -> list[str]:
    """Return so many global ids."""
    return [f"abcd.e.{number}" for number in range(count)]


def volumes(client_: api.Client, wanted: Sequence[str], *, at_once: bool) -> list[str]:
    """Read these one by one, or some at once; return their ids as StorPool has them."""
    planned = [("volume", f"~{each}") for each in wanted] if at_once else []
    with client_.ahead(planned):
        return [client_.volume(f"~{each}").global_id for each in wanted]


def test_as_many_are_under_way_as_may_be() -> None:
    """No answer comes before eight are asked for; there are never more, each is asked for once, and
    each gets its own answer."""
    wanted = ids(40)
    with serving({}, together=ahead.AT_ONCE) as (served, port):
        assert volumes(client(port, Clock()), wanted, at_once=True) == wanted
    assert served.most == ahead.AT_ONCE
    assert sorted(served.queries) == sorted(f"Volume/~{each}" for each in wanted)


def test_in_whatever_order_they_are_asked_for() -> None:
    """What was planned is not what has to be asked: each call finds its own, others are dropped."""
    wanted = ids(20)
    with serving({}) as (served, port):
        there = client(port, Clock())
        with there.ahead([("volume", f"~{each}") for each in wanted]):
            for each in (wanted[17], wanted[3], "abcd.e.99", wanted[3]):
                assert there.volume(f"~{each}").global_id == each
    assert served.queries.count("Volume/~abcd.e.3") == 2
    assert len(served.queries) <= ahead.AT_ONCE + 4


def outcome(says: dict[str, list[str]], wanted: Sequence[str], *, at_once: bool) -> object:
    """Return what comes of a look at these, as of a barrier of just before."""
    clock = Clock()
    with serving(says) as (_, port):
        there = client(port, clock, seconds=30)
        there.be_current()
        try:
            return volumes(there, wanted, at_once=at_once)
        except errors.Error as error:
            return type(error), str(error).replace(str(port), "PORT")


WORDS = st.lists(st.sampled_from((GOOD, ABSENT, OLD, *FAILURES)), max_size=2)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, min_size=2, max_size=12), st.sampled_from([GOOD, ABSENT, OLD, "page"]))
def test_it_comes_out_as_one_by_one(words: list[list[str]], last: str) -> None:
    """T55: whatever becomes of any of them, and of the last for ever: the same volumes, or the
    error of the first that has one."""
    wanted = ids(len(words))
    says = {each: [*said, GOOD] for each, said in zip(wanted, words)}
    says[wanted[-1]][-1] = last
    assert outcome(says, wanted, at_once=True) == outcome(says, wanted, at_once=False)


@pytest.mark.parametrize("place", [0, 20, 39])
def test_one_of_many_does_not_exist(place: int) -> None:
    """It is that one of which it is told, after one question."""
    wanted = ids(40)
    with serving({wanted[place]: [ABSENT]}) as (served, port):
        there = client(port, Clock())
        there.be_current()
        with pytest.raises(errors.NotFound, match=f"~{wanted[place]}"):
            volumes(there, wanted, at_once=True)
    assert served.queries.count(f"Volume/~{wanted[place]}") == 1


def impatient(port: int, seconds: float = 20.0) -> api.Client:
    """Return a client that waits for no answer as long as it may take here."""
    limits = LIMITS._replace(request_seconds=0.5)
    return api.Client(config.Api("127.0.0.1", port, Secret("42")), Deadline(seconds), limits=limits)


def test_one_that_hangs_is_asked_again() -> None:
    """Its answer does not come in time: it is asked anew, and so are those that came meanwhile."""
    wanted = ids(12)
    with serving({wanted[0]: [LATE, GOOD]}) as (_, port):
        assert volumes(impatient(port), wanted, at_once=True) == wanted


def test_one_that_hangs_for_ever_is_told() -> None:
    """The time of the whole is over: that is told of the one that hangs."""
    wanted = ids(12)
    with (
        serving({wanted[3]: [LATE]}) as (_, port),
        pytest.raises(errors.ApiUnavailable, match="volumeList"),
    ):
        volumes(impatient(port, 2.0), wanted, at_once=True)


def test_the_time_ends_while_one_hangs() -> None:
    """T73: what was waited for in vain is not there again for the call that is made anew."""
    limits = LIMITS._replace(request_seconds=2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = config.Api("127.0.0.1", port, Secret("42"))
        there = api.Client(settings, Deadline(2.2), limits=limits)
        begun = time.monotonic()
        with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded), match="volumeList"):
            volumes(there, ids(3), at_once=True)
    assert time.monotonic() - begun < 3.5


def test_the_time_ends_in_the_middle() -> None:
    """No call is made after the end, also where its answer is there already."""
    wanted, clock = ids(12), Clock()
    with serving({}) as (_, port):
        there = client(port, clock, seconds=10)
        with there.ahead([("volume", f"~{each}") for each in wanted]):
            there.volume(f"~{wanted[0]}")
            clock.now = 11
            with pytest.raises(errors.DeadlineExceeded, match="volumeList"):
                there.volume(f"~{wanted[1]}")


class Brief(Clock):
    """A clock on which time is over after so many looks, until more is given."""

    looks = 3

    def __call__(self) -> float:
        """Return the time."""
        self.looks -= 1
        return self.now if self.looks else 11.0


def test_the_time_ends_before_all_are_sent() -> None:
    """T55: what was sent is let go: an undo, which has time of its own, asks for what is now."""
    wanted, clock = ids(12), Brief()
    with serving({}) as (served, port):
        deadline = Deadline(10, clock)
        there = api.Client(config.Api("127.0.0.1", port, Secret("42")), deadline)
        with (
            pytest.raises(errors.DeadlineExceeded, match="volumeList"),
            there.ahead([("volume", f"~{each}") for each in wanted]),
        ):
            raise AssertionError("all were sent")
        deadline.extend(10)
        wait_until(lambda: served.queries == [f"Volume/~{wanted[0]}"])
        there.volume(f"~{wanted[0]}")
        assert served.queries.count(f"Volume/~{wanted[0]}") == 2
        assert len(served.queries) == 2


@pytest.mark.parametrize("change", ["write", "barrier"])
def test_what_follows_a_write_is_asked_for_after_it(change: str) -> None:
    """T55: an answer of before a change of ours, or of before a barrier, is not used."""
    wanted = ids(12)
    with serving({}) as (served, port):
        there = client(port, Clock())
        with there.ahead([("volume", f"~{each}") for each in wanted]):
            there.volume(f"~{wanted[0]}")
            wait_until(lambda: len(served.queries) == ahead.AT_ONCE)
            if change == "write":
                there.volume_delete(f"~{wanted[0]}")
            else:
                there.be_current()
            before = len(served.queries)
            there.volume(f"~{wanted[1]}")
    assert served.queries[before:] == [f"Volume/~{wanted[1]}"]


def test_answers_of_one_moment_may_come_in_any_order() -> None:
    """T55: in a busy cluster each is of its own generation; none is too old that is not older than
    what was known when it was asked for."""
    wanted, clock = ids(8), Clock()
    with serving({wanted[1]: [OLD]}) as (served, port):
        assert volumes(client(port, clock), wanted, at_once=True) == wanted
        assert served.queries.count(f"Volume/~{wanted[1]}") == 1
    assert clock.slept == []


class Few:
    """Who takes two requests at once, and refuses others."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.open = 0
        self.most = 0

    def begin(self, call: ahead.Call) -> ahead.Sent:
        """Take a request, or refuse the connection."""
        if self.open == 2:
            raise ConnectionRefusedError
        self.open += 1
        self.most = max(self.most, self.open)
        self.taken.append(str(call[1][0]))
        return ahead.Sent(self, 0)  # type: ignore[arg-type]

    def reply(self) -> Any:
        """Answer it."""
        self.open -= 1
        return type("Reply", (), {"generation": 1, "data": []})()

    def close(self) -> None:
        """Let go of it."""
        self.open -= 1


def test_who_takes_few_connections_gets_few() -> None:
    """A service that refuses more than two at once is asked by two at once, and never by more than
    the call itself and one beside it."""
    few = Few()
    there = ahead.Ahead(few.begin, lambda: None)
    calls: list[ahead.Call] = [("volumeList", (each,)) for each in ids(6)]
    there.ask(calls)
    answered = [there.said(call) for call in calls]
    assert all(each is not None for each in answered)
    assert few.taken == ids(6)
    assert (few.most, few.open) == (2, 0)


def test_what_is_not_used_is_let_go() -> None:
    """At the end of a block no connection is left."""
    few = Few()
    there = ahead.Ahead(few.begin, lambda: None)
    there.ask([("volumeList", (each,)) for each in ids(6)])
    there.drop()
    assert few.open == 0
    assert there.said(("volumeList", (ids(6)[5],))) is None
