"""The stand-in of Engine's API: what it answers, by oVirt's own library and without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rigs import engine_database, rest_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database


@pytest.fixture
def api(database: Database, tmp_path: Path) -> Iterator[rest_engine.RestEngine]:
    """Give the API on an Engine with a host and a data center."""
    tables = engine_database.made(database)
    center = tables.add_data_center("Default")
    tables.add_host("host1", center)
    with rest_engine.running(tables, tmp_path) as running:
        yield running


def test_nobody_is_let_in_without_a_session(api: rest_engine.RestEngine) -> None:
    """A wrong password is told as Engine's SSO tells it; a foreign token is 401 with a fault."""
    code, said = rest_engine.ask(api, rest_engine.SSO, "username=admin&password=x")
    assert (code, json.loads(said)["error_code"]) == (401, "access_denied")
    code, said = rest_engine.ask(api, "/api/storagedomains", token="x")
    assert (code, "<fault>" in said) == (401, True)


def test_a_session_ends(api: rest_engine.RestEngine) -> None:
    """After the log-out its token is nothing."""
    token = rest_engine.log_in(api)
    assert rest_engine.ask(api, "/api/storagedomains", token=token)[0] == 200
    rest_engine.ask(api, rest_engine.LOGOUT, f"token={token}")
    assert rest_engine.ask(api, "/api/storagedomains", token=token)[0] == 401


BODY = (
    "<storage_domain><name>{name}</name><type>managed_block_storage</type>{host}<storage>"
    "<type>managed_block_storage</type><driver_options><property><name>adapter</name>"
    "<value>storpool</value></property><property><name>list</name><value>[a, b]</value></property>"
    "</driver_options></storage></storage_domain>"
)
HOST = "<host><name>host1</name></host>"


def test_a_domain_is_added_as_engine_does(api: rest_engine.RestEngine) -> None:
    """Its name among the options, a list where there are brackets; no option is ever shown."""
    code, said = rest_engine.ask(
        api, "/api/storagedomains", BODY.format(name="sp", host=HOST), rest_engine.log_in(api)
    )
    assert (code, "storpool" in said) == (201, False)
    ((options,),) = api.tables.execute("SELECT driver_options FROM cinder_storage")
    assert options == {"adapter": "storpool", "list": ["a", "b"], "volume_backend_name": "sp"}


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no host": ({"name": "sp", "host": ""}, 400, "host.id|name"),
    "an unknown host": ({"name": "sp", "host": HOST.replace("1", "9")}, 404, "Entity not found"),
    "a bad name": ({"name": "s p", "host": HOST}, 400, "special characters"),
    "a name in use": ({"name": "there", "host": HOST}, 409, "already in use"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_engine_refuses_is_a_fault(api: rest_engine.RestEngine, case: str) -> None:
    """With a reason and a detail."""
    facts, wanted, told = REFUSED[case]
    api.tables.add_domain("there", {})
    code, said = rest_engine.ask(
        api, "/api/storagedomains", BODY.format(**facts), rest_engine.log_in(api)
    )
    assert code == wanted
    assert told in said
    assert "<reason>" in said


def test_ovirts_library_reads_its_answers(api: rest_engine.RestEngine) -> None:
    """A list, an entity and a fault, by the library itself."""
    import ovirtsdk4

    api.tables.add_domain("there", {})
    with ovirtsdk4.Connection(
        url=api.url, username=api.user, password=api.password, ca_file=str(api.ca_file), timeout=20
    ) as connection:
        system = connection.system_service()
        assert [each.name for each in system.storage_domains_service().list()] == ["there"]
        with pytest.raises(ovirtsdk4.NotFoundError):
            system.hosts_service().host_service("x").get()
        api.fault_next("GET", "storagedomains", 409, "[No.]")
        with pytest.raises(ovirtsdk4.Error, match=r"\[No\.\]"):
            system.storage_domains_service().list()
    assert not api.sessions


DISK = (
    '<disk id="d0000000-0000-4000-8000-000000000000"><name>x</name>{fields}<storage_domains>'
    "<storage_domain><name>{domain}</name></storage_domain></storage_domains></disk>"
)
SIZE, FORMAT = "<provisioned_size>1073741825</provisioned_size>", "<format>raw</format>"


def test_a_disk_is_made_with_its_id(api: rest_engine.RestEngine) -> None:
    """By the verb, with the size in GiB, rounded up; Engine has it where that succeeded."""
    api.tables.add_domain("there", {})
    token, made = rest_engine.log_in(api), []
    api.creates = lambda disk_id, gib: bool(made.append((disk_id, gib))) or gib == 2
    body = DISK.format(fields=SIZE + FORMAT, domain="there")
    code, said = rest_engine.ask(api, "/api/disks", body, token)
    assert code == 201
    ((disk_id, gib),) = made
    assert (gib, api.disks) == (2, {disk_id: 2 << 30})
    assert f'id="{disk_id}"' in said
    body = DISK.format(fields=SIZE.replace("1073741825", "1") + FORMAT, domain="there")
    assert rest_engine.ask(api, "/api/disks", body, token)[0] == 400
    for fields, domain, wanted in ((SIZE, "there", 400), (SIZE + FORMAT, "nowhere", 404)):
        body = DISK.format(fields=fields, domain=domain)
        code, said = rest_engine.ask(api, "/api/disks", body, token)
        assert code == wanted
        assert "format" in said or "nowhere" in said
