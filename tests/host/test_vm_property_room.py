"""vm_policy.py: what a VM's properties say of disks whose tags leave little room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigs.starts import UUIDS
from rigs.vm_world import VM, World, preview

if TYPE_CHECKING:
    from rigs.core_fixtures import Core


def test_a_previews_volume_follows_what_is_said_of_its_disk(core: Core) -> None:
    """People know the disk's id, and a preview's volume has another; it has room for both."""
    world = World(core)
    preview(world)
    given = {"sp_qos": f"gold,{UUIDS[0]}:silver", "sp_vc_policy": "daily"}
    world.start(**given)
    assert world.has(UUIDS[1]) == ("silver", "daily")
    assert world.start(**given) == 0


def test_what_has_no_room_is_left_out_and_told(core: Core) -> None:
    """The VM comes first, then the class; a policy that one disk has no room for none gets, as
    VolumeCare leaves a VM of two policies alone; the VM starts, and starts again for no call."""
    world = World(core)
    preview(world)
    given = {"sp_qos": "g" * 12, "sp_vc_policy": "p" * 60}
    world.start(**given)
    assert world.all() == [("g" * 12, "")] * 2
    assert world.volume(UUIDS[1]).tags["cvm"] == VM
    assert f"tags_left_out name=ovirt--{UUIDS[1]} tags=vc-policy" in world.log()
    assert world.start(**given) == 0
