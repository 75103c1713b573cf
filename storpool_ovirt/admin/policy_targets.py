"""What a person means by DISK or VM: an id, or a name that Engine has for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.engine import engine_policies, mapping, policies, tree

_SHOWN = 5  # ids that one sentence names
_KINDS = {policies.DISK: "disk", policies.VM: "VM"}
_BOTH = (policies.DISK, policies.VM)


class Target(NamedTuple):
    """A disk or a VM (`policies.DISK`, `policies.VM`), how it is called where that is known, and
    the ids of its disks."""

    scope: str
    id: str
    name: str
    disks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_KINDS[self.scope]} {self.id}" + (f" ({self.name})" if self.name else "")


def found(work: tree.Work, typed: str) -> Target:
    """Return the disk or the VM that is meant, with its disks; raise Mistyped for what names none,
    Unnamed where a name is that of several, or cannot be looked up here."""
    said = typed.strip()
    if names.UUID.fits(said.lower()):
        return _of_id(work, _checked(said))
    scope, uuid = _named(work, said, _BOTH)
    return _of_vm(work, uuid) if scope == policies.VM else _of_id(work, uuid)


def id_of(work: tree.Work, typed: str, *scopes: str) -> str:
    """Return the id that is meant: one as it is, whatever it is of; by its name that of a disk or a
    VM, or of one of these alone. Raises as `found` does for a name."""
    said = typed.strip()
    if names.UUID.fits(said.lower()):
        return _checked(said)
    return _named(work, said, scopes or _BOTH)[1]


def node(work: tree.Work, typed: str) -> mapping.Node:
    """Return the row of a disk that is meant by its name, or of a disk, a snapshot or a preview by
    its id. Raises as `found` does."""
    return known(work, id_of(work, typed, policies.DISK))


def known(work: tree.Work, uuid: str) -> mapping.Node:
    """Return the row of what a person has named by its id; raise Mistyped where there is none."""
    try:
        return tree.known(work, uuid)
    except errors.NotFound as error:
        raise errors.Mistyped(error.kind, error.name, error.where) from error


def _checked(said: str) -> str:
    try:
        return names.uuid(said, "it")
    except errors.InputError as error:
        raise errors.Unnamed(names.shown(said), error.why, error.advice) from error


def _named(work: tree.Work, said: str, scopes: Sequence[str]) -> tuple[str, str]:
    """Return what the one thing is that Engine calls so, and its id."""
    kinds = " or ".join(_KINDS[each] for each in scopes)
    known = engine_policies.named(work, said)
    if known is None:
        raise errors.Unnamed(
            names.shown(said),
            "is no UUID, and Engine's database, which has the names, cannot be read here",
            f"give the id of the {' or of the '.join(_KINDS[each] for each in scopes)}, or run this"
            " on Engine's machine as user ovirt",
        )
    by_scope = {policies.VM: known.vms, policies.DISK: known.disks}
    ids = [(scope, uuid) for scope in scopes for uuid in by_scope[scope]]
    if len(ids) > 1:
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        several = " and ".join(f"{_KINDS[each]}s" for each in scopes)
        shown = ", ".join(uuid for _, uuid in ids[:_SHOWN])
        raise errors.Unnamed(
            names.shown(said),
            f"is the name of {len(ids)} {several}: {shown}{more}",
            "give the id of one",
        )
    if not ids:
        near = engine_policies.near(work, said)
        meant = f": do you mean {names.shown(near)}?" if near and near != said else ""
        raise errors.Mistyped(kinds, names.shown(said), f"in Engine's database{meant}")
    return ids[0]


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
    row = work.mapping.node(uuid)
    if row is None:
        return _of_vm(work, uuid)
    told = (engine_policies.disks(work, [row.root]) or {}).get(row.root)
    return Target(policies.DISK, row.root, told.alias if told else "", (row.root,))


def _of_vm(work: tree.Work, uuid: str) -> Target:
    disks = disks_of_vm(work, uuid)
    name = engine_policies.vm_name(work, uuid) or ""
    if not disks and name:
        raise errors.NotFound("disk on StorPool", f"plugged into VM {uuid} ({name})")
    if not disks:
        where = "in the mapping database, and no disk of this Engine's is plugged into such a VM"
        raise errors.Mistyped("disk or VM", uuid, where)
    return Target(policies.VM, uuid, name, disks)
