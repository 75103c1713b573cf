"""storpool_qos beside the simulator: what is in a tier has its limits, a minute later at most."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from player_rig import FREE, GOLD, SILVER, TIERS, api, limits, played, played_once
from simulator_fixtures import GIB, Peer, opened_peer

import storpool_simulator
from storpool_simulator.players import qos, tiers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIB = 1024


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Give a cluster with the service."""
    with played(tmp_path) as running:
        yield running


def passes(peer: Peer) -> int:
    """Return how many passes the service has made."""
    return int(peer.control("GET", "players")["qos"]["passes"])


# passes


def test_a_pass_is_made_each_minute(peer: Peer) -> None:
    """[cs] "once a minute" of the simulator's clock: the pass is made when the call returns."""
    before = passes(peer)
    peer.create("v", tags={"qc": "silver"})
    peer.control("POST", "clock", {"advance": 59})
    assert (passes(peer), limits(peer, "v")) == (before, ("-", "-"))
    peer.control("POST", "clock", {"advance": 1})
    assert (passes(peer), limits(peer, "v")) == (before + 1, ("-", 300))
    peer.simulator.advance(60)
    assert passes(peer) == before + 2
    peer.simulator.advance(3600)
    assert passes(peer) == before + 62


def test_a_steady_cluster_is_left_alone(peer: Peer) -> None:
    """A pass that finds all as it shall be changes nothing, and the generation stays."""
    peer.create("v", tags={"qc": "gold"})
    peer.snapshot("v", tags={"qc": "gold"})
    assert len(played_once(peer, "qos")["changed"]) == 2
    before = peer.simulator.cluster.generation
    peer.simulator.calls.clear()
    assert played_once(peer, "qos") == {"changed": {}, "failed": {}}
    assert peer.simulator.cluster.generation == before
    assert not [each for each in peer.simulator.calls.list() if each.method == "POST"]


def test_limits_set_by_hand_live_until_the_next_pass(peer: Peer) -> None:
    """[cs]: a limit of somebody else's lives for up to a minute."""
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.advance(60)
    peer.post("VolumeUpdate/v", {"iops": 9999, "bw": 5})
    peer.simulator.advance(59)
    assert limits(peer, "v") == (5, 9999)
    peer.simulator.advance(1)
    assert limits(peer, "v") == ("-", 300)


def test_a_new_class_and_a_new_size_count_from_the_next_pass(peer: Peer) -> None:
    """[kb]: "tracks changes": a tag that changes, a disk that grows under limits per GiB."""
    peer.create("v", tags={"qc": "gold", "other": "stays"})
    peer.simulator.advance(60)
    assert limits(peer, "v") == (10 * 1024, 100)
    peer.post("VolumeUpdate/v", {"size": 100 * GIB})
    peer.simulator.advance(60)
    assert limits(peer, "v") == (50 * 1024, 3000)
    peer.post("VolumeUpdate/v", {"tags": {"qc": "silver"}})
    peer.simulator.advance(60)
    assert limits(peer, "v") == ("-", 300)
    assert peer.volume("v")["tags"] == {"qc": "silver", "other": "stays"}


def test_new_tiers_are_taken(peer: Peer) -> None:
    """The service reads its tiers at each pass: who puts others in their place changes what is."""
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.advance(60)
    changed = json.dumps({"silver": {**SILVER, "max_iops": 400}})
    api(peer).store(qos.BUCKET, {qos.KEY: changed})
    peer.simulator.advance(60)
    assert limits(peer, "v") == ("-", 400)


# who is in which tier


@pytest.mark.parametrize("wins", ["tag", "template"])
def test_tag_and_template(peer: Peer, wins: str) -> None:
    """[kb]: the tag or the template's name is a tier; which counts where both are is a switch."""
    peer.switch(qos_wins=wins)
    peer.create("by-template", template="hdd")
    peer.create("by-tag", template="nvme", tags={"qc": "silver"})
    peer.create("by-both", template="hdd", tags={"qc": "silver"})
    peer.create("typo", template="hdd", tags={"qc": "sivler"})
    peer.simulator.advance(60)
    assert limits(peer, "by-template") == ("-", 77)
    assert limits(peer, "by-tag") == ("-", 300)
    assert limits(peer, "by-both") == ("-", 300 if wins == "tag" else 77)
    assert limits(peer, "typo") == ("-", 77)


