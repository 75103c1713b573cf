"""The model: names, data, sizes, inheritance and tags of volumes."""

from __future__ import annotations

from typing import Any

import pytest
from simulator_fixtures import GIB, Peer, content, fill, refused

DATA, OTHER = b"data" * 128, b"othr" * 128


# names


def test_volumes_and_snapshots_share_their_names(peer: Peer) -> None:
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
        (
            "VolumesGroupSnapshot",
            {"volumes": [{"volume": "v", "name": "new"}, {"volume": "w", "name": "s"}]},
        ),
    ):
        error = refused(peer, query, body)
        assert (error.name, error.status) == ("objectExists", 409)
    assert peer.names() == {"v", "w", "s"}


@pytest.mark.parametrize(
    "query",
    [
        "VolumeUpdate/x",
        "VolumeDelete/x",
        "VolumeSnapshot/x",
        "VolumeFreeze/x",
        "SnapshotDelete/x",
        "SnapshotUpdate/x",
        "VolumeRebase/x",
        "SnapshotRebase/x",
        "VolumeTemplateDelete/x",
        "VolumeTemplateUpdate/x",
        "KV/Delete/x",
        "SnapshotDeleteById/sim.a.zz",
        "VolumeDelete/~sim.a.zz",
    ],
)
def test_what_is_unknown_does_not_exist(peer: Peer, query: str) -> None:
    """An unknown object in a path is objectDoesNotExist [cinder] [csi]."""
    error = refused(peer, query, {})
    assert (error.name, error.status) == ("objectDoesNotExist", 404)


@pytest.mark.parametrize(
    "body",
    [
        {"template": "x"},
        {"parent": "x"},
        {"baseOn": "x"},
        {"parent": "v"},
        {"baseOn": "s"},
        {"placeAll": "x"},
    ],
)
def test_a_create_from_something_unknown_fails(peer: Peer, body: dict[str, str]) -> None:
    """An unknown template, parent or source is objectDoesNotExist, also when it is of the other
    kind [csi]."""
    peer.create("v")
    peer.snapshot("v", "s")
    error = refused(peer, "VolumeCreate", {"name": "new", "size": GIB, **body})
    assert error.name == "objectDoesNotExist"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b"},
        {"name": "list"},
        {"name": "status"},
        {"name": "x" * 200},
        {"name": "a/b"},
        {"name": "~x"},
        {"name": "a@b"},
        {"name": 7},
        {"size": 0},
        {"size": -512},
        {"size": 513},
        {"size": "513"},
        {"size": 512.0},
        {"size": 1 << 63},
        {"limitType": "perVolume"},
        {"limitType": ""},
        {"size": True},
        {"tags": {"a b": "c"}},
        {"tags": {"a": "b c"}},
        {"tags": {"a": 1}},
        {"tags": {"": "x"}},
        {"tags": ["a"]},
        {"tags": {"a": "x" * 200}},
        {"replication": 4},
        {"replication": 0},
        {"bw": -1},
        {"iops": "fast"},
        {"reuseServer": "yes"},
        {"parent": "s", "baseOn": "v"},
        {"size": None},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_bad_value_is_refused(peer: Peer, body: dict[str, Any]) -> None:
    """A value outside the binding's patterns and limits is invalidParam, and nothing is made
    [sptypes]."""
    peer.create("v")
    peer.snapshot("v", "s")
    error = refused(peer, "VolumeCreate", {"name": "new", "size": GIB, **body})
    assert (error.name, error.status) == ("invalidParam", 400)
    assert peer.names() == {"v", "s"}


def test_the_longest_name_is_accepted(peer: Peer) -> None:
    """A name has up to 199 characters [sptypes]."""
    peer.create("n" * 199)
    assert peer.names() == {"n" * 199}


def test_global_ids_are_never_used_again(peer: Peer) -> None:
    """A deleted volume's id is not given to another one [sptypes]."""
    first = peer.create("v")
    peer.post("VolumeDelete/v")
    assert peer.create("v") != first


# data


def test_a_new_volume_reads_zeros(peer: Peer) -> None:
    """A new volume shows nothing of what was there before, also after a delete of the same name
    (T27)."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.post("VolumeDelete/v")
    peer.create("v")
    assert content(peer, "v", len(DATA)) == bytes(len(DATA))


def test_a_snapshot_is_a_point_in_time(peer: Peer) -> None:
    """What is written after a snapshot is not in it, and a volume made from it has the old data
    [spapi]."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.snapshot("v", "s")
    fill(peer, "v", OTHER)
    peer.create("new", size=2 * GIB, parent="s")
    assert (
        content(peer, "s", len(DATA)),
        content(peer, "v", len(DATA)),
        content(peer, "new", len(DATA)),
    ) == (
        DATA,
        OTHER,
        DATA,
    )
    assert peer.volume("new")["size"] == 2 * GIB


def test_a_clone_of_a_volume_has_its_data(peer: Peer) -> None:
    """baseOn copies a live volume through a transient snapshot [sptypes]."""
    peer.create("v")
    fill(peer, "v", DATA)
    reply = peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    fill(peer, "v", OTHER)
    assert content(peer, "c", len(DATA)) == DATA
    assert peer.shot(reply["autoName"])["transient"] is True


