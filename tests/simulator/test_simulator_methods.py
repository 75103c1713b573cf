"""Each method of the official binding whose call is simulated: the request is one that it would
send, whole; the reply is one that it knows, whole; without MultiCluster and with it.

The binding itself is lenient in both directions [readme 4.0.0]: it drops fields that it does not
know, and gives an object with holes where a field is missing or wrong. `Exact` is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import binding_cases
import pytest
from simulator_fixtures import TOKEN, Peer, opened_peer
from storpool import spapi, spdoc, spjson

from storpool_simulator.api import calls

if TYPE_CHECKING:
    from pathlib import Path

METHODS = {
    name: method for name, method in vars(spapi.Api).items() if getattr(method, "spDoc", None)
}
# Fields of replies that the schemas do not have: who reads them, and of which calls they are.
_SUMMARIES = (
    "VolumesList Volume VolumeDescribe VolumeGetInfo VolumesGetStatus VolumesGetStatusQuick"
    " VolumesSpace"
)
_SNAPSHOTS = (
    "SnapshotsList Snapshot SnapshotDescribe SnapshotGetInfo SnapshotsSpace VolumeListSnapshots"
)
BESIDE = {
    "ok": ("[addon] goes on only when it is there", "VolumesGroupSnapshot"),
    "generation": ("[spapi] ApiOk, as in every reply to a POST", "VolumesGroupSnapshot"),
    "globalId": ("[addon mc] writes it down after a revert", "VolumeRevert"),
    "preservedGlobalId": ("[addon mc] looks for a volume by it", _SUMMARIES),
    "snapshot": ("[pve] tells the two kinds apart by it", f"{_SUMMARIES} {_SNAPSHOTS}"),
    "snapshotName": ("[addon mc] attaches by it for a backup", "VolumesGroupSnapshot"),
    "iops": ("[addon mc] compares it with what a data store says", "VolumeTemplatesStatus"),
    "bw": ("[addon mc] compares it with what a data store says", "VolumeTemplatesStatus"),
}
# The binding has the field of this request as a map's key, so that its documentation has none.
MAPS = {"locationRemove": {"location"}}


def query(method: str) -> tuple[str, str]:
    """Return the query that a method of the binding sends, and GET or POST."""
    document = METHODS[method].spDoc
    path = document.path[len("/ctrl/1.0/") :].replace("MultiCluster/", "")
    return path.split("/{")[0], document.method


SERVED = [
    name
    for name in METHODS
    if query(name)[0] in calls.TABLE and calls.TABLE[query(name)[0]].method == query(name)[1]
]


class Exact:
    """The binding, refusing what it would drop or leave out."""

    def __init__(self, peer: Peer, *, multi_cluster: bool) -> None:
        self.peer = peer
        self.api = spapi.Api(
            peer.host, peer.port, auth=TOKEN, transientRetries=0, multiCluster=multi_cluster
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method; return what it returns."""
        function = getattr(self.api, method)
        self.peer.simulator.calls.clear()
        raw = function(*arguments, returnRawAPIData=True)
        (sent,) = self.peer.simulator.calls.list()
        if sent.method == "POST" and isinstance(arguments[-1] if arguments else None, (dict, list)):
            found = differences(arguments[-1], sent.body)
            # What a request leaves out, the binding fills in: `force` of an item, for one.
            assert [each for each in found if not each.startswith("missing")] == []
        parsed = function.__globals__["returns"](raw)
        found = differences(raw, json.loads(spjson.dumps(parsed)))
        assert [each for each in found if not is_beside(method, each)] == []
        return parsed


def is_beside(method: str, difference: str) -> bool:
    """Return whether this is a field that the schema does not have and somebody reads."""
    kind, place = difference.split(": ", 1)
    _, queries = BESIDE.get(place.rsplit(".", 1)[-1], ("", ""))
    return kind == "unknown" and query(method)[0] in queries.split()


def differences(given: Any, known: Any, at: str = "") -> Iterator[str]:
    """Yield where what was given is not what the schema knows: unknown, missing, or another value.

    A field that may be missing is None for the binding. Its sets have no order.
    """
    if isinstance(given, dict) and isinstance(known, dict):
        for key in given.keys() | known.keys():
            if key not in known:
                yield f"unknown: {at}.{key}"
            elif key in given:
                yield from differences(given[key], known[key], f"{at}.{key}")
            elif known[key] is not None:
                yield f"missing: {at}.{key}"
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        if not any(isinstance(each, (dict, list)) for each in given):
            given, known = sorted(given), sorted(known)
        for number, pair in enumerate(zip(given, known)):
            yield from differences(*pair, f"{at}[{number}]")
    elif type(given) is not type(known) or given != known:
        yield f"another: {at} is {given!r}, read as {known!r}"


def schema_fields(document: Any) -> set[str]:
    """Return the names of all fields in a schema, as its documentation has them."""
    if isinstance(document, spdoc.JsonObjectDoc):
        inner = [schema_fields(kind) for kind, _ in document.attrs.values()]
        return set(document.attrs).union(*inner)
    return set().union(*map(schema_fields, getattr(document, "deps", ())))


def test_each_call_has_its_case() -> None:
    """A call that is added to the table of calls and that the binding knows is tried here."""
    assert set(binding_cases.CASES) == set(SERVED)


@pytest.mark.parametrize("method", SERVED)
def test_a_case_has_each_field(method: str) -> None:
    """Every field of a request that the schema of a method knows is sent by its case, and no
    other."""
    schema = METHODS[method].spDoc.json
    known = MAPS.get(method) or (set() if schema is None else schema_fields(schema))
    assert set(binding_cases.field_names(binding_cases.CASES[method])) == known


@pytest.mark.parametrize(
    ("method", "multi_cluster"),
    [
        (name, multi_cluster)
        for name in SERVED
        for multi_cluster in (False, True)
        if multi_cluster or calls.TABLE[query(name)[0]].plain
    ],
)
def test_a_method_works(tmp_path: Path, method: str, multi_cluster: bool) -> None:
    """The request of each method goes over the wire as it was given and is accepted; in the reply
    nothing is unknown to its schema, missing, or of another type."""
    switches = {"linger": "100"}  # what is deleted stays to be seen
    with opened_peer(
        tmp_path,
        cluster_id="abcd.e",
        cluster_name="one",
        switches=switches,
        clusters={"two": "abcd.f", "far": "wxyz.a"},
    ) as running:
        ids = binding_cases.filled(running)
        exact = Exact(running, multi_cluster=multi_cluster)
        for arguments in binding_cases.CASES[method]:
            exact.call(method, *binding_cases.named(arguments, ids))


@pytest.mark.parametrize(
    ("given", "known", "found"),
    [
        ({"a": 1}, {"a": 1, "b": None}, []),
        ({"a": 1, "b": 2}, {"a": 1}, ["unknown: .b"]),
        ({}, {"a": 1}, ["missing: .a"]),
        ({"a": [{"b": "1"}]}, {"a": [{"b": 1}]}, ["another: .a[0].b is '1', read as 1"]),
        ([2, 1], [1, 2], []),
        ([1], [1, 2], ["another:  is [1], read as [1, 2]"]),
        (True, 1, ["another:  is True, read as 1"]),
    ],
)
def test_each_difference_is_seen(given: Any, known: Any, found: list[str]) -> None:
    """What the binding would drop, fill in or convert is named with its place."""
    assert list(differences(given, known)) == found
