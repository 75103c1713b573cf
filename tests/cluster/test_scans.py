"""api.Client.scanned: what all objects store, asked for once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cluster.canned_client import VOLUME, client

from rigs import two_clusters
from rigs.canned_api import answering, refusal
from rigs.clock import Clock
from rigs.core_fixtures import GIB
from rigs.two_clusters import TWO
from storpool_ovirt import errors
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words

if TYPE_CHECKING:
    from pathlib import Path

    from rigs.core_fixtures import Core

KINDS = ("volume", "snapshot")


def scan(there: api.Client, kind: str = "volume") -> list[tuple[str, int, int]]:
    """Return name, what is stored and what is used of each."""
    return there.scanned(kind, lambda each, *held: (each.name, *held), Words())


def listed(*more: dict[str, Any]) -> tuple[int, bytes]:
    """Return a whole answer with these entries."""
    data = [{**VOLUME, "storedSize": 5, "spaceUsed": 7, **each} for each in more]
    return 200, json.dumps({"generation": 5, "data": data}).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_and_what_is_used(kind: str) -> None:
    """As StorPool tells it, by one call."""
    with answering([listed({}, {"name": "y", "storedSize": 0})]) as server:
        assert scan(client(server.port, Clock()), kind) == [("ovirt--x", 5, 7), ("y", 0, 7)]
    [request] = server.requests
    assert request.path.endswith(f"/{kind.capitalize()}sSpace")


@pytest.mark.parametrize("field", ["storedSize", "spaceUsed"])
@pytest.mark.parametrize("value", [None, -1, "5", 1 << 64])
def test_a_number_that_is_none(field: str, value: object) -> None:
    """T41: it is never taken for nothing."""
    with answering([listed({}, {field: value})]) as server, pytest.raises(errors.ApiUnavailable):
        scan(client(server.port, Clock()))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_asked_for_again(kind: str) -> None:
    """The cluster may still be at work on the first one: whoever needs it decides."""
    answers = [refusal("notReady", transient=True), listed({})]
    with answering(answers) as server, pytest.raises(errors.ApiUnavailable):
        scan(client(server.port, Clock()), kind)
    assert len(server.requests) == 1


def test_it_is_that_of_the_simulator(core: Core) -> None:
    """By both ways, from a real reply."""
    core.post("VolumeCreate", {"name": "v", "size": GIB, "template": "nvme"})
    core.post("VolumeSnapshot/v", {"name": "s"})
    assert scan(core.client()) == [("v", 0, 0)]
    assert scan(core.client(), "snapshot") == [("s", 0, 0)]


@pytest.mark.parametrize("unreachable", ["error", "omit"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_cluster_is_not_nothing(tmp_path: Path, kind: str, unreachable: str) -> None:
    """T57: what it has is missing in the account, and that is said."""
    with two_clusters.opened(tmp_path, mc_unreachable=unreachable) as pair:
        pair.two.post("VolumeCreate", {"name": "v", "size": GIB, "template": "nvme"})
        pair.two.post("VolumeSnapshot/v", {"name": "s"})
        assert len(scan(pair.client(), kind)) == 1
        pair.cut()
        with pytest.raises(errors.ApiUnavailable):
            scan(pair.client(), kind)
        assert len(scan(pair.two.client(cluster_id=TWO), kind)) == 1
