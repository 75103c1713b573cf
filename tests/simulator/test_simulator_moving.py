"""While a move goes on: listed twice, cut and healed, changed and brought back, killed in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from clusters_rig import Trio, opened_trio, outcome
from simulator_fixtures import GIB

from storpool_simulator.devices.devices import DeviceError
from storpool_simulator.model import federation, moves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS_PER_GIB = 1000.0
DATA = b"d" * (4 << 20)  # 4 MiB take 3.9 s


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """The clusters, with slow bridges, and `v` in the first, whose data is on its way."""
    with opened_trio(tmp_path) as opened:
        begin(opened)
        yield opened


def begin(trio: Trio) -> str:
    """Make `v` with data, and begin to move it; returns its global id."""
    global_id = trio.one.create("v", template="nvme", tags={"a": "b"})
    trio.one.reassign({"volume": "v", "rw": [1]})
    trio.one.write(1, global_id, DATA)
    trio.one.reassign({"volume": "v", "detach": [1]})
    trio.one.control("POST", "bridges/two", {"secondsPerGiB": SECONDS_PER_GIB})
    trio.one.post("VolumeMoveToRemote/v", {"cluster": "two"})
    return global_id


def listed(trio: Trio) -> list[tuple[str, str, bool]]:
    """How MultiCluster/VolumesList has `v`: cluster, state, whether it is a move's source."""
    rows = trio.one.get("MultiCluster/VolumesList")
    return [
        (one["clusterId"], one["mcState"], one.get("volumeMoveSource", False))
        for one in rows
        if one["name"] == "v"
    ]


BOTH = [("loc.a", "slaveCopy", True), ("loc.b", "owner", False)]
ONE = [("loc.b", "owner", False)]


def test_a_moving_volume_is_listed_twice(trio: Trio) -> None:
    """Until its data has crossed the bridge the source lists it as the source of a move; then only
    the target does [sptypes] volumeMoveSource, mcState."""
    assert listed(trio) == BOTH
    trio.one.simulator.advance(3)
    assert listed(trio) == BOTH
    trio.one.simulator.advance(1)
    assert listed(trio) == ONE
    assert trio.one.get("VolumesList") == []


def test_calls_go_to_the_target_at_once(trio: Trio) -> None:
    """From the first moment on the target is the owner: a MultiCluster/ call changes it there, a
    plain one finds nothing at the source [inf]."""
    trio.one.post("MultiCluster/VolumeUpdate/v", {"tags": {"c": "d"}, "sizeAdd": GIB})
    (found,) = trio.one.get("MultiCluster/Volume/v")
    assert (found["clusterId"], found["tags"], found["size"]) == (
        "loc.b",
        {"a": "b", "c": "d"},
        2 * GIB,
    )
    assert outcome(lambda: trio.one.post("VolumeUpdate/v", {"tags": {}})) == "objectDoesNotExist"
    assert outcome(lambda: trio.one.create("v")) == "objectExists"
    global_id = found["globalId"]
    trio.two.reassign({"volume": "v", "rw": [3]})
    assert trio.two.read(3, global_id, len(DATA)) == DATA


def test_a_cut_bridge_holds_a_move_and_it_goes_on(trio: Trio) -> None:
    """While the bridge is down nothing moves; once it is up the rest takes its time."""
    trio.one.simulator.advance(2)
    trio.cut()
    trio.one.simulator.advance(1000)
    assert len(trio.one.get("VolumesList")) == 1
    (still,) = trio.one.get("VolumesList")
    assert still["volumeMoveSource"] is True
    trio.heal()
    trio.one.simulator.advance(1)
    assert listed(trio) == BOTH
    trio.one.simulator.advance(1)
    assert listed(trio) == ONE


def test_an_old_answer_holds_no_move(trio: Trio) -> None:
    """An instance that is behind tells of a move as it was: that the bridge is cut meanwhile is the
    business of the present."""
    trio.one.create("w")
    trio.cut()
    trio.one.control("POST", "faults", {"kind": "old", "changes": 1})
    assert [one["name"] for one in trio.one.get("VolumesList")] == ["v"]


def test_a_source_is_no_owner_while_the_bridge_is_down(trio: Trio) -> None:
    """Who asks the source for the volume while its owner is away gets an error, and no old copy."""
    trio.cut()
    assert outcome(lambda: trio.one.get("MultiCluster/Volume/v")) == "multiCluster"
    trio.switch(mc_unreachable="omit")
    assert outcome(lambda: trio.one.get("MultiCluster/Volume/v")) == "objectDoesNotExist"


