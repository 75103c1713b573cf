"""storpool-adapter run as Engine runs it: bytes, exit codes and API calls of every verb, its repeats and its odd ids.

Deletes are in test_engine_protocol_delete.py, faults in test_engine_protocol_faults.py, bad input in
test_engine_adapter.py.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable

import pytest
from shared_stage import (
    GIB,
    IDLE,
    Tree,
    answered,
    at_once,
    attach,
    attached,
    connection_info,
    engine_with,
    make_disk,
    make_tree,
    new_id,
    plain_arguments,
    queries,
    read,
    refused,
    rows,
    snapshots,
    sql,
    state,
    verb_arguments,
    volumes,
    write,
)  # fmt: skip
from stage_fixtures import Stage

from storpool_ovirt.demo.database import Database
from storpool_ovirt.demo.engine import Engine
from storpool_ovirt.demo.simulator import Simulator

NOWHERE = "77777777-7777-4777-8777-777777777777"  # an id that nobody has

BUDGET: dict[str, list[str]] = {
    "create_volume": ["VolumeCreate"],
    "delete_volume": ["Volume", "VolumeDelete"],
    "connect_volume": ["Volume"],
    "disconnect_volume": [],
    "extend_volume": ["VolumeUpdate"],
    "save_device": [],
    "get_connection_info": ["Volume"],
    "storage_stats": ["VolumeTemplatesStatus"],
    "clone_volume": ["VolumeCreate"],
    "create_snapshot": ["VolumeSnapshot"],
    "remove_snapshot": ["SnapshotDelete"],
    "create_volume_from_snapshot": ["VolumeCreate"],
}


@pytest.mark.parametrize("verb", BUDGET)
def test_success_is_one_line_and_few_calls(shared: Stage, verb: str) -> None:
    """T74: `<correlation id>:<payload>` and nothing else, with the API calls of the budget and not one more."""
    arguments = plain_arguments(shared.engine, verb)
    queries(shared.simulator)
    payload = answered(shared.engine.run(verb, *arguments))
    assert queries(shared.simulator) == BUDGET[verb]
    if verb in ("create_snapshot", "create_volume_from_snapshot"):
        assert str(uuid.UUID(payload)) == payload
    elif verb in ("connect_volume", "get_connection_info"):
        assert set(json.loads(payload)) == {"adapter", "driver_volume_type", "data"}
    elif verb == "storage_stats":
        assert json.loads(payload)["total_capacity_gb"] > 0
    else:
        assert payload == ""


def every_verb(engine: Engine) -> None:
    """Run each of the twelve verbs once, with success: a disk's whole life."""
    disk = new_id()
    tree = Tree(disk, "", "")
    answered(engine.run("create_volume", disk, "1"))
    tree = Tree(disk, engine.run("create_snapshot", disk).guid(), "")
    first = ("create_volume", "create_snapshot")
    last = ("remove_snapshot", "delete_volume")
    for verb in (*(verb for verb in BUDGET if verb not in first + last), *last):
        answered(engine.run(verb, *verb_arguments(tree)[verb]))


@pytest.mark.parametrize(
    "options",
    [{"sp_cluster_id": "sim.a"}, {"sp_multicluster": "true", "sp_cluster_id": "sim.a"}],
    ids="+".join,
)
def test_every_verb_works_with_the_right_pin_and_in_a_multi_cluster(shared: Stage, options: dict[str, str]) -> None:
    """T77: with the right sp_cluster_id and with sp_multicluster nothing changes but the path of the calls."""
    engine = engine_with(shared, **options)
    every_verb(engine)
    paths = [call["path"] for call in shared.simulator.calls()]
    assert paths
    assert all("/RemoteCommand/~sim.a/" in path for path in paths)
    forms = {call["query"] for call in shared.simulator.calls() if "/MultiCluster/" in call["path"]}
    assert ({"VolumeCreate", "VolumeSnapshot", "VolumeUpdate", "VolumeDelete"} <= forms) == (
        "sp_multicluster" in options
    )


