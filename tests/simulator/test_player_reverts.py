"""storpool_vcctl: what it prints, and a VM that is taken back with all of its disks, or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from player_rig import (
    CONFIG,
    HOUR,
    MIB,
    api,
    history,
    played,
    played_once,
    snapshots,
    storpool_vcctl,
    vm,
)
from simulator_fixtures import Peer, content, fill

from storpool_simulator.players import notes, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = "11111111-2222-3333-4444-555555555555"
VM = f"cvm={A}"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Give a cluster with a VM of two disks, and two backups of it: "old" and "new"."""
    with played(tmp_path) as running:
        vm(running, A, "a1", "a2")
        two_backups(running)
        yield running


def two_backups(peer: Peer) -> None:
    """Have two backups taken of the VM, and other data written after them."""
    for text, seconds in ((b"old", 60), (b"new", HOUR)):
        for name in ("a1", "a2"):
            fill(peer, name, text.ljust(512))
        peer.simulator.advance(seconds)
    for name in ("a1", "a2"):
        fill(peer, name, b"now".ljust(512))


def data(peer: Peer) -> set[bytes]:
    """Return what the disks hold."""
    return {content(peer, name, 3) for name in ("a1", "a2")}


def revert(peer: Peer, capsys: Capture, number: int = 0, *more: str) -> tuple[int, str]:
    """Revert the VM to one of its backups; return exit code and what stderr has."""
    when = history(peer, capsys, VM)[number]["create_ts"]
    code = storpool_vcctl(peer, "revert", VM, str(when), *more)
    return code, capsys.readouterr().err


# status


@pytest.mark.parametrize("id_tag", [None, "disk-id"])
def test_status(tmp_path: Path, capsys: Capture, id_tag: str | None) -> None:
    """[dr]: type, id, history; the map leads from `~gid`, or the value of the tag that `id_tag`
    names, to snapshots."""
    config = CONFIG if id_tag is None else CONFIG.replace("normal", f"normal\nid_tag={id_tag}")
    with played(tmp_path, config) as peer:
        ids = vm(peer, A, "a1", "a2")
        peer.create("tagless", size=MIB, tags={"cvm": A, "vc-policy": "hourly"})
        peer.simulator.advance(60)
        peer.simulator.advance(90 * 60)
        capsys.readouterr()
        assert storpool_vcctl(peer, "status", "-M", "--json") == 0
        (element,) = json.loads(capsys.readouterr().out)
        assert (element["type"], element["id"]) == ("vm", {"name": VM})
        first, second = element["history"]
        assert second["create_ts"] == first["create_ts"] + HOUR
        assert (first["age_in_h"], second["age_in_h"]) == (1.5, 0.5)
        assert first["id"] == {"location": peer.simulator.cluster_id}
        assert first["entity_id"] == {"name": VM}
        keys = {f"~{gid}" for gid in ids} if id_tag is None else {"a1", "a2"}
        tagless = f"~{peer.volume('tagless')['globalId']}"
        assert set(first["extra_info"]["sp"]["map"]) == {*keys, tagless}
        assert set(first["extra_info"]["sp"]["map"].values()) <= set(snapshots(peer))


