"""Requests of StorPool's own peers, unchanged, by raw HTTP: each must work as the peer relies on
it."""

from __future__ import annotations

from typing import Any

import pytest
from simulator_fixtures import GIB, Peer, RefusedError


@pytest.fixture(params=["true", "false"], ids=["strict", "lenient"])
def peer_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A cluster that is strict, and one that is lenient."""
    return {"switches": {"strict": request.param}}


def test_os_brick_attaches_with_its_client_id_as_a_string(peer: Peer) -> None:
    """An attach with a numeric string is accepted and listed as an integer with rights rw
    [brick]."""
    peer.create("os--volume-u")
    body = {"reassign": [{"volume": "os--volume-u", "rw": ["1"]}]}
    assert peer.post("MultiCluster/VolumesReassignWait", body)["ok"] is True
    (attachment,) = peer.get("AttachmentsList")
    assert (attachment["client"], attachment["rights"]) == (1, "rw")
    assert attachment["client"] is not True


def test_os_brick_reads_the_global_id_from_get_info(peer: Peer) -> None:
    """VolumeGetInfo is an object with the global id [brick]."""
    global_id = peer.create("os--volume-u")
    assert peer.get("MultiCluster/VolumeGetInfo/os--volume-u")["globalId"] == global_id


def test_os_brick_detach_of_an_open_volume_is_busy(peer: Peer) -> None:
    """A detach without force while the volume is open is refused, and the text says where it is
    open [brick]."""
    g = peer.create("os--volume-u")
    peer.reassign({"volume": f"~{g}", "rw": [1]})
    peer.simulator.set_client(1, opened=[g])
    body = {"reassign": [{"volume": f"~{g}", "detach": ["1"], "force": False}]}
    with pytest.raises(RefusedError) as refused:
        peer.post("MultiCluster/VolumesReassignWait", body)
    assert refused.value.name == "busy"
    assert refused.value.descr == "'os--volume-u' is open at client 1"


def test_pve_takes_a_volume_over_in_one_item(peer: Peer) -> None:
    """A bare array with detach:all, rw and force leaves that client as the only one [pve]."""
    g = peer.create("v")
    peer.reassign({"volume": f"~{g}", "rw": [1, 2]})
    peer.simulator.set_client(1, opened=[g])
    peer.post(
        "VolumesReassignWait", [{"volume": f"~{g}", "rw": [7], "detach": "all", "force": True}]
    )
    assert peer.attached() == {("v", 7, "rw")}


def test_cinder_detaches_a_volume_that_is_nowhere(peer: Peer) -> None:
    """detach:all of a volume that is not attached succeeds: cinder does it before every delete
    [cinder]."""
    peer.create("os--volume-u")
    body = [{"volume": "os--volume-u", "detach": "all"}]
    assert peer.post("MultiCluster/VolumesReassign", body)["ok"] is True


def test_pve_creates_an_unnamed_volume(peer: Peer) -> None:
    """A create without a name answers with the global id and the name ~gid [pve] [readme 7.1.0]."""
    reply = peer.post(
        "VolumeCreate", {"template": "nvme", "size": 1073741824, "tags": {"virt": "pve"}}
    )
    assert reply["ok"] is True
    assert reply["name"] == f"~{reply['globalId']}"
    assert peer.volume(reply["name"])["tags"] == {"virt": "pve"}


def test_cloudstack_creates_with_an_empty_name(peer: Peer) -> None:
    """An empty name is no name, and 512 bytes are a size [cs]."""
    body = {"name": "", "size": 512, "template": "nvme", "tags": {"cs": "check-volume-is-on-host"}}
    reply = peer.post("MultiCluster/VolumeCreate", body)
    assert peer.volume(reply["name"])["size"] == 512


def test_pve_clones_without_size_and_template(peer: Peer) -> None:
    """A volume from a snapshot or from a volume has the size and the template of its source
    [pve]."""
    v = peer.create("v", size=3 * GIB, template="nvme")
    s = peer.snapshot("v")
    for source in ({"parent": f"~{s}"}, {"baseOn": f"~{v}"}):
        reply = peer.post("VolumeCreate", {**source, "tags": {"virt": "pve"}})
        clone = peer.volume(reply["name"])
        assert (clone["size"], clone["templateName"]) == (3 * GIB, "nvme")


def test_pve_sends_an_empty_string_for_no_tags(peer: Peer) -> None:
    """tags:"" stands for no tags [pve]."""
    peer.create("v")
    reply = peer.post("VolumeCreate", {"baseOn": "v", "tags": ""})
    assert peer.volume(reply["name"])["tags"] == {}


def test_pve_snapshots_without_a_name(peer: Peer) -> None:
    """VolumeSnapshot with nothing but tags answers with the snapshot's global id [pve]."""
    v = peer.create("v")
    reply = peer.post(f"VolumeSnapshot/~{v}", {"tags": {"pve-snap": "one"}})
    assert peer.shot(f"~{reply['snapshotGlobalId']}")["tags"] == {"pve-snap": "one"}


