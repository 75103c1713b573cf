"""The adapter's last steps: answer, journal, exit code.

Engine takes an answer only with exit code 0. So whatever breaks: exit code 0, and the journal has
no claim; or exit code 1, and the claim is there for the next verb and the audit.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from ovirt_demo import engine as demo_engine
from rigs import programs, refusals
from rigs.clock import wait_until
from rigs.shared_stage import answered, make_disk, new_id, snapshots, sql, volumes
from rigs.stage_fixtures import Stage, make_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator

CLAIMS = (
    "SELECT DISTINCT state FROM storpool_ovirt.operation WHERE state <> 'undone' ORDER BY state"
)
LIMIT_SECONDS = 20

# At the journal's last statement something happens in the server.
TRIGGER = """
CREATE SEQUENCE storpool_ovirt.delivery;
GRANT ALL ON SEQUENCE storpool_ovirt.delivery TO PUBLIC;
CREATE FUNCTION storpool_ovirt.at_delivery() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN {} RETURN old; END $$;
CREATE TRIGGER at_delivery BEFORE DELETE ON storpool_ovirt.operation
    FOR EACH ROW EXECUTE FUNCTION storpool_ovirt.at_delivery()
"""
CUT = "PERFORM pg_terminate_backend(pg_backend_pid());"
CUT_ONCE = f"IF nextval('storpool_ovirt.delivery') = 1 THEN {CUT} END IF;"
# The statement goes on until the test gives its lock back; so long it is not committed.
KEY = 4711
HELD = f"""
    WHILE EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND objid = {KEY} AND pid <> pg_backend_pid()
    ) LOOP
        PERFORM pg_sleep(0.02);
    END LOOP;"""

# The installed program with one of its steps changed.
PROGRAM = """#!{python}
import os, sys, time
from storpool_ovirt import program
from storpool_ovirt.engine import adapter, journal
{change}
sys.exit(adapter.main())
"""
# The only reader goes between the answer and the end.
CLOSED_AFTER = """
give = program.Answer.give
def given(self, line, error=False):
    give(self, line, error)
    os.close(int(os.environ["READER"]))
program.Answer.give = given
"""
# The result is written when the time of the verb is just up.
TIME_UP = """
finish = journal.Journal.finish
def finished(self, change):
    finish(self, change)
    time.sleep(self._session.deadline.remaining() + 0.05)
