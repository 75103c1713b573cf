"""storpool-adapter's traces: correlation ids, log, secrets, capacity, tables, data, and two verbs
at once.

The verbs themselves are in test_adapter_protocol.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial

import pytest

from ovirt_demo.database import Database
from ovirt_demo.simulator import Simulator
from rigs import refusals, shared_stage
from rigs.helper_stage import wait_for_call
from rigs.shared_stage import Tree
from rigs.stage_fixtures import Stage, make_stage
from rigs.verb_samples import IDLE, VERBS
from storpool_ovirt.engine import tables

# Correlation ids, log, secrets


@pytest.mark.parametrize("correlation_id", ["-x", "--help", "_", "x" * 50, "0", "RestoreSnapshot"])
def test_any_correlation_id(shared: Stage, tree: Tree, correlation_id: str) -> None:
    """T74, T75: ids that look like options come back as they are, in front of an answer that Engine
    can read."""
    result = shared.engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id)
    assert json.loads(shared_stage.answered(result))["adapter"] == "storpool"
    assert result.map()["data"]["volume"] == tree.disk


@pytest.mark.parametrize("correlation_id", ["error", "error-77", "errors"])
def test_a_correlation_id_that_begins_with_error(
    shared: Stage, tree: Tree, correlation_id: str
) -> None:
    """T75: Engine reads the payload whole, as for any other id, and no prefix of it twice."""
    result = shared.engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id)
    assert result.output.startswith(b"error:{")
    assert result.map()["data"]["volume"] == tree.disk
    assert shared.engine.run("create_snapshot", tree.disk, correlation_id=correlation_id).guid()


def log_of(stage: Stage, correlation_id: str) -> list[str]:
    """Return the log lines of one call, from their event on."""
    text = (stage.engine.log_folder / "managedblock" / "storpool-adapter.log").read_text()
    return [
        line.split(f" {correlation_id} ", 1)[1]
        for line in text.splitlines()
        if f" {correlation_id} " in line
    ]


def test_each_change_is_one_line_in_the_log(shared: Stage) -> None:
    """One line for each change of the world, with the correlation id, and one that tells how the
    verb ended; storage_stats tells besides what may be wrong with the domain, here that its token
    is an argument."""
    engine = shared.engine
    tree = Tree(shared_stage.new_id(), "", "")
    expected = {
        "create_volume": "volume_created",
        "create_snapshot": "snapshot_created",
        "extend_volume": "volume_extended",
        "clone_volume": "volume_created",
        "connect_volume": None,
        "storage_stats": "option_doubtful",
        "delete_volume": "volume_trashed",
    }
    arguments = {**shared_stage.verb_arguments(tree), "create_volume": (tree.disk, "1")}
    for verb, event in expected.items():
        correlation_id = shared_stage.new_id()
        shared_stage.answered(engine.run(verb, *arguments[verb], correlation_id=correlation_id))
        lines = [line.split()[0] for line in log_of(shared, correlation_id)]
        if verb == "delete_volume":
            assert lines == ["volume_trashed", "snapshot_trashed", "verb_done"]
        else:
            assert lines == ([event] if event else []) + ["verb_done"], verb
    correlation_id = shared_stage.new_id()
    refusals.of_verb(engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id))
    [line] = log_of(shared, correlation_id)
    assert line.startswith("verb_failed verb=connect_volume ")


def test_nothing_secret_is_anywhere(shared: Stage) -> None:
    """T75: neither token nor database password is in output, log, tags or table, after successes
    and failures."""
    outputs: list[bytes] = []
    engine = shared_stage.engine_with(shared)
    engine.observe = lambda result: outputs.append(result.output)
    shared_stage.every_verb(engine)
    disk = shared_stage.make_disk(engine)
    shared_stage.attach(shared, 1, disk)
    engine.run("create_volume", disk, "9")
    engine.options.update(sp_api_http_port="1", sp_deadline="1")
    engine.run("create_volume", shared_stage.new_id(), "1")
    engine.database_url = engine.database_url.replace(f"/{shared.database.name}", "/nowhere")
    engine.run("create_volume", shared_stage.new_id(), "1")
    logs = [path.read_text() for path in engine.log_folder.glob("**/*.log")]
    objects = json.dumps(
        [
            shared.simulator.api(query)
            for query in ("VolumesList", "SnapshotsList", "AttachmentsList")
        ]
        + [call["body"] for call in shared.simulator.calls()]
    )
    table = repr(shared_stage.rows(shared.database))
    assert logs
    assert len(outputs) == len(VERBS) + 4
    for text in (*map(repr, outputs), *logs, objects, table):
        assert shared.simulator.token not in text
        assert shared.database.login.password not in text


def test_the_token_may_be_in_a_file(shared: Stage) -> None:
    """D10: with sp_auth_token_file the token is in no argument list."""
    file = shared.folder / "token"
    file.write_text(f"{shared.simulator.token}\n")
    engine = shared_stage.engine_with(shared, sp_auth_token=None, sp_auth_token_file=str(file))
    assert shared.simulator.token not in "".join(
        engine.argv("storage_stats", "true", correlation_id="c")
    )
    shared_stage.answered(engine.run("storage_stats", "true"))


# storage_stats


@pytest.mark.parametrize("template", ["hybrid", None])
def test_storage_stats_are_numbers_at_top_level(shared: Stage, template: str | None) -> None:
    """T28: total and free are whole GiB at the top, with and without a template, and Engine's
    reader takes them."""
    stats = (
        shared_stage.engine_with(shared, sp_template=template).run("storage_stats", "true").map()
    )
    assert isinstance(stats["total_capacity_gb"], int)
    assert isinstance(stats["free_capacity_gb"], int)
    assert 0 < stats["free_capacity_gb"] <= stats["total_capacity_gb"]


def test_without_a_template_the_cluster_decides(shared: Stage) -> None:
    """A domain with host and token alone works, with the cluster's own default placement."""
    engine = shared_stage.engine_with(shared, sp_template=None, volume_backend_name=None)
    disk, clone = shared_stage.make_disk(engine), shared_stage.new_id()
    shared_stage.answered(engine.run("clone_volume", disk, clone))
    made = shared_stage.volumes(shared.simulator)
    assert (made[disk]["templateName"], made[clone]["templateName"]) == ("", "")


