"""VolumeCare beside the simulator: which VMs it takes, at which moment, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from player_rig import CONFIG, HOUR, MIB, api, played, played_once, snapshots, vm
from simulator_fixtures import Peer

from storpool_simulator.players import notes, vc_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "11111111-2222-3333-4444-555555555555", "99999999-8888-7777-6666-555555555555"
CARE = "volumecare"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Give a cluster with the service."""
    with played(tmp_path) as running:
        yield running


def backups(peer: Peer, entity: str) -> list[notes.Backup]:
    """Return what is noted of an entity, oldest first."""
    return notes.read(api(peer)).of(entity)


# which policy


@pytest.mark.parametrize(
    ("tags", "template", "policy"),
    [
        ({"vc-policy": "hourly"}, "hdd", "hourly"),
        ({}, "hdd", "daily"),
        ({"vc-policy": ""}, "hdd", "daily"),
        ({}, "nvme", "no"),
        ({"vc-policy": "no"}, "hdd", "no"),
        ({"vc-policy": "typo"}, "hdd", "typo"),
    ],
)
def test_the_policy_of_a_volume(tags: dict[str, str], template: str, policy: str) -> None:
    """[kb]: tag, then the template's section, then that of all; an empty tag is none."""
    assert vc_config.parse(CONFIG).policy_name(tags, template) == policy


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("version=1.0", "version=2.0"), "version=1.0"),
        (("[format]", "[form]"), "version=1.0"),
        (("mode=normal", "mode=strange"), "no mode of normal, primary"),
        (("mode=normal", "mode=primary"), "not simulated"),
        (("[template:*]", "[template:x]"), r"no section \[template:\*\]"),
        (("policy=daily", "policy=dayly"), "'dayly', which there is not"),
        (("mode=basic", "mode=clever"), "no mode that is simulated"),
        (("keep=4h", "keep=soon"), "keep is not a duration"),
        (("interval=1h", "interval=0h"), "interval is not a duration"),
        (("[policy:daily]", "[policy:no]"), "cannot be defined"),
        (("[policy:daily]", "[policies:daily]"), r"no section \[policies\]"),
        (("[format]", "format"), "cannot be read"),
    ],
)
def test_a_configuration_that_is_none(change: tuple[str, str], why: str) -> None:
    """[kb]: what VolumeCare refuses to start with, each in one sentence."""
    with pytest.raises(ValueError, match=why):
        vc_config.parse(CONFIG.replace(*change))


def test_the_default_of_all_is_no() -> None:
    """[kb] "as of version 1.19 its default value is policy=no"."""
    config = vc_config.parse(CONFIG.replace("[template:*]\npolicy=no", "[template:*]"))
    assert config.policy_name({}, "nvme") == "no"


# which VM


def test_a_vm_is_taken_at_one_moment(peer: Peer) -> None:
    """[kb]: one group call for all volumes of a VM, whatever their order, and none of another's."""
    first = vm(peer, A, "a1", "a2")
    other = vm(peer, B, "b1")
    peer.simulator.calls.clear()
    report = played_once(peer, CARE)
    assert set(report["taken"]) == {f"cvm={A}", f"cvm={B}"}
    groups = [one for one in peer.simulator.calls.list() if one.query == "VolumesGroupSnapshot"]
    assert [{each["volume"] for each in one.body["volumes"]} for one in groups] == [
        {f"~{gid}" for gid in first},
        {f"~{gid}" for gid in other},
    ]
    (backup,) = backups(peer, f"cvm={A}")
    assert set(backup.map) == {f"~{gid}" for gid in first}
    assert {snapshots(peer)[each]["createdFromGlobalId"] for each in backup.map.values()} == {
        *first
    }


