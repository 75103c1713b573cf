"""Several clusters that know each other: who is asked, who answers, and one that is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cluster_scenes
import pytest
from clusters_rig import Trio, opened_trio, outcome
from simulator_fixtures import GIB, TOKEN, RefusedError
from storpool import spapi

from storpool_simulator.api import calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """The clusters, with nothing in them."""
    with opened_trio(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in cluster_scenes.EXPECTED.items() for value in values],
    ids=str,
)
def test_both_values(trio: Trio, name: str, value: str) -> None:
    """Each value of each switch about several clusters has its own effect."""
    trio.switch(**{name: value})
    assert cluster_scenes.SCENES[name](trio) == cluster_scenes.EXPECTED[name][value]


# RemoteCommand


@pytest.mark.parametrize("key", ["two", "~loc.b"])
def test_remote_command_is_answered_by_the_other_cluster(trio: Trio, key: str) -> None:
    """RemoteCommand/ takes a cluster's name and ~id, for reading and changing [spapi] [csi]."""
    reply = trio.one.post(f"RemoteCommand/{key}/VolumeCreate", {"name": "v", "size": GIB})
    assert reply["globalId"].startswith("loc.b.")
    assert trio.one.names() == set()
    assert trio.two.names() == {"v"}
    assert trio.one.get(f"RemoteCommand/{key}/VolumesList") == trio.two.get("VolumesList")


def test_remote_command_reaches_another_location(trio: Trio) -> None:
    """A cluster of another location is reached by RemoteCommand, and is in no name space of ours
    [git 50a13d2]."""
    trio.one.post("RemoteCommand/far/VolumeCreate", {"name": "v", "size": GIB})
    assert trio.far.names() == {"v"}
    assert trio.one.get("MultiCluster/VolumesList") == []
    trio.one.post("MultiCluster/VolumeCreate", {"name": "v", "size": GIB})


def test_a_refusal_of_another_cluster_is_of_its_own_generation(trio: Trio) -> None:
    """RemoteCommand/ hands on what that cluster says: a client that compares generations would
    take all its later answers for old, if its refusals had ours."""
    for number in range(5):
        trio.one.post("VolumeCreate", {"name": f"v{number}", "size": GIB})
    here, there = (peer.simulator.cluster for peer in (trio.one, trio.two))
    for query in ("Volume/none", "KV/Get/none/none"):
        reply = trio.one.raw("GET", f"/ctrl/1.0/RemoteCommand/two/{query}")
        assert reply.json["error"]["name"] == "objectDoesNotExist"
        assert reply.json["generation"] == there.generation < here.generation


def test_a_cluster_that_is_not_connected(trio: Trio) -> None:
    """A name that no cluster has is the switch's error, a bridge that is down is another."""
    assert outcome(lambda: trio.one.get("RemoteCommand/three/VolumesList")) == "objectDoesNotExist"
    trio.cut()
    assert outcome(lambda: trio.one.get("RemoteCommand/two/VolumesList")) == "multiCluster"
    assert outcome(lambda: trio.two.get("RemoteCommand/one/VolumesList")) == "multiCluster"
    assert trio.one.get("RemoteCommand/far/VolumesList") == []
    trio.heal()
    assert trio.two.get("RemoteCommand/one/VolumesList") == []


# one name space


def test_an_object_is_found_in_every_cluster_of_the_location(trio: Trio) -> None:
    """A MultiCluster/ call finds a volume or snapshot by name and id wherever it is, and tells
    where [spapi] [addon mc]."""
    g = trio.two.create("v")
    s = trio.two.snapshot("v", "s")
    for query in ("Volume/v", f"Volume/~{g}", "Snapshot/s", f"Snapshot/~{s}"):
        reply = trio.one.raw("GET", f"/ctrl/1.0/MultiCluster/{query}").json
        assert reply["clusterId"] == "loc.b"
        (found,) = reply["data"]
        assert (found["clusterName"], found["clusterId"]) == ("two", "loc.b")
        assert outcome(lambda query=query: trio.one.get(query)) == "objectDoesNotExist"


def test_what_is_not_there_is_looked_for_everywhere(trio: Trio) -> None:
    """A name that no cluster of the location has does not exist, whatever other locations have."""
    trio.far.create("v")
    assert outcome(lambda: trio.one.get("MultiCluster/Volume/v")) == "objectDoesNotExist"


def test_changes_go_to_the_owner(trio: Trio) -> None:
    """Update, snapshot, revert, delete of another cluster's volume are done there [git 2152d9a]."""
    g = trio.two.create("v")
    one = trio.one
    before = one.simulator.cluster.generation
    for query, body in (
        (f"VolumeUpdate/~{g}", {"sizeAdd": GIB, "tags": {"a": "b"}}),
        ("VolumeSnapshot/v", {"name": "s"}),
        ("SnapshotUpdate/s", {"tags": {"c": "d"}}),
        ("VolumeRevert/v", {"toSnapshot": "s"}),
    ):
        reply = one.raw("POST", f"/ctrl/1.0/MultiCluster/{query}", body).json
        assert (reply["data"]["ok"], reply["clusterId"]) == (True, "loc.b")
    (volume,), (snapshot,) = trio.two.get("VolumesList"), trio.two.get("SnapshotsList")
    assert (volume["size"], volume["tags"], snapshot["tags"]) == (2 * GIB, {"a": "b"}, {"c": "d"})
    one.post("MultiCluster/SnapshotDelete/s")
    one.post("MultiCluster/VolumeDelete/v", {})
    assert trio.two.get("VolumesList") == []
    assert one.simulator.cluster.generation == before


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("VolumeCreate", {"name": "taken", "size": GIB}),
        ("VolumeUpdate/mine", {"rename": "taken"}),
        ("VolumeSnapshot/mine", {"name": "taken"}),
        ("VolumesGroupSnapshot", {"volumes": [{"volume": "mine", "name": "taken"}]}),
        ("SnapshotUpdate/shot", {"rename": "taken"}),
    ],
)
def test_a_name_is_taken_in_all_clusters(trio: Trio, query: str, body: dict[str, Any]) -> None:
    """A MultiCluster/ call gives no object a name that another cluster's object has; a plain call
    looks at its own cluster only [inf]."""
    trio.one.create("mine")
    trio.one.snapshot("mine", "shot")
    trio.two.create("taken")
    before = trio.one.simulator.cluster.generation
    assert outcome(lambda: trio.one.post(f"MultiCluster/{query}", body)) == "objectExists"
    assert trio.one.simulator.cluster.generation == before
    trio.one.post(query, body)


