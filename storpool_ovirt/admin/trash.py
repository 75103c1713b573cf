"""What is in the trash: the rows of what was deleted and StorPool's snapshots side by side, one
deletion after the other, with what each holds and what stands on it.

It changes nothing. The table tells whose an object was and until when it is kept; what is there
without a row, as when the table was lost, is told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from storpool_ovirt import errors, names
from storpool_ovirt.admin import moved_away, survey, times, trash_proof
from storpool_ovirt.cluster import api, identity
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import candidates, copies, trash, tree


@dataclass(frozen=True)
class Item:
    """One entry, and StorPool's snapshot, None where there is none any more.

    `stored_bytes` is what it holds itself, `freed_bytes` what its delete alone would free, both
    None where that was not told; `users` are what was made of it and lives outside of the trash, as
    people are told it. `where` is where it is, or may be, if it is not in a cluster that was looked
    at, to follow "it is"; "" else.
    """

    entry: trash.Entry
    there: api.Volume | None
    stored_bytes: int | None = None
    freed_bytes: int | None = None
    users: tuple[str, ...] = ()
    where: str = ""

    @property
    def is_here(self) -> bool:
        """Whether `there` tells whether it is still kept."""
        return not self.where

    @property
    def what(self) -> str:
        """What it was, in a word or two."""
        if self.entry.kind == "snapshot":
            return "snapshot"
        return "volume" if self.entry.node == self.entry.disk else "preview"


@dataclass(frozen=True)
class Deletion:
    """What one delete took, the volume that the VM wrote first.

    `freed_bytes` is what a purge of all of it would free, None where that was not told. `copies`
    are the disk's in other locations, as the table has them: nobody was asked.
    """

    items: tuple[Item, ...]
    freed_bytes: int | None = None
    copies: tuple[copies.Copy, ...] = ()

    @property
    def first(self) -> Item:
        """The item that stands for the disk: what its VM wrote, else the newest volume."""
        return self.items[0]

    @property
    def id(self) -> str:
        """Its id."""
        return self.first.entry.deletion

    @property
    def disk(self) -> str:
        """The disk."""
        return self.first.entry.disk

    @property
    def deleted_at(self) -> float:
        """When it was deleted, in seconds since 1970."""
        return self.first.entry.deleted_at

    @property
    def ends_at(self) -> float:
        """Until when all of it is kept, in seconds since 1970."""
        return min(each.entry.ends_at for each in self.items)


@dataclass(frozen=True)
class Cluster:
    """What the cluster has: objects by global id, and what each snapshot holds itself, and what its
    delete would free."""

    things: Mapping[str, api.Volume]
    stored: Mapping[str, int] = field(default_factory=dict)
    freed: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _by_address(self) -> dict[str, api.Volume]:
        return identity.by_address(list(self.things.values()))

    @cached_property
    def _parents(self) -> dict[str, str]:
        """The global id of what each object stands on."""
        found = {}
        for each in self.things.values():
            parent = self._by_address.get(each.parent)
            if parent is not None:
                found[each.global_id] = parent.global_id
        return found

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for child, parent in self._parents.items():
            found.setdefault(parent, []).append(child)
        return found

    def users(self, global_id: str, own: frozenset[str]) -> list[api.Volume]:
        """Return what stands on an object, directly, and is none of these."""
        children = self._children.get(global_id, ())
        return [self.things[each] for each in children if each not in own]

    def needed(self, own: frozenset[str]) -> set[str]:
        """Return those of these whose data something else needs, which stands on them or on what
        stands on them."""
        found: set[str] = set()
        left = [each for each in own if self.users(each, own)]
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                parent = self._parents.get(each)
                if parent is not None and parent in own:
                    left.append(parent)
        return found

    def freed_by(self, items: Sequence[Item]) -> int | None:
        """Return what a purge of these would free, None where that was not told. It may be more
        than what those of each deletion free: one may stand on another."""
        held = [each.stored_bytes for each in items if each.there is not None]
        if None in held or not self.stored:
            return None
        needed = self.needed(frozenset(each.entry.global_id for each in items))
        return sum(
            each.stored_bytes or 0
            for each in items
            if each.there is not None and each.entry.global_id not in needed
        )


@dataclass(frozen=True)
class Listing:
    """All of the trash of this Engine, what was deleted first at the front.

    `now` is by the clock of the database, as the rows are. `rowless` are snapshots of ours in the
    trash that have no row. `space_at` is when StorPool told
    the space; None, with the reason in `unmeasured`, where it did not. `cluster` is what the
    cluster has.
    """

    deletions: tuple[Deletion, ...]
    rowless: tuple[api.Volume, ...]
    location: str
    api_address: str
    database: str
    now: float
    cluster: Cluster = field(repr=False)
    space_at: float | None = None
    unmeasured: str = ""

    @cached_property
    def freed_bytes(self) -> int | None:
        """What a purge of all would free, None where that was not told."""
        return self.cluster.freed_by([item for each in self.deletions for item in each.items])


def look(work: tree.Work, with_space: bool = True) -> Listing:
    """Read all of it. Raises what the mapping and the API raise.

    `with_space`: StorPool looks at all of its snapshots for that; where it does not, all else is
    told.
    """
    words = Words()
    is_made = work.mapping.session.is_made
    before = trash.ids(work.mapping, words) if is_made else {}
    work.client.be_current()
    listed = (*work.client.volumes(words), *work.client.snapshots(words))
    things = {each.global_id: each for each in listed}
    after: list[trash.Entry] = []
    now = work.now()
    if is_made:
        with work.mapping.session.snapshot():
            after = trash.entries(work.mapping, words)
            now = work.mapping.now()
    known = frozenset([*before.values(), *(each.global_id for each in after)])
    # What came or went meanwhile is of another moment than the lists.
    rows = [each for each in after if each.entry in before]
    copied = copies.all_of(work.mapping, words) if rows else []
    spaces, space_at, unmeasured = _space(work, words) if with_space and rows else ([], None, "")
    stored = {global_id: held for global_id, held, _ in spaces}
    freed = {global_id: freed for global_id, _, freed in spaces}
    cluster = Cluster(things, stored, freed)
    wheres = _wheres(work, rows, things)
    return Listing(
        deletions=tuple(_deletions(rows, copied, cluster, wheres)),
        rowless=tuple(_rowless(things.values(), known, work.mapping.location)),
        location=work.mapping.location,
        api_address=work.client.address,
        database=str(work.mapping.session.address),
        now=now,
        cluster=cluster,
        space_at=space_at,
        unmeasured=unmeasured,
    )


def chosen(found: Sequence[trash.Entry], uuid: str) -> list[trash.Entry]:
    """Return the entries that an id names, the volume that the VM wrote first: one, all of a
    deletion, or those of a disk or a node that was deleted once.

    `found` are those that have it anywhere. Raises NotFound for none, Conflict for what was
    deleted several times.
    """
    for key in ("entry", "deletion"):
        named = [each for each in found if getattr(each, key) == uuid]
        if named:
            return sorted(named, key=_rank)
    deleted = [each for each in found if not each.is_safety]
    of_disk = [each for each in deleted if each.disk == uuid]
    # What was written over is meant by a disk's id only where nothing of that was deleted
    named = of_disk or [each for each in deleted if each.node == uuid] or list(found)
    if not named:
        raise errors.Mistyped(
            "disk, snapshot, deletion or entry", uuid, "in the trash: see storpool-ovirt trash list"
        )
    moments = {each.deletion: each.deleted_at for each in named}
    if len(moments) > 1:
        choices = ", ".join(
            f"{deletion} at {times.stamp(at)}"
            for deletion, at in sorted(moments.items(), key=lambda pair: pair[1])
        )
        was, which = ("written over", "entries") if named[0].is_safety else ("deleted", "deletions")
        raise errors.Conflict(
            uuid, f"was {was} {len(moments)} times", f"give one of these {which}: {choices}"
        )
    return sorted(named, key=_rank)


def _space(work: tree.Work, words: Words) -> tuple[list[tuple[str, int, int]], float | None, str]:
    """Return the space of each snapshot, when that was told, and else why it was not."""

    def space(there: api.Volume, stored_bytes: int, freed_bytes: int) -> tuple[str, int, int]:
        return there.global_id, stored_bytes, freed_bytes

    try:
        return work.client.scanned("snapshot", space, words), work.now(), ""
    except (errors.ApiUnavailable, errors.Rejected) as error:
        work.log.line("space_not_read", reason=error)
        return [], None, str(error)


def _wheres(
    work: tree.Work, rows: Iterable[trash.Entry], things: Mapping[str, api.Volume]
) -> dict[str, str]:
    """Return where what is not here is, or may be, by global id: in a cluster that was not looked
    at, or in one to which somebody moved it."""
    clusters = survey.clusters(work, things)
    absent = {each.global_id for each in rows} - {*things}
    missing = {each for each in absent if names.cluster_of(each) in clusters}
    away = moved_away.looked_for(work, missing)
    found = dict.fromkeys(absent - missing, "in another cluster")
    if away.unseen:
        found.update(dict.fromkeys(missing, "not here, and other clusters could not be looked at"))
    found.update({each: f"in cluster {cluster}" for each, cluster in away.moved.items()})
    return found


def _deletions(
    rows: Iterable[trash.Entry],
    copied: Iterable[copies.Copy],
    cluster: Cluster,
    wheres: Mapping[str, str],
) -> list[Deletion]:
    of_disk: dict[str, list[copies.Copy]] = {}
    for row in copied:
        of_disk.setdefault(row.disk, []).append(row)
    by_deletion: dict[str, list[trash.Entry]] = {}
    for each in rows:
        by_deletion.setdefault(each.deletion, []).append(each)
    own = frozenset(each.global_id for each in rows)
    found = [_deletion(each, cluster, own, wheres) for each in by_deletion.values()]
    found = [replace(each, copies=tuple(of_disk.get(each.disk, ()))) for each in found]
    return sorted(found, key=lambda each: (each.deleted_at, each.id))


def _deletion(
    rows: list[trash.Entry],
    cluster: Cluster,
    trash_ids: frozenset[str],
    wheres: Mapping[str, str],
) -> Deletion:
    items = tuple(
        Item(
            each,
            _living(cluster.things.get(each.global_id)),
            cluster.stored.get(each.global_id),
            cluster.freed.get(each.global_id),
            tuple(sorted(map(_user, cluster.users(each.global_id, trash_ids)))),
            wheres.get(each.global_id, ""),
        )
        for each in sorted(rows, key=_rank)
    )
    return Deletion(items, cluster.freed_by(items))


def _rank(each: trash.Entry) -> tuple[bool, bool, float, str]:
    return not each.active, each.kind != "volume", -each.created_at, each.entry


def _living(there: api.Volume | None) -> api.Volume | None:
    return None if there is None or candidates.is_fleeting(there) else there


def _user(thing: api.Volume) -> str:
    uuid = names.uuid_of(thing.name)
    return f"{thing.kind} {uuid}" if uuid else candidates.said(thing)


def _rowless(
    things: Iterable[api.Volume], known: frozenset[str], location: str
) -> list[api.Volume]:
    found = [
        each
        for each in things
        if each.global_id not in known and not each.dying and trash_proof.is_own(each, location)
    ]
    return sorted(found, key=lambda each: (each.goes_at, each.name))