# Connection info


def test_connection_info_is_the_same_for_ever(shared: Stage) -> None:
    """Vdsm compares it with what it stored: equal from each host, after extend, snapshot and preview, and as texts."""
    disk = make_disk(shared.engine)
    payloads = [
        answered(shared.engine.run("connect_volume", disk, json.dumps(host.connector_info)))
        for host in shared.hosts.values()
    ]
    payloads.append(answered(shared.engine.run("connect_volume", disk, "null")))
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    shared.engine.run("create_volume_from_snapshot", disk, snapshot).require()
    attach(shared, 1, disk)
    shared.engine.run("extend_volume", disk, "2").require()
    payloads.append(answered(shared.engine.run("connect_volume", disk, "{}")))
    payloads.append(answered(shared.engine.run("get_connection_info", disk)))
    assert set(payloads) == {payloads[0]}
    info = json.loads(payloads[0])
    global_id = volumes(shared.simulator)[disk]["globalId"]
    assert info == {
        "adapter": "storpool",
        "driver_volume_type": "storpool",
        "data": {"volume": disk, "global_id": global_id, "access_mode": "rw"},
    }
    assert all(isinstance(value, str) for value in info["data"].values())


def test_connection_info_survives_a_restart_of_the_cluster(stage: Stage) -> None:
    """The same volume has the same connection info after StorPool's management was killed and started again."""
    disk = make_disk(stage.engine)
    before = answered(stage.engine.run("connect_volume", disk, "{}"))
    stage.simulator.kill()
    stage.simulator.start()
    assert answered(stage.engine.run("connect_volume", disk, "{}")) == before


def test_connect_changes_nothing_in_the_cluster(shared: Stage, tree: Tree) -> None:
    """The host attaches, Engine only describes: connect_volume sends no write."""
    before = state(shared.simulator)
    connection_info(shared, tree.disk)
    assert connection_info(shared, tree.snapshot)["data"]["access_mode"] == "ro"
    assert state(shared.simulator) == before
    assert {call["method"] for call in shared.simulator.calls()} == {"GET"}


# Repeats


def test_the_same_create_again_is_one_volume(shared: Stage) -> None:
    """T1, T22: same id and size succeeds each time, and the volume is listed once, with size, template and tags."""
    disk = new_id()
    for _ in range(3):
        assert answered(shared.engine.run("create_volume", disk, "3")) == ""
    [entry] = [each for each in volumes(shared.simulator).values() if disk in each["name"]]
    assert (entry["name"], entry["size"], entry["templateName"]) == (f"ovirt--{disk}", 3 * GIB, "hybrid")
    assert set(entry["tags"]) == {"virt", "ovirt-uuid", "ovirt-loc"}
    answered(shared.engine.run("delete_volume", disk))
    assert disk not in volumes(shared.simulator)


def test_the_same_id_with_another_size_is_refused(shared: Stage) -> None:
    """T2: another size under the same id fails, larger or smaller, and nothing has changed."""
    disk = make_disk(shared.engine, 2)
    before = state(shared.simulator), rows(shared.database)
    for size in ("1", "3"):
        assert "size" in refused(shared.engine.run("create_volume", disk, size))
    assert (state(shared.simulator), rows(shared.database)) == before


def test_an_id_that_a_clone_has_is_refused_and_the_other_way_round(shared: Stage) -> None:
    """T2: the same id made in another way (empty, from another source) is a conflict; the same clone is a success."""
    first, second, clone = make_disk(shared.engine), make_disk(shared.engine), new_id()
    for _ in range(2):
        assert answered(shared.engine.run("clone_volume", first, clone)) == ""
    before = state(shared.simulator), rows(shared.database)
    refused(shared.engine.run("clone_volume", second, clone))
    refused(shared.engine.run("create_volume", clone, "1"))
    refused(shared.engine.run("clone_volume", first, second))
    refused(shared.engine.run("clone_volume", first, first))
    assert (state(shared.simulator), rows(shared.database)) == before


