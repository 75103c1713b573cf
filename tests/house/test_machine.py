"""rigs/machine.py: a copy of this machine that may be broken, and of which nothing reaches it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rigs.machine import Machine


def test_its_users_run_our_programs(machine: Machine) -> None:
    """As ovirt and vdsm, with the Python of the tests."""
    for user in ("root", "ovirt", "vdsm"):
        done = machine.run("storpool-ovirt", "--version", user=user)
        assert done.stdout.startswith("storpool-ovirt "), done.stderr
        assert machine.run("id", "-un", user=user).stdout.strip() == user
    assert machine.run("id", "-nG", user="vdsm").stdout.split() == ["kvm", "qemu", "sanlock"]


def test_nothing_of_it_reaches_this_machine(machine: Machine, tmp_path: Path) -> None:
    """Not what it writes, removes or starts."""
    machine.write("/etc/storpool-ovirt-test", "text", 0o640, "root:ovirt")
    machine.do('rm /etc/hostname; touch "$1/here"; echo 1 >/run/x', str(tmp_path))
    assert machine.read("/etc/storpool-ovirt-test") == "text"
    assert machine.tree("/etc")["/etc/storpool-ovirt-test"].startswith("-rw-r----- 0:108 ")
    assert not Path("/etc/storpool-ovirt-test").exists()
    assert Path("/etc/hostname").exists()
    assert not (tmp_path / "here").exists()
    assert machine.path("/etc/storpool-ovirt-test").read_text() == "text"


def test_a_file_that_is_written_over_is_seen(machine: Machine) -> None:
    """In as many bytes and with its old time; and that it is as it was again."""
    file = "/etc/nsswitch.conf"
    before = machine.tree("/etc")
    machine.do('cp -p "$1" /run/old; tr a-y b-z </run/old >"$1"; touch -r /run/old "$1"', file)
    changed = machine.tree("/etc")
    assert {name for name, what in changed.items() if before[name] != what} == {file}
    machine.do('cat /run/old >"$1"; touch -r /run/old "$1"', file)
    assert machine.tree("/etc") == before


def test_its_processes_are_its_own_and_end_with_it(machine: Machine) -> None:
    """It sees no process of this machine."""
    started = machine.start("sleep", "1000")
    for _ in range(100):
        seen = machine.do("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        if "sleep 1000" in seen:
            break
        time.sleep(0.02)
    assert "sleep 1000" in seen
    assert len(machine.do("ls -d /proc/[0-9]*").split()) < 10
    machine.end()
    assert started.returncode is not None


def test_tools_come_and_go(machine: Machine, tmp_path: Path) -> None:
    """A stand-in is found in PATH, one that is taken away is not."""
    machine.tool("multipathd", 'echo "said $*"')
    assert machine.run("multipathd", "show").stdout == "said show\n"
    machine.without("multipathd")
    assert machine.run("multipathd", "show").returncode == 127
    (tmp_path / "seen").write_text("there")
    machine.see(tmp_path, "/dev/storpool-byid")
    assert machine.read("/dev/storpool-byid/seen") == "there"
