"""Faults on demand: each kind does what it says, as often as it says, to the calls that it
names."""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_fixtures import GIB, LIMIT_SECONDS, TOKEN, Peer, RefusedError, opened_peer, refused
from storpool import spapi

from rigs.clock import wait_until
from storpool_simulator.api import faults

if TYPE_CHECKING:
    from pathlib import Path


def inject(peer: Peer, **fault: Any) -> None:
    """POST /simulator/faults."""
    assert peer.control("POST", "faults", fault) == {"ok": True}


def binding(peer: Peer, retries: int, timeout: float = LIMIT_SECONDS) -> spapi.Api:
    """The official binding, with its retries but without its waits."""
    return spapi.Api(
        peer.host,
        peer.port,
        auth=TOKEN,
        timeout=timeout,
        transientRetries=retries,
        transientSleep=lambda _retry: 0,
    )


def test_a_transient_error(peer: Peer) -> None:
    """An error with transient:true strikes the named query N times, and nothing happens; a client
    repeats [spapi]."""
    inject(
        peer,
        kind="transient",
        query="VolumeCreate",
        times=2,
        name="switching",
        descr="wait a little",
    )
    assert peer.get("VolumesList") == []
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            peer.create("v")
        error = refused.value
        assert (error.status, error.name, error.descr, error.transient) == (
            503,
            "switching",
            "wait a little",
            True,
        )
    assert peer.names() == set()
    peer.create("v")


def test_the_binding_lives_with_transient_errors(peer: Peer) -> None:
    """The official binding repeats a transient error and makes one volume [spapi]."""
    inject(peer, kind="transient", times=3)
    binding(peer, 5).volumeCreate({"name": "v", "size": GIB})
    assert peer.simulator.calls.queries() == ("VolumeCreate",) * 4
    assert peer.names() == {"v"}


def test_an_error_with_status_200(peer: Peer) -> None:
    """A reply of status 200 with an error is an error [spapi] [cs]."""
    inject(peer, kind="error_200", query="VolumeCreate")
    reply = peer.raw("POST", "/ctrl/1.0/VolumeCreate", {"name": "v", "size": GIB})
    assert (reply.status, reply.json["error"]["name"]) == (200, "invalidParam")
    assert peer.names() == set()


def test_a_bad_gateway(peer: Peer) -> None:
    """A 502 with a page that is not JSON [pve] [brick]."""
    inject(peer, kind="bad_gateway")
    reply = peer.raw("GET", "/ctrl/1.0/VolumesList")
    assert reply.status == 502
    assert reply.headers["Content-Type"].startswith("text/html")
    with pytest.raises(ValueError, match="Expecting value"):
        assert reply.json


@pytest.mark.parametrize(("kind", "made"), [("reset_before", set()), ("reset_after", {"v"})])
def test_a_reset(peer: Peer, kind: str, made: set[str]) -> None:
    """A real RST, before the call took effect or after it did, once [spapi]."""
    inject(peer, kind=kind, query="VolumeCreate")
    with pytest.raises(ConnectionResetError):
        peer.create("v")
    assert peer.names() == made
    create, *_ = peer.control("GET", "calls")
    assert (create["query"], create["status"]) == ("VolumeCreate", None)


def test_a_repeat_after_a_lost_reply(peer: Peer) -> None:
    """The binding repeats after a reset; a named create then meets its own volume [spapi] [inf]."""
    inject(peer, kind="reset_after", query="VolumeCreate")
    with pytest.raises(spapi.ApiError) as error:
        binding(peer, 1).volumeCreate({"name": "v", "size": GIB})
    assert error.value.name == "objectExists"
    assert peer.names() == {"v"}


def test_a_delay_beyond_the_time_out(peer: Peer) -> None:
    """A call that is delayed is made although its client has given up [spapi]."""
    inject(peer, kind="delay", query="VolumeCreate", seconds=LIMIT_SECONDS)
    with pytest.raises(TimeoutError):
        binding(peer, 0, timeout=0.1).volumeCreate({"name": "v", "size": GIB})
    assert peer.names() == set()
    peer.control("DELETE", "faults")
    wait_until(lambda: peer.names() == {"v"})


def test_a_call_that_hangs(peer: Peer) -> None:
    """A call that hangs is never made; the connection ends without an answer after its time
    [spapi]."""
    inject(peer, kind="hang", query="VolumeCreate")
    with pytest.raises(TimeoutError):
        binding(peer, 0, timeout=0.1).volumeCreate({"name": "v", "size": GIB})
    inject(peer, kind="hang", query="VolumeCreate", seconds=0.05)
    with pytest.raises(http.client.RemoteDisconnected):
        peer.create("v")
    assert peer.names() == set()


