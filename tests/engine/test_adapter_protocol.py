"""storpool-adapter run as Engine runs it: bytes, exit codes and API calls of every verb, its
repeats and its odd ids.

Deletes are in test_adapter_protocol_delete.py, faults in test_adapter_protocol_faults.py, log,
secrets and tables in test_adapter_protocol_traces.py, bad input in test_adapter.py.
"""

from __future__ import annotations

import json
import uuid

import pytest

from rigs import refusals, shared_stage
from rigs.shared_stage import Tree
from rigs.stage_fixtures import Stage

REAL_STARTS = True  # what Engine starts, from the first line on
NOWHERE = "77777777-7777-4777-8777-777777777777"  # an id that nobody has

BUDGET: dict[str, list[str]] = {
    "create_volume": ["VolumeCreate"],
    # into the trash
    "delete_volume": "KV/Set Volume AttachmentsList VolumeSnapshot Snapshot VolumeDelete".split(),
    "connect_volume": ["Volume"],
    "disconnect_volume": [],
    "extend_volume": ["KV/Set", "Volume", "VolumeUpdate"],
    "save_device": [],
    "get_connection_info": ["Volume"],
    "storage_stats": ["VolumeTemplatesStatus", "KV/Get"],
    "clone_volume": ["KV/Set", "Volume", "VolumeCreate"],
    "create_snapshot": ["KV/Set", "Volume", "VolumeSnapshot"],
    "remove_snapshot": ["KV/Set", "Snapshot", "SnapshotDelete"],
    # The second look is at the volume that it replaces, which may have a class and name a VM
    "create_volume_from_snapshot": ["KV/Set", "Snapshot", "Volume", "VolumeCreate"],
}


@pytest.mark.parametrize("verb", BUDGET)
def test_success_is_one_line_and_few_calls(shared: Stage, verb: str) -> None:
    """T74: `<correlation id>:<payload>` and nothing else, with the API calls of the budget and not
    one more."""
    arguments = shared_stage.plain_arguments(shared.engine, verb)
    for once in (
        ("storage_stats", "true"),
        ("delete_volume", shared_stage.new_id()),
    ):  # what is done once in a cluster is done
        shared_stage.answered(shared.engine.run(*once))
    shared_stage.queries(shared.simulator)
    payload = shared_stage.answered(shared.engine.run(verb, *arguments))
    assert shared_stage.queries(shared.simulator) == BUDGET[verb]
    if verb in ("create_snapshot", "create_volume_from_snapshot"):
        assert str(uuid.UUID(payload)) == payload
    elif verb in ("connect_volume", "get_connection_info"):
        assert set(json.loads(payload)) == {"adapter", "driver_volume_type", "data"}
    elif verb == "storage_stats":
        assert json.loads(payload)["total_capacity_gb"] > 0
    else:
        assert payload == ""


@pytest.mark.parametrize(
    "options",
    [{"sp_cluster_id": "sim.a"}, {"sp_multicluster": "true", "sp_cluster_id": "sim.a"}],
    ids="+".join,
)
def test_every_verb_works_with_the_right_pin_and_in_a_multi_cluster(
    shared: Stage, options: dict[str, str]
) -> None:
    """T77: with the right sp_cluster_id and with sp_multicluster nothing changes but the path of
    the calls."""
    engine = shared_stage.engine_with(shared, **options)
    shared_stage.every_verb(engine)
    paths = [call["path"] for call in shared.simulator.calls()]
    assert paths
    assert all("/RemoteCommand/~sim.a/" in path for path in paths)
    forms = {call["query"] for call in shared.simulator.calls() if "/MultiCluster/" in call["path"]}
    assert ({"VolumeCreate", "VolumeSnapshot", "VolumeUpdate", "VolumeDelete"} <= forms) == (
        "sp_multicluster" in options
    )


# Connection info


