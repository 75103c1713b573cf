"""The model: volumes, snapshots, their tree and their end, templates, space, buckets, the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulator_fixtures import GIB, RefusedError, World, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA, OTHER = b"data" * 128, b"othr" * 128


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[World]:
    """A cluster to call."""
    with world(tmp_path) as running:
        yield running


def refused(peer: World, query: str, body: Any = None) -> RefusedError:
    """The error of a POST that must fail, and must not change the generation."""
    before = peer.simulator.cluster.generation
    with pytest.raises(RefusedError) as caught:
        peer.post(query, body)
    assert peer.simulator.cluster.generation == before
    return caught.value


def content(peer: World, key: str, length: int = len(DATA)) -> bytes:
    """What a volume or snapshot holds at its beginning."""
    entry = peer.simulator.cluster.catalog.find(key)
    assert entry is not None
    with peer.simulator.cluster.files.path(entry.global_id).open("rb") as data:
        return data.read(length)


def fill(peer: World, key: str, data: bytes = DATA) -> None:
    """Write to a volume as a host does."""
    global_id = peer.volume(key)["globalId"]
    peer.reassign({"volume": key, "rw": [1]})
    peer.write(1, global_id, data)
    peer.reassign({"volume": key, "detach": [1]})


# names


def test_volumes_and_snapshots_share_their_names(peer: World) -> None:
    """A name is taken across kinds: by create, snapshot, group snapshot and rename [kb]."""
    peer.create("v")
    peer.create("w")
    peer.snapshot("v", "s")
    for query, body in (
        ("VolumeCreate", {"name": "s", "size": GIB}),
        ("VolumeCreate", {"name": "v", "size": GIB}),
        ("VolumeSnapshot/w", {"name": "v"}),
        ("VolumeUpdate/w", {"rename": "s"}),
        ("SnapshotUpdate/s", {"rename": "w"}),
        ("VolumesGroupSnapshot", {"volumes": [{"volume": "v", "name": "new"}, {"volume": "w", "name": "s"}]}),
    ):
        error = refused(peer, query, body)
        assert (error.name, error.status) == ("objectExists", 409)
    assert peer.names() == {"v", "w", "s"}


@pytest.mark.parametrize(
    "query",
    ["VolumeUpdate/x", "VolumeDelete/x", "VolumeSnapshot/x", "VolumeFreeze/x", "SnapshotDelete/x", "SnapshotUpdate/x",
     "VolumeRebase/x", "SnapshotRebase/x", "VolumeTemplateDelete/x", "VolumeTemplateUpdate/x", "KV/Delete/x",
     "SnapshotDeleteById/sim.a.zz", "VolumeDelete/~sim.a.zz"],
)  # fmt: skip
def test_what_is_unknown_does_not_exist(peer: World, query: str) -> None:
    """An unknown object in a path is objectDoesNotExist [cinder] [csi]."""
    error = refused(peer, query, {})
    assert (error.name, error.status) == ("objectDoesNotExist", 404)


@pytest.mark.parametrize(
    "body",
    [{"template": "x"}, {"parent": "x"}, {"baseOn": "x"}, {"parent": "v"}, {"baseOn": "s"}, {"placeAll": "x"}],
)
def test_a_create_from_something_unknown_fails(peer: World, body: dict[str, str]) -> None:
    """An unknown template, parent or source is objectDoesNotExist, also when it is of the other kind [csi]."""
    peer.create("v")
    peer.snapshot("v", "s")
    error = refused(peer, "VolumeCreate", {"name": "new", "size": GIB, **body})
    assert error.name == "objectDoesNotExist"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b"}, {"name": "list"}, {"name": "status"}, {"name": "x" * 200}, {"name": "a/b"}, {"name": "~x"},
        {"name": "a@b"}, {"name": 7}, {"size": 0}, {"size": -512}, {"size": 513}, {"size": "512"}, {"size": True},
        {"tags": {"a b": "c"}}, {"tags": {"a": "b c"}}, {"tags": {"a": 1}}, {"tags": {"": "x"}}, {"tags": ["a"]},
        {"tags": {"a": "x" * 200}}, {"replication": 4}, {"replication": 0}, {"bw": -1}, {"iops": "fast"},
        {"reuseServer": "yes"}, {"parent": "s", "baseOn": "v"}, {"size": None}, {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_value_is_refused(peer: World, body: dict[str, Any]) -> None:
    """A value outside the binding's patterns and limits is invalidParam, and nothing is made [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s")
    error = refused(peer, "VolumeCreate", {"name": "new", "size": GIB, **body})
    assert (error.name, error.status) == ("invalidParam", 400)
    assert peer.names() == {"v", "s"}


