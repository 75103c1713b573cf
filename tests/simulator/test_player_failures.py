"""VolumeCare when something goes wrong: a pass that fails, dies or meets a change, and the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from player_rig import HOUR, api, played, played_once, snapshots, vm
from simulator_fixtures import LIMIT_SECONDS, TOKEN, Peer

from rigs.clock import wait_until
from storpool_simulator.players import notes, wire
from storpool_simulator.players.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A = "11111111-2222-3333-4444-555555555555"
VM = f"cvm={A}"
CARE = "volumecare"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Give a cluster with the service, and a VM of two disks that was never taken."""
    with played(tmp_path) as running:
        vm(running, A, "a1", "a2")
        yield running


def whole(peer: Peer, count: int) -> None:
    """Have it checked that there are so many backups of both disks, and no other snapshot."""
    noted = notes.read(api(peer))
    backups = noted.of(VM)
    assert [len(backup.map) for backup in backups] == [2] * count
    assert sorted(snapshots(peer)) == sorted(
        address for backup in backups for address in backup.map.values()
    )
    assert all(one["targetDeleteDate"] for one in snapshots(peer).values())
    assert noted.intents == ()


def at(peer: Peer, query: str, act: Callable[[], object]) -> None:
    """Have something done at the moment when a call comes in, once."""
    done: list[object] = []

    def look(record: Any) -> None:
        if record.query == query and not done:
            done.append(record)
            act()

    peer.simulator.calls.watch(look)


def test_a_volume_that_goes_between_list_and_snapshot(peer: Peer) -> None:
    """All or none: the call fails as a whole, and the next pass takes the VM as it is then."""
    at(peer, "VolumesGroupSnapshot", lambda: peer.post("VolumeDelete/a2"))
    report = played_once(peer, CARE)
    assert "objectDoesNotExist" in report["failed"][VM]
    assert snapshots(peer) == {}
    played_once(peer, CARE)
    (backup,) = notes.read(api(peer)).of(VM)
    assert len(backup.map) == len(snapshots(peer)) == 1


@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_before", "reset_after"])
@pytest.mark.parametrize(
    "query",
    ["VolumesList", "SnapshotsList", "KV/List", "KV/Set", "VolumesGroupSnapshot", "SnapshotUpdate"],
)
def test_a_single_failure(peer: Peer, query: str, kind: str) -> None:
    """Whatever call fails, with or without its effect: the pass that follows finishes, and one
    moment is taken once."""
    peer.simulator.faults.add(kind, query=query)
    report = played_once(peer, CARE)
    assert "error" in report or report["failed"]
    played_once(peer, CARE)
    played_once(peer, CARE)
    whole(peer, 1)


def test_the_api_away_at_the_hour(peer: Peer) -> None:
    """A pass that cannot be made is made up for by the next one, and no hour is left out."""
    peer.simulator.advance(60)
    peer.simulator.advance(HOUR - 60)
    peer.simulator.faults.add("bad_gateway", query="VolumesList", times=3)
    peer.simulator.advance(60)
    assert peer.control("GET", "players")[CARE]["failed"]
    peer.simulator.advance(300)
    whole(peer, 2)


def test_one_vm_that_fails_stops_no_other(peer: Peer) -> None:
    """The failure of one group is told, the others are taken in the same pass."""
    other = "99999999-8888-7777-6666-555555555555"
    vm(peer, other, "b1")
    peer.simulator.faults.add("transient", query="VolumesGroupSnapshot")
    report = played_once(peer, CARE)
    assert (list(report["failed"]), list(report["taken"])) == ([VM], [f"cvm={other}"])


def killed_in(peer: Peer, query: str, skip: int = 0) -> None:
    """Have a pass of a process of its own killed in the midst of a call, before its effect."""
    way = {"SP_API_HTTP_HOST": peer.host, "SP_API_HTTP_PORT": str(peer.port)}
    peer.simulator.calls.clear()
    for _ in range(skip):
        peer.simulator.faults.add("delay", query=query, seconds=0)
    peer.simulator.faults.add("hang", query=query)
    process = subprocess.Popen(
        [sys.executable, "-m", "storpool_simulator.players", CARE],
        env={**os.environ, **way, "SP_AUTH_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: peer.simulator.calls.queries().count(query) > skip, f"{query} is called")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_SECONDS)
    peer.simulator.faults.clear()


@pytest.mark.parametrize(
    ("query", "skip", "left"),
    [
        ("KV/Set", 0, 0),  # before the intent
        ("VolumesGroupSnapshot", 0, 0),  # between intent and snapshots
        ("KV/Set", 1, 2),  # between snapshots and note
        ("SnapshotUpdate", 0, 2),  # between note and dates
        ("SnapshotUpdate", 1, 2),
    ],
)
def test_a_pass_that_is_killed(peer: Peer, query: str, skip: int, left: int) -> None:
    """At any moment: the next pass finishes what was begun, and nothing is taken twice or lost."""
    killed_in(peer, query, skip)
    assert len(snapshots(peer)) == left
    played_once(peer, CARE)
    whole(peer, 1)
    peer.simulator.advance(HOUR)
    whole(peer, 2)


def test_snapshots_that_may_be_of_somebody_else(peer: Peer) -> None:
    """After a kill a second unnamed snapshot of a disk makes it uncertain which is whose: all are
    left alone and named, and a whole backup is taken."""
    killed_in(peer, "KV/Set", 1)
    made = set(snapshots(peer))
    by_hand = f"~{peer.post('VolumeSnapshot/a1', {})['snapshotGlobalId']}"
    report = played_once(peer, CARE)
    assert all(address in report["skipped"][VM] for address in {*made, by_hand})
    (backup,) = notes.read(api(peer)).of(VM)
    assert set(backup.map.values()) == set(snapshots(peer)) - {*made, by_hand}
    peer.simulator.advance(4 * HOUR + 60)
    assert {*made, by_hand} <= set(snapshots(peer))


def test_a_restart_in_the_middle(tmp_path: Path) -> None:
    """The simulator and its players end and start again: the next backup comes at its hour, and
    the dates count on."""
    with played(tmp_path) as peer:
        vm(peer, A, "a1", "a2")
        peer.simulator.advance(60)
        killed_in(peer, "VolumesList")
        whole(peer, 1)
    with played(tmp_path) as peer:
        whole(peer, 1)
        peer.simulator.advance(HOUR - 120)
        whole(peer, 1)
        peer.simulator.advance(120)
        whole(peer, 2)
        peer.simulator.advance(5 * HOUR)
        whole(peer, 4)


def test_one_pass_from_outside(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    """The program of one pass prints its report, and ends with 1 and a sentence when it fails."""
    way = ["--host", peer.host, "--port", str(peer.port), "--token", TOKEN]
    assert main([CARE, *way]) == 0
    assert VM in capsys.readouterr().out
    peer.simulator.faults.add("bad_gateway", query="VolumesList")
    assert main([CARE, *way]) == 1
    assert "VolumesList: no answer" in capsys.readouterr().err
    assert main(["neither", *way]) == 2


def test_an_answer_that_is_none(peer: Peer) -> None:
    """A port where nobody is, and a token that is wrong, are told as what they are."""
    with pytest.raises(wire.RefusedError, match="unauthorized"):
        wire.Api(peer.host, peer.port, "wrong", "a test").get("VolumesList")
    peer.simulator.faults.add("refuse", seconds=30)
    with pytest.raises(wire.AwayError, match="VolumesList: no answer"):
        api(peer).get("VolumesList")
    peer.simulator.faults.clear()
    assert len(api(peer).get("VolumesList")) == 2
