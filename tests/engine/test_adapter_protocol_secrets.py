"""storpool-adapter: nothing secret is in what people read, and the payload of a success is never
touched."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rigs import canned_api
from rigs.shared_stage import answered, engine_with, make_disk, new_id, sql
from rigs.stage_fixtures import Stage

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from ovirt_demo.engine import Engine

# Words that payloads are made of.
WORDS = (
    "storpool",
    "adapter",
    "driver_volume_type",
    "global_id",
    "template",
    "hybrid",
    "capacity",
    "volume",
    '"',
)


@pytest.fixture
def role(shared: Stage, database_server: Database) -> Iterator[str]:
    """Give a role that may do what Engine's may."""
    if not database_server.owned:
        pytest.skip("the server given by STORPOOL_OVIRT_TEST_DB is not ours to make roles on")
    answered(shared.engine.run("storage_stats", "true"))  # the tables are Engine's
    name = f"word_{uuid.uuid4().hex[:8]}"
    database_server.server.run("CREATE ROLE {} LOGIN SUPERUSER", name)
    yield name
    database_server.server.run("DROP ROLE {}", name)


def engine_as(shared: Stage, role: str, password: str, **options: str) -> Engine:
    """Return an Engine that knows the database by this role and password."""
    shared.database.server.run("ALTER ROLE {} PASSWORD %s", role, values=(password,))
    engine = engine_with(shared, **options)
    database = shared.database
    where = f"{database.login.host}:{database.login.port}/{database.name}"
    engine.database_url = f"postgresql+psycopg2://{role}:{password}@{where}"
    return engine


@pytest.mark.parametrize("word", WORDS)
def test_the_payload_of_a_success_is_never_masked(shared: Stage, role: str, word: str) -> None:
    """T74: a password that is a word of the answer changes nothing in what Engine reads."""
    disk = make_disk(shared.engine)
    engine = engine_as(shared, role, word)
    for arguments in (
        ("connect_volume", disk, "{}"),
        ("get_connection_info", disk),
        ("storage_stats", "true"),
    ):
        assert answered(engine.run(*arguments)) == answered(shared.engine.run(*arguments))


def test_what_a_server_repeats_of_a_secret_is_masked_everywhere(shared: Stage, role: str) -> None:
    """T75: in the answer, the log and the journal, in whatever form it is repeated; the prefix
    stays whole."""
    token, password = 'tok"\\en%2+B', "corr-sec-ret"
    echoes = (token, repr(token), json.dumps(token), "tok%22%5Cen%252%2BB", password, token * 9000)
    # As it would be in a failover: it says that it may be tried again, until the time is up.
    descr = f"bad header <{'> <'.join(echoes)}> and\n\x1b[31m"
    with canned_api.answering(
        [canned_api.refusal("rebalancing", descr, 503, transient=True)]
    ) as api:
        engine = engine_as(
            shared,
            role,
            password,
            sp_api_http_port=str(api.port),
            sp_auth_token=token,
            sp_deadline="1",
        )
        disk = new_id()
        failed = engine.run("create_volume", disk, "1", correlation_id=f"{password}-1")
        info = engine.run("disconnect_volume", disk, correlation_id=f"{password}-2")
    assert answered(info) == ""
    said = failed.output.decode()[len("error:") : -1]
    assert failed.returncode == 1
    assert said.isprintable()
    assert len(said) <= 1000
    table = sql(shared.database, f"SELECT * FROM storpool_ovirt.operation WHERE disk = '{disk}'")
    assert table
    log = (engine.log_folder / "managedblock" / "storpool-adapter.log").read_text()
    for text in (said, repr(table), log):
        assert "***" in text
        for form in (*echoes, 'tok"', "tok%22"):
            assert form not in text
    assert r"\x1b[31m" in said
