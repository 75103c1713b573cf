"""Requests of StorPool's other clients, and the fields that they read in the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peer_answers
import peer_vectors
import pytest
from peer_answers import Vector
from simulator_fixtures import opened_peer

if TYPE_CHECKING:
    from pathlib import Path


def named(vector: Vector) -> str:
    """Return a test's name."""
    return f"{vector.client}: {vector.call}"


@pytest.mark.parametrize("strict", ["true", "false"])
@pytest.mark.parametrize("vector", peer_vectors.VECTORS, ids=named)
def test_a_client_gets_what_it_reads(tmp_path: Path, vector: Vector, strict: str) -> None:
    """Each field that a client reads is in the answer, with its type; a refusal has the name that
    it tells apart. On a cluster that is strict and one that is lenient."""
    switches = {"strict": strict, **vector.switches}
    cluster = {"cluster_id": peer_answers.CLUSTER, "cluster_name": "one"}
    others = peer_answers.OTHERS
    with opened_peer(tmp_path, **cluster, clusters=others, switches=switches) as peer:
        ids = peer_answers.settled(peer)
        method, query = peer_answers.filled_in(vector.call, ids).split()
        body = peer_answers.filled_in(vector.body, ids)
        answer = peer.raw(method, f"/ctrl/1.0/{query}", body).json
    assert ("error" in answer) == any(path.startswith("error") for path in vector.reads), answer
    for path, expected in peer_answers.filled_in(dict(vector.reads), ids).items():
        for value in peer_answers.found(answer, path):
            assert peer_answers.fits(value, expected), f"{path} is {value!r}, read as {expected}"


def test_what_is_not_there_is_missed() -> None:
    """A path that leads nowhere, an empty list and a value of another type are faults."""
    answer = {"data": [{"size": 1, "ok": True}], "none": []}
    assert list(peer_answers.found(answer, "data[].size")) == [1]
    assert list(peer_answers.found(answer, "data#")) == [1]
    for path in ("data[].name", "none[].name", "data[1].size", "nothing"):
        with pytest.raises(LookupError):
            list(peer_answers.found(answer, path))
    assert not peer_answers.fits(True, int)
    assert not peer_answers.fits("1", 1)
    assert not peer_answers.fits("a b", peer_answers.ID)