journal.Journal.finish = finished
"""

ACTIVITY = "SELECT count(*) FROM pg_stat_activity WHERE "
OURS = f"{ACTIVITY}application_name = 'storpool-ovirt'"
ASLEEP = f"{ACTIVITY}wait_event = 'PgSleep'"


def on_delivery(stage: Stage, does: str) -> None:
    """Have something happen in the server when the journal forgets an entry."""
    sql(stage.database, TRIGGER.format(does))


def claims(stage: Stage) -> list[str]:
    """Return the states of what is open in the journal."""
    return [state for (state,) in sql(stage.database, CLAIMS)]


def without_trigger(stage: Stage) -> None:
    """Let the server be well again."""
    sql(stage.database, "DROP TRIGGER at_delivery ON storpool_ovirt.operation")


def check_mended(stage: Stage, disk: str) -> None:
    """Check that the next verb takes back what Engine was not told of."""
    answered(stage.engine.run("extend_volume", disk, "2"))
    assert snapshots(stage.simulator) == {}
    assert claims(stage) == []


def changed(stage: Stage, folder: Path, change: str) -> demo_engine.Engine:
    """Return an Engine whose adapter is the installed program with a change."""
    program = folder / "changed-adapter"
    programs.written(program, PROGRAM, change=change)
    return demo_engine.Engine(folder / "changed", program, stage.engine.options, stage.database.url)


def test_the_connection_breaks_at_the_last_statement(stage: Stage) -> None:
    """T87: written again through a new connection: the verb is a success, and nothing is open."""
    disk = make_disk(stage.engine)
    on_delivery(stage, CUT_ONCE)
    snapshot = stage.engine.run("create_snapshot", disk).guid()
    assert claims(stage) == []
    assert set(snapshots(stage.simulator)) == {snapshot}


def test_the_last_statement_never_works(stage: Stage) -> None:
    """T72: exit code 1, and the claim says that Engine does not know the snapshot; the next verb
    takes it back."""
    disk = make_disk(stage.engine)
    on_delivery(stage, CUT)
    result = stage.engine.run("create_snapshot", disk)
    assert (result.returncode, claims(stage)) == (1, ["done", "undelivered"])
    assert result.output.count(b"\n") == 1, "the answer was given: no second line"
    without_trigger(stage)
    check_mended(stage, disk)


def test_a_commit_that_comes_after_the_end(
    tmp_path: Path, database: Database, simulator_process: Simulator
) -> None:
    """T72: PostgreSQL commits what the adapter no longer waited for; the claim outlives it all the
    same."""
    stage = make_stage(tmp_path, database, simulator_process, sp_deadline="5")
    disk = make_disk(stage.engine)
    on_delivery(stage, HELD)
    simulator_process.inject("delay", query="VolumeSnapshot", seconds=2.5)
    with contextlib.closing(database.connect()) as connection:
        connection.cursor().execute("SELECT pg_advisory_lock(%s)", (KEY,))
        result = stage.engine.run("create_snapshot", disk)
    wait_until(lambda: sql(stage.database, OURS) == [(0,)])
    assert (result.returncode, claims(stage)) == (1, ["undelivered"])
    without_trigger(stage)
    check_mended(stage, disk)


def test_postgresql_goes_at_the_last_statement(
    tmp_path: Path, own_database: Database, simulator_process: Simulator
) -> None:
    """T72, T73: with nobody left to write to, exit code 1, and what was written before is the
    claim."""
    stage = make_stage(tmp_path, own_database, simulator_process)
    disk = make_disk(stage.engine)
    on_delivery(stage, "PERFORM pg_sleep(60);")
    results: list[demo_engine.Result] = []
    running = threading.Thread(
        target=lambda: results.append(stage.engine.run("create_snapshot", disk))
    )
    running.start()
    wait_until(lambda: sql(stage.database, ASLEEP) == [(1,)])
    own_database.stop_server()
    running.join()
    own_database.start_server()
    assert (results[0].returncode, claims(stage)) == (1, ["done"])
    without_trigger(stage)
    check_mended(stage, disk)


def test_the_deadline_is_used_up_by_a_success(
    tmp_path: Path, database: Database, simulator_process: Simulator
) -> None:
    """T72, T73: what was done in the last moment is told, and nothing is open, within a second of
    its time."""
    stage = make_stage(tmp_path, database, simulator_process, sp_deadline="2")
    disk = make_disk(stage.engine)
    result = changed(stage, tmp_path, TIME_UP).run("create_snapshot", disk)
    assert (result.returncode, claims(stage)) == (0, []), result
    assert set(snapshots(simulator_process)) == {result.guid()}
    assert result.seconds < 4


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe's two ends."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for each in (reading, writing):
            with contextlib.suppress(OSError):
                os.close(each)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", ["create_volume", "create_snapshot", "delete_volume"])
def test_engine_goes(shared: Stage, tmp_path: Path, when: str, verb: str) -> None:
    """T71, T72: an answer that nobody can read is no success, and the journal says so; a repetition
    works.

    Engine may close its end as soon as it has the line: that alone says nothing.
    """
    stage, disk = shared, new_id() if verb == "create_volume" else make_disk(shared.engine)
    before = len(snapshots(stage.simulator))
    arguments = (disk, "1") if verb == "create_volume" else (disk,)
    engine = changed(stage, tmp_path, CLOSED_AFTER if when == "after" else "")
    with pipe() as (reading, writing):
        kept = (reading,) if when == "after" else ()
        with subprocess.Popen(
            engine.argv(verb, *arguments, correlation_id="gone"),
            cwd=tmp_path,
            pass_fds=kept,
            env={**engine.environment, "READER": str(reading)},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
        ) as process:
            os.close(reading)
            returncode = process.wait(LIMIT_SECONDS)
    if when == "after":
        assert (returncode, claims(stage)) == (0, [])
        return
    assert (returncode, claims(stage)) == (1, ["undelivered"])
    answered(stage.engine.run(verb, *arguments))
    assert claims(stage) == []
    assert (disk in volumes(stage.simulator)) is (verb != "delete_volume")
    assert len(snapshots(stage.simulator)) - before == (1 if verb == "create_snapshot" else 0)


def test_a_failure_is_claimed_and_told(stage: Stage) -> None:
    """T72, T74: a verb that fails without knowing the result says so to Engine and to the journal,
    once each."""
    disk = make_disk(stage.engine)
    engine = demo_engine.Engine(
        stage.folder / "hasty",
        stage.engine.program.resolve(),
        {**stage.engine.options, "sp_deadline": "2"},
        stage.database.url,
    )
    stage.simulator.inject("delay", query="VolumeSnapshot", seconds=4, times=9)
    assert refusals.of_verb(engine.run("create_snapshot", disk))
    assert claims(stage) == ["failed"]
