"""The stand-in of Engine's API: what it answers, by oVirt's own library and without it."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
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


def asked(
    api: rest_engine.RestEngine, path: str, body: str | None = None, token: str = ""
) -> tuple[int, str]:
    """Send one request by HTTPS."""
    request = urllib.request.Request(
        f"https://localhost:{api.port}/ovirt-engine{path}",
        None if body is None else body.encode(),
        {"Authorization": f"Bearer {token}"} if token else {},
    )
    context = ssl.create_default_context(cafile=str(api.ca_file))
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as reply:  # noqa: S310
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def logged_in(api: rest_engine.RestEngine) -> str:
    """Return the token of a session."""
    form = urllib.parse.urlencode({"username": api.user, "password": api.password})
    code, said = asked(api, rest_engine.SSO, form)
    assert code == 200
    token: str = json.loads(said)["access_token"]
    return token


def test_nobody_is_let_in_without_a_session(api: rest_engine.RestEngine) -> None:
    """A wrong password is told as Engine's SSO tells it; a foreign token is 401 with a fault."""
    code, said = asked(api, rest_engine.SSO, "username=admin&password=x")
    assert (code, json.loads(said)["error_code"]) == (401, "access_denied")
    code, said = asked(api, "/api/storagedomains", token="x")
    assert (code, "<fault>" in said) == (401, True)


def test_a_session_ends(api: rest_engine.RestEngine) -> None:
    """After the log-out its token is nothing."""
    token = logged_in(api)
    assert asked(api, "/api/storagedomains", token=token)[0] == 200
    asked(api, rest_engine.LOGOUT, f"token={token}")
    assert asked(api, "/api/storagedomains", token=token)[0] == 401


BODY = (
    "<storage_domain><name>{name}</name><type>managed_block_storage</type>{host}<storage>"
    "<type>managed_block_storage</type><driver_options><property><name>adapter</name>"
    "<value>storpool</value></property><property><name>list</name><value>[a, b]</value></property>"
    "</driver_options></storage></storage_domain>"
)
HOST = "<host><name>host1</name></host>"


def test_a_domain_is_added_as_engine_does(api: rest_engine.RestEngine) -> None:
    """Its name among the options, a list where there are brackets; no option is ever shown."""
    code, said = asked(
        api, "/api/storagedomains", BODY.format(name="sp", host=HOST), logged_in(api)
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
    code, said = asked(api, "/api/storagedomains", BODY.format(**facts), logged_in(api))
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