def test_the_longest_name_is_accepted(peer: World) -> None:
    """A name has up to 199 characters [sptypes]."""
    peer.create("n" * 199)
    assert peer.names() == {"n" * 199}


def test_global_ids_are_never_used_again(peer: World) -> None:
    """A deleted volume's id is not given to another one [sptypes]."""
    first = peer.create("v")
    peer.post("VolumeDelete/v")
    assert peer.create("v") != first


# data


def test_a_new_volume_reads_zeros(peer: World) -> None:
    """A new volume shows nothing of what was there before, also after a delete of the same name (T27)."""
    peer.create("v")
    fill(peer, "v")
    peer.post("VolumeDelete/v")
    peer.create("v")
    assert content(peer, "v") == bytes(len(DATA))


def test_a_snapshot_is_a_point_in_time(peer: World) -> None:
    """What is written after a snapshot is not in it, and a volume made from it has the old data [spapi]."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.snapshot("v", "s")
    fill(peer, "v", OTHER)
    peer.create("new", size=2 * GIB, parent="s")
    assert (content(peer, "s"), content(peer, "v"), content(peer, "new")) == (DATA, OTHER, DATA)
    assert peer.volume("new")["size"] == 2 * GIB


def test_a_clone_of_a_volume_has_its_data(peer: World) -> None:
    """baseOn copies a live volume through a transient snapshot [sptypes]."""
    peer.create("v")
    fill(peer, "v", DATA)
    reply = peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    fill(peer, "v", OTHER)
    assert content(peer, "c") == DATA
    assert peer.shot(reply["autoName"])["transient"] is True


def test_a_revert_brings_the_data_back(peer: World) -> None:
    """VolumeRevert discards what the volume holds; name, id, tags and size stay [spapi] [pve]."""
    v = peer.create("v", tags={"virt": "ovirt"})
    fill(peer, "v", DATA)
    s = peer.snapshot("v", "s")
    peer.snapshot("v", "later")
    fill(peer, "v", OTHER)
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    peer.post("VolumeRevert/v", {"toSnapshot": f"~{s}"})
    volume = peer.volume("v")
    assert content(peer, "v") == DATA
    assert (volume["globalId"], volume["size"], volume["tags"]) == (v, 2 * GIB, {"virt": "ovirt"})
    assert volume["parentName"] == "s"
    assert peer.shot("later")["parentName"] == "s"


def test_a_frozen_volume_is_a_snapshot(peer: World) -> None:
    """VolumeFreeze makes a snapshot of the same name and id and data [sptypes]."""
    v = peer.create("v")
    fill(peer, "v")
    peer.post("VolumeFreeze/v", {"deleteAfter": 100})
    assert peer.get("VolumesList") == []
    assert peer.shot("v")["globalId"] == v
    assert content(peer, "v") == DATA


def test_an_attached_volume_is_not_frozen(peer: World) -> None:
    """VolumeFreeze of a volume that is attached read-write is busy; read-only it is frozen [sptypes]."""
    peer.create("v")
    peer.reassign({"volume": "v", "rw": [1]})
    assert refused(peer, "VolumeFreeze/v").name == "busy"
    peer.reassign({"volume": "v", "ro": [1]})
    peer.post("VolumeFreeze/v")
    assert peer.attached() == {("v", 1, "ro")}


def test_a_failed_change_leaves_no_file(peer: World) -> None:
    """A group snapshot that fails in the middle leaves nothing behind [inf]."""
    peer.create("v")
    before = set(peer.simulator.cluster.files.ids())
    refused(peer, "VolumesGroupSnapshot", {"volumes": [{"volume": "v", "name": "s"}, {"volume": "unknown"}]})
    refused(peer, "VolumesGroupSnapshot", {"volumes": [{"volume": "v", "name": "s"}, {"volume": "v", "name": "t"}]})
    assert set(peer.simulator.cluster.files.ids()) == before
    assert peer.names() == {"v"}


# sizes and inheritance


def test_size_comes_from_template_or_source(peer: World) -> None:
    """Without a size the template's is taken, or the source's; without any the create fails [readme 1.0.5] [pve]."""
    peer.post("VolumeTemplateCreate", {"name": "sized", "size": 3 * GIB})
    reply = peer.post("VolumeCreate", {"template": "sized"})
    assert peer.volume(reply["name"])["size"] == 3 * GIB
    assert refused(peer, "VolumeCreate", {"template": "nvme"}).name == "invalidParam"


def test_policy_comes_from_the_nearest_source(peer: World) -> None:
    """Explicit field before named template before the source's template [pve] [addon] [sp-os]."""
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 100, "bw": 200, "replication": 2})
    peer.create("v", template="nvme", iops=50)
    peer.snapshot("v", "s")
    volume, shot = peer.volume("v"), peer.shot("s")
    assert (volume["iops"], volume["bw"], volume["replication"]) == (50, 200, 2)
    assert (shot["iops"], shot["templateName"]) == (50, "nvme")
    peer.create("inherits", parent="s")
    peer.create("other", parent="s", template="hdd")
    assert peer.volume("inherits")["iops"] == 50
    assert (peer.volume("other")["iops"], peer.volume("other")["templateName"]) == ("-", "hdd")


