"""Bad days of what verbs stand on: PostgreSQL restarted or full, StorPool's API away for half a
minute, a full disk.

Real processes, started as Engine starts them; each verb ends in time, and what it began ends well
(T73).
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from rigs import beside, refusals, shared_stage
from rigs.helper_stage import wait_for_call
from rigs.stage_fixtures import make_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from ovirt_demo.engine import Result
    from ovirt_demo.simulator import Simulator
    from rigs.stage_fixtures import Stage

# StorPool's services make passes at any moment, and find no API either
BESIDE = beside.ALL_THE_WHILE

CHANGING = (
    "create_volume",
    "clone_volume",
    "create_snapshot",
    "create_volume_from_snapshot",
    "extend_volume",
    "connect_volume",
    "remove_snapshot",
    "delete_volume",
)
OPEN = "SELECT verb, state FROM storpool_ovirt.operation WHERE state <> 'undone'"
AWAY_SECONDS = 30


@pytest.fixture
def own(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    own_database: Database,
    simulator_process: Simulator,
) -> Iterator[Stage]:
    """Give a stage with a PostgreSQL of its own, with its tables made."""
    stage = make_stage(tmp_path, own_database, simulator_process, **beside.options(request))
    shared_stage.answered(stage.engine.run("storage_stats", "true"))
    with beside.playing(request, stage):
        yield stage


@contextlib.contextmanager
def under_way(
    stage: Stage, verb: str, *arguments: str, query: str, seconds: float
) -> Iterator[list[Result]]:
    """Run a verb whose call takes effect late; what is inside runs meanwhile.

    The list has its result afterwards.
    """
    results: list[Result] = []
    stage.simulator.clear_calls()
    stage.simulator.inject("delay", query=query, seconds=seconds)
    running = threading.Thread(target=lambda: results.append(stage.engine.run(verb, *arguments)))
    running.start()
    try:
        wait_for_call(stage, query)
        yield results
    finally:
        running.join()


@pytest.mark.parametrize("verb", ["create_volume", "create_snapshot", "delete_volume"])
def test_postgresql_restarts_in_the_middle_of_a_verb(own: Stage, verb: str) -> None:
    """T71, T73: one sentence, and the verb repeated ends as if nothing had been: one object,
    nothing left open."""
    disk = shared_stage.new_id() if verb == "create_volume" else shared_stage.make_disk(own.engine)
    arguments = (disk, "1") if verb == "create_volume" else (disk,)
    query = {
        "create_volume": "VolumeCreate",
        "create_snapshot": "VolumeSnapshot",
        "delete_volume": "VolumeDelete",
    }[verb]
    with under_way(own, verb, *arguments, query=query, seconds=1.5) as results:
        own.database.stop_server()
        own.database.start_server()
    assert "mapping database" in refusals.of_verb(results[0])
    assert shared_stage.sql(own.database, OPEN) == [(verb, "running")], (
        "the intent outlives its process"
    )
    shared_stage.answered(own.engine.run(verb, *arguments))
    assert shared_stage.sql(own.database, OPEN) == []
    assert (
        len(shared_stage.volumes(own.simulator)),
        len(shared_stage.snapshots(own.simulator)),
    ) == {
        "create_volume": (1, 0),
        "create_snapshot": (1, 1),
        "delete_volume": (0, 0),
    }[verb]


def test_a_verb_that_lost_its_lock_is_waited_for(own: Stage) -> None:
    """T19, T71: PostgreSQL forgets locks when it restarts; a verb that is still at work is not
    taken for a dead one."""
    disk = shared_stage.make_disk(own.engine)
    with under_way(own, "create_snapshot", disk, query="VolumeSnapshot", seconds=2) as results:
        own.database.stop_server()
        own.database.start_server()
        own.simulator.clear_calls()
        snapshot = own.engine.run("create_snapshot", disk).guid()
    assert "mapping database" in refusals.of_verb(results[0])
    assert {*shared_stage.snapshots(own.simulator)} == {snapshot}, (
        "the first one's came late, and was taken back all the same"
    )
    assert shared_stage.sql(own.database, OPEN) == []


def test_postgresql_has_no_connection_left(own: Stage) -> None:
    """T73, T24: every verb says what PostgreSQL says, nothing is changed, and all is well when
    there is room again."""
    arguments = {verb: shared_stage.plain_arguments(own.engine, verb) for verb in CHANGING}
    before = (
        shared_stage.rows(own.database),
        shared_stage.volumes(own.simulator),
        shared_stage.snapshots(own.simulator),
    )
    role = own.database.login.user
    own.database.server.run("ALTER ROLE {} CONNECTION LIMIT 0", role)
    for result in shared_stage.at_once(
        *(lambda verb=verb: own.engine.run(verb, *arguments[verb]) for verb in CHANGING)
    ):
        assert "too many connections" in refusals.of_verb(result)
    own.database.server.run("ALTER ROLE {} CONNECTION LIMIT -1", role)
    assert (
        shared_stage.rows(own.database),
        shared_stage.volumes(own.simulator),
        shared_stage.snapshots(own.simulator),
    ) == before
    for verb in CHANGING:
        shared_stage.answered(own.engine.run(verb, *arguments[verb]))


def test_the_api_is_away_for_half_a_minute(stage: Stage) -> None:
    """T73, T87: a management service that moves: every verb waits for it, succeeds, and has its
    effect once."""
    arguments = {verb: shared_stage.plain_arguments(stage.engine, verb) for verb in CHANGING}
    before = (
        len(shared_stage.volumes(stage.simulator)),
        len(shared_stage.snapshots(stage.simulator)),
    )
    stage.simulator.inject("stop", query="VolumeCreate", seconds=AWAY_SECONDS)
    for result in shared_stage.at_once(
        *(lambda verb=verb: stage.engine.run(verb, *arguments[verb]) for verb in CHANGING)
    ):
        shared_stage.answered(result)
    made = {"create_volume", "clone_volume", "create_volume_from_snapshot"}
    assert len(shared_stage.volumes(stage.simulator)) == before[0] + len(made) - 1, (
        "and one was deleted"
    )
    assert len(shared_stage.snapshots(stage.simulator)) == before[1], "one was made, one removed"
    assert shared_stage.sql(stage.database, OPEN) == []


def test_no_space_for_the_log(stage: Stage) -> None:
    """T73: a full disk under the log costs the log, never the disk that Engine asked for."""
    arguments = {verb: shared_stage.plain_arguments(stage.engine, verb) for verb in CHANGING}
    log = stage.engine.log_folder / "managedblock" / "storpool-adapter.log"
    log.unlink()
    log.symlink_to("/dev/full")
    for verb in CHANGING:
        shared_stage.answered(stage.engine.run(verb, *arguments[verb]))
    assert refusals.of_verb(stage.engine.run("connect_volume", shared_stage.new_id(), "{}"))
    assert shared_stage.sql(stage.database, OPEN) == []


def test_a_role_that_may_not_ask_which_server_it_is_cannot_add_a_domain(own: Stage) -> None:
    """T24: what the journal needs is proved when a domain is added, not when the first disk is."""
    with contextlib.closing(own.database.server._admin.connect(own.database.name)) as administrator:
        administrator.cursor().execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    assert "permission denied for function pg_control_system" in refusals.of_verb(
        own.engine.run("storage_stats", "true")
    )