def test_extend_to_the_same_size_succeeds_and_to_a_smaller_one_fails(shared: Stage) -> None:
    """T20: expand is idempotent, shrink is refused and changes nothing."""
    disk = make_disk(shared.engine, 2)
    for size in ("2", "4", "4"):
        assert answered(shared.engine.run("extend_volume", disk, size)) == ""
    assert "shrink" in refused(shared.engine.run("extend_volume", disk, "3"))
    assert volumes(shared.simulator)[disk]["size"] == 4 * GIB


def test_unknown_ids(shared: Stage) -> None:
    """T3, T7, T14, T18, T70: success where the aim is reached anyway, one sentence elsewhere; nothing is made."""
    disk = make_disk(shared.engine)
    before = state(shared.simulator), rows(shared.database)
    for verb, arguments in {
        "delete_volume": [NOWHERE],
        "remove_snapshot": [NOWHERE, disk],
        "disconnect_volume": [NOWHERE],
        "save_device": [NOWHERE, "{}"],
    }.items():
        assert answered(shared.engine.run(verb, *arguments)) == "", verb
    for verb, arguments in {
        "connect_volume": [NOWHERE, "{}"],
        "get_connection_info": [NOWHERE],
        "extend_volume": [NOWHERE, "2"],
        "clone_volume": [NOWHERE, new_id()],
        "create_snapshot": [NOWHERE],
        "create_volume_from_snapshot": [disk, NOWHERE],
    }.items():
        assert NOWHERE in refused(shared.engine.run(verb, *arguments)), verb
    assert (state(shared.simulator), rows(shared.database)) == before


# Sizes


@pytest.mark.parametrize("size_gib", [1, 7, 100, 2048])
def test_sizes_are_whole_gib(shared: Stage, size_gib: int) -> None:
    """T82: what Engine calls n GiB has n * 2^30 bytes, for a create and for an extend: never less."""
    disk = make_disk(shared.engine, size_gib)
    assert volumes(shared.simulator)[disk]["size"] == size_gib * GIB
    shared.engine.run("extend_volume", disk, str(size_gib + 1)).require()
    assert volumes(shared.simulator)[disk]["size"] == (size_gib + 1) * GIB


