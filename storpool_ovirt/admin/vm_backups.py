"""The backups of a VM: snapshots that others, VolumeCare above all, have made of its disks, those
of one moment together.

What a service has made is not told by a name or a tag that anybody could rely on. So it is what was
made of a volume of the VM's disk, by StorPool's own word, and is neither oVirt's nor the trash's. A
backup of VolumeCare's is one group of snapshots, of one moment, of all volumes of the VM.

StorPool does not tell which snapshots one request has made. So those of one moment are told apart
by who made them, as far as tags and names show that; where a disk has several all the same, nobody
guesses which of them belongs to those of the other disks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storpool_ovirt import errors, names, sentences, trash_names
from storpool_ovirt.admin import findings, one_disk, policy_targets, times
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, engine_policies, mapping, policies, reverts, tree

# StorPool tells whole seconds, and a group may be made while one ends.
MOMENT_SECONDS = 1.0
_VC_TAGS = "vc-"  # what the names of VolumeCare's tags begin with


@dataclass(frozen=True)
class Disk:
    """A disk of a VM's: its rows, that of the volume which the VM writes first, and their
    volumes."""

    uuid: str
    nodes: tuple[mapping.Node, ...]
    volumes: tuple[api.Volume, ...]

    @property
    def active(self) -> mapping.Node:
        """The row of the volume that the VM writes."""
        return self.nodes[0]


@dataclass(frozen=True)
class Moment:
    """What there is of one moment, in seconds since 1970: the snapshots of each of these disks, one
    where it is clear which."""

    at: float
    snapshots: Mapping[str, Sequence[api.Volume]]

    @property
    def stamp(self) -> str:
        """The moment as people type it."""
        return times.stamp(self.at)

    @property
    def goes_at(self) -> float:
        """When the first of its snapshots is deleted by StorPool; 0 where none is."""
        return min((each.goes_at for each in self.all() if each.goes_at), default=0.0)

    def all(self) -> list[api.Volume]:
        """Return the snapshots of all disks."""
        return [each for several in self.snapshots.values() for each in several]

    def unclear(self) -> list[str]:
        """Return the disks that have several snapshots, of which one may belong to those of the
        other disks."""
        return sorted(disk for disk, several in self.snapshots.items() if len(several) > 1)

    def is_whole(self, disks: Sequence[Disk]) -> bool:
        """Return whether it certainly is what all these disks had at one moment."""
        return not self.missing(disks) and not self.unclear()

    def missing(self, disks: Sequence[Disk]) -> list[str]:
        """Return the disks that it has nothing of."""
        return [each.uuid for each in disks if each.uuid not in self.snapshots]


@dataclass(frozen=True)
class Backups:
    """A VM, its disks, those that belong to no VM alone, and the moments of which there are
    backups, the latest first."""

    vm: policy_targets.Target
    disks: tuple[Disk, ...]
    shareable: tuple[str, ...]
    moments: tuple[Moment, ...]


def found(work: tree.Work, typed: str) -> policy_targets.Target:
    """Return the VM that is meant by an id or a name; raise Unnamed for a disk, NotFound where
    there is none that has a disk of this Engine's."""
    target = policy_targets.found(work, typed)
    if target.scope != policies.VM:
        raise errors.Unnamed(
            str(target), "is no VM", "give a VM's id or name: its disks are of one moment"
        )
    return target


def look(work: tree.Work, vm: policy_targets.Target) -> Backups:
    """Return the backups of a VM, as of now."""
    work.client.be_current()
    told = engine_policies.disks(work, vm.disks) or {}
    disks = [_disk(work, uuid) for uuid in vm.disks]
    shareable = {
        each.uuid
        for each in disks
        if (each.uuid in told and told[each.uuid].is_shareable)
        or any(there.tags.get(names.TAG_SHARED) for there in each.volumes)
    }
    own = tuple(each for each in disks if each.uuid not in shareable)
    return Backups(vm, own, tuple(sorted(shareable)), tuple(moments(work, vm.id, own)))


