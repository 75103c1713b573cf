"""What takes space in a cluster, and whose it is: StorPool's two accounts, of all volumes and of
all snapshots, beside the mapping.

StorPool looks at all of its objects for each of the two, so a run asks for each exactly once. They
are read as they come, and little is kept of each object. They are not of one moment: what is
written, made or deleted between them may count twice or not at all. Nothing is changed.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from storpool_ovirt import errors, trash_names
from storpool_ovirt.admin import space_roles, survey
from storpool_ovirt.admin.space_roles import DISK, KEPT, OF_A_DISK, OTHER, PREVIEW, TRASH, Thing
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import records, trash, tree

VOLUMES, SNAPSHOTS = "VolumesSpace", "SnapshotsSpace"
KEPT_OF_OURS = "copies and snapshots of our disks"


class Scan(NamedTuple):
    """One of StorPool's accounts: when it was asked for, in seconds since 1970, and what it took
    until all of it was read."""

    query: str
    at: float
    seconds: float
    objects: int


class Sum(NamedTuple):
    """Several objects together; what is stored adds up, as each block is stored by one object
    alone."""

    objects: int = 0
    size_bytes: int = 0
    stored_bytes: int = 0

    def with_(self, each: Thing) -> Sum:
        """Return it with one more."""
        return Sum(
            self.objects + 1,
            self.size_bytes + each.size_bytes,
            self.stored_bytes + each.stored_bytes,
        )


@dataclass(frozen=True)
class Seen:
    """Everything that the two accounts have, and beside them: whose they are, and which rows have
    no object in them: in these clusters, and elsewhere."""

    things: Sequence[Thing]
    scans: tuple[Scan, Scan]
    templates: Sequence[api.Template]
    owners: space_roles.Owners
    location: str
    api_address: str
    database: str
    several: bool = False
    unseen: int = 0
    elsewhere: int = 0

    @cached_property
    def used_bytes(self) -> int:
        """What all volumes hold, each with what it has from its parents."""
        return sum(each.used_bytes for each in self.things if each.kind == "volume")

    @cached_property
    def overhead_bytes(self) -> int:
        """What is stored beyond what volumes hold (StorPool's knowledge base, storage_report): less
        than nothing where clones have blocks in common."""
        return sum(each.stored_bytes for each in self.things) - self.used_bytes


@dataclass(frozen=True)
class Tree:
    """One disk: its own objects, what others keep of it, and what of it is in the trash.

    `freed_bytes` is what is freed at least when all of its own objects go.
    """

    disk: str
    own: Sequence[Thing]
    kept: Sequence[Thing]
    trash: Sequence[Thing]
    freed_bytes: int

    @property
    def volume(self) -> Thing | None:
        """Its own volume; None where that was not seen."""
        return next((each for each in self.own if each.role == DISK), None)

    @property
    def stored_bytes(self) -> int:
        """What its own objects store."""
        return sum(each.stored_bytes for each in self.own)

    @property
    def used_bytes(self) -> int:
        """What its volumes hold, each with what it has from its parents."""
        return sum(each.used_bytes for each in self.own if each.kind == "volume")


def look(work: tree.Work) -> Seen:
    """Read the rows, then the two accounts. Raises what the mapping and the API raise, also where
    one of several clusters does not answer: what is there is not nothing."""
    words = Words()
    with work.mapping.session.snapshot():
        rows = list(records.each_row(work.mapping, words))
        deleted = trash.entries(work.mapping, words)
    owners = space_roles.Owners(rows, deleted, work.mapping.location, work.domain.vm_tag)
    del rows, deleted
    work.client.be_current()
    clusters = survey.clusters(work, ())
    templates = work.client.templates()
    volumes, first = _scanned(work, "volume", owners, words)
    snapshots, second = _scanned(work, "snapshot", owners, words)
    volumes += snapshots
    words.names.clear()
    things = owners.settled(volumes)
    clusters = clusters or survey.clusters(work, {each.global_id for each in things})
    unseen, elsewhere = owners.unseen(clusters)
    return Seen(
        things=things,
        scans=(first, second),
        templates=templates,
        owners=owners,
        location=work.mapping.location,
        api_address=work.client.address,
        database=str(work.mapping.session.address),
        several=work.client.has_several,
        unseen=unseen,
        elsewhere=elsewhere,
    )


def _scanned(
    work: tree.Work, kind: str, owners: space_roles.Owners, words: Words
) -> tuple[list[Thing], Scan]:
    at, began = work.now(), time.monotonic()
    found = work.client.scanned(kind, owners.thing, words)
    query = VOLUMES if kind == "volume" else SNAPSHOTS
    return found, Scan(query, at, time.monotonic() - began, len(found))


def sums(things: Iterable[Thing]) -> Mapping[str, Sum]:
    """Return what the objects of each role are together, in the order of the roles."""
    found = dict.fromkeys(space_roles.ROLES, Sum())
    for each in things:
        found[each.role] = found[each.role].with_(each)
    return found


def by_template(things: Iterable[Thing]) -> Mapping[str, Mapping[str, Sum]]:
    """Return the same for each template; "" is for what has none."""
    found: dict[str, dict[str, Sum]] = {}
    for each in things:
        of_template = found.setdefault(each.template, dict.fromkeys(space_roles.ROLES, Sum()))
        of_template[each.role] = of_template[each.role].with_(each)
    return found


def largest(seen: Seen, most: int) -> tuple[list[Tree], int]:
    """Return the disks that store most with all their snapshots, and how many disks there are;
    `most` 0 is for all."""
    stored: dict[str, int] = {}
    for each in seen.things:
        if each.role in OF_A_DISK:
            stored[each.disk] = stored.get(each.disk, 0) + each.stored_bytes

    def order(disk: str) -> tuple[int, str]:
        return -stored[disk], disk

    return trees(seen, heapq.nsmallest(most or len(stored), stored, key=order)), len(stored)


def disk_of(seen: Seen, uuid: str) -> str:
    """Return the disk that one of oVirt's ids is, or is of; raise NotFound where nothing here is
    it."""
    disk = seen.owners.disk_of(uuid)
    if disk is None:
        disk = next(
            (
                each.disk
                for each in seen.things
                if uuid in (each.uuid, each.disk, trash_names.entry_of(each.name))
            ),
            None,
        )
    if not disk:
        where = f"of oVirt's in the StorPool cluster at {seen.api_address}"
        raise errors.Mistyped("disk", uuid, where)
    return disk


def disks_of_vm(seen: Seen, vm: str, devices: frozenset[str] | None) -> list[str]:
    """Return the disks of a VM: those that Engine says it has (`devices`), or where it does not
    tell those whose volumes name it."""
    found = {
        each.disk
        for each in seen.things
        if each.role in (DISK, PREVIEW)
        and (each.vm == vm if devices is None else each.disk in devices)
    }
    return sorted(found)


def trees(seen: Seen, disks: Sequence[str]) -> list[Tree]:
    """Return these disks with all that is of them, in this order."""
    found: dict[str, list[Thing]] = {each: [] for each in disks}
    for each in seen.things:
        if each.disk in found and each.role in (*OF_A_DISK, KEPT, TRASH):
            found[each.disk].append(each)
    for things in found.values():
        things.sort(key=lambda each: (each.kind == "snapshot", each.created_at, each.global_id))
    own = {
        disk: [each for each in things if each.role in OF_A_DISK] for disk, things in found.items()
    }
    freed = together(seen.things, own)
    return [
        Tree(
            disk,
            own[disk],
            [each for each in found[disk] if each.role == KEPT],
            [each for each in found[disk] if each.role == TRASH],
            freed[disk],
        )
        for disk in disks
    ]


def together(things: Sequence[Thing], groups: Mapping[str, Sequence[Thing]]) -> Mapping[str, int]:
    """Return what is freed at least when all objects of a group go, for each group alone.

    An object frees all that it stores where nothing but the group stands on it, directly or on
    others of the group; what something else stands on stays as far as that needs it, which is not
    told.
    """
    members = {each.global_id: key for key, group in groups.items() for each in group}
    parents = {each.parent for each in things}
    of_address = {
        address: each
        for group in groups.values()
        for each in group
        for address in each.addresses
        if address in parents
    }
    needed: set[str] = set()
    for each in things:
        parent = of_address.get(each.parent)
        if parent is not None and members.get(each.global_id) != members[parent.global_id]:
            needed.update(_down_from(parent, of_address, members, needed))
    return {
        key: sum(each.stored_bytes for each in group if each.global_id not in needed)
        for key, group in groups.items()
    }


def _down_from(
    thing: Thing, of_address: Mapping[str, Thing], members: Mapping[str, str], known: set[str]
) -> Iterator[str]:
    """Yield an object and what it stands on, within its group."""
    there: Thing | None = thing
    while there is not None and there.global_id not in known:
        yield there.global_id
        below = of_address.get(there.parent)
        same = below is not None and members[below.global_id] == members[there.global_id]
        there = below if same else None


def of_trash(seen: Seen) -> tuple[list[Thing], int]:
    """Return what is in the trash, what goes first first, and what is freed at least without
    it."""
    found = [each for each in seen.things if each.role == TRASH]
    found.sort(key=lambda each: (not each.goes_at, each.goes_at, each.disk, each.uuid))
    return found, together(seen.things, {TRASH: found})[TRASH]


def of_others(seen: Seen, most: int) -> tuple[Mapping[str, Sum], list[Thing]]:
    """Return what others have, together for each owner, and their objects that store most; what
    they keep of our disks is told as such, and not by owner."""
    found: dict[str, Sum] = {}
    things = [each for each in seen.things if each.role in (OTHER, KEPT)]
    for each in things:
        owner = KEPT_OF_OURS if each.role == KEPT else each.owner
        found[owner] = found.get(owner, Sum()).with_(each)
    ordered = dict(sorted(found.items(), key=lambda pair: -pair[1].stored_bytes))

    def order(each: Thing) -> tuple[int, str]:
        return -each.stored_bytes, each.global_id

    return ordered, heapq.nsmallest(most or len(things), things, key=order)