def test_a_vm_with_several_policies_is_ignored_and_named(peer: Peer) -> None:
    """[kb]: "considered a misconfiguration and the virtual machine will be ignored"."""
    vm(peer, A, "a1")
    (daily,) = vm(peer, A, "a2", policy="daily")
    vm(peer, B, "b1")
    report = played_once(peer, CARE)
    assert set(report["taken"]) == {f"cvm={B}"}
    assert set(report["skipped"]) == {f"cvm={A}"}
    assert f"~{daily} has daily" in report["skipped"][f"cvm={A}"]
    peer.post("VolumeUpdate/a2", {"tags": {"vc-policy": "hourly"}})
    assert set(played_once(peer, CARE)["taken"]) == {f"cvm={A}"}


def test_one_disk_without_a_policy_is_a_vm_with_several(peer: Peer) -> None:
    """[addon]: "one forgotten, and the VM is ignored": a policy of all counts as one too."""
    vm(peer, A, "a1")
    peer.create("forgotten", size=MIB, tags={"cvm": A})
    report = played_once(peer, CARE)
    assert report["taken"] == {}
    assert "several policies" in report["skipped"][f"cvm={A}"]


def test_a_disk_without_a_vm_is_on_its_own(peer: Peer) -> None:
    """A volume of no VM has its own policy, and is in nobody's group."""
    vm(peer, A, "a1")
    lone = peer.create("lone", size=MIB, tags={"vc-policy": "hourly"})
    peer.create("off", size=MIB)
    assert set(played_once(peer, CARE)["taken"]) == {f"cvm={A}", f"~{lone}"}


def test_a_policy_that_there_is_not(peer: Peer) -> None:
    """A typo in a tag takes no snapshot, and is named."""
    vm(peer, A, "a1", policy="hourli")
    assert "no policy 'hourli'" in played_once(peer, CARE)["skipped"][f"cvm={A}"]
    assert snapshots(peer) == {}


@pytest.mark.parametrize(("key", "taken"), [("cvm", f"cvm={A}"), ("nvm", f"nvm={B}")])
def test_the_tag_that_makes_a_vm(tmp_path: Path, key: str, taken: str) -> None:
    """`cvm` by default [cs]; other platforms have others [addon], so it is an option."""
    config = CONFIG if key == "cvm" else CONFIG.replace("normal", f"normal\nvm_tag={key}")
    with played(tmp_path, config) as peer:
        for name in ("x", "y"):
            peer.create(name, size=MIB, tags={"cvm": A, "nvm": B, "vc-policy": "hourly"})
        assert set(played_once(peer, CARE)["taken"]) == {taken}


# for how long


@pytest.mark.parametrize("retention", ["date", "delete"])
def test_twelve_hours_of_which_four_are_kept(peer: Peer, retention: str) -> None:
    """Twelve hourly backups of a VM: the last four are left, the chain is theirs, and the data of
    each is that of its hour."""
    peer.switch(volumecare_retention=retention, linger="0")
    ids = vm(peer, A, "a1", "a2")
    peer.reassign(*({"volume": name, "rw": [1]} for name in ("a1", "a2")))
    for hour in range(12):
        for gid in ids:
            peer.write(1, gid, bytes([hour]) * 512)
        peer.simulator.advance(HOUR)
    left = backups(peer, f"cvm={A}")
    assert len(left) == 4
    assert [later.create_ts - one.create_ts for one, later in zip(left, left[1:])] == [HOUR] * 3
    addresses = [address for backup in left for address in backup.map.values()]
    assert sorted(snapshots(peer)) == sorted(addresses)
    for gid in ids:
        chain = [f"~{one['globalId']}" for one in peer.get(f"VolumeListSnapshots/~{gid}")]
        assert chain == [backup.map[f"~{gid}"] for backup in reversed(left)]
    dates = {snapshots(peer)[one]["targetDeleteDate"] for one in left[-1].map.values()}
    assert dates == ({left[-1].create_ts + 4 * HOUR} if retention == "date" else {0})
    written = [_first_byte(peer, one) for one in left[-1].map.values()]
    assert written == [11, 11]


def _first_byte(peer: Peer, address: str) -> int:
    path = peer.simulator.cluster.files.path(address[1:])
    return path.read_bytes()[0]


