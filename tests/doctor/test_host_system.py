"""doctor host, the system: what guards execution, and the folders that our programs write in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import PREFIX

if TYPE_CHECKING:
    from host_ground import Host

CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
LOG = "/var/log/vdsm/storpool-helper.log"
DOORS_LOGS = "/var/log/storpool-ovirt"
LOCKS = "/run/storpool-ovirt"


def says(tool: str, words: str) -> str:
    """Return a script after which a tool says this."""
    return f"printf '#!/bin/sh\\n%s\\n' \"{words}\" >/usr/sbin/{tool}"


ACTIVE = says("systemctl", "echo active") + "; "
AVC = 'echo \'type=AVC msg=audit: avc: denied {{ read }} comm=\\"{}\\" name=\\"sp-1\\"\''

CASES = [
    Case(
        "host-fapolicyd",
        ACTIVE + says("fapolicyd-cli", f"echo '{PREFIX}/bin/x miscompares: sha256'"),
        WARNING,
        f"does not trust {PREFIX}/bin/x",
        "fapolicyd-cli --file add",
        alone=True,
    ),
    Case(
        "host-fapolicyd",
        ACTIVE + says("ausearch", f"echo 'type=FANOTIFY resp=2 path={PREFIX}/bin/y'"),
        CRITICAL,
        "has refused one of our files",
        alone=True,
    ),
    Case(
        "host-fapolicyd",
        ACTIVE + says("ausearch", f"echo 'type=FANOTIFY resp=1 path={PREFIX}/bin/y'"),
        OK,
        "trusts our files",
        alone=True,
    ),
    Case(
        "host-fapolicyd",
        ACTIVE + says("fapolicyd-cli", "exec sleep 100"),
        UNKNOWN,
        "did not tell in time",
        alone=True,
    ),
    Case(
        "host-fapolicyd",
        ACTIVE + says("fapolicyd-cli", "echo no database >&2; exit 1"),
        UNKNOWN,
        "no database",
        alone=True,
    ),
    Case("host-selinux", says("getenforce", "exit 1"), UNKNOWN, "getenforce fails"),
    Case("host-fapolicyd", ACTIVE + "rm /usr/sbin/fapolicyd-cli", UNKNOWN, "is not", alone=True),
    Case("host-fapolicyd", says("systemctl", "echo odd"), UNKNOWN, "odd"),
    Case(
        "host-selinux",
        says("ausearch", AVC.format("qemu-kvm")),
        WARNING,
        "SELinux has denied something",
        "ausearch -m avc",
        alone=True,
    ),
    Case("host-selinux", says("ausearch", AVC.format("other")), OK, "nothing to QEMU", alone=True),
    Case("host-selinux", "rm /usr/sbin/ausearch", UNKNOWN, "ausearch is not here"),
    Case("host-selinux", says("ausearch", "exit 3"), UNKNOWN, "fails"),
    Case(
        "host-selinux",
        says("getenforce", "echo Disabled") + "; rm /usr/sbin/ausearch",
        OK,
        "SELinux is off",
        alone=True,
    ),
    Case(
        "host-logs",
        f"touch {LOG}",
        WARNING,
        "user 0's, its folder user 36's",
        f"chown -h --reference=/var/log/vdsm {LOG}",
    ),
    Case("host-logs", f"ln -sfn /etc/shadow {LOG}", WARNING, "no plain file of one name"),
    Case("host-logs", f"rm -f {LOG}; mkfifo {LOG}", WARNING, "no plain file of one name"),
    Case("host-logs", "mv /var/log/vdsm /x", WARNING, "/var/log/vdsm is not", "install -d -o vdsm"),
    Case(
        "host-logs",
        f"rmdir {DOORS_LOGS}",
        WARNING,
        f"{DOORS_LOGS} is not there",
        "install -d",
        mends=True,
        alone=True,
    ),
    Case(
        "host-logs",
        f"chown vdsm {DOORS_LOGS}",
        WARNING,
        "can be written by others than root",
        mends=True,
        alone=True,
    ),
    Case(
        "host-logs",
        "rm /etc/logrotate.d/storpool-ovirt-host",
        WARNING,
        "logrotate",
        "storpool-ovirt setup host",
        mends=True,
        alone=True,
    ),
    Case(
        "host-logs",
        "rm -r /var/log/vdsm; ln -s vdsm /var/log/vdsm",
        UNKNOWN,
        "cannot be looked at",
        alone=True,
    ),
    Case("host-locks", f"install -d -o vdsm {LOCKS}", CRITICAL, "there can be no", f"mv {LOCKS}"),
    Case("host-locks", f"rm -rf {LOCKS}; ln -s /tmp {LOCKS}", CRITICAL, "not a folder of root's"),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_what_keeps_our_programs_from_working_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; a tool that is missing is unknown."""
    host_cases.play(host, group)
