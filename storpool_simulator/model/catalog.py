"""All rows of the cluster with their indexes, so that no call needs a scan of the volumes.

The indexes: names and ids, children of a snapshot, attachments by object and by client, sums per
template, and a calendar of the objects that have to be looked at by some moment (scheduled deletes,
doomed and transient and bound snapshots).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import objects, state, tables
from storpool_simulator.model.objects import (
    Attachment,
    Bucket,
    Client,
    Disk,
    Entry,
    Maintenance,
    Meta,
    PlacementGroup,
    Template,
    Work,
)


@dataclass
class Tally:
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


class Catalog:
    """The tables, and what is looked up in them."""

    def __init__(self) -> None:
        self.journal = tables.Journal()
        self.entries = tables.Table[str, Entry](
            "entry", self.journal, lambda row: row.global_id, self._index_entry
        )
        self.templates = tables.Table[int, Template](
            "template", self.journal, lambda row: row.number, self._index_template
        )
        self.attachments = tables.Table[Any, Attachment](
            "attachment", self.journal, lambda row: row.key, self._index_attachment
        )
        self.clients = tables.Table[int, Client]("client", self.journal, lambda row: row.client_id)
        self.buckets = tables.Table[str, Bucket]("bucket", self.journal, lambda row: row.name)
        self.groups = tables.Table[str, PlacementGroup]("group", self.journal, lambda row: row.name)
        self.disks = tables.Table[int, Disk]("disk", self.journal, lambda row: row.disk_id)
        self.maintenance = tables.Table[int, Maintenance](
            "maintenance", self.journal, lambda row: row.node_id
        )
        self.work = tables.Table[str, Work]("work", self.journal, lambda row: row.volume_id)
        self.metas = tables.Table[int, Meta]("meta", self.journal, lambda _row: 0)
        self._names: dict[str, str] = {}
        self._reverted: dict[str, str] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._template_names: dict[str, int] = {}
        self._tallies: dict[int, Tally] = {}
        self._on_object: dict[str, dict[int, Attachment]] = {}
        self._on_client: dict[int, dict[int, str]] = {}
        self._calendar: list[tuple[float, str]] = []

    @property
    def _tables(self) -> tuple[tables.Table[Any, Any], ...]:
        """The tables in the order in which they can be read: what others name comes first."""
        return (
            self.metas,
            self.templates,
            self.clients,
            self.buckets,
            self.groups,
            self.disks,
            self.maintenance,
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
        types = (Meta, Template, Client, Bucket, PlacementGroup, Disk, Maintenance, Work)
        for table, row_type in zip(self._tables, (*types, Entry, Attachment)):
            self._take_in(table, [row_type(**row) for row in store.read(table.kind)])
        return bool(self.metas.rows)

    def as_before(self, changes: Iterable[Sequence[tuple[str, Any, Any]]]) -> Catalog:
        """Return a copy as it was before these changes.

        The changes come newest first, each as `Journal.before` returns it.
        """
        rows = {table.kind: dict(table.rows) for table in self._tables}
        for change in changes:
            for kind, key, row in reversed(change):
                rows[kind].pop(key, None)
                if row is not None:
                    rows[kind][key] = row
        then = Catalog()
        for table in then._tables:
            then._take_in(table, rows[table.kind].values())
        return then

    def _take_in(self, table: tables.Table[Any, Any], rows: Iterable[Any]) -> None:
        """Load the rows of one table, volumes and snapshots in the order of their making."""
        if table is self.entries:
            rows = sorted(rows, key=lambda row: row.number)
        for row in rows:
            table.load(row)

    # volumes and snapshots

    def find(self, key: str) -> Entry | None:
        """Return a volume or snapshot by its name or `~gid`, or None [readme 5.4.0].

        An id that nothing has is looked for among the names: an unnamed volume that was reverted is
        named after the id that it had [git 76ce668].
        """
        if key.startswith("~"):
            global_id = key[1:]
            entry = self.entries.get(self._reverted.get(global_id, global_id))
            if entry is not None and entry.wire_id == global_id:
                return entry
        return self.entries.get(self._names.get(key, ""))

    def volume(self, key: str) -> Entry:
        """Return a volume by its name or `~gid`, or raise NoSuchObjectError."""
        entry = self.find(key)
        if entry is None or entry.snapshot:
            raise errors.NoSuchObjectError(f"Volume '{key}' does not exist.")
        return entry

    def snapshot(self, key: str) -> Entry:
        """Return a snapshot by its name or `~gid`, or raise NoSuchObjectError."""
        entry = self.find(key)
        if entry is None or not entry.snapshot:
            raise errors.NoSuchObjectError(f"Snapshot '{key}' does not exist.")
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

    def check_free(self, name: str | None, owner: Entry | None = None) -> None:
        """Raise ObjectExistsError when another volume or snapshot has the name [kb]."""
        holder = self._names.get(name) if name is not None else None
        if holder is not None and (owner is None or holder != owner.global_id):
            raise errors.ObjectExistsError(f"The name '{name}' is already in use.")

    def children(self, global_id: str) -> Iterator[Entry]:
        """Return the volumes and snapshots that stand on a snapshot."""
        return (self.entries.rows[child] for child in tuple(self._children.get(global_id, ())))

    def children_count(self, global_id: str) -> int:
        """Return how many volumes and snapshots stand on a snapshot."""
        return len(self._children.get(global_id, ()))

    # templates

    def template(self, name: str) -> Template:
        """Return a template by its name, or raise NoSuchObjectError."""
        number = self._template_names.get(name)
        if number is None:
            raise errors.NoSuchObjectError(f"Template '{name}' does not exist.")
        return self.templates.rows[number]

    def has_template(self, name: str) -> bool:
        """Return whether the name of a template is taken."""
        return name in self._template_names

    def tally(self, template_id: int) -> Tally:
        """Return the sums of a template."""
        return self._tallies.get(template_id) or Tally()

    # attachments

    def attached(self, global_id: str) -> dict[int, Attachment]:
        """Return the attachments of an object by client id."""
        return dict(self._on_object.get(global_id, ()))

    def attached_to(self, client_id: int) -> list[Attachment]:
        """Return all attachments of a client."""
        global_ids = self._on_client.get(client_id, {}).values()
        return [self._on_object[global_id][client_id] for global_id in global_ids]

    def free_position(self, client_id: int) -> int:
        """Return the lowest free position on a client.

        Raises InvalidParamError when all are taken [sptypes] [csi].
        """
        taken = self._on_client.get(client_id, {})
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

    # indexes

    def _index_entry(self, old: Entry | None, new: Entry | None) -> None:
        if old is not None:
            self._count(old, -1)
        self._index_name(old, new)
        self._index_parent(old, new)
        if new is not None:
            self._count(new, 1)
            self._note_moments(new)

    def _index_name(self, old: Entry | None, new: Entry | None) -> None:
        if old is not None and old.name is not None and self._names.get(old.name) == old.global_id:
            del self._names[old.name]
        if old is not None and old.reverted_id is not None:
            self._reverted.pop(old.reverted_id, None)
        if new is not None and new.name is not None:
            self._names[new.name] = new.global_id
        if new is not None and new.reverted_id is not None:
            self._reverted[new.reverted_id] = new.global_id

    def _index_parent(self, old: Entry | None, new: Entry | None) -> None:
        old_parent = None if old is None else old.parent_id
        new_parent = None if new is None else new.parent_id
        if old_parent == new_parent:
            return
        if old is not None and old_parent:
            self._link(old_parent, old.global_id, linked=False)
        if new is not None and new_parent:
            self._link(new_parent, new.global_id, linked=True)

    def _note_moments(self, entry: Entry) -> None:
        for moment in (entry.delete_at, entry.gone_at):
            if moment:
                self.look_at(entry.global_id, float(moment))
        if entry.bound and not entry.deleted:
            self.look_at(entry.global_id, 1)

    def _link(self, parent_id: str, child_id: str, *, linked: bool) -> None:
        parent = self.entries.get(parent_id)
        if parent is not None:
            self._count(parent, -1)
        children = self._children.setdefault(parent_id, {})
        if linked:
            children[child_id] = None
        else:
            children.pop(child_id, None)
        if not children:
            del self._children[parent_id]
        if parent is not None:
            self._count(parent, 1)
            if not linked and (parent.deleted or parent.bound):
                self.look_at(parent_id, parent.gone_at)

    def _count(self, entry: Entry, sign: int) -> None:
        tally = self._tallies.setdefault(entry.template_id, Tally())
        tally.stored_bytes += sign * entry.stored_bytes
        if not entry.snapshot:
            tally.volumes += sign
            tally.volumes_bytes += sign * entry.size_bytes
            return
        tally.snapshots += sign
        tally.removing += sign * entry.deleted
        if self._children.get(entry.global_id):
            tally.parents_bytes += sign * entry.size_bytes
        else:
            tally.childless_bytes += sign * entry.size_bytes

    def _index_template(self, old: Template | None, new: Template | None) -> None:
        if old is not None:
            del self._template_names[old.name]
        if new is not None:
            self._template_names[new.name] = new.number

    def _index_attachment(self, old: Attachment | None, new: Attachment | None) -> None:
        if old is not None:
            self._on_client[old.client_id].pop(old.position)
            self._on_object[old.global_id].pop(old.client_id)
            if not self._on_object[old.global_id]:
                del self._on_object[old.global_id]
            entry = self.entries.get(old.global_id)
            if entry is not None and (entry.bound or entry.deleted):
                self.look_at(old.global_id)
        if new is not None:
            self._on_client.setdefault(new.client_id, {})[new.position] = new.global_id
            self._on_object.setdefault(new.global_id, {})[new.client_id] = new
