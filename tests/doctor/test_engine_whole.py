"""All checks of Engine's machine at once, by the command itself: well, broken, silent."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

import pytest
from engine_ground import CONF_D, ServedMachine

from storpool_ovirt.doctor import checks, tables

MARK = "-Djboss.server.default.config=ovirt-engine"
# Ten, and what starting and ending takes on a machine that is busy with other tests.
LIMIT_SECONDS = 14.0
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


def test_all_is_silent(served: ServedMachine) -> None:
    """Databases, StorPool and its name: what waits for them ends, and the rest is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        served.domain(sp_auth_token_file=served.token(), sp_api_http_port=str(port))
        began = time.monotonic()
        code, told, _ = doctor(served)
        assert time.monotonic() - began < LIMIT_SECONDS
        assert code == 2
        stats = [each for each in told["checks"] if each["id"] == "engine-domain-stats"]
        assert [each["result"] for each in stats] == ["critical"]
        assert f"127.0.0.1:{port}" in stats[0]["cause"]
        served.do(f"sed -i 's/PORT=.*/PORT={port}/' {CONF_D}/10-setup-*database.conf")
        began = time.monotonic()
        code, told, _ = doctor(served)
        assert time.monotonic() - began < LIMIT_SECONDS
    found = {each["id"]: each["result"] for each in told["checks"]}
    assert (code, found["engine-database"], found["engine-dispatcher"]) == (2, "critical", "ok")
    assert found["engine-host-up"] == "unknown"


def test_a_name_server_is_silent(served: ServedMachine) -> None:
    """The C library would wait for it for ever: a verb ends, and so does who asks for addresses."""
    address = f"127.53.{os.getpid() % 200}.53"
    served.write("/etc/resolv.conf", f"nameserver {address}\n")
    served.domain(sp_auth_token_file=served.token(), sp_api_http_host="storpool.example")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((address, 53))
        began = time.monotonic()
        _, told, _ = doctor(served)
        assert time.monotonic() - began < LIMIT_SECONDS
    found = {each["id"]: each for each in told["checks"]}
    assert found["engine-api-addresses"]["result"] == "critical"
    assert "no name server answered within 3 s" in found["engine-api-addresses"]["cause"]
    assert found["engine-domain-stats"]["result"] == "critical"
    assert found["engine-api-clock"]["result"] == "unknown"


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
