"""What a person means by DISK or VM: an id, or a name that Engine has for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.engine import engine_policies, policies, tree

_SHOWN = 5  # ids that one sentence names


class Target(NamedTuple):
    """A disk or a VM (`policies.DISK`, `policies.VM`), how it is called where that is known, and
    the ids of its disks."""

    scope: str
    id: str
    name: str
    disks: tuple[str, ...]

    def __str__(self) -> str:
        kind = "disk" if self.scope == policies.DISK else "VM"
        return f"{kind} {self.id}" + (f" ({self.name})" if self.name else "")


def found(work: tree.Work, typed: str) -> Target:
    """Return what is meant; raise NotFound, or InputError where a name is that of several."""
    said = typed.strip()
    if names.UUID.fits(said.lower()):
        return _of_id(work, said.lower())
    known = engine_policies.named(work, said)
    if known is None:
        raise errors.InputError(
            names.shown(said),
            "is no UUID, and Engine's database, which has the names, cannot be read here",
            "give the id of the disk or of the VM, or run this on Engine's machine as user ovirt",
        )
    ids = (*known.vms, *known.disks)
    if len(ids) > 1:
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        raise errors.InputError(
            names.shown(said),
            f"is the name of {len(ids)} disks and VMs: {', '.join(ids[:_SHOWN])}{more}",
            "give the id of one",
        )
    if not ids:
        near = engine_policies.near(work, said)
        meant = f": do you mean {names.shown(near)}?" if near else ""
        raise errors.NotFound("disk or VM", names.shown(said), f"in Engine's database{meant}")
    return _of_vm(work, ids[0]) if known.vms else _of_id(work, ids[0])


def said_of(work: tree.Work, typed: str) -> Target:
    """Return what is meant, as `found` does; also a disk or a VM that is gone, by its id, of which
    something was said: without disks then."""
    try:
        return found(work, typed)
    except errors.NotFound:
        uuid = typed.strip().lower()
        scopes = (policies.DISK, policies.VM) if names.UUID.fits(uuid) else ()
        for scope in scopes:
            if policies.of(work.mapping, scope, uuid) is not None:
                return Target(scope, uuid, "", ())
        raise


def disks_of_vm(work: tree.Work, vm: str) -> tuple[str, ...]:
    """Return the disks of this Engine's that a VM has: by Engine's word, and where that cannot be
    had by the tag of their volumes."""
    devices: Collection[str] | None = engine_policies.disks_of(work, vm)
    if devices is None:
        devices = {
            names.root_of(each.tags) or each.tags.get(names.TAG_UUID, "")
            for each in work.client.volumes()
            if names.vm_of(each.tags, work.domain.vm_tag) == vm
            and each.tags.get(names.TAG_LOCATION) == work.mapping.location
        }
    wanted = sorted(each for each in devices if names.UUID.fits(each))
    rows = work.mapping.nodes("WHERE uuid = root AND uuid = ANY (%s::uuid[])", wanted)
    return tuple(sorted(each.uuid for each in rows))


def _of_id(work: tree.Work, uuid: str) -> Target:
    node = work.mapping.node(uuid)
    if node is None:
        return _of_vm(work, uuid)
    told = (engine_policies.disks(work, [node.root]) or {}).get(node.root)
    return Target(policies.DISK, node.root, told.alias if told else "", (node.root,))


def _of_vm(work: tree.Work, uuid: str) -> Target:
    disks = disks_of_vm(work, uuid)
    name = engine_policies.vm_name(work, uuid) or ""
    if not disks and name:
        raise errors.NotFound("disk on StorPool", f"plugged into VM {uuid} ({name})")
    if not disks:
        where = "in the mapping database, and no disk of this Engine's is plugged into such a VM"
        raise errors.NotFound("disk or VM", uuid, where)
    return Target(policies.VM, uuid, name, disks)
