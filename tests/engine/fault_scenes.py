"""The situations in which a verb may be stopped: each sets its scene and returns the verb that
Engine calls then."""

from __future__ import annotations

import dataclasses
import json
from typing import Callable

import vm_ground
from fault_world import GIB, FaultWorld, Scene

from rigs.shared_stage import new_id

CONNECTOR = '{"host":"host1.example"}'


def _disk(world: FaultWorld) -> str:
    uuid = new_id()
    world.verb("create", uuid, GIB)
    return uuid


def _previewed(world: FaultWorld) -> tuple[str, str, str]:
    """Make a disk with a snapshot and a preview that is active."""
    disk = _disk(world)
    snapshot = world.verb("snapshot", disk)
    return disk, snapshot, world.verb("preview", snapshot)


def create_volume(_: FaultWorld) -> Scene:
    """Make a new disk."""
    disk = new_id()
    return Scene(("create_volume", disk, "1"), {"disk": disk})


def create_volume_first(world: FaultWorld) -> Scene:
    """Make the first disk of an Engine: the tables have to be made."""
    world.without_tables()
    disk = new_id()
    return Scene(("create_volume", disk, "1"), {"disk": disk}, first=True)


def clone_volume(world: FaultWorld) -> Scene:
    """Clone a disk."""
    disk, clone = _disk(world), new_id()
    return Scene(("clone_volume", disk, clone), {"disk": disk, "clone": clone})


def clone_snapshot(world: FaultWorld) -> Scene:
    """Clone a snapshot."""
    disk, clone = _disk(world), new_id()
    snapshot = world.verb("snapshot", disk)
    return Scene(
        ("clone_volume", snapshot, clone), {"disk": disk, "snapshot": snapshot, "clone": clone}
    )


def create_snapshot(world: FaultWorld) -> Scene:
    """Make a snapshot of a disk that was never attached."""
    disk = _disk(world)
    return Scene(("create_snapshot", disk), {"disk": disk})


def create_snapshot_attached(world: FaultWorld) -> Scene:
    """Make a snapshot of a disk that a host has."""
    disk = world.attached(_disk(world))
    return Scene(("create_snapshot", disk), {"disk": disk})


def create_snapshot_group(world: FaultWorld) -> Scene:
    """Make the snapshots of a VM's two disks, and answer with the first one's."""
    return _of_vm(world, 0)


def create_snapshot_group_turned(world: FaultWorld) -> Scene:
    """Do the same where the disk that Engine names first is not the first one to be locked."""
    return _of_vm(world, 1)


def _of_vm(world: FaultWorld, named: int) -> Scene:
    vm = vm_ground.running(world, 2)
    disks = sorted(vm.disks)
    ids = {"vm": vm.tag, "disk": disks[named], "other": disks[1 - named]}
    return Scene(("create_snapshot", disks[named]), ids)


def create_volume_from_snapshot(world: FaultWorld) -> Scene:
    """Preview a snapshot."""
    disk = _disk(world)
    snapshot = world.verb("snapshot", disk)
    return Scene(
        ("create_volume_from_snapshot", disk, snapshot), {"disk": disk, "snapshot": snapshot}
    )


def extend_volume(world: FaultWorld) -> Scene:
    """Grow a disk that no host was ever told of."""
    disk = _disk(world)
    return Scene(("extend_volume", disk, "2"), {"disk": disk})


def extend_volume_attached(world: FaultWorld) -> Scene:
    """Grow a disk that a host has."""
    disk = world.attached(_disk(world))
    return Scene(("extend_volume", disk, "2"), {"disk": disk})


def extend_volume_previewed(world: FaultWorld) -> Scene:
    """Grow a disk whose preview is active."""
    disk, snapshot, preview = _previewed(world)
    return Scene(
        ("extend_volume", disk, "2"), {"disk": disk, "snapshot": snapshot, "preview": preview}
    )


def connect_volume(world: FaultWorld) -> Scene:
    """Describe a disk to a host for the first time."""
    disk = _disk(world)
    return Scene(("connect_volume", disk, CONNECTOR), {"disk": disk})


def connect_volume_again(world: FaultWorld) -> Scene:
    """Describe a disk to a host once more."""
    disk = world.attached(_disk(world))
    return Scene(("connect_volume", disk, CONNECTOR), {"disk": disk})


def connect_volume_previewed(world: FaultWorld) -> Scene:
    """Describe the volume that a preview had replaced: it is the active one from now on."""
    disk, snapshot, preview = _previewed(world)
    world.verb("connection", preview)
    return Scene(
        ("connect_volume", disk, CONNECTOR),
        {"disk": disk, "snapshot": snapshot, "preview": preview},
    )


def get_connection_info(world: FaultWorld) -> Scene:
    """Ask for what a host needs to know."""
    disk = _disk(world)
    return Scene(("get_connection_info", disk), {"disk": disk})


def disconnect_volume(world: FaultWorld) -> Scene:
    """Do nothing, as no host is named."""
    disk = world.attached(_disk(world))
    return Scene(("disconnect_volume", disk), {"disk": disk})


