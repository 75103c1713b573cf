"""Attachments: what a request changes, what it refuses, what clients see, and that it is all or
nothing."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from simulator_fixtures import GIB, LIMIT_SECONDS, Peer, RefusedError

from rigs.clock import wait_until


@pytest.fixture(params=["file", "loop"])
def peer_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each kind of devices that this machine allows."""
    return {"devices": request.param}


@pytest.fixture(autouse=True)
def s(peer: Peer, v: str) -> str:
    """Each cluster here has a volume v and its snapshot s."""
    return peer.snapshot("v", "s")


def refused_items(peer: Peer, *items: Any) -> RefusedError:
    """The error of a reassign that must fail and change nothing."""
    before = peer.attached(), peer.simulator.cluster.generation
    with pytest.raises(RefusedError) as caught:
        peer.reassign(*items)
    assert (peer.attached(), peer.simulator.cluster.generation) == before
    return caught.value


def test_the_device_is_there_before_the_reply(peer: Peer, v: str) -> None:
    """Both links exist when the attach answers; they are gone when the detach answers [pve]
    [brick]."""
    peer.reassign({"volume": "v", "rw": [1]})
    assert peer.device(1, v).exists()
    assert peer.named_device(1, "v").exists()
    assert not peer.device(2, v).exists()
    peer.reassign({"volume": "v", "detach": [1]})
    assert not peer.device(1, v).exists()
    assert not peer.named_device(1, "v").exists()


def test_an_unnamed_volume_has_a_link_by_id_only(peer: Peer) -> None:
    """There is no link by name for an unnamed volume [kb] [brick]."""
    u = peer.create("")
    peer.reassign({"volume": f"~{u}", "rw": [1]})
    assert peer.device(1, u).exists()
    assert list(peer.named_device(1, "x").parent.iterdir()) == []


def test_several_clients_write(peer: Peer) -> None:
    """A volume may be attached read-write on several clients: live migration needs it [addon]
    [pve]."""
    peer.reassign({"volume": "v", "rw": [1]})
    peer.reassign({"volume": "v", "rw": [2]})
    assert peer.attached() == {("v", 1, "rw"), ("v", 2, "rw")}


def test_attaching_again_changes_nothing(peer: Peer) -> None:
    """A repeated attach with the same rights succeeds [inf]; other rights are applied in place
    [addon]."""
    peer.reassign({"volume": "v", "rw": [1]})
    peer.reassign({"volume": "v", "rw": [1]})
    assert peer.attached() == {("v", 1, "rw")}
    peer.reassign({"volume": "v", "ro": [1]})
    assert peer.attached() == {("v", 1, "ro")}
    peer.reassign({"volume": "v", "rw": [1]})
    assert peer.attached() == {("v", 1, "rw")}


def test_a_snapshot_is_read_only(peer: Peer) -> None:
    """Snapshots are attached read-only and listed as ro; rw is refused [sptypes]."""
    assert refused_items(peer, {"snapshot": "s", "rw": [1]}).name == "invalidParam"
    peer.reassign({"snapshot": "s", "ro": [1]})
    assert peer.attached() == {("s", 1, "ro")}


@pytest.mark.parametrize(
    "item",
    [
        {"rw": [1]},
        {"volume": "v", "snapshot": "s", "ro": [1]},
        {"volume": "v", "rw": [0]},
        {"volume": "v", "rw": "1"},
        {"volume": "v", "rw": [4096]},
        {"volume": "v", "rw": ["x"]},
        {"volume": "v", "rw": [True]},
        "v",
        {"volume": "v", "detach": "none"},
        {"volume": "v", "force": "yes"},
        {"volume": "v", "rw": [1], "ro": [1]},
        {"volume": "v", "unknown": 1},
        {"snapshot": "s", "mcMode": "move"},
    ],
    ids=str,
)
def test_a_bad_item_is_refused(peer: Peer, item: Any) -> None:
    """An item that the binding's schema does not know is invalidParam [sptypes]."""
    assert refused_items(peer, item).name == "invalidParam"