def test_what_is_made_from_something_is_not_smaller(shared: Stage) -> None:
    """T6, T82: a clone has its source's size; a preview has the disk's, also where the snapshot is older than that."""
    disk = make_disk(shared.engine)
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    shared.engine.run("extend_volume", disk, "3").require()
    clone, old_clone = new_id(), new_id()
    shared.engine.run("clone_volume", disk, clone).require()
    shared.engine.run("clone_volume", snapshot, old_clone).require()
    preview = shared.engine.run("create_volume_from_snapshot", disk, snapshot).guid()
    sizes = {name: each["size"] // GIB for name, each in volumes(shared.simulator).items()}
    assert (sizes[clone], sizes[old_clone], sizes[preview]) == (3, 1, 3)


# Any id in any place


def test_any_node_of_a_tree_in_any_place(shared: Stage) -> None:
    """D2: the id alone decides, whatever stands beside it and whatever Engine calls it: disk, snapshot, preview."""
    engine, cluster = shared.engine, shared.simulator
    tree, other = make_tree(engine), make_disk(engine)
    for node, mode in ((tree.disk, "rw"), (tree.preview, "rw"), (tree.snapshot, "ro")):
        assert connection_info(shared, node)["data"]["access_mode"] == mode
    for node in (tree.preview, tree.snapshot):
        clone = new_id()
        answered(engine.run("clone_volume", node, clone))
        assert volumes(cluster)[clone]["size"] == GIB
    of_preview = engine.run("create_snapshot", tree.preview).guid()
    made = [
        engine.run("create_volume_from_snapshot", *ids).guid()
        for ids in ((tree.disk, of_preview), (NOWHERE, of_preview), (other, tree.preview))
    ]
    assert set(made) <= {*volumes(cluster)}
    for node in (*made, of_preview):
        answered(engine.run("remove_snapshot", node, other))
    assert not {*made, of_preview} & {*volumes(cluster), *snapshots(cluster)}
    assert {tree.disk, tree.preview, tree.snapshot, other} <= {*volumes(cluster), *snapshots(cluster)}


def test_what_makes_no_sense_for_a_node_is_refused(shared: Stage, tree: Tree) -> None:
    """A snapshot does not grow and is not snapshotted; a disk's active volume does not go by remove_snapshot."""
    plain = make_disk(shared.engine)
    before = state(shared.simulator), rows(shared.database)
    refused(shared.engine.run("extend_volume", tree.snapshot, "5"))
    refused(shared.engine.run("create_snapshot", tree.snapshot))
    refused(shared.engine.run("remove_snapshot", plain, plain))
    assert (state(shared.simulator), rows(shared.database)) == before


def test_extend_by_the_disks_id_grows_the_active_volume(shared: Stage) -> None:
    """Engine names the disk after a preview too: the previewed volume grows, and after an undo the old one."""
    tree = make_tree(shared.engine)
    shared.engine.run("extend_volume", tree.disk, "2").require()
    sizes = {name: each["size"] // GIB for name, each in volumes(shared.simulator).items()}
    assert (sizes[tree.disk], sizes[tree.preview]) == (1, 2)
    shared.engine.run("delete_volume", tree.preview).require()
    shared.engine.run("extend_volume", tree.disk, "3").require()
    assert volumes(shared.simulator)[tree.disk]["size"] == 3 * GIB


@pytest.mark.parametrize("hosts", [(1,), (1, 2)])
def test_extend_of_an_attached_disk(shared: Stage, hosts: tuple[int, ...]) -> None:
    """T38: the devices have the new size when the verb ends; one call, and at most one more for each attached host."""
    disk = make_disk(shared.engine)
    devices = [attach(shared, host, disk) for host in hosts]
    queries(shared.simulator)
    answered(shared.engine.run("extend_volume", disk, "2"))
    asked = queries(shared.simulator)
    assert asked[0] == "VolumeUpdate"
    assert len(asked) <= 1 + len(hosts)
    for device in devices:
        with device.open("rb") as opened:
            assert opened.seek(0, 2) == 2 * GIB


# Correlation ids, log, secrets


@pytest.mark.parametrize("correlation_id", ["-x", "--help", "_", "x" * 50, "0", "RestoreSnapshot"])
def test_any_correlation_id(shared: Stage, tree: Tree, correlation_id: str) -> None:
    """T74, T75: ids that look like options come back as they are, in front of an answer that Engine can read."""
    result = shared.engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id)
    assert json.loads(answered(result))["adapter"] == "storpool"
    assert result.map()["data"]["volume"] == tree.disk


@pytest.mark.parametrize("correlation_id", ["error", "error-77", "errors"])
def test_a_correlation_id_that_begins_with_error(shared: Stage, tree: Tree, correlation_id: str) -> None:
    """T75: Engine reads the payload whole, as for any other id, and no prefix of it twice."""
    result = shared.engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id)
    assert result.output.startswith(b"error:{")
    assert result.map()["data"]["volume"] == tree.disk
    assert shared.engine.run("create_snapshot", tree.disk, correlation_id=correlation_id).guid()


def log_of(stage: Stage, correlation_id: str) -> list[str]:
    """Return the log lines of one call, from their event on."""
    text = (stage.engine.log_folder / "managedblock" / "storpool-adapter.log").read_text()
    return [line.split(f" {correlation_id} ", 1)[1] for line in text.splitlines() if f" {correlation_id} " in line]


