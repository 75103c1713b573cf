"""ownership.py: every verb asks whose an object is before it changes anything; what is not ours is
left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import disks, ownership

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tree(NamedTuple):
    """A disk, a snapshot of it, and a preview of that which is the active volume."""

    yard: Yard
    snapshot: str
    preview: str


@pytest.fixture
def tree(yard: Yard) -> Tree:
    """Make a disk with a snapshot and a preview."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    return Tree(yard, snapshot, yard.verb("preview", snapshot))


def update(yard: Yard, uuid: str, **body: object) -> None:
    """Change an object by hand."""
    thing = yard.see().things[f"ovirt--{uuid}"]
    yard.ask(f"{thing.kind.title()}Update/~{thing.global_id}", body)


def given_to_another_platform(yard: Yard, uuid: str) -> None:
    """Rename it and give it another orchestrator's tag."""
    update(yard, uuid, rename=f"vm-{uuid}", tags={"virt": "pve"})


def given_to_another_engine(yard: Yard, uuid: str) -> None:
    """Give it another location."""
    update(yard, uuid, tags={"ovirt-loc": "ffffffff"})


def stripped(yard: Yard, uuid: str) -> None:
    """Take all its tags, as a revert by hand does."""
    update(yard, uuid, tags=dict.fromkeys(yard.see().things[f"ovirt--{uuid}"].tags, ""))


def named_another(yard: Yard, uuid: str) -> None:
    """Let it say that it is another object."""
    update(yard, uuid, tags={"ovirt-uuid": CLONE})


def put_into_another_disk(yard: Yard, uuid: str) -> None:
    """Let it say that it belongs to another disk."""
    update(yard, uuid, tags={"ovirt-root": CLONE})


WAYS = [
    given_to_another_platform,
    given_to_another_engine,
    stripped,
    named_another,
    put_into_another_disk,
]