def test_connection_info_is_the_same_for_ever(shared: Stage) -> None:
    """Vdsm compares it with what it stored: equal from each host, after extend, snapshot and
    preview, and as texts."""
    disk = shared_stage.make_disk(shared.engine)
    payloads = [
        shared_stage.answered(
            shared.engine.run("connect_volume", disk, json.dumps(host.connector_info))
        )
        for host in shared.hosts.values()
    ]
    payloads.append(shared_stage.answered(shared.engine.run("connect_volume", disk, "null")))
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    shared.engine.run("create_volume_from_snapshot", disk, snapshot).require()
    shared_stage.attach(shared, 1, disk)
    shared.engine.run("extend_volume", disk, "2").require()
    payloads.append(shared_stage.answered(shared.engine.run("connect_volume", disk, "{}")))
    payloads.append(shared_stage.answered(shared.engine.run("get_connection_info", disk)))
    assert set(payloads) == {payloads[0]}
    info = json.loads(payloads[0])
    global_id = shared_stage.volumes(shared.simulator)[disk]["globalId"]
    assert info == {
        "adapter": "storpool",
        "driver_volume_type": "storpool",
        "data": {"volume": disk, "global_id": global_id, "access_mode": "rw"},
    }
    assert all(isinstance(value, str) for value in info["data"].values())


def test_connection_info_survives_a_restart_of_the_cluster(shared: Stage, tree: Tree) -> None:
    """The same volume has the same connection info after StorPool's management was killed and
    started again."""
    before = shared_stage.answered(shared.engine.run("connect_volume", tree.disk, "{}"))
    shared.simulator.kill()
    shared.simulator.start()
    assert shared_stage.answered(shared.engine.run("connect_volume", tree.disk, "{}")) == before


def test_connect_changes_nothing_in_the_cluster(shared: Stage, tree: Tree) -> None:
    """The host attaches, Engine only describes: connect_volume writes at most the barrier, a key of
    ours."""
    before = shared_stage.state(shared.simulator)
    shared_stage.connection_info(shared, tree.disk)
    assert shared_stage.connection_info(shared, tree.snapshot)["data"]["access_mode"] == "ro"
    assert shared_stage.state(shared.simulator) == before
    assert shared_stage.writes(shared.simulator) == []


# Repeats


def test_the_same_create_again_is_one_volume(shared: Stage) -> None:
    """T1, T22: same id and size succeeds each time, and the volume is listed once, with size,
    template and tags."""
    disk = shared_stage.new_id()
    for _ in range(3):
        assert shared_stage.answered(shared.engine.run("create_volume", disk, "3")) == ""
    [entry] = [
        each for each in shared_stage.volumes(shared.simulator).values() if disk in each["name"]
    ]
    assert (entry["name"], entry["size"], entry["templateName"]) == (
        f"ovirt--{disk}",
        3 * shared_stage.GIB,
        "hybrid",
    )
    assert set(entry["tags"]) == {"virt", "ovirt-uuid", "ovirt-loc"}
    shared_stage.answered(shared.engine.run("delete_volume", disk))
    assert disk not in shared_stage.volumes(shared.simulator)


def test_the_same_id_with_another_size_is_refused(shared: Stage) -> None:
    """T2: another size under the same id fails, larger or smaller, and nothing has changed."""
    disk = shared_stage.make_disk(shared.engine, 2)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    for size in ("1", "3"):
        assert "size" in refusals.of_verb(shared.engine.run("create_volume", disk, size))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def test_an_id_that_a_clone_has_is_refused_and_the_other_way_round(shared: Stage) -> None:
    """T2: the same id made in another way (empty, from another source) is a conflict; the same
    clone is a success."""
    first, second, clone = (
        shared_stage.make_disk(shared.engine),
        shared_stage.make_disk(shared.engine),
        shared_stage.new_id(),
    )
    for _ in range(2):
        assert shared_stage.answered(shared.engine.run("clone_volume", first, clone)) == ""
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    refusals.of_verb(shared.engine.run("clone_volume", second, clone))
    refusals.of_verb(shared.engine.run("create_volume", clone, "1"))
    refusals.of_verb(shared.engine.run("clone_volume", first, second))
    refusals.of_verb(shared.engine.run("clone_volume", first, first))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def test_the_same_clone_again_after_its_source_has_grown(shared: Stage) -> None:
    """T1: "same" is the same source and the same new id; that the source is larger now makes it no
    other clone."""
    source, clone = shared_stage.make_disk(shared.engine), shared_stage.new_id()
    shared_stage.answered(shared.engine.run("clone_volume", source, clone))
    shared_stage.answered(shared.engine.run("extend_volume", source, "2"))
    assert shared_stage.answered(shared.engine.run("clone_volume", source, clone)) == ""
    assert shared_stage.volumes(shared.simulator)[clone]["size"] == shared_stage.GIB


