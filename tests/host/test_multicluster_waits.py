"""Who waits for hosts where several clusters have one name space: no old answer, and no generation
of another cluster, lets a host that hangs pass for one that knows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from rigs import two_clusters
from rigs.clock import Clock
from rigs.core_fixtures import GIB
from rigs.starts import UUIDS, disk
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import plug, takeover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["all", "asked"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters of which neither waits for who loses a disk."""
    with two_clusters.opened(
        tmp_path, mc_detach_all=request.param, reassign_wait_for="gaining"
    ) as opened:
        yield opened


def made(pair: Pair) -> attachments.Target:
    """A disk that client 1 of each cluster has, and client 2 of ours."""
    name = names.object_name(UUIDS[0])
    tags = names.tags(UUIDS[0], "loc", UUIDS[0])
    target = attachments.Target(
        volumes.create(pair.client(TWO), Plan(Owner(name, tags), GIB)), name
    )
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    for number in (1, 2):
        attachments.attach(pair.client(ONE), pair.one.host(number), target, "rw")
    return target


def start(
    pair: Pair, target: attachments.Target, take: Callable[..., object] = takeover.take
) -> None:
    """Start a VM with this disk on client 1 of the first cluster, or plug it there, by a clock that
    no test waits for."""
    clock = Clock()
    deadline = Deadline(60, clock)
    settings = pair.one.settings(multicluster=True, cluster_id=ONE)
    host = dataclasses.replace(pair.one.host(1), deadline=deadline, sleep=clock.sleep)
    take(api.Client(settings, deadline, clock.sleep), host, [disk(target)], "os")


@pytest.mark.parametrize("changes", [1, 3, 6])
@pytest.mark.parametrize("whose", [ONE, TWO])
def test_a_start_believes_no_old_word_of_a_loser(pair: Pair, changes: int, whose: str) -> None:
    """T46: an instance that is behind tells of a time when the loser was up to date: the VM does
    not start while that host may still write."""
    target = made(pair)
    core, number = (pair.one, 2) if whose == ONE else (pair.two, 1)
    core.simulator.set_client(number, behind=True)
    pair.one.simulator.faults.add("old", query="ClientsConfigDump", changes=changes, times=4)
    who = f"client {number} of cluster {TWO}" if whose == TWO else f"client {number}"
    with pytest.raises(errors.DeadlineExceeded, match=f"{who} to learn"):
        start(pair, target)


@pytest.mark.parametrize("which", ["asked", "owner"])
@pytest.mark.parametrize("whose", [ONE, TWO])
def test_a_start_compares_no_generation_with_another_clusters(
    pair: Pair, which: str, whose: str
) -> None:
    """T46: the generation of a reply may be that of the volume's cluster, which is far behind."""
    target = made(pair)
    pair.switch(mc_generation=which)
    attachments.detach(pair.client(TWO), pair.two.host(1), target)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    assert pair.owner(target) == TWO
    for _ in range(30):
        pair.one.client().be_current()
    core, number = (pair.one, 2) if whose == ONE else (pair.two, 1)
    core.simulator.set_client(number, behind=True)
    who = f"client {number} of cluster {TWO}" if whose == TWO else f"client {number}"
    with pytest.raises(errors.DeadlineExceeded, match=f"{who} to learn"):
        start(pair, target)


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_a_plug_believes_no_old_word_of_who_is_down(pair: Pair, changes: int) -> None:
    """T57: a host that was down a moment ago has come up and runs a VM: nothing is forced from
    it."""
    target = made(pair)
    pair.one.simulator.set_client(2, running=False)
    for _ in range(3):
        pair.one.client().be_current()
    pair.one.simulator.set_client(2, running=True, opened=[target.global_id])
    pair.one.simulator.faults.add("old", query="ClientsConfigDump", changes=changes, times=3)
    before = pair.attached()
    with pytest.raises(errors.Conflict, match="is open at client 2"):
        start(pair, target, plug.take)
    assert pair.attached() == before


@pytest.mark.parametrize("which", ["asked", "owner"])
@pytest.mark.parametrize("busy", [ONE, TWO])
def test_growth_is_waited_for_in_each_cluster(pair: Pair, which: str, busy: str) -> None:
    """T55: whoever has a disk that grew is waited for where it is; who is down is told, with its
    cluster."""
    target = made(pair)
    pair.switch(mc_generation=which)
    core = pair.one if busy == ONE else pair.two
    for _ in range(30):
        core.client().be_current()
    pair.two.simulator.set_client(1, running=False)
    client = pair.client()
    pending = attachments.wait_for_hosts(
        client, volumes.grow(client, target.global_id, 2 * GIB), target
    )
    assert [str(each) for each in pending] == [f"1 of cluster {TWO}"]
    pair.two.simulator.set_client(1, running=True)
    assert attachments.wait_for_hosts(client, 1, target) == []
