"""What the options of another cluster, or another spelling of the API's address, mean for what
operations left."""

from __future__ import annotations

from typing import Callable

import pytest

from rigs.disk_rig import Fault
from rigs.recovery_rig import CLONE, DISK, GIB, OTHER_CLUSTER, Rig
from storpool_ovirt import errors
from storpool_ovirt.admin import audit, findings, reconcile, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import disks


def lost_disk(rig: Rig) -> str:
    """Make a disk with a snapshot whose delete was lost."""
    rig.verb("create", DISK, GIB)
    rig.verb("snapshot", DISK)
    rig.lose_delete("delete", DISK)
    return DISK


def lost_snapshot(rig: Rig) -> str:
    """Make a disk with a snapshot whose delete was lost."""
    rig.verb("create", DISK, GIB)
    snapshot: str = rig.verb("snapshot", DISK)
    rig.lose_delete("remove", snapshot)
    return snapshot


def planned_disk(rig: Rig) -> str:
    """Have the process die that made a disk."""
    return rig.die_when_made("create", DISK, GIB)


def planned_snapshot(rig: Rig) -> str:
    """Have the process die that made a snapshot."""
    rig.verb("create", DISK, GIB)
    return rig.die_when_made("snapshot", DISK)


def undelivered_snapshot(rig: Rig) -> str:
    """Have nobody read the answer with a snapshot's id."""
    rig.verb("create", DISK, GIB)
    with rig.engine("snapshot") as engine:
        snapshot = disks.snapshot(engine, DISK)
        engine.mapping.journal.failed("undelivered", "nobody read it")
    return snapshot


def grown_disk(rig: Rig) -> str:
    """Have the process die that was to grow a disk."""
    rig.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        rig.verb(
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
    rig: Rig, scene: Callable[[Rig], str], pinned: str | None
) -> None:
    """T77: what another cluster does not have is not gone; its own options mend it afterwards."""
    scene(rig)
    before = rig.state()
    with rig.another_cluster("a-stranger") as other:
        assert rig.reconcile(cluster=other, pinned=pinned).done == []
    assert rig.state() == before
    mended = rig.reconcile()
    assert mended.failed == []
    assert len(mended.done) == 1


