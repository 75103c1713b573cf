"""What Engine's own database says of disks, VMs and their custom properties, read only.

`base_disks` has the disks, `vm_device` which a VM has plugged in, and `vm_static` how VMs are
called and their properties, as `key=value;key=value` (ovirt-engine, create_tables.sql and its
CustomPropertiesUtils: so no value has a `;`). That is no interface, and may be out of reach: then
nobody says anything, which is told as None.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from storpool_ovirt import names, option_values
from storpool_ovirt.engine import engine_tables, tree
from storpool_ovirt.policy import properties

_UNKNOWN = "engine_policies_unknown"
# A disk of a template is no VM's, and one that another VM's snapshot shows is none of that VM's.
_PLUGGED = "d.is_plugged AND d.snapshot_id IS NULL AND v.entity_type = 'VM'"
_DISKS = f"""
    SELECT b.disk_id::text, coalesce(b.disk_alias, ''), coalesce(b.shareable, false),
        v.vm_guid::text, v.vm_name, coalesce(v.userdefined_properties, '')
    FROM base_disks b
    LEFT JOIN (vm_device d JOIN vm_static v ON v.vm_guid = d.vm_id)
        ON d.device_id = b.disk_id AND {_PLUGGED}
    WHERE b.disk_id = ANY (%s::uuid[])
"""
_OF_VM = f"""
    SELECT d.device_id::text FROM vm_device d JOIN vm_static v ON v.vm_guid = d.vm_id
    WHERE v.vm_guid = %s::uuid AND {_PLUGGED}
"""
_WITH_PROPERTIES = f"""
    SELECT DISTINCT d.device_id::text FROM vm_device d JOIN vm_static v ON v.vm_guid = d.vm_id
    WHERE v.userdefined_properties LIKE ANY (%s) AND {_PLUGGED}
"""
_NAMED = """
    SELECT 'vm', vm_guid::text FROM vm_static WHERE vm_name = %s AND entity_type = 'VM'
    UNION ALL SELECT 'disk', disk_id::text FROM base_disks WHERE disk_alias = %s
    ORDER BY 1, 2
"""
_NAMES = """
    SELECT vm_name FROM vm_static WHERE entity_type = 'VM'
    UNION SELECT disk_alias FROM base_disks WHERE disk_alias <> '' LIMIT %s
"""
_NAMES_MAX = 20_000  # to look through more takes longer than to look it up
_VMS = "SELECT vm_guid::text FROM vm_static WHERE vm_guid = ANY (%s::uuid[])"
_VM = "SELECT vm_name FROM vm_static WHERE vm_guid = %s::uuid AND entity_type = 'VM'"


class Vm(NamedTuple):
    """A VM: its id, its name, and its custom properties."""

    id: str
    name: str
    properties: Mapping[str, str]


class Disk(NamedTuple):
    """A disk: how it is called, whether several VMs may have it, and which have it plugged in."""

    alias: str
    is_shareable: bool
    vms: tuple[Vm, ...]

    @property
    def vm(self) -> Vm | None:
        """The one VM that has it, None where it has none or may have several."""
        return self.vms[0] if len(self.vms) == 1 and not self.is_shareable else None


class Named(NamedTuple):
    """What has a name: the ids of VMs, and of disks."""

    vms: tuple[str, ...]
    disks: tuple[str, ...]


def disks(work: tree.Work, uuids: Collection[str]) -> Mapping[str, Disk] | None:
    """Return what Engine says of those of these disks that it has; None where it cannot be
    asked."""
    if not uuids:
        return {}
    rows = engine_tables.silent_asked(work, _UNKNOWN, _DISKS, sorted(uuids))
    if rows is None:
        return None
    found: dict[str, Disk] = {}
    vms: dict[str, Vm] = {}
    for uuid, alias, is_shareable, vm, name, said in rows:
        known = found.get(uuid, Disk(alias, is_shareable, ()))
        if vm is not None and vm not in vms:
            vms[vm] = Vm(vm, name, parsed(said))
        more = (vms[vm],) if vm is not None else ()
        found[uuid] = known._replace(vms=(*known.vms, *more))
    return found


def disks_of(work: tree.Work, vm: str) -> frozenset[str] | None:
    """Return the ids of what a VM has plugged in; None where Engine cannot be asked."""
    rows = engine_tables.silent_asked(work, _UNKNOWN, _OF_VM, vm)
    return None if rows is None else frozenset(uuid for (uuid,) in rows)


def with_properties(work: tree.Work) -> frozenset[str] | None:
    """Return the ids of what VMs have plugged in that have a property of ours; None where Engine
    cannot be asked."""
    rows = engine_tables.silent_asked(
        work, _UNKNOWN, _WITH_PROPERTIES, [f"%{each}=%" for each in properties.NAME.values()]
    )
    return None if rows is None else frozenset(uuid for (uuid,) in rows)


def named(work: tree.Work, name: str) -> Named | None:
    """Return what has this name; None where Engine cannot be asked."""
    rows = engine_tables.silent_asked(work, _UNKNOWN, _NAMED, name, name)
    if rows is None:
        return None
    return Named(*(tuple(uuid for kind, uuid in rows if kind == each) for each in ("vm", "disk")))


def near(work: tree.Work, name: str) -> str | None:
    """Return the name that was meant by one that nothing has; None where none is like it, or
    Engine cannot be asked."""
    rows = engine_tables.silent_asked(work, _UNKNOWN, _NAMES, _NAMES_MAX)
    known = {str(each): None for (each,) in rows or ()}
    same = (each for each in known if each.lower() == name.lower())
    return next(same, None) or option_values.nearest(name, known)


def vm_name(work: tree.Work, vm: str) -> str | None:
    """Return the name of a VM, "" where Engine has none of this id; None where it cannot be
    asked."""
    rows = engine_tables.silent_asked(work, _UNKNOWN, _VM, vm)
    return None if rows is None else next((str(name) for (name,) in rows), "")


def without(work: tree.Work, vms: Collection[str]) -> frozenset[str]:
    """Return those of these ids of which Engine says that it has no VM; none where it cannot be
    asked."""
    wanted = {each for each in vms if names.UUID.fits(each)}
    rows = engine_tables.silent_asked(work, _UNKNOWN, _VMS, sorted(wanted)) if wanted else None
    return frozenset() if rows is None else frozenset(wanted - {uuid for (uuid,) in rows})


def parsed(text: str) -> dict[str, str]:
    """Return custom properties as Engine stores them; what is none is left out."""
    pairs = (each.partition("=") for each in text.split(";"))
    return {key: value for key, mark, value in pairs if mark}
