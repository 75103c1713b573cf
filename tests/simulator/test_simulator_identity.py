"""Which id a volume has after VolumeRevert, and what still leads to it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator_fixtures import GIB, TOKEN, Peer, RefusedError, fill, opened_peer, refused
from storpool import spapi

from storpool_simulator.devices import storage

MIB = 1 << 20
DATA = b"data" * 128


def made(peer: Peer, **more: Any) -> str:
    """A volume without a name; its global id."""
    return str(peer.post("VolumeCreate", {"size": GIB, **more})["globalId"])


def reverted(peer: Peer, key: str, snapshot: str = "s") -> str:
    """Revert a volume, and return the id in the answer, which is the one it is listed with."""
    new = peer.post(f"VolumeRevert/{key}", {"toSnapshot": snapshot})["globalId"]
    assert peer.volume(f"~{new}")["globalId"] == new
    return str(new)


def links(peer: Peer, client_id: int) -> set[str]:
    """All links of a host, with the folder that each is in."""
    folders = (peer.device(client_id, "x").parent, peer.named_device(client_id, "x").parent)
    return {f"{folder.name}/{link.name}" for folder in folders for link in folder.iterdir()}


def test_an_unnamed_volume_gets_another_id(peer: Peer) -> None:
    """A revert gives an unnamed volume a new global id; the old one is its name, and still leads to
    it, as a name [git 76ce668]. Its visible id stays, and so does the first id in
    `preservedGlobalId` [addon]."""
    old = made(peer, tags={"a": "b"})
    before = peer.volume(f"~{old}")
    assert before["preservedGlobalId"] == old
    peer.snapshot(f"~{old}")
    new = reverted(peer, f"~{old}")
    after = peer.volume(f"~{new}")
    assert new != old
    assert after == peer.volume(f"~{old}")
    assert (after["name"], after["globalId"], after["preservedGlobalId"]) == (f"~{old}", new, old)
    same = ("id", "visibleVolumeId", "size", "tags", "creationTimestamp", "templateName")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert [(one["name"], one["globalId"]) for one in peer.get("VolumesList")] == [(f"~{old}", new)]


def test_a_named_volume_keeps_its_id(peer: Peer, v: str) -> None:
    """A volume with a name keeps its global id [git 76ce668]; the answer has it too [addon]."""
    peer.snapshot("v")
    assert reverted(peer, "v") == v
    assert (peer.volume("v")["name"], peer.volume("v")["preservedGlobalId"]) == ("v", v)


def test_ids_between_two_reverts_die(peer: Peer) -> None:
    """Only the first and the last id of an unnamed volume lead to it: those between are nobody's,
    and never will be [kvchk]."""
    first = made(peer)
    peer.snapshot(f"~{first}")
    second = reverted(peer, f"~{first}")
    third = reverted(peer, f"~{second}")
    fourth = reverted(peer, f"~{first}")
    for dead in (second, third):
        for query in (f"VolumeUpdate/~{dead}", f"VolumeRevert/~{dead}", f"VolumeDelete/~{dead}"):
            body = {"toSnapshot": "s"} if "Revert" in query else {}
            assert refused(peer, query, body).name == "objectDoesNotExist"
    assert peer.volume(f"~{first}")["globalId"] == fourth
    assert made(peer) not in {first, second, third, fourth}


def test_any_volume_may_get_another_id(peer: Peer, v: str) -> None:
    """A volume's id "may change after a volume is reverted" [pve 7d8e8b0]: with
    revert_identity=all that of a named one does, and its name is all that leads to it."""
    peer.switch(revert_identity="all")
    peer.snapshot("v")
    new = reverted(peer, "v")
    assert (peer.volume("v")["globalId"], peer.volume("v")["preservedGlobalId"]) == (new, v)
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        peer.volume(f"~{v}")
    assert peer.names() == {"v", "s"}


def test_no_volume_gets_another_id(peer: Peer) -> None:
    """With revert_identity=keep every volume keeps its id, as older readings had it."""
    peer.switch(revert_identity="keep")
    old = made(peer)
    peer.snapshot(f"~{old}")
    assert reverted(peer, f"~{old}") == old
    assert peer.volume(f"~{old}")["name"] == f"~{old}"


def test_attachments_name_the_id_of_now(peer: Peer) -> None:
    """An attachment stays over a revert; the list has the id of now beside the name `~old`
    [pve 7d8e8b0], and both take it away."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    peer.reassign({"volume": f"~{old}", "rw": [1, 2]})
    new = reverted(peer, f"~{old}")
    listed = {(one["volume"], one["globalId"], one["client"]) for one in _attachments(peer)}
    assert listed == {(f"~{old}", new, 1), (f"~{old}", new, 2)}
    peer.reassign({"volume": f"~{old}", "detach": [1]})
    peer.reassign({"volume": f"~{new}", "detach": [2], "force": True})
    assert _attachments(peer) == []
    assert peer.control("GET", "clients")["2"]["forced"] == [new]


