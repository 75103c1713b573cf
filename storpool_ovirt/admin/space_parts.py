"""What somebody asked of the account of space: all of it, one disk, a VM's disks, the trash, what
is others'; each as facts for programs (`document`), which docs/space.md describes.

Names are Engine's own, where its database tells them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from storpool_ovirt import errors
from storpool_ovirt.admin import snapshots_text, space, times
from storpool_ovirt.admin.space import Seen, Sum, Tree
from storpool_ovirt.admin.space_roles import OF_A_DISK, ROLES, Thing
from storpool_ovirt.engine import engine_names, tree

ENGINE, TAG = "engine", "tag"


@dataclass(frozen=True)
class All:
    """The account of everything, with the disks that store most, of `disks` in all."""

    seen: Seen
    largest: Sequence[Tree]
    disks: int
    names: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the facts."""
        things = self.seen.things
        return {
            **head(self.seen),
            "totals": _roles(space.sums(things)),
            "stored_bytes": sum(each.stored_bytes for each in things),
            "used_by_volumes_bytes": self.seen.used_bytes,
            "overhead_bytes": self.seen.overhead_bytes,
            "templates": templates(self.seen),
            "disks": self.disks,
            "largest": [_tree(each, self.names) for each in self.largest],
        }


@dataclass(frozen=True)
class Disk:
    """One disk with all its objects; `names` has its own, and those of its snapshots."""

    seen: Seen
    tree: Tree
    names: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the facts."""
        found = _tree(self.tree, self.names)
        nodes = (*self.tree.own, *self.tree.kept, *self.tree.trash)
        return {
            **head(self.seen),
            "disk": {**found, "nodes": [_node(each, self.names) for each in nodes]},
        }


@dataclass(frozen=True)
class Vm:
    """The disks of a VM; `source` is who says that it has them: Engine, or the tag of their
    volumes."""

    seen: Seen
    vm: str
    name: str
    source: str
    trees: Sequence[Tree]
    names: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the facts."""
        return {
            **head(self.seen),
            "vm": {"vm": self.vm, "name": self.name or None, "told_by": self.source},
            "stored_bytes": sum(each.stored_bytes for each in self.trees),
            "disks": [_tree(each, self.names) for each in self.trees],
        }


@dataclass(frozen=True)
class Trash:
    """What is in the trash, and what is freed at least without it."""

    seen: Seen
    things: Sequence[Thing]
    freed_bytes: int

    def document(self) -> dict[str, Any]:
        """Return the facts."""
        return {
            **head(self.seen),
            "trash": {**_sum(self.sum), "freed_bytes": self.freed_bytes},
            "entries": [_node(each, {}) for each in self.things],
        }

    @property
    def sum(self) -> Sum:
        """All of it together."""
        return _together(self.things)


@dataclass(frozen=True)
class Others:
    """What is others', by owner, and their objects that store most."""

    seen: Seen
    owners: Mapping[str, Sum]
    things: Sequence[Thing] = field(default_factory=tuple)

    def document(self) -> dict[str, Any]:
        """Return the facts."""
        return {
            **head(self.seen),
            "owners": [{"owner": each or None, **_sum(has)} for each, has in self.owners.items()],
            "largest": [_node(each, {}) for each in self.things],
        }


Part = Union[All, Disk, Vm, Trash, Others]


def of_all(work: tree.Work, seen: Seen, most: int) -> All:
    """Return the account of everything with so many of the largest disks; 0 is for all."""
    largest, disks = space.largest(seen, most)
    return All(seen, largest, disks, engine_names.of_disks(work, {each.disk for each in largest}))


def of_disk(work: tree.Work, seen: Seen, uuid: str) -> Disk:
    """Return one disk, by its id or that of anything of it; raise NotFound for none of ours."""
    [found] = space.trees(seen, [space.disk_of(seen, uuid)])
    snapshots = {each.uuid for each in found.own if each.kind == "snapshot"}
    called = {
        **engine_names.of_snapshots(work, snapshots),
        **engine_names.of_disks(work, [found.disk]),
    }
    return Disk(seen, found, called)


