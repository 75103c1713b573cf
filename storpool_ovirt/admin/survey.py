"""Three truths side by side: the mapping with its journal, the cluster by its tags, and what hosts
have attached.

They cannot be read at one moment, so the database is read before and after the cluster: a disk on
which anything happened between, or on which an operation is under way, is `busy` and nothing is
said of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from storpool_ovirt import errors, names
from storpool_ovirt.admin import rows_seen
from storpool_ovirt.cluster import api, identity
from storpool_ovirt.engine import (
    candidates,
    claims,
    engine_images,
    intent,
    mapping,
    moments,
    operations,
    reverts,
    tree,
)


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
    and of their volumes, which Engine's own database has, None where that cannot be read.
    """

    location: str
    records: Mapping[str, mapping.Record]
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

    def here(self, node: mapping.Node) -> bool:
        """Return whether a node's object belongs to a cluster that was looked at: one mapping may
        serve several."""
        return node.global_id is None or names.cluster_of(node.global_id) in self.clusters

    def is_here(self, disk: str) -> bool:
        """Return whether a disk belongs to a cluster that was looked at, as far as any of its
        objects tells."""
        return all(self.here(node) for node in self.tree(disk))

    @cached_property
    def _trees(self) -> dict[str, list[mapping.Node]]:
        found: dict[str, list[mapping.Node]] = {}
        for record in self.records.values():
            found.setdefault(record.node.root, []).append(record.node)
        return found

    def tree(self, root: str) -> list[mapping.Node]:
        """Return the rows of a disk, oldest first."""
        return self._trees.get(root, [])

    @cached_property
    def mapped(self) -> frozenset[str]:
        """The global ids of all rows."""
        return frozenset(
            each.node.global_id for each in self.records.values() if each.node.global_id is not None
        )

    @cached_property
    def unmapped(self) -> dict[str, list[api.Volume]]:
        """The objects of this Engine, by tags and name, that neither the mapping nor the journal
        explains, by disk."""
        planned = {uuid for uuid, record in self.records.items() if record.node.global_id is None}
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
                if thing.global_id not in self.mapped and not explained:
                    found.setdefault(root, []).append(thing)
        return found

    @cached_property
    def ours(self) -> dict[str, list[api.Volume]]:
        """This Engine's objects by tags, and by name or a row, by the id that their tag names."""
        return {
            uuid: own
            for uuid, things in self._tagged.items()
            if (
                own := [
                    each
                    for each in things
                    if each.global_id in self.mapped or candidates.is_named(each)
                ]
            )
        }

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
                    if each.global_id not in self.mapped and not candidates.is_named(each)
                ]
            )
        }

    @cached_property
    def _tagged(self) -> dict[str, list[api.Volume]]:
        found: dict[str, list[api.Volume]] = {}
        for thing in self.things.values():
            if names.is_ours(thing.tags, thing.tags.get(names.TAG_UUID, ""), self.location):
                found.setdefault(thing.tags[names.TAG_UUID], []).append(thing)
        return found

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
            is_own = thing.global_id in self.mapped or thing.global_id in known
            if thing.kind != "snapshot" or is_own or names.uuid_of(thing.name):
                continue
            root = self._roots.get(thing.made_from or "") or self._roots_above.get(thing.global_id)
            if root is not None and (thing.made_from is None or thing.made_from in self._roots):
                found.setdefault(root, []).append(thing)
        return found

    @cached_property
    def _roots(self) -> dict[str, str]:
        """The disks of the global ids that rows have, or had."""
        nodes = (record.node for record in self.records.values())
        return {node.global_id: node.root for node in nodes if node.global_id is not None}

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

    @cached_property
    def _by_name(self) -> dict[str, api.Volume]:
        return {each.name: each for each in (*self.fleeting.values(), *self.things.values())}

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

    def attachments_of(self, global_id: str, name: str) -> list[api.Attachment]:
        """Return who has an object attached; older releases list no global ids, but names."""
        return [*self._held.get(global_id, []), *self._held.get(name, [])]