def test_backups_outlive_their_vm_until_their_date(peer: Peer) -> None:
    """[kb]: a volume that is deleted leaves its snapshots; they go at their date."""
    vm(peer, A, "a1")
    peer.simulator.advance(60)
    peer.post("VolumeDelete/a1")
    peer.simulator.advance(3 * HOUR)
    assert len(snapshots(peer)) == len(backups(peer, f"cvm={A}")) == 1
    peer.simulator.advance(HOUR + 120)
    assert (snapshots(peer), backups(peer, f"cvm={A}")) == ({}, [])


def test_a_snapshot_that_somebody_deletes(peer: Peer) -> None:
    """A backup is forgotten when all of its snapshots are gone; what is left of it has its date."""
    vm(peer, A, "a1", "a2")
    peer.simulator.advance(60)
    first, second = backups(peer, f"cvm={A}")[0].map.values()
    peer.post(f"SnapshotDelete/{first}")
    peer.simulator.advance(60)
    assert snapshots(peer)[second]["targetDeleteDate"]
    peer.post(f"SnapshotDelete/{second}")
    peer.simulator.advance(60)
    assert backups(peer, f"cvm={A}") == []


@pytest.mark.parametrize("value", ["own", "none", "copied"])
def test_the_tags_of_the_snapshots(peer: Peer, value: str) -> None:
    """Which tags the real one gives is not known: its own, none, or those of the volume; snapshots
    with copied tags are members of nothing."""
    peer.switch(volumecare_tags=value)
    vm(peer, A, "a1")
    peer.simulator.advance(60)
    ((_, snapshot),) = snapshots(peer).items()
    assert snapshot["autoName"]
    expected = {
        "own": {"vc-policy": "hourly", "vc-time": str(backups(peer, f"cvm={A}")[0].create_ts)},
        "none": {},
        "copied": {"cvm": A, "vc-policy": "hourly", "disk-id": "a1"},
    }
    assert snapshot["tags"] == expected[value]
    peer.simulator.advance(HOUR)
    assert len(snapshots(peer)) == 2


@pytest.mark.parametrize(("value", "count"), [("on", 1), ("off", 0)])
def test_the_service_off(peer: Peer, value: str, count: int) -> None:
    """Off: nothing is taken; on again: what is due then."""
    peer.switch(volumecare_service=value)
    vm(peer, A, "a1")
    peer.simulator.advance(120)
    assert len(snapshots(peer)) == count
    peer.switch(volumecare_service="on")
    peer.simulator.advance(60)
    assert len(snapshots(peer)) == 1


# its configuration


def test_the_configuration_is_in_the_store(tmp_path: Path) -> None:
    """[kb]: the file is taken over once, and is obsolete from then on."""
    with played(tmp_path) as peer:
        assert peer.get(f"KV/Get/{notes.BUCKET}/config")["pairs"]["config"] == CONFIG
    other = CONFIG.replace("interval=1h", "interval=2h")
    with played(tmp_path, other) as peer:
        assert notes.read(api(peer)).config == CONFIG


def test_a_policy_that_is_taken_away(peer: Peer) -> None:
    """[kb] "must not be removed": what it made keeps its date, and the VM is named from then on."""
    vm(peer, A, "a1")
    peer.simulator.advance(60)
    removed = CONFIG.replace("policy:hourly", "policy:often")
    notes.configure(api(peer), removed)
    assert "no policy 'hourly'" in played_once(peer, CARE)["skipped"][f"cvm={A}"]
    peer.simulator.advance(4 * HOUR + 60)
    assert snapshots(peer) == {}


def test_a_configuration_that_somebody_spoilt(peer: Peer) -> None:
    """A pass fails and is told; nothing is deleted meanwhile."""
    vm(peer, A, "a1")
    peer.simulator.advance(60)
    notes.configure(api(peer), "[format]")
    report: Any = played_once(peer, CARE)
    assert "version=1.0" in report["error"]
    assert len(snapshots(peer)) == 1
