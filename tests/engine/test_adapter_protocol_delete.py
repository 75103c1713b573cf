"""storpool-adapter's deletes: what goes with a disk, what stays, who is never asked to let go by
force.

The verbs' bytes and budgets are in test_adapter_protocol.py.
"""

from __future__ import annotations

import pytest

from ovirt_demo.simulator import Simulator
from rigs import refusals, shared_stage
from rigs.stage_fixtures import Stage, opened


def nothing_forced(simulator: Simulator) -> bool:
    """Tell whether no call of any kind carried force."""
    return not any(
        "'force': True" in str(call["body"]) or "orce" in str(call["path"])
        for call in simulator.calls()
    )


def global_id(stage: Stage, node: str) -> str:
    """Return the global id of a volume or snapshot."""
    found: str = {
        **shared_stage.volumes(stage.simulator),
        **shared_stage.snapshots(stage.simulator),
    }[node]["globalId"]
    return found


def declare_open(stage: Stage, client_id: int, node: str) -> None:
    """Have a device count as open on a host, without a process that holds it."""
    stage.simulator.set_client(client_id, open=[global_id(stage, node)])


def host_names(stage: Stage) -> dict[str, str]:
    """Give Engine's machine a storpool.conf that names the hosts, and return the environment for
    it."""
    root = stage.folder / "engine-root"
    (root / "etc").mkdir(parents=True, exist_ok=True)
    sections = "".join(
        f"[host{client_id}.example]\nSP_OURID={client_id}\n" for client_id in stage.hosts
    )
    (root / "etc" / "storpool.conf").write_text(sections)
    return {"STORPOOL_OVIRT_ROOT": str(root)}


def test_a_disk_goes_with_its_whole_tree(shared: Stage) -> None:
    """D2, T10, T37: delete_volume of the disk removes its snapshots and previews, and nothing of
    other disks."""
    kept, tree = shared_stage.make_tree(shared.engine), shared_stage.make_tree(shared.engine)
    clone = shared_stage.new_id()
    shared.engine.run("clone_volume", tree.snapshot, clone).require()
    shared.engine.run("create_snapshot", tree.preview).require()
    before = {*shared_stage.volumes(shared.simulator), *shared_stage.snapshots(shared.simulator)}
    assert shared_stage.answered(shared.engine.run("delete_volume", tree.disk)) == ""
    left = {*shared_stage.volumes(shared.simulator), *shared_stage.snapshots(shared.simulator)}
    assert {tree.disk, tree.snapshot, tree.preview} <= before - left
    assert len(before - left) == 4
    assert {clone, kept.disk, kept.snapshot, kept.preview} <= left
    assert not [row for row in shared_stage.rows(shared.database) if tree.disk in row]
    assert shared_stage.answered(shared.engine.run("delete_volume", tree.disk)) == ""


def test_an_undo_takes_the_preview_alone(shared: Stage) -> None:
    """D2, T8: delete_volume of a preview removes that volume only, twice if it is said twice."""
    tree = shared_stage.make_tree(shared.engine)
    for _ in range(2):
        assert shared_stage.answered(shared.engine.run("delete_volume", tree.preview)) == ""
    assert tree.preview not in shared_stage.volumes(shared.simulator)
    assert tree.disk in shared_stage.volumes(shared.simulator)
    assert tree.snapshot in shared_stage.snapshots(shared.simulator)


def test_a_closed_device_is_let_go(shared: Stage) -> None:
    """T9: a leaked attachment does not keep a disk: closed devices are detached everywhere, without
    force."""
    disk = shared_stage.make_disk(shared.engine)
    devices = [shared_stage.attach(shared, client_id, disk) for client_id in shared.hosts]
    shared.simulator.clear_calls()
    correlation_id = shared_stage.new_id()
    assert (
        shared_stage.answered(
            shared.engine.run("delete_volume", disk, correlation_id=correlation_id)
        )
        == ""
    )
    assert disk not in shared_stage.volumes(shared.simulator)
    assert not any(device.exists() for device in devices)
    assert nothing_forced(shared.simulator)
    log = (shared.engine.log_folder / "managedblock/storpool-adapter.log").read_text()
    assert log.count(f" {correlation_id} released ") == 2