def test_kinds_are_not_mixed(peer: Peer) -> None:
    """A snapshot is not a volume: under the other key it does not exist [sptypes]."""
    assert refused_items(peer, {"volume": "s", "ro": [1]}).name == "objectDoesNotExist"
    assert refused_items(peer, {"snapshot": "v", "ro": [1]}).name == "objectDoesNotExist"


def test_an_unknown_client_is_refused(peer: Peer) -> None:
    """A client that was never seen is invalidParam with the words that CSI looks for [csi]."""
    error = refused_items(peer, {"volume": "v", "rw": [99]})
    assert (error.name, error.descr) == ("invalidParam", "No such client registered")


def test_an_open_volume_is_not_detached(peer: Peer, v: str) -> None:
    """A device that is open keeps its attachment; whoever has it open is seen for real [brick]
    [kb]."""
    peer.reassign({"volume": "v", "rw": [1]})
    with peer.device(1, v).open("r+b"):
        for detach in ([1], "all"):
            error = refused_items(peer, {"volume": "v", "detach": detach})
            assert (error.name, error.descr) == ("busy", "'v' is open at client 1")
    peer.reassign({"volume": "v", "detach": [1]})
    assert peer.attached() == set()


def test_force_detaches_an_open_volume(peer: Peer, v: str) -> None:
    """force always succeeds, is recorded, and what still holds the device reaches the data no more
    [sptypes] [pve]."""
    peer.reassign({"volume": "v", "rw": [1]})
    with peer.device(1, v).open("r+b", buffering=0) as device:
        peer.reassign({"volume": "v", "detach": "all", "rw": [2], "force": True})
        with contextlib.suppress(OSError):  # a plain file takes it, but it is nobody's any more
            device.write(b"stale")
    assert peer.attached() == {("v", 2, "rw")}
    assert peer.read(2, v, 5) == bytes(5)
    assert peer.control("GET", "clients")["1"]["forced"] == [v]


def test_my_own_open_device_is_left_alone(peer: Peer, v: str) -> None:
    """detach:all with rw:[me] takes the others off and leaves my device in use [pve] [sp-os]."""
    peer.reassign({"volume": "v", "rw": [1, 2]})
    with peer.device(1, v).open("r+b", buffering=0) as device:
        peer.reassign({"volume": "v", "detach": "all", "rw": [1], "force": True})
        device.write(b"mine")
    assert peer.attached() == {("v", 1, "rw")}
    assert peer.read(1, v, 4) == b"mine"


def test_a_request_is_all_or_nothing(peer: Peer, v: str) -> None:
    """When one item of a request fails, the others have no effect, on rows and on devices [addon]
    [sp-os]."""
    w = peer.create("w")
    peer.reassign({"volume": "w", "rw": [1]})
    peer.simulator.set_client(1, opened=[w])
    refused_items(peer, {"volume": "v", "rw": [1]}, {"volume": "w", "detach": [1]})
    refused_items(peer, {"volume": "v", "rw": [1]}, {"volume": "unknown", "rw": [1]})
    assert not peer.device(1, v).exists()
    assert peer.device(1, w).exists()


def test_many_volumes_move_in_one_request(peer: Peer) -> None:
    """All disks of a virtual machine change hosts in one request [sp-os] [addon]."""
    names = [f"disk{number}" for number in range(5)]
    for name in names:
        peer.create(name)
    peer.reassign(*({"volume": name, "rw": [1]} for name in names))
    peer.reassign(*({"volume": name, "rw": [2], "detach": "all", "force": True} for name in names))
    assert peer.attached() == {(name, 2, "rw") for name in names}


