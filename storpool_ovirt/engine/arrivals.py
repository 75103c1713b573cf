"""A disk that comes to a VM has what an administrator has said of that VM before its host gets it.

What was said is in our table, of which no host knows: a disk that is plugged in later would leave
the VM with two policies, and VolumeCare ignores such a VM. Engine runs connect_volume before each
plug, and has written before which VM has the disk. It does so in a transaction of its own where it
attaches or adds one (AttachDiskToVmCommand, AddManagedBlockStorageDiskCommand); `is_plugged` comes
after the plug where the VM had it unplugged, or it was just added (HotPlugDiskToVmCommand, which
wants a VM that is up or paused). That is no interface, and may be out of reach: then the VM's next
start, or `policy sync`, writes it.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import vm_tags, volumes
from storpool_ovirt.engine import database, mapping, policies, tree
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.policy import levels, values

if TYPE_CHECKING:
    from storpool_ovirt.cluster import api

# As with the mark of a shareable disk: a server on the same machine answers in some milliseconds,
# and what it does not tell in time is written later.
SECONDS = 1.0
# VMStatus Up and Paused. Before a start Engine asks for disks too that the VM has not plugged in.
_PLUGGABLE = [1, 4]
_QUESTION = """
    SELECT v.vm_guid::text
    FROM base_disks b
    JOIN vm_device d ON d.device_id = b.disk_id AND d.snapshot_id IS NULL
    JOIN vm_static v ON v.vm_guid = d.vm_id AND v.entity_type = 'VM'
    LEFT JOIN vm_dynamic y ON y.vm_guid = v.vm_guid
    WHERE b.disk_id = %s::uuid AND NOT coalesce(b.shareable, false)
        AND (d.is_plugged OR y.status = ANY (%s))
"""


def silent_follow(work: tree.Work, node: mapping.Node, there: api.Volume) -> None:
    """Write to a volume that names no VM what was said of the VM that has its disk by Engine's own
    word; its VM's name the host writes. `there` is that volume.

    What that one says no more goes: a plug that failed may have left it. Whatever goes wrong is a
    line of the log.
    """
    if names.is_shared(there.tags):
        return
    try:
        vm = _vm(work, node.root)
        if vm is not None:
            _give(work, there, vm)
    except errors.Error as error:
        work.log.line("vm_policy_not_written", disk=node.root, reason=error)


def _vm(work: tree.Work, disk: str) -> str | None:
    """Return the one VM that has a disk, or is about to; None where it has none, or may have
    several."""
    limit = work.mapping.session.deadline.within(SECONDS)
    rows = database.ask_engine(work.root, work.log, limit, _QUESTION, disk, _PLUGGABLE)
    return str(rows[0][0]) if len(rows) == 1 else None


def _give(work: tree.Work, there: api.Volume, vm: str) -> None:
    row = policies.of(work.mapping, policies.VM, vm)
    said = {
        field: levels.Said(admin_vm=None if row is None else row.of(field))
        for field in values.FIELDS
    }
    key = work.domain.vm_tag
    written: dict[str, str] = {}
    left_out: list[str] = []

    def changed(now: api.Volume) -> dict[str, str]:
        written.clear()
        if names.is_shared(now.tags) or names.vm_of(now.tags, key):
            return written
        # As it fits beside the name of the VM, which the host writes
        found = levels.changes(now.name, now.tags, said, (key, vm))
        written.update((tag, value) for tag, value in found.tags.items() if tag != key)
        left_out[:] = found.left_out
        return written

    if changed(there):
        limit = work.mapping.session.deadline.within(vm_tags.SECONDS)
        if volumes.change(work.client.limited(limit), there, tags=changed):
            policy = {
                field: written[tag] or "-" for field, tag in values.TAG.items() if tag in written
            }
            work.log.line(
                "policy_set", volume=there.name, global_id=there.global_id, vm=vm, **policy
            )
    if left_out:
        work.log.line("tags_left_out", name=there.name, tags=",".join(left_out))