def look(work: tree.Work, here: bool = True) -> View:
    """Read all three. Raises what the mapping and the API raise.

    `here`: this is Engine's machine, as far as is known.
    """
    before = rows_seen.read(work)
    # What an instance that is behind does not list is neither lost nor free
    work.client.be_current()
    volumes = work.client.volumes()
    listed = [*volumes, *identity.with_present_sources(work.client.snapshots(), volumes)]
    things = {each.global_id: each for each in listed if not candidates.is_fleeting(each)}
    attachments = tuple(work.client.attachments())
    clients = work.client.statuses(attachments)
    after = rows_seen.read(work)
    records = after.records
    busy = rows_seen.busy(before, after)
    records, drifted = _followed(records, things, work.mapping.location)
    claim, own = _claimed(work, here)
    spare = [each.node for each in records.values() if rows_seen.is_reserved(each.node)]
    asked = {uuid for node in spare for uuid in (node.uuid, node.source) if uuid is not None}
    view = View(
        location=work.mapping.location,
        records=records,
        drifted=drifted,
        operations=after.operations,
        things=things,
        fleeting={each.global_id: each for each in listed if candidates.is_fleeting(each)},
        attachments=attachments,
        clients=clients,
        clusters=clusters(work, things),
        busy=busy,
        now=work.now(),
        api_address=work.client.address,
        database=str(work.mapping.session.address),
        claim=claim,
        own=own,
        moments=after.moments,
        images=engine_images.known(work, asked),
    )
    view = _looked_further(work, view)
    has_spare = view.kept or view.beneath or spare
    return replace(view, freed=_freed(work)) if has_spare else view


def clusters(work: tree.Work, global_ids: Collection[str]) -> frozenset[str]:
    """Return the clusters that were looked at when these objects were shown.

    A pinned domain looks at that one, and some of what it shows may have come from others; one of
    several at all of them; else what is shown has to tell.
    """
    pinned = work.domain.api.cluster_id
    asked = {pinned} if pinned else set()
    if work.client.has_several:
        asked |= work.client.clusters()
    shown = {names.cluster_of(each) for each in global_ids}
    return frozenset(asked or shown)


def _looked_further(work: tree.Work, view: View) -> View:
    """Return the view with where the objects are that a domain of one cluster does not see: what
    was moved to another one is not gone."""
    rows = [record.node for record in view.records.values() if view.here(record.node)]
    missing = {each.global_id for each in rows if each.state == mapping.LIVE} - view.things.keys()
    if work.client.has_several or not missing - {None}:
        return view
    try:
        everywhere = work.client.all_of_space()
    except (errors.ApiUnavailable, errors.DeadlineExceeded) as error:
        work.log.line("space_not_seen", reason=error)
        return replace(view, unseen=str(error))
    own = work.domain.api.cluster_id
    moved = {
        each.global_id: str(each.cluster_id)
        for each in everywhere
        if not each.dying and each.cluster_id != (own or names.cluster_of(each.global_id))
    }
    return replace(
        view, moved={each: moved[each] for each in missing if each is not None and each in moved}
    )


def _freed(work: tree.Work) -> Mapping[str, int]:
    """Return what a delete of each snapshot would free; nothing rests on it, so a failure is only
    logged."""
    try:
        return work.client.snapshot_spaces()
    except errors.Error as error:
        work.log.line("space_not_read", reason=error)
        return {}


def _claimed(work: tree.Work, here: bool) -> tuple[claims.Claim | None, claims.Engine | None]:
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


def _followed(
    records: dict[str, mapping.Record], things: Mapping[str, api.Volume], location: str
) -> tuple[dict[str, mapping.Record], dict[str, str]]:
    """Return the rows with the global ids that their volumes have now, and by id those that the
    mapping has, where a revert gave a volume another one."""
    found = reverts.followed([each.node for each in records.values()], things, location)
    followed = {
        uuid: record._replace(node=tree.found_as(record.node, found[uuid]))
        if uuid in found
        else record
        for uuid, record in records.items()
    }
    return followed, {uuid: str(records[uuid].node.global_id) for uuid in found}