def test_each_change_is_one_line_in_the_log(shared: Stage) -> None:
    """One line for each change of the world, with the correlation id, and one that tells how the verb ended."""
    engine = shared.engine
    tree = Tree(new_id(), "", "")
    expected = {"create_volume": "volume_created", "create_snapshot": "snapshot_created",
                "extend_volume": "volume_extended", "clone_volume": "volume_created", "connect_volume": None,
                "storage_stats": None, "delete_volume": "volume_deleted"}  # fmt: skip
    arguments = {**verb_arguments(tree), "create_volume": (tree.disk, "1")}
    for verb, event in expected.items():
        correlation_id = new_id()
        answered(engine.run(verb, *arguments[verb], correlation_id=correlation_id))
        lines = [line.split()[0] for line in log_of(shared, correlation_id)]
        if verb == "delete_volume":
            assert lines == ["volume_deleted", "snapshot_deleted", "verb_done"]
        else:
            assert lines == ([event] if event else []) + ["verb_done"], verb
    correlation_id = new_id()
    refused(engine.run("connect_volume", tree.disk, "{}", correlation_id=correlation_id))
    [line] = log_of(shared, correlation_id)
    assert line.startswith("verb_failed verb=connect_volume ")


def test_nothing_secret_is_anywhere(stage: Stage) -> None:
    """T75: neither token nor database password is in output, log, tags or table, after successes and failures."""
    outputs: list[bytes] = []
    stage.engine.observe = lambda result: outputs.append(result.output)
    every_verb(stage.engine)
    disk = make_disk(stage.engine)
    attach(stage, 1, disk)
    stage.engine.run("create_volume", disk, "9")
    stage.engine.options["sp_api_http_port"] = "1"
    stage.engine.options["sp_deadline"] = "1"
    stage.engine.run("create_volume", new_id(), "1")
    stage.engine.database_url = stage.engine.database_url.replace(f"/{stage.database.name}", "/nowhere")
    stage.engine.run("create_volume", new_id(), "1")
    logs = [path.read_text() for path in stage.folder.glob("engine/log/**/*.log")]
    objects = json.dumps(
        [stage.simulator.api(query) for query in ("VolumesList", "SnapshotsList", "AttachmentsList")]
        + [call["body"] for call in stage.simulator.calls()]
    )
    table = repr(rows(stage.database))
    assert logs
    for text in (*map(repr, outputs), *logs, objects, table):
        assert stage.simulator.token not in text
        assert stage.database.password not in text


def test_the_token_may_be_in_a_file(shared: Stage) -> None:
    """D10: with sp_auth_token_file the token is in no argument list."""
    file = shared.folder / "token"
    file.write_text(f"{shared.simulator.token}\n")
    engine = engine_with(shared, sp_auth_token=None, sp_auth_token_file=str(file))
    assert shared.simulator.token not in "".join(engine.argv("storage_stats", "true", correlation_id="c"))
    answered(engine.run("storage_stats", "true"))


# storage_stats


@pytest.mark.parametrize("template", ["hybrid", None])
def test_storage_stats_are_numbers_at_top_level(shared: Stage, template: str | None) -> None:
    """T28: total and free are whole GiB at the top, with and without a template, and Engine's reader takes them."""
    stats = engine_with(shared, sp_template=template).run("storage_stats", "true").map()
    assert isinstance(stats["total_capacity_gb"], int)
    assert isinstance(stats["free_capacity_gb"], int)
    assert 0 < stats["free_capacity_gb"] <= stats["total_capacity_gb"]


def test_without_a_template_the_cluster_decides(shared: Stage) -> None:
    """A domain with host and token alone works, with the cluster's own default placement."""
    engine = engine_with(shared, sp_template=None, volume_backend_name=None)
    disk, clone = make_disk(engine), new_id()
    answered(engine.run("clone_volume", disk, clone))
    made = volumes(shared.simulator)
    assert (made[disk]["templateName"], made[clone]["templateName"]) == ("", "")


# The database


