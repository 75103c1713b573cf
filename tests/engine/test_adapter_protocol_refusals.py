"""The adapter as Engine runs it, where the cluster says no and the database does not do what it
should."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from protocol_ground import DEADLINE, SOME, Arguments, all_at_once, all_refused

from ovirt_demo.database import Database
from ovirt_demo.engine import Engine, Result
from rigs import refusals, shared_stage
from rigs.clock import wait_until
from rigs.helper_stage import wait_for_call
from rigs.stage_fixtures import Stage, make_stage
from rigs.verb_samples import BUSY, IDLE

UNDER_WAY = (
    "SELECT query FROM pg_stat_activity WHERE application_name = 'storpool-ovirt' AND state ="
    " 'active' AND datname = current_database()"
)


def assert_unaltered(stage: Stage, before: tuple[Any, Any]) -> None:
    """Check that cluster and mapping are as they were."""
    changed = {*map(str, shared_stage.rows(stage.database))} ^ {*map(str, before[1])}
    assert not changed, "\n".join(sorted(changed))
    assert shared_stage.state(stage.simulator) == before[0]


# The cluster says no


def test_a_wrong_pin_refuses_every_verb(shared: Stage, arguments: Arguments) -> None:
    """T77: pinned to another cluster, every verb refuses and no write is accepted; the two that do
    nothing succeed."""
    for error, verbs in (("objectDoesNotExist", BUSY), ("invalidParam", SOME)):
        shared.simulator.set_switches(unknown_cluster_error=error)
        engine = shared_stage.engine_with(shared, sp_cluster_id="zzz.z")
        before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
        shared.simulator.clear_calls()
        all_refused(all_at_once(engine, arguments, verbs), "pinned to")
        sent = shared_stage.writes(shared.simulator)
        assert all(
            "/RemoteCommand/~zzz.z/" in call["path"] and call["status"] != 200 for call in sent
        )
        assert_unaltered(shared, before)
    assert [
        shared_stage.answered(each) for each in all_at_once(engine, arguments, IDLE).values()
    ] == ["", ""]


@pytest.mark.parametrize(("error", "verbs"), [("unauthorized", BUSY), ("invalidParam", SOME)])
def test_a_wrong_token_refuses_every_verb(
    shared: Stage, arguments: Arguments, error: str, verbs: Sequence[str]
) -> None:
    """T24: with a token that StorPool does not take every verb says so; nothing is changed."""
    shared.simulator.set_switches(unauthorized_error=error)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    all_refused(
        all_at_once(shared_stage.engine_with(shared, sp_auth_token="0000000000"), arguments, verbs),
        "StorPool refused",
    )
    assert_unaltered(shared, before)


def test_a_domain_of_two_clients_is_not_added(shared: Stage) -> None:
    """T24: with `volume_driver` Engine's own client would serve it as well where the diversion is
    off, and say of our disks' deletes that they were done. What is there already goes on."""
    disk = shared_stage.make_disk(shared.engine)
    for driver in ("cinder.volume.drivers.rbd.RBDDriver", ""):
        engine = shared_stage.engine_with(shared, volume_driver=driver)
        shared.simulator.clear_calls()
        said = refusals.of_verb(engine.run("storage_stats", "true"))
        assert said == (
            "driver option volume_driver makes the domain one of Engine's own cinderlib client as"
            " well: leave it out"
        )
        assert shared.simulator.calls() == []
        shared_stage.answered(engine.run("get_connection_info", disk))


def test_a_template_that_is_missing(shared: Stage) -> None:
    """T3, T24: what would use the template refuses and names it; nothing is left behind."""
    source = shared_stage.make_disk(shared.engine)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    engine = shared_stage.engine_with(shared, sp_template="nosuch")
    for verb, arguments in {
        "storage_stats": ("true",),
        "create_volume": (shared_stage.new_id(), "1"),
        "clone_volume": (source, shared_stage.new_id()),
    }.items():
        assert "nosuch" in refusals.of_verb(engine.run(verb, *arguments))
    assert_unaltered(shared, before)


def test_no_space(shared: Stage) -> None:
    """T4: more than the template holds is refused with StorPool's words; no volume, no size and no
    row is left."""
    shared.simulator.set_switches(space_limit="provisioned")
    disk = shared_stage.make_disk(shared.engine)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    for verb, arguments in {
        "create_volume": (shared_stage.new_id(), "200000"),
        "extend_volume": (disk, "200000"),
    }.items():
        assert "no room" in refusals.of_verb(shared.engine.run(verb, *arguments))
    assert_unaltered(shared, before)
    assert "GiB" in refusals.of_verb(
        shared.engine.run("create_volume", shared_stage.new_id(), str(1 << 40))
    )


