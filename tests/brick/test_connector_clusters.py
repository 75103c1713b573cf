"""connector.py on hosts of two clusters with one name space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import brick_rig
import pytest
from os_brick import exception

from cinder_driver.connector import StorPoolConnector
from rigs import two_clusters
from rigs.core_fixtures import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")


@pytest.fixture(params=["take", "refuse"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two clusters, whose hosts have our connector."""
    with (
        two_clusters.opened(tmp_path, remote_multicluster=request.param) as opened,
        brick_rig.without_privsep(),
        brick_rig.lock_path(),
    ):
        for core, client_id, cluster_id in ends(opened):
            folder = Path(core.root(client_id)) / "etc" / "storpool.conf.d"
            folder.mkdir(parents=True, exist_ok=True)
            text = f"SP_OVIRT_MULTICLUSTER=1\nSP_CLUSTER_ID={cluster_id}\n"
            (folder / "several.conf").write_text(text)
        yield opened


def ends(pair: Pair) -> list[tuple[Any, int, str]]:
    """The two hosts that are client 1."""
    return [(pair.one, 1, ONE), (pair.two, 1, TWO)]


class Hosts:
    """The connector, on the host that is meant by its root."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        self._roots = {ONE: pair.one.root(1), TWO: pair.two.root(1)}
        self._patch = monkeypatch

    def on(self, cluster_id: str) -> Any:
        """The connector on client 1 of a cluster."""
        self._patch.setenv("STORPOOL_OVIRT_ROOT", self._roots[cluster_id])
        return brick_rig.connector()


@pytest.fixture
def hosts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """The connector on both hosts."""
    return Hosts(pair, monkeypatch)


def made(pair: Pair, cluster_id: str = ONE) -> dict[str, Any]:
    """A volume of Cinder's in a cluster, as our driver describes it."""
    plan = Plan(Owner("os--volume-v1"), GIB)
    global_id = volumes.create(pair.client(cluster_id), plan)
    return {"client_id": 1, "volume": "v1", "access_mode": "rw", "global_id": global_id}


def write(path: str, data: bytes) -> None:
    """Write as a guest does."""
    with Path(path).open("r+b", buffering=0) as device:
        device.write(data + bytes(512 - len(data)))


def read(path: str) -> bytes:
    """Read as a guest does."""
    with Path(path).open("rb", buffering=0) as device:
        return device.read(512).rstrip(b"\0")


def test_the_host_tells_its_cluster(hosts: Hosts) -> None:
    """By the number alone the driver would let go of the host of that number in its own cluster."""
    for cluster_id in (ONE, TWO):
        hosts.on(cluster_id)
        told = StorPoolConnector.get_connector_properties(None)
        assert told == {"storpool_client_id": 1, "storpool_cluster_id": cluster_id}


@pytest.mark.parametrize("owner", [ONE, TWO])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_volume_goes_from_host_to_host(
    pair: Pair, hosts: Hosts, owner: str, by_name: bool
) -> None:
    """Attached on both, each keeps its own; what the one has written the other reads; it grows on
    both; each lets go of its own."""
    info = made(pair, owner)
    given = {key: info[key] for key in info if not (by_name and key == "global_id")}
    first = hosts.on(ONE).connect_volume(given)["path"]
    write(first, b"of one")
    second = hosts.on(TWO).connect_volume(given)["path"]
    both = {(info["global_id"], 1, ONE), (info["global_id"], 1, TWO)}
    assert (read(second), pair.attached(), first != second) == (b"of one", both, True)
    write(second, b"of two")
    assert read(first) == b"of two"
    volumes.grow(pair.client(), info["global_id"], 2 * GIB)
    for cluster_id, path in ((ONE, first), (TWO, second)):
        told = {**given, "device_path": path}
        assert hosts.on(cluster_id).extend_volume(told) == 2 * GIB
        assert hosts.on(cluster_id).get_volume_paths(told) == [path]
    hosts.on(ONE).disconnect_volume(given, {"path": first})
    assert pair.attached() == both - {(info["global_id"], 1, ONE)}
    hosts.on(ONE).disconnect_volume(given, {"path": first})  # again
    assert pair.attached() == both - {(info["global_id"], 1, ONE)}
    hosts.on(TWO).disconnect_volume(given, None)
    assert pair.attached() == set()


def test_the_owner_changes_while_it_is_attached(pair: Pair, hosts: Hosts) -> None:
    """A host that has it over the bridge keeps it, and lets go of it, whoever's it is then."""
    info = made(pair)
    path = hosts.on(ONE).connect_volume(info)["path"]
    write(path, b"kept")
    body = {"cluster": "two", "onAttached": "export"}
    pair.one.post("VolumeMoveToRemote/os--volume-v1", body)
    assert pair.client().volume("os--volume-v1").cluster_id == TWO
    assert hosts.on(ONE).connect_volume(info)["path"] == path
    assert read(path) == b"kept"
    hosts.on(ONE).disconnect_volume(info, {"path": path})
    assert pair.attached() == set()


def test_a_cut_bridge_is_no_absence(pair: Pair, hosts: Hosts) -> None:
    """T57: a detach that cannot see all clusters is no success for what may be attached here, and
    an attach leaves nothing; after it all goes on."""
    info = made(pair, TWO)
    named = {key: info[key] for key in info if key != "global_id"}
    path = hosts.on(ONE).connect_volume(info)["path"]
    body = {"cluster": "two", "onAttached": "export"}
    pair.one.post("VolumeMoveToRemote/os--volume-v1", body)
    pair.cut()
    before = pair.attached()
    with brick_rig.hasty():
        for unreachable in ("error", "omit"):
            pair.switch(mc_unreachable=unreachable)
            with pytest.raises(exception.BrickException):
                hosts.on(ONE).disconnect_volume(named, None)
            with pytest.raises(exception.BrickException):
                hosts.on(ONE).connect_volume(named)
    assert pair.attached() == before
    pair.heal()
    hosts.on(ONE).disconnect_volume(info, {"path": path})
    assert pair.attached() == set()
