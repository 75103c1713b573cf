"""Pinned to one of several clusters, where StorPool takes no call that is for one and for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import two_clusters
from rigs.core_fixtures import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, volumes, ways
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = "11111111-1111-1111-1111-111111111111"
NAME = names.object_name(UUID)
PLAN = Plan(Owner(NAME, names.tags(UUID, "loc", UUID)), GIB)


@pytest.fixture(params=["refuse-unknownQuery", "refuse-invalidParam", "take-unknownQuery"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters, which refuse it by two words, or take it."""
    together, word = request.param.split("-")
    switches = {"remote_multicluster": together, "unknown_query_error": word}
    with two_clusters.opened(tmp_path, **switches) as opened:
        yield opened


def through(pair: Pair, address: str, cluster_id: str, seconds: float = 20) -> api.Client:
    """A client pinned to a cluster, through the API of one of the two."""
    core = pair.one if address == ONE else pair.two
    return core.client(seconds, multicluster=True, cluster_id=cluster_id)


@pytest.mark.parametrize("address", [ONE, TWO])
@pytest.mark.parametrize("pinned", [ONE, TWO])
def test_a_life(pair: Pair, address: str, pinned: str) -> None:
    """A disk is made in the pinned cluster, attached there by its host, grown, frozen, let go of by
    Engine and deleted, through the API of either cluster."""
    client = through(pair, address, pinned)
    global_id = volumes.create(client, PLAN)
    target = attachments.Target(global_id, NAME)
    assert client.volume(NAME).cluster_id == pinned
    assert volumes.create(through(pair, address, pinned), PLAN) == global_id  # a repetition
    own = pair.one if pinned == ONE else pair.two
    attachments.attach(through(pair, pinned, pinned), own.host(1), target, "rw")
    assert pair.attached() == {(global_id, 1, pinned)}
    volumes.grow(client, global_id, 2 * GIB)
    assert client.volume(NAME).size_bytes == 2 * GIB
    snapshot = volumes.snapshot(client, global_id, Plan(Owner("ovirt--s", {"a": "b"})))
    client.snapshot_update(f"~{snapshot}", {"tags": {"c": "d"}})
    assert client.snapshot("ovirt--s").tags["c"] == "d"
    attachments.release(through(pair, address, pinned), [target], {})
    assert pair.attached() == set()
    assert volumes.delete(client, global_id)
    assert client.volumes() == []


@pytest.mark.parametrize("address", [ONE, TWO])
def test_a_copy_is_made_where_its_source_lives(pair: Pair, address: str) -> None:
    """A clone of what another cluster has is made there, however the create goes."""
    source = volumes.create(through(pair, TWO, TWO), PLAN)
    plan = Plan(Owner("ovirt--copy", {"a": "b"}), GIB, base_on=source)
    client = through(pair, address, ONE)
    volumes.create(client, plan)
    assert client.volume("ovirt--copy").cluster_id == TWO


@pytest.mark.parametrize("address", [ONE, TWO])
def test_a_name_is_one_volumes(pair: Pair, address: str) -> None:
    """A create for one cluster finds what another one has under its name, and does not make a
    second one."""
    made = volumes.create(through(pair, TWO, TWO), PLAN)
    assert volumes.create(through(pair, address, ONE), PLAN) == made
    assert len(through(pair, ONE, ONE).volumes()) == 1


@pytest.mark.parametrize("address", [ONE, TWO])
def test_hosts_of_both_let_go(pair: Pair, address: str) -> None:
    """Engine's side lets go of a volume on hosts of both clusters, and of none where one is
    open."""
    target = attachments.Target(volumes.create(through(pair, ONE, ONE), PLAN), NAME)
    attachments.attach(through(pair, TWO, TWO), pair.two.host(4), target, "rw")
    attachments.attach(through(pair, ONE, ONE), pair.one.host(2), target, "rw")
    assert pair.attached() == {(target.global_id, 4, TWO), (target.global_id, 2, ONE)}
    pair.two.set_client(4, open=[target.global_id])
    with pytest.raises(errors.InUse, match="client 4"):
        attachments.release(through(pair, address, ONE), [target], {})
    assert (target.global_id, 4, TWO) in pair.attached()
    pair.two.set_client(4, open=[])
    attachments.release(through(pair, address, ONE), [target], {})
    assert pair.attached() == set()


@pytest.mark.parametrize("pinned", [ONE, TWO])
def test_a_silent_cluster_proves_nothing(pair: Pair, pinned: str) -> None:
    """T57: by this way too, "does not exist" and lists need the answer of all."""
    volumes.create(through(pair, TWO, TWO), PLAN)
    pair.switch(mc_unreachable="omit")
    warm = through(pair, ONE, ONE, seconds=3)
    assert len(warm.volumes()) == 1
    pair.cut()
    for client in (warm, through(pair, ONE, ONE, seconds=3)):
        with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
            client.volumes()
    with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
        through(pair, ONE, ONE, seconds=3).volume(NAME)


def test_a_host_that_asks_another_clusters_api(pair: Pair) -> None:
    """A wrong address is one sentence with what to correct, and attaches nothing to the client of
    that number there; where StorPool takes the call it is no matter."""
    target = attachments.Target(volumes.create(through(pair, ONE, ONE), PLAN), NAME)
    client = through(pair, TWO, ONE)
    if pair.one.simulator.switches["remote_multicluster"] == "take":
        attachments.attach(client, pair.one.host(1), target, "rw")
        assert pair.attached() == {(target.global_id, 1, ONE)}
        return
    with pytest.raises(errors.Conflict, match="SP_API_HTTP_HOST"):
        attachments.attach(client, pair.one.host(1), target, "rw")
    assert pair.attached() == set()


def test_the_way_is_looked_for_once(pair: Pair) -> None:
    """What is refused costs each process five calls, once, and nothing where it is taken."""
    volumes.create(through(pair, ONE, ONE), PLAN)
    pair.one.queries()
    client = through(pair, ONE, ONE)
    client.volume(NAME)
    first = len(pair.one.queries())
    client.volume(NAME)
    taken = pair.one.simulator.switches["remote_multicluster"] == "take"
    assert (first, len(pair.one.queries())) == (1 if taken else 7, 1)


def test_what_is_refused_for_another_reason_stays_so(pair: Pair) -> None:
    """A call that StorPool refuses whatever way it goes is told as it is."""
    global_id = volumes.create(through(pair, ONE, ONE), PLAN)
    with pytest.raises(errors.Rejected):
        through(pair, ONE, ONE).volume_update(f"~{global_id}", {"size": GIB // 2})


def test_who_is_registered() -> None:
    """The other clusters' ids are made of what their locations are called."""
    locations = {"locations": [{"id": "loc", "name": "here"}, {"id": "rem", "name": "far"}]}
    clusters = {"clusters": [{"id": "b", "location": "here", "name": "two"}]}
    assert ways.is_remote(TWO, locations, clusters)
    assert ways.is_remote(TWO, {"locations": []}, clusters)  # its own is not told
    assert not ways.is_remote(ONE, locations, clusters)
    assert not ways.is_remote("rem.b", locations, clusters)
