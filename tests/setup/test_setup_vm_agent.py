"""The service for guests, as setup turns it on and off: with the real systemd."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import setup_ground
from setup_ground import Setup, states, step

from rigs.machine import PREFIX

if TYPE_CHECKING:
    from rigs.booted import Booted
    from rigs.machine import Machine

UNIT = "storpool-vm-agent.service"
PLACE = f"/etc/systemd/system/{UNIT}"
WANTED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"


@pytest.fixture
def served(booted: Booted) -> tuple[Booted, Setup]:
    """A host that systemd runs. The Python of these tests may be below /root, where a service sees
    nothing; a real host's is not (setup refuses such a one)."""
    if sys.base_prefix.startswith(("/root/", "/home/")):
        booted.write(f"{PLACE}.d/python.conf", "[Service]\nProtectHome=no\n")
    return booted, setup_ground.host(booted)


def test_it_is_off_until_it_is_asked_for(served: tuple[Booted, Setup]) -> None:
    """Setup puts program and unit there, and starts nothing; nor does a boot, nor a preset."""
    machine, host = served
    said = host.run()
    assert states(said)["vm-agent-program"] == states(said)["vm-agent-unit"] == "changed"
    found = step(said, "vm-agent")
    assert found["state"] == "not needed"
    assert "storpool-ovirt setup host --vm-agent turns it on" in found["what"]
    assert machine.shown(UNIT, "LoadState") == "loaded"
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert not machine.path(WANTED).exists()
    assert states(host.run())["vm-agent-unit"] == "done"


def test_it_is_turned_on_and_off(served: tuple[Booted, Setup]) -> None:
    """Now and for each boot; again, and without a word, nothing changes; and it goes off again."""
    machine, host = served
    looked = host.run("--vm-agent", "--dry-run")
    assert states(looked)["vm-agent"] == "would change"
    assert not machine.path(PLACE).exists()
    assert states(host.run("--vm-agent"))["vm-agent"] == "changed"
    assert machine.shown(UNIT, "ActiveState") == "active"
    assert machine.shown(UNIT, "UnitFileState") == "enabled"
    pid = machine.shown(UNIT, "MainPID")
    for words in (("--vm-agent",), ()):
        said = host.run(*words)
        assert (said["changed"], states(said)["vm-agent"]) == (0, "done")
        assert said["restarts"] == []
    assert machine.shown(UNIT, "MainPID") == pid
    assert states(host.run("--no-vm-agent"))["vm-agent"] == "changed"
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert machine.shown(UNIT, "UnitFileState") == "disabled"
    assert host.run("--no-vm-agent")["changed"] == 0


def test_undo_takes_it_back(served: tuple[Booted, Setup]) -> None:
    """Before its unit and its program go; whoever turned it on."""
    machine, host = served
    before = host.tree()
    host.run()
    machine.do(f"systemctl enable --now {UNIT}")
    assert states(host.run("--undo", "--dry-run"))["vm-agent"] == "would undo"
    assert machine.shown(UNIT, "ActiveState") == "active"
    assert states(host.run("--undo"))["vm-agent"] == "undone"
    assert machine.shown(UNIT, "ActiveState") == "inactive"
    assert machine.shown(UNIT, "LoadState") == "not-found"
    left = {each for each in {*host.tree()} - {*before} if "/systemd/" not in each}
    assert left == set()
    assert not machine.path(WANTED).is_symlink()


def test_it_is_to_be_restarted_with_a_new_release(served: tuple[Booted, Setup]) -> None:
    """What runs is the program of before; setup says so until somebody restarts it."""
    machine, host = served
    host.run("--vm-agent")
    machine.do(f"touch {PREFIX}/lib/python3*/site-packages/storpool_ovirt/__init__.py")
    [told] = host.run()["restarts"]
    assert told["service"] == UNIT
    assert "at any time" in told["when"]
    machine.do(f"systemctl restart {UNIT}")
    assert host.run()["restarts"] == []


def test_one_that_does_not_start_is_a_failure(served: tuple[Booted, Setup]) -> None:
    """In the words of systemd, with where to look; what is wrong of one that is on is told too."""
    machine, host = served
    host.run()
    machine.write(f"{PLACE}.d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.do("systemctl daemon-reload")
    found = step(host.run("--vm-agent", code=1), "vm-agent")
    assert found["state"] == "failed"
    assert f"journalctl -u {UNIT}" in found["do"]
    found = step(host.run(), "vm-agent")
    assert (found["state"], found["what"]) == (
        "needs you",
        f"{UNIT} is enabled and does not run",
    )


def test_a_machine_that_is_being_made_has_it_at_its_first_boot(machine: Machine) -> None:
    """No systemd runs there yet: it is enabled, and starts nothing."""
    host = setup_ground.host(machine)
    assert states(host.run("--vm-agent"))["vm-agent"] == "changed"
    assert machine.path(WANTED).is_symlink()
    assert states(host.run("--vm-agent"))["vm-agent"] == "done"
    assert states(host.run("--undo"))["vm-agent"] == "undone"
    assert not machine.path(WANTED).is_symlink()


def test_it_is_no_service_of_engines(engine: Setup) -> None:
    """Whoever asks for it there has mistaken the machine."""
    done = engine.typed("--vm-agent", "--json")
    assert done.returncode != 0
    assert "--vm-agent is for setup host" in done.stderr + json.dumps(done.stdout)
