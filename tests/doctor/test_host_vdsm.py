"""doctor host, Vdsm: whether it can attach a volume of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import LIBEXEC, PREFIX, VDSMS

if TYPE_CHECKING:
    from host_ground import Host

HELPER = f"{LIBEXEC}/managedvolume-helper"
PIECE = f"{LIBEXEC}/os_brick"
DATABASE = "/var/lib/vdsm/storage/managedvolume.db"
TYPES = f"{VDSMS}/storage/managedvolume.py"
STRICT = "printf '[devel]\\napi_strict_mode = true\\n' >/etc/vdsm/vdsm.conf"
CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"

CASES = [
    Case(
        "host-vdsm-helper",
        f"echo 'raise SystemExit(\"multipathd is not running\")' >{HELPER}",
        CRITICAL,
        "fails: multipathd is not running",
        "see the last line of",
        alone=True,
    ),
    Case(
        "host-vdsm-helper",
        f"sed -i 's/, .local.)/)/' {TYPES}; grep -q lightos.\\) {TYPES}",
        CRITICAL,
        "this Vdsm takes no volume of StorPool's",
        "update Vdsm",
        alone=True,
    ),
    Case(
        "host-vdsm-helper",
        f"rm {HELPER}-storpool",
        CRITICAL,
        "cannot be run (No such file",
        alone=True,
    ),
    Case("host-vdsm-helper", STRICT, CRITICAL, "does not tell storpool_volume_type", alone=True),
    Case("host-vdsm-helper", f"rm {HELPER}", UNKNOWN, "Vdsm is not installed", alone=True),
    Case(
        "host-vdsm-piece",
        f"rm {PIECE}",
        CRITICAL,
        "is not there",
        "storpool-ovirt setup host",
        mends=True,
        alone=True,
    ),
    Case(
        "host-vdsm-piece",
        f"rm {PIECE}; mkdir {PIECE}; touch {PIECE}/__init__.py",
        CRITICAL,
        "is not our link",
        "move it away",
    ),
    Case(
        "host-vdsm-piece",
        f"chmod 0700 {PREFIX}/lib/python3*/site-packages/storpool_ovirt/host/os_brick_piece",
        CRITICAL,
        "user vdsm cannot import os_brick",
    ),
    Case(
        "host-vdsm-version",
        "printf '#!/bin/sh\\nprintf 4.50.5' >/usr/sbin/rpm",
        CRITICAL,
        "Vdsm is 4.50.5,",
        "update Vdsm",
    ),
    Case(
        "host-vdsm-version",
        "printf '#!/bin/sh\\nprintf odd' >/usr/sbin/rpm",
        UNKNOWN,
        'told as "odd"',
    ),
    Case("host-vdsm-version", "rm -f /usr/sbin/rpm /usr/bin/rpm", OK, "Vdsm is 4.50.7"),
    Case(
        "host-vdsm-connector-info",
        f"echo 'raise SystemExit(1)' >{HELPER}",
        CRITICAL,
        "have no connector_info",
        alone=True,
    ),
    Case("host-vdsm-strict", STRICT, CRITICAL, "api_strict_mode is true", "set api_strict_mode"),
    Case("host-vdsm-strict", f"rm {LIBEXEC}/get-conf-item", UNKNOWN, "get-conf-item is not here"),
    Case(
        "host-vdsm-strict",
        f"printf '#!/bin/sh\\nexit 1' >{LIBEXEC}/get-conf-item",
        UNKNOWN,
        "fails",
    ),
    Case("host-vdsm-database", f"rm {DATABASE}", CRITICAL, "fails", "systemctl stop vdsmd"),
    Case("host-vdsm-database", f"chown root {DATABASE}", CRITICAL, "it is not vdsm's"),
    Case("host-vdsm-database", "rm /usr/sbin/vdsm-tool", UNKNOWN, "vdsm-tool is not here"),
    Case("host-vdsm-rows", f"echo garbage >{DATABASE}", CRITICAL, "cannot be used", alone=True),
    Case(
        "host-vdsm-rows",
        f"rm {DATABASE}; mkfifo {DATABASE}; chown vdsm {DATABASE}",
        CRITICAL,
        "is not a regular file",
        alone=True,
    ),
    Case("host-vdsm-rows", f"truncate -s 40M {DATABASE}", CRITICAL, "has more than", alone=True),
    Case(
        "host-vdsm-rows",
        f"ln -sfn /etc/shadow {DATABASE}; chown -h vdsm {DATABASE}",
        CRITICAL,
        "cannot be used",
        alone=True,
    ),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_what_keeps_vdsm_from_attaching_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; a tool that is missing is unknown."""
    host_cases.play(host, group)


