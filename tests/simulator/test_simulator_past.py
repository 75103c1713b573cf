"""An instance that is behind: every reading call can be answered from some changes ago, in every
form, and by all clusters together."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import Trio, opened_trio
from simulator_fixtures import GIB, Peer, opened_peer

from storpool_simulator.api import calls, queries, slices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What the path of a query names, in the scene below.
NAMED = {
    "ServerDisksList": ["1"],
    "ServerDiskDescribe": ["1", "101"],
    "DiskDescribe": ["101"],
    "DiskActiveRequests": ["101"],
    "ClientActiveRequests": ["1"],
    "PlacementGroupDescribe": ["default"],
    "VolumeTemplateDescribe": ["nvme"],
    "KV/List": ["b"],
    "KV/Get": ["b/k"],
}
VOLUMES, SNAPSHOTS = ["v", "t", "none", "~loc.a.zzz"], ["s", "late", "none"]
# Some of those whose data the changes of this test touch.
TOUCHED = set(
    (
        "VolumesList Volume/v VolumeDescribe/v VolumesSpace VolumesGetStatus SnapshotsList "
        "Snapshot/s Snapshot/late AttachmentsList ServicesList ClientsConfigDump DisksList "
        "PlacementGroupsList DiskDescribe/101 VolumeTemplatesList VolumeTemplatesStatus KV "
        "KV/List/b KV/Get/b/k ExportsList MultiCluster/VolumesList MultiCluster/Volume/t "
        "MultiCluster/AllClusters/VolumesList RemoteCommand/two/Volume/t"
    ).split()
)


def paths() -> list[str]:
    """Every reading call that can be answered from the past, in each of its forms."""
    found = []
    for query in calls.TABLE.values():
        if query.method != "GET" or query.name == "ClientConfigWait":
            continue
        kind = SNAPSHOTS if "Snapshot" in query.name else VOLUMES
        names = NAMED.get(query.name, kind if query.arity else [""])
        forms = [""] * query.plain + ["MultiCluster/"] * query.multi_cluster
        if query.name in calls.ALL_CLUSTERS:
            forms.append("MultiCluster/AllClusters/")
        for form, name in itertools.product(forms, names):
            found.append(f"{form}{query.name}/{name}".rstrip("/"))
    return [*found, "RemoteCommand/two/VolumesList", "RemoteCommand/two/Volume/t"]


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """Three clusters with something of everything."""
    with opened_trio(tmp_path_factory.mktemp("trio"), switches={"linger": "1000"}) as trio:
        trio.switch(list_multicluster="true")
        one, two = trio.one, trio.two
        one.create("v", template="nvme", tags={"a": "b"})
        one.snapshot("v", "s")
        one.reassign({"volume": "v", "rw": [1]})
        one.post("KV/Create/b")
        one.post("KV/Set/b", {"set": {"k": "v"}})
        two.create("t", template="nvme")
        yield trio


def data(reply: tuple[int, str]) -> Any:
    """What a reply says, but for its generation."""
    value = json.loads(reply[1])
    return value.get("data", value.get("error"))


def change(one: Peer, two: Peer) -> None:
    """Change something of everything, in two clusters, as often in each."""
    one.post("VolumeUpdate/v", {"tags": {"a": "c"}, "size": 2 * GIB})
    one.snapshot("v", "late")
    one.reassign({"volume": "v", "rw": [2], "detach": [1]})
    one.post("VolumeTemplateUpdate/nvme", {"bw": 7})
    one.post("KV/Set/b", {"set": {"k": "w"}})
    one.post("PlacementGroupUpdate/default", {"rmDisks": [101]})
    one.post("DiskSetDescription/101", {"description": "old"})
    one.post("SnapshotExport", {"snapshot": "s", "location": "rem"})
    one.post("SnapshotUpdate/s", {"tags": {"a": "d"}})
    one.simulator.set_client(7, running=False)
    one.create("other", template="nvme")
    for number in range(10):
        two.post("VolumeUpdate/t", {"tags": {"turn": str(number)}})


def test_every_reading_call_is_answered_from_the_past(trio: Trio) -> None:
    """Each reading call, plain, with MultiCluster/, AllClusters/ and RemoteCommand/, of what there
    is, was not yet and never was: answered as before the last ten changes, to the byte, with that
    generation; the active instance, and the next call, know the present."""
    active = {"Simulator-Instance": "active", "Authorization": "Storpool v1:4711"}
    asked = paths()

    def replies(headers: dict[str, str] | None = None) -> dict[str, tuple[int, str]]:
        found = {path: trio.one.raw("GET", f"/ctrl/1.0/{path}", None, headers) for path in asked}
        return {path: (reply.status, reply.text) for path, reply in found.items()}

    before = replies()
    generations = [peer.simulator.cluster.generation for peer in (trio.one, trio.two)]
    change(trio.one, trio.two)
    made = [
        peer.simulator.cluster.generation - generation
        for peer, generation in zip((trio.one, trio.two), generations)
    ]
    assert made == [10, 10]
    now = replies(active)
    differing = {path for path in asked if data(before[path]) != data(now[path])}
    assert differing >= TOUCHED
    trio.one.simulator.faults.add("old", times=len(asked), changes=10)
    past = replies()
    assert {path for path in asked if past[path] != before[path]} == set()
    assert replies() == now


@pytest.mark.parametrize("changes", [1, 2, 3, 300])
def test_the_past_is_as_far_back_as_asked(tmp_path: Path, changes: int) -> None:
    """Changes that are undone are counted one by one, to the start at most."""
    shown: list[Any] = []
    with opened_peer(tmp_path) as peer:
        shown.append(peer.get("VolumesList"))
        for number in range(4):
            peer.create(f"v{number}")
            peer.post(f"VolumeUpdate/v{number}", {"rename": f"w{number}"})
            shown += [peer.get("VolumesList")] if number < 3 else []
        peer.switch(lag=str(2 * changes))
        seen = [peer.get("VolumesList") for _ in range(2)]
        assert shown[max(0, 4 - changes)] in seen
        assert sorted(map(len, seen)) == [max(0, 4 - changes), 4]


SLICED = (
    "VolumesList SnapshotsList VolumesSpace SnapshotsSpace VolumesGetStatus VolumesGetStatusQuick "
    "VolumesAndSnapshotsList AttachmentsList VolumeBalancerVolumesStatus ExportsList"
).split()


@pytest.mark.parametrize("query", SLICED)
def test_what_is_made_later_is_of_the_moment_of_the_call(tmp_path: Path, query: str) -> None:
    """Not an element of a list may have been made when others change what it tells: it is of the
    moment of its call all the same."""
    with opened_trio(tmp_path) as trio:
        peer = trio.one
        peer.create("v", template="nvme")
        peer.snapshot("v", "s")
        peer.reassign({"volume": "v", "rw": [1]})
        peer.post("SnapshotExport", {"snapshot": "s", "location": "rem"})
        expected = peer.get(query)
        call = queries.Call(query, peer.simulator.cluster, (), None, multi_cluster=False)
        answer = calls.answer(calls.TABLE[query], call)
        del call
        peer.reassign({"volume": "v", "detach": [1]})
        peer.post("VolumeUpdate/v", {"rename": "w"})
        peer.post("SnapshotUpdate/s", {"rename": "r"})
        peer.create("new")
        assert json.loads("".join(slices.text(answer.data))) == expected != peer.get(query)
