"""For whom VolumesReassignWait waits: clients that gain, clients that lose, those that are away."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import LIMIT_SECONDS, Peer, RefusedError

from rigs.clock import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TAKEN = {"volume": "v", "rw": [1], "detach": "all", "force": True}
# How each request takes something from client 2, which had v read-write.
LOSSES = {
    "taken by another": TAKEN,
    "detached": {"volume": "v", "detach": [2]},
    "detached everywhere": {"volume": "v", "detach": "all"},
    "read-only from now on": {"volume": "v", "ro": [2]},
}

pytestmark = pytest.mark.usefixtures("v")


class Waiting:
    """A request that is under way in a thread."""

    def __init__(self, peer: Peer, item: dict[str, Any], timeout: int | None) -> None:
        self.error: RefusedError | None = None
        body: dict[str, Any] = {"reassign": [item]}
        if timeout is not None:
            body["attachTimeout"] = timeout
        before = peer.simulator.cluster.generation
        self._thread = threading.Thread(target=self._run, args=(peer, body))
        self._thread.start()
        wait_until(lambda: peer.simulator.cluster.generation > before or not self.is_waiting)

    def _run(self, peer: Peer, body: dict[str, Any]) -> None:
        try:
            peer.post("VolumesReassignWait", body)
        except RefusedError as error:
            self.error = error

    @property
    def is_waiting(self) -> bool:
        """Whether there is no answer after a moment."""
        self._thread.join(0.2)
        return self._thread.is_alive()

    def end(self) -> None:
        """Wait for the answer."""
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def waiting(peer: Peer, item: dict[str, Any], timeout: int | None = None) -> Iterator[Waiting]:
    """Give a request that is under way; all clients are well again at the end."""
    request = Waiting(peer, item, timeout)
    try:
        yield request
    finally:
        for client_id in (1, 2):
            peer.simulator.set_client(client_id, running=True, behind=False)
        request.end()


@pytest.mark.parametrize("item", LOSSES.values(), ids=LOSSES)
def test_who_loses_is_waited_for(peer: Peer, item: dict[str, Any]) -> None:
    """All clients that are affected have to reach the new configuration, also those that lose
    something [git 73efeb8]."""
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    with waiting(peer, item) as request:
        assert request.is_waiting
        peer.simulator.set_client(2, behind=False)
        request.end()
        assert request.error is None


@pytest.mark.parametrize("gaining", [False, True], ids=["affected", "gaining"])
def test_who_is_not_affected_is_not_waited_for(peer: Peer, gaining: bool) -> None:
    """A client that hangs and has nothing of it delays nobody; an older release waits for those
    that gain something only."""
    if gaining:
        peer.switch(reassign_wait_for="gaining")
        peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    with waiting(peer, TAKEN) as request:
        assert not request.is_waiting
        assert request.error is None


def test_who_loses_and_is_down_is_left_out(peer: Peer) -> None:
    """A client that is not up in the cluster is removed from those that are waited for, also when
    it goes down meanwhile [git 73efeb8]."""
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, running=False)
    with waiting(peer, TAKEN) as request:
        assert not request.is_waiting
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    with waiting(peer, TAKEN) as request:
        assert request.is_waiting
        peer.simulator.set_client(2, running=False)
        request.end()
        assert request.error is None


def test_who_gains_and_is_down_is_missing(peer: Peer) -> None:
    """A client that something is attached to is waited for until it appears [sptypes]."""
    peer.simulator.set_client(2, running=False)
    with waiting(peer, {"volume": "v", "rw": [2]}) as request:
        assert request.is_waiting
        peer.simulator.set_client(2, running=True)
        request.end()
        assert request.error is None


@pytest.mark.parametrize("covers", ["all", "missing"])
def test_the_time_is_over_for_who_is_missing(peer: Peer, covers: str) -> None:
    """attachTimeout is the time for missing clients to appear [sptypes], whatever else it ends."""
    peer.switch(attach_timeout_covers=covers)
    peer.simulator.set_client(2, running=False)
    with waiting(peer, {"volume": "v", "rw": [2]}, timeout=1) as request:
        request.end()
        assert request.error is not None
        assert request.error.name == "timeout"
        assert "client 2" in str(request.error.descr)
    peer.simulator.set_client(2, running=False)
    with waiting(peer, {"volume": "v", "ro": [2]}, timeout=0) as request:
        assert not request.is_waiting
        assert request.error is None


@pytest.mark.parametrize("timeout", [0, 1])
def test_the_time_may_be_for_missing_clients_alone(peer: Peer, timeout: int) -> None:
    """Where attachTimeout is for missing clients alone, a client that runs and hangs is waited for
    without an end, be it one that gains or one that loses [sptypes] [git 73efeb8]."""
    peer.switch(attach_timeout_covers="missing")
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    for item in (TAKEN, {"volume": "v", "rw": [2]}):
        with waiting(peer, item, timeout) as request:
            threading.Event().wait(timeout)
            assert request.is_waiting
            peer.simulator.set_client(2, behind=False)
            request.end()
            assert request.error is None
        peer.simulator.set_client(2, behind=True)


def test_what_was_taken_stays_taken(peer: Peer) -> None:
    """When the time for a client that lost a volume is over, the volume is where it was wanted all
    the same, and not taken back from who has it now [inf]."""
    for expiry in ("error_keep", "error_undo", "ok"):
        peer.switch(attach_timeout_expiry=expiry)
        peer.reassign({"volume": "v", "detach": "all", "rw": [2]})
        peer.simulator.set_client(2, behind=True)
        with waiting(peer, TAKEN, timeout=1) as request:
            request.end()
            assert (request.error is None) == (expiry == "ok")
            assert peer.attached() == {("v", 1, "rw")}