@pytest.mark.parametrize("named", [False, True])
def test_an_open_device_refuses_the_delete(shared: Stage, named: bool) -> None:
    """T9: while a process holds the device nothing changes anywhere, and the sentence names the
    host."""
    disk = shared_stage.make_disk(shared.engine)
    engine = shared_stage.engine_with(shared)
    engine.environment.update(host_names(shared) if named else {})
    device = shared_stage.attach(shared, 2, disk)
    shared_stage.attach(shared, 1, disk)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    with opened(device):
        sentence = refusals.of_verb(engine.run("delete_volume", disk))
        assert ("client 2 (host2.example)" if named else "client 2") in sentence
        assert "client 1" not in sentence
        assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before
        assert device.exists()
    assert nothing_forced(shared.simulator)
    assert shared_stage.answered(engine.run("delete_volume", disk)) == ""


@pytest.mark.parametrize(
    ("node", "busy_error"),
    [("disk", "busy"), ("preview", "invalidParam"), ("disk", "preconditionViolation")],
)
def test_an_open_device_anywhere_in_the_tree_keeps_all_of_it(
    shared: Stage, node: str, busy_error: str
) -> None:
    """T9: one volume of a tree is open: volumes and snapshots all stay, older releases' error name
    or newer."""
    shared.simulator.set_switches(busy_error=busy_error)
    tree = shared_stage.make_tree(shared.engine)
    volume: str = getattr(tree, node)
    shared_stage.attach(shared, 1, volume)
    declare_open(shared, 1, volume)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    assert "client 1" in refusals.of_verb(shared.engine.run("delete_volume", tree.disk))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def test_an_open_snapshot_keeps_all_of_its_disk(shared: Stage) -> None:
    """T9, T18: a snapshot that a host reads from keeps the disk whole; alone it is refused too, and
    the host named."""
    disk = shared_stage.make_disk(shared.engine)
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    shared_stage.attach(shared, 2, snapshot)
    declare_open(shared, 2, snapshot)
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    assert "client 2" in refusals.of_verb(shared.engine.run("remove_snapshot", snapshot, disk))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before
    assert "client 2" in refusals.of_verb(shared.engine.run("delete_volume", disk))
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before


def test_an_attached_snapshot_that_is_closed_goes(shared: Stage) -> None:
    """T9, T18: a leaked read-only attachment of a snapshot does not keep it."""
    tree = shared_stage.make_tree(shared.engine)
    shared_stage.attach(shared, 1, tree.snapshot)
    assert (
        shared_stage.answered(shared.engine.run("remove_snapshot", tree.snapshot, tree.disk)) == ""
    )
    assert tree.snapshot not in shared_stage.snapshots(shared.simulator)
    assert nothing_forced(shared.simulator)


def test_deletes_at_once_all_succeed(shared: Stage) -> None:
    """T8, T19: a verb and its timed-out predecessor overlap: both deletes succeed, also of a part
    of the tree."""
    tree = shared_stage.make_tree(shared.engine)
    shared.simulator.inject("delay", query="VolumeDelete", seconds=0.5)
    run = shared.engine.run
    results = shared_stage.at_once(
        lambda: run("delete_volume", tree.disk),
        lambda: run("delete_volume", tree.disk),
        lambda: run("remove_snapshot", tree.snapshot, tree.disk),
        lambda: run("delete_volume", tree.preview),
    )
    assert [shared_stage.answered(result) for result in results] == [""] * 4
    assert not {tree.disk, tree.snapshot, tree.preview} & {
        *shared_stage.volumes(shared.simulator),
        *shared_stage.snapshots(shared.simulator),
    }


def test_an_id_that_is_deleted_may_be_created_again(shared: Stage) -> None:
    """A disk that is gone leaves nothing behind that would refuse its id."""
    disk = shared_stage.make_disk(shared.engine)
    first = global_id(shared, disk)
    shared_stage.answered(shared.engine.run("delete_volume", disk))
    shared_stage.answered(shared.engine.run("create_volume", disk, "2"))
    assert global_id(shared, disk) != first


def test_a_delete_that_was_cut_short_is_finished_by_its_repetition(shared: Stage) -> None:
    """D3: the API goes away in the middle of a tree's delete: the sentence says so, and once more
    finishes it."""
    tree = shared_stage.make_tree(shared.engine)
    engine = shared_stage.engine_with(shared, sp_deadline="2")
    shared.simulator.inject("hang", query="SnapshotUpdate", times=100)
    refusals.of_verb(engine.run("delete_volume", tree.disk))
    shared.simulator.clear_faults()
    assert shared_stage.answered(engine.run("delete_volume", tree.disk)) == ""
    assert not {tree.disk, tree.snapshot, tree.preview} & {
        *shared_stage.volumes(shared.simulator),
        *shared_stage.snapshots(shared.simulator),
    }
    assert not [row for row in shared_stage.rows(shared.database) if tree.disk in row]


