"""The hourly `policy sync` of Engine's machine, turned on and off with the real systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import setup_ground
from setup_ground import Setup, states

if TYPE_CHECKING:
    from rigs.booted import Booted

TIMER, SERVICE = "storpool-ovirt-policy.timer", "storpool-ovirt-policy.service"
PLACE = "/etc/systemd/system"
PROGRAM = "/usr/libexec/storpool-ovirt/storpool-ovirt"


@pytest.fixture
def served(booted: Booted) -> tuple[Booted, Setup]:
    """Engine's machine that systemd runs."""
    return booted, setup_ground.engine(booted)


def typed(machine: Booted, *words: str, code: int = 0) -> str:
    """Run `policy sync` with these words; return what it said."""
    done = machine.run(setup_ground.COMMAND, "policy", "sync", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_is_turned_on_and_off(served: tuple[Booted, Setup]) -> None:
    """Now and for each boot; setup has no word of it before, and takes it back afterwards."""
    machine, engine = served
    before = engine.tree()
    assert "policy-timer" not in states(engine.run())
    assert "would change" in typed(machine, "--timer", "--dry-run")
    assert not machine.path(f"{PLACE}/{TIMER}").exists()
    assert "policy-timer" in typed(machine, "--timer")
    assert machine.shown(TIMER, "ActiveState") == "active"
    assert machine.shown(TIMER, "UnitFileState") == "enabled"
    assert machine.shown(SERVICE, "LoadState") == "loaded"
    assert PROGRAM in machine.shown(SERVICE, "ExecStart")
    assert machine.path(PROGRAM).is_symlink()
    typed(machine, "--timer")
    assert states(engine.run())["policy-timer"] == "done"
    typed(machine, "--no-timer")
    assert machine.shown(TIMER, "ActiveState") == "inactive"
    assert machine.shown(TIMER, "UnitFileState") == "disabled"
    typed(machine, "--timer")
    assert states(engine.run("--undo"))["policy-timer"] == "undone"
    assert machine.shown(TIMER, "LoadState") == "not-found"
    left = {each for each in {*engine.tree()} - {*before} if "/systemd/" not in each}
    assert left == set()


def test_it_goes_alone(served: tuple[Booted, Setup]) -> None:
    """A disk, or options of a domain, beside it are a mistake, and nothing is changed."""
    machine, _ = served
    assert "go alone" in typed(machine, "--timer", "web01", code=2)
    assert not machine.path(f"{PLACE}/{TIMER}").exists()