def test_extend_to_the_same_size_succeeds_and_to_a_smaller_one_fails(shared: Stage) -> None:
    """T20: expand is idempotent, shrink is refused and changes nothing."""
    disk = shared_stage.make_disk(shared.engine, 2)
    for size in ("2", "4", "4"):
        assert shared_stage.answered(shared.engine.run("extend_volume", disk, size)) == ""
    assert "shrink" in refusals.of_verb(shared.engine.run("extend_volume", disk, "3"))
    assert shared_stage.volumes(shared.simulator)[disk]["size"] == 4 * shared_stage.GIB


def test_unknown_ids(shared: Stage) -> None:
    """T3, T7, T14, T18, T70: success where the aim is reached anyway, one sentence elsewhere;
    nothing is made."""
    disk = shared_stage.make_disk(shared.engine)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    for verb, arguments in {
        "delete_volume": [NOWHERE],
        "remove_snapshot": [NOWHERE, disk],
        "disconnect_volume": [NOWHERE],
        "save_device": [NOWHERE, "{}"],
    }.items():
        assert shared_stage.answered(shared.engine.run(verb, *arguments)) == "", verb
    for verb, arguments in {
        "connect_volume": [NOWHERE, "{}"],
        "get_connection_info": [NOWHERE],
        "extend_volume": [NOWHERE, "2"],
        "clone_volume": [NOWHERE, shared_stage.new_id()],
        "create_snapshot": [NOWHERE],
        "create_volume_from_snapshot": [disk, NOWHERE],
    }.items():
        assert NOWHERE in refusals.of_verb(shared.engine.run(verb, *arguments)), verb
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


# Sizes


@pytest.mark.parametrize("size_gib", [1, 7, 100, 2048])
def test_sizes_are_whole_gib(shared: Stage, size_gib: int) -> None:
    """T82: what Engine calls n GiB has n * 2^30 bytes, for a create and for an extend: never
    less."""
    disk = shared_stage.make_disk(shared.engine, size_gib)
    assert shared_stage.volumes(shared.simulator)[disk]["size"] == size_gib * shared_stage.GIB
    shared.engine.run("extend_volume", disk, str(size_gib + 1)).require()
    assert shared_stage.volumes(shared.simulator)[disk]["size"] == (size_gib + 1) * shared_stage.GIB


def test_what_is_made_from_something_is_not_smaller(shared: Stage) -> None:
    """T6, T82: a clone has its source's size; a preview has the disk's, also where the snapshot is
    older than that."""
    disk = shared_stage.make_disk(shared.engine)
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    shared.engine.run("extend_volume", disk, "3").require()
    clone, old_clone = shared_stage.new_id(), shared_stage.new_id()
    shared.engine.run("clone_volume", disk, clone).require()
    shared.engine.run("clone_volume", snapshot, old_clone).require()
    preview = shared.engine.run("create_volume_from_snapshot", disk, snapshot).guid()
    sizes = {
        name: each["size"] // shared_stage.GIB
        for name, each in shared_stage.volumes(shared.simulator).items()
    }
    assert (sizes[clone], sizes[old_clone], sizes[preview]) == (3, 1, 3)


# Any id in any place


