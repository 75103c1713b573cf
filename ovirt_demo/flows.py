"""What Engine does for each action of an administrator: its calls in its order with its ids.

They were read from its sources. Some look wrong, and are meant to: a migration calls
disconnect_volume, which names no host, while the destination runs; a commit may call
remove_snapshot with the id of a volume; a deleted disk is named by its own id alone, whatever hangs
below it. Where Engine ignores a failure, we raise: whoever replays a flow wants to know.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable
from typing import Any

from ovirt_demo.engine import Engine, Result
from ovirt_demo.vdsm import Host


@dataclasses.dataclass
class Disk:
    """A disk in Engine's database.

    `images` are its images (volumes and snapshots) with the id of the parent that Engine believes
    in; `active` is the one that a VM would use. `attached_to` and `destination` are the hosts that
    Engine remembers for its VM.
    """

    id: str
    size_gib: int
    active: str
    images: dict[str, str | None]
    attached_to: Host | None = None
    destination: Host | None = None
    before_preview: str | None = None

    def snapshot_parent(self) -> str:
        """Return the image below which Engine puts a new snapshot.

        It is the leaf of the chain, by the first child each time.
        """
        image = self.id
        while below := self.children(image):
            image = below[0]
        return image

    def children(self, image: str) -> list[str]:
        """Return the images that Engine believes to be made from this one, oldest first."""
        return [child for child, parent in self.images.items() if parent == image]

    def forget(self, image: str) -> None:
        """Remove an image.

        Its first child gets its parent; the others keep pointing at what is gone.
        """
        parent = self.images.pop(image)
        for child in self.children(image)[:1]:
            self.images[child] = parent


@dataclasses.dataclass
class Domain:
    """A storage domain of Engine's.

    `correlation_id` is that of the action at hand; None means a new one for each verb.
    """

    engine: Engine
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str | None = None

    def ask(self, verb: str, *arguments: str) -> Result:
        """Run a verb that has to succeed, and return its result; raises engine.VerbFailed."""
        return self.engine.run(verb, *arguments, correlation_id=self.correlation_id).require()


def add_domain(domain: Domain) -> dict[str, Any]:
    """Add the storage domain: the statistics are the only question asked. Return them."""
    return storage_stats(domain)


def storage_stats(domain: Domain) -> dict[str, Any]:
    """Return the capacity; Engine asks for it by itself after each change."""
    return domain.ask("storage_stats", "true").map()


def create_disk(domain: Domain, size_gib: int, disk_id: str | None = None) -> Disk:
    """Add a disk, and return it."""
    disk_id = disk_id or str(uuid.uuid4())
    domain.ask("create_volume", disk_id, str(size_gib))
    return _new_disk(disk_id, size_gib)


def run_vm(domain: Domain, host: Host, *disks: Disk) -> list[dict[str, Any]]:
    """Start a VM with these disks on a host; return the devices.

    The first failure stops it and undoes nothing.
    """
    return [_attach(domain, host, disk, _set_attached) for disk in disks]


def stop_vm(domain: Domain, *disks: Disk) -> None:
    """Process the end of a VM.

    A disk of which Engine knows no host stops it, as does a failure.
    """
    for disk in disks:
        if disk.attached_to is None:
            return
        _detach(domain, disk.attached_to, disk.active)
        disk.attached_to = None


def hot_plug(domain: Domain, host: Host, disk: Disk) -> dict[str, Any]:
    """Plug a disk into a running VM; return the device."""
    return _attach(domain, host, disk, _set_attached)


def hot_unplug(domain: Domain, disk: Disk) -> None:
    """Unplug a disk from a running VM.

    Engine names it by the disk's id, which is wrong after a committed preview.
    """
    if disk.attached_to is not None:
        _detach(domain, disk.attached_to, disk.id)
        disk.attached_to = None


def remove_from_running_vm(disk: Disk) -> None:
    """Detach a disk from a running VM: Engine forgets the host, and calls nobody."""
    disk.attached_to = None


def start_migration(domain: Domain, destination: Host, *disks: Disk) -> list[dict[str, Any]]:
    """Attach the disks on the destination while the source runs; return the devices.

    The guest moves after that.
    """
    return [_attach(domain, destination, disk, _set_destination) for disk in disks]


def finish_migration(domain: Domain, *disks: Disk) -> None:
    """Process that the VM runs on the destination.

    The source is detached; disks are disconnected without a host.
    """
    for disk in disks:
        source, disk.attached_to, disk.destination = disk.attached_to, disk.destination, None
        if source is not None:
            _detach(domain, source, disk.active)


def fail_migration(domain: Domain, *disks: Disk) -> None:
    """Process that the VM stayed on its source.

    The destination is detached, up to the first disk without one.
    """
    for disk in disks:
        if disk.destination is None:
            return
        _detach(domain, disk.destination, disk.active)
        disk.destination = None


def migrate(
    domain: Domain, destination: Host, *disks: Disk, move: Callable[[], None] = lambda: None
) -> None:
    """Migrate a VM.

    `move` is what happens between: the guest goes on on the destination, or an exception.
    """
    try:
        start_migration(domain, destination, *disks)
        move()
    except Exception:
        fail_migration(domain, *disks)
        raise
    finish_migration(domain, *disks)


def create_snapshot(domain: Domain, disk: Disk) -> str:
    """Take a snapshot of the active image; return its id."""
    snapshot = domain.ask("create_snapshot", disk.active).guid()
    disk.images[snapshot] = disk.snapshot_parent()
    return snapshot


def preview(domain: Domain, disk: Disk, snapshot: str) -> str:
    """Make a volume from a snapshot and let the VM see it; return its id."""
    volume = domain.ask("create_volume_from_snapshot", disk.id, snapshot).guid()
    disk.images[volume] = snapshot
    disk.before_preview, disk.active = disk.active, volume
    return volume


def undo_preview(domain: Domain, disk: Disk) -> None:
    """Go back to the volume that was active before the preview."""
    volume = disk.active
    disk.active, disk.before_preview = _previous(disk), None
    domain.ask("delete_volume", volume)
    disk.forget(volume)


def commit_preview(domain: Domain, disk: Disk) -> list[str]:
    """Stay with the previewed volume; return what was removed, snapshots and volumes alike."""
    _previous(disk)
    disk.before_preview = None
    previewed = disk.images[disk.active]
    made_from_it = [image for image, parent in disk.images.items() if parent == previewed]
    siblings = [image for image in made_from_it if image != disk.active]
    for image in siblings:
        remove_snapshot(domain, disk, image)
    return siblings


def remove_snapshot(domain: Domain, disk: Disk, snapshot: str) -> None:
    """Remove a snapshot.

    Beside its id goes the disk's id, also when it was taken from another volume of the disk.
    """
    domain.ask("remove_snapshot", snapshot, disk.id)
    disk.forget(snapshot)


def extend_disk(domain: Domain, disk: Disk, size_gib: int) -> None:
    """Grow a disk, named by its own id, to a total size; a running VM gets no word of it."""
    domain.ask("extend_volume", disk.id, str(size_gib))
    disk.size_gib = size_gib


def clone_disk(domain: Domain, disk: Disk, source_image: str | None = None) -> Disk:
    """Clone a disk, or one image of it such as a snapshot; return the new disk.

    Engine does so for the clone of a VM, a template, and a VM from a template.
    """
    clone_id = str(uuid.uuid4())
    domain.ask("clone_volume", source_image or disk.active, clone_id)
    return _new_disk(clone_id, disk.size_gib)


def copy_in(
    domain: Domain, host: Host, size_gib: int, write: Callable[[dict[str, Any]], None]
) -> Disk:
    """Copy a disk from another kind of storage; return the new disk.

    `write` gets the device. A failure deletes the new disk.
    """
    disk = create_disk(domain, size_gib)
    try:
        write(_connect_and_attach(domain, host, disk.active))
    except Exception:
        _detach(domain, host, disk.id)
        delete_disk(domain, disk)
        raise
    _detach(domain, host, disk.id)
    return disk


def copy_out(
    domain: Domain, host: Host, disk: Disk, read: Callable[[dict[str, Any]], None]
) -> None:
    """Copy a disk to another kind of storage: `read` gets the device.

    It is attached by its active image and detached by the disk's id, so after a committed preview
    it stays attached.
    """
    try:
        read(_connect_and_attach(domain, host, disk.active))
    finally:
        _detach(domain, host, disk.id)


def delete_disk(domain: Domain, disk: Disk) -> None:
    """Delete a disk: one verb, one id, whatever snapshots and volumes it has."""
    domain.ask("delete_volume", disk.id)
    disk.images.clear()


def _attach(
    domain: Domain, host: Host, disk: Disk, remember: Callable[[Disk, Host], None]
) -> dict[str, Any]:
    device = _connect_and_attach(domain, host, disk.active)
    remember(disk, host)
    domain.ask("save_device", disk.active, _json(device))
    return device


def _connect_and_attach(domain: Domain, host: Host, image: str) -> dict[str, Any]:
    connection_info = domain.ask("connect_volume", image, _json(host.connector_info)).map()
    return host.attach_volume(domain.id, image, connection_info)


def _detach(domain: Domain, host: Host, image: str) -> None:
    """Detach on the host, and only if that worked call the adapter.

    The adapter does not learn the host.
    """
    host.detach_volume(domain.id, image)
    domain.ask("disconnect_volume", image)


def _set_attached(disk: Disk, host: Host) -> None:
    disk.attached_to = host


def _set_destination(disk: Disk, host: Host) -> None:
    disk.destination = host


def _previous(disk: Disk) -> str:
    if disk.before_preview is None:
        raise ValueError(f"disk {disk.id} is not in preview")
    return disk.before_preview


def _new_disk(disk_id: str, size_gib: int) -> Disk:
    return Disk(disk_id, size_gib, active=disk_id, images={disk_id: None})


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