def test_a_revert_brings_the_data_back(peer: Peer) -> None:
    """VolumeRevert discards what the volume holds; name, tags and size stay [spapi] [pve], and the
    id of one with a name [git 76ce668]."""
    v = peer.create("v", tags={"virt": "ovirt"})
    fill(peer, "v", DATA)
    s = peer.snapshot("v", "s")
    peer.snapshot("v", "later")
    fill(peer, "v", OTHER)
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    peer.post("VolumeRevert/v", {"toSnapshot": f"~{s}"})
    volume = peer.volume("v")
    assert content(peer, "v", len(DATA)) == DATA
    assert (volume["globalId"], volume["size"], volume["tags"]) == (v, 2 * GIB, {"virt": "ovirt"})
    assert volume["parentName"] == "s"
    assert peer.shot("later")["parentName"] == "s"


def test_a_frozen_volume_is_a_snapshot(peer: Peer) -> None:
    """VolumeFreeze makes a snapshot of the same name and id and data [sptypes]."""
    v = peer.create("v")
    fill(peer, "v", DATA)
    peer.post("VolumeFreeze/v", {"deleteAfter": 100})
    assert peer.get("VolumesList") == []
    assert peer.shot("v")["globalId"] == v
    assert content(peer, "v", len(DATA)) == DATA


def test_an_attached_volume_is_not_frozen(peer: Peer) -> None:
    """VolumeFreeze of a volume that is attached read-write is busy; read-only it is frozen
    [sptypes]."""
    peer.create("v")
    peer.reassign({"volume": "v", "rw": [1]})
    assert refused(peer, "VolumeFreeze/v").name == "busy"
    peer.reassign({"volume": "v", "ro": [1]})
    peer.post("VolumeFreeze/v")
    assert peer.attached() == {("v", 1, "ro")}


def test_a_failed_change_leaves_no_file(peer: Peer) -> None:
    """A group snapshot that fails in the middle leaves nothing behind [inf]."""
    peer.create("v")
    before = set(peer.simulator.cluster.files.ids())
    refused(
        peer,
        "VolumesGroupSnapshot",
        {"volumes": [{"volume": "v", "name": "s"}, {"volume": "unknown"}]},
    )
    refused(
        peer,
        "VolumesGroupSnapshot",
        {"volumes": [{"volume": "v", "name": "s"}, {"volume": "v", "name": "t"}]},
    )
    assert set(peer.simulator.cluster.files.ids()) == before
    assert peer.names() == {"v"}


# sizes and inheritance


def test_size_comes_from_template_or_source(peer: Peer) -> None:
    """Without a size the template's is taken, or the source's; without any the create fails [readme
    1.0.5] [pve]."""
    peer.post("VolumeTemplateCreate", {"name": "sized", "size": 3 * GIB})
    reply = peer.post("VolumeCreate", {"template": "sized"})
    assert peer.volume(reply["name"])["size"] == 3 * GIB
    assert refused(peer, "VolumeCreate", {"template": "nvme"}).name == "invalidParam"


def test_policy_comes_from_the_nearest_source(peer: Peer) -> None:
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


def test_a_template_may_have_a_parent(peer: Peer) -> None:
    """A volume of a template with a parent is made from that snapshot [sptypes]."""
    peer.create("v")
    fill(peer, "v", DATA)
    peer.snapshot("v", "golden")
    peer.post("VolumeTemplateCreate", {"name": "t", "parent": "golden"})
    peer.post("VolumeCreate", {"name": "w", "template": "t"})
    assert content(peer, "w", len(DATA)) == DATA
    assert peer.volume("w")["parentName"] == "golden"


def test_growing_and_shrinking(peer: Peer) -> None:
    """size is absolute, sizeAdd is relative, both together are refused, and a shrink needs shrinkOk
    [sptypes] [cs]."""
    peer.create("v")
    peer.post("VolumeUpdate/v", {"size": 3 * GIB})
    peer.post("VolumeUpdate/v", {"sizeAdd": GIB})
    assert peer.volume("v")["size"] == 4 * GIB
    assert refused(peer, "VolumeUpdate/v", {"size": GIB}).name == "invalidParam"
    assert refused(peer, "VolumeUpdate/v", {"size": 5 * GIB, "sizeAdd": GIB}).name == "invalidParam"
    peer.post("VolumeUpdate/v", {"size": GIB, "shrinkOk": True})
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    assert peer.volume("v")["size"] == 2 * GIB


def test_a_device_follows_its_volume(peer: Peer) -> None:
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


def test_tags_are_merged_and_removed(peer: Peer) -> None:
    """An update adds and replaces tags by key, and an empty value removes one [cs-up] [sp-os]
    [addon]."""
    peer.create("v", tags={"a": "1", "b": "2"})
    peer.snapshot("v", "s", tags={"a": "1"})
    peer.post("VolumeUpdate/v", {"tags": {"b": "", "c": "3"}})
    peer.post("SnapshotUpdate/s", {"tags": {"a": "", "z": "9"}})
    assert peer.volume("v")["tags"] == {"a": "1", "c": "3"}
    assert peer.shot("s")["tags"] == {"z": "9"}


def test_tags_are_not_inherited(peer: Peer) -> None:
    """A snapshot and a clone have the tags that they are given and no others [kb]."""
    peer.create("v", tags={"a": "1"})
    peer.snapshot("v", "s")
    peer.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    assert peer.shot("s")["tags"] == peer.volume("c")["tags"] == {}


def test_an_update_counts_the_merged_tags(peer: Peer) -> None:
    """Name and all tags after an update together are at most 200 bytes [kb]."""
    peer.create("v", tags={"a": "x" * 150})
    assert refused(peer, "VolumeUpdate/v", {"tags": {"b": "x" * 50}}).name == "invalidParam"
    peer.post("VolumeUpdate/v", {"tags": {"a": "", "b": "x" * 150}})