def test_lists_are_of_all_clusters(trio: Trio) -> None:
    """MultiCluster/ lists have the objects of all clusters of the location, each with its
    cluster [sptypes] [kvchk]."""
    trio.one.create("v")
    trio.two.create("w")
    trio.two.reassign({"volume": "w", "rw": [1]})
    for query in ("VolumesList", "VolumesSpace"):
        listed = {(one["name"], one["clusterId"]) for one in trio.two.get(f"MultiCluster/{query}")}
        assert listed == {("v", "loc.a"), ("w", "loc.b")}
    for query in ("VolumesGetStatus", "VolumesGetStatusQuick"):
        assert set(trio.one.get(f"MultiCluster/{query}")) == {"v", "w"}
    (attached,) = trio.one.get("MultiCluster/AttachmentsList")
    assert (attached["volume"], attached["client"]) == ("w", 1)
    assert (attached["cluster"], attached["clusterId"]) == ("two", "loc.b")
    assert trio.one.get("AttachmentsList") == []


# AllClusters


@pytest.mark.parametrize("query", calls.ALL_CLUSTERS)
def test_all_clusters_have_a_row_each(trio: Trio, query: str) -> None:
    """MultiCluster/AllClusters/ has a row for each cluster of the location, with its reply or with
    its error [cs-up] [addon mc]."""
    trio.two.create("v")
    trio.two.snapshot("v", "s")
    own, other = trio.one.get(f"MultiCluster/AllClusters/{query}")["clusters"]
    assert [(row["clusterId"], row["clusterName"]) for row in (own, other)] == [
        ("loc.a", "one"),
        ("loc.b", "two"),
    ]
    alone = trio.one.get(f"RemoteCommand/two/{query}")
    assert len(other["response"]["data"]) == len(alone)
    assert other["response"]["generation"] == trio.two.simulator.cluster.generation
    trio.cut()
    own, other = trio.one.get(f"MultiCluster/AllClusters/{query}")["clusters"]
    assert "error" not in own
    assert own["response"]["generation"] == trio.one.simulator.cluster.generation
    assert (other["clusterId"], other["error"]["name"]) == ("loc.b", "multiCluster")
    assert "response" not in other


def test_what_is_here_needs_nobody(trio: Trio) -> None:
    """A MultiCluster/ call about an object of the asked cluster works while another is away."""
    trio.one.create("v")
    trio.cut()
    (found,) = trio.one.get("MultiCluster/Volume/v")
    assert found["clusterId"] == "loc.a"
    trio.one.post("MultiCluster/VolumeUpdate/v", {"tags": {"a": "b"}})
    assert outcome(lambda: trio.one.get("MultiCluster/AttachmentsList")) == "multiCluster"


# the binding, and restarts


@pytest.mark.parametrize("cluster", ["", "two", "~loc.b"])
def test_the_binding_reads_the_replies(trio: Trio, cluster: str) -> None:
    """The official binding takes MultiCluster replies with the id beside the data, and reaches
    other clusters by its clusterName [spapi]."""
    api = spapi.Api(trio.one.host, trio.one.port, auth=TOKEN, multiCluster=True)
    more = {"clusterName": cluster} if cluster else {}
    made = api.volumeCreate({"name": "v", "size": GIB}, **more)
    (found,) = api.volumeList(f"~{made.globalId}")
    assert found.clusterId == ("loc.b" if cluster else "loc.a")
    assert {one.clusterId for one in api.volumesList()} == {found.clusterId}


def test_a_restart_keeps_what_is_registered(tmp_path: Path) -> None:
    """Names that an administrator gave, and the objects of each cluster, outlive the process."""
    with opened_trio(tmp_path) as trio:
        trio.one.post("ClusterRename", {"cluster": "two", "name": "second"})
        trio.two.create("v")
    with opened_trio(tmp_path) as trio:
        (found,) = trio.one.get("MultiCluster/Volume/v")
        assert found["clusterId"] == "loc.b"
        assert trio.one.get("RemoteCommand/second/VolumesList")[0]["name"] == "v"
        with pytest.raises(RefusedError):
            trio.one.get("RemoteCommand/two/VolumesList")


def test_numbers_of_two_clusters_differ(trio: Trio) -> None:
    """No two clusters give out the same visible id, as it stays with an object that moves."""
    for peer in (trio.one, trio.two):
        for number in range(3):
            peer.create(f"{peer.simulator.cluster_id}-{number}")
    ids = [one["visibleVolumeId"] for one in trio.one.get("MultiCluster/VolumesList")]
    assert len(set(ids)) == 6
