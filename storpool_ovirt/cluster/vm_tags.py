"""The tag that names the VM of a volume: by it a snapshot of a VM finds all of its disks.

A host writes it where it makes a volume its own for a VM (`host/vm_policy.py`), and a preview moves
it (`engine/vm_tag.py`). A volume that several VMs may have carries none.
"""

from __future__ import annotations

from storpool_ovirt.light import NamedTuple

# A start, a plug and a preview wait no longer for the tag. Ours: two calls for each disk of a VM
# with many take less.
SECONDS = 5.0


class Tag(NamedTuple):
    """The key of the tag, empty where it cannot be used, and the VM; both empty where nobody knows
    the VM."""

    key: str
    vm: str


NONE = Tag("", "")
