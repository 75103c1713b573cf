"""What the options of another cluster, or another spelling of the API's address, mean for what
operations left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, HOUR, OTHER_CLUSTER, Yard, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.admin import audit, findings, reconcile, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import disks, ownership

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database


def lost_disk(yard: Yard) -> str:
    """Make a disk with a snapshot whose delete was lost."""
    yard.verb("create", DISK, GIB)
    yard.verb("snapshot", DISK)
    yard.lose_delete("delete", DISK)
    return DISK


def lost_snapshot(yard: Yard) -> str:
    """Make a disk with a snapshot whose delete was lost."""
    yard.verb("create", DISK, GIB)
    snapshot: str = yard.verb("snapshot", DISK)
    yard.lose_delete("remove", snapshot)
    return snapshot


def planned_disk(yard: Yard) -> str:
    """Have the process die that made a disk."""
    return yard.die_made("create", DISK, GIB)


def planned_snapshot(yard: Yard) -> str:
    """Have the process die that made a snapshot."""
    yard.verb("create", DISK, GIB)
    return yard.die_made("snapshot", DISK)


def undelivered_snapshot(yard: Yard) -> str:
    """Have nobody read the answer with a snapshot's id."""
    yard.verb("create", DISK, GIB)
    with yard.engine("snapshot") as engine:
        snapshot = disks.snapshot(engine, DISK)
        engine.mapping.journal.failed("undelivered", "nobody read it")
    return snapshot