def _attachments(peer: Peer) -> Any:
    return peer.get("MultiCluster/AttachmentsList")


def test_openers_are_declared_by_either_id(peer: Peer) -> None:
    """What a test declares open stays open over a revert, by the id of then or of now."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    peer.reassign({"volume": f"~{old}", "rw": [1]})
    peer.simulator.set_client(1, opened=[old])
    peer.switch(revert_attached="allow")
    new = reverted(peer, f"~{old}")
    for one in (None, old, new):
        if one is not None:
            peer.simulator.set_client(1, opened=[one])
        assert peer.control("GET", "clients")["1"]["open"] == [new]
        assert refused(peer, "VolumesReassign", [{"volume": f"~{new}", "detach": [1]}]).name == (
            "busy"
        )


# devices


@pytest.fixture(params=["file", "loop"])
def peer_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both kinds of devices."""
    return {"devices": request.param}


def test_devices_go_on_over_a_revert(peer: Peer) -> None:
    """An open device stays open and reads the reverted data; the links by the new and by the old id
    lead to it, and none among the names [git 76ce668]."""
    peer.switch(revert_attached="allow")
    old = made(peer)
    fill(peer, f"~{old}", DATA)
    peer.snapshot(f"~{old}")
    peer.reassign({"volume": f"~{old}", "rw": [1]})
    peer.write(1, old, b"other")
    with peer.device(1, old).open("r+b", buffering=0) as device:
        new = reverted(peer, f"~{old}")
        assert links(peer, 1) == {f"storpool-byid/{old}", f"storpool-byid/{new}"}
        newest = reverted(peer, f"~{new}")
        assert links(peer, 1) == {f"storpool-byid/{old}", f"storpool-byid/{newest}"}
        device.seek(4096)
        device.write(DATA)
    assert peer.device(1, old).resolve() == peer.device(1, newest).resolve()
    assert peer.read(1, newest, len(DATA)) == peer.read(1, old, len(DATA), 4096) == DATA
    peer.post(f"VolumeUpdate/~{newest}", {"rename": "named"})
    assert links(peer, 1) == {f"storpool-byid/{newest}", "storpool/named"}
    peer.reassign({"volume": "named", "detach": [1]})
    assert links(peer, 1) == set()


def test_the_links_of_a_named_volume(peer: Peer, v: str) -> None:
    """Where a named volume gets another id, the link by the first one goes, and an open device goes
    on [pve 7d8e8b0]."""
    peer.switch(revert_attached="allow", revert_identity="all")
    peer.snapshot("v")
    peer.reassign({"volume": "v", "rw": [1]})
    with peer.device(1, v).open("r+b", buffering=0) as device:
        new = reverted(peer, "v")
        device.write(b"after")
    assert links(peer, 1) == {f"storpool-byid/{new}", "storpool/v"}
    assert peer.read(1, new, 5) == b"after"


# what is made of it, and what becomes of it


def test_snapshots_of_a_reverted_volume(peer: Peer) -> None:
    """A snapshot says from which id it was made: the one that its volume had then; what has no name
    of its own gives its snapshots names made from its id."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    new = reverted(peer, f"~{old}")
    peer.snapshot(f"~{old}", "later")
    assert peer.shot("s")["createdFromGlobalId"] == old
    assert peer.shot("later")["createdFromGlobalId"] == new
    assert peer.shot("later")["onVolume"] == f"~{old}"
    unnamed = peer.post(f"VolumeSnapshot/~{new}", {"name": ""})["snapshotGlobalId"]
    assert peer.shot(f"~{unnamed}")["name"] == f"~{unnamed}"
    assert peer.post(f"VolumeSnapshot/~{new}")["autoName"].startswith(f"{old}@")
    assert "preservedGlobalId" not in peer.shot("s")


def test_a_group_names_the_ids_of_now(peer: Peer) -> None:
    """VolumesGroupSnapshot answers with name and id of now, whichever id asked."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    new = reverted(peer, f"~{old}")
    (one,) = peer.post("VolumesGroupSnapshot", {"volumes": [{"volume": f"~{old}"}]})["snapshots"]
    assert (one["volume"], one["volumeGlobalId"]) == (f"~{old}", new)
    twice = {"volumes": [{"volume": f"~{old}"}, {"volume": f"~{new}"}]}
    assert refused(peer, "VolumesGroupSnapshot", twice).name == "invalidParam"


