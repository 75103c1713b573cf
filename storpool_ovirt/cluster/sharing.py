"""The mark on a volume of oVirt's that several VMs may have at once: the tag `names.TAG_SHARED`.

Engine tells a host that a disk is shareable when a VM *starts* with it (`<shareable/>`,
LibvirtVmXmlBuilder), never when it is plugged: Vdsm makes that XML anew from its own Drive, which
knows only `shared` of the metadata, and Engine writes none for a managed disk (Vdsm's virt/vm.py,
hotplugDisk, and virt/vmdevices/storage.py, 4.50.6.1 to master). So whoever learns it leaves a
mark: the start hook from the XML, connect_volume from Engine's database, an administrator by hand.
No mark means that nobody knows.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.log import Log


def silent_mark(client: api.Client, there: api.Volume, log: Log) -> None:
    """Mark a volume unless it is; a failure is only logged: without the mark a later plug is
    refused, which is safe."""
    try:
        mark(client, there, log)
    except errors.Error as error:
        log.line("share_not_marked", volume=there.name, global_id=there.global_id, reason=error)


def mark(client: api.Client, there: api.Volume, log: Log) -> bool:
    """Mark a volume as shareable; false when it is.

    Raises InputError when its tags leave no room, Foreign when it is somebody else's since it was
    looked at.
    """
    if names.is_shared(there.tags):
        return False
    if not volumes.change(client, there, tags={names.TAG_SHARED: names.SHARED}):
        return False
    log.line("share_marked", volume=there.name, global_id=there.global_id)
    return True


def unmark(client: api.Client, there: api.Volume, log: Log) -> bool:
    """Take the mark off a volume; false when there is none.

    Raises Conflict when it is still there afterwards: two VMs on two hosts might be given what is
    only one's; Foreign as `mark` does.
    """
    if not names.is_shared(there.tags):
        return False
    if not volumes.change(client, there, tags={names.TAG_SHARED: ""}):
        return False
    if names.is_shared(client.volume(names.address(there.global_id)).tags):
        raise errors.Conflict(
            f"volume {there.name}",
            "is still marked as shareable",
            "take the tag away by hand, and try again",
        )
    log.line("share_unmarked", volume=there.name, global_id=there.global_id)
    return True
