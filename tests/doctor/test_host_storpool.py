"""doctor host, StorPool: whether this host is the client that it says it is."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import CONF

if TYPE_CHECKING:
    from host_ground import Host

CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
NODE = platform.node()
NAMED = "sed -i 's/^SP_API_HTTP_HOST=.*/SP_API_HTTP_HOST=sp.test/' " + CONF
SYSTEMCTL = "printf '#!/bin/sh\\n%s\\n' \"{}\" >/usr/sbin/systemctl"
NO_CONF = f"rm {CONF}"
# A server whose clock is an hour ahead.
AHEAD = """
import email.utils, http.server, time
class Ahead(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + 3600, usegmt=True)
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Ahead)
print(server.server_port, flush=True)
server.serve_forever()
"""

CASES = [
    Case("host-storpool-conf", NO_CONF, CRITICAL, f"{CONF} is missing", "install StorPool's"),
    Case(
        "host-storpool-conf",
        f"sed -i s/^SP_OURID/#/ {CONF}; printf '[other]\\nSP_OURID=5\\n' >>{CONF}",
        CRITICAL,
        f"this host is called {NODE}, sections with one are: other",
        f"write SP_OURID=N into section [{NODE}] of {CONF}",
    ),
    Case(
        "host-storpool-conf",
        f"sed -i 1iSP_OVIRT_VMTAG=nvm {CONF}",
        WARNING,
        f'"SP_OVIRT_VMTAG" in {CONF} is not known',
        "correct or remove it: do you mean SP_OVIRT_VM_TAG?",
    ),
    Case(
        "host-storpool-conf",
        f"sed -i 1iSP_OVIRT_TRANSPORT=pigeon {CONF}",
        WARNING,
        f'SP_OVIRT_TRANSPORT in {CONF} is "pigeon"',
        "write auto or wire or binding, or remove it",
    ),
    Case(
        "host-storpool-conf",
        f"sed -i '1iSP_OVIRT_VM_TAG=n\\nSP_OVIRT_AGENT_GROW=1\\nSP_OVIRT_MULTICLUSTER=0' {CONF}",
        OK,
        "this host is client 1",
        alone=True,
    ),
    Case("host-storpool-conf", f"echo garbage >>{CONF}", CRITICAL, "neither KEY=VALUE", "correct"),
    Case(
        "host-storpool-conf",
        f"{NO_CONF}; mkfifo {CONF}",
        CRITICAL,
        "is not a regular file",
        "make it a file",
    ),
    Case(
        "host-storpool-id",
        f"sed -i '/^\\[/d' {CONF}",
        WARNING,
        "stands before all sections",
        "move SP_OURID=1",
        alone=True,
    ),
    Case(
        "host-storpool-id",
        f"printf '[old]\\nSP_OURID=1\\n' >>{CONF}",
        CRITICAL,
        "SP_OURID=1 is that of section old too",
        "give each host its own",
        alone=True,
    ),
    Case(
        "host-storpool-api",
        f"sed -i 's/^SP_AUTH_TOKEN=.*/SP_AUTH_TOKEN=4711/' {CONF}",
        CRITICAL,
        "refuses clientsConfigDump: unauthorized",
        f"write SP_AUTH_TOKEN of this cluster into {CONF}",
        alone=True,
    ),
    Case(
        "host-storpool-api",
        f"sed -i 's/^SP_API_HTTP_PORT=.*/SP_API_HTTP_PORT=1/' {CONF}",
        CRITICAL,
        "gave no usable answer",
        "curl http://127.0.0.1:1/",
        alone=True,
    ),
    Case("host-storpool-api", NAMED, CRITICAL, "cannot be resolved", "correct SP_", alone=True),
    Case(
        "host-storpool-addresses",
        f"{NAMED}; echo '127.0.0.1 sp.test\n127.7.7.7 sp.test' >/etc/hosts",
        WARNING,
        "127.7.7.7 takes no connection",
        "take it out of the DNS",
        alone=True,
    ),
    Case(
        "host-storpool-addresses",
        f"{NAMED}; echo '127.7.7.7 sp.test' >/etc/hosts",
        CRITICAL,
        "127.7.7.7 takes no connection",
        alone=True,
    ),
    Case("host-storpool-addresses", NAMED, UNKNOWN, "", alone=True),
    Case(
        "host-storpool-client",
        f"sed -i s/^SP_OURID=.*/SP_OURID=77/ {CONF}",
        CRITICAL,
        "StorPool knows no client 77",
        "write SP_OURID=N",
        alone=True,
    ),
    Case(
        "host-storpool-service",
        SYSTEMCTL.format("echo inactive; exit 3"),
        CRITICAL,
        "storpool_block is inactive",
        "systemctl start storpool_block",
        alone=True,
    ),
    Case("host-storpool-service", SYSTEMCTL.format("exit 1"), UNKNOWN, "systemctl", alone=True),
    Case(
        "host-storpool-order",
        SYSTEMCTL.format("echo After=multipathd.service"),
        WARNING,
        "does not wait for storpool_block",
        "systemctl edit vdsmd",
        alone=True,
    ),
    Case("host-storpool-order", "rm -f /usr/sbin/systemctl /usr/bin/systemctl", UNKNOWN, "is not"),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_a_host_that_is_no_client_as_it_should_be_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; what cannot be asked is unknown."""
    host_cases.play(host, group)


