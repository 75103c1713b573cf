"""Engine's own database: what is read of it, and that nothing is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from rigs import engine_database
from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, engine_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

OURS = {"adapter": "storpool", "sp_template": "nvme"}
CONNECTOR = {"host": "host1", "storpool_volume_type": "local"}


@pytest.fixture(params=engine_database.RELEASES)
def engine(request: Any, database: Database) -> engine_database.EngineDatabase:
    """Give the database of an Engine of each kind."""
    return engine_database.made(database, request.param)


def read(engine: engine_database.EngineDatabase, seconds: float = 20) -> engine_tables.Tables:
    """Read it as whoever looks does."""
    return engine_tables.read(database_url.parse(engine.database.url), Deadline(seconds))


def one_domain(engine: engine_database.EngineDatabase) -> engine_tables.Domain:
    """Return the only domain that is found."""
    (domain,) = read(engine).domains
    return domain


def test_an_engine_without_anything_is_read(engine: engine_database.EngineDatabase) -> None:
    """A fresh Engine has no domain and no host, and says what it is."""
    found = read(engine)
    assert (found.domains, found.hosts, found.data_centers) == ([], [], [])
    assert found.is_later == (engine.release == "master")
    assert found.release.startswith("4.5.8" if found.is_later else "4.5.7")
    assert found.option("ManagedBlockDomainSupported", "4.5") == "false"
    assert found.option("ManagedBlockDomainSupported", "4.7") == "true"
    assert found.option("CustomVdsFenceType") == ""
    assert found.option("CinderlibCommandTimeoutInMinutes") == (None if found.is_later else "2")
    assert abs(found.at - time.time()) < 60


def test_a_domain_is_read_with_its_data_centers(engine: engine_database.EngineDatabase) -> None:
    """Options as they are stored, each data center with the status there; other types are not
    there."""
    center = engine.add_data_center("Default")
    engine.add_data_domain("nfs", center)
    domain_id = engine.add_domain("sp", OURS, center, status=6)
    domain = one_domain(engine)
    assert (domain.id, domain.name, dict(domain.options)) == (domain_id, "sp", OURS)
    assert read(engine).other_domains == ["nfs"]
    assert [(each.data_center, each.status) for each in domain.attachments] == [
        ("Default", "maintenance")
    ]
    assert domain.is_ours
    assert not domain.mistake
    assert domain.sealed is None


def test_a_domain_in_no_data_center_is_read(engine: engine_database.EngineDatabase) -> None:
    """A domain that was added and not attached is found."""
    engine.add_domain("sp", OURS)
    assert one_domain(engine).attachments == []


def test_no_secret_is_in_what_a_domain_looks_like(engine: engine_database.EngineDatabase) -> None:
    """Options and sensitive options are not in its repr: somebody may have mixed them up."""
    engine.add_domain("sp", {**OURS, "sp_auth_token": "1556560560218011653"}, sealed="$c2VjcmV0")
    shown = repr(read(engine))
    assert "1556560560218011653" not in shown
    assert "c2VjcmV0" not in shown


MISTAKEN = {
    "case": ({"adapter": "StorPool"}, 'its adapter is "StorPool", not storpool'),
    "typing": ({"adapter": "storpol"}, 'its adapter is "storpol", not storpool'),
    "a suffix": ({"adapter": "storpool-adapter"}, '"storpool-adapter", not storpool'),
    "blank": ({"adapter": "storpool "}, "not storpool"),
    "the key": ({"Adapter": "storpool"}, "must be written adapter"),
    "another's name": ({"adapter": "linstor", "sp_template": "x"}, 'its adapter is "linstor"'),
    "none": ({"sp_template": "x"}, "it has no option adapter"),
    "both": ({"adapter": "storpool", "volume_driver": "x"}, "volume_driver beside adapter"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_a_domain_that_was_meant_to_be_ours_is_told(database: Database, case: str) -> None:
    """A mistyped adapter, another key, a driver of Cinder's beside it: the mistake is in words."""
    options, told = MISTAKEN[case]
    engine = engine_database.made(database)
    engine.add_domain("sp", options)
    domain = one_domain(engine)
    assert not domain.is_ours
    assert told in domain.mistake


@pytest.mark.parametrize(
    "options", [{"volume_driver": "cinder.RBD"}, {"adapter": "linstor"}, {}, {"adapter": ["x"]}]
)
def test_the_domains_of_others_are_no_mistake(database: Database, options: dict[str, Any]) -> None:
    """Whoever has a domain on another storage is not told anything about it."""
    engine = engine_database.made(database)
    engine.add_domain("other", options)
    domain = one_domain(engine)
    assert not domain.is_ours
    assert domain.mistake == ""