def moments(work: tree.Work, vm: str, disks: Sequence[Disk]) -> list[Moment]:
    """Return the moments of which others have snapshots of these disks, the latest first.

    What says of itself that it was made of another VM is none of this one's: a service takes many
    VMs' backups in the same second, and a disk may have been another's then.
    """
    mapped = {each.global_id for each in work.mapping.nodes("WHERE kind = 'snapshot'")}
    made = [
        (each, disk.uuid)
        for each in work.client.snapshots()
        if _is_of_others(each, mapped) and names.vm_of(each.tags, work.domain.vm_tag) in ("", vm)
        for disk in disks
        if any(each.was_made_of(volume) for volume in disk.volumes)
    ]
    by_maker: dict[object, list[tuple[api.Volume, str]]] = {}
    for each, disk in made:
        by_maker.setdefault(_maker(each), []).append((each, disk))
    found = [moment for each in by_maker.values() for moment in _of_one_time(each)]
    return sorted(found, key=lambda each: each.at, reverse=True)


def text(found: Backups, now: float) -> Iterator[str]:
    """Yield the lines for people."""
    many = sentences.counted(len(found.disks), "disk")
    yield f"{found.vm}: {many}, {sentences.counted(len(found.moments), 'backup')}"
    for uuid in found.shareable:
        yield f"  disk {uuid} may be other VMs' too, and is in no backup of this one"
    for each in found.moments:
        missing, unclear = each.missing(found.disks), each.unclear()
        of = "all disks" if not missing else f"not of {names.disks(missing)}"
        if unclear:
            several = names.disks(unclear)
            of = f"several snapshots of {several}, so it is not clear which belong together"
        until = f", until {times.stamp(each.goes_at)}" if each.goes_at else ""
        yield f"  {each.stamp} ({times.span(now - each.at)} ago): {of}{until}"


def document(found: Backups) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    return {
        "vm": found.vm.id,
        "name": found.vm.name or None,
        "disks": [each.uuid for each in found.disks],
        "shareable": list(found.shareable),
        "backups": [_facts(each, found.disks) for each in found.moments],
    }


def _facts(moment: Moment, disks: Sequence[Disk]) -> dict[str, Any]:
    return {
        "at": moment.stamp,
        "is_whole": moment.is_whole(disks),
        "goes_at": times.stamp(moment.goes_at) if moment.goes_at else None,
        "snapshots": [
            {
                "disk": disk,
                "global_id": there.global_id,
                "name": there.name,
                "size_bytes": there.size_bytes,
                "size": findings.gib(there.size_bytes),
                "tags": dict(there.tags),
            }
            for disk, several in sorted(moment.snapshots.items())
            for there in several
        ],
    }


def _disk(work: tree.Work, uuid: str) -> Disk:
    nodes = [
        each
        for each in work.mapping.tree(uuid)
        if each.kind == "volume" and each.state == mapping.LIVE
    ]
    root = next((each for each in nodes if each.uuid == uuid), None)
    active = (root.active if root is not None else None) or uuid
    nodes.sort(key=lambda each: each.uuid != active)
    there = [
        each
        for each in one_disk.objects(work.client, nodes)
        if any(
            each.global_id == node.global_id
            or reverts.is_its_volume(each, node, work.mapping.location)
            for node in nodes
        )
    ]
    if not nodes:
        raise errors.Conflict(f"disk {uuid}", "was never finished", "delete it in oVirt")
    return Disk(uuid, tuple(nodes), tuple(there))


def _is_of_others(there: api.Volume, mapped: set[str | None]) -> bool:
    """Return whether a snapshot is there to stay, and neither oVirt's nor the trash's."""
    return not (
        candidates.is_fleeting(there)
        or there.global_id in mapped
        or names.uuid_of(there.name)
        or trash_names.entry_of(there.name)
    )


def _maker(there: api.Volume) -> tuple[bool, frozenset[tuple[str, str]]]:
    """Return what tells the snapshots of one maker from another's: whether somebody gave it its
    name, and VolumeCare's tags, of which all of a group have the same."""
    is_named = not (there.name.startswith("~") or there.name.rpartition("@")[2].isdigit())
    return is_named, frozenset(pair for pair in there.tags.items() if pair[0].startswith(_VC_TAGS))


def _of_one_time(made: Iterable[tuple[api.Volume, str]]) -> Iterator[Moment]:
    """Yield the moments of snapshots, each given with its disk, that one maker may have made."""
    groups: list[dict[str, list[api.Volume]]] = []
    last = 0.0
    for there, disk in sorted(made, key=lambda each: (each[0].created_at, each[0].serial, each[1])):
        if not groups or there.created_at > last + MOMENT_SECONDS:
            groups.append({})
        groups[-1].setdefault(disk, []).append(there)
        last = there.created_at
    for each in groups:
        yield Moment(min(one.created_at for several in each.values() for one in several), each)
