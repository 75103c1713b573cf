"""transport.py: what either way to StorPool does with a call, beside what its requests are."""

from __future__ import annotations

from typing import Any

import pytest
from canned_client import client

from rigs.canned_api import answering, ok
from rigs.clock import Clock
from rigs.core_fixtures import GIB, Core
from storpool_ovirt import config, errors
from storpool_ovirt.cluster import calls, transport
from storpool_ovirt.secret import Secret

REFUSED = [
    ("a b", "VolumeNameOrGlobalId"),
    ("list", "must not be in"),
    ("x" * 200, "is too long"),
    ("~abcd.e.1\n", "is no path"),
]


@pytest.mark.parametrize(("address", "why"), REFUSED)
def test_what_the_binding_refuses_is_not_sent(address: str, why: str) -> None:
    """[sptypes] A name that StorPool does not take is told with the binding's reason, by either
    way."""
    with answering([ok([])]) as server, pytest.raises(errors.InputError, match=why):
        client(server.port, Clock()).volume(address)
    assert server.requests == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"size": 511}, "Must be a multiple of 512"),
        ({"size": 0}, "Must be positive"),
        ({"tags": {"a b": "c"}}, "Invalid VolumeTagName"),
        ({"tags": {"a": "b c"}}, "Invalid VolumeTagValue"),
        ({"template": "a.b"}, "Invalid VolumeTemplateName"),
        ({"replication": 4}, "Must be between 1 and 3"),
        ({"parent": "~a.b"}, "Invalid SnapshotNameOrGlobalId"),
    ],
)
def test_a_body_that_the_binding_refuses_is_not_sent(fields: dict[str, Any], why: str) -> None:
    """[sptypes] VolumeCreateDesc: the sentence is the same by either way."""
    with (
        answering([ok([])]) as server,
        pytest.raises(errors.InputError, match=f"the request volumeCreate is not valid .*{why}"),
    ):
        client(server.port, Clock()).volume_create({"name": "x", "size": GIB, **fields})
    assert server.requests == []


def test_several_may_be_under_way_at_once(transport_kind: str) -> None:
    """Each has a connection of its own, and its own answer, in whatever order they are read."""
    volumes = [{"name": f"x{number}"} for number in range(8)]
    with answering([ok([each]) for each in volumes]) as server:
        there = there_at(server.port, transport_kind)
        asked = [there.begin("volumeList", (each["name"],), None, 5.0) for each in volumes]
        names = [each.reply().data[0]["name"] for each in reversed(asked)]
    assert sorted(names) == sorted(each["name"] for each in volumes)
    assert len(server.requests) == len(volumes)


def there_at(port: int, kind: str) -> transport.Transport:
    """Return a way of this kind to a port of this machine."""
    return calls.transport_of(config.Api("127.0.0.1", port, Secret("42")).preferring(kind))


@pytest.mark.parametrize("says", [None, True, False, "true"], ids=str)
def test_a_group_need_not_say_ok(says: object) -> None:
    """[sptypes] GroupSnapshotsResult has no "ok"; one that is said has to be true."""
    snapshots = [{"volume": "x", "volumeGlobalId": "a.b.1", "snapshotGlobalId": "a.b.2"}]
    data = {"snapshots": snapshots, **({} if says is None else {"ok": says})}
    group = {"volumes": [{"volume": "~a.b.1", "name": "s", "tags": {}}]}
    with answering([ok(data)]) as server:
        there = client(server.port, Clock(), seconds=1)
        if says in (None, True):
            assert there.group_snapshot(group, "s") == {"a.b.1": "a.b.2"}
        else:
            with pytest.raises(errors.ApiUnavailable, match='no "ok"'):
                there.group_snapshot(group, "s")


@pytest.mark.parametrize("says", ["true", "false"])
def test_a_group_is_made_whatever_its_reply_says(core: Core, says: str) -> None:
    """[sptypes] [addon] Both kinds of a reply lead to the same snapshots."""
    core.simulator.switches.set({"group_ok": says})
    there = core.client()
    ids = [there.volume_create({"name": name, "size": GIB, "tags": {}}) for name in ("v", "w")]
    members = [{"volume": f"~{each}", "name": f"s-{each}", "tags": {}} for each in ids]
    made = there.group_snapshot({"volumes": members}, "v, w")
    assert {each: there.snapshot(f"s-{each}").global_id for each in ids} == made
