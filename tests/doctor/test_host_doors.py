"""doctor host, root's doors: whether user vdsm can ask root, by the real sudo, and who has the
token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import CONF, DOORS, SUDOERS

if TYPE_CHECKING:
    from host_ground import Host

CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
DOOR = DOORS[0]
OPEN = f"vdsm ALL=(root) NOPASSWD:SETENV: {DOOR}"
NO_SUDO = "rm -f /usr/bin/sudo /bin/sudo"

CASES = [
    Case("host-door", f"rm {SUDOERS}", CRITICAL, "sudo does not let", "storpool-", alone=True),
    Case(
        "host-door",
        f"chmod 0644 {CONF}; rm {SUDOERS}",
        WARNING,
        f"user vdsm reads {CONF} itself",
        alone=True,
    ),
    Case(
        "host-door",
        f"chmod 0600 {SUDOERS}; printf 'Defaults !env_reset\\n{OPEN}\\n' >{SUDOERS}",
        WARNING,
        "sudo hands on the environment",
        alone=True,
    ),
    Case("host-door", f"ln -sfn /bin/false {DOOR}", CRITICAL, "ends with code 1", alone=True),
    Case("host-door", NO_SUDO, UNKNOWN, "sudo is not here", alone=True),
    Case("host-sudo-syntax", "echo garbage >/etc/sudoers.d/zz", CRITICAL, "visudo -c", alone=True),
    Case("host-sudo-syntax", "rm -f /usr/sbin/visudo /sbin/visudo", UNKNOWN, "visudo is not here"),
    Case(
        "host-sudoers",
        f"chmod 0666 {SUDOERS}; chown vdsm {SUDOERS}",
        CRITICAL,
        "has mode 0666, user 36",
        "storpool-ovirt setup host",
        mends=True,
        alone=True,
    ),
    Case(
        "host-sudoers",
        f"echo 'nobody ALL=(ALL) NOPASSWD: ALL' >{SUDOERS}; chmod 0666 {SUDOERS}",
        CRITICAL,
        "others could write it, and its rules are not those that we ship",
        f"mv {SUDOERS} /root/",
        alone=True,
    ),
    Case(
        "host-sudoers",
        f"echo '{OPEN}' >{SUDOERS}; chmod 0444 {SUDOERS}",
        WARNING,
        "its rules are not those that we ship",
        f"mv {SUDOERS} /root/",
        alone=True,
    ),
    Case("host-sudoers", f"cp {SUDOERS} {SUDOERS}.rpmnew", WARNING, ".rpmnew is beside it", "diff"),
    Case("host-sudoers", f"rm {SUDOERS}", CRITICAL, "is not there", mends=True, alone=True),
    Case("host-sudoers", f"ln -sfn storpool-ovirt {SUDOERS}", UNKNOWN, "cannot be looked at"),
    Case(
        "host-token-reach",
        f"chmod 0644 {CONF}",
        CRITICAL,
        "every user of this host can read",
        f"chmod o-rwx {CONF}",
        mends=True,
        alone=True,
    ),
    Case(
        "host-token-reach",
        f"chgrp kvm {CONF}; chmod 0640 {CONF}",
        WARNING,
        f"user vdsm can read {CONF}",
        f"setfacl -b {CONF}",
        alone=True,
    ),
    Case(
        "host-token-reach",
        f"mkdir {CONF}.d; cp {CONF} {CONF}.d/x.conf; chmod 0622 {CONF}.d/x.conf",
        CRITICAL,
        f"{CONF}.d/x.conf has mode 0622",
        alone=True,
    ),
    Case(
        "host-token-reach",
        f"cp {CONF} {CONF}.old; chmod 0644 {CONF}.old",
        CRITICAL,
        f"every user of this host can read {CONF}.old",
        mends=True,
        alone=True,
    ),
    Case("host-token-reach", f"chown qemu {CONF}", CRITICAL, "is user 107's", alone=True),
    Case("host-token-reach", "rm /usr/bin/test", UNKNOWN, "test is not here"),
    Case("host-token-argv", f"rm {CONF}", UNKNOWN, "waits for host-storpool-conf", alone=True),
    Case(
        "host-fence-agent",
        f"rm {SUDOERS}",
        WARNING,
        "fence_storpool -o monitor",
        "sudo -u vdsm /usr/sbin/fence_storpool -o monitor",
        alone=True,
    ),
    Case("host-fence-agent", f"rm {CONF}", UNKNOWN, "waits for host-storpool-conf", alone=True),
    Case("host-fence-agent", "ln -sfn /nowhere /usr/sbin/fence_storpool", WARNING, "cannot run it"),
    Case("host-fence-agent", "rm /usr/sbin/fence_storpool", OK, "no fence proxy of ours"),
    Case(
        "host-fence-agent", "sed -i /^vdsm:/d /etc/passwd", UNKNOWN, "user vdsm is not", alone=True
    ),
    Case(
        "host-fence-running",
        f"sed -i '$s/$/, STORPOOL_FENCE_RUNNING/' {SUDOERS}",
        WARNING,
        "let user vdsm have hosts fenced that run",
        "take STORPOOL_FENCE_RUNNING out",
        alone=True,
    ),
    Case("host-fence-running", f"rm {SUDOERS}", OK, "cannot have a host", alone=True),
    Case(
        "host-fence-running",
        f"{NO_SUDO}; printf '#!/bin/sh\necho no >&2; exit 1' >/bin/sudo; chmod 755 /bin/sudo",
        UNKNOWN,
        "sudo -l fails: no",
        alone=True,
    ),
    Case("host-fence-running", NO_SUDO, UNKNOWN, "sudo is not here", alone=True),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_a_way_to_root_that_is_closed_or_wide_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; a tool that is missing is unknown."""
    host_cases.play(host, group)


def test_of_what_sudo_says_one_line_is_told(host: Host) -> None:
    """The agent shows all of its lines as one."""
    host.do(f"chmod 0666 {SUDOERS}")
    found = host.worst("host-fence-agent")
    assert (found.result, "\\n" in found.cause) == ("warning", False), found


def test_a_token_on_a_command_line_is_found(host: Host) -> None:
    """The program is named, its words are not."""
    assert host.worst("host-token-argv").result == "ok"
    words = f"Authorization: Storpool v1:{host.cluster.token}"
    host.machine.start("/bin/sh", "-c", "sleep 1000; true", words)
    for _ in range(200):
        found = host.worst("host-token-argv")
        if found.result != "ok":
            break
    assert found.result == "critical"
    assert "command line of sh" in found.cause
