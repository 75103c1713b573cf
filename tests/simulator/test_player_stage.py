"""When players play: by the simulator's clock, from one due pass to the next."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from player_rig import CONFIG, played, played_once
from simulator_fixtures import LIMIT_SECONDS, RefusedError, opened_peer

import storpool_simulator
from rigs.clock import wait_until
from storpool_simulator import errors
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.players import stage

if TYPE_CHECKING:
    from pathlib import Path


class Puppet:
    """A player that notes when it plays."""

    def __init__(self, name: str, period: float, clock: Clock) -> None:
        self.name, self.period = name, period
        self.clock = clock
        self.played: list[float] = []

    def play(self) -> dict[str, Any]:
        """Note it."""
        self.played.append(self.clock.now)
        return {"at": self.clock.now}


class Clock:
    """A clock that only moves when it is told."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.25

    def read(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@given(st.lists(st.floats(0, 400), max_size=8), st.floats(0.5, 90), st.floats(0.5, 90))
def test_each_pass_has_its_moment(steps: list[float], one: float, other: float) -> None:
    """However the time is cut: each player plays at the start and at each of its periods, in the
    order of the moments, and the clock arrives where it shall."""
    clock = Clock()
    begun = clock.now
    players = stage.Stage(clock.read, clock.advance)
    puppets = [Puppet("one", one, clock), Puppet("other", other, clock)]
    players.begin(puppets)
    try:
        for step in steps:
            players.advance(step)
        assert clock.now == pytest.approx(begun + sum(steps), abs=0.01)
        for puppet in puppets:
            count = len(puppet.played)
            expected = [begun + puppet.period * number for number in range(count)]
            assert puppet.played == pytest.approx(expected, abs=0.01)
            assert begun + puppet.period * count > clock.now - 0.01
    finally:
        players.close()


def test_a_clock_that_jumps() -> None:
    """A machine that slept makes one pass when it wakes up, not all that it missed."""
    clock = Clock()
    players = stage.Stage(clock.read, clock.advance)
    puppet = Puppet("one", 60, clock)
    players.begin([puppet])
    clock.now += 3600.0 * 10
    try:
        players.advance(0)
        assert len(puppet.played) == 2
        players.advance(60)
        assert len(puppet.played) == 3
    finally:
        players.close()


def test_the_clock_of_itself(tmp_path: Path) -> None:
    """Nobody advances the clock: a pass is made all the same when its moment comes."""
    with played(tmp_path, clock=iter_clock()) as peer:
        wait_until(lambda: peer.control("GET", "players")["qos"]["passes"] > 1, "a pass")


def iter_clock() -> Any:
    """Return a clock that goes 20 s on whenever it is looked at."""
    now = [1_760_000_000.0]

    def read() -> float:
        now[0] += 20
        return now[0]

    return read


def test_no_players(tmp_path: Path) -> None:
    """A simulator without players has none to ask, and its clock is as ever."""
    with opened_peer(tmp_path) as peer:
        assert peer.control("GET", "players") == {}
        before = peer.control("GET", "clock")["now"]
        assert peer.control("POST", "clock", {"advance": 5})["now"] == before + 5
        with pytest.raises(RefusedError, match="no player 'qos'"):
            played_once(peer, "qos")


def test_what_the_control_port_tells(tmp_path: Path) -> None:
    """Passes, failures, when the next is due, and what the last one did."""
    with played(tmp_path) as peer:
        state = peer.control("GET", "players")
        assert set(state) == {"qos", "volumecare"}
        now = peer.control("GET", "clock")["now"]
        assert state["qos"] == {
            "passes": 1,
            "failed": 0,
            "next": now + 60,
            "last": {"changed": {}, "failed": {}},
        }
        played_once(peer, "qos")
        state = peer.control("GET", "players")
        assert (state["qos"]["passes"], state["qos"]["next"]) == (2, now + 60)


def test_an_end_in_the_middle(tmp_path: Path) -> None:
    """A pass that hangs does not keep the simulator from ending."""
    with played(tmp_path) as peer:
        peer.simulator.faults.add("hang", query="VolumesList")

        def advance() -> None:
            with contextlib.suppress(errors.ApiError):  # it ends in the midst of that
                peer.simulator.advance(60)

        going = threading.Thread(target=advance, daemon=True)
        going.start()
        wait_until(lambda: not peer.simulator.faults.waiting(), "the pass hangs")
    going.join(LIMIT_SECONDS)
    assert not going.is_alive()


def test_an_end_while_the_clock_is_advanced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long time, with many passes, ends with the simulator: at once, and at the moment that the
    clock has come to. The players end before any of several clusters does."""
    going: list[threading.Thread] = []
    ended = []
    close = Cluster.close

    def noted(cluster: Cluster) -> None:
        going[0].join(LIMIT_SECONDS)
        ended.append((cluster.cluster_id, not going[0].is_alive()))
        close(cluster)

    monkeypatch.setattr(Cluster, "close", noted)
    with played(tmp_path, clusters={"far": "rem.b"}) as peer:
        simulator = peer.simulator
        begun = simulator.cluster.now()
        going.append(threading.Thread(target=simulator.advance, args=[1e9], daemon=True))
        going[0].start()
        wait_until(lambda: simulator.cluster.now() > begun + 600, "some passes")
    assert ended == [("rem.b", True), ("sim.a", True)]
    assert simulator.cluster.now() < begun + 1e9


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e11, 10**400, -1, True, "1"])
def test_a_time_that_never_ends(tmp_path: Path, seconds: Any) -> None:
    """No amount of time is taken that the clock could not tell afterwards."""
    with played(tmp_path) as peer:
        before = peer.control("GET", "clock")["now"]
        with pytest.raises(RefusedError, match="number of seconds from 0 to"):
            peer.control("POST", "clock", {"advance": seconds})
        assert peer.control("GET", "clock")["now"] == before


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("qos", "{", "not JSON"),
        ("volumecare", CONFIG.replace("mode=normal", ""), "has no mode"),
        ("volumecare", None, "cannot be read"),
        ("qos", b"\xff\xfe", "is no text"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, option: str, text: Any, why: str) -> None:
    """A start that cannot be is one sentence, with the file in it."""
    file = tmp_path / "file"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    options: Any = {option: file}
    with (
        pytest.raises(storpool_simulator.StartError, match=f"{file}.*{why}"),
        opened_peer(tmp_path, **options),
    ):
        pass


def test_the_command_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options of the command: what is wrong in a file is told, with exit code 2."""
    file = tmp_path / "tiers.json"
    file.write_text("[]")
    base = ["--token", "T", "--devices", "file", "--state", str(tmp_path / "state")]
    assert storpool_simulator.main([*base, "--qos", str(file)]) == 2
    assert "not a JSON object" in capsys.readouterr().err