def test_an_unknown_tier_is_silent(peer: Peer) -> None:
    """[inf]: neither changed nor told; what has left its tier keeps its limits."""
    peer.create("v", tags={"qc": "platinum"}, iops=5)
    peer.create("w", tags={"qc": "silver"})
    peer.simulator.advance(60)
    peer.post("VolumeUpdate/w", {"tags": {"qc": ""}})
    assert played_once(peer, "qos") == {"changed": {}, "failed": {}}
    assert limits(peer, "v") == ("-", 5)
    assert limits(peer, "w") == ("-", 300)


def test_snapshots_too(peer: Peer) -> None:
    """[kb] "of the volume or the snapshot": those that are going are left out."""
    peer.create("v")
    peer.snapshot("v", "kept", tags={"qc": "silver"})
    peer.snapshot("v", "going", tags={"qc": "silver"})
    peer.post("SnapshotDelete/going")
    report = played_once(peer, "qos")
    assert len(report["changed"]) == 1
    assert limits(peer, "kept", "Snapshot") == ("-", 300)


def test_limits_per_gib_of_somebody_else(peer: Peer) -> None:
    """[kb]: what a tier says is for the whole object, so a limit per GiB is made one in total."""
    peer.create("v", size=4 * GIB, tags={"qc": "silver"}, iops=300, limitType="perGiB")
    peer.simulator.advance(60)
    assert (limits(peer, "v"), peer.volume("v")["limitType"]) == (("-", 300), "total")
    assert played_once(peer, "qos") == {"changed": {}, "failed": {}}


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_release_without_limits_per_gib(peer: Peer, value: str) -> None:
    """A release that does not know `limitType` is never sent it."""
    peer.switch(limit_type=value)
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.advance(60)
    assert limits(peer, "v") == ("-", 300)


@pytest.mark.parametrize(("value", "template"), [("keep", "nvme"), ("follow", "hdd")])
def test_a_class_and_the_template(peer: Peer, value: str, template: str) -> None:
    """[sp-os]: with the switch a class chooses the template of its name too, if there is one."""
    peer.switch(qos_template=value)
    peer.create("v", template="nvme", tags={"qc": "hdd"})
    peer.create("w", template="nvme", tags={"qc": "silver"})
    peer.simulator.advance(60)
    assert peer.volume("v")["templateName"] == template
    assert peer.volume("w")["templateName"] == "nvme"
    assert limits(peer, "v") == ("-", 77)
    assert played_once(peer, "qos") == {"changed": {}, "failed": {}}


@pytest.mark.parametrize(("value", "iops"), [("on", 300), ("off", "-")])
def test_the_service_off(peer: Peer, value: str, iops: Any) -> None:
    """Off: nobody sets limits, and the passes go on when it is on again."""
    peer.switch(qos_service=value)
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.advance(120)
    assert limits(peer, "v") == ("-", iops)
    peer.switch(qos_service="on")
    peer.simulator.advance(60)
    assert limits(peer, "v") == ("-", 300)


# what fails


def test_one_that_fails_stops_no_other(peer: Peer) -> None:
    """Each object is one call: its failure is told, and the next pass makes it good."""
    first = peer.create("first", tags={"qc": "silver"})
    peer.create("second", tags={"qc": "silver"})
    peer.simulator.faults.add("transient", query="VolumeUpdate")
    report = played_once(peer, "qos")
    assert list(report["failed"]) == [f"~{first}"]
    assert limits(peer, "second") == ("-", 300)
    peer.simulator.advance(60)
    assert limits(peer, "first") == ("-", 300)


def test_a_volume_that_goes_meanwhile(peer: Peer) -> None:
    """A volume that is deleted between the list and its update is one failure, no more."""
    gone = peer.create("gone", tags={"qc": "silver"})
    peer.create("v", tags={"qc": "silver"})
    calls = peer.simulator.calls

    def delete(record: Any) -> None:
        if record.path.endswith(f"VolumeUpdate/~{gone}"):
            peer.post("VolumeDelete/gone")

    calls.watch(delete)
    report = played_once(peer, "qos")
    calls.watch(lambda _record: None)
    assert "objectDoesNotExist" in report["failed"][f"~{gone}"]
    assert limits(peer, "v") == ("-", 300)


