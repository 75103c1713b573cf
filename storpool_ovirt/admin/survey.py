"""Three truths side by side: the mapping with its journal, the cluster by its tags, and what hosts
have attached.

They cannot be read at one moment, so the database is read before and after the cluster: a disk on
which anything happened between, or on which an operation is under way, is `busy` and nothing is
said of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from storpool_ovirt import errors, names
from storpool_ovirt.admin import both_sides, moved_away, rows_seen, trash_proof
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import (
    candidates,
    claims,
    engine_images,
    fullness,
    intent,
    mapping,
    moments,
    operations,
    ownership,
    trash,
    tree,
)
from storpool_ovirt.engine.records import Record


@dataclass(frozen=True)
class View:
    """What was seen. Objects are by global id; `clusters` are the ids of the clusters that the API
    listed.

    `records` have the global ids that their objects have now; where the mapping has another one, as
    before a revert, `drifted` has that by the row's id. `fleeting` are those that StorPool itself
    is about to drop: other objects may still stand on them. `claim` tells which Engine has our
    location, `own` who this one is; both are None where that cannot be read. `freed` are the bytes
    that a delete of a snapshot would free, by global id, where there are snapshots of others to be
    told of and StorPool tells it. Of rows without an object `moved` has the cluster in which it
    lives, by global id, and `unseen` says why that could not be looked for. `moments` are the
    groups of snapshots by their number; `images` those of the snapshots that no verb gave to oVirt,
    and of their volumes, which Engine's own database has, None where that cannot be read. `trash`
    are the rows of what was deleted, and `in_trash` the snapshots of that by global id, of other
    Engines too: they are no `things`. `full` is the template of the domain where hardly any room is
    left.
    """

    location: str
    records: Mapping[str, Record]
    drifted: Mapping[str, str]
    operations: tuple[operations.Operation, ...]
    things: Mapping[str, api.Volume]
    fleeting: Mapping[str, api.Volume]
    attachments: tuple[api.Attachment, ...]
    clients: Mapping[int, str]
    clusters: frozenset[str]
    busy: frozenset[str]
    now: float
    api_address: str
    database: str
    claim: claims.Claim | None = None
    own: claims.Engine | None = None
    freed: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    unseen: str = ""
    moments: Mapping[int, moments.Moment] = field(default_factory=dict)
    images: frozenset[str] | None = None
    trash: tuple[trash.Entry, ...] = ()
    in_trash: Mapping[str, api.Volume] = field(default_factory=dict)
    full: api.Template | None = None

    def here(self, node: mapping.Node | Record) -> bool:
        """Return whether a node's object belongs to a cluster that was looked at: one mapping may
        serve several."""
        return node.global_id is None or self.is_in_reach(node.global_id)

    def is_in_reach(self, global_id: str) -> bool:
        """Return whether an object belongs to a cluster that was looked at."""
        return names.cluster_of(global_id) in self.clusters

    def is_here(self, disk: str) -> bool:
        """Return whether a disk belongs to a cluster that was looked at, as far as any of its
        objects tells."""
        return all(map(self.here, self._trees.get(disk, ())))

    @cached_property
    def _trees(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records.values():
            found.setdefault(record.root, []).append(record)
        return found

    def tree(self, root: str) -> list[mapping.Node]:
        """Return the rows of a disk, oldest first."""
        return [record.node for record in self._trees.get(root, ())]

    def is_mapped(self, global_id: str | None) -> bool:
        """Return whether an object has a row."""
        thing = self.things.get(global_id or "")
        return (thing is not None and self._has_its_row(thing)) or global_id in self.mapped

    @property
    def mapped(self) -> Set[str]:
        """The global ids of all rows."""
        return self._roots.keys()

    @cached_property
    def unmapped(self) -> dict[str, list[api.Volume]]:
        """The objects of this Engine, by tags and name, that neither the mapping nor the journal
        explains, by disk."""
        planned = {uuid for uuid, record in self.records.items() if record.global_id is None}
        made = {each.node for each in self.operations if each.kind == intent.MAKE and each.proved}
        found: dict[str, list[api.Volume]] = {}
        for uuid, things in self.ours.items():
            for thing in things:
                root = names.root_of(thing.tags) or uuid
                explained = (
                    uuid in planned
                    or (uuid in made and uuid not in self.records)
                    or root in self.busy
                )
                if not self.is_mapped(thing.global_id) and not explained:
                    found.setdefault(root, []).append(thing)
        return found

    @cached_property
    def has_ours(self) -> bool:
        """Whether anything is this Engine's by tags, and by name or a row."""
        return (
            bool(self.ours)
            or any(map(self._is_tagged, self.in_trash.values()))
            or any(
                self._has_its_row(each) and self._is_tagged(each) for each in self.things.values()
            )
        )

    @cached_property
    def ours(self) -> dict[str, list[api.Volume]]:
        """This Engine's objects by tags, and by name or a row, by the id that their tag names; but
        for the ids of which there is no other object than that of their row."""
        found = {}
        for uuid, things in self._tagged.items():
            own = [
                each
                for each in things
                if candidates.is_named(each) or self.is_mapped(each.global_id)
            ]
            if own:  # mostly it is all there is: not another list then
                found[uuid] = things if len(own) == len(things) else own
        return found

    @cached_property
    def kept(self) -> dict[str, list[api.Volume]]:
        """What carries this Engine's tags and is kept by others, by the id that its tag names: no
        verb touches it."""
        return {
            uuid: others
            for uuid, things in self._tagged.items()
            if (
                others := [
                    each
                    for each in things
                    if not candidates.is_named(each) and not self.is_mapped(each.global_id)
                ]
            )
        }

    @cached_property
    def _tagged(self) -> dict[str, list[api.Volume]]:
        """The objects with this Engine's tags, as in `ours`: most have their own row, and there is
        nothing to be asked of them."""
        found: dict[str, list[api.Volume]] = {
            each.tags[names.TAG_UUID]: []
            for each in self.things.values()
            if not self._has_its_row(each) and self._is_tagged(each)
        }
        for each in self.things.values() if found else ():
            uuid = each.tags.get(names.TAG_UUID, "")
            if uuid in found and self._is_tagged(each):
                found[uuid].append(each)
        return found

    def _is_tagged(self, thing: api.Volume) -> bool:
        return names.is_ours(thing.tags, thing.tags.get(names.TAG_UUID, ""), self.location)

    def _has_its_row(self, thing: api.Volume) -> bool:
        """Return whether the row of the id that an object's tag names has this very object."""
        record = self.records.get(thing.tags.get(names.TAG_UUID, ""))
        return record is not None and record.global_id == thing.global_id

    @cached_property
    def beneath(self) -> dict[str, list[api.Volume]]:
        """The snapshots of others that were made of our volumes and carry none of our tags, by
        disk: no verb touches them.

        Where StorPool does not tell of what a snapshot was made, it is one on which a volume of
        ours stands. What has a name of ours is told as such.
        """
        found: dict[str, list[api.Volume]] = {}
        known = {each.global_id for things in self._tagged.values() for each in things}
        for thing in self.things.values():
            if thing.kind != "snapshot" or names.uuid_of(thing.name):
                continue
            if thing.global_id in known or self.is_mapped(thing.global_id):
                continue
            root = self._roots.get(thing.made_from or "") or self._roots_above.get(thing.global_id)
            if root is not None and (thing.made_from is None or thing.made_from in self._roots):
                found.setdefault(root, []).append(thing)
        return found

    @cached_property
    def _roots(self) -> dict[str, str]:
        """The disks of the global ids that rows have, or had."""
        rows = self.records.values()
        return {each.global_id: each.root for each in rows if each.global_id is not None}

    @cached_property
    def _roots_above(self) -> dict[str, str]:
        """The disks that stand on a snapshot, directly or on others, by its global id."""
        found: dict[str, str] = {}
        for global_id, root in self._roots.items():
            there = self.things.get(global_id)
            while there is not None and there.parent:
                there = self.named(there.parent)
                if there is None or there.global_id in found:
                    break
                found[there.global_id] = root
        return found

    @cached_property
    def _kept_ids(self) -> frozenset[str]:
        return frozenset(each.global_id for things in self.kept.values() for each in things)

    def is_kept(self, thing: api.Volume) -> bool:
        """Return whether an object carries this Engine's tags, and is kept by others."""
        return thing.global_id in self._kept_ids

    def candidates(self, node: mapping.Node) -> candidates.Candidates:
        """Return what may be the object of a row."""
        named = self._by_name.get(names.object_name(node.uuid))
        near = [self.things.get(node.global_id or ""), named, *self.kept.get(node.uuid, [])]
        living = {
            each.global_id: each
            for each in near
            if each is not None and each.global_id in self.things
        }
        return candidates.of(living.values(), node, self.location)

    def dropped(self, uuid: str) -> list[api.Volume]:
        """Return what this Engine's trash has of a node, the newest first."""
        return sorted(self._dropped.get(uuid, ()), key=lambda each: -each.created_at)

    @cached_property
    def _dropped(self) -> dict[str, list[api.Volume]]:
        found: dict[str, list[api.Volume]] = {}
        for each in self.in_trash.values():
            if trash_proof.is_own(each, self.location):
                found.setdefault(each.tags[names.TAG_UUID], []).append(each)
        return found

    @cached_property
    def _by_name(self) -> dict[str, api.Volume]:
        return {each.name: each for each in chain(self.fleeting.values(), self.things.values())}

    def named(self, name: str) -> api.Volume | None:
        """Return the object of a name or `~globalId`."""
        global_id = name.lstrip("~")
        return self._by_name.get(name) or self.things.get(global_id) or self.fleeting.get(global_id)

    @cached_property
    def _held(self) -> dict[str, list[api.Attachment]]:
        held: dict[str, list[api.Attachment]] = {}
        for each in self.attachments:
            held.setdefault(each.global_id or each.name.lstrip("~"), []).append(each)
        return held

    @cached_property
    def _children(self) -> dict[str, list[api.Volume]]:
        found: dict[str, list[api.Volume]] = {}
        for each in self.things.values():
            for address in {
                each.parent,
                names.address(each.made_from) if each.made_from else "",
            } - {""}:
                found.setdefault(address, []).append(each)
        return found

    def children(self, thing: api.Volume) -> list[api.Volume]:
        """Return what was made of an object, and what stands on it."""
        address = names.address(thing.global_id)
        return [*self._children.get(address, []), *self._children.get(thing.name, [])]

    @cached_property
    def sources(self) -> frozenset[str | None]:
        """The ids that something was made from."""
        return frozenset(each.source for each in self.records.values())

    @cached_property
    def row_moments(self) -> frozenset[int | None]:
        """The moments that have rows."""
        return frozenset(each.moment for each in self.records.values())

    @cached_property
    def live_moments(self) -> frozenset[int | None]:
        """The moments of whose snapshots a verb is at work on any."""
        at_work = (each.node for each in self.operations if each.is_open and each.is_alive())
        rows = map(self.records.get, at_work)
        return frozenset(each.moment if each is not None else None for each in rows)

    @cached_property
    def late_deletes(self) -> frozenset[str]:
        """The ids that were to be deleted by what was taken back."""
        return frozenset(
            uuid
            for each in self.operations
            if each.kind == intent.DROP and each.state == operations.UNDONE
            for uuid in each.plan.nodes
        )

    def attachments_of(self, global_id: str, name: str) -> list[api.Attachment]:
        """Return who has an object attached; older releases list no global ids, but names."""
        return [*self._held.get(global_id, []), *self._held.get(name, [])]