def grown_disk(yard: Yard) -> str:
    """Have the process die that was to grow a disk."""
    yard.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb(
            "extend", DISK, 2 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    return DISK


SCENES = [
    lost_disk,
    lost_snapshot,
    planned_disk,
    planned_snapshot,
    undelivered_snapshot,
    grown_disk,
]
SCENE_NAMES = [scene.__name__ for scene in SCENES]


@pytest.mark.parametrize(
    ("scene", "pinned"),
    [
        *((scene, None) for scene in SCENES),
        (lost_disk, OTHER_CLUSTER),
        (planned_disk, OTHER_CLUSTER),
    ],
)
def test_reconcile_with_the_options_of_another_cluster_changes_nothing(
    yard: Yard, scene: Callable[[Yard], str], pinned: str | None
) -> None:
    """T77: what another cluster does not have is not gone; its own options mend it afterwards."""
    scene(yard)
    before = yard.world()
    with yard.another_cluster("a-stranger") as other:
        assert yard.reconcile(cluster=other, pinned=pinned) == []
    assert yard.world() == before
    assert len(yard.reconcile()) == 1


def test_clusters_that_one_address_serves_are_told_apart(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T77: the domains of several clusters may differ in sp_cluster_id alone."""
    monkeypatch.setattr(api.Client, "address", "storpool.example:81")
    yard.pin()
    planned_disk(yard)
    before = yard.world()
    with yard.another_cluster("a-stranger") as other:
        yard.reconcile(cluster=other, pinned=OTHER_CLUSTER)
    assert yard.world() == before


@pytest.mark.parametrize(
    "scene", [lost_disk, planned_snapshot, grown_disk], ids=["drop", "make", "grow"]
)
def test_a_step_of_one_cluster_is_refused_by_another(
    yard: Yard, scene: Callable[[Yard], str]
) -> None:
    """T77: reconcile looks again before each step which cluster it is talking to."""
    scene(yard)
    with yard.administrator() as engine:
        (finding,) = reconcile.plan(audit.report(survey.look(engine), 0))
    before = yard.world()
    assert finding.action is not None
    with (
        yard.another_cluster("a-stranger") as other,
        yard.administrator(cluster=other) as engine,
        pytest.raises(errors.WrongCluster),
    ):
        reconcile.carry_out(engine, finding.action, 0)
    assert yard.world() == before


@pytest.mark.parametrize("pinned", [None, OTHER_CLUSTER])
def test_a_row_of_another_cluster_is_not_forgotten(yard: Yard, pinned: str | None) -> None:
    """T77: to remove a disk with the options of another cluster is refused, with the way to do it
    right."""
    yard.verb("create", DISK, GIB)
    before = yard.world()
    with (
        yard.another_cluster("a-stranger") as other,
        pytest.raises(errors.WrongCluster, match="--options"),
    ):
        yard.remove(DISK, cluster=other, pinned=pinned)
    assert yard.world() == before


@pytest.mark.parametrize(
    "scene", [planned_snapshot, undelivered_snapshot], ids=["planned", "undelivered"]
)
def test_a_left_over_of_another_cluster_is_not_forgotten(
    yard: Yard, scene: Callable[[Yard], str]
) -> None:
    """T72, T77: what a died operation left in one cluster no other one can forget."""
    snapshot = scene(yard)
    before = yard.world()
    with yard.another_cluster("a-stranger") as other, pytest.raises(errors.WrongCluster):
        yard.remove(snapshot, cluster=other)
    assert yard.world() == before


@pytest.mark.parametrize(
    "scene",
    [lost_disk, lost_snapshot, grown_disk, planned_snapshot],
    ids=["disk", "snapshot", "growth", "planned"],
)
def test_an_entry_of_another_cluster_is_not_closed(
    yard: Yard, scene: Callable[[Yard], str]
) -> None:
    """T77: `--keep` with the options of another cluster takes nothing for gone that is there."""
    uuid = scene(yard)
    yard.age(HOUR)
    before = yard.world()
    with yard.another_cluster("a-stranger") as other, pytest.raises(errors.WrongCluster):
        yard.keep(uuid, cluster=other)
    assert yard.world() == before


@pytest.mark.parametrize(
    "scene",
    [lost_disk, *(pytest.param(scene) for scene in SCENES[1:])],
    ids=SCENE_NAMES,
)
def test_a_verb_of_another_clusters_domain_settles_nothing(
    yard: Yard, scene: Callable[[Yard], str]
) -> None:
    """T77: a domain that is pinned to the wrong cluster fails, and what it met is as before."""
    scene(yard)
    yard.age(0.5 * HOUR)
    before = yard.world()
    with (
        yard.another_cluster("a-stranger") as other,
        yard.administrator(cluster=other, pinned=OTHER_CLUSTER) as engine,
        pytest.raises(errors.Error),
    ):
        disks.extend(engine, DISK, 4 * GIB)
    assert yard.world() == before


def test_a_second_domain_on_an_empty_cluster_is_fine(yard: Yard) -> None:
    """One mapping serves several clusters: a new one that has nothing of ours yet is no reason for
    an alarm."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    with yard.another_cluster() as other:
        assert yard.report(cluster=other, pinned=OTHER_CLUSTER).findings == ()


def test_a_cluster_that_lost_everything_is_critical(yard: Yard) -> None:
    """T24: the cluster of our disks, without one of them, is the wrong one; nothing else is said of
    it."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    for uuid in (DISK, CLONE):
        yard.ask(f"VolumeDelete/~{yard.global_id(uuid)}", {})
    (finding,) = yard.report().findings
    assert (finding.kind, finding.severity) == (findings.CLUSTER, findings.CRITICAL)
    assert yard.reconcile() == []


def test_another_spelling_of_the_address_hides_no_leak(yard: Yard) -> None:
    """T72: what a died operation made is named, however the API's address is written, and reconcile
    deletes it."""
    snapshot = planned_snapshot(yard)
    (finding,) = yard.report(host="localhost").findings
    assert (finding.kind, finding.uuid) == (findings.LEAK, snapshot)
    assert len(yard.reconcile(host="localhost")) == 1
    assert yard.uuids() == {DISK}
    assert yard.report().findings == ()


def test_another_spelling_of_the_address_hides_no_intent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: what was perhaps never made may be in another cluster: it is named, and a person can
    forget it."""
    yard.verb("create", CLONE, GIB)
    yard.die_asking("VolumeCreate", "create", DISK, GIB)
    (finding,) = yard.report(host="localhost").findings
    assert finding.uuid == DISK
    assert yard.reconcile(host="localhost") == []
    assert f"--remove {DISK}" in finding.mend
    yard.remove(DISK, host="localhost")
    assert yard.report(host="localhost").findings == ()


def test_an_old_answer_is_not_another_clusters(module_database: Database, tmp_path: Path) -> None:
    """T62: a volume is deleted by hand, and every other answer is of before that: its own cluster,
    asked by its id, still shows it. The disk is gone all the same."""
    with opened_yard(module_database, tmp_path, lag="6") as yard:
        yard.verb("create", DISK, GIB)
        address = yard.address(DISK)
        for gib in range(2, 10):
            yard.ask(f"VolumeUpdate/{address}", {"size": gib * GIB})
        yard.ask(f"VolumeDelete/{address}", {})
        with yard.engine("extend") as engine:
            engine.client.volumes()  # so that it is the last question that gets the old answer
            node = engine.mapping.node(DISK)
            assert node is not None
            assert ownership.is_gone(engine, node)
