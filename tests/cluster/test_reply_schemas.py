"""replies.py, requests.py: each reply that we read is what StorPool's official binding says it is,
method by method, and where a field that we read is not, we refuse it too."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from rigs import far_cluster
from rigs.far_cluster import GIB, LOCATION, MIB_SECONDS, Both
from storpool_ovirt import errors
from storpool_ovirt.cluster import api, binding, remote, requests, transport
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Step = Callable[[api.Client], object]

SPAPI = binding.load()
TAGS = {"virt": "ovirt", "empty": ""}
GONE = object()
ODD = (GONE, None, True, 0, -1, 1.5, 1 << 70, "", "x y", "~", "x" * 5000, [], ["x"], {}, {"x": 1})


def all_three(*found: object) -> tuple[object, ...]:
    """Keep what is scanned."""
    return found


# How our programs make each call, in an order in which each of them can be made.
STEPS: dict[str, Step] = {
    "volumeCreate": lambda there: there.volume_create(
        {"name": "v", "size": GIB, "template": "nvme", "tags": TAGS}
    ),
    "snapshotCreate": lambda there: there.volume_snapshot("v", {"name": "s", "tags": TAGS}),
    "volumeRevert": lambda there: there.volume_revert("v", "s"),
    "volumeUpdate": lambda there: there.volume_update("v", {"size": 2 * GIB}),
    "snapshotUpdate": lambda there: there.snapshot_update("s", {"tags": {"a": "b"}}),
    "snapshotCreateGroup": lambda there: there.group_snapshot(
        {"volumes": [{"volume": "v", "name": "g", "tags": TAGS}]}, "g"
    ),
    "volumesReassignWait": lambda there: there.reassign([{"volume": "v", "rw": [1]}], 5, "v"),
    "attachmentsList": lambda there: there.attachments(),
    "volumesList": lambda there: there.volumes(),
    "snapshotsList": lambda there: there.snapshots(),
    "volumeList": lambda there: there.limited_volume("v"),
    "snapshotList": lambda there: there.snapshot("s"),
    "volumesSpace": lambda there: there.scanned("volume", all_three, Words()),
    "snapshotsSpace": lambda there: there.scanned("snapshot", all_three, Words()),
    "clientsConfigDump": lambda there: there.clients(),
    "clientConfigWait": lambda there: there.client_wait(1),
    "volumeTemplatesStatus": lambda there: there.templates(),
    "volumeTemplateDescribe": lambda there: there.template_parent("nvme"),
    "kvsCreate": lambda there: there.bucket_create("b"),
    "kvsUpdate": lambda there: there.pair_set("b", "k", "value"),
    "kvsGet": lambda there: there.pair("b", "k"),
    "servicesList": lambda there: there._ask("cluster", "servicesList", "", ()),
    "locationsList": remote.locations,
    "clustersList": lambda there: remote.clusters(there, LOCATION),
    "volumesGroupBackup": lambda there: remote.backup(there, [there.volume("v")], LOCATION, {}),
    "exportsList": remote.exports,
    "snapshotsRemoteList": remote.listed,
    "snapshotFromRemote": lambda there: remote.fetch(
        there, remote.Fetch(LOCATION, remote.listed(there)[0].remote_id, "f", TAGS)
    ),
    "snapshotsRemoteUnexport": lambda there: remote.give_up(
        there, LOCATION, remote.listed(there)[0].remote_id, 0
    ),
    "snapshotDelete": lambda there: there.snapshot_delete("s"),
    "volumeDelete": lambda there: there.volume_delete("v"),
}


class Recorded(NamedTuple):
    """What StorPool answered to each method, and what it had answered to those that were asked on
    the way to it."""

    data: Any
    others: Mapping[str, Any]


@pytest.fixture(params=[False, True], ids=["one cluster", "several"])
def recorded(
    tmp_path: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Recorded]]:
    """Give what was answered to each method."""
    call, said = transport.Transport.call, {}

    def heard(there: transport.Transport, method: str, *args: Any, **more: Any) -> transport.Reply:
        reply = call(there, method, *args, **more)
        said[method] = copy.deepcopy(reply.data)
        return reply

    monkeypatch.setattr(transport.Transport, "call", heard)
    found: dict[str, Recorded] = {}
    with far_cluster.opened(tmp_path) as both:
        both.slow()
        for method, step in STEPS.items():
            _prepare(both, method)
            said.clear()
            step(both.client(multicluster=request.param))
            found[method] = Recorded(said.pop(method), dict(said))
        monkeypatch.undo()
        yield found


def _prepare(both: Both, method: str) -> None:
    if method == "snapshotsRemoteList":
        both.advance(GIB / (1 << 20) * MIB_SECONDS * 4)
    if method == "volumeDelete":
        both.client().reassign([{"volume": "v", "detach": "all"}], 5, "v")


def refusal(method: str, data: Any) -> str:
    """Return why the binding's own types refuse a reply, "" where they take it."""
    try:
        getattr(SPAPI.Api, method).__globals__["returns"](data)
    except Exception as error:
        return str(error) or error.__class__.__name__
    return ""


