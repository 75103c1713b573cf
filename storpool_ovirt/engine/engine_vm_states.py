"""Whether VMs are down, and which disks they have plugged in, by Engine's own database, read only.

`vm_dynamic` has the status (oVirt's enum VMStatus), `vm_device` and `base_disks` which disks a VM
has (ovirt-engine, create_tables.sql). That is no interface: who has to know refuses where it cannot
be read.
"""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt import errors
from storpool_ovirt.engine import database, engine_tables, tree

_VM = """
    SELECT s.vm_guid::text, s.vm_name, y.status, y.run_on_vds::text
    FROM vm_static s LEFT JOIN vm_dynamic y ON y.vm_guid = s.vm_guid
    WHERE s.vm_guid = %s::uuid AND s.entity_type = 'VM'
"""
_VMS_OF = """
    SELECT DISTINCT s.vm_guid::text, s.vm_name, y.status, y.run_on_vds::text
    FROM vm_device d JOIN vm_static s ON s.vm_guid = d.vm_id
        LEFT JOIN vm_dynamic y ON y.vm_guid = s.vm_guid
    WHERE d.device_id = %s::uuid AND d.is_plugged AND d.snapshot_id IS NULL
        AND s.entity_type = 'VM'
    ORDER BY 2
"""
_DISKS = """
    SELECT b.disk_id::text, coalesce(b.disk_alias, ''), coalesce(b.shareable, false)
    FROM vm_device d JOIN base_disks b ON b.disk_id = d.device_id
    WHERE d.vm_id = %s::uuid AND d.is_plugged AND d.snapshot_id IS NULL
    ORDER BY 1
"""
_EVERY_DISK = """
    SELECT b.disk_id::text, coalesce(b.disk_alias, ''), coalesce(b.shareable, false)
    FROM vm_static s LEFT JOIN (
        vm_device d JOIN base_disks b ON b.disk_id = d.device_id AND d.snapshot_id IS NULL
    ) ON d.vm_id = s.vm_guid
    WHERE s.vm_guid = %s::uuid AND s.entity_type = 'VM'
    ORDER BY 1
"""
# oVirt's VMStatus; one that is suspended goes on where it was, with what it knows of its disks.
_DOWN = 0
_STATUS = {
    -1: "unassigned",
    0: "down",
    1: "up",
    2: "powering up",
    4: "paused",
    5: "migrating",
    6: "migrating",
    7: "of a status that Engine does not know",
    8: "not responding",
    9: "about to start",
    10: "rebooting",
    11: "saving its state",
    12: "restoring its state",
    13: "suspended",
    14: "of illegal images",
    15: "locked",
    16: "powering down",
}


class Vm(NamedTuple):
    """A VM, with its status as Engine has it, None where it has none."""

    id: str
    name: str
    status: int | None
    host: str | None

    @property
    def is_down(self) -> bool:
        """Whether it runs nowhere, and has kept nothing of a run."""
        return self.status == _DOWN and self.host is None

    def __str__(self) -> str:
        return f"VM {self.id} ({self.name})"

    def check_down(self) -> None:
        """Raise Conflict unless it is down."""
        if not self.is_down:
            status = "without a status" if self.status is None else _said(self.status)
            on = " on a host" if self.status == _DOWN else ""
            raise errors.Conflict(
                str(self),
                f"is {status}{on} in oVirt",
                "shut it down there first; what a suspended VM has saved has to be discarded",
            )


class Disk(NamedTuple):
    """A disk that a VM has; a shareable one is of no VM alone."""

    id: str
    alias: str
    is_shareable: bool


def vm(work: tree.Work, uuid: str) -> Vm:
    """Return a VM.

    Raises NotFound where Engine has none of this id, Conflict where its database cannot be read.
    """
    for row in _asked(work, _VM, uuid):
        return Vm._make(row)
    raise errors.NotFound("VM", uuid, "in Engine's database")


def disks(work: tree.Work, uuid: str) -> list[Disk]:
    """Return the disks that a VM has plugged in. Raises Conflict where Engine's database cannot be
    read."""
    return [Disk._make(row) for row in _asked(work, _DISKS, uuid)]


def every_disk(work: tree.Work, uuid: str) -> list[Disk] | None:
    """Return all disks that a VM has, plugged in or not, but for what it is shown through a
    snapshot of another one's; None where Engine does not know the VM, or its database cannot be
    read."""
    rows = engine_tables.silent_asked(work, "vm_disks_unknown", _EVERY_DISK, uuid)
    return [Disk._make(row) for row in rows if row[0] is not None] if rows else None


def check_down_where_known(work: tree.Work, disk: str) -> None:
    """Raise Conflict where a VM that has a disk plugged in is not down; nothing where Engine's
    database cannot be read."""
    try:
        found = _read(work, _VMS_OF, disk)
    except errors.Error as error:
        work.log.line("vm_status_unknown", disk=disk, reason=error)
        return
    for row in found:
        Vm._make(row).check_down()


def _said(status: int) -> str:
    return _STATUS.get(status, f"of the status {status}, which is not known here,")


def _asked(work: tree.Work, question: str, uuid: str) -> list[tuple[object, ...]]:
    try:
        return _read(work, question, uuid)
    except errors.Error as error:
        raise errors.Conflict(
            f"VM {uuid}",
            "may be up: Engine's own database, which knows, cannot be read here"
            f" ({str(error).rstrip('.')})",
            "run this on Engine's machine, as user ovirt or root",
        ) from error


def _read(work: tree.Work, question: str, uuid: str) -> list[tuple[object, ...]]:
    limit = work.mapping.session.deadline.within(engine_tables.READ_SECONDS)
    return database.ask_engine(work.root, work.log, limit, question, uuid)
