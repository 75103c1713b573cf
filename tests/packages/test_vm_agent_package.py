"""storpool-vm-agent in the host's package: never turned on, started anew by an update where it
runs, off before its files go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import package_root
import pytest
from package_machine import Machine, Packages
from package_stock import Stock

from rigs.built_packages import PACKAGES, query

UNIT = "storpool-vm-agent.service"
PLACE = f"/usr/lib/systemd/system/{UNIT}"
PRESET = "/usr/lib/systemd/system-preset/50-storpool-ovirt.preset"
WANTED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"
ASKED = "/var/tmp/systemctl.asked"
SYSTEMCTL = f'#!/bin/sh\necho "$*" >>{ASKED}\ncase "$*" in *is-active*) exit 3 ;; esac\n'


@pytest.fixture
def booted(root: package_root.Root, stock: Stock, packages: Packages, newer: Packages) -> Machine:
    """A host with Vdsm that a systemd runs which only writes down what it is told."""
    machine = Machine(root, "host", stock.vdsm, packages, newer)
    tool = machine.root.path("/usr/bin/systemctl")
    tool.write_text(SYSTEMCTL)
    tool.chmod(0o755)
    machine.root.path("/run/systemd/system").mkdir(parents=True)
    machine.do("install 4.50.7")
    return machine


def asked(machine: Machine) -> list[str]:
    """Return what systemd was told since it was asked last, but other services' matters."""
    file = machine.root.path(ASKED)
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [each for each in lines if UNIT in each or each == "daemon-reload"]


def test_what_it_brings(packages: dict[str, Path]) -> None:
    """Program, page, unit and a preset that says no, all in the host's package alone."""
    wanted = {PLACE, PRESET, f"/usr/libexec/storpool-ovirt/{UNIT[:-8]}"}
    wanted.add("/usr/share/man/man8/storpool-vm-agent.8.gz")
    for name in PACKAGES:
        found = wanted & {*query(packages[name], "--list")}
        assert found == (wanted if name == "host" else set()), name


def test_nobody_turns_it_on(booted: Machine) -> None:
    """An installation has systemd read its units; an update starts anew what runs, at its end."""
    booted.do("install ours")
    told = asked(booted)
    assert "daemon-reload" in told
    assert told[-1] == f"--no-block try-restart {UNIT}"
    assert {each for each in told if UNIT in each} == {told[-1]}
    for step in ("install newer", "again newer", "back ours"):
        booted.do(step)
        told = asked(booted)
        assert "daemon-reload" in told[:-1], step
        assert {each for each in told if UNIT in each} == {f"--no-block try-restart {UNIT}"}, step
    assert not booted.root.path(WANTED).is_symlink()


def test_it_is_off_before_its_files_go(booted: Machine) -> None:
    """And only when the erase is not refused; nothing of it is left."""
    booted.do("install ours")
    asked(booted)
    database = booted.root.path("/var/lib/vdsm/storage/managedvolume.db")
    database.parent.mkdir(parents=True, exist_ok=True)
    database.write_text("no database")
    assert "cannot be seen" in booted.said_at("erase ours", code=None)
    assert not [each for each in asked(booted) if "disable" in each]
    database.unlink()
    booted.do("erase ours")
    told = asked(booted)
    assert [each for each in told if UNIT in each] == [f"--no-reload disable --now {UNIT}"]
    assert told[-1] == "daemon-reload"


def test_where_no_systemd_runs_its_link_goes_too(
    whole: Callable[..., Machine], stock: Stock
) -> None:
    """A machine that is being made, or taken apart."""
    machine = whole("host", stock.vdsm)
    link = machine.root.path(WANTED)
    link.parent.mkdir(parents=True)
    link.symlink_to(PLACE)
    machine.do("install newer")
    assert link.is_symlink()
    machine.do("erase ours")
    assert not link.is_symlink()
