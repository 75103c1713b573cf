"""`storpool-ovirt domain` on a machine with Engine's user: root asks, ovirt is what works."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from rigs import engine_database, refusals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.machine import Machine
    from rigs.stage_fixtures import Stage

TOKEN = "/etc/ovirt-engine/storpool-ovirt/token"
CONF = "/etc/ovirt-engine/engine.conf.d"
ADAPTERS = "/usr/share/ovirt-engine/managedblock"


@pytest.fixture
def words(
    machine: Machine, module_stage: Stage, database_server: Database, tmp_path: Path
) -> Iterator[list[str]]:
    """Have a machine with an Engine after 4.5.7 and its databases; give a domain's command."""
    own = database_server.fresh(f"own_{uuid.uuid4().hex[:8]}")
    tables = engine_database.made(own, "master")
    center = tables.add_data_center("Default")
    tables.add_host("host1", center, connector={"host": "host1"})
    text = tables.write_conf(tmp_path).read_text()
    login = module_stage.database.login
    facts = {
        "HOST": login.host,
        "PORT": str(login.port),
        "USER": login.user,
        "PASSWORD": login.password,
        "DATABASE": module_stage.database.name,
        "ENABLE": "true",
    }
    text += "".join(f'MANAGEDBLOCK_DB_{key}="{value}"\n' for key, value in facts.items())
    machine.write(f"{CONF}/10-setup-database.conf", text, 0o640, "root:ovirt")
    machine.do('mkdir -p "$1"; ln -s "$2" "$1/storpool-adapter"', ADAPTERS, _program("adapter"))
    machine.do(
        'mkdir -p "$1"; chown root:ovirt "$1"; chmod 750 "$1"', "/etc/ovirt-engine/storpool-ovirt"
    )
    machine.write(TOKEN, module_stage.simulator.token, 0o640, "root:ovirt")
    options = module_stage.simulator.driver_options()
    given = [f"{key}={options[key]}" for key in ("sp_api_http_host", "sp_api_http_port")]
    yield [
        _program("ovirt"),
        "domain",
        "sp",
        *(word for each in given for word in ("--option", each)),
    ]
    own.drop()


def _program(name: str) -> str:
    return f"/opt/storpool-ovirt/bin/storpool-{name}"


def test_root_finds_the_token_and_ovirt_reads_it(machine: Machine, words: list[str]) -> None:
    """The token is where setup puts it, with its modes; nothing but the log is written."""
    before = machine.tree("/etc", "/usr/share")
    done = machine.run(*words, "--json")
    assert done.returncode == 0, done
    options = json.loads(done.stdout)["rest"]["json"]["storage"]["driver_options"]["property"]
    assert {"name": "sp_auth_token_file", "value": TOKEN} in options
    assert machine.tree("/etc", "/usr/share") == before


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_that_root_alone_can_read_would_not_work(
    machine: Machine, words: list[str], module_stage: Stage, mode: int
) -> None:
    """Root can read it, Engine could not: what is told is what Engine would have met."""
    machine.write(TOKEN, module_stage.simulator.token, mode, "root:root")
    sentence = refusals.of_command(machine.run(*words))
    assert "storage domain sp would not work" in sentence
    assert "cannot be read (Permission denied)" in sentence


def test_ovirt_can_ask_too(machine: Machine, words: list[str]) -> None:
    """It has the rights for all of it but a change."""
    done = machine.run(*words, user="ovirt")
    assert done.returncode == 0, done


def test_anybody_else_is_told_who_can(machine: Machine, words: list[str]) -> None:
    """Engine's files are not for all."""
    sentence = refusals.of_command(machine.run(*words, user="vdsm"))
    assert "run this as root or as the user ovirt" in sentence
