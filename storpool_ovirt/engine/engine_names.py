"""How people call disks, snapshots and VMs, by Engine's own database, read only.

The names are in its tables `base_disks`, `images` with `snapshots`, and `vm_static`, and which
disks a VM has in `vm_device` (oVirt's dbscripts, create_tables.sql). That is no interface, and may
be out of reach: nothing rests on it but what is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from storpool_ovirt.engine import engine_tables, tree

_DISKS = "SELECT disk_id::text, disk_alias FROM base_disks WHERE disk_id = ANY (%s::uuid[])"
_SNAPSHOTS = """
    SELECT i.image_guid::text, s.description
    FROM images i JOIN snapshots s ON s.snapshot_id = i.vm_snapshot_id
    WHERE i.image_guid = ANY (%s::uuid[]) AND NOT i.active
"""
_VMS = "SELECT vm_guid::text, vm_name FROM vm_static WHERE vm_guid = ANY (%s::uuid[])"
_DISKS_OF = "SELECT device_id::text, '' FROM vm_device WHERE vm_id = ANY (%s::uuid[])"


def of_disks(work: tree.Work, uuids: Collection[str]) -> Mapping[str, str]:
    """Return the aliases of those of these disks that Engine has; nothing where it cannot be
    asked."""
    return _named(work, _DISKS, uuids) or {}


def of_snapshots(work: tree.Work, uuids: Collection[str]) -> Mapping[str, str]:
    """Return the descriptions of the VMs' snapshots of which these are; nothing where Engine cannot
    be asked."""
    return _named(work, _SNAPSHOTS, uuids) or {}


def of_vm(work: tree.Work, vm: str) -> str:
    """Return the name of a VM; "" where Engine has none, or cannot be asked."""
    return (_named(work, _VMS, [vm]) or {}).get(vm, "")


def disks_of(work: tree.Work, vm: str) -> frozenset[str] | None:
    """Return the ids of all devices of a VM, its disks among them; None where Engine cannot be
    asked."""
    found = _named(work, _DISKS_OF, [vm])
    return None if found is None else frozenset(found)


def _named(work: tree.Work, question: str, uuids: Collection[str]) -> dict[str, str] | None:
    if not uuids:
        return {}
    rows = engine_tables.silent_asked(work, "names_unknown", question, sorted(uuids))
    if rows is None:
        return None
    return {uuid: str(name or "") for uuid, name in rows}