def test_positions_are_the_lowest_free_ones(peer: Peer) -> None:
    """pos is the lowest number that is free on the client [sptypes]."""
    for name in ("w0", "w1", "w2"):
        peer.create(name)
        peer.reassign({"volume": name, "rw": [1]})
    peer.reassign({"volume": "w1", "detach": "all"})
    peer.reassign({"volume": "v", "rw": [1]})
    positions = {one["volume"]: one["pos"] for one in peer.get("AttachmentsList")}
    assert positions == {"w0": 0, "v": 1, "w2": 2}


def test_a_client_has_1024_positions(peer: Peer) -> None:
    """The 1025th attachment of a client is invalidParam [sptypes] [csi]."""
    peer.control("POST", "clients/9", {"status": "running"})
    names = [f"n{number}" for number in range(1024)]
    for name in names:
        peer.create(name, size=512)
    peer.reassign(*({"volume": name, "rw": [9]} for name in names))
    assert refused_items(peer, {"volume": "v", "rw": [9]}).name == "invalidParam"
    assert {one["pos"] for one in peer.get("AttachmentsList")} == set(range(1024))


def test_an_attached_snapshot_is_not_deleted(peer: Peer) -> None:
    """SnapshotDelete of an attached snapshot is busy [inf]."""
    peer.reassign({"snapshot": "s", "ro": [1]})
    with pytest.raises(RefusedError, match="busy"):
        peer.post("SnapshotDelete/s")


def test_delete_detaches_only_what_is_closed(peer: Peer, v: str) -> None:
    """onAttached:detach is refused while the volume is open, and nothing changes [sptypes]."""
    peer.reassign({"volume": "v", "rw": [1]})
    peer.simulator.set_client(1, opened=[v])
    with pytest.raises(RefusedError, match="is open at client 1"):
        peer.post("VolumeDelete/v", {"onAttached": "detach"})
    assert peer.attached() == {("v", 1, "rw")}
    peer.simulator.set_client(1, opened=[])
    peer.post("VolumeDelete/v", {"onAttached": "detach"})
    assert peer.names() == {"s"}


# clients that are down


def test_an_attach_waits_for_its_client(peer: Peer, v: str) -> None:
    """Without attachTimeout an attach waits until the client is up, and the device is there before
    it answers [kb]."""
    peer.control("POST", "clients/2", {"status": "down"})
    answers: list[Any] = []

    def attach() -> None:
        answers.append(peer.post("VolumesReassignWait", {"reassign": [{"volume": "v", "rw": [2]}]}))
        answers.append(peer.device(2, v).exists())

    caller = threading.Thread(target=attach)
    caller.start()
    wait_until(lambda: peer.attached() == {("v", 2, "rw")})
    assert answers == []
    peer.control("POST", "clients/2", {"status": "running"})
    caller.join(LIMIT_SECONDS)
    assert [answers[0]["ok"], answers[1]] == [True, True]


def test_attach_timeout_0_does_not_wait(peer: Peer, v: str) -> None:
    """attachTimeout 0 succeeds at once, and the device appears when the client comes up
    [sptypes]."""
    peer.control("POST", "clients/2", {"status": "down"})
    peer.reassign({"volume": "v", "rw": [2]}, wait=0)
    assert peer.attached() == {("v", 2, "rw")}
    assert not peer.device(2, v).exists()
    peer.control("POST", "clients/2", {"status": "running"})
    assert peer.device(2, v).exists()


def test_a_client_that_is_down_falls_behind(peer: Peer) -> None:
    """ClientsConfigDump and ServicesList show a client that is down, with the generation that it
    saw last [sptypes]."""
    peer.control("POST", "clients/2", {"status": "down"})
    peer.create("w")
    (two,) = [one for one in peer.get("ClientsConfigDump") if one["id"] == 2]
    assert two["configStatus"] == "down"
    assert two["clientGeneration"] < two["generation"]
    assert peer.get("ServicesList")["clients"]["2"]["status"] == "down"


