"""The tag that names the VM of a volume: by it a snapshot of a VM finds all of its disks.

A host writes it where it makes a volume its own for a VM. Nothing depends on it but that snapshot,
which asks who has the volume as well, so whatever goes wrong here is a line of the log: no start is
refused for it, no verb fails, and the next start writes what is missing. A volume that several VMs
may have carries none.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

# A start, a plug and a preview wait no longer for the tag. Ours: two calls for each disk of a VM
# with many take less.
SECONDS = 5.0


class Tag(NamedTuple):
    """The key of the tag, and the VM; both empty where nobody knows the VM."""

    key: str
    vm: str


NONE = Tag("", "")


def silent_follow(
    client: api.Client,
    host: attachments.HostSide,
    tag: Tag,
    alone: Sequence[api.Volume] = (),
    not_its: Sequence[api.Volume] = (),
) -> None:
    """Have the volumes that are the VM's `alone` name it, and those that are `not_its` name none;
    one request for each that differs, none else.

    Only what carries a mark of ours is written: no snapshot of a VM has anything else.
    """
    if tag == NONE:
        return
    wanted = [(there, tag.vm) for there in alone] + [(there, "") for there in not_its]
    left = [
        (there, vm)
        for there, vm in wanted
        if there.tags.get(tag.key, "") != vm and names.is_own_mark(there.name, there.tags)
    ]
    if not left:
        return
    brief = client.limited(host.deadline.within(SECONDS))
    for there, vm in left:
        if not silent_write(brief, there, Tag(tag.key, vm), host.log):
            break


def silent_write(client: api.Client, there: api.Volume, tag: Tag, log: Log) -> bool:
    """Have a volume name this VM, or none; return false where it is of no use to go on with
    others."""
    try:
        write(client, there, tag, log)
    except errors.Error as error:
        log.line(
            "vm_not_tagged",
            volume=there.name,
            global_id=there.global_id,
            vm=tag.vm or "-",
            reason=error,
        )
        return not isinstance(error, errors.Unavailable)
    return True


def write(client: api.Client, there: api.Volume, tag: Tag, log: Log) -> None:
    """Have a volume name this VM, or none. Raises what `volumes.change` does."""
    if volumes.change(client, there, tags={tag.key: tag.vm}):
        log.line("vm_tagged", volume=there.name, global_id=there.global_id, vm=tag.vm or "-")