def test_pve_reverts_with_the_size(peer: Peer) -> None:
    """revertSize:true gives the volume the snapshot's size too [pve]."""
    v = peer.create("v")
    s = peer.snapshot("v")
    peer.post("VolumeUpdate/v", {"size": 2 * GIB})
    assert (
        peer.post(f"VolumeRevert/~{v}", {"toSnapshot": f"~{s}", "revertSize": True})["ok"] is True
    )
    assert peer.volume("v")["size"] == GIB


def test_cloudstack_deletes_an_attached_volume_by_force(peer: Peer) -> None:
    """onAttached:detachForce deletes although it is attached and open [cs]."""
    v = peer.create("v")
    peer.reassign({"volume": "v", "rw": [1]})
    peer.simulator.set_client(1, opened=[v])
    assert peer.post(f"MultiCluster/VolumeDelete/~{v}", {"onAttached": "detachForce"})["ok"] is True
    assert peer.names() == set()


def test_pve_delete_of_an_attached_volume_is_busy(peer: Peer) -> None:
    """VolumeDelete with {} while attached is refused [csi] [pve]."""
    v = peer.create("v")
    peer.reassign({"volume": "v", "rw": [1]})
    with pytest.raises(RefusedError) as refused:
        peer.post(f"VolumeDelete/~{v}", {})
    assert refused.value.name == "busy"


def test_pve_updates_one_tag(peer: Peer) -> None:
    """An update of one tag keeps the others [pve] [cs-up]."""
    v = peer.create("v", tags={"virt": "pve", "pve-vm": "100"})
    peer.post(f"VolumeUpdate/~{v}", {"tags": {"pve-vm": "101"}})
    assert peer.volume("v")["tags"] == {"virt": "pve", "pve-vm": "101"}


def test_cloudstack_drops_a_name(peer: Peer) -> None:
    """rename:"" makes a volume unnamed [cs]."""
    v = peer.create("v")
    peer.post("MultiCluster/VolumeUpdate/v", {"rename": ""})
    assert peer.names() == {f"~{v}"}


def test_templates_status_has_one_entry_for_each_template(peer: Peer) -> None:
    """VolumeTemplatesStatus tells stored.capacity and stored.free of each template once [pve]
    [addon]."""
    entries = {one["name"]: one["stored"] for one in peer.get("VolumeTemplatesStatus")}
    assert set(entries) == {"nvme", "hdd"}
    assert entries["nvme"]["capacity"] == entries["nvme"]["free"] == 100 * GIB


def test_disks_list_has_what_cinder_counts(peer: Peer) -> None:
    """DisksList is a map of disks that are up, with their allocation groups [cinder]."""
    for disk in peer.get("DisksList").values():
        assert disk["generationLeft"] == -1
        assert disk["agCount"] == disk["agAllocated"] + disk["agFree"]


def test_services_list_is_a_health_check(peer: Peer) -> None:
    """ServicesList answers without an error [pve]."""
    assert peer.get("ServicesList")["clusterStatus"] == "running"


def test_addon_makes_a_group_snapshot(peer: Peer) -> None:
    """VolumesGroupSnapshot answers with ok beside the snapshots; the common tags are theirs
    [addon]."""
    v = peer.create("a")
    reply = peer.post(
        "VolumesGroupSnapshot", {"volumes": [{"volume": "a", "name": "a-1"}], "tags": {"nvm": "7"}}
    )
    assert reply["ok"] is True
    (one,) = reply["snapshots"]
    assert (one["volume"], one["volumeGlobalId"], one["snapshot"]) == ("a", v, "a-1")
    assert one["remoteId"] == one["snapshotGlobalId"]
    assert peer.shot("a-1")["tags"] == {"nvm": "7"}


def test_pve_waits_for_its_own_client(peer: Peer) -> None:
    """ClientConfigWait answers with the status of the clients once this one is up to date [pve]
    [spapi]."""
    (own,) = [one for one in peer.get("ClientConfigWait/7") if one["id"] == 7]
    assert own["configStatus"] == "ok"
    assert own["clientGeneration"] == own["generation"]


def test_csi_addresses_its_own_cluster_by_id(peer: Peer) -> None:
    """RemoteCommand/~<own id>/ is the same as a local call [csi]."""
    peer.create("v")
    own = peer.simulator.cluster_id
    peer.post(
        f"RemoteCommand/~{own}/MultiCluster/VolumesReassignWait",
        {"reassign": [{"volume": "v", "rw": [1]}]},
    )
    assert peer.attached() == {("v", 1, "rw")}