def test_a_rename_ends_the_old_id(peer: Peer) -> None:
    """A new name takes the place of `~old`, which then leads to nothing; "" takes no name from what
    has none of its own [git 76ce668]."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    new = reverted(peer, f"~{old}")
    peer.post(f"VolumeUpdate/~{old}", {"rename": ""})
    assert peer.volume(f"~{old}")["name"] == f"~{old}"
    peer.post(f"VolumeUpdate/~{old}", {"rename": "named"})
    assert peer.volume(f"~{new}")["name"] == "named"
    assert refused(peer, f"VolumeUpdate/~{old}", {}).name == "objectDoesNotExist"
    peer.post("VolumeUpdate/named", {"rename": ""})
    assert peer.volume(f"~{new}")["name"] == f"~{new}"
    assert peer.volume(f"~{reverted(peer, f'~{new}')}")["name"] == f"~{new}"


def test_a_reverted_volume_goes_as_others_do(peer: Peer) -> None:
    """Delete and freeze take a reverted volume by its old id; a frozen one is deleted as unnamed
    ones are, and what it froze can be a parent by either id."""
    old, other = made(peer), made(peer)
    for one in (old, other):
        peer.snapshot(f"~{one}", f"s{one}")
    new, gone = reverted(peer, f"~{old}", f"s{old}"), reverted(peer, f"~{other}", f"s{other}")
    peer.post(f"VolumeDelete/~{other}")
    for dead in (other, gone):
        assert refused(peer, f"VolumeDelete/~{dead}", {}).name == "objectDoesNotExist"
    peer.post(f"VolumeFreeze/~{old}")
    assert (peer.shot(f"~{old}")["globalId"], peer.shot(f"~{old}")["autoName"]) == (new, True)
    peer.post("VolumeTemplateUpdate/nvme", {"parent": f"~{old}"})
    peer.create("child", template="nvme")
    assert peer.volume("child")["parentName"] == f"~{old}"
    peer.post("VolumesReassign", [{"snapshot": f"~{old}", "ro": [1]}])
    peer.post("VolumesReassign", [{"snapshot": f"~{new}", "detach": "all"}])
    peer.post("VolumeDelete/child")
    peer.post(f"SnapshotDeleteById/{old}")
    assert peer.shot(f"~{new}")["name"] == f"*{new}"


def test_nobody_can_take_an_id_as_a_name(peer: Peer) -> None:
    """`~` is in no name that a caller can give, so no name leads an id astray [sptypes]; an id
    without it is a name like any other."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    peer.post(f"VolumeDelete/~{old}")
    peer.create("w")
    for query, body in (
        ("VolumeCreate", {"name": f"~{old}", "size": GIB}),
        ("VolumeUpdate/w", {"rename": f"~{old}"}),
        ("VolumeSnapshot/w", {"name": f"~{old}"}),
    ):
        assert refused(peer, query, body).name == "invalidParam"
    peer.create(old)
    assert refused(peer, f"VolumeDelete/~{old}").name == "objectDoesNotExist"


@pytest.mark.parametrize(("counts", "result"), [("false", None), ("true", "invalidParam")])
def test_whether_the_kept_id_counts(peer: Peer, counts: str, result: str | None) -> None:
    """The name that a revert makes of an id is in the budget of 200 bytes, or it is not: then a
    revert fails of tags [inf]."""
    peer.switch(kept_id_counts=counts)
    old = made(peer, tags={"a": "b" * 199})
    peer.snapshot(f"~{old}")
    if result is None:
        reverted(peer, f"~{old}")
        return
    assert refused(peer, f"VolumeRevert/~{old}", {"toSnapshot": "s"}).name == result
    assert peer.volume(f"~{old}")["globalId"] == old


# restart, the past, the binding


class _Dying(storage.Storage):
    """A storage that dies in the middle of an overwrite."""

    def overwrite(self, source_id: str, target_id: str, size_bytes: int) -> None:
        with self.path(target_id).open("r+b") as target:
            target.write(b"half")
        raise OSError(source_id, size_bytes)


def test_a_restart_knows_the_ids(tmp_path: Path) -> None:
    """A simulator that dies in the middle of a revert starts with the new id, the data of the
    snapshot and both links; what was attached still is."""
    with opened_peer(tmp_path) as peer:
        old = made(peer)
        peer.reassign({"volume": f"~{old}", "rw": [1]})
        peer.write(1, old, b"good data")
        peer.snapshot(f"~{old}")
        second = reverted(peer, f"~{old}")
        peer.write(1, second, b"other bad")
        peer.simulator.cluster.files = _Dying(tmp_path / "state" / "data")
        with pytest.raises(RefusedError, match="internalError"):
            peer.post(f"VolumeRevert/~{old}", {"toSnapshot": "s"})
    with opened_peer(tmp_path) as peer:
        new = peer.volume(f"~{old}")["globalId"]
        assert new not in {old, second}
        assert links(peer, 1) == {f"storpool-byid/{old}", f"storpool-byid/{new}"}
        assert peer.read(1, old, 9) == peer.read(1, new, 9) == b"good data"
        assert refused(peer, f"VolumeUpdate/~{second}", {}).name == "objectDoesNotExist"