def test_each_reply_is_what_the_binding_says(recorded: dict[str, Recorded]) -> None:
    """[spapi] [sptypes] The whole of it, for each method of our table that the binding has."""
    assert set(recorded) == set(requests.REQUESTS) - {"allClusters"}
    for method, each in recorded.items():
        assert refusal(method, each.data) == "", method


class Seen(dict[str, Any]):
    """An object of a reply, which notes what is read of it."""

    def __init__(self, held: Mapping[str, Any], place: tuple[Any, ...], read: set[Any]) -> None:
        super().__init__(held)
        self._place, self._read = place, read

    def get(self, key: str, default: Any = None) -> Any:
        """Note it."""
        self._read.add((*self._place, key))
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._read.add((*self._place, key))
        return super().__getitem__(key)


def noting(held: Any, place: tuple[Any, ...], read: set[Any]) -> Any:
    """Return a reply that notes what is read of it."""
    if isinstance(held, dict):
        inside = {key: noting(each, (*place, key), read) for key, each in held.items()}
        return Seen(inside, place, read)
    if isinstance(held, list):
        return [noting(each, (*place, number), read) for number, each in enumerate(held)]
    return held


def with_odd(data: Any, place: tuple[Any, ...], odd: object) -> Any:
    """Return a reply with something else in a place of it."""
    if not place:
        return odd
    made = copy.deepcopy(data)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    if odd is GONE:
        inner.pop(place[-1], None)
    else:
        inner[place[-1]] = odd
    return made


def answer(method: str, each: Recorded, data: Any) -> str:
    """Return why we refuse a reply, "" where we take it."""
    from rigs.clock import Clock
    from storpool_ovirt import config
    from storpool_ovirt.secret import Secret

    time = Clock()
    settings = config.Api("127.0.0.1", 1, Secret("42"))
    there = api.Client(settings, Deadline(100, time), time.sleep)

    def canned(asked: str, *_args: Any, **_more: Any) -> transport.Reply:
        return transport.Reply(data if asked == method else each.others[asked], 1)

    there._transport.call = canned  # type: ignore[method-assign]
    there._like = lambda *_args, **_more: there  # type: ignore[method-assign]
    there.give_up_after(0.0)
    try:
        STEPS[method](there)
    except errors.Error as error:
        return str(error)
    return ""


# What older releases do not give, or not for all: nothing is known then.
NOT_ALWAYS = {
    *("clusterId", "createdFromGlobalId", "creationTimestamp", "deleted", "generation", "globalId"),
    *("localSnapshot", "parentName", "size", "snapshotGlobalId", "transient", "visibleVolumeId"),
    *("bw", "iops", "volume"),
}
# Any text: it is that of something that is not ours, or only one of its words means anything.
ANY_TEXT = {
    *("configStatus", "id", "localSnapshot", "location", "mcState", "name", "parentName"),
    *("templateName", "volume"),
}


def is_harmless(place: tuple[Any, ...], odd: object) -> bool:
    """Return whether we take what the binding refuses there, knowingly: one object of others must
    not keep us from reading of all."""
    field = [key for key in place if isinstance(key, str)][-1]
    if isinstance(odd, str) and odd and (field in ANY_TEXT or "tags" in place):
        return True
    return (field in NOT_ALWAYS and odd in (GONE, None, "")) or (field, odd) in HARMLESS


HARMLESS: tuple[tuple[str, object], ...] = (
    ("size", 0),
    ("name", ""),
    ("location", ""),
    ("id", ""),
    ("configStatus", ""),
    ("mcState", ""),
)


def test_what_the_binding_refuses_of_what_we_read_we_refuse(recorded: dict[str, Recorded]) -> None:
    """Whatever stands in the place of a field that we read, also where nothing does: no number that
    is none, no list in the place of a text, travels further in."""
    tried = 0
    for method, each in recorded.items():
        read: set[tuple[Any, ...]] = set()
        assert answer(method, each, noting(each.data, (), read)) == "", method
        for place in sorted(read, key=str):
            for odd in ODD:
                damaged = with_odd(each.data, place, odd)
                why = refusal(method, damaged)
                if why and not is_harmless(place, odd):
                    tried += 1
                    assert answer(method, each, damaged), (method, place, odd, why)
    assert tried > 300


def test_a_reply_of_another_kind_is_refused(recorded: dict[str, Recorded]) -> None:
    """A list for an object, a text for a list: whatever comes in the place of the whole."""
    for method, each in recorded.items():
        for odd in (None, True, 1, "ok", [], [1], [[]], {}, {"ok": False}):
            if refusal(method, odd) and (method, str(odd)) not in NOT_READ:
                assert answer(method, each, odd), (method, odd)


NOT_READ = {
    # It is asked only whether the pinned cluster answers: a proof is any reply.
    *(
        ("servicesList", str(odd))
        for odd in (None, True, 1, "ok", [], [1], [[]], {}, {"ok": False})
    ),
    ("volumeTemplateDescribe", "{}"),  # a template without a parent
    ("volumeTemplateDescribe", "{'ok': False}"),
}
