"""The unit of storpool-vm-agent, by systemd itself: what it says is understood, and what it keeps
from the program is kept from whatever runs in its place."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import storpool_ovirt

if TYPE_CHECKING:
    from rigs.booted import Booted
    from rigs.machine import Machine

UNIT = "storpool-vm-agent.service"
SHIPPED = Path(storpool_ovirt.__file__).parent / "setup" / "files" / "systemd" / UNIT
PLACE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/usr/libexec/storpool-ovirt/storpool-vm-agent"
UNITS = Path(__file__).parents[2] / "etc" / "systemd" / "system"
EXPOSURE_MAX = 2.0  # of 10, by systemd-analyze
# What it may try, each a statement of Python, and how each ends there: well, or with this error.
TRIES = {
    "pathlib.Path('/etc/storpool.conf').read_text()": "",
    "pathlib.Path('/etc/pki/vdsm/keys/libvirt_password').read_text()": "",
    "os.readlink('/dev/storpool-byid/ab.c.1')": "",
    "int(pathlib.Path('/sys/class/block/loop0/size').read_text())": "",
    "open('/dev/null', 'w').write('x')": "",
    "socket.socket(socket.AF_INET)": "",
    "socket.socket(socket.AF_INET6)": "",
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect('/dev/log')": "",
    "socket.socket(socket.AF_UNIX).connect('/run/libvirt/libvirt-sock')": "",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).bind((0, 1))": "",
    "threading.Thread(target=int).start()": "",
    "pathlib.Path('/etc/shadow').read_text()": "PermissionError",  # mode 0000, as EL has it
    "pathlib.Path('/home/somebody/file').read_text()": "PermissionError",
    "pathlib.Path('/srv/tmpfile').read_text()": "",
    "pathlib.Path('/tmp/file').read_text()": "FileNotFoundError",
    "open('/srv/disk', 'rb')": "PermissionError",
    "open('/srv/disk', 'r+b')": "PermissionError",
    "open('/etc/file', 'w')": "OSError",
    "open('/var/log/file', 'w')": "OSError",
    "open('/run/file', 'w')": "OSError",
    "open('/dev/file', 'w')": "OSError",
    "open('/dev/shm/file', 'w')": "OSError",
    "open('/usr/libexec/storpool-ovirt/storpool-vm-agent', 'a')": "OSError",
    "open('/proc/sys/kernel/core_pattern', 'w')": "FileNotFoundError",
    "open('/sys/kernel/uevent_helper', 'w')": "OSError",
    "os.setuid(36)": "PermissionError",
    "os.chown('/srv/mine', 36, 36)": "PermissionError",
    "os.mknod('/tmp/device', 0o60600, os.makedev(7, 0))": "PermissionError",
    "os.chroot('/srv')": "PermissionError",
    "socket.sethostname('x')": "PermissionError",
    "os.kill(1, 0)": "PermissionError",
    "os.nice(-10)": "PermissionError",
    "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))": "PermissionError",
    "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)": "OSError",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)": "PermissionError",
    "subprocess.run(['unshare', '--mount', 'true'], check=True)": "CalledProcessError",
    "subprocess.run(['mount', '-t', 'tmpfs', 'x', '/srv'], check=True)": "CalledProcessError",
    "subprocess.run(['sudo', '-n', 'true'], check=True)": "CalledProcessError",
}
PROBE = """#!/usr/bin/python3
import json, mmap, os, pathlib, signal, socket, subprocess, sys, threading
found = {}
for each in json.loads(sys.argv[1]):
    try:
        exec(each)
        found[each] = ""
    except Exception as error:
        found[each] = type(error).__name__
print("found", json.dumps(found), flush=True)
address = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
    told.connect("\\0" + address[1:] if address[0] == "@" else address)
    told.send(b"READY=1\\nSTATUS=tried")
signal.pause()
"""


def placed(machine: Machine) -> None:
    """Put the unit where setup does, and a program in place of its own."""
    machine.write(PLACE, SHIPPED.read_text())
    machine.write(PROGRAM, "#!/bin/sh\nexit 0\n", 0o755)


def test_systemd_understands_each_line(machine: Machine) -> None:
    """It says nothing of this unit; nor of those of the packages."""
    placed(machine)
    machine.write("/usr/sbin/storpool-ovirt", "#!/bin/sh\n", 0o755)
    for each in UNITS.iterdir():
        machine.write(f"/etc/systemd/system/{each.name}", each.read_text())
    names = [PLACE, *(f"/etc/systemd/system/{each.name}" for each in UNITS.iterdir())]
    done = machine.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_as_closed_as_its_page_says() -> None:
    """By systemd's own measure."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", SHIPPED],
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert told is not None, done.stderr
    assert float(told.group(1)) <= EXPOSURE_MAX


@pytest.fixture
def guarded(booted: Booted) -> Booted:
    """A host with what the agent may meet there."""
    placed(booted)
    booted.write("/etc/storpool.conf", "SP_AUTH_TOKEN=1\n", 0o600)
    booted.write("/etc/pki/vdsm/keys/libvirt_password", "x", 0o440, "vdsm:kvm")
    booted.write("/home/somebody/file", "")
    booted.do(
        "chmod 0000 /etc/shadow; touch /srv/mine /srv/tmpfile /tmp/file;"
        "mkdir -p /dev/storpool-byid;"
        "ln -s ../sp-1 /dev/storpool-byid/ab.c.1; mknod -m 0600 /srv/disk b 7 0"
    )
    booted.write(
        "/srv/listen",
        "import os, socket, time\nos.makedirs('/run/libvirt')\nwith socket.socket(socket.AF_UNIX)"
        " as one:\n one.bind('/run/libvirt/libvirt-sock')\n one.listen()\n time.sleep(300)\n",
    )
    booted.start("/usr/bin/python3", "/srv/listen")
    return booted


def test_what_runs_there_can_do_no_more_than_its_work(guarded: Booted) -> None:
    """StorPool's settings, Vdsm's password, sockets and devices' sizes are had; nothing can be
    written, opened as a device, mounted, owned, killed or become."""
    tries: dict[str, Any] = TRIES
    guarded.write("/srv/probe", PROBE, 0o755)
    given = json.dumps([*tries]).replace("%", "%%").replace('"', r"\"")
    guarded.write(
        f"{PLACE}.d/probe.conf",
        f'[Service]\nExecStart=\nExecStart=/usr/bin/python3 /srv/probe "{given}"\n',
    )
    guarded.do(f"systemctl daemon-reload; systemctl start {UNIT}")
    assert guarded.shown(UNIT, "StatusText") == "tried"
    [line] = re.findall(r"found (\{.*\})", guarded.do(f"journalctl --output=cat --unit={UNIT}"))
    assert json.loads(line) == tries