def test_status_for_people(peer: Peer, capsys: Capture) -> None:
    """Without --json: a line for each VM and for each of its backups."""
    capsys.readouterr()
    assert storpool_vcctl(peer, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == VM
    assert len(lines) == 3


def test_a_backup_that_lacks_a_snapshot_is_not_told(peer: Peer, capsys: Capture) -> None:
    """What cannot be reverted as a whole is no backup."""
    before = history(peer, capsys, VM)
    peer.post(f"SnapshotDelete/{next(iter(before[0]['extra_info']['sp']['map'].values()))}")
    assert [one["create_ts"] for one in history(peer, capsys, VM)] == [before[1]["create_ts"]]


# revert


@pytest.mark.parametrize(("number", "text"), [(0, b"old"), (1, b"new")])
def test_a_revert(peer: Peer, capsys: Capture, number: int, text: bytes) -> None:
    """[dr]: all disks have the content of one backup; the backups stay, and the next comes at its
    hour."""
    before = snapshots(peer)
    assert revert(peer, capsys, number) == (0, "")
    assert data(peer) == {text}
    assert set(snapshots(peer)) == set(before)
    peer.simulator.advance(HOUR)
    assert len(notes.read(api(peer)).of(VM)) == 3
    assert notes.read(api(peer)).reverting == frozenset()


def test_a_vm_that_runs_is_refused(peer: Peer, capsys: Capture) -> None:
    """A disk that is attached says that the VM runs; with --detach it is detached, which StorPool
    refuses where somebody has it open."""
    gid = peer.volume("a2")["globalId"]
    peer.reassign({"volume": "a2", "rw": [7]})
    code, err = revert(peer, capsys)
    assert (code, data(peer)) == (1, {b"now"})
    assert "a2 by client 7" in err
    peer.simulator.set_client(7, opened=[gid])
    assert revert(peer, capsys, 0, "--detach")[0] == 1
    assert data(peer) == {b"now"}
    peer.simulator.set_client(7, opened=[])
    assert revert(peer, capsys, 0, "--detach") == (0, "")
    assert (data(peer), peer.attached()) == ({b"old"}, set())


def test_all_disks_or_none(peer: Peer, capsys: Capture) -> None:
    """[dr]: a disk that is not in the backup refuses the revert of all; one that the VM lost since
    does not count."""
    peer.create("a3", size=MIB, tags={"cvm": A, "vc-policy": "hourly"})
    code, err = revert(peer, capsys)
    assert (code, data(peer)) == (1, {b"now"})
    assert "a3 is not in the backup" in err
    peer.post("VolumeDelete/a3")
    peer.post("VolumeDelete/a2")
    assert revert(peer, capsys) == (0, "")
    assert content(peer, "a1", 3) == b"old"


def test_a_snapshot_that_is_gone(peer: Peer, capsys: Capture) -> None:
    """A revert to what lacks one snapshot is refused before the first disk."""
    when = history(peer, capsys, VM)[0]
    address = when["extra_info"]["sp"]["map"][f"~{peer.volume('a2')['globalId']}"]
    peer.post(f"SnapshotDelete/{address}")
    assert storpool_vcctl(peer, "revert", VM, str(when["create_ts"])) == 1
    assert address in capsys.readouterr().err
    assert data(peer) == {b"now"}


@pytest.mark.parametrize(("entity", "why"), [(VM, "no backup 1"), ("cvm=x", "no backup 1")])
def test_what_there_is_not(peer: Peer, capsys: Capture, entity: str, why: str) -> None:
    """A backup or a VM that there is not is one sentence, and exit code 1."""
    assert storpool_vcctl(peer, "revert", entity, "1") == 1
    assert why in capsys.readouterr().err


def test_a_vm_without_volumes(peer: Peer, capsys: Capture) -> None:
    """Backups outlive their VM, but there is nothing that they could be taken back to."""
    for name in ("a1", "a2"):
        peer.post(f"VolumeDelete/{name}")
    assert "no volumes any more" in revert(peer, capsys)[1]


@pytest.mark.parametrize("kind", ["transient", "reset_before", "reset_after"])
def test_a_revert_that_stops_in_the_middle(peer: Peer, capsys: Capture, kind: str) -> None:
    """Half of the disks are old: no backup is taken of that mixture, and the same command again
    puts all of them right."""
    peer.simulator.faults.add("delay", query="VolumeRevert", seconds=0)
    peer.simulator.faults.add(kind, query="VolumeRevert")
    assert revert(peer, capsys)[0] == 1
    assert b"old" in data(peer)
    peer.simulator.advance(2 * HOUR)
    assert played_once(peer, "volumecare")["skipped"] == {VM: "it is being reverted"}
    assert len(history(peer, capsys, VM)) == 2
    assert revert(peer, capsys) == (0, "")
    assert data(peer) == {b"old"}
    assert list(played_once(peer, "volumecare")["taken"]) == [VM]


@pytest.mark.parametrize(
    ("identity", "preserved"),
    [("unnamed", "true"), ("unnamed", "false"), ("all", "true"), ("keep", "true")],
)
@pytest.mark.parametrize("names", [("", ""), ("a1", "a2")])
def test_another_id_after_a_revert(
    tmp_path: Path, capsys: Capture, names: tuple[str, str], identity: str, preserved: str
) -> None:
    """[git 76ce668]: a volume may have another global id after a revert; the next revert, and the
    next backups, are those of the same volume all the same."""
    given = {"revert_identity": identity, "preserved_id": preserved}
    with played(tmp_path, switches=given) as peer:
        tags = {"cvm": A, "vc-policy": "hourly"}
        for name in names:
            peer.post("VolumeCreate", {"name": name, "size": MIB, "tags": tags})
        first = {f"~{one['globalId']}" for one in peer.get("VolumesList")}
        peer.simulator.advance(60)
        for number in range(3):
            assert revert(peer, capsys, number) == (0, "")
            is_same = {f"~{one['globalId']}" for one in peer.get("VolumesList")} == first
            assert is_same == (identity == "keep" or (identity == "unnamed" and names[0] != ""))
            peer.simulator.advance(HOUR)
        kept = history(peer, capsys, VM)
        assert len(kept) == 4
        assert {frozenset(one["extra_info"]["sp"]["map"]) for one in kept} == {frozenset(first)}


def test_a_lone_disk_stays_itself(tmp_path: Path, capsys: Capture) -> None:
    """[git 76ce668]: a volume of no VM is the one that it was, whatever its global id is now."""
    with played(tmp_path) as peer:
        body = {"name": "", "size": MIB, "tags": {"vc-policy": "hourly"}}
        entity = f"~{peer.post('VolumeCreate', body)['globalId']}"
        peer.simulator.advance(60)
        when = history(peer, capsys, entity)[0]["create_ts"]
        assert storpool_vcctl(peer, "revert", entity, str(when)) == 0
        assert f"~{peer.get('VolumesList')[0]['globalId']}" != entity
        peer.simulator.advance(HOUR)
        assert len(history(peer, capsys, entity)) == 2


# the configuration


def test_show_and_load(peer: Peer, tmp_path: Path, capsys: Capture) -> None:
    """[kb]: `config show` prints what is in the store; what is no configuration is not loaded."""
    capsys.readouterr()
    assert storpool_vcctl(peer, "config", "show") == 0
    assert capsys.readouterr().out == CONFIG
    file = tmp_path / "other.conf"
    file.write_text(CONFIG.replace("4h", "5h"))
    assert storpool_vcctl(peer, "config", "load", str(file)) == 0
    assert notes.read(api(peer)).config == file.read_text()
    file.write_text("[format]")
    assert storpool_vcctl(peer, "config", "load", str(file)) == 1
    assert storpool_vcctl(peer, "config", "load", str(tmp_path / "none")) == 1
    assert "none cannot be read" in capsys.readouterr().err
    assert "5h" in str(notes.read(api(peer)).config)


@pytest.mark.parametrize("words", [["nothing"], ["revert", VM], ["revert", VM, "soon"], []])
def test_wrongly_typed(peer: Peer, capsys: Capture, words: list[str]) -> None:
    """What is no command is one message and exit code 2."""
    assert storpool_vcctl(peer, *words) == 2
    assert "storpool_vcctl: " in capsys.readouterr().err


def test_the_api_is_away(peer: Peer, capsys: Capture) -> None:
    """A call that fails is one sentence and exit code 1."""
    peer.simulator.faults.add("bad_gateway", query="KV/List")
    assert storpool_vcctl(peer, "status") == 1
    assert capsys.readouterr().err.startswith("storpool_vcctl: KV/List/")


def test_a_bucket_that_somebody_else_makes(peer: Peer) -> None:
    """Two programs may write a bucket's first pair at one moment: both are in it."""
    way = api(peer)

    def make(record: Any) -> None:
        if record.query == "KV/Create" and "once" not in peer.get("KV")["buckets"]:
            peer.simulator.calls.watch(lambda _record: None)
            peer.post("KV/Create/once")

    peer.simulator.calls.watch(make)
    way.store("once", {"a": "1"})
    assert way.pairs("once") == {"a": "1"}
    assert way.pairs("never") == {}
    with pytest.raises(wire.RefusedError):
        way.get("KV/List/never")