def test_storage_stats_is_the_gate(shared: Stage) -> None:
    """T24, T28: the verb that Engine runs before it adds a domain fails with the reason for each
    thing amiss."""
    wrong: dict[str, dict[str, str | None]] = {
        "127.0.0.1:1": {"sp_api_http_port": "1", "sp_deadline": "1"},
        "StorPool refused": {"sp_auth_token": "wrong"},
        "nosuch": {"sp_template": "nosuch"},
        "zzz.z": {"sp_cluster_id": "zzz.z"},
    }
    for words, options in wrong.items():
        assert words in refusals.of_verb(
            shared_stage.engine_with(shared, **options).run("storage_stats", "true")
        )
    engine = shared_stage.engine_with(shared)
    url = shared.engine.database_url
    for words, replaced in {
        "127.0.0.1:1 ": (f":{shared.database.login.port}/", ":1/"),
        "password authentication failed": (shared.database.login.password, "wrong"),
        "does not exist": (f"/{shared.database.name}", "/nosuch"),
    }.items():
        engine.database_url = url.replace(*replaced)
        sentence = refusals.of_verb(engine.run("storage_stats", "true"))
        assert words in sentence
        assert "mapping database" in sentence
    assert shared_stage.engine_with(shared).run("storage_stats", "true").map()


def test_a_role_that_may_not_make_tables(shared: Stage, database_server: Database) -> None:
    """T24: a database in which Engine's role may not create its schema is one sentence with
    PostgreSQL's reason."""
    if not database_server.owned:
        pytest.skip("the role of the server given by STORPOOL_OVIRT_TEST_DB may do anything")
    engine = shared_stage.engine_with(shared)
    engine.database_url = shared.engine.database_url.replace(
        f"/{shared.database.name}", "/postgres"
    )
    assert "permission denied" in refusals.of_verb(engine.run("storage_stats", "true"))


# The database does not do what it should


def test_every_verb_ends_in_time_with_postgresql_broken(
    shared: Stage, own_database: Database, arguments: Arguments
) -> None:
    """T73, T24: stopped, paused, paused or stopped in the middle of a verb; afterwards everything
    works as before."""
    stage = make_stage(shared.folder, own_database, shared.simulator, sp_deadline=str(DEADLINE))
    engine, disk = stage.engine, shared_stage.new_id()
    shared_stage.answered(engine.run("storage_stats", "true"))
    before = shared_stage.state(shared.simulator)
    own_database.stop_server()
    all_refused(all_at_once(engine, arguments), "mapping database")
    own_database.start_server()
    own_database.pause()
    all_refused(all_at_once(engine, arguments), "mapping database")
    own_database.resume()
    assert shared_stage.state(shared.simulator) == before
    for breaks, mends in (
        (own_database.pause, own_database.resume),
        (own_database.stop_server, own_database.start_server),
    ):
        disk = shared_stage.new_id()
        shared.simulator.clear_calls()
        shared.simulator.inject("delay", query="VolumeCreate", seconds=0.7)

        def break_it(breaks: Any = breaks) -> None:
            wait_for_call(shared, "VolumeCreate")
            breaks()

        result, _ = shared_stage.at_once(partial(engine.run, "create_volume", disk, "1"), break_it)
        assert result
        all_refused({"create_volume": result}, "mapping database")
        mends()
        assert shared_stage.answered(engine.run("create_volume", disk, "1")) == ""
        assert [each["name"] for each in shared_stage.volumes(shared.simulator).values()].count(
            f"ovirt--{disk}"
        ) == 1
        assert shared_stage.answered(engine.run("delete_volume", disk)) == ""


def test_a_disk_that_another_verb_works_on(shared: Stage, hasty: Engine) -> None:
    """T19, T61: a verb that meets another one on its disk ends in time, says so, and asks StorPool
    nothing."""
    disk = shared_stage.make_disk(shared.engine)
    met: dict[str, Result] = {}

    def meet() -> None:
        wait_for_call(shared, "VolumeUpdate")
        arguments = {
            "extend_volume": (disk, "3"),
            "delete_volume": (disk,),
            "create_snapshot": (disk,),
        }
        try:
            met.update(all_at_once(hasty, arguments, tuple(arguments)))
        finally:
            shared.simulator.clear_faults()

    shared.simulator.clear_calls()
    shared.simulator.inject("delay", query="VolumeUpdate", seconds=60)
    extended, _ = shared_stage.at_once(lambda: shared.engine.run("extend_volume", disk, "2"), meet)
    assert extended is not None
    assert shared_stage.answered(extended) == ""
    assert shared_stage.queries(shared.simulator) == [
        "KV/Set",
        "Volume",
        "VolumeUpdate",
    ], "those of the verb that has the disk"
    assert shared_stage.volumes(shared.simulator)[disk]["size"] == 2 * shared_stage.GIB
    all_refused(met, "another operation works on")


def test_a_table_that_somebody_has_locked(shared: Stage, hasty: Engine) -> None:
    """T73: an administrator's statement holds our table: the verb ends in time, and names the
    database."""
    disk = shared_stage.make_disk(shared.engine)
    connection = shared.database.connect()
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE storpool_ovirt.node IN ACCESS EXCLUSIVE MODE")
            arguments = {
                "extend_volume": (disk, "3"),
                "create_volume": (shared_stage.new_id(), "1"),
                "connect_volume": (disk, "{}"),
            }
            all_refused(all_at_once(hasty, arguments, tuple(arguments)), "mapping database")
    finally:
        connection.close()
    # PostgreSQL looks for its client only after a statement: what was waiting for the table may
    # still be carried out.
    wait_until(
        lambda: not shared_stage.sql(shared.database, UNDER_WAY), "the end of the statements"
    )
    assert shared_stage.sql(
        shared.database, f"SELECT size_bytes FROM storpool_ovirt.node WHERE uuid = '{disk}'"
    ) == [(shared_stage.GIB,)]