def test_a_database_that_another_has_is_unknown(host: Host) -> None:
    """It passes, and needs no new database."""
    lock = "import sqlite3, sys, time; sqlite3.connect(sys.argv[1]).execute('BEGIN EXCLUSIVE')"
    hold = f"{lock} and print('has it', flush=True) or time.sleep(100)"
    process = host.machine.start("/usr/bin/python3", "-c", hold, DATABASE)
    assert process.stdout is not None
    assert process.stdout.readline() == "has it\n"
    found = host.worst("host-vdsm-rows")
    assert (found.result, "configure" in found.fix) == ("unknown", False), found


def test_vdsm_that_takes_storpool_needs_no_word(host: Host) -> None:
    """Master's Vdsm: the helper tells no type, and that is right."""
    host.do(f"sed -i \"s/, 'local')/, 'local', 'storpool')/\" {TYPES}")
    found = host.worst("host-vdsm-helper")
    assert (found.result, "of type storpool" in found.cause) == ("ok", True), found


def test_a_vdsm_from_before_the_piece_has_to_be_restarted(host: Host) -> None:
    """Where it has no os-brick: it looked for one when it started. An update puts the piece there
    anew, and it has one then."""
    assert host.worst("host-vdsm-restart").result == "unknown"
    host.start_vdsm()
    assert host.worst("host-vdsm-restart").result == "ok"
    host.do(f"cp -P {PIECE} {PIECE}.new; mv -T {PIECE}.new {PIECE}")
    assert host.worst("host-vdsm-restart").result == "ok"
    host.tool("vdsm-client", "echo '{}'")
    found = host.worst("host-vdsm-restart")
    assert (found.result, found.fix) == ("critical", "systemctl restart vdsmd"), found
    assert "tells no connector_info, and was started before the piece" in found.cause
    host.tool("vdsm-client", "exit 1")
    found = host.worst("host-vdsm-restart")
    assert (found.result, "an update nothing is wrong" in found.cause) == ("warning", True), found
    host.do("mkdir /usr/lib/python3/dist-packages/os_brick")
    host.do("touch /usr/lib/python3/dist-packages/os_brick/__init__.py")
    assert host.worst("host-vdsm-restart").result == "ok"


def test_a_vdsm_from_before_an_update_is_told(host: Host) -> None:
    """Its files are of another release than the process."""
    host.start_vdsm()
    host.do(f"cp {LIBEXEC}/supervdsmd {LIBEXEC}/new; mv {LIBEXEC}/new {LIBEXEC}/supervdsmd")
    found = host.worst("host-vdsm-restart")
    assert (found.result, "supervdsmd runs from before" in found.cause) == ("warning", True), found


def test_without_vdsms_user_its_view_is_unknown(host: Host) -> None:
    """A machine without Vdsm: neither good nor bad."""
    host.do("sed -i /^vdsm:/d /etc/passwd")
    assert {each.result for each in host.look("host-vdsm-piece")} == {"unknown"}


def test_without_vdsms_client_capabilities_are_unknown(host: Host) -> None:
    """It may be stopped, or not installed."""
    host.do("rm /usr/sbin/vdsm-client")
    found = host.worst("host-vdsm-connector-info")
    assert (found.result, found.cause) == ("unknown", "vdsm-client is not here")
