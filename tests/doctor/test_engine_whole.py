"""All checks of Engine's machine at once, by the command itself: well, broken, silent."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest
from engine_ground import CONF_D, ServedMachine

from storpool_ovirt.doctor import checks, tables

MARK = "-Djboss.server.default.config=ovirt-engine"
CANARY, PASSWORD = "c4naryTokenOfStorPool", "p4sswordOfEngine"


def doctor(served: ServedMachine, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run the command; return its exit code, what it tells programs, and all that it said."""
    done = served.machine.run("storpool-ovirt", "doctor", "engine", "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _tools(served: ServedMachine) -> None:
    """Engine runs, in a language that is here; nobody has a login; no timer, no fapolicyd."""
    served.tool("locale", "echo en_US.utf8")
    served.tool("systemctl", "echo disabled; exit 1")
    served.do("sed -i -E '/:[0-9]{4,}:/d' /etc/passwd")
    served.write("/var/log/ovirt-engine/engine.log", "", 0o644, "ovirt:ovirt")
    served.write("/etc/systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf", "[Service]\n")
    served.do(f"touch -d '1 hour ago' {CONF_D}/*")
    script = "sleep 600; true"
    served.machine.start("/bin/sh", "-c", script, MARK, user="ovirt", env={"LC_ALL": "en_US.UTF-8"})


def test_all_is_well(served: ServedMachine) -> None:
    """Each check has looked, and none has anything to say."""
    served.domain(sp_auth_token_file=served.token())
    _, told, _ = doctor(served)
    bad = [each for each in told["checks"] if each["result"] != "ok"]
    assert bad == []
    assert {each["id"] for each in told["checks"]} >= {each.id for each in tables.of(checks.ENGINE)}


def test_an_api_and_databases_that_are_silent(served: ServedMachine) -> None:
    """The verb ends with a sentence of its own; whose tables do not answer nobody knows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        served.domain(sp_auth_token_file=served.token(), sp_api_http_port=str(port))
        stats = served.one("engine-domain-stats")
        assert (stats.result, f"127.0.0.1:{port}" in stats.cause) == ("critical", True), stats
        served.do(f"sed -i 's/PORT=.*/PORT={port}/' {CONF_D}/10-setup-*database.conf")
        own, mapping, hosts = served.look(
            "engine-database", "engine-mapping-database", "engine-host-up"
        )
    assert (own.result, mapping.result, hosts.result) == ("critical", "critical", "unknown")


def test_a_name_server_that_is_silent_is_told(served: ServedMachine) -> None:
    """The C library would wait for it for ever: a verb ends, and so does who asks for addresses."""
    address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    served.write("/etc/resolv.conf", f"nameserver {address}\n")
    served.domain(sp_auth_token_file=served.token(), sp_api_http_host="storpool.example")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((address, 53))
        stats, names, clock = served.look(
            "engine-domain-stats", "engine-api-addresses", "engine-api-clock"
        )
    assert (stats.result, names.result, clock.result) == ("critical", "critical", "unknown")
    assert "no name server answered within 3 s" in names.cause


@pytest.mark.parametrize("user", ["ovirt", "vdsm"])
def test_another_user_sees_less(served: ServedMachine, user: str) -> None:
    """T24: what that user may not look at is not known, in a sentence; nothing is told wrong."""
    served.domain(sp_auth_token_file=served.token())
    done = served.machine.run("storpool-ovirt", "doctor", "engine", "--json", user=user)
    told = json.loads(done.stdout)["checks"]
    assert not [each for each in told if "internal error" in each["cause"]]
    wrong = [each for each in told if each["result"] not in ("ok", "unknown")]
    assert wrong == []
    assert served.simulator.token not in done.stdout


def test_no_secret_is_told(served: ServedMachine) -> None:
    """T24: a token and a password in each place that has one, and each of them wrong: neither is in
    the text, the document or the page."""
    served.write("/etc/storpool.conf", f"SP_AUTH_TOKEN={CANARY}\nnonsense {CANARY}\n", 0o644)
    served.write("/srv/token", f"{CANARY} {CANARY}\n", 0o644)
    served.domain("a", sp_auth_token=CANARY, sp_template="nosuch")
    served.domain("b", sp_auth_token_file="/srv/token", my_password=CANARY)
    served.domain("c", sealed=f'{{"sp_auth_token": "{CANARY}"}}', sp_tempalte="x")
    served.domain("d", sealed=CANARY, adapter="storpol")
    wrong = f"s/PASSWORD=.*/PASSWORD={PASSWORD}/; s/DATABASE=.*/DATABASE=nosuch/"
    for names in ("", "10-setup-cinderlib-database.conf", "10-setup-*database.conf"):
        if names:
            served.do(f"sed -i '{wrong}' {CONF_D}/{names}")
        shown = doctor(served, "--html", "/srv/page")[2] + served.machine.read("/srv/page")
        assert CANARY not in shown
        assert PASSWORD not in shown
        served.do("rm /srv/page")
