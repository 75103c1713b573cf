"""Whatever is silent, doctor is not: it tells the rest within ten seconds, as seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import doctor_samples as samples
import pytest
from doctor_ground import patience
from engine_ground import CONF_D

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine_ground import ServedMachine
    from host_ground import Host

    from rigs.machine import Machine

NAME = "storpool.test"
NAME_SERVER = f"127.8.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # of this process alone
CONF = f"""SP_API_HTTP_HOST={NAME}
SP_API_HTTP_PORT=81
SP_AUTH_TOKEN=1234567890
[{os.uname().nodename}]
SP_OURID=1
"""


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Listen on a port, take what comes, and never say a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def looked(machine: Machine, place: str) -> dict[str, Any]:
    """Return the document, told in time, in which something is wrong or could not be looked at."""
    patience_seconds = patience()
    began = time.monotonic()
    said = machine.run("storpool-ovirt", "doctor", place, "--json")
    assert time.monotonic() - began < patience_seconds
    assert said.stderr == ""
    facts: dict[str, Any] = json.loads(said.stdout)
    samples.check_document(facts)
    results = {each["result"] for each in facts["checks"]}
    assert results & {"unknown", "critical"}
    assert said.returncode == (2 if "critical" in results else 1 if "warning" in results else 3)
    return facts


def test_an_api_that_is_silent(served: ServedMachine) -> None:
    """T73: with several domains there: each is told of, and so is what does not need the API."""
    token = served.token()
    with silent_port() as port:
        for name in ("fast", "middle", "slow"):
            served.domain(name, sp_api_http_port=str(port), sp_auth_token_file=token)
        facts = looked(served.machine, "engine")
    told = {each["subject"] for each in facts["checks"] if each["id"] == "engine-domain-stats"}
    assert told == {"fast", "middle", "slow"}
    assert "ok" in {each["result"] for each in facts["checks"]}


def test_databases_that_are_silent(served: ServedMachine) -> None:
    """T73: Engine's own, and that of the mapping."""
    with silent_port() as port:
        login = {"HOST": "127.0.0.1", "PORT": str(port), "USER": "u", "PASSWORD": "words-1"}
        served.write(f"{CONF_D}/99-silent.conf", databases(**login, DATABASE="d"))
        looked(served.machine, "engine")


def databases(**login: str) -> str:
    """Return the keys of both databases as engine-setup writes them."""
    return "".join(
        f'{prefix}_DB_{key}="{value}"\n'
        for prefix in ("ENGINE", "CINDERLIB")
        for key, value in login.items()
    )


def test_an_api_that_is_silent_to_a_host(host: Host) -> None:
    """T73: what the API would have to tell is not known, or is the fault; the rest is told."""
    conf = host.machine.read("/etc/storpool.conf")
    with silent_port() as port:
        silent = re.sub(r"SP_API_HTTP_PORT=\d+", f"SP_API_HTTP_PORT={port}", conf)
        assert silent != conf
        host.machine.write("/etc/storpool.conf", silent, 0o600)
        facts = looked(host.machine, "host")
    fine = {each["id"] for each in facts["checks"] if each["result"] == "ok"}
    assert "host-storpool-api" not in fine
    assert {"host-sudoers", "host-multipath", "host-hook-elsewhere"} <= fine


@pytest.mark.parametrize("place", ["engine", "host"])
def test_a_name_server_that_is_silent(machine: Machine, place: str) -> None:
    """T73: the C library would wait for most of a minute; API and databases are told by a name."""
    machine.write("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n")
    machine.write("/etc/storpool.conf", CONF)
    login = {"HOST": f"db.{NAME}", "PORT": "5432", "USER": "u", "PASSWORD": "words-1"}
    machine.write(f"{CONF_D}/10-setup.conf", databases(**login, DATABASE="d"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((NAME_SERVER, 53))
        except OSError as error:
            pytest.skip(f"no name server can be put there: {error}")
        facts = looked(machine, place)
    assert facts["place"] == place