def test_a_client_that_is_down_is_critical(host: Host) -> None:
    """By StorPool's word."""
    host.cluster.set_client(1, status="down")
    found = host.worst("host-storpool-client")
    assert (found.result, found.fix) == ("critical", "systemctl start storpool_block"), found


def test_an_id_of_another_host_is_told_by_the_devices(host: Host) -> None:
    """Those that are here are attached to client 1, and this host says it is client 2."""
    disk = host.attach()
    assert host.worst("host-storpool-identity").result == "ok"
    host.do(f"sed -i s/^SP_OURID=.*/SP_OURID=2/ {CONF}")
    found = host.worst("host-storpool-identity")
    assert found.result == "critical"
    assert f"{disk.global_id} has a device here and is attached to client 1, not" in found.cause
    assert found.fix.startswith(f"write SP_OURID=1 into section [{NODE}] of {CONF}")
    assert "or a VM that has it here was started elsewhere" in found.cause
    host.attach(2)
    found = host.worst("host-storpool-identity")
    assert (found.result, "elsewhere" in found.cause) == ("critical", False), found
    # That client has more than is here: it may be another host.
    host.cluster.api(
        "VolumesReassignWait", {"reassign": [{"volume": host.volume().name, "rw": [1]}]}
    )
    assert host.worst("host-storpool-identity").fix.startswith("write SP_OURID=N")


def test_devices_that_the_api_does_not_know_are_another_clusters(host: Host) -> None:
    """Or it knows them, and they were taken from this host."""
    disk = host.attach()
    item = {"volume": disk.name, "detach": [1], "force": True}
    host.cluster.api("VolumesReassignWait", {"reassign": [item]})
    found = host.worst("host-storpool-identity")
    assert (found.result, "was taken from it" in found.cause) == ("warning", True), found
    host.do(f"mv /dev/storpool-byid/{disk.global_id} /dev/storpool-byid/zz.b.1")
    found = host.worst("host-storpool-identity")
    assert (found.result, found.fix[:22]) == ("critical", "write SP_API_HTTP_HOST"), found


def test_a_token_that_is_wrong_is_told_once(host: Host) -> None:
    """What only follows waits for that check."""
    host.attach()
    host.do(f"sed -i 's/^SP_AUTH_TOKEN=.*/SP_AUTH_TOKEN=4711/' {CONF}")
    of_api = [f"host-storpool-{each}" for each in ("client", "identity", "cluster")]
    found = host.look(*of_api, "host-disk-taken", "host-disk-rowless")
    assert {(each.result, each.cause) for each in found} == {
        ("unknown", "waits for host-storpool-api")
    }


def test_attachments_without_devices_are_told(host: Host) -> None:
    """All of them, or one of several."""
    first, second = host.attach(1), host.attach(2)
    host.do(f"rm /dev/storpool-byid/{second.global_id}")
    found = host.worst("host-storpool-identity")
    assert (found.result, second.global_id in found.cause) == ("warning", True), found
    host.do(f"rm /dev/storpool-byid/{first.global_id}")
    assert host.worst("host-storpool-identity").result == "critical"


def test_a_volume_of_another_cluster_is_told(host: Host) -> None:
    """Vdsm's row has its id, the API is of another one."""
    host.row("7" * 8, "zz.b.1")
    found = host.worst("host-storpool-cluster")
    assert (found.result, "of cluster zz.b" in found.cause) == ("critical", True), found
    assert "sim.a" in found.cause


def test_without_storpool_conf_one_check_says_so(host: Host) -> None:
    """The others could not look."""
    host.do(NO_CONF)
    of_conf = [f"host-storpool-{each}" for each in "id api addresses client identity".split()]
    found = host.look(*of_conf, "host-storpool-cluster", "host-storpool-clock")
    assert {each.result for each in found} == {"unknown"}
    assert {each.cause for each in found} == {"waits for host-storpool-conf"}


def test_a_clock_that_is_wrong_is_told(host: Host) -> None:
    """By the time that the API's server tells."""
    assert host.worst("host-storpool-clock").result == "ok"
    server = host.machine.start("/usr/bin/python3", "-c", AHEAD)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    host.do(f"sed -i s/^SP_API_HTTP_PORT=.*/SP_API_HTTP_PORT={port}/ {CONF}")
    found = host.worst("host-storpool-clock")
    assert (found.result, "s behind that of" in found.cause) == ("warning", True), found
    host.do(f"sed -i s/^SP_API_HTTP_PORT=.*/SP_API_HTTP_PORT=1/ {CONF}")
    assert host.worst("host-storpool-clock").result == "unknown"


def test_a_silent_name_server_is_not_waited_for(host: Host) -> None:
    """The C library would ask it twice, for five seconds each."""
    silent = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    silent += "s.bind(('127.9.9.9', 53)); print(flush=True); time.sleep(100)"
    server = host.machine.start("/usr/bin/python3", "-c", silent)
    assert server.stdout is not None
    server.stdout.readline()
    host.do("rm -f /etc/resolv.conf; echo nameserver 127.9.9.9 >/etc/resolv.conf")
    host.do(NAMED.replace("sp.test", "sp.test.example"))
    began = time.monotonic()
    found = host.look("host-storpool-api", "host-storpool-addresses", "host-storpool-clock")
    assert time.monotonic() - began < 10
    assert {each.result for each in found} == {"critical", "unknown"}, found
