"""What waits for hosts of several clusters: a growth, whoever's generation StorPool tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import two_clusters
from rigs.core_fixtures import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "ovirt--a"


@pytest.fixture(params=["asked", "owner"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters; the second one has seen more changes than the first."""
    with two_clusters.opened(tmp_path, mc_generation=request.param) as opened:
        for number in range(9):
            opened.two.post("VolumeCreate", {"name": f"x{number}", "size": GIB})
        yield opened


def grown(pair: Pair, owner: str, status: str = "running") -> list[int]:
    """Grow what hosts of both have, where it lives; return who could not be waited for."""
    target = attachments.Target(volumes.create(pair.client(owner), Plan(Owner(NAME), GIB)), NAME)
    clients = [(ONE, pair.one.host(2)), (TWO, pair.two.host(4))]
    for cluster_id, host in clients if owner == TWO else reversed(clients):
        attachments.attach(pair.client(cluster_id), host, target, "rw")
    assert pair.owner(target) == owner
    pair.two.set_client(4, status=status)
    generation = volumes.grow(pair.client(), target.global_id, 2 * GIB)
    pair.one.queries()
    pair.two.queries()
    return attachments.wait_for_hosts(pair.client(), generation, target)


@pytest.mark.parametrize("owner", [ONE, TWO])
def test_hosts_of_both_are_waited_for(pair: Pair, owner: str) -> None:
    """Each host that has it is waited for in its own cluster, and no other one."""
    assert grown(pair, owner) == []
    waits = [each.query for each in pair.one.simulator.calls.list()]
    assert waits.count("ClientConfigWait") == 2
    paths = [each.path for each in pair.one.simulator.calls.list()]
    assert [each for each in paths if each.endswith("ClientConfigWait/4")] == [
        f"/ctrl/1.0/RemoteCommand/~{TWO}/ClientConfigWait/4"
    ]


@pytest.mark.parametrize("owner", [ONE, TWO])
def test_a_host_that_is_down_is_told_with_its_cluster(pair: Pair, owner: str) -> None:
    """A client that is down is not waited for: it is named, with the cluster whose it is."""
    assert grown(pair, owner, "down") == [api.RemoteClient(4, TWO)]
