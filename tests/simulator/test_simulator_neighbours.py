"""What is registered about others: locations, clusters, bridges, as the binding sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import Trio, opened_trio, outcome
from simulator_fixtures import TOKEN, RefusedError
from storpool import spapi

import storpool_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """The clusters, with nothing in them."""
    with opened_trio(tmp_path) as opened:
        yield opened


@pytest.fixture
def api(trio: Trio) -> spapi.Api:
    """The binding, to the first cluster."""
    return spapi.Api(trio.one.host, trio.one.port, auth=TOKEN, transientRetries=0)


def test_the_lists_are_of_the_remote_ones(api: spapi.Api) -> None:
    """LocationsList and ClustersList have what is registered as remote, not the own one [spapi]."""
    assert [(one.id, one.name) for one in api.locationsList()["locations"]] == [("rem", "rem")]
    listed = {(one.location, one.id, one.name) for one in api.clustersList()["clusters"]}
    assert listed == {("loc", "b", "two"), ("rem", "c", "far")}
    bridges = {
        (one.location, one.cluster, one.remote) for one in api.remoteBridgesList()["remoteBridges"]
    }
    assert bridges == {("loc", "two", "two"), ("rem", "far", "far")}


def test_a_cluster_alone_knows_nobody(tmp_path: Path) -> None:
    """Without others the lists are empty: StorPool's smoke test then skips its remote part
    [sptest]."""
    with storpool_simulator.running(tmp_path) as alone:
        api = spapi.Api(alone.host, alone.port, auth="token", transientRetries=0)
        assert api.locationsList()["locations"] == []
        assert api.clustersList()["clusters"] == []
        assert api.remoteBridgesList()["remoteBridges"] == []


def test_a_location_is_registered(api: spapi.Api) -> None:
    """LocationAdd, LocationUpdate, LocationRename and LocationRemove do what they say [sptypes]."""
    api.locationAdd({"id": "moon", "name": "Moon"})
    api.locationUpdate({"location": "Moon", "sendBufferSize": 7})
    api.locationUpdate({"location": "Moon", "recvBufferSize": 8})
    api.locationRename({"location": "Moon", "name": "Luna"})
    (luna,) = [one for one in api.locationsList()["locations"] if one.id == "moon"]
    assert (luna.name, luna.sendBufferSize, luna.recvBufferSize) == ("Luna", 7, 8)
    api.locationRemove({"location": "Luna"})
    assert [one.id for one in api.locationsList()["locations"]] == ["rem"]


def test_a_cluster_is_registered(api: spapi.Api) -> None:
    """ClusterAdd, ClusterRename and ClusterRemove do what they say [sptypes]."""
    api.clusterAdd({"id": "x", "location": "rem"})
    api.clusterRename({"cluster": "x", "name": "ex"})
    assert ("rem", "x", "ex") in {
        (one.location, one.id, one.name) for one in api.clustersList()["clusters"]
    }
    api.clusterRemove({"name": "ex", "clusterWillNotBeComingBack": True})
    api.clusterAdd({"id": "y", "location": "loc", "name": "why"})
    api.clusterRemove({"location": "loc", "id": "y"})
    assert {one.id for one in api.clustersList()["clusters"]} == {"b", "c"}


def test_without_a_bridge_nobody_is_reached(trio: Trio, api: spapi.Api) -> None:
    """A cluster whose bridge is deregistered on either side is known and not reached, until a
    bridge to it or to its location is registered again [kb]."""
    (far,) = [one for one in api.remoteBridgesList()["remoteBridges"] if one.cluster == "far"]
    api.remoteBridgeRemove({"ip": far.ip})
    assert outcome(lambda: trio.one.get("RemoteCommand/far/VolumesList")) == "multiCluster"
    assert outcome(lambda: trio.far.get("RemoteCommand/one/VolumesList")) == "multiCluster"
    key = {"ip": "203.0.113.9", "publicKey": "key"}
    api.remoteBridgeAdd({**key, "location": "rem", "minimumDeleteDelay": 60})
    (again,) = [one for one in api.remoteBridgesList()["remoteBridges"] if one.location == "rem"]
    assert (again.remote, again.minimumDeleteDelay) == ("rem", 60)
    assert trio.one.get("RemoteCommand/far/VolumesList") == []
    api.remoteBridgeRemove({"ip": key["ip"]})
    api.remoteBridgeAdd({**key, "remote": "far", "noCrypto": True})
    assert trio.one.get("RemoteCommand/far/VolumesList") == []


def test_a_cluster_that_is_removed_is_unknown(trio: Trio, api: spapi.Api) -> None:
    """It is in no name space, and its bridges are gone with it [inf]."""
    trio.two.create("v")
    api.clusterRemove({"name": "two"})
    assert trio.one.get("MultiCluster/VolumesList") == []
    assert outcome(lambda: trio.one.get("RemoteCommand/two/VolumesList")) == "objectDoesNotExist"
    assert [one.cluster for one in api.remoteBridgesList()["remoteBridges"]] == ["far"]


@pytest.mark.parametrize(
    ("query", "body", "error"),
    [
        ("LocationAdd", {"id": "rem", "name": "other"}, "objectExists"),
        ("LocationAdd", {"id": "loc", "name": "own"}, "objectExists"),
        ("LocationAdd", {"id": "new", "name": "rem"}, "objectExists"),
        ("LocationAdd", {"id": "new", "name": "loc"}, "objectExists"),
        ("LocationAdd", {"id": "N", "name": "new"}, "invalidParam"),
        ("LocationAdd", {"id": "new", "name": "list"}, "invalidParam"),
        ("LocationAdd", {"id": "new", "name": "n" * 64}, "invalidParam"),
        ("LocationAdd", {"id": "new"}, "invalidParam"),
        ("LocationRemove", {"location": "rem"}, "busy"),
        ("LocationRemove", {"location": "new"}, "objectDoesNotExist"),
        ("LocationUpdate", {"location": "new"}, "objectDoesNotExist"),
        ("LocationRename", {"location": "rem", "name": "loc"}, "objectExists"),
        ("ClusterAdd", {"id": "c", "location": "rem"}, "objectExists"),
        ("ClusterAdd", {"id": "a", "location": "loc"}, "objectExists"),
        ("ClusterAdd", {"id": "n", "location": "rem", "name": "two"}, "objectExists"),
        ("ClusterAdd", {"id": "n", "location": "rem", "name": "one"}, "objectExists"),
        ("ClusterAdd", {"id": "n", "location": "new"}, "objectDoesNotExist"),
        ("ClusterRemove", {"location": "loc"}, "invalidParam"),
        ("ClusterRemove", {"name": "new"}, "objectDoesNotExist"),
        ("ClusterRemove", {"location": "rem", "id": "n"}, "objectDoesNotExist"),
        ("ClusterRename", {"cluster": "far", "name": "two"}, "objectExists"),
        ("RemoteBridgeAdd", {"ip": "192.0.2.2", "publicKey": "k", "remote": "two"}, "objectExists"),
        ("RemoteBridgeAdd", {"ip": "x", "publicKey": "k", "remote": "n"}, "objectDoesNotExist"),
        ("RemoteBridgeAdd", {"ip": "x", "publicKey": "k"}, "invalidParam"),
        ("RemoteBridgeRemove", {"ip": "x"}, "objectDoesNotExist"),
    ],
)
def test_what_is_refused(trio: Trio, query: str, body: dict[str, Any], error: str) -> None:
    """What is there already, what nobody knows, and what is no name is refused, and nothing is
    changed."""
    before = trio.one.simulator.cluster.generation
    assert outcome(lambda: trio.one.post(query, body)) == error
    assert trio.one.simulator.cluster.generation == before


# the control port


def test_bridges_on_the_control_port(trio: Trio) -> None:
    """A bridge is cut, healed and slowed both ways; the delay of deletes is one side's own [kb]."""
    body = {"status": "down", "secondsPerGiB": 2.5, "minimumDeleteDelay": 60}
    trio.one.control("POST", "bridges/two", body)
    assert trio.one.control("GET", "bridges")["two"] == body
    assert trio.two.control("GET", "bridges")["one"] == {**body, "minimumDeleteDelay": None}
    trio.one.control("POST", "bridges/two", {"minimumDeleteDelay": None})
    trio.two.control("POST", "bridges/one", {"status": "up"})
    healed = {"status": "up", "secondsPerGiB": 2.5, "minimumDeleteDelay": None}
    assert trio.one.control("GET", "bridges")["two"] == healed
    assert trio.one.control("GET", "bridges")["far"]["status"] == "up"


@pytest.mark.parametrize(
    "body",
    [
        {"status": "broken"},
        {"secondsPerGiB": -1},
        {"minimumDeleteDelay": "1d"},
        {"status": "down", "unknown": 1},
        [],
    ],
)
def test_a_wrong_bridge_is_refused(trio: Trio, body: Any) -> None:
    """A wrong request to the control port changes nothing."""
    before = trio.one.control("GET", "bridges")
    with pytest.raises(RefusedError, match="invalidParam"):
        trio.one.control("POST", "bridges/two", body)
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        trio.one.control("POST", "bridges/three", {"status": "down"})
    assert trio.one.control("GET", "bridges") == before


def test_two_clusters_with_one_name_do_not_start(tmp_path: Path) -> None:
    """Two clusters of one process have different names and ids."""
    for clusters in ({"simulated": "sim.b"}, {"other": "sim.a"}):
        with (
            pytest.raises(storpool_simulator.StartError, match="two clusters"),
            storpool_simulator.running(tmp_path / str(len(clusters)), clusters=clusters),
        ):
            pass