@pytest.mark.parametrize("kind", ["bad_gateway", "reset_before", "reset_after", "transient"])
def test_the_api_away_for_a_pass(peer: Peer, kind: str) -> None:
    """A pass that sees no list does nothing and is told; the next is made as planned."""
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.faults.add(kind, query="VolumesList")
    peer.simulator.advance(60)
    state = peer.control("GET", "players")["qos"]
    assert (state["failed"], list(state["last"])) == (1, ["error"])
    peer.simulator.advance(60)
    assert limits(peer, "v") == ("-", 300)


def test_bad_tiers_in_the_store(peer: Peer) -> None:
    """Tiers that somebody has spoilt are a failed pass; limits stay as they are."""
    peer.create("v", tags={"qc": "silver"})
    peer.simulator.advance(60)
    api(peer).store(qos.BUCKET, {qos.KEY: "{"})
    peer.simulator.advance(60)
    assert "not JSON" in peer.control("GET", "players")["qos"]["last"]["error"]
    assert limits(peer, "v") == ("-", 300)


# tiers


@pytest.mark.parametrize(
    ("facts", "size_gib", "expected"),
    [
        (FREE, 10, ("-", "-")),
        (SILVER, 10, ("-", 300)),
        (GOLD, 1, (10 * KIB, 100)),
        (GOLD, 100, (50 * KIB, 3000)),
        (GOLD, 1000, (200 * KIB, 5000)),
        ({**GOLD, "max_iops": 0, "max_bw": 0}, 1000, (500 * KIB, 30000)),
        ({**FREE, "min_iops": 7, "mbps_gb": 0.001}, 1, (1, "-")),
    ],
)
def test_the_limits_of_a_size(
    facts: dict[str, Any], size_gib: int, expected: tuple[Any, Any]
) -> None:
    """[kb]: per GiB times size, held between least and most; 0 is no limit [inf]."""
    found = tiers.Tier(**facts).limits(size_gib * GIB)
    assert (found.bw, found.iops) == expected


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 100), st.integers(1, 10**6))
def test_a_limit_is_never_outside(least: int, more: int, per_gib: float, size_gib: int) -> None:
    """Where there is a most, no size exceeds it; where a size counts, none is below the least."""
    most = least + more
    tier = tiers.Tier(**{**FREE, "min_iops": least, "max_iops": most, "iops_gb": per_gib})
    iops = tier.limits(size_gib * GIB).iops
    if most:
        assert isinstance(iops, int)
        assert max(1, least if per_gib else most) <= iops <= max(1, most)
    else:
        assert (iops == "-") == (not per_gib)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"gold": 1}', "'gold' is not a JSON object"),
        (json.dumps({"gold": {**GOLD, "more": 1}}), "'more' is unknown"),
        (
            json.dumps({"gold": {k: v for k, v in GOLD.items() if k != "max_bw"}}),
            "'max_bw' is missing",
        ),
        (json.dumps({"gold": {**GOLD, "min_iops": 1.5}}), "'min_iops'"),
        (json.dumps({"gold": {**GOLD, "min_iops": True}}), "'min_iops'"),
        (json.dumps({"gold": {**GOLD, "iops_gb": -1}}), "'iops_gb'"),
        (json.dumps({"gold": {**GOLD, "min_iops": 6000}}), "above 'max_iops'"),
        (json.dumps({"gold": GOLD})[:-2] + ', "mbps_gb": NaN}}', "'mbps_gb'"),
    ],
)
def test_tiers_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    """[kb] "no default": a file that lacks a number, or has another, is a start that cannot be."""
    file = tmp_path / "tiers.json"
    file.write_text(text)
    with (
        pytest.raises(storpool_simulator.StartError, match=why),
        opened_peer(tmp_path, qos=file),
    ):
        pass


def test_all_tiers_of_the_rig_are_known(peer: Peer) -> None:
    """The file was given to the service, which keeps it in the key-value store [inf]."""
    assert json.loads(peer.get(f"KV/Get/{qos.BUCKET}/{qos.KEY}")["pairs"][qos.KEY]) == TIERS
