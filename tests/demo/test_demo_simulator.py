"""The simulator as the stage runs it: an installed program, started, watched, killed and started
again."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ovirt_demo import simulator
from ovirt_demo.simulator import Simulator


def create_volume(process: Simulator) -> None:
    """Make a volume, as a program that is not under test."""
    process.api("VolumeCreate", {"size": 1 << 30, "template": simulator.TEMPLATE})


def test_it_answers_while_the_block_lasts_and_not_after(tmp_path: Path) -> None:
    """It comes up on a free port, with a folder for each host, and ends cleanly."""
    with simulator.running(
        tmp_path / "simulator", {1: tmp_path / "host1"}, devices="file"
    ) as process:
        assert process.running
        assert process.objects() == {"volumes": 0, "snapshots": 0, "attachments": 0}
        assert process.clients() == {
            1: {"status": "running", "behind": False, "open": [], "forced": []}
        }
        assert (tmp_path / "host1/etc/storpool.conf").exists()
    assert not process.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((process.address, process.port), timeout=5)


def test_it_comes_back_on_the_same_port_with_the_same_state(simulator_process: Simulator) -> None:
    """Also after SIGKILL, so that what was told its address finds it again."""
    port = simulator_process.port
    create_volume(simulator_process)
    simulator_process.kill()
    assert not simulator_process.running
    simulator_process.start()
    simulator_process.restart()
    assert (simulator_process.port, simulator_process.objects()["volumes"]) == (port, 1)
    assert simulator_process.stop() == 0
    assert simulator_process.stop() is None


def test_its_control_port_is_at_hand(simulator_process: Simulator) -> None:
    """Faults, calls, clients, clock and switches, each by a method."""
    create_volume(simulator_process)
    [call] = [call for call in simulator_process.calls() if call["query"] == "VolumeCreate"]
    assert call["body"]["size"] == 1 << 30
    simulator_process.clear_calls()
    assert simulator_process.calls() == []
    simulator_process.set_client(2, status="down")
    assert simulator_process.clients()[2]["status"] == "down"
    simulator_process.advance(60)
    simulator_process.set_switches(busy_error="invalidParam")
    simulator_process.inject("transient")
    with pytest.raises(simulator.Refused):
        create_volume(simulator_process)
    simulator_process.inject("transient")
    simulator_process.clear_faults()
    create_volume(simulator_process)
    with pytest.raises(simulator.Refused, match="no-such-kind"):
        simulator_process.inject("no-such-kind")


def test_what_it_says_when_it_does_not_start_is_told(tmp_path: Path) -> None:
    """The reason is the simulator's own, and no process is left."""
    process = Simulator(tmp_path / "simulator", {}, templates=["not a name"])
    with pytest.raises(simulator.NoStart, match="not a name"):
        process.start()
    assert not process.running


def test_driver_options_are_all_text_as_engine_has_them(simulator_process: Simulator) -> None:
    """They name the address that it really listens on."""
    options = simulator_process.driver_options()
    assert options["sp_api_http_port"] == str(simulator_process.port)
    assert options["sp_template"] == simulator.TEMPLATE
    assert all(isinstance(value, str) for value in options.values())