def test_a_template_may_have_a_parent(peer: World) -> None:
    """A volume of a template with a parent is made from that snapshot [sptypes]."""
    peer.create("v")
    fill(peer, "v")
    peer.snapshot("v", "golden")
    peer.post("VolumeTemplateCreate", {"name": "t", "parent": "golden"})
    peer.post("VolumeCreate", {"name": "w", "template": "t"})
    assert content(peer, "w") == DATA
    assert peer.volume("w")["parentName"] == "golden"


def test_growing_and_shrinking(peer: World) -> None:
    """size is absolute, sizeAdd is relative, both together are refused, and a shrink needs shrinkOk [sptypes] [cs]."""
    peer.create("v")
    peer.post("VolumeUpdate/v", {"size": 3 * GIB})
    peer.post("VolumeUpdate/v", {"sizeAdd": GIB})
    assert peer.volume("v")["size"] == 4 * GIB
    assert refused(peer, "VolumeUpdate/v", {"size": GIB}).name == "invalidParam"
    assert refused(peer, "VolumeUpdate/v", {"size": 5 * GIB, "sizeAdd": GIB}).name == "invalidParam"
    peer.post("VolumeUpdate/v", {"size": GIB, "shrinkOk": True})
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    assert peer.volume("v")["size"] == 2 * GIB


def test_a_device_follows_its_volume(peer: World) -> None:
    """Growing a volume grows its devices, and renaming it moves the link by name [cinder] [kb]."""
    v = peer.create("v")
    peer.reassign({"volume": "v", "rw": [1, 2]})
    peer.post("VolumeUpdate/v", {"size": 2 * GIB, "rename": "w"})
    for client in (1, 2):
        assert peer.device(client, v).stat().st_size == 2 * GIB
        assert peer.named_device(client, "w").exists()
        assert not peer.named_device(client, "v").exists()
    peer.post("VolumeUpdate/w", {"rename": ""})
    assert not peer.named_device(1, "w").exists()


# tags


def test_tags_are_merged_and_removed(peer: World) -> None:
    """An update adds and replaces tags by key, and an empty value removes one [cs-up] [sp-os] [addon]."""
    peer.create("v", tags={"a": "1", "b": "2"})
    peer.snapshot("v", "s", tags={"a": "1"})
    peer.post("VolumeUpdate/v", {"tags": {"b": "", "c": "3"}})
    peer.post("SnapshotUpdate/s", {"tags": {"a": "", "z": "9"}})
    assert peer.volume("v")["tags"] == {"a": "1", "c": "3"}
    assert peer.shot("s")["tags"] == {"z": "9"}


def test_tags_are_not_inherited(peer: World) -> None:
    """A snapshot and a clone have the tags that they are given and no others [kb]."""
    peer.create("v", tags={"a": "1"})
    peer.snapshot("v", "s")
    peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    assert peer.shot("s")["tags"] == peer.volume("c")["tags"] == {}


