"""All rows of the cluster with their indexes, so that no call needs a scan of the volumes.

The indexes: names and ids, children of a snapshot, attachments by object and by client, sums per
template, and a calendar of the objects that have to be looked at by some moment (scheduled deletes,
doomed and transient and bound snapshots).

A `Picture` is the catalog as it was at one moment. It costs as much as the rows that were touched
since then, however many there are.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from storpool_simulator import errors
from storpool_simulator.model import fields, objects, state, tables
from storpool_simulator.model.objects import (
    Attachment,
    Bridge,
    Bucket,
    Client,
    Copy,
    Disk,
    Entry,
    Export,
    Location,
    Maintenance,
    Meta,
    Move,
    Neighbour,
    PlacementGroup,
    Template,
    VolumeExport,
    Work,
)


class Tally(NamedTuple):
    """Sums over the volumes and snapshots of one template."""

    volumes: int = 0
    snapshots: int = 0
    removing: int = 0
    volumes_bytes: int = 0
    childless_bytes: int = 0
    parents_bytes: int = 0
    stored_bytes: int = 0

    @property
    def provisioned_bytes(self) -> int:
        """The sizes of all volumes and snapshots."""
        return self.volumes_bytes + self.childless_bytes + self.parents_bytes


_NO_TALLY = Tally()


class PastChange(NamedTuple):
    """The generation before a change, its touched rows and the sums as they were."""

    generation: int
    rows: Sequence[tables.Touched]
    tallies: Mapping[int, Tally]


class Catalog:
    """The tables, and what is looked up in them."""

    def __init__(self) -> None:
        self.journal = tables.Journal()
        self.entries = tables.Table[str, Entry](
            "entry",
            self.journal,
            operator.attrgetter("global_id"),
            {
                "name": operator.attrgetter("name"),
                "reverted": operator.attrgetter("reverted_id"),
                "parent": operator.attrgetter("parent_id"),
                "backup_of": operator.attrgetter("backup_of"),
                "backed_up": lambda row: row.created_from if row.backup_of else None,
            },
            order=operator.attrgetter("number"),
        )
        self.entries.leaving, self.entries.arrived = self._entry_leaves, self._entry_arrives
        self.templates = tables.Table[int, Template](
            "template",
            self.journal,
            operator.attrgetter("number"),
            {"name": operator.attrgetter("name")},
            order=operator.attrgetter("number"),
        )
        self.attachments = tables.Table[Any, Attachment](
            "attachment",
            self.journal,
            operator.attrgetter("key"),
            {
                "object": operator.attrgetter("global_id"),
                "client": operator.attrgetter("client_id"),
            },
        )
        self.attachments.arrived = self._attachment_arrives
        self.clients = tables.Table[int, Client]("client", self.journal, lambda row: row.client_id)
        self.buckets = tables.Table[str, Bucket]("bucket", self.journal, lambda row: row.name)
        self.groups = tables.Table[str, PlacementGroup]("group", self.journal, lambda row: row.name)
        self.disks = tables.Table[int, Disk]("disk", self.journal, lambda row: row.disk_id)
        self.maintenance = tables.Table[int, Maintenance](
            "maintenance", self.journal, lambda row: row.node_id
        )
        self.work = tables.Table[str, Work]("work", self.journal, lambda row: row.volume_id)
        self.locations = tables.Table[str, Location](
            "location", self.journal, lambda row: row.location_id
        )
        self.neighbours = tables.Table[str, Neighbour](
            "neighbour", self.journal, lambda row: row.cluster_id
        )
        self.bridges = tables.Table[str, Bridge]("bridge", self.journal, lambda row: row.ip)
        by_object = {"object": operator.attrgetter("global_id")}
        self.exports = tables.Table[Any, Export](
            "export", self.journal, operator.attrgetter("key"), by_object
        )
        self.volume_exports = tables.Table[Any, VolumeExport](
            "volume_export", self.journal, operator.attrgetter("key"), by_object
        )
        self.copies = tables.Table[str, Copy]("copy", self.journal, lambda row: row.global_id)
        self.moves = tables.Table[str, Move]("move", self.journal, lambda row: row.global_id)
        self.metas = tables.Table[int, Meta]("meta", self.journal, lambda _row: 0)
        self._tallies: dict[int, Tally] = {}
        self._calendar: list[tuple[float, str]] = []

    @property
    def all_tables(self) -> tuple[tables.Table[Any, Any], ...]:
        """The tables in the order in which they can be read: what others name comes first."""
        return (
            self.metas,
            self.templates,
            self.clients,
            self.buckets,
            self.groups,
            self.disks,
            self.maintenance,
            self.locations,
            self.neighbours,
            self.bridges,
            self.exports,
            self.volume_exports,
            self.copies,
            self.moves,
            self.work,
            self.entries,
            self.attachments,
        )

    # the cluster as a whole

    @property
    def meta(self) -> Meta:
        """The one row about the whole cluster."""
        return self.metas.rows[0]

    def next_number(self) -> int:
        """Return a number that was never given out before."""
        meta = self.metas.put(replace(self.meta, last_number=self.meta.last_number + 1))
        return meta.last_number

    def load(self, store: state.Store) -> bool:
        """Take in what is on disk; return False when there is nothing."""
        types = (Meta, Template, Client, Bucket, PlacementGroup, Disk, Maintenance)
        others = (Location, Neighbour, Bridge, Export, VolumeExport, Copy, Move)
        for table, row_type in zip(self.all_tables, (*types, *others, Work, Entry, Attachment)):
            table.load_all(store.read(table.kind, row_type))
        for entry in self.entries:
            self._note_moments(entry)
        self._count_all()
        return bool(self.metas.rows)

    def past_change(self, generation: int, tallies: Mapping[int, Tally]) -> PastChange:
        """Return what it takes to undo the change that is under way."""
        return PastChange(generation, self.journal.before(), tallies)

    def tallies(self) -> Mapping[int, Tally]:
        """Return the sums of all templates as they are now."""
        return dict(self._tallies)

    # volumes and snapshots

    def find(self, key: str) -> Entry | None:
        """Return a volume or snapshot by its name or `~gid`, or None [readme 5.4.0].

        An id that nothing has is looked for among the names: an unnamed volume that was reverted is
        named after the id that it had [git 76ce668].
        """
        if key.startswith("~"):
            global_id = key[1:]
            entry = self.entries.one_having("reverted", global_id) or self.entries.get(global_id)
            if entry is not None and entry.wire_id == global_id:
                return entry
        return self.entries.one_having("name", key)

    def volume(self, key: str) -> Entry:
        """Return a volume by its name or `~gid`.

        Raises NoSuchObjectError, ImpossibleNameError.
        """
        entry = self.find(key)
        if entry is None or entry.snapshot or entry.moved_to is not None:
            raise fields.unknown("Volume", key, possible=fields.VOLUME_NAME.finds(key))
        return entry

    def snapshot(self, key: str) -> Entry:
        """Return a snapshot by its name or `~gid`.

        Raises NoSuchObjectError, ImpossibleNameError.
        """
        entry = self.find(key)
        if entry is None or not entry.snapshot or entry.moved_to is not None:
            raise fields.unknown("Snapshot", key, possible=fields.SNAPSHOT_NAME.finds(key))
        return entry

    def usable_snapshot(self, key: str) -> Entry:
        """Return a snapshot that is neither being deleted nor transient.

        A transient one may be collected at any time [sptypes]. Raises NoSuchObjectError,
        InvalidParamError for a transient one.
        """
        entry = self.snapshot(key)
        if entry.deleted:
            raise errors.NoSuchObjectError(f"Snapshot '{key}' does not exist any more.")
        if entry.transient:
            raise errors.InvalidParamError(f"Snapshot '{key}' is transient.")
        return entry

    def may_attach(self, global_id: str) -> list[str]:
        """Return the ids of the other clusters whose clients may attach a volume of ours."""
        return [cluster_id for _, cluster_id in self.volume_exports.having("object", global_id)]

    def check_free(self, name: str | None, owner: Entry | None = None) -> None:
        """Raise ObjectExistsError when another volume or snapshot has the name [kb]."""
        holder = None if name is None else self.entries.one_having("name", name)
        if holder is not None and (owner is None or holder.global_id != owner.global_id):
            raise errors.ObjectExistsError(f"The name '{name}' is already in use.")

    def children(self, global_id: str) -> Iterator[Entry]:
        """Return the volumes and snapshots that stand on a snapshot."""
        return (self.entries.rows[child] for child in self.entries.having("parent", global_id))

    def children_count(self, global_id: str) -> int:
        """Return how many volumes and snapshots stand on a snapshot."""
        return self.entries.count_having("parent", global_id)

    # exports

    def exported_to(self, global_id: str) -> frozenset[str]:
        """Return the locations that an object is exported to, of a volume the clusters."""
        keys = (
            *self.exports.having("object", global_id),
            *self.volume_exports.having("object", global_id),
        )
        return frozenset(remote_id for _, remote_id in keys)

    def end_exports(self, global_id: str) -> None:
        """Take back all exports of an object."""
        for table in (self.exports, self.volume_exports):
            for key in table.having("object", global_id):
                table.drop(key)

    # templates

    def template(self, name: str) -> Template:
        """Return a template by its name, or raise NoSuchObjectError, ImpossibleNameError."""
        template = self.templates.one_having("name", name)
        if template is None:
            raise fields.unknown("Template", name, possible=fields.TEMPLATE_NAME.fits(name))
        return template

    def has_template(self, name: str) -> bool:
        """Return whether the name of a template is taken."""
        return self.templates.one_having("name", name) is not None

    def tally(self, template_id: int) -> Tally:
        """Return the sums of a template."""
        return self._tallies.get(template_id, _NO_TALLY)

    # attachments

    def attached(self, global_id: str) -> dict[int, Attachment]:
        """Return the attachments of an object by client id."""
        rows = self.attachments.rows
        return {key[1]: rows[key] for key in self.attachments.having("object", global_id)}

    def attached_to(self, client_id: int) -> list[Attachment]:
        """Return all attachments of a client."""
        rows = self.attachments.rows
        return [rows[key] for key in self.attachments.having("client", client_id)]

    def free_position(self, client_id: int) -> int:
        """Return the lowest free position on a client.

        Raises InvalidParamError when all are taken [sptypes] [csi].
        """
        taken = {attachment.position for attachment in self.attached_to(client_id)}
        if len(taken) >= objects.MAX_CLIENT_DISKS:
            raise errors.InvalidParamError(f"Client {client_id} has too many volumes attached.")
        positions = range(objects.MAX_CLIENT_DISKS)
        return next(position for position in positions if position not in taken)

    # the calendar

    def due(self, now: float) -> Iterator[Entry]:
        """Take what has to be looked at by now off the calendar, and yield it.

        It may turn out that nothing is to be done about it.
        """
        while self.is_due(now):
            entry = self.entries.get(heapq.heappop(self._calendar)[1])
            if entry is not None:
                yield entry

    def is_due(self, now: float) -> bool:
        """Return whether anything has to be looked at by now."""
        return bool(self._calendar) and self._calendar[0][0] <= now

    def look_at(self, global_id: str, moment: float = 0) -> None:
        """Put an object on the calendar; the moment is in seconds of the cluster's time."""
        heapq.heappush(self._calendar, (moment, global_id))

    # what follows from a row

    def _entry_leaves(self, old: Entry | None, new: Entry | None) -> None:
        """Take out of the sums what they count of the row, and of the parents that it changes."""
        for parent in self._changed_parents(old, new):
            self._count(parent, -1)
        if old is not None:
            self._count(old, -1)

    def _entry_arrives(self, old: Entry | None, new: Entry | None) -> None:
        """Count the row and the parents anew, and note when which has to be looked at."""
        for parent in self._changed_parents(old, new):
            self._count(parent, 1)
            has_lost_it = old is not None and parent.global_id == old.parent_id
            if has_lost_it and (parent.deleted or parent.bound):
                self.look_at(parent.global_id, parent.gone_at)
        if new is not None:
            self._count(new, 1)
            self._note_moments(new)

    def _changed_parents(self, old: Entry | None, new: Entry | None) -> list[Entry]:
        old_parent = None if old is None else old.parent_id
        new_parent = None if new is None else new.parent_id
        if old_parent == new_parent:
            return []
        found = (self.entries.get(one) for one in (old_parent, new_parent) if one is not None)
        return [parent for parent in found if parent is not None]

    def _note_moments(self, entry: Entry) -> None:
        for moment in (entry.delete_at, entry.gone_at):
            if moment:
                self.look_at(entry.global_id, float(moment))
        if entry.bound and not entry.deleted:
            self.look_at(entry.global_id, 1)

    def _count(self, entry: Entry, sign: int) -> None:
        tally = self._tallies.get(entry.template_id, _NO_TALLY)
        stored_bytes = tally.stored_bytes + sign * entry.stored_bytes
        if not entry.snapshot:
            tally = tally._replace(
                stored_bytes=stored_bytes,
                volumes=tally.volumes + sign,
                volumes_bytes=tally.volumes_bytes + sign * entry.size_bytes,
            )
        else:
            kind = self._kind_of_snapshot(entry)
            tally = tally._replace(
                stored_bytes=stored_bytes,
                snapshots=tally.snapshots + sign,
                removing=tally.removing + sign * entry.deleted,
                **{kind: getattr(tally, kind) + sign * entry.size_bytes},
            )
        self._tallies[entry.template_id] = tally

    def _count_all(self) -> None:
        """Find the sums of all rows at once, which takes a tenth of counting them one by one."""
        sums: dict[int, dict[str, int]] = {}
        for entry in self.entries:
            into = sums.setdefault(entry.template_id, _NO_TALLY._asdict())
            into["stored_bytes"] += entry.stored_bytes
            if entry.snapshot:
                into["snapshots"] += 1
                into["removing"] += entry.deleted
                into[self._kind_of_snapshot(entry)] += entry.size_bytes
            else:
                into["volumes"] += 1
                into["volumes_bytes"] += entry.size_bytes
        self._tallies = {template_id: Tally(**found) for template_id, found in sums.items()}

    def _kind_of_snapshot(self, entry: Entry) -> str:
        return "parents_bytes" if self.children_count(entry.global_id) else "childless_bytes"

    def _attachment_arrives(self, old: Attachment | None, _new: Attachment | None) -> None:
        if old is not None:
            entry = self.entries.get(old.global_id)
            if entry is not None and (entry.bound or entry.deleted or entry.delete_at):
                self.look_at(old.global_id)


class Picture(Catalog):
    """A catalog as it was at one moment, for reading in any thread without the cluster's lock.

    `undone` are the changes between that moment and now, newest first. It is made under the lock,
    and learns of each change from then on, for as long as somebody holds it: whoever reads its
    tables later than at once holds the picture too.
    """

    def __init__(self, present: Catalog, undone: Iterable[PastChange]) -> None:
        rows: dict[str, dict[Any, Any]] = {table.kind: {} for table in present.all_tables}
        tallies = present.tallies()
        for change in undone:
            tallies = change.tallies
            for kind, key, row in change.rows:
                rows[kind][key] = row
        self.journal = present.journal
        self._past: dict[str, tables.Past[Any, Any]] = {}
        for name, table in vars(present).items():
            if isinstance(table, tables.Table):
                past = tables.Past(table, rows[table.kind])
                self._past[table.kind] = past
                setattr(self, name, past)
        self._tallies = dict(tallies)
        self.journal.watch(self)

    def remember(self, kind: str, key: Any, row: Any) -> None:
        """Keep a row as it was before it changes."""
        self._past[kind].remember(key, row)
