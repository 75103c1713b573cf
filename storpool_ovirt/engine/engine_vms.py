"""Which disks a VM has by Engine's own database, read only.

Engine asks for a snapshot of each disk for which its table `vm_device` has a row of the VM (oVirt's
dbscripts, create_tables.sql: `device_id` is the id of the disk). That is no interface, and may be
out of reach: it only spares looks at disks of other VMs.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.engine import database, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

# A server on the same machine answers in some milliseconds, and a guest is frozen.
SECONDS = 1.0
_QUESTION = """
    SELECT device_id::text FROM vm_device WHERE vm_id = %s::uuid AND device_id = ANY (%s::uuid[])
"""


def disks(work: tree.Work, vm: str, disks: Collection[str]) -> frozenset[str] | None:
    """Return those of these disks that a VM has by Engine's word; None where that is not told."""
    try:
        limit = work.mapping.session.deadline.within(SECONDS)
        rows = database.ask_engine(work.root, work.log, limit, _QUESTION, vm, sorted(disks))
    except errors.Error as error:
        work.log.line("vm_disks_unknown", vm=vm, reason=error)
        return None
    return frozenset(disk for (disk,) in rows)