def test_an_update_counts_the_merged_tags(peer: World) -> None:
    """Name and all tags after an update together are at most 200 bytes [kb]."""
    peer.create("v", tags={"a": "x" * 150})
    assert refused(peer, "VolumeUpdate/v", {"tags": {"b": "x" * 50}}).name == "invalidParam"
    peer.post("VolumeUpdate/v", {"tags": {"a": "", "b": "x" * 150}})


# the tree


def test_a_snapshot_goes_between_a_volume_and_its_parent(peer: World) -> None:
    """The snapshot becomes the volume's parent, the old parent the snapshot's [spapi]."""
    peer.create("v")
    peer.snapshot("v", "one")
    peer.snapshot("v", "two")
    peer.create("child", parent="one")
    assert peer.volume("v")["parentName"] == "two"
    assert peer.shot("two")["parentName"] == "one"
    assert [one["name"] for one in peer.get("VolumeListSnapshots/v")] == ["two", "one"]
    assert (peer.shot("two")["onVolume"], peer.shot("one")["onVolume"]) == ("v", "child")


def test_a_volume_is_rebased_on_an_ancestor(peer: World) -> None:
    """VolumeRebase takes an ancestor or nothing, and refuses what is no ancestor [spapi]."""
    peer.create("v")
    peer.snapshot("v", "one")
    peer.snapshot("v", "two")
    peer.create("w")
    peer.snapshot("w", "stranger")
    assert refused(peer, "VolumeRebase/v", {"parentName": "stranger"}).name == "invalidParam"
    peer.post("VolumeRebase/v", {"parentName": "one"})
    assert peer.volume("v")["parentName"] == "one"
    peer.post("VolumeRebase/v", {})
    assert peer.volume("v")["parentName"] == ""


def test_snapshots_survive_their_volume(peer: World) -> None:
    """VolumeDelete leaves the snapshots, with their data [kb] [addon] [pve]."""
    peer.create("v")
    fill(peer, "v")
    peer.snapshot("v", "s")
    peer.post("VolumeDelete/v")
    assert peer.names() == {"s"}
    assert content(peer, "s") == DATA
    assert peer.shot("s")["onVolume"] == "-"


# the end of snapshots


def test_a_snapshot_lingers_while_it_is_deleted(peer: World) -> None:
    """SnapshotDelete answers at once; *name with deleted:true is listed until it is gone; the name is free [sptest]."""
    peer.create("v")
    s = peer.snapshot("v", "s")
    peer.post("SnapshotDelete/s")
    (doomed,) = peer.get("SnapshotsList")
    assert (doomed["name"], doomed["deleted"], doomed["deleteBlocked"]) == ("*s", True, "pending")
    peer.snapshot("v", "s")
    assert refused(peer, "VolumeCreate", {"parent": f"~{s}"}).name == "objectDoesNotExist"
    peer.control("POST", "clock", {"advance": 2})
    assert peer.names() == {"v", "s"}
    assert peer.volume("v")["parentName"] == "s"
    assert peer.shot("s")["parentName"] == ""


def test_an_unnamed_snapshot_is_marked_too(peer: World) -> None:
    """Also a snapshot without a name begins with * while it is deleted: pve skips those [pve]."""
    v = peer.create("")
    s = peer.post(f"VolumeSnapshot/~{v}")["snapshotGlobalId"]
    peer.post(f"SnapshotDeleteById/{s}")
    (doomed,) = peer.get("SnapshotsList")
    assert doomed["name"] == f"*{s}"


def test_several_children_block_a_delete(peer: World) -> None:
    """A snapshot with several children stays with deleteBlocked until one is left [sptypes]."""
    peer.create("v")
    fill(peer, "v")
    peer.snapshot("v", "s")
    peer.create("child", parent="s")
    peer.post("SnapshotDelete/s")
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.shot("*s")["deleteBlocked"] == "multiple children"
    peer.post("VolumeDelete/v")
    assert peer.names() == {"child"}
    assert (peer.volume("child")["parentName"], content(peer, "child")) == ("", DATA)