def group(peer: Peer, *names: str) -> Any:
    """VolumesGroupSnapshot of the volumes v0, v1 ..., under these names; what it lists."""
    volumes = [{"volume": f"v{number}", "name": name} for number, name in enumerate(names)]
    return peer.post("VolumesGroupSnapshot", {"volumes": volumes})["snapshots"]


@pytest.mark.parametrize(
    ("value", "made"), [("none", set()), ("error", {"a", "b"}), ("listed", {"a", "b"})]
)
def test_a_group_that_can_be_made_in_part(peer: Peer, value: str, made: set[str]) -> None:
    """part lets so many snapshots of a group be made, once; the switch says what becomes of them,
    and no other call is struck."""
    peer.switch(group_partial=value)
    for number in range(3):
        peer.create(f"v{number}")
    volumes = peer.names()
    inject(peer, kind="part", changes=2, name="snapshotLimit", descr="no more of v2")
    peer.snapshot("v2", "alone")
    if value == "listed":
        assert [one["snapshot"] for one in group(peer, "a", "b", "c")] == ["a", "b"]
    else:
        with pytest.raises(RefusedError, match="no more of v2") as refused:
            group(peer, "a", "b", "c")
        assert (refused.value.name, refused.value.transient) == ("snapshotLimit", False)
    assert peer.names() == volumes | {"alone"} | made
    assert len(group(peer, "d", "e", "f")) == 3


@pytest.mark.parametrize("value", ["none", "error", "listed"])
def test_a_group_of_which_nothing_can_be_made(peer: Peer, value: str) -> None:
    """It is an error with every value, and no change."""
    peer.switch(group_partial=value)
    body = {"volumes": [{"volume": "v0"}, {"volume": "v1"}]}
    assert refused(peer, "VolumesGroupSnapshot", body).name == "objectDoesNotExist"


def test_a_group_in_part_whose_answer_is_lost(peer: Peer) -> None:
    """part strikes beside another fault: what was made is there, and nobody hears of it."""
    peer.switch(group_partial="error")
    for number in range(2):
        peer.create(f"v{number}")
    inject(peer, kind="reset_after", query="VolumesGroupSnapshot")
    inject(peer, kind="part")
    with pytest.raises(ConnectionResetError):
        group(peer, "a", "b")
    assert peer.names() == {"v0", "v1", "a"}
    assert peer.control("GET", "faults") == []


def test_part_is_a_fault_of_groups_alone(peer: Peer) -> None:
    """For another query it is refused, in place of a fault that never strikes."""
    with pytest.raises(RefusedError, match="VolumesGroupSnapshot"):
        inject(peer, kind="part", query="VolumeSnapshot")


def test_connects_are_refused(peer: Peer) -> None:
    """refuse closes the listening socket at once: ECONNREFUSED until the time is over, then the
    same port [spapi]."""
    inject(peer, kind="refuse", seconds=0.3)
    with pytest.raises(ConnectionRefusedError) as refused:
        peer.get("VolumesList")
    assert refused.value.errno == errno.ECONNREFUSED
    wait_until(lambda: _reachable(peer))
    assert peer.get("VolumesList") == []


def test_a_refusal_after_a_call(peer: Peer) -> None:
    """With a query, that call is answered and the next connect is refused [spapi]."""
    inject(peer, kind="refuse", query="VolumeCreate", seconds=LIMIT_SECONDS)
    peer.get("VolumesList")
    peer.create("v")
    with pytest.raises(ConnectionRefusedError):
        peer.get("VolumesList")
    peer.simulator.faults.clear()
    assert peer.names() == {"v"}


def test_refused_twice(peer: Peer) -> None:
    """A second refusal while the first goes on only sets the time anew."""
    peer.simulator.faults.add("refuse", seconds=LIMIT_SECONDS)
    peer.simulator.faults.add("refuse", seconds=LIMIT_SECONDS)
    assert not _reachable(peer)
    peer.simulator.faults.clear()
    peer.simulator.faults.clear()
    assert _reachable(peer)


