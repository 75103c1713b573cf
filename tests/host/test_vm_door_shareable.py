"""storpool-vm-door: what user vdsm may say of a disk that this host does not have."""

from __future__ import annotations

from rigs.door_stage import DoorStage, Volume
from rigs.shared_stage import new_id


def test_the_tags_of_what_another_host_has_stay(doors: DoorStage) -> None:
    """T53, T78: as shareable at a start it would lose its VM, and be marked: only where this host
    has it too."""
    vm, volume = new_id(), Volume(doors.cluster, [2])

    def tags() -> dict[str, str]:
        listed = doors.cluster.api("VolumesList")
        [found] = [each["tags"] for each in listed if each["name"] == volume.name]
        return dict(found)

    doors.cluster.api(f"VolumeUpdate/{volume.name}", {"tags": {**tags(), "cvm": vm}})
    before = tags()
    doors.ask(volume.disk(shareable=True))
    assert tags() == before
    doors.cluster.api("VolumesReassignWait", {"reassign": [{"volume": volume.name, "rw": [1]}]})
    doors.ask(volume.disk(shareable=True))
    assert tags().get("cvm", "") == ""
    assert tags()["ovirt-share"] == "1"