def look(work: tree.Work, here: bool = True) -> View:
    """Read all three. Raises what the mapping and the API raise.

    `here`: this is Engine's machine, as far as is known.
    """
    seen = both_sides.read(work)
    rows, drifted = both_sides.followed(seen.rows.records, seen.things, work.mapping.location)
    claim, own = claimed(work, here)
    spare = [each for each in rows.values() if rows_seen.is_reserved(each)]
    asked = {uuid for each in spare for uuid in (each.uuid, each.source) if uuid is not None}
    view = View(
        location=work.mapping.location,
        records=rows,
        drifted=drifted,
        operations=seen.rows.operations,
        things=seen.things,
        fleeting=seen.fleeting,
        attachments=seen.attachments,
        clients=seen.clients,
        clusters=clusters(work, {*seen.things, *seen.in_trash}),
        busy=seen.rows.changed,
        now=work.now(),
        api_address=work.client.address,
        database=str(work.mapping.session.address),
        claim=claim,
        own=own,
        moments=seen.rows.moments,
        images=engine_images.known(work, asked),
        trash=seen.rows.trash,
        in_trash=seen.in_trash,
        full=fullness.silent_look(work),
    )
    away = moved_away.looked_for(work, {*_missing(view)})
    view = replace(view, moved=away.moved, unseen=away.unseen)
    has_spare = view.kept or view.beneath or spare
    return replace(view, freed=_freed(work)) if has_spare else view