@pytest.mark.parametrize("has_placement", [True, False])
def test_a_domain_that_could_make_no_disk_is_refused(
    database: Database, shared: Stage, has_placement: bool
) -> None:
    """T28: without a template, on a cluster that needs one, storage_stats says so while the domain
    is added."""
    stage = make_stage(shared.folder, database, shared.simulator)
    engine = shared_stage.engine_with(stage, sp_template=None)
    shared.simulator.set_switches(default_placement=str(has_placement).lower())
    before = shared_stage.state(shared.simulator)
    for _ in range(2):
        shared.simulator.clear_calls()
        result = engine.run("storage_stats", "true")
        asked = [call["query"] for call in shared.simulator.calls()]
        if has_placement:
            shared_stage.answered(result)
            assert [each for each in asked if each in ("VolumeCreate", "VolumeDelete")] == [
                "VolumeCreate",
                "VolumeDelete",
            ]
        else:
            assert "sp_template is missing" in refusals.of_verb(result)
        assert shared_stage.state(shared.simulator) == before
        assert shared_stage.rows(database) == []
        assert shared_stage.sql(database, "SELECT * FROM storpool_ovirt.operation") == []
    if has_placement:
        shared_stage.make_disk(engine)
        shared.simulator.clear_calls()
        shared_stage.answered(engine.run("storage_stats", "true"))
        assert not [call for call in shared.simulator.calls() if "VolumeCreate" in call["query"]], (
            "a disk proves it"
        )


# The database


@pytest.fixture
def fresh(shared: Stage, database: Database) -> Stage:
    """Give the shared cluster with a database that no verb has seen yet."""
    return make_stage(shared.folder, database, shared.simulator)


def test_other_tables_and_schemas_are_left_alone(fresh: Stage) -> None:
    """Our tables live in a schema of their own; whatever else is in Engine's database stays as it
    is."""
    shared_stage.sql(
        fresh.database,
        "CREATE TABLE volumes (id text, node text); INSERT INTO volumes VALUES ('a', 'b')",
    )
    shared_stage.sql(fresh.database, "CREATE TABLE meta (version text)")
    shared_stage.sql(fresh.database, "CREATE SCHEMA cinder; CREATE TABLE cinder.node (uuid text)")
    made = (
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN "
    )
    listed = f"{made} ('pg_catalog', 'information_schema')"
    before = {*shared_stage.sql(fresh.database, listed)}
    shared_stage.make_disk(fresh.engine)
    told = "".join((*tables.MIGRATIONS, *tables.ADDITIONS))
    names = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?storpool_ovirt\.(\w+)", told)
    ours = {("storpool_ovirt", name) for name in names}
    assert {*shared_stage.sql(fresh.database, listed)} - before == ours
    assert shared_stage.sql(fresh.database, "SELECT * FROM volumes") == [("a", "b")]
    assert shared_stage.sql(fresh.database, "SELECT count(*) FROM meta") == [(0,)]


