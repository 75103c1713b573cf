"""Several clusters with one name space: who is asked, what counts as gone, who keeps what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import storpool_ovirt
from rigs import two_clusters
from rigs.core_fixtures import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, force, replies, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

UUID = "11111111-1111-1111-1111-111111111111"
NAME = names.object_name(UUID)


@pytest.fixture(params=["error", "omit"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters; StorPool may tell that one is away, or leave it out."""
    with two_clusters.opened(tmp_path, mc_unreachable=request.param) as opened:
        yield opened


def made(pair: Pair, cluster_id: str = TWO) -> attachments.Target:
    """A volume of oVirt's in a cluster."""
    plan = Plan(Owner(NAME, names.tags(UUID, "loc", UUID)), GIB)
    return attachments.Target(volumes.create(pair.client(cluster_id), plan), NAME)


# who has it


def test_it_is_found_where_it_lives(pair: Pair) -> None:
    """T57: by its id and its name, through any cluster's API, with the cluster that has it."""
    target = made(pair)
    for address in (NAME, f"~{target.global_id}"):
        for cluster_id in (ONE, TWO, None):
            assert pair.client(cluster_id).volume(address).cluster_id == TWO


def test_without_the_option_it_is_none_of_ours(pair: Pair) -> None:
    """T57: a domain of one cluster does not find, attach or delete another cluster's volume."""
    target = made(pair)
    client = pair.one.client(cluster_id=ONE)
    with pytest.raises(errors.NotFound):
        client.volume(f"~{target.global_id}")
    with pytest.raises(errors.NotFound):
        attachments.attach(client, pair.one.host(1), target, "rw")
    volumes.delete(client, target.global_id)
    assert client.elsewhere("volume", f"~{target.global_id}") == TWO
    assert pair.owner(target) == TWO


def test_what_lives_nowhere(pair: Pair) -> None:
    """T57: what no cluster has is gone; while one does not answer nobody can say so."""
    target = made(pair)
    volumes.delete(pair.client(), target.global_id)
    client = pair.one.client(cluster_id=ONE)
    assert client.elsewhere("volume", f"~{target.global_id}") is None
    pair.cut()
    with pytest.raises(errors.ApiUnavailable):
        pair.one.client(seconds=2).elsewhere("volume", f"~{target.global_id}")


def test_an_error_of_one_cluster_proves_no_absence(pair: Pair) -> None:
    """T57: "does not exist" while a cluster is away is no answer, nor is a list without it."""
    target = made(pair)
    pair.cut()
    for ask in (
        lambda: pair.client(seconds=3).volume(NAME),
        lambda: pair.client(seconds=2).volumes(),
        lambda: pair.client(seconds=2).snapshots(),
        lambda: pair.client(seconds=2).attachments(),
        lambda: volumes.delete(pair.client(seconds=3), target.global_id),
        lambda: volumes.delete_snapshot(pair.client(seconds=3), target.global_id),
    ):
        with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
            ask()
    pair.heal()
    assert pair.client().volume(NAME).global_id == target.global_id


# attach


def test_clusters_that_are_not_all_named() -> None:
    """T57: where StorPool does not tell the id of each cluster they are not asked one by one: the
    hosts of one without an id would be missed."""
    named = [{"clusterId": ONE, "response": {}}, {"clusterId": TWO, "response": {}}]
    assert replies.cluster_ids({"clusters": named}) == {ONE, TWO}
    nameless = {"clusters": [*named, {"clusterName": "three", "response": {}}]}
    assert replies.cluster_ids(nameless) == frozenset()


def test_an_attach_takes_nothing_from_the_other_cluster(pair: Pair) -> None:
    """T57: a volume of another cluster comes to the host's own; who has it there keeps it."""
    target = made(pair)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    both = {(target.global_id, 1, ONE), (target.global_id, 1, TWO)}
    assert pair.attached() == both
    assert pair.owner(target) == ONE
    pair.one.queries()
    attachments.detach(pair.client(), pair.one.host(1), target)
    assert pair.attached() == both - {(target.global_id, 1, ONE)}


def test_the_same_number_elsewhere_is_another_host(pair: Pair) -> None:
    """T57: client 1 of the other cluster is not client 1 of ours: an attach is not taken for one
    that is there already, in another mode."""
    target = made(pair)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "ro")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    listed = pair.client().attachments()
    assert sorted(str(each.client_id) for each in listed) == ["1", f"1 of cluster {TWO}"]
    (own,) = [each for each in listed if each.client_id == 1]
    assert (own.access_mode, own.cluster_id) == ("rw", ONE)


def test_nothing_is_detached_by_force_for_an_attach() -> None:
    """T57: no source of ours sends what would take a volume from another cluster by force."""
    sources = Path(storpool_ovirt.__file__).parent.rglob("*.py")
    assert not [path for path in sources if "detachForce" in path.read_text()]