def of_vm(work: tree.Work, seen: Seen, vm: str) -> Vm:
    """Return the disks of a VM; raise NotFound for one that has none here."""
    devices = engine_names.disks_of(work, vm)
    disks = space.disks_of_vm(seen, vm, devices)
    source = TAG if devices is None else ENGINE
    if not disks and source == ENGINE:  # the database that was found may be of another Engine
        disks, source = space.disks_of_vm(seen, vm, None), TAG
    if not disks:
        raise errors.Mistyped(
            "disk", f"of VM {vm}", f"in the StorPool cluster: {snapshots_text.WHERE_VM_IDS_ARE}"
        )
    called = engine_names.of_disks(work, disks)
    found = space.trees(seen, disks)
    return Vm(seen, vm, engine_names.of_vm(work, vm), source, found, called)


def of_trash(seen: Seen) -> Trash:
    """Return what is in the trash."""
    return Trash(seen, *space.of_trash(seen))


def of_others(seen: Seen, most: int) -> Others:
    """Return what is others', with so many of their largest objects; 0 is for all."""
    return Others(seen, *space.of_others(seen, most))


def head(seen: Seen) -> dict[str, Any]:
    """Return whose account it is, and of when."""
    return {
        "api": seen.api_address,
        "database": seen.database,
        "location": seen.location,
        "looked_at": times.stamp(seen.scans[0].at),
        "scans": [
            {
                "query": each.query,
                "at": times.stamp(each.at),
                "seconds": round(each.seconds, 3),
                "objects": each.objects,
            }
            for each in seen.scans
        ],
        "unseen": seen.unseen,
        "elsewhere": seen.elsewhere,
    }


def templates(seen: Seen) -> list[dict[str, Any]]:
    """Return what each template has in all, and who stores what in it; those of one cluster, and
    what is in others without numbers of theirs."""
    stored = space.by_template(seen.things)
    known = {each.name: each for each in seen.templates}
    found = []
    for name in sorted({*stored, *known}):
        there, has = known.get(name), stored.get(name, {})
        found.append(
            {
                "template": name or None,
                "capacity_bytes": None if there is None else there.capacity_bytes,
                "free_bytes": None if there is None else there.free_bytes,
                "provisioned_bytes": None if there is None else there.provisioned_bytes,
                "ours_stored_bytes": sum(
                    each.stored_bytes for role, each in has.items() if role in OF_A_DISK
                ),
                "totals": _roles({role: has.get(role, Sum()) for role in ROLES}),
            }
        )
    return found


def _roles(found: Mapping[str, Sum]) -> dict[str, Any]:
    return {role: _sum(each) for role, each in found.items()}


def _together(things: Sequence[Thing]) -> Sum:
    found = Sum()
    for each in things:
        found = found.with_(each)
    return found


def _sum(found: Sum) -> dict[str, Any]:
    return found._asdict()


def _tree(found: Tree, called: Mapping[str, str]) -> dict[str, Any]:
    volume = found.volume
    return {
        "disk": found.disk,
        "name": called.get(found.disk),
        "size_bytes": None if volume is None else volume.size_bytes,
        "used_bytes": found.used_bytes,
        "stored_bytes": found.stored_bytes,
        "volumes": _sum(_together([each for each in found.own if each.kind == "volume"])),
        "snapshots": _sum(_together([each for each in found.own if each.kind == "snapshot"])),
        "kept": _sum(_together(found.kept)),
        "trash": _sum(_together(found.trash)),
        "freed_bytes": found.freed_bytes,
    }


def _node(each: Thing, called: Mapping[str, str]) -> dict[str, Any]:
    is_volume = each.kind == "volume"
    return {
        "role": each.role,
        "kind": each.kind,
        "uuid": each.uuid or None,
        "disk": each.disk or None,
        "name": called.get(each.uuid) or None,
        "storpool_name": each.called,
        "global_id": each.global_id,
        "template": each.template or None,
        "cluster_id": each.cluster_id,
        "owner": each.owner or None,
        "vm": each.vm or None,
        "size_bytes": each.size_bytes,
        "stored_bytes": each.stored_bytes,
        "used_bytes": each.used_bytes if is_volume else None,
        "freed_bytes": None if is_volume else each.used_bytes,
        "created_at": times.stamp(each.created_at) if each.created_at else None,
        "goes_at": times.stamp(each.goes_at) if each.goes_at else None,
        "mapped": each.mapped,
    }