def save_device(world: FaultWorld) -> Scene:
    """Do nothing, as StorPool's list is the truth."""
    disk = world.attached(_disk(world))
    return Scene(("save_device", disk, json.dumps({"path": "/dev/x"})), {"disk": disk})


def storage_stats(world: FaultWorld) -> Scene:
    """Ask for the capacity for the first time, so that the Engine's claim of its location is
    written."""
    world.unclaimed()
    return Scene(("storage_stats", "true"))


def delete_volume(world: FaultWorld) -> Scene:
    """Delete a disk."""
    disk = _disk(world)
    return Scene(("delete_volume", disk), {"disk": disk})


def delete_volume_attached(world: FaultWorld) -> Scene:
    """Delete a disk that a host has, closed."""
    disk = world.attached(_disk(world))
    return Scene(("delete_volume", disk), {"disk": disk})


def delete_volume_tree(world: FaultWorld) -> Scene:
    """Delete a disk with two snapshots and a preview that a host has."""
    disk, snapshot, preview = _previewed(world)
    world.attached(preview)
    later = world.verb("snapshot", preview)
    ids = {"disk": disk, "snapshot": snapshot, "later": later, "preview": preview}
    return Scene(("delete_volume", disk), ids)


def delete_volume_preview(world: FaultWorld) -> Scene:
    """Undo a preview."""
    disk, snapshot, preview = _previewed(world)
    return Scene(
        ("delete_volume", preview), {"disk": disk, "snapshot": snapshot, "preview": preview}
    )


def remove_snapshot(world: FaultWorld) -> Scene:
    """Delete a snapshot."""
    disk = _disk(world)
    snapshot = world.verb("snapshot", disk)
    return Scene(("remove_snapshot", snapshot, disk), {"disk": disk, "snapshot": snapshot})


def remove_snapshot_volume(world: FaultWorld) -> Scene:
    """Delete a disk's first volume after the preview of its snapshot was committed."""
    disk, snapshot, preview = _previewed(world)
    world.attached(preview)
    return Scene(
        ("remove_snapshot", disk, disk), {"disk": disk, "snapshot": snapshot, "preview": preview}
    )


def remove_snapshot_former(world: FaultWorld) -> Scene:
    """Delete a volume that a commit had made active, after a second commit to the same snapshot."""
    disk, snapshot, former = _previewed(world)
    preview = world.attached(world.verb("preview", snapshot))
    ids = {"disk": disk, "snapshot": snapshot, "former": former, "preview": preview}
    return Scene(("remove_snapshot", former, disk), ids)


def delete_volume_kept(world: FaultWorld) -> Scene:
    """Delete a disk that a host has, closed; the trash keeps it."""
    return _kept(delete_volume_attached(world))


def delete_volume_tree_kept(world: FaultWorld) -> Scene:
    """Delete a whole tree, from which a disk was cloned; the trash keeps it."""
    scene = delete_volume_tree(world)
    clone = new_id()
    world.verb("clone", scene.ids["snapshot"], clone)
    return _kept(dataclasses.replace(scene, ids={**scene.ids, "clone": clone}))


def remove_snapshot_kept(world: FaultWorld) -> Scene:
    """Delete a snapshot that the trash keeps."""
    return _kept(remove_snapshot(world))


def remove_snapshot_volume_kept(world: FaultWorld) -> Scene:
    """Delete a disk's first volume after a commit; the trash keeps it."""
    return _kept(remove_snapshot_volume(world))


def _kept(scene: Scene) -> Scene:
    return dataclasses.replace(scene, keep=True)


SCENES: dict[str, Callable[[FaultWorld], Scene]] = {
    "create_volume": create_volume,
    "create_volume, the first of all": create_volume_first,
    "clone_volume": clone_volume,
    "clone_volume of a snapshot": clone_snapshot,
    "create_snapshot": create_snapshot,
    "create_snapshot, attached": create_snapshot_attached,
    "create_snapshot of a VM": create_snapshot_group,
    "create_snapshot of a VM, the other way round": create_snapshot_group_turned,
    "create_volume_from_snapshot": create_volume_from_snapshot,
    "extend_volume": extend_volume,
    "extend_volume, attached": extend_volume_attached,
    "extend_volume, preview active": extend_volume_previewed,
    "connect_volume": connect_volume,
    "connect_volume, again": connect_volume_again,
    "connect_volume, after a preview": connect_volume_previewed,
    "get_connection_info": get_connection_info,
    "disconnect_volume": disconnect_volume,
    "save_device": save_device,
    "storage_stats": storage_stats,
    "delete_volume": delete_volume,
    "delete_volume, attached": delete_volume_attached,
    "delete_volume of a whole tree": delete_volume_tree,
    "delete_volume of a preview": delete_volume_preview,
    "remove_snapshot": remove_snapshot,
    "remove_snapshot of the first volume": remove_snapshot_volume,
    "remove_snapshot of a former volume": remove_snapshot_former,
    "delete_volume, kept": delete_volume_kept,
    "delete_volume of a whole tree, kept": delete_volume_tree_kept,
    "remove_snapshot, kept": remove_snapshot_kept,
    "remove_snapshot of the first volume, kept": remove_snapshot_volume_kept,
}
