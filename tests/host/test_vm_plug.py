"""storpool-vm-hook at a plug, run as Vdsm runs it, with the XML that Vdsm makes: which never has
`<shareable/>`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import hooks, vdsm
from rigs.hook_stage import Starts, last_refusal
from rigs.shared_stage import new_id, post, queries, volumes

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk

CALLS = ["KV/Set", "Volume", "ClientsConfigDump", "AttachmentsList"]
MARK = "ovirt-share"


def plug(starts: Starts, host: int, disk: Disk) -> None:
    """Attach a disk for a VM that runs on a host, and run the hook; raises VdsmError: it is not
    plugged."""
    [device] = starts.attach(host, dataclasses.replace(disk))
    starts.hooks[host].before_disk_hotplug(hooks.plug_xml(device))


def start(starts: Starts, host: int, disk: Disk, *, shareable: bool = True) -> None:
    """Start a VM with a disk."""
    starts.start(host, dataclasses.replace(disk), shareable=shareable)


def tags(starts: Starts, disk: Disk) -> Any:
    """Return the tags of a disk's volume."""
    return volumes(starts.stage.simulator)[disk.id]["tags"]


def retag(starts: Starts, disk: Disk, value: str) -> None:
    """Write or remove the mark by hand."""
    post(
        starts.stage.simulator,
        f"VolumeUpdate/~{starts.global_id(disk)}",
        {"tags": {**tags(starts, disk), MARK: value}},
    )


def forced(starts: Starts) -> list[Any]:
    """List what requests asked for by force."""
    calls = [
        call["body"]
        for call in starts.stage.simulator.calls()
        if call["query"] == "VolumesReassignWait"
    ]
    return [item for body in calls for item in body["reassign"] if item.get("force")]


def test_a_shareable_disk_is_plugged_beside_a_vm_that_has_it(starts: Starts) -> None:
    """T81: the first VM started with it, so it is known as shareable: the second one's plug takes
    it from nobody."""
    [disk] = starts.disks()
    start(starts, 1, disk)
    assert tags(starts, disk)[MARK] == "1"
    with starts.writing(1, disk) as first:
        starts.stage.simulator.clear_calls()
        plug(starts, 2, disk)
        assert forced(starts) == []
        with starts.writing(2, disk) as second:
            assert [first.write(1), second.write(2), first.write(3)] == [True] * 3
    assert starts.on_hosts(disk) == {(1, "rw"), (2, "rw")}


def test_a_plug_of_what_a_running_host_has_open_is_refused(starts: Starts) -> None:
    """T44, T81: nothing tells whether it is shareable: the first VM writes on, and the sentence
    says what to do."""
    [disk] = starts.disks()
    start(starts, 1, disk, shareable=False)
    with starts.writing(1, disk) as first:
        starts.stage.simulator.clear_calls()
        with pytest.raises(vdsm.VdsmError):
            plug(starts, 2, disk)
        sentence = last_refusal(starts.hooks[2])
        assert (
            "is open at client 1, and nothing tells whether it is shareable: stop the VM there or"
            " unplug" in sentence
        )
        assert f"storpool-ovirt shareable {disk.id} on Engine's machine" in sentence
        assert forced(starts) == []
        assert first.write(1)
    assert starts.on_hosts(disk) == {(1, "rw"), (2, "rw")}


def test_an_ordinary_plug(starts: Starts) -> None:
    """A disk that only this host has needs looks alone; the VM's other disks are not touched."""
    running, plugged, other = starts.disks(3)
    starts.start(2, running)
    starts.attach(1, other)
    [device] = starts.attach(2, plugged)
    with starts.writing(2, running) as own, starts.writing(1, other) as bystander:
        queries(starts.stage.simulator)
        starts.hooks[2].before_disk_hotplug(hooks.plug_xml(device))
        assert queries(starts.stage.simulator) == [*CALLS, "AttachmentsList", "ClientsConfigDump"]
        assert (own.write(1), bystander.write(1)) == (True, True)
    assert starts.on_hosts(plugged) == {(2, "rw")}
    assert starts.on_hosts(other) == {(1, "rw")}


def test_who_has_it_closed_loses_it(starts: Starts) -> None:
    """T53: what a VM that has ended left attached on a host that runs goes, and not by force."""
    [disk] = starts.disks()
    starts.attach(1, dataclasses.replace(disk))
    starts.stage.simulator.clear_calls()
    plug(starts, 2, disk)
    assert forced(starts) == []
    assert starts.on_hosts(disk) == {(2, "rw")}


def test_who_is_down_loses_it_by_force(starts: Starts) -> None:
    """T80: the disk of a lost host is plugged into a VM elsewhere: that host's writes fail from
    then on."""
    [disk] = starts.disks()
    starts.start(1, dataclasses.replace(disk))
    with starts.writing(1, disk) as lost:
        starts.stage.simulator.set_client(1, status="down")
        try:
            plug(starts, 2, disk)
            assert not lost.write(1)
            assert starts.on_hosts(disk) == {(2, "rw")}
        finally:
            starts.stage.simulator.set_client(1, status="running")