def test_what_is_gone_from_the_cluster_is_forgotten(shared: Stage) -> None:
    """T7: somebody deleted a disk's volume and snapshot by hand: the verb is a success and its rows
    go."""
    tree = shared_stage.make_tree(shared.engine)
    for query, node in (("VolumeDelete", tree.disk), ("SnapshotDelete", tree.snapshot)):
        shared_stage.post(shared.simulator, f"{query}/~{global_id(shared, node)}", {})
    assert shared_stage.answered(shared.engine.run("delete_volume", tree.disk)) == ""
    assert tree.preview not in shared_stage.volumes(shared.simulator)
    assert not [row for row in shared_stage.rows(shared.database) if tree.disk in row]


# Whose is it (T76)


def test_a_volume_whose_tags_were_changed_is_not_deleted(shared: Stage) -> None:
    """T76: an object that somebody has made his own, by any tag, is left alone with everything that
    belongs to it."""
    tree = shared_stage.make_tree(shared.engine)
    volume = shared_stage.volumes(shared.simulator)[tree.disk]
    for tag, ours in volume["tags"].items():
        shared_stage.post(
            shared.simulator, f"VolumeUpdate/~{volume['globalId']}", {"tags": {tag: "other"}}
        )
        before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
        shared.simulator.clear_calls()
        assert tag in refusals.of_verb(shared.engine.run("delete_volume", tree.disk))
        assert shared_stage.writes(shared.simulator) == []
        assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before
        shared_stage.post(
            shared.simulator, f"VolumeUpdate/~{volume['globalId']}", {"tags": {tag: ours}}
        )
    shared_stage.answered(shared.engine.run("delete_volume", tree.disk))


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_another_engines_object_of_the_same_name_is_left_alone(shared: Stage, kind: str) -> None:
    """T76: a name that another location has taken: create, clone and delete refuse, and it stays as
    it is."""
    disk, theirs = shared_stage.make_disk(shared.engine), shared_stage.new_id()
    tags = {"virt": "ovirt", "ovirt-uuid": theirs, "ovirt-loc": "ffffffff"}
    if kind == "volume":
        shared_stage.post(
            shared.simulator,
            "VolumeCreate",
            {"name": f"ovirt--{theirs}", "size": 1 << 30, "template": "hybrid", "tags": tags},
        )
    else:
        shared_stage.post(
            shared.simulator,
            f"VolumeSnapshot/~{global_id(shared, disk)}",
            {"name": f"ovirt--{theirs}", "tags": tags},
        )
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    for verb, arguments in {
        "create_volume": (theirs, "1"),
        "clone_volume": (disk, theirs),
        "delete_volume": (theirs,),
        "remove_snapshot": (theirs, disk),
    }.items():
        refusals.of_verb(shared.engine.run(verb, *arguments))
        assert (
            shared_stage.state(shared.simulator),
            shared_stage.rows(shared.database),
        ) == before, verb


def test_a_lost_mapping_loses_no_volume_silently(shared: Stage) -> None:
    """The database was restored from an old backup: a volume that it does not know is not reported
    as deleted."""
    disk = shared_stage.make_disk(shared.engine)
    shared_stage.sql(
        shared.database, f"DELETE FROM storpool_ovirt.node WHERE uuid = '{disk}'"
    )  # an id of ours
    assert "mapping" in refusals.of_verb(shared.engine.run("delete_volume", disk))
    assert disk in shared_stage.volumes(shared.simulator)


def test_a_volume_of_another_cluster_is_not_touched(shared: Stage) -> None:
    """T77: the domain was pinned to another cluster after its volumes were made: no verb touches
    them, none is sent."""
    tree = shared_stage.make_tree(shared.engine)
    engine = shared_stage.engine_with(shared, sp_cluster_id="zzz.z")
    before = shared_stage.state(shared.simulator), shared_stage.rows(shared.database)
    shared.simulator.clear_calls()
    for arguments in (
        ("delete_volume", tree.disk),
        ("extend_volume", tree.disk, "9"),
        ("connect_volume", tree.disk, "{}"),
    ):
        assert "cluster" in refusals.of_verb(engine.run(*arguments))
    assert shared_stage.writes(shared.simulator) == []
    assert (shared_stage.state(shared.simulator), shared_stage.rows(shared.database)) == before