# What each verb is asked, and which object it would change, copy or describe.
VERBS: dict[str, tuple[str, Callable[[Tree], tuple[Any, ...]], Callable[[Tree], str]]] = {
    "delete a preview": ("delete", lambda tree: (tree.preview,), lambda tree: tree.preview),
    "delete a snapshot": ("delete", lambda tree: (tree.snapshot,), lambda tree: tree.snapshot),
    "remove a snapshot": ("remove", lambda tree: (tree.snapshot,), lambda tree: tree.snapshot),
    "remove the first volume": ("remove", lambda _: (DISK,), lambda _: DISK),
    "extend": ("extend", lambda _: (DISK, 2 * GIB), lambda tree: tree.preview),
    "extend by its own id": (
        "extend",
        lambda tree: (tree.preview, 2 * GIB),
        lambda tree: tree.preview,
    ),
    "snapshot": ("snapshot", lambda _: (DISK,), lambda _: DISK),
    "clone a volume": ("clone", lambda _: (DISK, CLONE), lambda _: DISK),
    "clone a snapshot": ("clone", lambda tree: (tree.snapshot, CLONE), lambda tree: tree.snapshot),
    "preview": ("preview", lambda tree: (tree.snapshot,), lambda tree: tree.snapshot),
    "connect": ("connect", lambda tree: (tree.preview, None), lambda tree: tree.preview),
    "connect a snapshot": ("connection", lambda tree: (tree.snapshot,), lambda tree: tree.snapshot),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("what", VERBS)
def test_no_verb_touches_what_was_handed_to_another_owner(
    tree: Tree, what: str, way: Callable[[Yard, str], None]
) -> None:
    """T76, T60: whatever a verb would change, copy or describe has to say itself that it is ours,
    else all stays."""
    verb, arguments, target = VERBS[what]
    way(tree.yard, target(tree))
    before = world(tree.yard)
    with pytest.raises(errors.Foreign, match="left alone"):
        tree.yard.verb(verb, *arguments(tree))
    assert world(tree.yard) == before


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("node", ["disk", "snapshot", "preview"])
def test_a_disk_is_not_deleted_with_what_is_another_owners(
    tree: Tree, node: str, way: Callable[[Yard, str], None]
) -> None:
    """T76, T10: one object of its tree that was handed over keeps the whole disk; given back, the
    disk goes whole."""
    uuid = {"disk": DISK, "snapshot": tree.snapshot, "preview": tree.preview}[node]
    thing = tree.yard.see().things[f"ovirt--{uuid}"]
    way(tree.yard, uuid)
    before = world(tree.yard)
    with pytest.raises(errors.Foreign):
        tree.yard.verb("delete", DISK)
    assert world(tree.yard) == before
    wanted = {"rename": f"ovirt--{uuid}", "tags": {"ovirt-root": "", **thing.tags}}
    tree.yard.ask(f"{thing.kind.title()}Update/~{thing.global_id}", wanted)
    tree.yard.verb("delete", DISK)
    assert tree.yard.see().things == {}
    assert tree.yard.see().rows == {}


def replaced(yard: Yard, uuid: str) -> None:
    """Delete a volume by hand and put another one in its place, as a restore by hand does."""
    thing = yard.see().things[f"ovirt--{uuid}"]
    yard.ask(f"VolumeDelete/~{thing.global_id}", {})
    yard.ask(
        "VolumeCreate",
        {"name": f"ovirt--{uuid}", "size": GIB, "template": "hybrid", "tags": thing.tags},
    )


def replaced_without_tags(yard: Yard, uuid: str) -> None:
    """Put one in its place that has no tags."""
    replaced(yard, uuid)
    stripped(yard, uuid)


def frozen(yard: Yard, uuid: str) -> None:
    """Make a snapshot of a volume by hand, with its name and its id."""
    yard.ask(f"VolumeFreeze/~{yard.see().things[f'ovirt--{uuid}'].global_id}", {})


@pytest.mark.parametrize(
    "way", [replaced, replaced_without_tags, frozen], ids=lambda way: way.__name__
)
@pytest.mark.parametrize(
    "what", [what for what in VERBS if "snapshot" not in what and what != "preview"]
)
def test_what_lives_on_as_something_else_is_not_taken_for_gone(
    tree: Tree, what: str, way: Callable[[Yard, str], None]
) -> None:
    """T60, T62: a volume that was replaced or frozen by hand keeps its row, and no delete ends
    well."""
    verb, arguments, target = VERBS[what]
    way(tree.yard, target(tree))
    before = world(tree.yard)
    with pytest.raises(errors.Conflict, match="by hand"):
        tree.yard.verb(verb, *arguments(tree))
    assert world(tree.yard) == before


def test_what_another_owner_put_in_the_place_of_what_is_gone_is_left_alone(tree: Tree) -> None:
    """T76, T7: the name of a volume that is gone serves another Engine now: the delete ends, and
    that one stays."""
    replaced(tree.yard, tree.preview)
    given_to_another_engine(tree.yard, tree.preview)
    tree.yard.verb("delete", tree.preview)
    assert tree.preview not in tree.yard.see().rows
    assert f"ovirt--{tree.preview}" in {each.get("name") for each in tree.yard.see().foreign}


def test_a_renamed_object_with_our_tags_and_the_id_of_the_row_is_ours(tree: Tree) -> None:
    """A name is no more than the key of a create: the id and the tags say whose it is."""
    update(tree.yard, tree.preview, rename="renamed")
    tree.yard.verb("extend", DISK, 2 * GIB)
    tree.yard.verb("delete", DISK)
    assert tree.yard.see().things == {}


def test_a_tree_of_many_nodes_is_read_at_once(yard: Yard) -> None:
    """However many snapshots a disk has, whose they are takes two lists; each of them is looked at
    all the same."""
    yard.verb("create", DISK, GIB)
    snapshots = [yard.verb("snapshot", DISK) for _ in range(ownership.LIST_FROM)]
    update(yard, snapshots[-1], tags={"virt": "pve"})
    yard.queries()
    with pytest.raises(errors.Foreign):
        yard.verb("delete", DISK)
    assert len([each for each in yard.queries() if each.startswith("GET")]) == 2
    update_global(yard, snapshots[-1])
    yard.ask(f"SnapshotDelete/{yard.address(snapshots[0])}", {})
    yard.verb("delete", DISK)
    assert yard.see().things == {}
    assert yard.see().rows == {}


def update_global(yard: Yard, uuid: str) -> None:
    """Give an object its platform's tag again."""
    yard.ask(f"SnapshotUpdate/{yard.address(uuid)}", {"tags": {"virt": "ovirt"}})


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_a_dead_verb_made_is_not_deleted_when_it_is_another_owners(
    yard: Yard, way: Callable[[Yard, str], None]
) -> None:
    """T76, T71: a snapshot whose verb died is taken back only while it is ours."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    way(yard, snapshot)
    before = [yard.ask(query) for query in ("VolumesList", "SnapshotsList")]
    yard.verb("extend", DISK, GIB)
    assert [yard.ask(query) for query in ("VolumesList", "SnapshotsList")] == before


@pytest.mark.parametrize("way", [*WAYS, replaced, frozen], ids=lambda way: way.__name__)
def test_a_dead_delete_forgets_no_row_of_what_is_another_owners(
    yard: Yard, way: Callable[[Yard, str], None]
) -> None:
    """T76, T72: what a delete did not come to is looked for; a row goes only with an object that is
    gone."""
    yard.verb("create", DISK, GIB)
    yard.verb("snapshot", DISK)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("delete", DISK, fault=Fault("reset_before", query="VolumeDelete", times=50))
    way(yard, DISK)
    rows = set(yard.see().rows)
    with pytest.raises(errors.Conflict):
        yard.verb("extend", DISK, 2 * GIB)
    assert set(yard.see().rows) == rows


def test_the_size_of_another_owners_volume_is_not_ours(yard: Yard) -> None:
    """T76: a growth that died is read from StorPool only while the volume is ours."""
    yard.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb(
            "extend", DISK, 2 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    address = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{address}", {"size": 8 * GIB, "tags": {"virt": "pve"}})
    with pytest.raises(errors.Foreign):
        yard.verb("snapshot", DISK)
    assert yard.see().rows[DISK].size_bytes == GIB


@pytest.mark.parametrize("what", [what for what in VERBS if "connect" not in what])
def test_what_was_handed_over_a_moment_ago_is_left_alone(tree: Tree, what: str) -> None:
    """T76, T55: an instance that is behind still shows our tags: no verb changes or copies an
    object by that."""
    verb, arguments, target = VERBS[what]
    given_to_another_platform(tree.yard, target(tree))
    before = world(tree.yard)
    kind = "Snapshot" if target(tree) == tree.snapshot else "Volume"
    with pytest.raises(errors.Foreign, match="left alone"):
        tree.yard.verb(verb, *arguments(tree), fault=Fault("old", query=kind))
    assert world(tree.yard) == before


@pytest.fixture
def elsewhere(tree: Tree) -> Iterator[Tree]:
    """Give a tree whose domain, which is not pinned, has the address of another cluster since."""
    with tree.yard.led_elsewhere():
        yield tree


@pytest.mark.parametrize("what", VERBS)
def test_no_row_is_forgotten_by_the_address_of_another_cluster(elsewhere: Tree, what: str) -> None:
    """T77, T62: nothing of ours is there, and all of it lives: each verb says so, and all rows
    stay."""
    verb, arguments, _ = VERBS[what]
    before = world(elsewhere.yard)
    with pytest.raises(errors.WrongCluster, match="sp_cluster_id"):
        elsewhere.yard.verb(verb, *arguments(elsewhere))
    assert world(elsewhere.yard) == before
    with pytest.raises(errors.WrongCluster):
        elsewhere.yard.verb("delete", DISK)
    assert world(elsewhere.yard) == before


def test_a_dead_delete_is_not_settled_at_another_cluster(tree: Tree) -> None:
    """T77, T72: what a dead delete left is looked for in its own cluster alone, whichever verb
    comes next."""
    tree.yard.die_planned("remove", tree.snapshot)
    tree.yard.age(60)
    rows = tree.yard.see().rows
    with tree.yard.led_elsewhere():
        for verb, arguments in (
            ("extend", (DISK, 2 * GIB)),
            ("snapshot", (DISK,)),
            ("delete", (DISK,)),
        ):
            with pytest.raises(errors.WrongCluster):
                tree.yard.verb(verb, *arguments)
            assert tree.yard.see().rows == rows
    tree.yard.verb("extend", DISK, 2 * GIB)
    assert [row.state for row in tree.yard.see().rows.values()] == ["live"] * 3


@pytest.mark.parametrize("refused", [False, True], ids=["known by its id", "shown by what it has"])
def test_a_cluster_proves_itself_before_a_row_goes(tree: Tree, refused: bool) -> None:
    """T62: what was deleted by hand is deleted; the cluster is asked by its id, or it shows
    something else of it."""
    tree.yard.ask(f"VolumeDelete/{tree.yard.address(tree.preview)}", {})
    tree.yard.queries()
    fault = Fault("error_200", query="ServicesList", times=9) if refused else None
    tree.yard.verb("delete", tree.preview, fault=fault)
    lists = [
        each for each in tree.yard.queries() if each in ("GET VolumesList", "GET SnapshotsList")
    ]
    assert lists == ["GET VolumesList", "GET SnapshotsList"] * refused
    assert tree.preview not in tree.yard.see().rows


def test_the_last_object_of_a_cluster_is_deleted_by_hand(yard: Yard) -> None:
    """An empty cluster shows nothing that has its id, but it answers to it: the disk's row goes
    with its delete."""
    yard.verb("create", DISK, GIB)
    for thing in yard.ask("VolumesList"):
        held = [
            each["client"]
            for each in yard.ask("AttachmentsList")
            if each["globalId"] == thing["globalId"]
        ]
        if held:
            yard.ask(
                "VolumesReassignWait",
                {"reassign": [{"volume": f"~{thing['globalId']}", "detach": held}]},
            )
        yard.ask(f"VolumeDelete/~{thing['globalId']}", {})
    assert yard.ask("VolumesList") == []
    yard.queries()
    yard.verb("delete", DISK)
    assert not [each for each in yard.queries() if "VolumesList" in each]
    assert yard.see().rows == {}


def test_an_address_that_only_hands_on_to_the_cluster_is_another_clusters(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T77: where the cluster of a row has the object, and this API does not show it, the address is
    the wrong one."""
    before = world(tree.yard)

    def missing(self: api.Client, address: str) -> api.Volume:
        if self is not asked[-1]:
            return real(self, address)
        raise errors.NotFound("volume", address)

    real, asked = api.Client.volume, []
    monkeypatch.setattr(api.Client, "volume", missing)
    with tree.yard.engine("delete") as engine:
        asked.append(engine.client)
        with pytest.raises(errors.WrongCluster):
            disks.delete(engine, tree.preview)
    monkeypatch.undo()
    assert world(tree.yard) == before


def test_the_volume_that_the_vm_writes_is_not_removed(tree: Tree) -> None:
    """T60: remove takes the active volume under no id, the first volume or a preview; delete takes
    it."""
    before = world(tree.yard)
    with pytest.raises(errors.Conflict, match="active volume"):
        tree.yard.verb("remove", tree.preview)
    assert world(tree.yard) == before
    second = tree.yard.verb("preview", tree.snapshot)
    tree.yard.verb("remove", tree.preview)  # as a second commit does
    tree.yard.verb("remove", DISK)
    with pytest.raises(errors.Conflict, match="active volume"):
        tree.yard.verb("remove", second)
    tree.yard.verb("delete", DISK)
    assert tree.yard.see().things == {}


def test_a_remove_that_died_of_what_became_active_since_is_taken_back(tree: Tree) -> None:
    """T71: the volume whose remove was lost, and that a host was given since, stays when the remove
    comes again."""
    second = tree.yard.verb("preview", tree.snapshot)
    with pytest.raises(errors.ApiUnavailable):
        tree.yard.verb(
            "remove", tree.preview, fault=Fault("reset_before", query="VolumeDelete", times=50)
        )
    tree.yard.verb("connect", tree.preview, None)
    with pytest.raises(errors.Conflict, match="active volume"):
        tree.yard.verb("remove", tree.preview)
    assert {f"ovirt--{tree.preview}", f"ovirt--{second}"} <= set(tree.yard.see().things)


def world(yard: Yard) -> list[Any]:
    """Return everything in the database and the cluster, in one order, without what StorPool drops
    by itself."""
    tables = [
        yard.sql(f"TABLE storpool_ovirt.{table} ORDER BY 1") for table in ("node", "operation")
    ]
    lists = [yard.ask(query) for query in ("VolumesList", "SnapshotsList", "AttachmentsList")]
    return [*tables, *([each for each in one if not each.get("transient")] for one in lists)]