def test_other_tables_and_schemas_are_left_alone(stage: Stage) -> None:
    """Our tables live in a schema of their own; whatever else is in Engine's database stays as it is."""
    sql(stage.database, "CREATE TABLE volumes (id text, node text); INSERT INTO volumes VALUES ('a', 'b')")
    sql(stage.database, "CREATE TABLE meta (version text)")
    sql(stage.database, "CREATE SCHEMA cinder; CREATE TABLE cinder.node (uuid text)")
    made = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN "
    listed = f"{made} ('pg_catalog', 'information_schema')"
    before = {*sql(stage.database, listed)}
    make_disk(stage.engine)
    assert {*sql(stage.database, listed)} - before == {("storpool_ovirt", "meta"), ("storpool_ovirt", "node")}
    assert sql(stage.database, "SELECT * FROM volumes") == [("a", "b")]
    assert sql(stage.database, "SELECT count(*) FROM meta") == [(0,)]


def test_first_use_by_many_processes_makes_the_tables_once(stage: Stage) -> None:
    """Eight first verbs at once: all succeed, the tables were made once, all objects have one location."""
    disks = [new_id() for _ in range(8)]

    def create(disk: str) -> Callable[[], str]:
        return lambda: answered(stage.engine.run("create_volume", disk, "1"))

    assert at_once(*map(create, disks)) == [""] * 8
    [(_, location)] = sql(stage.database, "SELECT version, location FROM storpool_ovirt.meta")
    assert re.fullmatch("[0-9a-f]{8}", location)
    assert {each["tags"]["ovirt-loc"] for each in volumes(stage.simulator).values()} == {location}
    assert {*volumes(stage.simulator)} == {*disks}


def test_the_password_has_every_character_that_breaks_urls(shared: Stage, database_server: Database) -> None:
    """8.8: Engine quotes nothing; a password with `@`, `:`, `/` and `%` works, and is not percent-decoded."""
    if database_server.owned:
        assert all(character in shared.database.password for character in "@:/%")
    assert shared.database.password in shared.engine.database_url
    answered(shared.engine.run("storage_stats", "true"))


# Data


def test_a_new_volume_reads_zeros_where_a_deleted_one_was(shared: Stage) -> None:
    """T27: what one disk wrote is never seen in the next one."""
    disk = make_disk(shared.engine)
    device = attach(shared, 1, disk)
    write(device, b"secret" * 1000)
    assert read(device, 6) == b"secret"
    answered(shared.engine.run("delete_volume", disk))
    assert attached(shared.simulator) == {row for row in attached(shared.simulator) if disk not in row}
    device = attach(shared, 1, make_disk(shared.engine))
    assert not any(read(device, 1 << 20))


def test_the_two_verbs_that_do_nothing_do_nothing(shared: Stage, tree: Tree) -> None:
    """T69, T70: disconnect_volume and save_device change nothing in cluster and mapping, attached or not."""
    attach(shared, 1, tree.disk)
    before = state(shared.simulator), rows(shared.database)
    shared.simulator.clear_calls()
    for verb in IDLE:
        answered(shared.engine.run(verb, *verb_arguments(tree)[verb]))
    assert shared.simulator.calls() == []
    assert (state(shared.simulator), rows(shared.database)) == before


def global_ids(simulator: Simulator) -> set[str]:
    """Return the global ids of everything."""
    return {each["globalId"] for kind in (volumes(simulator), snapshots(simulator)) for each in kind.values()}


def test_two_creates_of_one_id_at_once_make_one_volume(shared: Stage) -> None:
    """T19, T61: two callers with one id: one waits for the other, both tell the truth, and one volume exists."""
    disk, before = new_id(), global_ids(shared.simulator)
    shared.simulator.inject("delay", query="VolumeCreate", seconds=0.3)
    run = shared.engine.run
    same = at_once(lambda: run("create_volume", disk, "1"), lambda: run("create_volume", disk, "1"))
    assert [answered(result) for result in same] == ["", ""]
    assert len(global_ids(shared.simulator) - before) == 1
    disk = new_id()
    results = at_once(lambda: run("create_volume", disk, "1"), lambda: run("create_volume", disk, "2"))
    assert sorted(result.returncode or 0 for result in results) == [0, 1]
    [won] = [result for result in results if result.returncode == 0]
    assert volumes(shared.simulator)[disk]["size"] == int(won.arguments[1]) * GIB
    assert len(global_ids(shared.simulator) - before) == 2