def test_a_bound_snapshot_goes_with_its_children(peer: World) -> None:
    """A bound snapshot is collected once it has no child and no attachment [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s", bind=True)
    peer.reassign({"snapshot": "s", "ro": [1]})
    peer.post("VolumeDelete/v")
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == {"s"}
    peer.reassign({"snapshot": "s", "detach": "all"})
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == set()


def test_binding_a_childless_snapshot_collects_it(peer: World) -> None:
    """bind:true by an update is the same as at the creation; bind:false unbinds [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s", bind=True)
    peer.post("SnapshotUpdate/s", {"bind": False})
    peer.post("VolumeDelete/v")
    assert peer.names() == {"s"}
    peer.post("SnapshotUpdate/s", {"bind": True})
    peer.control("POST", "clock", {"advance": 1000})
    assert peer.names() == set()


def test_a_transient_snapshot_goes_by_itself(peer: World) -> None:
    """The snapshot of a clone is visible for a while, cannot be used, and is collected with both children [sptypes]."""
    peer.create("v")
    peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    (transient,) = peer.get("SnapshotsList")
    assert (transient["transient"], transient["autoName"]) == (True, True)
    assert refused(peer, "VolumeCreate", {"parent": transient["name"]}).name == "invalidParam"
    item = {"snapshot": transient["name"], "ro": [1]}
    assert refused(peer, "VolumesReassignWait", {"reassign": [item]}).name == "invalidParam"
    peer.control("POST", "clock", {"advance": 2})
    assert peer.get("SnapshotsList") == []
    assert peer.volume("v")["parentName"] == peer.volume("c")["parentName"] == ""


def test_a_snapshot_is_deleted_on_its_date(peer: World) -> None:
    """deleteAfter and targetDeleteDate are honoured by the cluster's clock, which tests advance [sptypes] [addon]."""
    now = int(peer.simulator.cluster.now())
    peer.create("v")
    peer.snapshot("v", "after", deleteAfter=100)
    peer.snapshot("v", "date", targetDeleteDate=now + 200)
    peer.snapshot("v", "kept", deleteAfter=100)
    peer.post("SnapshotUpdate/kept", {"deleteAfter": 0})
    assert peer.shot("after")["targetDeleteDate"] == now + 100
    peer.control("POST", "clock", {"advance": 150})
    assert peer.names() == {"v", "*after", "date", "kept"}
    peer.control("POST", "clock", {"advance": 51})
    assert peer.names() == {"v", "*date", "kept"}


def test_a_date_in_the_past_is_refused(peer: World) -> None:
    """targetDeleteDate can not be set in the past [sptypes]."""
    peer.create("v")
    assert refused(peer, "VolumeSnapshot/v", {"targetDeleteDate": 1}).name == "invalidParam"


def test_an_attached_snapshot_waits_for_its_detach(peer: World) -> None:
    """A scheduled delete of an attached snapshot happens after the detach [inf]."""
    peer.create("v")
    peer.snapshot("v", "s", deleteAfter=10)
    peer.reassign({"snapshot": "s", "ro": [1]})
    peer.control("POST", "clock", {"advance": 100})
    assert "s" in peer.names()
    peer.reassign({"snapshot": "s", "detach": "all"})
    peer.control("POST", "clock", {"advance": 5})
    peer.control("POST", "clock", {"advance": 5})
    assert peer.names() == {"v"}


def test_automatic_names(peer: World) -> None:
    """A snapshot without a name is called <volume>@<serial> and says so [kb] [sptest]."""
    peer.create("v")
    for body in ({}, {"name": ""}):
        reply = peer.post("VolumeSnapshot/v", body)
        shot = peer.shot(f"~{reply['snapshotGlobalId']}")
        assert shot["name"] == reply["autoName"] == f"v@{reply['snapshotVisibleVolumeId']}"
        assert shot["autoName"] is True


# templates, space


def test_a_template_is_found_by_name(peer: World) -> None:
    """Describe of an unknown template is objectDoesNotExist, a second create objectExists [cs]."""
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        peer.get("VolumeTemplateDescribe/x")
    assert refused(peer, "VolumeTemplateCreate", {"name": "nvme"}).name == "objectExists"
    assert refused(peer, "VolumeTemplateUpdate/nvme", {"rename": "hdd"}).name == "objectExists"
    assert refused(peer, "VolumeTemplateCreate", {}).name == "invalidParam"


def test_a_template_change_reaches_volumes_only_when_propagated(peer: World) -> None:
    """propagate applies a template's change to the volumes and snapshots that it has [sptypes]."""
    peer.create("v", template="nvme")
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 10})
    assert peer.volume("v")["iops"] == "-"
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 20, "propagate": True})
    assert peer.volume("v")["iops"] == 20


