"""What `storpool-ovirt` is not told, and storpool.conf does not have, Engine's domains have."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs import engine_machine

if TYPE_CHECKING:
    from rigs.engine_machine import EngineMachine
    from rigs.stage_fixtures import Stage

UNIT = Path(__file__).parents[2] / "etc/systemd/system/storpool-ovirt-audit.service"


@pytest.fixture
def machine(shared: Stage, tmp_path: Path) -> Iterator[EngineMachine]:
    """Give an Engine's machine whose /etc/storpool.conf says nothing of the API."""
    own = shared.database.fresh("engine")
    try:
        made = engine_machine.made(shared, tmp_path, own)
        shared.engine.run("storage_stats", "true").require()
        yield made
    finally:
        own.drop()


def options(machine: EngineMachine, **more: object) -> dict[str, object]:
    """Return what a domain has whose token is in a file."""
    told = {**machine.stage.engine.options, "adapter": "storpool", **more}
    del told["sp_auth_token"]
    return {**told, "sp_auth_token_file": str(machine.token_file())}


def daily(machine: EngineMachine) -> tuple[int, str]:
    """Run what the timer runs, as it stands in its unit; return its exit code, and why it did not
    look."""
    unit = configparser.ConfigParser(delimiters=["="])
    unit.read(UNIT)
    words = unit["Service"]["ExecStart"].split()[1:]
    said = machine.run(*words)
    return said.returncode, said.stderr


def test_the_daily_audit_runs_where_only_the_domain_has_them(machine: EngineMachine) -> None:
    """The address and the token file are in Engine's tables alone: it looks, and finds nothing."""
    machine.tables.add_domain("fast", options(machine))
    assert daily(machine) == (0, "")


def test_a_sensitive_option_is_read_too(machine: EngineMachine) -> None:
    """The token is a sensitive option of the domain: it is used, and shown nowhere."""
    told = options(machine)
    del told["sp_auth_token_file"]
    token = machine.stage.simulator.token
    machine.tables.add_domain("fast", told, sealed=f'{{"sp_auth_token": "{token}"}}')
    assert daily(machine) == (0, "")
    said = machine.run("attachments")
    assert (said.returncode, said.stderr) == (0, "")


def test_several_domains_of_one_cluster_are_one(machine: EngineMachine) -> None:
    """Others' domains do not count; one of ours that is wrong does not hold up the rest."""
    machine.tables.add_domain("bad", options(machine, sp_api_http_port="no port"))
    machine.tables.add_domain("fast", options(machine))
    machine.tables.add_domain("other", {"adapter": "other", "sp_api_http_host": "10.9.9.9"})
    machine.tables.add_domain("slow", options(machine, sp_template="hybrid"))
    assert daily(machine) == (0, "")


def test_what_cannot_be_found_out_is_asked_for(machine: EngineMachine) -> None:
    """No domain, domains of several clusters, a wrong one, a database that refuses: one sentence
    each, and the code for what could not be looked at."""
    code, why = daily(machine)
    assert code == 3
    assert "which /etc/storpool.conf does not tell, is missing: give --options FILE" in why
    bad = machine.tables.add_domain("bad", options(machine, sp_api_http_port="no port"))
    assert "driver option sp_api_http_port" in daily(machine)[1]
    machine.tables.execute("DELETE FROM cinder_storage WHERE storage_domain_id = %s", bad)
    machine.tables.add_domain("fast", options(machine))
    machine.tables.add_domain("far", options(machine, sp_api_http_host="10.9.9.9"))
    code, why = daily(machine)
    assert code == 3
    assert "the storage domains far and fast are on several StorPool clusters: give" in why
    machine.tables.write_conf(machine.root, PASSWORD="wrong-words-1")
    code, why = daily(machine)
    assert code == 3
    assert "Engine's own database" in why
    assert "wrong-words-1" not in why


def test_storpool_conf_comes_first(machine: EngineMachine) -> None:
    """Where it tells all, Engine's tables are not asked."""
    machine.tables.write_conf(machine.root, PASSWORD="wrong-words-1")
    told = machine.stage.engine.options
    conf = machine.root / "etc" / "storpool.conf"
    conf.write_text(
        f"SP_API_HTTP_HOST={told['sp_api_http_host']}\n"
        f"SP_API_HTTP_PORT={told['sp_api_http_port']}\nSP_AUTH_TOKEN={told['sp_auth_token']}\n"
    )
    assert daily(machine) == (0, "")
