"""The adapter on the oldest PostgreSQL that is installed here: Engine's machines have older ones
than the wheel of the tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs import stage_fixtures

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator

# Where Debian's packages have the servers' programs, by version.
SERVERS = Path("/usr/lib/postgresql")
FIRST_WITH_OTHER_WORDS = 16


@pytest.fixture(scope="module")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Give Engine's database on a server of before 16."""
    from ovirt_demo import database

    found = {
        int(each.parent.parent.name.partition(".")[0]): each  # before 10 it is 9.6
        for each in SERVERS.glob("[0-9]*/bin/initdb")
    }
    old = [version for version in sorted(found) if version < FIRST_WITH_OTHER_WORDS]
    if not old:
        pytest.skip(f"no PostgreSQL older than {FIRST_WITH_OTHER_WORDS} in {SERVERS}")
    folder = tmp_path_factory.mktemp("old_postgresql")
    with database.started(folder, found[old[0]].parent) as server:
        yield server


@pytest.mark.parametrize("first", ["storage_stats", "create_volume", "delete_volume"])
def test_the_first_verb_makes_the_tables_and_a_disk_lives_there(
    tmp_path: Path, old_server: Database, simulator_process: Simulator, first: str
) -> None:
    """Whichever verb is the first one: what such a server says of missing tables is understood."""
    fresh = old_server.fresh(f"old_{first}")
    stage = stage_fixtures.make_stage(tmp_path, fresh, simulator_process)
    disk, other = str(uuid.uuid4()), str(uuid.uuid4())
    arguments = {
        "storage_stats": ("true",),
        "create_volume": (other, "1"),
        "delete_volume": (other,),
    }
    stage.engine.run(first, *arguments[first]).require()
    stage.engine.run("create_volume", disk, "1").require()
    snapshot = stage.engine.run("create_snapshot", disk).require().answer
    stage.engine.run("extend_volume", disk, "2").require()
    stage.engine.run("connect_volume", disk, "{}").require()
    stage.engine.run("remove_snapshot", str(snapshot), disk).require()
    stage.engine.run("delete_volume", disk).require()
