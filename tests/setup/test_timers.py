"""What Engine's machine does at regular times, turned on and off with the real systemd: `policy
sync` every hour, `backup expire` every day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import setup_ground
from setup_ground import Setup, states

if TYPE_CHECKING:
    from rigs.booted import Booted

TIMER, SERVICE = "storpool-ovirt-policy.timer", "storpool-ovirt-policy.service"
BACKUP, EXPIRE = "storpool-ovirt-backup.timer", ("backup", "expire")
SYNC = ("policy", "sync")
PLACE = "/etc/systemd/system"
PROGRAM = "/usr/libexec/storpool-ovirt/storpool-ovirt"


@pytest.fixture
def served(booted: Booted) -> tuple[Booted, Setup]:
    """Engine's machine that systemd runs."""
    return booted, setup_ground.engine(booted)


def typed(machine: Booted, *words: str, code: int = 0, what: tuple[str, str] = SYNC) -> str:
    """Run `policy sync`, or the other one, with these words; return what it said."""
    done = machine.run(setup_ground.COMMAND, *what, *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def doctors(machine: Booted) -> list[dict[str, Any]]:
    """Return what doctor finds of the timers."""
    done = machine.run(setup_ground.COMMAND, "doctor", "engine", "--json")
    return [each for each in json.loads(done.stdout)["checks"] if each["id"] == "engine-timers"]


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
    assert [each["cause"] for each in doctors(machine)] == ["it is disabled", "it is not there"]
    typed(machine, "--timer")
    assert "SP_OVIRT_BACKUP_KEEP in " in typed(machine, "--timer", code=1, what=EXPIRE)
    assert not machine.path(f"{PLACE}/{BACKUP}").exists()
    machine.do("mkdir /etc/storpool.conf.d")
    machine.write("/etc/storpool.conf.d/keep.conf", "SP_OVIRT_BACKUP_KEEP=7d\n")
    assert "backup-timer" in typed(machine, "--timer", what=EXPIRE)
    assert machine.shown(BACKUP, "ActiveState") == "active"
    assert machine.shown(BACKUP, "UnitFileState") == "enabled"
    machine.run("systemctl", "start", SERVICE)  # there is no database here
    machine.do('systemctl stop "$1"', BACKUP)
    failed, stopped = doctors(machine)
    assert (failed["result"], failed["fix"]) == ("warning", f"journalctl -u {SERVICE}")
    assert failed["cause"].startswith("its last run failed (exit-code, exit code ")
    assert (stopped["result"], stopped["fix"]) == ("warning", f"systemctl restart {BACKUP}")
    assert "enabled, and inactive" in stopped["cause"]
    machine.do(f"systemctl reset-failed {SERVICE} && {stopped['fix']}")
    assert [each["result"] for each in doctors(machine)] == ["ok", "ok"]
    machine.do("rm -r /etc/storpool.conf.d")
    typed(machine, "--no-timer", what=EXPIRE)
    assert machine.shown(BACKUP, "ActiveState") == "inactive"
    undone = states(engine.run("--undo"))
    assert (undone["policy-timer"], undone["backup-timer-unit"]) == ("undone", "undone")
    assert machine.shown(TIMER, "LoadState") == machine.shown(BACKUP, "LoadState") == "not-found"
    left = {each for each in {*engine.tree()} - {*before} if "/systemd/" not in each}
    assert left == set()


def test_it_goes_alone(served: tuple[Booted, Setup]) -> None:
    """A disk, or options of a domain, beside it are a mistake, and nothing is changed."""
    machine, _ = served
    assert "go alone" in typed(machine, "--timer", "web01", code=2)
    assert "go alone" in typed(machine, "--timer", "--keep", "7d", code=2, what=EXPIRE)
    assert not machine.path(f"{PLACE}/{TIMER}").exists()
    assert not machine.path(f"{PLACE}/{BACKUP}").exists()