def clusters(work: tree.Work, global_ids: Collection[str]) -> frozenset[str]:
    """Return the clusters that were looked at when these objects were shown."""
    return ownership.clusters_asked(work, lambda: map(names.cluster_of, global_ids))


def _missing(view: View) -> Iterator[str]:
    """Yield the global ids of the rows that should have an object, and have none."""
    for each in view.records.values():
        is_missed = each.state == mapping.LIVE and each.global_id not in view.things
        if is_missed and each.global_id is not None and view.here(each):
            yield each.global_id
    for entry in view.trash:
        is_missed = entry.ends_at > view.now and entry.global_id not in view.in_trash
        if is_missed and view.is_in_reach(entry.global_id):
            yield entry.global_id


def _freed(work: tree.Work) -> Mapping[str, int]:
    """Return what a delete of each snapshot would free; nothing rests on it, so a failure is only
    logged."""
    try:
        return work.client.snapshot_spaces()
    except errors.Error as error:
        work.log.line("space_not_read", reason=error)
        return {}


def claimed(work: tree.Work, here: bool) -> tuple[claims.Claim | None, claims.Engine | None]:
    """Return which Engine has our location, and who this one is.

    Nothing rests on it, so a failure is only logged.
    """
    client = work.client.limited(work.mapping.session.deadline.within(claims.NOTE_SECONDS))
    try:
        own = claims.this(work)
        claim = claims.read(client, work.mapping.location) if work.mapping.location else None
    except errors.Error as error:
        work.log.line("claim_not_read", location=work.mapping.location, reason=error)
        return None, None
    if claim is not None and not (here and own.machine):
        # This is not Engine's machine, or it does not tell its id; whose database is looked at, the
        # server's id tells.
        same = [each for each in (claim.engine, *claim.others) if each.database == own.database]
        own = replace(own, machine=same[0].machine, boot=same[0].boot) if same else own
    return claim, own