def test_a_release_reaches_the_hosts_of_all(pair: Pair) -> None:
    """T57: Engine's side lets go of a closed volume on the hosts of both clusters, and names the
    one where it is open."""
    target = made(pair)
    attachments.attach(pair.client(TWO), pair.two.host(4), target, "rw")
    attachments.attach(pair.client(), pair.one.host(2), target, "rw")
    pair.two.set_client(4, open=[target.global_id])
    with pytest.raises(errors.InUse, match="client 4"):
        attachments.release(pair.client(None), [target], {})
    assert (target.global_id, 4, TWO) in pair.attached()
    pair.two.set_client(4, open=[])
    attachments.release(pair.client(None), [target], {})
    assert pair.attached() == set()


# changes


def test_a_snapshot_is_changed_by_its_owner(pair: Pair) -> None:
    """T57: SnapshotUpdate goes to the cluster that has it, also when that changes in between."""
    target = made(pair)
    plan = Plan(Owner("ovirt--s", {"a": "b"}))
    shot = volumes.snapshot(pair.client(), target.global_id, plan)
    seen = pair.client().snapshot(f"~{shot}")
    assert volumes.change(pair.client(), seen, tags={"c": "d"})
    assert pair.client().snapshot(f"~{shot}").tags == {"a": "b", "c": "d"}
    client, moved = pair.client(), []
    ask = client._ask

    def moving(kind: str, method: str, *rest: object) -> object:
        answer = ask(kind, method, *rest)  # type: ignore[arg-type]
        if method == "snapshotList" and not moved:
            moved.append(pair.two.post("SnapshotMoveToRemote/ovirt--s", {"cluster": "one"}))
        return answer

    client._ask = moving  # type: ignore[method-assign, assignment]
    client.snapshot_update(f"~{shot}", {"tags": {"e": "f"}})
    assert pair.client().snapshot(f"~{shot}").cluster_id == ONE
    assert pair.client().snapshot(f"~{shot}").tags["e"] == "f"


def test_a_group_needs_one_owner(pair: Pair) -> None:
    """T57: a group over two clusters is refused before anything is made: two are not one moment."""
    pair.switch(mc_group="split")
    mine = volumes.create(pair.client(ONE), Plan(Owner("ovirt--a"), GIB))
    theirs = volumes.create(pair.client(TWO), Plan(Owner("ovirt--b"), GIB))
    members = [(mine, Plan(Owner("ovirt--as"))), (theirs, Plan(Owner("ovirt--bs")))]
    with pytest.raises(errors.Conflict, match=f"{ONE} and {TWO}"):
        volumes.group_snapshot(pair.client(), members)
    assert pair.client().snapshots() == []
    assert len(volumes.group_snapshot(pair.client(), members[1:])) == 1


def test_what_moves_is_listed_once(pair: Pair) -> None:
    """T57: while it moves two clusters list it, and its owner counts, in lists and by its name."""
    target = made(pair)
    pair.two.post("VolumeSnapshot/" + NAME, {"name": "ovirt--s"})
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    path = Path(pair.two.root(1) + names.device_path(target.global_id))
    path.write_bytes(b"x" * 65536)
    attachments.detach(pair.client(TWO), pair.two.host(1), target)
    pair.one.simulator.set_bridge("two", seconds_per_gib=100000)
    pair.two.post(f"VolumeMoveToRemote/{NAME}", {"cluster": "one"})
    raw = pair.two.simulator.cluster.catalog.entries.rows[target.global_id]
    assert raw.moved_to == ONE
    for cluster_id in (ONE, TWO, None):
        client = pair.client(cluster_id)
        assert [each.cluster_id for each in client.volumes()] == [ONE]
        assert len(client.snapshots()) == 1
        assert client.volume(NAME).cluster_id == ONE
    volumes.grow(pair.client(TWO), target.global_id, 2 * GIB)
    assert pair.client(ONE).volume(NAME).size_bytes == 2 * GIB


def test_a_volume_that_moved_here_is_ours(pair: Pair) -> None:
    """T57: the cluster in a global id is where it was made: a pinned domain with several clusters
    goes on with one that came from elsewhere."""
    target = made(pair)
    pair.two.post(f"VolumeMoveToRemote/{NAME}", {"cluster": "one"})
    pair.client(ONE).check_cluster(target.global_id, NAME)
    with pytest.raises(errors.WrongCluster):
        pair.one.client(cluster_id=ONE).check_cluster(target.global_id, NAME)


# fence


def test_a_fence_takes_what_is_another_clusters(pair: Pair) -> None:
    """T57: a lost host loses the disks that it has over the bridge too; the host of the same number
    in the other cluster keeps them."""
    target = made(pair)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    pair.one.post("VolumeMoveToRemote/" + NAME, {"cluster": "two", "onAttached": "export"})
    pair.one.set_client(1, status="down")
    client = pair.one.client()
    cleared = force.clear(client, force.look(client, 1, "os"), "os", pair.one.log)
    assert [each.uuid for each in cleared.taken] == [UUID]
    assert pair.attached() == {(target.global_id, 1, TWO)}


def test_remote_clients_are_no_numbers_of_ours() -> None:
    """T57: a client of another cluster equals no client of ours, in no set and no look-up."""
    there = api.RemoteClient(1, TWO)
    assert there != 1
    assert {1: "a"}.get(there) is None
    assert len({there, 1, api.RemoteClient(1, TWO), api.RemoteClient(1, ONE)}) == 3
    assert f"client {there}" == f"client 1 of cluster {TWO}"