def test_the_xml_of_a_start_is_right(starts: Starts) -> None:
    """T44, T81: Engine may make a shareable disk an ordinary one: the next start takes the mark
    away, then the disk."""
    [disk] = starts.disks()
    start(starts, 1, disk)
    before = tags(starts, disk)
    with starts.writing(1, disk) as first:
        start(starts, 2, disk, shareable=False)
        assert not first.write(1)
    assert tags(starts, disk) == {key: value for key, value in before.items() if key != MARK}
    with starts.writing(2, disk) as second:
        with pytest.raises(vdsm.VdsmError):
            plug(starts, 1, disk)
        assert second.write(2)


def test_a_mark_that_cannot_be_written_stops_no_start(starts: Starts) -> None:
    """Without it a later plug is refused, which is safe."""
    [disk] = starts.disks()
    log = starts.stage.hosts[1].local("/var/log/vdsm/storpool-hook.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    starts.stage.simulator.inject("error_200", query="VolumeUpdate", name="invalidParam")
    start(starts, 1, disk)
    assert MARK not in tags(starts, disk)
    assert f"share_not_marked volume=ovirt--{disk.id}" in log.read_text()
    with starts.writing(1, disk) as first:
        with pytest.raises(vdsm.VdsmError):
            plug(starts, 2, disk)
        assert first.write(1)


def test_a_mark_that_cannot_be_taken_away_stops_a_start(starts: Starts) -> None:
    """T44: with it a plug elsewhere would let two write what is one VM's; nothing was taken."""
    [disk] = starts.disks()
    start(starts, 1, disk)
    with starts.writing(1, disk) as first:
        starts.stage.simulator.inject("error_200", query="VolumeUpdate", name="invalidParam")
        with pytest.raises(vdsm.VdsmError):
            start(starts, 2, disk, shareable=False)
        last_refusal(starts.hooks[2])
        assert first.write(1)
    assert starts.on_hosts(disk) == {(1, "rw"), (2, "rw")}


def test_a_second_start_writes_nothing(starts: Starts) -> None:
    """The mark is written once: each further start of a shareable disk asks whose it is, as of now,
    and no more."""
    [disk] = starts.disks()
    start(starts, 1, disk)
    [device] = starts.attach(2, dataclasses.replace(disk))
    queries(starts.stage.simulator)
    starts.hooks[2].before_vm_start(hooks.domain_xml(hooks.disk_xml(device, shareable=True)))
    assert queries(starts.stage.simulator) == ["KV/Set", "Volume"]


def test_a_shareable_disk_that_was_taken_before_its_plug(starts: Starts) -> None:
    """T56: a fence took it from this host meanwhile: it is not plugged."""
    [disk] = starts.disks()
    retag(starts, disk, "1")
    [device] = starts.attach(2, disk)
    gone = {"volume": f"~{starts.global_id(disk)}", "detach": [2], "force": True}
    post(starts.stage.simulator, "VolumesReassignWait", {"reassign": [gone]})
    with pytest.raises(vdsm.VdsmError):
        starts.hooks[2].before_disk_hotplug(hooks.plug_xml(device))
    assert "is not attached to client 2 any more: somebody took it" in last_refusal(starts.hooks[2])


@pytest.mark.parametrize("value", ["0", "yes", "2"])
def test_only_our_mark_counts(starts: Starts, value: str) -> None:
    """A tag of this name with another value is none."""
    [disk] = starts.disks()
    retag(starts, disk, value)
    starts.attach(1, dataclasses.replace(disk))
    with starts.writing(1, disk) as first:
        with pytest.raises(vdsm.VdsmError):
            plug(starts, 2, disk)
        assert first.write(1)


def test_what_is_not_ovirts_is_not_marked(starts: Starts) -> None:
    """S6: another orchestrator's volume in a VM keeps its tags, shareable or not, and is nobody's
    to take."""
    name = f"cloud-{new_id()}"
    body = {"name": name, "size": 1 << 30, "template": "hybrid", "tags": {"virt": "cs"}}
    post(starts.stage.simulator, "VolumeCreate", body)
    post(
        starts.stage.simulator,
        "VolumesReassignWait",
        {"reassign": [{"volume": name, "rw": [1, 2]}]},
    )
    foreign = {"managed_path": f"/dev/storpool/{name}", "vol_id": new_id()}
    queries(starts.stage.simulator)
    starts.hooks[2].before_vm_start(hooks.domain_xml(hooks.disk_xml(foreign, shareable=True)))
    starts.hooks[2].before_disk_hotplug(hooks.plug_xml(foreign))
    assert {*queries(starts.stage.simulator)} == {"KV/Set", "Volume"}
    assert starts.clients_of(name) == {1, 2}