def test_client_config_wait_waits(peer: Peer) -> None:
    """ClientConfigWait answers when the client has caught up [spapi]."""
    peer.control("POST", "clients/2", {"status": "down"})
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(peer.get("ClientConfigWait/2")))
    caller.start()
    wait_until(lambda: "ClientConfigWait" in peer.simulator.calls.queries())
    assert answers == []
    peer.control("POST", "clients/2", {"status": "running"})
    caller.join(LIMIT_SECONDS)
    assert {one["configStatus"] for one in answers[0]} == {"ok"}


def test_client_config_wait_for_an_unknown_client(peer: Peer) -> None:
    """ClientConfigWait for a client that was never seen, or for no number, is invalidParam
    [inf]."""
    for name in ("99", "x"):
        with pytest.raises(RefusedError, match="invalidParam"):
            peer.get(f"ClientConfigWait/{name}")


def test_reads_of_hosts_see_each_other(peer: Peer, v: str) -> None:
    """Two hosts that have one volume attached see the same data [addon]."""
    peer.reassign({"volume": "v", "rw": [1, 2]})
    peer.write(1, v, b"shared", at=GIB // 2)
    assert peer.read(2, v, 6, at=GIB // 2) == b"shared"


# clients that run and are behind


def status_of(peer: Peer, client_id: int) -> Any:
    """What ClientsConfigDump tells about a client."""
    (found,) = [one for one in peer.get("ClientsConfigDump") if one["id"] == client_id]
    return found


def test_a_client_that_is_behind_updates(peer: Peer) -> None:
    """A client that runs and takes over nothing is updating, at the generation where it fell behind
    [sptypes]."""
    before = status_of(peer, 2)["clientGeneration"]
    peer.control("POST", "clients/2", {"behind": True})
    peer.create("w")
    peer.create("x")
    two = status_of(peer, 2)
    assert (two["configStatus"], two["clientGeneration"]) == ("updating", before)
    assert two["generation"] == status_of(peer, 1)["clientGeneration"] > before
    assert peer.get("ServicesList")["clients"]["2"]["status"] == "running"
    assert peer.control("GET", "clients")["2"]["behind"] is True
    peer.simulator.set_client(2, behind=False)
    assert (status_of(peer, 2)["configStatus"], status_of(peer, 2)["clientGeneration"]) == (
        "ok",
        two["generation"],
    )


def test_an_attach_waits_for_a_client_that_is_behind(peer: Peer, v: str) -> None:
    """The device appears when the client has caught up, and until then whoever attaches it waits
    [sptypes] [inf]."""
    peer.simulator.set_client(2, behind=True)
    peer.reassign({"volume": "v", "rw": [2]}, wait=0)
    assert not peer.device(2, v).exists()
    with pytest.raises(RefusedError, match="timeout"):
        peer.reassign({"snapshot": "s", "ro": [2]}, wait=1)
    peer.simulator.set_client(2, behind=False)
    assert peer.device(2, v).exists()


def test_what_is_taken_from_a_client_that_is_behind_is_gone(peer: Peer, v: str) -> None:
    """A forced detach takes effect whether the client takes over the configuration or not [inf]."""
    peer.reassign({"volume": "v", "rw": [2]})
    peer.simulator.set_client(2, behind=True)
    peer.reassign({"volume": "v", "detach": [2], "force": True})
    assert peer.attached() == set()
    assert not peer.device(2, v).exists()


def test_a_client_that_went_down_is_behind_no_more(peer: Peer) -> None:
    """What starts reads the whole configuration; while it is down it is where it fell behind
    [inf]."""
    peer.simulator.set_client(2, behind=True)
    seen = status_of(peer, 2)["clientGeneration"]
    peer.create("w")
    peer.control("POST", "clients/2", {"status": "down"})
    assert (status_of(peer, 2)["configStatus"], status_of(peer, 2)["clientGeneration"]) == (
        "down",
        seen,
    )
    peer.control("POST", "clients/2", {"status": "running"})
    assert status_of(peer, 2)["configStatus"] == "ok"
    assert peer.control("GET", "clients")["2"]["behind"] is False
