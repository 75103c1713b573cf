"""doctor host as a whole: a host on which all is well, one without a single tool, one where all are
silent, and what hostile users put in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host_ground import CONF, LIBEXEC, TOOLS

from storpool_ovirt.doctor import checks, tables

if TYPE_CHECKING:
    from host_ground import Host

ALL = [each.id for each in tables.of(checks.HOST)]
VDSMS_TOOLS = ("vdsm-client", "vdsm-tool")
SILENT = """
import socket, sys, time
silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(1)]
print(silent[0].getsockname()[1], flush=True)
time.sleep(300)
"""
MARKED = "canary"
# A machine with much to do may give a check no turn in the half second in which it is to say what
# it has seen.
TRIES = 3


def test_all_is_well(host: Host) -> None:
    """With two disks attached, one of which a VM has open; within the ten seconds."""
    host.attach(1)
    host.attach(2)
    host.machine.start("/bin/sh", "-c", "exec 3</dev/sp-1; sleep 1000; true", user="qemu")
    host.start_vdsm()
    host.do(f"{LIBEXEC}/hooks/before_vdsm_start/50_storpool")
    found = host.look()
    assert host.took < 10
    late = {each.id for each in found if "did not end within" in each.cause}
    found = [each for each in found if each.id not in late]
    for each in late:  # where this machine has too much to do, one after the other
        found += host.look(each)
    found.sort(key=lambda each: ALL.index(each.id))
    assert [each for each in found if each.result != "ok"] == []
    assert [*dict.fromkeys(each.id for each in found)] == ALL
    assert all(each.cause and not each.fix and not each.action for each in found)


def test_without_any_tool_nothing_is_called_good_or_bad(host: Host) -> None:
    """Each check that asks a tool could not look, and names it."""
    host.attach()
    for name in (*TOOLS, *VDSMS_TOOLS, "sudo", "visudo", "find", "test", "dd", "ls"):
        host.machine.without(name)
    found = {each.id: each for each in host.look()}
    could_not = {each for each, one in found.items() if one.result == "unknown"}
    assert could_not >= {
        "host-code-owner",
        "host-disk-links",
        "host-disk-qemu",
        "host-door",
        "host-fapolicyd",
        "host-fence-running",
        "host-hook-reported",
        "host-hook-run",
        "host-lvm",
        "host-multipath",
        "host-packages",
        "host-selinux",
        "host-storpool-order",
        "host-storpool-service",
        "host-sudo-syntax",
        "host-token-reach",
        "host-vdsm-connector-info",
        "host-vdsm-database",
        "host-vdsm-version",
    }
    # Without sudo the agent cannot ask root, and says so; the rest was looked at all the same.
    assert {each for each, one in found.items() if one.result in ("critical", "warning")} <= {
        "host-fence-agent",
    }


def test_it_ends_where_all_are_silent(host: Host) -> None:
    """StorPool's API takes the connection and says nothing, each tool hangs."""
    server = host.machine.start("/usr/bin/python3", "-c", SILENT)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    host.do(f"sed -i s/^SP_API_HTTP_PORT=.*/SP_API_HTTP_PORT={port}/ {CONF}")
    for name in (*TOOLS, *VDSMS_TOOLS):
        host.tool(name, "sleep 300")
    for _ in range(TRIES):
        found = host.look()
        reached = next(each for each in found if each.id == "host-storpool-api")
        if host.took < 10 and "did not end within" not in reached.cause:
            break
    assert host.took < 10
    assert [*dict.fromkeys(each.id for each in found)] == ALL
    silent = {each.id for each in found if each.result == "unknown"}
    assert silent >= {"host-multipath", "host-lvm", "host-storpool-service", "host-disk-rowless"}
    assert (reached.result, "gave no usable answer" in reached.cause) == ("critical", True)


def test_no_secret_is_told_whoever_says_it(host: Host) -> None:
    """The token, in the words of each tool and file; `Host.look` looks for it in all that is told.

    Where a check has no token to mask, a tool of root's does not have it either.
    """
    token = host.cluster.token
    for name in (*TOOLS, *VDSMS_TOOLS):
        host.tool(name, "echo failed; exit 7")
    host.do(f"echo 'raise SystemExit(\"x\")' >{LIBEXEC}/managedvolume-helper")
    host.do(f"cp {CONF} {CONF}.old; chmod 0644 {CONF} {CONF}.old")
    host.do("rm /etc/logrotate.d/storpool-ovirt-host")
    host.do(f"sed -i 's/^SP_CLUSTER_ID=.*/SP_CLUSTER_ID=x.y/' {CONF}")
    host.machine.start("/bin/sh", "-c", "sleep 1000; true", f"--token={token}")
    found = host.look()
    assert {each.result for each in found} >= {"critical", "warning", "unknown"}
    assert not any("internal error" in each.cause for each in found)
    for line in (f"SP_API_HTTP_HOST={token}", f"{token} without an equals sign", "SP_OURID=x"):
        host.do(f"echo '{line}' >>{CONF}")
        host.look()


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        '{"hooks": [1], "connector_info": 5, "software_version": {"x": 1}}',
        r"""|||\n{\n}\n}\ndevnode "["\n\377\000\033[2J = ==\n""",
    ],
    ids=["list", "kinds", "signs"],
)
def test_what_tools_say_is_taken_for_anything(host: Host, said: str) -> None:
    """Whatever it is, no check breaks over it."""
    host.attach()
    for name in (*TOOLS, *VDSMS_TOOLS):
        host.tool(name, f"printf '{said}'")
    host.do(f"cp /usr/sbin/rpm {LIBEXEC}/get-conf-item")
    host.write(f"{LIBEXEC}/managedvolume-helper", f"print({said!r})")
    found = host.look()
    assert [each for each in found if "internal error" in each.cause] == []
    assert [*dict.fromkeys(each.id for each in found)] == ALL


def test_hostile_users_do_not_lead_roots_doctor(host: Host) -> None:
    """What user vdsm owns leads to what only root may read, or to what is waited for for ever."""
    host.write("/etc/secret", f"SP_X={MARKED}\n", 0o600)
    host.do(
        """
        cd /var/lib/vdsm/storage; rm managedvolume.db; ln -s /etc/secret managedvolume.db
        cd /var/log/vdsm; ln -s /etc/secret storpool-helper.log; mkfifo storpool-hook.log
        rm -rf /run/vdsm; mkdir -p /run/vdsm; ln -s /etc /run/vdsm/managedvolumes
        chown -hR vdsm /var/lib/vdsm /var/log/vdsm /run/vdsm
        """
    )
    before = host.machine.tree("/etc", "/var/lib/vdsm", "/run/vdsm")
    found = host.look(fix=True)
    assert host.took < 10
    assert MARKED not in str(found)
    assert "root:" not in str(found)
    rows = next(each for each in found if each.id == "host-vdsm-rows")
    assert rows.result == "critical"
    assert host.machine.tree("/etc", "/var/lib/vdsm", "/run/vdsm") == before
