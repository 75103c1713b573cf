"""The model: templates and the space that they have, the key-value store, the generation."""

from __future__ import annotations

import pytest
from simulator_fixtures import GIB, Peer, RefusedError, refused

# templates, space


def test_a_template_is_found_by_name(peer: Peer) -> None:
    """Describe of an unknown template is objectDoesNotExist, a second create objectExists [cs]."""
    with pytest.raises(RefusedError, match="objectDoesNotExist"):
        peer.get("VolumeTemplateDescribe/x")
    assert refused(peer, "VolumeTemplateCreate", {"name": "nvme"}).name == "objectExists"
    assert refused(peer, "VolumeTemplateUpdate/nvme", {"rename": "hdd"}).name == "objectExists"
    assert refused(peer, "VolumeTemplateCreate", {}).name == "invalidParam"


def test_a_template_change_reaches_volumes_only_when_propagated(peer: Peer) -> None:
    """propagate applies a template's change to the volumes and snapshots that it has [sptypes]."""
    peer.create("v", template="nvme")
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 10})
    assert peer.volume("v")["iops"] == "-"
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 20, "propagate": True})
    assert peer.volume("v")["iops"] == 20


def test_volumes_outlive_their_template(peer: Peer) -> None:
    """Where a template in use can be deleted, its volumes have no template after that [inf]."""
    peer.switch(template_in_use="keep")
    peer.create("v", template="nvme")
    peer.post("VolumeTemplateDelete/nvme")
    assert peer.volume("v")["templateName"] == ""


def test_a_template_can_be_called_status(peer: Peer) -> None:
    """Of a template's names only `list` is reserved [sptypes]."""
    peer.post("VolumeTemplateCreate", {"name": "status"})
    assert peer.get("VolumeTemplateDescribe/status")["name"] == "status"
    assert refused(peer, "VolumeTemplateCreate", {"name": "list"}).name == "invalidParam"


def test_the_kind_of_limits_is_kept(peer: Peer) -> None:
    """limitType is given with a volume, a snapshot or a template, goes over to what is made of
    them, and reaches volumes when a template's change is propagated [kb] [sptypes]."""
    peer.post("VolumeTemplateUpdate/nvme", {"limitType": "perGiB", "iops": 30})
    assert peer.get("VolumeTemplateDescribe/nvme")["limitType"] == "perGiB"
    peer.create("v", template="nvme")
    peer.create("own", template="nvme", limitType="total")
    peer.snapshot("v", "s")
    peer.create("child", parent="s")
    peer.post("VolumeCreate", {"name": "clone", "baseOn": "v"})
    peer.post("VolumeUpdate/v", {"limitType": "total"})
    assert {one["name"]: one["limitType"] for one in peer.get("VolumesList")} == {
        "v": "total",
        "own": "total",
        "child": "perGiB",
        "clone": "perGiB",
    }
    assert peer.shot("s")["limitType"] == "perGiB"
    peer.post("SnapshotUpdate/s", {"limitType": "total"})
    peer.post("VolumeTemplateUpdate/nvme", {"iops": 5, "propagate": True})
    assert peer.shot("s")["limitType"] == peer.volume("v")["limitType"] == "perGiB"


def test_a_template_tells_what_is_left(peer: Peer) -> None:
    """stored.free is the capacity without the data that is written; snapshots do not count it twice
    [pve] [sptypes]."""
    peer.create("v", template="nvme")
    peer.reassign({"volume": "v", "rw": [1]})
    peer.write(1, peer.volume("v")["globalId"], bytes([1]) * (1 << 20))

    def free() -> int:
        return next(
            int(one["stored"]["free"])
            for one in peer.get("VolumeTemplatesStatus")
            if one["name"] == "nvme"
        )

    assert free() == 100 * GIB - (1 << 20)
    peer.snapshot("v", "s")
    assert free() == 100 * GIB - (1 << 20)
    assert {one["name"]: one["storedSize"] for one in peer.get("VolumesSpace")} == {"v": 0}
    assert {one["name"]: one["spaceUsed"] for one in peer.get("VolumesSpace")} == {"v": 1 << 20}
    assert {one["name"]: one["storedSize"] for one in peer.get("SnapshotsSpace")} == {"s": 1 << 20}


def test_a_template_counts_its_objects(peer: Peer) -> None:
    """VolumeTemplatesStatus counts volumes, snapshots and those being removed, with their sizes
    [sptypes]."""
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


def test_no_space(peer: Peer) -> None:
    """Where sizes are limited, a create or a growth beyond the template's free space is
    insufficientResources [csi]."""
    peer.switch(space_limit="stored")
    error = refused(peer, "VolumeCreate", {"name": "v", "size": 101 * GIB, "template": "nvme"})
    assert (error.name, error.status) == ("insufficientResources", 507)
    peer.create("v", size=100 * GIB, template="nvme")
    assert refused(peer, "VolumeUpdate/v", {"sizeAdd": 101 * GIB}).name == "insufficientResources"


def test_a_size_is_not_limited(peer: Peer) -> None:
    """A size is "not limited to physical disk or disk pool size" [kb]; what this machine has no
    file for is no space."""
    peer.create("v", size=200 * GIB, template="nvme")
    peer.post("VolumeUpdate/v", {"size": 300 * GIB})
    assert peer.volume("v")["size"] == 300 * GIB
    (one,) = [one for one in peer.get("VolumeTemplatesStatus") if one["name"] == "nvme"]
    assert one["stored"] == {**one["stored"], "capacity": 100 * GIB, "free": 100 * GIB}
    largest = (1 << 63) - 512
    assert refused(peer, "VolumeUpdate/v", {"size": largest}).name == "insufficientResources"
    error = refused(peer, "VolumeCreate", {"name": "w", "size": largest})
    assert (error.name, error.status) == ("insufficientResources", 507)
    assert peer.names() == {"v"}


# key-value store, generation


def test_a_bucket_is_changed_by_version(peer: Peer) -> None:
    """Every change of a bucket makes a new version; a stale one is refused; an empty value deletes
    [sptypes]."""
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


def test_the_generation_grows_with_each_change(peer: Peer) -> None:
    """Each successful change has a larger generation, reads leave it [sptypes]."""
    peer.create("v")
    before = peer.post("VolumeUpdate/v", {"tags": {"a": "b"}})["generation"]
    peer.get("VolumesList")
    assert peer.post("VolumeUpdate/v", {"tags": {"a": "c"}})["generation"] == before + 1