def test_volumes_outlive_their_template(peer: World) -> None:
    """After VolumeTemplateDelete its volumes have no template [inf]."""
    peer.create("v", template="nvme")
    peer.post("VolumeTemplateDelete/nvme")
    assert peer.volume("v")["templateName"] == ""


def test_a_template_tells_what_is_left(peer: World) -> None:
    """stored.free is the capacity without the data that is written; snapshots do not count it twice [pve] [sptypes]."""
    peer.create("v", template="nvme")
    peer.reassign({"volume": "v", "rw": [1]})
    peer.write(1, peer.volume("v")["globalId"], bytes([1]) * (1 << 20))

    def free() -> int:
        return next(int(one["stored"]["free"]) for one in peer.get("VolumeTemplatesStatus") if one["name"] == "nvme")

    assert free() == 100 * GIB - (1 << 20)
    peer.snapshot("v", "s")
    assert free() == 100 * GIB - (1 << 20)
    assert {one["name"]: one["storedSize"] for one in peer.get("VolumesSpace")} == {"v": 0}
    assert {one["name"]: one["spaceUsed"] for one in peer.get("VolumesSpace")} == {"v": 1 << 20}
    assert {one["name"]: one["storedSize"] for one in peer.get("SnapshotsSpace")} == {"s": 1 << 20}


def test_a_template_counts_its_objects(peer: World) -> None:
    """VolumeTemplatesStatus counts volumes, snapshots and those being removed, with their sizes [sptypes]."""
    peer.create("v", template="nvme")
    peer.snapshot("v", "s")
    peer.snapshot("v", "t")
    peer.create("w", template="nvme")
    peer.snapshot("w", "u")
    peer.post("SnapshotDelete/s")
    peer.post("VolumeDelete/w")
    (one,) = [one for one in peer.get("VolumeTemplatesStatus") if one["name"] == "nvme"]
    assert (one["volumesCount"], one["snapshotsCount"], one["removingSnapshotsCount"]) == (1, 3, 1)
    assert (one["size"], one["totalSize"]) == (GIB, 3 * GIB)
    assert (one["snapshotsWithChildrenSize"], one["snapshotsWithoutChildrenSize"]) == (2 * GIB, GIB)


def test_no_space(peer: World) -> None:
    """A create or a growth beyond the template's free space is insufficientResources [csi]."""
    error = refused(peer, "VolumeCreate", {"name": "v", "size": 101 * GIB, "template": "nvme"})
    assert (error.name, error.status) == ("insufficientResources", 507)
    peer.create("v", size=100 * GIB, template="nvme")
    assert refused(peer, "VolumeUpdate/v", {"sizeAdd": 101 * GIB}).name == "insufficientResources"


# key-value store, generation


def test_a_bucket_is_changed_by_version(peer: World) -> None:
    """Every change of a bucket makes a new version; a stale one is refused; an empty value deletes [sptypes]."""
    peer.post("KV/Create/b")
    assert refused(peer, "KV/Create/b").name == "objectExists"
    peer.post("KV/Set/b", {"set": {"a": "1", "b": "2"}})
    error = refused(peer, "KV/Set/b", {"runIfVersionIs": 0, "set": {"a": "9"}})
    assert (error.name, error.status) == ("runIfVersionIsMismatch", 409)
    peer.post("KV/Set/b", {"runIfVersionIs": 1, "set": {"a": ""}})
    assert peer.get("KV/List/b") == {"name": "b", "version": 2, "pairs": {"b": "2"}}
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        peer.get("KV/Get/b/a")
    assert refused(peer, "KV/Set/b", {"set": {"a": 1}}).name == "invalidParam"


def test_the_generation_grows_with_each_change(peer: World) -> None:
    """Each successful change has a larger generation, reads leave it [sptypes]."""
    peer.create("v")
    before = peer.post("VolumeUpdate/v", {"tags": {"a": "b"}})["generation"]
    peer.get("VolumesList")
    assert peer.post("VolumeUpdate/v", {"tags": {"a": "c"}})["generation"] == before + 1