def test_a_stop_resets_the_calls_under_way(peer: Peer) -> None:
    """stop resets whoever waits for an answer, and refuses connects for its time: a failover
    [inf]."""
    inject(peer, kind="hang", query="VolumesList")
    caught: list[type[BaseException]] = []

    def wait() -> None:
        try:
            peer.get("VolumesList")
        except OSError as error:
            caught.append(type(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(
        lambda: (
            peer.simulator.calls.queries() == ("VolumesList",)
            and peer.simulator.faults.waiting() == []
        )
    )
    peer.simulator.faults.add("stop", seconds=LIMIT_SECONDS)
    waiting.join(LIMIT_SECONDS)
    assert caught == [ConnectionResetError]
    assert not _reachable(peer)
    peer.simulator.faults.clear()
    assert peer.get("VolumesList") == []


def test_a_stop_in_the_middle_of_a_call(peer: Peer) -> None:
    """With a query, that call takes effect once and its answer is lost (T87)."""
    inject(peer, kind="stop", query="VolumeCreate", seconds=LIMIT_SECONDS)
    with pytest.raises(ConnectionResetError):
        peer.create("v")
    assert not _reachable(peer)
    peer.simulator.faults.clear()
    assert peer.names() == {"v"}


def test_faults_are_cleared(peer: Peer) -> None:
    """What waits is listed, and DELETE forgets it."""
    inject(peer, kind="transient", query="VolumeCreate", times=5)
    (waiting,) = peer.control("GET", "faults")
    assert (waiting["kind"], waiting["query"], waiting["times"]) == ("transient", "VolumeCreate", 5)
    peer.control("DELETE", "faults")
    assert peer.control("GET", "faults") == []
    peer.create("v")


def test_the_simulator_ends_while_calls_hang(tmp_path: Path) -> None:
    """A call that hangs or waits for a client does not keep the simulator from ending."""
    with opened_peer(tmp_path) as peer:
        peer.create("v")
        peer.simulator.set_client(1, running=False)
        inject(peer, kind="hang", query="VolumesList")
        waiting = [
            threading.Thread(target=_ignored, args=(peer, "GET", "VolumesList", None)),
            threading.Thread(
                target=_ignored,
                args=(peer, "POST", "VolumesReassignWait", [{"volume": "v", "rw": [1]}]),
            ),
        ]
        for thread in waiting:
            thread.start()
        wait_until(lambda: len(peer.simulator.calls.queries()) == 3 and peer.attached())
    for thread in waiting:
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()


class _NoDoors:
    """Doors that cannot be shut."""

    def shut(self, seconds: float, *, reset: bool) -> None:
        raise AssertionError(seconds, reset)

    def open(self) -> None:
        """Nothing."""


@given(
    waiting=st.lists(st.tuples(st.sampled_from([None, "A", "B"]), st.integers(1, 3)), max_size=5),
    made=st.lists(st.sampled_from(["A", "B", "C"]), max_size=20),
)
def test_each_fault_strikes_as_often_as_it_says(
    waiting: list[tuple[str | None, int]], made: list[str]
) -> None:
    """The oldest fault that is meant for a call strikes, at most as many times as it says."""
    injected = faults.Faults(_NoDoors())
    left: list[list[Any]] = []
    for query, times in waiting:
        injected.add("transient", query=query, times=times)
        left.append([query, times])
    for query in made:
        struck = injected.take(query)
        meant = next((one for one in left if one[0] in (None, query)), None)
        assert (struck and struck.query) == (meant and meant[0])
        assert (struck is None) == (meant is None)
        if meant is not None:
            meant[1] -= 1
            left = [one for one in left if one[1]]
    assert [[fault.query, fault.times] for fault in injected.waiting()] == left


def _reachable(peer: Peer) -> bool:
    try:
        socket.create_connection((peer.host, peer.port), LIMIT_SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def _ignored(peer: Peer, method: str, query: str, body: Any) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        peer.raw(method, f"/ctrl/1.0/{query}", body)


def test_an_instance_that_is_behind(peer: Peer) -> None:
    """A reading call is answered from so many changes ago, its generation too; a change is never
    made in the past."""
    global_id = peer.create("v")
    peer.reassign({"volume": "v", "rw": [1]})
    now = peer.raw("GET", "/ctrl/1.0/AttachmentsList").json
    peer.reassign({"volume": "v", "rw": [2], "detach": [1]})
    inject(peer, kind="old", query="AttachmentsList", changes=1)
    assert peer.raw("GET", "/ctrl/1.0/AttachmentsList").json == now
    assert peer.attached() == {("v", 2, "rw")}
    inject(peer, kind="old", changes=2, times=2)
    assert peer.get("AttachmentsList") == []
    peer.post(f"VolumeUpdate/~{global_id}", {"rename": "w"})
    assert peer.names() == {"w"}
    inject(peer, kind="old", changes=99, times=3)
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        peer.volume("w")
    assert peer.get("VolumesList") == []
    assert peer.raw("GET", "/ctrl/1.0/AttachmentsList").json["generation"] < now["generation"]
    assert peer.attached() == {("w", 2, "rw")}


def test_the_past_has_everything_that_was_there(peer: Peer) -> None:
    """What was deleted since, snapshots, parents and tags are listed as they were."""
    peer.create("v", tags={"a": "1"})
    peer.snapshot("v")
    before = [peer.get(query) for query in ("VolumesList", "SnapshotsList")]
    peer.post("VolumeUpdate/v", {"tags": {"a": "2"}, "size": 2 * GIB})
    peer.post("SnapshotDelete/s")
    peer.post("VolumeDelete/v")
    inject(peer, kind="old", changes=3, times=2)
    assert [peer.get(query) for query in ("VolumesList", "SnapshotsList")] == before
    assert peer.get("VolumesList") == []