def test_any_node_of_a_tree_in_any_place(shared: Stage) -> None:
    """D2: the id alone decides, whatever stands beside it and whatever Engine calls it: disk,
    snapshot, preview."""
    engine, cluster = shared.engine, shared.simulator
    tree, other = shared_stage.make_tree(engine), shared_stage.make_disk(engine)
    for node, mode in ((tree.disk, "rw"), (tree.preview, "rw"), (tree.snapshot, "ro")):
        assert shared_stage.connection_info(shared, node)["data"]["access_mode"] == mode
    for node in (tree.preview, tree.snapshot):
        clone = shared_stage.new_id()
        shared_stage.answered(engine.run("clone_volume", node, clone))
        assert shared_stage.volumes(cluster)[clone]["size"] == shared_stage.GIB
    of_preview = engine.run("create_snapshot", tree.preview).guid()
    made = [
        engine.run("create_volume_from_snapshot", *ids).guid()
        for ids in ((tree.disk, of_preview), (NOWHERE, of_preview), (other, tree.preview))
    ]
    assert set(made) <= {*shared_stage.volumes(cluster)}
    refusals.of_verb(
        engine.run("remove_snapshot", made[-1], other)
    )  # the volume that the VM writes
    shared_stage.answered(engine.run("delete_volume", made[-1]))
    for node in (made[0], of_preview):
        shared_stage.answered(engine.run("remove_snapshot", node, other))
    assert made[1] in shared_stage.volumes(cluster), "now this is the one that the VM writes"
    shared_stage.answered(engine.run("delete_volume", made[1]))
    assert not {*made, of_preview} & {
        *shared_stage.volumes(cluster),
        *shared_stage.snapshots(cluster),
    }
    assert {tree.disk, tree.preview, tree.snapshot, other} <= {
        *shared_stage.volumes(cluster),
        *shared_stage.snapshots(cluster),
    }


def test_what_makes_no_sense_for_a_node_is_refused(shared: Stage, tree: Tree) -> None:
    """A snapshot does not grow and is not snapshotted; a disk's active volume does not go by
    remove_snapshot."""
    plain = shared_stage.make_disk(shared.engine)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    refusals.of_verb(shared.engine.run("extend_volume", tree.snapshot, "5"))
    refusals.of_verb(shared.engine.run("create_snapshot", tree.snapshot))
    refusals.of_verb(shared.engine.run("remove_snapshot", plain, plain))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def test_extend_by_the_disks_id_grows_the_active_volume(shared: Stage) -> None:
    """Engine names the disk after a preview too: the previewed volume grows, and after an undo the
    old one."""
    tree = shared_stage.make_tree(shared.engine)
    shared.engine.run("extend_volume", tree.disk, "2").require()
    sizes = {
        name: each["size"] // shared_stage.GIB
        for name, each in shared_stage.volumes(shared.simulator).items()
    }
    assert (sizes[tree.disk], sizes[tree.preview]) == (1, 2)
    shared.engine.run("delete_volume", tree.preview).require()
    shared.engine.run("extend_volume", tree.disk, "3").require()
    assert shared_stage.volumes(shared.simulator)[tree.disk]["size"] == 3 * shared_stage.GIB


@pytest.mark.parametrize(("hosts", "down"), [((1,), ()), ((1, 2), ()), ((1,), (2,))])
def test_extend_of_an_attached_disk(
    shared: Stage, hosts: tuple[int, ...], down: tuple[int, ...]
) -> None:
    """T38: the devices have the new size when the verb ends; three calls, and at most one more for
    each attached host.

    A host that is down, as hosts are in maintenance, and does not have the disk, costs nothing.
    """
    disk = shared_stage.make_disk(shared.engine)
    devices = [shared_stage.attach(shared, host, disk) for host in hosts]
    for host in down:
        shared.simulator.set_client(host, status="down")
    shared_stage.queries(shared.simulator)
    shared_stage.answered(shared.engine.run("extend_volume", disk, "2"))
    asked = shared_stage.queries(shared.simulator)
    assert asked[:3] == ["KV/Set", "Volume", "VolumeUpdate"]
    assert len(asked) <= 3 + len(hosts)
    for device in devices:
        with device.open("rb") as opened:
            assert opened.seek(0, 2) == 2 * shared_stage.GIB