def test_a_move_is_taken_back(trio: Trio) -> None:
    """VolumeAcquire at the source brings a volume back that is still on its way, with what was
    changed meanwhile; then the other side is the source, until that is over."""
    trio.two.post("VolumeUpdate/v", {"tags": {"c": "d"}})
    trio.one.post("MultiCluster/VolumeAcquire/v", {})
    assert listed(trio) == [("loc.a", "owner", False), ("loc.b", "slaveCopy", True)]
    assert trio.one.volume("v")["tags"] == {"a": "b", "c": "d"}
    trio.two.simulator.advance(4)
    assert listed(trio) == [("loc.a", "owner", False)]
    assert trio.two.get("VolumesList") == []


def test_a_deleted_target_leaves_no_source(trio: Trio) -> None:
    """A volume that is deleted while it moves is gone from both when the move ends."""
    trio.one.post("MultiCluster/VolumeDelete/v", {})
    assert trio.two.get("VolumesList") == []
    trio.one.simulator.advance(4)
    assert trio.one.get("MultiCluster/VolumesList") == []


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The move, and the volume's data, outlive the process; the bridge is fast then."""
    with opened_trio(tmp_path) as trio:
        global_id = begin(trio)
        assert listed(trio) == BOTH
    with opened_trio(tmp_path) as trio:
        assert listed(trio) == ONE
        trio.two.reassign({"volume": "v", "rw": [3]})
        assert trio.two.read(3, global_id, len(DATA)) == DATA


class KilledError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("written", [0, 1])
def test_killed_between_the_two_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """A process that dies before the target has it written leaves the source's; after that the move
    goes on: never two owners, never none."""

    def dies(self: Any, rows: Any) -> None:
        nonlocal written
        if not written:
            raise KilledError
        written -= 1
        original(self, rows)

    with opened_trio(tmp_path) as trio:
        global_id = trio.one.create("v", template="nvme")
        trio.one.reassign({"volume": "v", "rw": [1]})
        trio.one.write(1, global_id, DATA)
        store = type(trio.one.simulator.cluster._store)
        original = store.write
        # What a kill leaves undone is not undone by anything else either.
        monkeypatch.setattr(trio.one.simulator.cluster.catalog.journal, "restore", lambda: None)
        monkeypatch.setattr("storpool_simulator.model.cluster._silent", lambda _undo: None)
        monkeypatch.setattr(store, "write", dies)
        body = {"cluster": "two", "onAttached": "export"}
        survives = "loc.b" if written else "loc.a"
        assert outcome(lambda: trio.one.post("VolumeMoveToRemote/v", body)) == "internalError"
        monkeypatch.undo()
    with opened_trio(tmp_path) as trio:
        owners = [
            one["clusterId"]
            for one in trio.one.get("MultiCluster/VolumesList")
            if not one.get("volumeMoveSource")
        ]
        assert owners == [survives]
        (attached,) = trio.one.get("MultiCluster/AttachmentsList")
        assert (attached["volume"], attached["clusterId"]) == ("v", "loc.a")
        assert trio.one.read(1, global_id, len(DATA)) == DATA
        trio.one.write(1, global_id, b"new")
        reader = trio.two if survives == "loc.b" else trio.one
        path = reader.simulator.cluster.files.path(global_id)
        assert path.read_bytes()[:3] == b"new"
        other = trio.one if survives == "loc.b" else trio.two
        assert not other.simulator.cluster.files.path(global_id).exists()


def test_healing_changes_nothing_where_nothing_is_wrong(trio: Trio) -> None:
    """A start leaves moves under way, finished ones and copies as they are."""
    together: federation.Federation = trio.one.simulator.cluster.federation
    before = [one.generation for one in together.clusters]
    moves.heal(together)
    assert [one.generation for one in together.clusters] == before
    assert listed(trio) == BOTH


def test_real_devices_follow(tmp_path: Path) -> None:
    """With block devices a guest of the source goes on writing while the volume moves, and the
    other cluster's host reads it; by force it is cut off from both together."""
    try:
        with opened_trio(tmp_path, devices="loop") as trio:
            g = trio.one.create("v")
            trio.one.reassign({"volume": "v", "rw": [1]})
            with trio.one.device(1, g).open("r+b", buffering=0) as guest:
                body = {"reassign": [{"volume": "v", "rw": [3]}]}
                trio.two.post("MultiCluster/VolumesReassignWait", body)
                guest.write(b"s" * 4096)
                taken = [{"volume": "v", "rw": [3], "detach": "all", "force": True}]
                trio.two.post("MultiCluster/VolumesReassignWait", {"reassign": taken})
                with pytest.raises(OSError):
                    guest.read(4096)
            assert not trio.one.device(1, g).exists()
            trio.two.write(3, g, b"n" * 4096)
            assert trio.two.read(3, g, 4096) == b"n" * 4096
    except DeviceError as problem:
        pytest.skip(str(problem))
