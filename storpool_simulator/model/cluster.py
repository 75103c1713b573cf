"""The simulated cluster: rows, data files, devices, and the rule that a change is all or nothing.

A call of the API is a function of `volumes`, `snapshots`, `attachments`, `templates`, `keys` or
`views` with a Cluster. Nothing here knows HTTP.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Callable

from storpool_simulator import errors, switches
from storpool_simulator.devices import devices, shares, storage
from storpool_simulator.model import catalog, federation, objects, state
from storpool_simulator.model.objects import Attachment, Copy, Entry

_log = logging.getLogger(__name__)
PAST_CHANGES = 256  # our own limit: as far back as an instance of the management can be behind here
PAST_ROWS = 1_000_000  # and so many rows at most, so that changes of all objects do not fill memory


class Change:
    """One change under way.

    `undo` takes back what was done outside the rows; `after` is done once the change is written.
    """

    def __init__(self) -> None:
        self.undo: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []


class Cluster:
    """Everything that a real cluster would know.

    `lock` guards all of it; `changed` is notified of every change. Clusters of one `federation`
    have one lock: a call over several of them is one moment.
    """

    def __init__(  # noqa: PLR0913  what a cluster stands on
        self,
        store: state.Store,
        files: storage.Storage,
        clients: shares.Share,
        settings: switches.Switches,
        wall_clock: Callable[[], float] = time.time,
        *,
        together: federation.Federation | None = None,
    ) -> None:
        self.catalog = catalog.Catalog()
        self.files = files
        self.devices = clients
        self.switches = settings
        self._together = together or federation.Federation()
        self._together.join(self)
        self.lock = self._together.lock
        self.changed = threading.Condition(self.lock)
        self.hosts: frozenset[int] = frozenset()
        self.declared_open: dict[int, set[str]] = {}
        self.forced: list[tuple[str, int]] = []
        self.closed = False
        self._past: collections.deque[catalog.PastChange] = collections.deque()
        self._past_rows = 0
        self._store = store
        self._wall_clock = wall_clock

    @property
    def federation(self) -> federation.Federation:
        """The clusters of this process."""
        return self._together

    # life

    def show_all(self) -> None:
        """Have the devices of all attachments in place.

        StorPool's clients do the same when they start.
        """
        with self.lock:
            for attachment in self.catalog.attachments:
                self.show(attachment)

    def close(self) -> None:
        """Let those who wait go; nothing works after that."""
        with self.lock:
            self.closed = True
            self.changed.notify_all()

    # changes

    @contextlib.contextmanager
    def change(self, *, quiet: bool = False) -> Iterator[Change]:
        """Give one change, which is written before anyone hears of it, or taken back as a whole.

        The generation grows with it [sptypes], unless it is `quiet`: about what we know, not about
        the cluster.
        """
        with self.lock:
            self._check_open()
            change = Change()
            before = self.catalog.metas.rows.get(0)
            tallies = self.catalog.tallies()
            try:
                yield change
                self._collect(change)
                if not quiet:
                    meta = self.catalog.meta
                    self.catalog.metas.put(replace(meta, generation=meta.generation + 1))
                self._store.write(self.catalog.journal.changed())
            except BaseException:
                self.catalog.journal.restore()
                for undo in reversed(change.undo):
                    _silent(undo)
                raise
            if before is not None:  # else it has just been made: there is no past
                self._remember(self.catalog.past_change(before.generation, tallies))
            self.catalog.journal.forget()
            for step in change.after:
                step()
            self.changed.notify_all()

    def tend(self) -> None:
        """Do what has become due since the last call.

        Due are scheduled deletes, and objects that have lingered long enough.
        """
        with self.lock:
            self._check_open()
            if self.catalog.is_due(self.now()):
                before = self.catalog.meta.generation
                with self.change(quiet=True) as change:
                    self._collect(change)
                    if self.catalog.journal.changed():
                        self.catalog.metas.put(replace(self.catalog.meta, generation=before + 1))

    def _check_open(self) -> None:
        if self.closed:
            raise errors.ApiError(
                "The simulator is stopping.", name="notReady", status=503, transient=True
            )

    # who it is

    @property
    def cluster_id(self) -> str:
        """The location and the subcluster: the first two parts of the ids of what is made here."""
        return self.catalog.meta.cluster_id

    @property
    def location_id(self) -> str:
        """The location: clusters of one location have one name space."""
        return objects.location_of(self.cluster_id)

    # time and numbers

    def now(self) -> float:
        """Return the cluster's time in seconds: the wall clock, and what tests have added to it."""
        return self._wall_clock() + self.catalog.meta.clock_offset

    def advance(self, seconds: float) -> float:
        """Let time pass, in all clusters of the process; return the new time in seconds."""
        with self.lock:
            for each in self.federation.clusters:
                each.pass_time(seconds)
        return self.now()

    def pass_time(self, seconds: float) -> None:
        """Let time pass here alone."""
        with self.change(quiet=True):
            meta = self.catalog.meta
            self.catalog.metas.put(replace(meta, clock_offset=meta.clock_offset + seconds))
        self.tend()

    @property
    def generation(self) -> int:
        """The number that grows with every change of the configuration [sptypes]."""
        return self.catalog.meta.generation

    def new_id(self) -> tuple[int, str]:
        """Return a number and a global id that were never used before."""
        number = self.catalog.next_number()
        return number, objects.global_id(self.catalog.meta.cluster_id, number)

    # the past

    def as_it_was(self, changes: int) -> Cluster:
        """Return this cluster as a management instance knows it that is so many changes behind.

        It is for reading only. It goes back by `PAST_CHANGES` at most, and not behind the start.
        What it knows of other clusters is as old.
        """
        return self._pictured(changes)

    def picture(self) -> Cluster:
        """Return this cluster as it is now and stays: for reading without the lock."""
        return self._pictured(None)

    def _pictured(self, changes: int | None) -> Cluster:
        with self.lock:
            then = {each: each.catalog_before(changes) for each in self.federation.clusters}
            return _Past(self, then)

    def catalog_before(self, changes: int | None) -> catalog.Catalog:
        """Return the catalog as it was so many changes ago, or, with None, as it is now."""
        undone: list[catalog.PastChange] = []
        if changes is not None:
            wanted, newest_first = self.generation - changes, reversed(self._past)
            undone += itertools.takewhile(lambda one: one.generation >= wanted, newest_first)
        return catalog.Picture(self.catalog, undone)

    def _remember(self, change: catalog.PastChange) -> None:
        self._past.append(change)
        self._past_rows += len(change.rows)
        while len(self._past) > PAST_CHANGES or self._past_rows > PAST_ROWS:
            self._past_rows -= len(self._past.popleft().rows)

    # copies between clusters

    def is_travelling(self, global_id: str) -> bool:
        """Return whether the data of a snapshot are on their way: from here, or to here."""
        coming = self.catalog.copies.get(global_id)
        if coming is not None and not coming.failed:
            return True
        return bool(self.copies_of(global_id))

    def copies_of(self, global_id: str) -> list[tuple[Cluster, Copy]]:
        """Return the copies that other clusters are making of a snapshot of ours."""
        return [
            (other, copy)
            for other in self.federation.clusters
            for copy in other.catalog.copies
            if copy.source_id == global_id and not copy.failed
            if copy.source_cluster == self.cluster_id
        ]

    # devices

    def show(self, attachment: Attachment) -> None:
        """Have the device of an attachment in place.

        Nothing is done when its client is not a host of ours, is down or is behind.
        """
        client = self.catalog.clients.get(attachment.client_id)
        if attachment.client_id not in self.hosts or client is None or not client.in_step:
            return
        owner, entry = self.located(attachment.global_id)
        owner.files.ensure(entry.global_id, entry.size_bytes)
        node = devices.Node(
            entry.global_id,
            entry.own_name,
            owner.files.path(entry.global_id),
            entry.size_bytes,
            attachment.read_only,
            (entry.wire_id, *filter(None, (entry.kept_id,))),
        )
        self.devices.show(attachment.client_id, node)

    def hide(self, attachments: Iterable[Attachment], *, cut: bool) -> None:
        """Take devices away, all together."""
        ours = [
            (one.client_id, one.global_id) for one in attachments if one.client_id in self.hosts
        ]
        self.devices.hide_all(ours, cut)

    def show_again(self, entry: Entry) -> None:
        """Apply a new name or new rights to all devices of an object, of all clusters' clients."""
        for cluster, attachment in self.federation.attached(entry.global_id):
            cluster.show(attachment)

    def located(self, global_id: str) -> tuple[Cluster, Entry]:
        """Return who has an object that a client of ours has attached, and the object."""
        entry = self.catalog.entries.get(global_id)
        if entry is not None and entry.moved_to is None:
            return self, entry
        return self.federation.holder(global_id)

    def holders(self, attachment: Attachment) -> tuple[str, ...]:
        """Return who holds the device open: "declared" by a test, or seen for real."""
        declared = attachment.global_id in self.declared_open.get(attachment.client_id, ())
        real: tuple[str, ...] = ()
        if attachment.client_id in self.hosts:
            real = self.devices.holders(attachment.client_id, attachment.global_id)
        return (*(("declared",) if declared else ()), *real)

    # space

    def measure(self, entry: Entry) -> Entry:
        """Return the object with the data it holds beyond its parent's, as far as files show it."""
        file_bytes = self.files.file_bytes(entry.global_id)
        has_file, stored_bytes = entry.has_file or file_bytes is not None, file_bytes or 0
        parent = self.parent(entry)
        while parent is not None and parent.transient:
            parent = self.parent(parent)
        if parent is not None:
            stored_bytes -= self.files.stored_bytes(parent.global_id)
        stored_bytes = min(max(0, stored_bytes), entry.size_bytes)
        if (stored_bytes, has_file) == (entry.stored_bytes, entry.has_file):
            return entry
        return replace(entry, stored_bytes=stored_bytes, has_file=has_file)

    def measure_attached(self) -> None:
        """Measure the objects that are attached read-write.

        Only their amount of data can have changed since it was last measured.
        """
        then = self.picture()
        found = map(then.catalog.entries.get, then.writable())
        entries = [one for one in found if one is not None and one.moved_to is None]
        measured = [(entry, then.measure(entry)) for entry in entries]  # without the lock
        differing = [(entry, new) for entry, new in measured if new is not entry]
        if not differing:
            return
        with self.change(quiet=True):
            for entry, new in differing:
                if self.catalog.entries.get(entry.global_id) is entry:
                    self.catalog.entries.put(new)

    def writable(self) -> set[str]:
        """Return what is attached read-write, here or where a volume is exported to."""
        exported = {one.global_id for one in self.catalog.volume_exports}
        elsewhere = (one for each in exported for _, one in self.federation.attached(each))
        attached = itertools.chain(self.catalog.attachments, elsewhere)
        return {one.global_id for one in attached if not one.read_only}

    def parent(self, entry: Entry) -> Entry | None:
        """Return the snapshot on which an object stands, or None."""
        return None if entry.parent_id is None else self.catalog.entries.get(entry.parent_id)

    # what is collected

    def doom(self, entry: Entry) -> None:
        """Begin to delete a snapshot.

        It is listed as `*name` and as deleted until it is gone [sptest] [pve].
        """
        name = None if entry.own_name is None else f"*{entry.own_name}"
        if name is not None and self.catalog.find(name) is not None:
            name = f"*{entry.wire_id}"
        gone_at = self.now() + self.switches.seconds("linger")
        self.catalog.entries.put(
            replace(entry, name=name, deleted=True, bound=False, delete_at=0, gone_at=gone_at)
        )

    def remove(self, change: Change, entry: Entry) -> None:
        """Take an object out.

        Its children go to its parent, and what it stored is theirs; its file goes once that is
        written.
        """
        for child in self.catalog.children(entry.global_id):
            left = replace(child, parent_id=entry.parent_id)
            moved = left.moved_to is not None
            self.catalog.entries.put(left if moved else self.measure(left))
        self.catalog.end_exports(entry.global_id)
        if entry.global_id in self.catalog.copies.rows:
            self.catalog.copies.drop(entry.global_id)
        self.catalog.entries.drop(entry.global_id)
        change.after.append(lambda: self.files.remove(entry.global_id))

    def _collect(self, change: Change) -> None:
        if not self.federation.is_whole:
            return
        now = self.now()
        for entry in self.catalog.due(now):
            attached = bool(self.catalog.attached(entry.global_id))
            delete_due = bool(entry.delete_at) and entry.delete_at <= now and not entry.deleted
            if not attached and self._is_gone(entry, now):
                self.remove(change, entry)
            elif not attached and (delete_due or self._is_unbound(entry)):
                self.doom(entry)
            elif delete_due:
                self.catalog.look_at(entry.global_id, now + 1)  # it may be detached by then

    def _is_gone(self, entry: Entry, now: float) -> bool:
        """Return whether it has lingered long enough, and can be taken out of its chain."""
        if not entry.gone_at or entry.gone_at > now:
            return False
        if self.is_travelling(entry.global_id):
            return False
        return entry.transient or self.catalog.children_count(entry.global_id) <= 1

    def _is_unbound(self, entry: Entry) -> bool:
        """Return whether it was bound to children, and the last of them is gone."""
        is_bound = entry.bound and not entry.deleted
        return is_bound and not self.catalog.children_count(entry.global_id)


class _Past(Cluster):
    """A cluster as it was: nothing becomes due in it, nothing is measured, nothing is changed."""

    def __init__(self, cluster: Cluster, then: Mapping[Cluster, catalog.Catalog]) -> None:
        self.__dict__.update(vars(cluster))
        self.catalog = then[cluster]
        self._then = then

    @property
    def federation(self) -> federation.Federation:
        """The clusters as they were.

        They are put together anew for each who asks: so pictures do not hold each other, and are
        gone with their last reader.
        """
        together = federation.Federation(self._together)
        for cluster in self._then:
            together.join(_Past(cluster, self._then))
        return together

    def tend(self) -> None:
        """Do nothing: what is due is the business of the present."""

    def measure_attached(self) -> None:
        """Do nothing: nothing is measured in the past."""

    def picture(self) -> Cluster:
        """Return itself: it is one."""
        return self


def _silent(undo: Callable[[], None]) -> None:
    try:
        undo()
    except Exception:  # an undo must not hide the error that it follows
        _log.exception("undo failed")
