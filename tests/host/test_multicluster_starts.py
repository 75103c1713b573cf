"""Starts and plugs where several clusters have one name space: the attachments of all count."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from rigs import two_clusters
from rigs.clock import Clock
from rigs.core_fixtures import GIB
from rigs.starts import UUIDS, disk
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import config, errors, names
from storpool_ovirt.cluster import attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import plug, takeover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["all", "asked"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters; `detach: all` is meant for the clients of both, or of the asked one."""
    with two_clusters.opened(tmp_path, mc_detach_all=request.param) as opened:
        yield opened


def made(pair: Pair) -> attachments.Target:
    """A disk that client 1 of the other cluster has, and client 1 of ours."""
    name = names.object_name(UUIDS[0])
    tags = names.tags(UUIDS[0], "loc", UUIDS[0])
    target = attachments.Target(
        volumes.create(pair.client(TWO), Plan(Owner(name, tags), GIB)), name
    )
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(ONE), pair.one.host(1), target, "rw")
    return target


def here(pair: Pair) -> attachments.HostSide:
    """Client 1 of the first cluster, with a clock of its own."""
    clock = Clock()
    return dataclasses.replace(pair.one.host(1), deadline=Deadline(30, clock), sleep=clock.sleep)


def test_a_start_takes_a_disk_from_the_other_clusters_host(pair: Pair) -> None:
    """T46: a host of the other cluster that has the disk open loses it, before the guest runs."""
    target = made(pair)
    pair.two.set_client(1, open=[target.global_id])
    taken = takeover.take(pair.client(), here(pair), [disk(target)], "os")
    assert [each.global_id for each in taken.targets] == [target.global_id]
    assert pair.attached() == {(target.global_id, 1, ONE)}
    assert (target.global_id, 1) in pair.two.simulator.cluster.forced


def test_a_start_waits_for_the_other_clusters_host(pair: Pair) -> None:
    """T46: a loser of the other cluster that runs and hangs is asked for there, and named."""
    target = made(pair)
    pair.two.simulator.set_client(1, behind=True)
    with pytest.raises(errors.DeadlineExceeded, match=f"client 1 of cluster {TWO} to learn"):
        takeover.take(pair.client(), here(pair), [disk(target)], "os")


def test_a_start_is_refused_while_a_cluster_is_away(pair: Pair) -> None:
    """T46: nobody can say who has the disk there: nothing is taken, and the VM does not start."""
    target = made(pair)
    pair.switch(mc_unreachable="omit")
    pair.cut()
    before = pair.attached()
    with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
        takeover.take(pair.client(seconds=3), here(pair), [disk(target)], "os")
    assert pair.attached() == before


def test_a_plug_takes_nothing_that_is_open_elsewhere(pair: Pair) -> None:
    """T57: a plug is refused while a host of the other cluster has the disk open; closed, it is let
    go there."""
    target = made(pair)
    pair.two.set_client(1, open=[target.global_id])
    with pytest.raises(errors.Conflict, match=f"is open at client 1 of cluster {TWO}"):
        plug.take(pair.client(), here(pair), [disk(target)], "os")
    assert len(pair.attached()) == 2
    pair.two.set_client(1, open=[])
    plug.take(pair.client(), here(pair), [disk(target)], "os")
    assert pair.attached() == {(target.global_id, 1, ONE)}


@pytest.mark.parametrize("changes", [5])
def test_a_start_believes_no_old_list_of_who_has_a_disk(pair: Pair, changes: int) -> None:
    """T46: a host of the other cluster attached the disk a moment ago, and an instance that is
    behind does not list that yet: it loses the disk all the same, and there is one writer."""
    target = attached_there_last(pair, changes)
    takeover.take(pair.client(), here(pair), [disk(target)], "os")
    assert pair.attached() == {(target.global_id, 1, ONE)}


@pytest.mark.parametrize("changes", [5])
def test_a_plug_believes_no_old_list_of_who_has_a_disk(pair: Pair, changes: int) -> None:
    """T57: where that host has it open the plug is refused."""
    target = attached_there_last(pair, changes)
    with pytest.raises(errors.Conflict, match=f"is open at client 1 of cluster {TWO}"):
        plug.take(pair.client(), here(pair), [disk(target)], "os")
    assert len(pair.attached()) == 2


def attached_there_last(pair: Pair, changes: int) -> attachments.Target:
    """A disk of ours that client 1 of the other cluster has just opened, and the next lists of who
    has what are of so many changes ago."""
    target = made(pair)
    attachments.detach(pair.client(TWO), pair.two.host(1), target)
    for _ in range(9):
        pair.one.client().be_current()
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    pair.two.set_client(1, open=[target.global_id])
    pair.one.simulator.faults.add("old", query="AttachmentsList", changes=changes, times=4)
    return target


# what a host knows


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_a_host_of_several_clusters(tmp_path: Path, value: str) -> None:
    """T57: storpool.conf says that there are several, and which one is the host's own."""
    found = host_settings(tmp_path, f"SP_OVIRT_MULTICLUSTER={value}\nSP_CLUSTER_ID=loc.a\n")
    assert (found.api.multicluster, found.api.cluster_id) == (True, "loc.a")
    found = host_settings(tmp_path, "SP_CLUSTER_ID=loc.a\n")
    assert (found.api.multicluster, found.api.cluster_id) == (False, None)


@pytest.mark.parametrize("lines", ["", "SP_CLUSTER_ID=nonsense\n"])
def test_a_host_that_does_not_know_its_cluster(tmp_path: Path, lines: str) -> None:
    """T57: without its cluster's id it could take another cluster's client for itself."""
    with pytest.raises(errors.ConfigError, match="SP_CLUSTER_ID"):
        host_settings(tmp_path, f"SP_OVIRT_MULTICLUSTER=1\n{lines}")


def host_settings(folder: Path, lines: str) -> Any:
    """What a storpool.conf with these lines says."""
    (folder / "etc").mkdir(exist_ok=True)
    own = "SP_API_HTTP_HOST=127.0.0.1\nSP_AUTH_TOKEN=1\nSP_OURID=1\n"
    (folder / "etc" / "storpool.conf").write_text(own + lines)
    return config.host(str(folder), environment=False)