def test_clusters_that_one_address_serves_are_told_apart(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T77: the domains of several clusters may differ in sp_cluster_id alone."""
    monkeypatch.setattr(api.Client, "address", "storpool.example:81")
    rig.pin()
    planned_disk(rig)
    before = rig.state()
    with rig.another_cluster("a-stranger") as other:
        rig.reconcile(cluster=other, pinned=OTHER_CLUSTER)
    assert rig.state() == before


@pytest.mark.parametrize(
    "scene", [lost_disk, planned_snapshot, grown_disk], ids=["drop", "make", "grow"]
)
def test_a_step_of_one_cluster_is_refused_by_another(rig: Rig, scene: Callable[[Rig], str]) -> None:
    """T77: reconcile looks again before each step which cluster it is talking to."""
    scene(rig)
    with rig.administrator() as engine:
        (finding,) = reconcile.plan(audit.report(survey.look(engine), 0))
    before = rig.state()
    assert finding.action is not None
    with (
        rig.another_cluster("a-stranger") as other,
        rig.administrator(other) as engine,
        pytest.raises(errors.WrongCluster),
    ):
        reconcile.carry_out(engine, finding.action, 0)
    assert rig.state() == before


@pytest.mark.parametrize("pinned", [None, OTHER_CLUSTER])
def test_a_row_of_another_cluster_is_not_forgotten(rig: Rig, pinned: str | None) -> None:
    """T77: to remove a disk with the options of another cluster is refused, with the way to do it
    right."""
    rig.verb("create", DISK, GIB)
    before = rig.state()
    with (
        rig.another_cluster("a-stranger") as other,
        pytest.raises(errors.WrongCluster, match="--options"),
    ):
        rig.remove(DISK, cluster=other, pinned=pinned)
    assert rig.state() == before


@pytest.mark.parametrize(
    "scene", [planned_snapshot, undelivered_snapshot], ids=["planned", "undelivered"]
)
def test_a_left_over_of_another_cluster_is_not_forgotten(
    rig: Rig, scene: Callable[[Rig], str]
) -> None:
    """T72, T77: what a died operation left in one cluster no other one can forget."""
    snapshot = scene(rig)
    before = rig.state()
    with rig.another_cluster("a-stranger") as other, pytest.raises(errors.WrongCluster):
        rig.remove(snapshot, cluster=other)
    assert rig.state() == before


@pytest.mark.parametrize(
    "scene",
    [lost_disk, lost_snapshot, grown_disk, planned_snapshot],
    ids=["disk", "snapshot", "growth", "planned"],
)
def test_an_entry_of_another_cluster_is_not_closed(rig: Rig, scene: Callable[[Rig], str]) -> None:
    """T77: `--keep` with the options of another cluster takes nothing for gone that is there."""
    uuid = scene(rig)
    rig.age(1)
    before = rig.state()
    with rig.another_cluster("a-stranger") as other, pytest.raises(errors.WrongCluster):
        rig.keep(uuid, cluster=other)
    assert rig.state() == before


@pytest.mark.parametrize(
    "scene",
    [lost_disk, *(pytest.param(scene) for scene in SCENES[1:])],
    ids=SCENE_NAMES,
)
def test_a_verb_of_another_clusters_domain_settles_nothing(
    rig: Rig, scene: Callable[[Rig], str]
) -> None:
    """T77: a domain that is pinned to the wrong cluster fails, and what it met is as before."""
    scene(rig)
    rig.age(0.5)
    before = rig.state()
    with (
        rig.another_cluster("a-stranger") as other,
        rig.administrator(other, pinned=OTHER_CLUSTER) as engine,
        pytest.raises(errors.Error),
    ):
        disks.extend(engine, DISK, 4 * GIB)
    assert rig.state() == before


def test_a_second_domain_on_an_empty_cluster_is_fine(rig: Rig) -> None:
    """One mapping serves several clusters: a new one that has nothing of ours yet is no reason for
    an alarm."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    with rig.another_cluster() as other:
        assert rig.audit(cluster=other, pinned=OTHER_CLUSTER) == []


def test_a_cluster_that_lost_everything_is_critical(rig: Rig) -> None:
    """T24: the cluster of our disks, without one of them, is the wrong one; nothing else is said of
    it."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    for uuid in (DISK, CLONE):
        rig.api(f"VolumeDelete/~{rig.global_id(uuid)}", {})
    (finding,) = rig.audit()
    assert (finding.kind, finding.severity) == (findings.CLUSTER, findings.CRITICAL)
    assert rig.reconcile().done == []


def test_another_spelling_of_the_address_hides_no_leak(rig: Rig) -> None:
    """T72: what a died operation made is named, however the API's address is written, and reconcile
    deletes it."""
    snapshot = planned_snapshot(rig)
    (finding,) = rig.audit(host="localhost")
    assert (finding.kind, finding.uuid) == (findings.LEAK, snapshot)
    assert len(rig.reconcile(host="localhost").done) == 1
    assert rig.uuids() == {DISK}
    assert rig.audit() == []


def test_another_spelling_of_the_address_hides_no_intent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: what was perhaps never made may be in another cluster: it is named, and a person can
    forget it."""
    rig.verb("create", CLONE, GIB)
    rig.die_at(monkeypatch, "volume_create", "create", DISK, GIB)
    (finding,) = rig.audit(host="localhost")
    assert finding.uuid == DISK
    assert rig.reconcile(host="localhost").done == []
    assert f"--remove {DISK}" in finding.mend
    rig.remove(DISK, host="localhost")
    assert rig.audit(host="localhost") == []