def test_an_instance_that_is_behind_knows_the_old_id(peer: Peer) -> None:
    """A management instance from before a revert answers as it was: the old id is the id, the new
    one is nobody's."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    new = reverted(peer, f"~{old}")
    then = peer.simulator.cluster.as_it_was(1).catalog
    assert then.find(f"~{new}") is None
    (was, now) = (then.find(f"~{old}"), peer.simulator.cluster.catalog.find(f"~{old}"))
    assert was is not None and now is not None
    assert (was.wire_id, was.listed_name, now.wire_id) == (old, f"~{old}", new)


def test_the_official_binding_reads_it(peer: Peer) -> None:
    """The binding takes the names and ids of a reverted volume, in lists and as an argument."""
    old = made(peer)
    peer.snapshot(f"~{old}")
    peer.reassign({"volume": f"~{old}", "rw": [1]})
    new = reverted(peer, f"~{old}")
    api = spapi.Api(peer.host, peer.port, TOKEN)
    assert [one.name for one in api.volumesList()] == [f"~{old}"]
    assert {api.volumeList(f"~{one}")[0].globalId for one in (old, new)} == {new}
    assert [one.volume for one in api.attachmentsList()] == [f"~{old}"]
    api.volumeRevert(f"~{old}", {"toSnapshot": "s"})


# many of them

STEPS = st.sampled_from(["revert", "rename", "unname", "snapshot", "attach", "detach", "delete"])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rule=st.sampled_from(["unnamed", "all", "keep"]),
    steps=st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=25),
)
def test_every_way_to_a_volume(rule: str, steps: list[tuple[str, int]], tmp_path: Path) -> None:
    """Whatever is done: each live volume is found by its name and by its id of now, by no id of
    another volume, keeps its visible and its first id, and has exactly the links that lead to
    it."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        peer = stack.enter_context(opened_peer(folder, switches={"revert_identity": rule}))
        base = peer.snapshot(f"~{peer.create('source', MIB)}", "base")
        keys = [made(peer, size=MIB), peer.create("v1", MIB), made(peer, size=MIB)]
        visible = {peer.volume(f"~{key}")["visibleVolumeId"]: key for key in keys}
        for step, which in steps:
            _step(peer, step, sorted(visible)[which], base)
            _check(peer, visible)


def _step(peer: Peer, step: str, number: int, base: str) -> None:
    found = {one["visibleVolumeId"]: one for one in peer.get("VolumesList")}
    if number not in found:
        return
    key = found[number]["name"]
    calls: dict[str, tuple[str, Any]] = {
        "revert": (f"VolumeRevert/{key}", {"toSnapshot": f"~{base}"}),
        "rename": (f"VolumeUpdate/{key}", {"rename": f"n{number}"}),
        "unname": (f"VolumeUpdate/{key}", {"rename": ""}),
        "snapshot": (f"VolumeSnapshot/{key}", {}),
        "attach": ("VolumesReassign", [{"volume": key, "rw": [1]}]),
        "detach": ("VolumesReassign", [{"volume": key, "detach": "all"}]),
        "delete": (f"VolumeDelete/{key}", {}),
    }
    with contextlib.suppress(RefusedError):
        peer.post(*calls[step])


def _check(peer: Peer, visible: dict[int, str]) -> None:
    live = [one for one in peer.get("VolumesList") if one["visibleVolumeId"] in visible]
    wanted = set()
    attached = {one["globalId"] for one in peer.get("AttachmentsList")}
    for one in live:
        number = one["visibleVolumeId"]
        assert one["preservedGlobalId"] == visible[number]
        assert peer.volume(one["name"]) == peer.volume(f"~{one['globalId']}") == one
        with contextlib.suppress(RefusedError):
            assert peer.volume(f"~{visible[number]}")["visibleVolumeId"] == number
        if one["globalId"] in attached:
            kept = one["name"][1:] if one["name"].startswith("~") else one["globalId"]
            wanted |= {f"storpool-byid/{one['globalId']}", f"storpool-byid/{kept}"}
            wanted |= {f"storpool/{one['name']}"} if not one["name"].startswith("~") else set()
    assert links(peer, 1) == wanted
    assert len({one["globalId"] for one in live}) == len(live)