def test_hosts_are_read(engine: engine_database.EngineDatabase) -> None:
    """Cluster, data center, status, Vdsm, and what a host told about itself, which may be
    nothing."""
    center = engine.add_data_center("Default", "4.7")
    engine.add_host("host1", center, connector=CONNECTOR, hooks="{}")
    engine.add_host("host2", center, vdsm=None, status=4)
    engine.add_host("host3", center, connector={"host": "host3"}, status=99)
    one, two, three = read(engine).hosts
    assert (one.name, one.address, one.cluster, one.data_center) == (
        *("host1", "host1.example", "Default", "Default"),
    )
    assert (one.cluster_level, one.status, one.vdsm) == ("4.7", "up", "vdsm-4.50.7-1.el9")
    assert (one.volume_type, one.hooks) == ("local", "{}")
    assert (two.vdsm, two.connector, two.status, two.volume_type) == (
        *("", None, "non responsive", None),
    )
    assert three.connector == {"host": "host3"}
    assert three.volume_type is None
    assert three.status == "unknown (99)"


def test_a_data_center_tells_what_else_is_in_it(engine: engine_database.EngineDatabase) -> None:
    """Only active data domains that are no managed block domains count."""
    alone, mixed = engine.add_data_center("alone"), engine.add_data_center("mixed", "4.6", 3)
    engine.add_domain("sp", OURS, alone)
    engine.add_data_domain("nfs", mixed)
    engine.add_data_domain("old", mixed, master=False, status=6)
    found = {each.name: each for each in read(engine).data_centers}
    assert found["alone"].data_domains == []
    assert found["mixed"].data_domains == ["nfs"]
    assert (found["mixed"].level, found["mixed"].status) == ("4.6", "not operational")


def test_it_is_found_by_engines_own_files(
    engine: engine_database.EngineDatabase, tmp_path: Path
) -> None:
    """The keys of engine-setup say where it is."""
    engine.write_conf(tmp_path)
    assert engine_tables.of_this_machine(Deadline(20), str(tmp_path)).domains == []


def test_where_it_is_not_told_it_is_not_engines_machine(tmp_path: Path) -> None:
    """One sentence, and no look at any database."""
    with pytest.raises(errors.ConfigError, match="this is not Engine's machine"):
        engine_tables.of_this_machine(Deadline(20), str(tmp_path))


def test_a_wrong_password_names_the_database_and_no_secret(
    database: Database, tmp_path: Path
) -> None:
    """Whose database it is is in the sentence: not the mapping."""
    engine_database.made(database).write_conf(tmp_path, PASSWORD="wrong-secret")
    with pytest.raises(errors.DatabaseUnavailable) as raised:
        engine_tables.of_this_machine(Deadline(20), str(tmp_path))
    assert f"Engine's own database {database.name} at" in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_a_database_of_another_program_is_told(database: Database) -> None:
    """An empty database is not one of an Engine without domains."""
    with pytest.raises(errors.ConfigError, match="no tables of an Engine"):
        engine_tables.read(database_url.parse(database.url), Deadline(20))


def test_nothing_can_be_written(database: Database) -> None:
    """The connection itself refuses, whoever writes a statement here later."""
    engine = engine_database.made(database)
    address = database_url.parse(engine.database.url)
    with (
        pytest.raises(errors.DatabaseUnavailable, match="read-only"),
        engine_tables._opened(address, Deadline(20)) as ask,
    ):
        ask("INSERT INTO vdc_options (option_name, option_value, default_value) VALUES ('','','')")
    with (
        pytest.raises(errors.DatabaseUnavailable, match="read-only"),
        engine_tables._opened(address, Deadline(20)) as ask,
    ):
        ask("DELETE FROM cinder_storage RETURNING 1")


@pytest.fixture
def frozen(own_database: Database) -> Iterator[Database]:
    """Give a server that stops to answer when it is told to."""
    yield own_database
    own_database.resume()


def test_a_server_that_hangs_is_told_in_time(frozen: Database) -> None:
    """Whoever looks gets a sentence within the limit."""
    engine = engine_database.made(frozen)
    read(engine)
    frozen.pause()
    began = time.monotonic()
    with pytest.raises((errors.DeadlineExceeded, errors.DatabaseUnavailable)):
        read(engine, 1)
    assert time.monotonic() - began < 3


def test_a_table_that_is_locked_is_not_waited_for_long(database: Database) -> None:
    """An upgrade of Engine's holds its tables: the question ends by the server's own limit."""
    engine = engine_database.made(database)
    upgrade = database.connect()
    try:
        upgrade.autocommit = False
        with upgrade.cursor() as cursor:
            cursor.execute("LOCK TABLE storage_domain_static")
        began = time.monotonic()
        with pytest.raises((errors.DeadlineExceeded, errors.DatabaseUnavailable)):
            read(engine, 1)
        assert time.monotonic() - began < 3
    finally:
        upgrade.close()


def test_the_rig_has_engines_own_rules(engine: engine_database.EngineDatabase) -> None:
    """A domain without options, a host without a cluster: Engine's tables take neither."""
    with pytest.raises(psycopg2.errors.NotNullViolation):
        engine.execute(f"INSERT INTO {engine.storage} (driver_options) VALUES ('{{}}')")
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        engine.execute(
            f"INSERT INTO {engine.storage} VALUES ('00000000-0000-0000-0000-000000000000', '{{}}')"
        )
