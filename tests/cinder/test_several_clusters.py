"""The driver on two clusters with one name space, whose hosts have the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cinder import exception

from cinder_driver import hosts
from rigs import driver_rig, two_clusters
from rigs.core_fixtures import GIB
from rigs.driver_rig import CONTEXT, Backend, attachment, connector, snapshot, volume
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt.cluster import api, attachments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONF = """SP_CLUSTER_ID=loc.a
[host1.example.com]
SP_OURID=1
[far1.example.com]
SP_OURID=1
SP_CLUSTER_ID=loc.b
"""
FAR = {"host": "far.example.com", "storpool_client_id": 1, "storpool_cluster_id": TWO}
NEAR = {"host": "near.example.com", "storpool_client_id": 1, "storpool_cluster_id": ONE}


@pytest.fixture(params=["take", "refuse"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters."""
    with two_clusters.opened(tmp_path, remote_multicluster=request.param) as opened:
        yield opened


@pytest.fixture
def backend(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The driver, pinned to the first cluster."""
    root = tmp_path / "engine"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "storpool.conf").write_text(CONF)
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(root))
    given = {"storpool_multicluster": True, "storpool_cluster_id": ONE}
    with driver_rig.backend(pair.one, **given) as started:
        yield started


def stored(pair: Pair, one: Any) -> api.Volume:
    """A Cinder volume, wherever it lives."""
    return pair.client().volume(f"os--volume-{one['name_id']}")


def made(pair: Pair, backend: Backend, **values: Any) -> tuple[Any, attachments.Target]:
    """A volume, and how hosts know it."""
    one = volume(**values)
    backend.driver.create_volume(one)
    there = stored(pair, one)
    return one, attachments.Target(there.global_id, there.name)


def moved(pair: Pair, target: attachments.Target) -> None:
    """Have its owner be the other cluster, whoever has it attached."""
    pair.one.post(f"VolumeMoveToRemote/{target.name}", {"cluster": "two", "onAttached": "export"})
    assert pair.owner(target) == TWO


def test_a_life_between_clusters(pair: Pair, backend: Backend) -> None:
    """Made here, attached by a host of the other cluster, whose it is then; grown, frozen, put back
    and deleted by the driver of this one."""
    one, target = made(pair, backend)
    assert pair.owner(target) == ONE
    info = backend.driver.initialize_connection(one, FAR)["data"]
    assert (info["client_id"], info["global_id"]) == (1, target.global_id)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    assert pair.owner(target) == TWO
    backend.driver.extend_volume(one, 2)
    assert stored(pair, one).size_bytes == 2 * GIB
    frozen = snapshot(one)
    backend.driver.create_snapshot(frozen)
    backend.driver.revert_to_snapshot(CONTEXT, one, frozen)
    assert pair.attached() == set()
    copy = volume(size=2)
    backend.driver.create_volume_from_snapshot(copy, frozen)
    clone = volume(size=2)
    backend.driver.create_cloned_volume(clone, one)
    for each in (copy, clone, one):
        backend.driver.delete_volume(each)
    backend.driver.delete_snapshot(frozen)
    assert (pair.client().volumes(), backend.driver.delete_volume(one)) == ([], None)
    assert not [each for each in pair.client().snapshots() if not each.dying | each.transient]


@pytest.mark.parametrize("far", [FAR, {"host": "far1.example.com"}])
@pytest.mark.parametrize("near", [NEAR, {"host": "host1.example.com"}])
def test_terminate_detaches_the_host_of_the_right_cluster(
    pair: Pair, backend: Backend, far: dict[str, Any], near: dict[str, Any]
) -> None:
    """Client 1 of the one cluster is not client 1 of the other, whoever says which is meant."""
    one, target = made(pair, backend)
    both = {(target.global_id, 1, ONE), (target.global_id, 1, TWO)}
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    assert pair.attached() == both
    backend.driver.terminate_connection(one, far)
    assert pair.attached() == {(target.global_id, 1, ONE)}
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    backend.driver.terminate_connection(one, near)
    assert pair.attached() == {(target.global_id, 1, TWO)}


def test_an_open_device_of_the_other_cluster_stays(pair: Pair, backend: Backend) -> None:
    """T31: a detach from the right host, a delete, a revert: nothing pulls what is open there, also
    when the owner changes in between."""
    one, target = made(pair, backend)
    frozen = snapshot(one)
    backend.driver.create_snapshot(frozen)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    pair.two.set_client(1, open=[target.global_id])
    for last in (False, True):
        for act in (
            lambda: backend.driver.terminate_connection(one, FAR),
            lambda: backend.driver.terminate_connection(one, None),
            lambda: backend.driver.delete_volume(one),
            lambda: backend.driver.revert_to_snapshot(CONTEXT, one, frozen),
        ):
            with pytest.raises(exception.VolumeIsBusy, match="client 1"):
                act()
        assert pair.attached() == {(target.global_id, 1, TWO)}
        pair.two.post(
            f"VolumeMoveToRemote/{target.name}", {"cluster": "one", "onAttached": "export"}
        )
        assert pair.owner(target) == ONE
        if not last:
            moved(pair, target)


def test_who_shares_a_device(pair: Pair, backend: Backend) -> None:
    """Two guests of one host share its device; guests of two hosts with one number do not."""
    one, target = made(pair, backend, multiattach=True)
    both = [attachment(one, "near.example.com"), attachment(one, "far.example.com")]
    both[0].connector, both[1].connector = NEAR, FAR
    one.volume_attachment.objects = both
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    assert backend.driver.terminate_connection(one, FAR) is False
    assert pair.attached() == {(target.global_id, 1, ONE)}
    both[1].connector = NEAR
    assert backend.driver.terminate_connection(one, NEAR) is True
    assert pair.attached() == {(target.global_id, 1, ONE)}


def test_a_cut_bridge_is_no_absence(
    pair: Pair, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T57: while a cluster is away a delete is no success, a detach is no "nobody has it", and
    nothing is made anew under a name that may be there."""
    one, target = made(pair, backend)
    moved(pair, target)
    short = backend.driver.limits._replace(retry_seconds=1.0)
    monkeypatch.setattr(backend.driver, "limits", short)
    pair.cut()
    for unreachable in ("error", "omit"):
        pair.switch(mc_unreachable=unreachable)
        for act in (
            lambda: backend.driver.delete_volume(one),
            lambda: backend.driver.terminate_connection(one, FAR),
            lambda: backend.driver.initialize_connection(one, FAR),
            lambda: backend.driver.extend_volume(one, 3),
        ):
            with pytest.raises(exception.VolumeBackendAPIException):
                act()
    pair.heal()
    assert pair.owner(target) == TWO
    backend.driver.create_volume(one)  # Cinder repeats it
    assert len(pair.client().volumes()) == 1
    backend.driver.delete_volume(one)
    assert pair.client().volumes() == []


def test_the_owner_changes_during_a_verb(
    pair: Pair, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the change it goes to the other cluster: the change finds it there."""
    one, target = made(pair, backend)
    read = api.Client.volume
    due: list[bool] = []

    def moving(self: api.Client, address: str) -> api.Volume:
        found = read(self, address)
        if due:
            due.pop()
            here = pair.one if found.cluster_id == ONE else pair.two
            there = "two" if found.cluster_id == ONE else "one"
            here.post(f"VolumeMoveToRemote/{target.name}", {"cluster": there})
        return found

    for act in (
        lambda: backend.driver.extend_volume(one, 2),
        lambda: backend.driver.create_snapshot(snapshot(one)),
        lambda: backend.driver.create_cloned_volume(volume(size=2), one),
        lambda: backend.driver.delete_volume(one),
    ):
        due.append(True)
        with monkeypatch.context() as patched:
            patched.setattr(api.Client, "volume", moving)
            act()
        assert not due
    assert target.global_id not in {each.global_id for each in pair.client().volumes()}


@pytest.mark.parametrize("told", ["loc", 7, "", ["loc.a"]])
def test_a_cluster_that_is_none(backend: Backend, told: object) -> None:
    """What a host says is its cluster is checked before anything is asked of StorPool."""
    with pytest.raises(exception.InvalidConnectorException, match="is no cluster's id"):
        backend.driver.validate_connector({**FAR, "storpool_cluster_id": told})


def test_without_any_cluster_nobody_is_guessed(pair: Pair, backend: Backend) -> None:
    """A driver that is not pinned needs to hear the cluster from somewhere."""
    settings = pair.one.settings(multicluster=True)
    with pytest.raises(exception.InvalidConnectorException, match="storpool_cluster_id"):
        hosts.client_id({"storpool_client_id": 1}, (), settings)
    assert hosts.client_id(FAR, (), settings) == api.RemoteClient(1, TWO)
    assert hosts.client_id(connector(1), (), settings) == api.RemoteClient(1, ONE)
    backend.driver.validate_connector({"storpool_client_id": 1, "host": "unknown"})