def test_first_use_by_many_processes_makes_the_tables_once(fresh: Stage) -> None:
    """Eight first verbs at once: all succeed, the tables were made once, all objects have one
    location."""
    disks = [shared_stage.new_id() for _ in range(8)]

    def create(disk: str) -> Callable[[], str]:
        return lambda: shared_stage.answered(fresh.engine.run("create_volume", disk, "1"))

    assert shared_stage.at_once(*map(create, disks)) == [""] * 8
    [(_, location)] = shared_stage.sql(
        fresh.database, "SELECT version, location FROM storpool_ovirt.meta"
    )
    assert re.fullmatch("[0-9a-f]{8}", location)
    made = shared_stage.volumes(fresh.simulator)
    assert {made[disk]["tags"]["ovirt-loc"] for disk in disks} == {location}


def test_the_password_has_every_character_that_breaks_urls(
    shared: Stage, database_server: Database
) -> None:
    """8.8: Engine quotes nothing; a password with `@`, `:`, `/` and `%` works, and is not
    percent-decoded."""
    if database_server.owned:
        assert all(character in shared.database.login.password for character in "@:/%")
    assert shared.database.login.password in shared.engine.database_url
    shared_stage.answered(shared.engine.run("storage_stats", "true"))


# Data


def test_a_new_volume_reads_zeros_where_a_deleted_one_was(shared: Stage) -> None:
    """T27: what one disk wrote is never seen in the next one."""
    disk = shared_stage.make_disk(shared.engine)
    device = shared_stage.attach(shared, 1, disk)
    shared_stage.write(device, b"secret" * 1000)
    assert shared_stage.read(device, 6) == b"secret"
    shared_stage.answered(shared.engine.run("delete_volume", disk))
    assert shared_stage.attached(shared.simulator) == {
        row for row in shared_stage.attached(shared.simulator) if disk not in row
    }
    device = shared_stage.attach(shared, 1, shared_stage.make_disk(shared.engine))
    assert not any(shared_stage.read(device, 1 << 20))


def test_the_two_verbs_that_do_nothing_do_nothing(shared: Stage, tree: Tree) -> None:
    """T69, T70: disconnect_volume and save_device change nothing in cluster and mapping, attached
    or not."""
    shared_stage.attach(shared, 1, tree.disk)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    shared.simulator.clear_calls()
    for verb in IDLE:
        shared_stage.answered(shared.engine.run(verb, *shared_stage.verb_arguments(tree)[verb]))
    assert shared.simulator.calls() == []
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def global_ids(simulator: Simulator) -> set[str]:
    """Return the global ids of everything."""
    return {
        each["globalId"]
        for kind in (shared_stage.volumes(simulator), shared_stage.snapshots(simulator))
        for each in kind.values()
    }


def test_two_creates_of_one_id_at_once_make_one_volume(shared: Stage) -> None:
    """T19, T61: two callers with one id: one waits for the other, both tell the truth, and one
    volume exists."""
    disk, before = shared_stage.new_id(), global_ids(shared.simulator)
    shared.simulator.inject("delay", query="VolumeCreate", seconds=0.3)
    run = shared.engine.run
    same = shared_stage.at_once(
        lambda: run("create_volume", disk, "1"), lambda: run("create_volume", disk, "1")
    )
    assert [shared_stage.answered(result) for result in same] == ["", ""]
    assert len(global_ids(shared.simulator) - before) == 1
    disk = shared_stage.new_id()
    results = shared_stage.at_once(
        lambda: run("create_volume", disk, "1"), lambda: run("create_volume", disk, "2")
    )
    assert sorted(result.returncode or 0 for result in results) == [0, 1]
    [won] = [result for result in results if result.returncode == 0]
    assert (
        shared_stage.volumes(shared.simulator)[disk]["size"]
        == int(won.arguments[1]) * shared_stage.GIB
    )
    assert len(global_ids(shared.simulator) - before) == 2


def test_many_clones_of_one_template_at_once(shared: Stage) -> None:
    """1.9: VMs that are made of one template at once do not wait for each other, nor does who only
    reads wait."""
    template, clones = (
        shared_stage.make_disk(shared.engine),
        [shared_stage.new_id() for _ in range(3)],
    )
    run = shared.engine.run

    def release() -> None:
        wait_for_call(shared, "VolumeCreate", times=3)
        shared_stage.answered(run("get_connection_info", template))
        shared.simulator.clear_faults()

    shared.simulator.clear_calls()
    shared.simulator.inject("delay", query="VolumeCreate", seconds=60, times=3)
    jobs = [partial(run, "clone_volume", template, clone) for clone in clones]
    *made, _ = shared_stage.at_once(*jobs, release)
    assert [shared_stage.answered(result) for result in made if result] == [""] * 3
    assert {*clones} <= {*shared_stage.volumes(shared.simulator)}
