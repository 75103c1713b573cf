"""storpool-vm-agent under its own unit and the real systemd: what it needs it has there, and what
goes wrong costs nothing but the service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import setup_ground

from rigs import libvirt_daemon

if TYPE_CHECKING:
    from rigs.booted import Booted

UNIT = "storpool-vm-agent.service"
PLACE = f"/etc/systemd/system/{UNIT}"
# A test does not wait for a minute. The Python of these tests may be below /root.
QUICK = "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=100ms\nWatchdogSec=12\n"
SEEN = "ProtectHome=no\n" if sys.base_prefix.startswith(("/root/", "/home/")) else ""
LIBVIRTD = 'unix_sock_rw_perms = "0770"\nauth_unix_rw = "{}"\n'


@pytest.fixture
def host(booted: Booted) -> Booted:
    """A host on which it is on."""
    made = setup_ground.host(booted)
    booted.write(f"{PLACE}.d/test.conf", QUICK + SEEN)
    made.run("--vm-agent")
    return booted


def pid(host: Booted) -> int:
    """Return the process that runs."""
    return int(host.shown(UNIT, "MainPID"))


def status(host: Booted) -> str:
    """Return what it says of itself."""
    return host.shown(UNIT, "StatusText")


def test_without_libvirt_it_waits_and_says_so(host: Booted) -> None:
    """It runs, does not end, and doctor tells what is missing; libvirt comes, and it goes on."""
    host.until(lambda: status(host).startswith("waits for libvirt"), "it does not say so")
    first = pid(host)
    told = host.run("storpool-ovirt", "doctor", "host", "--json").stdout
    assert "waits for libvirt" in told
    libvirtd(host, "none")
    host.until(lambda: status(host).startswith("looks after 0 VMs"), status(host))
    assert pid(host) == first
    assert "libvirt_away" in host.journal(UNIT)


def libvirtd(host: Booted, access: str) -> None:
    """Start this machine's libvirtd there."""
    if not host.path("/usr/sbin/libvirtd").exists():
        pytest.skip("libvirtd is not installed here (.ci/vm-packages)")
    host.write("/etc/libvirt/libvirtd.conf", LIBVIRTD.format(access))
    host.do("mkdir -p /run/libvirt /var/lib/libvirt; rm -rf /run/libvirt/*")
    for file, line in libvirt_daemon.ASKED_FOR:
        asked = 'grep -q "^${2%%:*}:" "/etc/$1" || echo "$2" >>"/etc/$1"'
        host.do(asked, file, line)
    host.start("/usr/sbin/libvirtd", "--timeout=300")


def test_it_connects_with_vdsms_password(host: Booted) -> None:
    """As Vdsm has libvirt set up: by SASL, with a password that group kvm alone may read; the whole
    sandbox is around it."""
    if not host.path("/usr/sbin/saslpasswd2").exists():
        pytest.skip("saslpasswd2 is not installed here (.ci/vm-packages)")
    host.write("/etc/sasl2/libvirt.conf", "mech_list: scram-sha-256\nsasldb_path: /etc/l/passwd\n")
    host.do(
        'mkdir -p /etc/l "${1%/*}"; echo -n shibboleth >"$1"; chmod 0440 "$1";'
        'chown -R vdsm:kvm "$2";'
        "echo shibboleth | saslpasswd2 -p -f /etc/l/passwd -a libvirt -u ovirt vdsm",
        "/etc/pki/vdsm/keys/libvirt_password",
        "/etc/pki/vdsm",
    )
    libvirtd(host, "sasl")
    host.until(lambda: status(host).startswith("looks after 0 VMs"), status(host))
    denied = "echo x | virsh -c qemu:///system list 2>&1 || true"
    assert "authentication" in host.do(denied)


def test_killed_it_is_started_again(host: Booted) -> None:
    """By systemd, after a pause; one that dies at once again and again is given up."""
    first = pid(host)
    host.do(f"kill -9 {first}")
    host.until(lambda: pid(host) not in (0, first), "it is not started again")
    for _ in range(4):
        host.run("systemctl", "kill", "--signal=KILL", UNIT)
        host.until(lambda: host.shown(UNIT, "SubState") != "auto-restart", "it stays away")
    host.until(lambda: host.shown(UNIT, "ActiveState") == "failed", "it is started for ever")


def test_one_that_hangs_is_started_again(host: Booted) -> None:
    """systemd hears nothing from it any more: the watchdog ends it."""
    first = pid(host)
    host.do(f"kill -STOP {first}")
    host.until(lambda: pid(host) not in (0, first), "the watchdog does nothing", 40)
    assert "Watchdog timeout" in host.journal(UNIT)


def test_it_ends_at_once_and_for_good(host: Booted) -> None:
    """SIGTERM, as a stop sends it, is no failure."""
    host.do(f"timeout 4 systemctl stop {UNIT}")
    assert host.shown(UNIT, "ActiveState") == "inactive"
    assert host.shown(UNIT, "Result") == "success"


def test_wrong_settings_are_told_once(host: Booted) -> None:
    """Starting it again would change nothing; doctor and the journal have the sentence."""
    host.do("sed -i 1iSP_OVIRT_AGENT_PERIODE=5 /etc/storpool.conf")
    assert host.run("systemctl", "restart", UNIT).returncode != 0
    assert host.shown(UNIT, "ActiveState") == "failed"
    assert host.shown(UNIT, "NRestarts") == "0"
    assert "SP_OVIRT_AGENT_PERIODE" in host.journal(UNIT)
    told = host.run("storpool-ovirt", "doctor", "host", "--json").stdout
    assert "is enabled and does not run (failed" in told
