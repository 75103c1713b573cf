"""Which volume is on which client: reassign, all items of a request or none [addon] [sp-os].

The clients of an item's `detach` go; those of `rw` and `ro` are there afterwards. A client that is
in both keeps its device [pve]. A device that is open goes by force only [brick].

VolumesReassignWait waits for two kinds of clients. Those that something is attached to, and that
are away ("missing"), have `attachTimeout` to appear [sptypes]. All that run and gain or lose
something have to reach the new configuration; a client that is down, or goes down meanwhile, is
left out there [git 73efeb8].
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Callable, NamedTuple

from storpool_simulator import errors
from storpool_simulator.model import copies, requests
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.objects import Attachment, Client, Entry

_Key = tuple[str, int]


class Done(NamedTuple):
    """What a reassign did: what is newly attached, and the clients for which anything changed."""

    attached: list[Attachment]
    affected: frozenset[int]


class Plan:
    """The changes of a request for one cluster's clients, found out before a device is touched."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.before: dict[_Key, Attachment | None] = {}
        self.gone: set[_Key] = set()
        self.forced: set[_Key] = set()

    def touch(self, key: _Key, before: Attachment | None) -> None:
        """Remember what was there before the request."""
        self.before.setdefault(key, before)

    def leaving(self, *, forced: bool) -> list[Attachment]:
        """Return the attachments that there were and that go, by force or not."""
        keys = (key for key in self.gone if (key in self.forced) == forced)
        return [before for before in map(self.before.get, keys) if before is not None]


def reassign(cluster: Cluster, items: Sequence[requests.Reassign]) -> list[Attachment]:
    """Apply all items or none; return what is newly attached.

    The devices are in place on return [pve].
    """
    return _reassign(cluster, items).attached


def reassign_wait(
    cluster: Cluster, items: Sequence[requests.Reassign], timeout: int | None
) -> None:
    """Reassign, then wait for clients: for which says the switch `reassign_wait_for`.

    `timeout` is in seconds: None waits for ever, 0 not at all. Raises ApiError "timeout" when the
    time is over and the switch `attach_timeout_expiry` makes that an error.
    """
    wait_after(cluster, items, timeout, _reassign)


def wait_after(
    cluster: Cluster,
    items: Sequence[requests.Reassign],
    timeout: int | None,
    do: Callable[[Cluster, Sequence[requests.Reassign]], Done],
) -> None:
    """Reassign in some way, then wait as `reassign_wait` does."""
    with cluster.lock:  # who runs is found out before anybody can come up or go down
        done = do(cluster, items)
        waited_for = _waited_for(cluster, items, done)
    late = waited_for.late(cluster, timeout)
    expiry = cluster.switches["attach_timeout_expiry"]
    if not late or expiry == "ok":
        return
    if expiry == "error_undo":
        _take_back(cluster, done.attached)
    raise errors.ApiError(
        f"Timed out after {timeout} s waiting for client {', '.join(map(str, sorted(late)))}.",
        name="timeout",
        status=504,
    )


class _WaitedFor(NamedTuple):
    """For whom a reassign waits: those that get something, and those that run and lose it."""

    gaining: frozenset[int]
    losing: frozenset[int]
    bounded: bool

    def late(self, cluster: Cluster, timeout: int | None) -> set[int]:
        """Wait; return the clients for which it was too long.

        Where only the wait for missing clients is `bounded` by the time-out, that for the others
        comes after it, without an end.
        """
        if self.bounded:
            if timeout == 0:
                return set()
            return _wait(cluster, lambda: self._missing(cluster) | self._behind(cluster), timeout)
        late = _wait(cluster, lambda: self._missing(cluster), timeout) if timeout != 0 else set()
        _wait(cluster, lambda: self._behind(cluster), None)
        return late

    def _missing(self, cluster: Cluster) -> set[int]:
        return {one for one in self.gaining if not _runs(cluster, one)}

    def _behind(self, cluster: Cluster) -> set[int]:
        affected = self.gaining | self.losing
        return {one for one in affected if _runs(cluster, one) and not _is_up(cluster, one)}


def _waited_for(cluster: Cluster, items: Sequence[requests.Reassign], done: Done) -> _WaitedFor:
    gaining = frozenset(client_id for item in items for client_id in (*item.rw, *item.ro))
    losing: frozenset[int] = frozenset()
    if cluster.switches["reassign_wait_for"] == "affected":
        losing = frozenset(one for one in done.affected - gaining if _runs(cluster, one))
    bounded = cluster.switches["attach_timeout_covers"] == "all"
    return _WaitedFor(gaining, losing, bounded)


def wait_for_clients(cluster: Cluster, client_ids: Iterable[int]) -> None:
    """Wait until all of them are up; raises ApiError when the simulator stops."""
    wanted = tuple(client_ids)
    _wait(cluster, lambda: {one for one in wanted if not _is_up(cluster, one)}, None)


def _wait(cluster: Cluster, late: Callable[[], set[int]], timeout: float | None) -> set[int]:
    """Wait until no client is late; return those that are when the time in seconds is over.

    Raises ApiError when the simulator stops.
    """
    end = None if timeout is None else time.monotonic() + timeout
    with cluster.changed:
        while late():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return late()
            cluster.changed.wait(left)
            if cluster.closed:
                raise errors.ApiError(
                    "The simulator is stopping.", name="notReady", status=503, transient=True
                )
    return set()


def _reassign(cluster: Cluster, items: Sequence[requests.Reassign]) -> Done:
    with cluster.change() as change:
        plan = Plan(cluster)
        for item in items:
            _apply(cluster, plan, item)
        return carry_out({cluster.cluster_id: change}, plan)


def detach_everywhere(
    cluster: Cluster, changes: Mapping[str, Change], entry: Entry, *, force: bool
) -> None:
    """Detach an object from the clients of all clusters, inside a change of each [cs]."""
    plans: dict[str, Plan] = {}
    for other, attachment in cluster.federation.attached(entry.global_id):
        leave(plans.setdefault(other.cluster_id, Plan(other)), entry, attachment, force=force)
    carry_out(changes, *plans.values())


def check_detached(cluster: Cluster, entry: Entry, name: str = "busy") -> None:
    """Raise an error of that name when the object is attached anywhere [csi]."""
    for other, attachment in cluster.federation.attached(entry.global_id):
        state = "open at" if other.holders(attachment) else "attached to"
        descr = f"'{entry.listed_name}' is {state} client {attachment.client_id}"
        is_param = name == "invalidParam"
        raise errors.InvalidParamError(descr) if is_param else errors.BusyError(descr, name=name)


def set_client(
    cluster: Cluster,
    client_id: int,
    *,
    running: bool | None,
    opened: Iterable[str] | None,
    behind: bool | None = None,
) -> None:
    """Set what a test says about a client: up, behind or down, and what counts as open there.

    A client that is not known is registered. A client that goes down is behind no more: it reads
    all of the configuration when it comes up.
    """
    with cluster.lock:  # until the devices are there: who waits for the client must not wake before
        with cluster.change(quiet=True):
            if opened is not None:
                cluster.declared_open[client_id] = {_own_id(cluster, one) for one in opened}
            client = _changed_client(cluster, client_id, running, behind)
            cluster.catalog.clients.put(client)
        if client.in_step and (running or behind is False):
            for attachment in cluster.catalog.attached_to(client_id):
                cluster.show(attachment)


def _own_id(cluster: Cluster, global_id: str) -> str:
    """Return our id of an object, by any id that leads to it; an unknown one is kept."""
    key = f"~{global_id.lstrip('~')}"
    found = (other.catalog.find(key) for other in (cluster, *cluster.federation.clusters))
    entry = next(filter(None, found), None)
    return global_id.lstrip("~") if entry is None else entry.global_id


def _changed_client(
    cluster: Cluster, client_id: int, running: bool | None, behind: bool | None
) -> Client:
    old = cluster.catalog.clients.get(client_id) or Client(client_id, running=True)
    if running is None:
        running = old.running
    if behind is None:
        behind = old.behind
    seen = cluster.generation if old.in_step else old.generation
    return Client(client_id, running=running, generation=seen, behind=running and behind)


def _take_back(cluster: Cluster, attached: Iterable[Attachment]) -> None:
    """Detach what was attached to clients that are not up."""
    with cluster.change() as change:
        plan = Plan(cluster)
        for attachment in attached:
            is_there = attachment.key in cluster.catalog.attachments.rows
            if is_there and not _is_up(cluster, attachment.client_id):
                _detach(plan, attachment)
        carry_out({cluster.cluster_id: change}, plan)


def _apply(cluster: Cluster, plan: Plan, item: requests.Reassign) -> None:
    entry = _subject(cluster, item)
    current = cluster.catalog.attached(entry.global_id)
    wanted = {**dict.fromkeys(item.rw, False), **dict.fromkeys(item.ro, True)}
    leaving = set(current) if item.detach is None else set(item.detach)
    absent = sorted(leaving - set(current))
    if absent and cluster.switches["detach_absent"] == "error":
        raise errors.InvalidParamError(
            f"'{entry.listed_name}' is not attached to client {absent[0]}"
        )
    if cluster.switches["own_device"] == "keep":
        leaving -= set(wanted)
    for client_id in sorted(leaving & set(current)):
        leave(plan, entry, current[client_id], force=item.force)
    if wanted and entry.snapshot:
        copies.use(cluster, entry)
    for client_id, read_only in wanted.items():
        attach(plan, entry, client_id, read_only=read_only)


def _subject(cluster: Cluster, item: requests.Reassign) -> Entry:
    """Return what an item is about: an object of the cluster, or a volume exported to it.

    The latter is attached only with `allowRemoteExported` [sptypes].
    """
    if item.snapshot:
        return cluster.catalog.usable_snapshot(item.target)
    exported = cluster.federation.exported(cluster, item.target)
    if exported is None or ((item.rw or item.ro) and not item.allow_remote_exported):
        return cluster.catalog.volume(item.target)
    return exported


def leave(plan: Plan, entry: Entry, attachment: Attachment, *, force: bool) -> None:
    """Plan to detach; raises BusyError for a device that is open, unless by force."""
    if force:
        plan.forced.add(attachment.key)
    else:
        _check_closed(plan.cluster, entry, attachment)
    _detach(plan, attachment)


def _check_closed(cluster: Cluster, entry: Entry, attachment: Attachment) -> None:
    if cluster.holders(attachment):
        descr = f"'{entry.listed_name}' is open at client {attachment.client_id}"
        name = cluster.switches["busy_error"]
        raise errors.BusyError(descr, name=name)


def _detach(plan: Plan, attachment: Attachment) -> None:
    plan.touch(attachment.key, attachment)
    plan.gone.add(attachment.key)
    plan.cluster.catalog.attachments.drop(attachment.key)


def attach(plan: Plan, entry: Entry, client_id: int, *, read_only: bool) -> None:
    """Plan to attach to a client of the plan's cluster, or to change its rights."""
    cluster = plan.cluster
    catalog = cluster.catalog
    if client_id not in catalog.clients.rows:
        # the very words that CSI looks for [csi]
        raise errors.InvalidParamError("No such client registered")
    old = catalog.attachments.get((entry.global_id, client_id))
    if old is not None and old.read_only == read_only:
        return
    if old is not None and read_only and cluster.switches["downgrade_open"] == "busy":
        _check_closed(cluster, entry, old)
    position = catalog.free_position(client_id) if old is None else old.position
    new = Attachment(entry.global_id, client_id, read_only, position)
    plan.touch(new.key, old)
    catalog.attachments.put(new)
    owner, there = cluster.located(entry.global_id)
    if not there.has_file:  # from now on somebody may write
        owner.files.ensure(there.global_id, there.size_bytes)
        if owner is cluster:  # another one finds it when it measures
            catalog.entries.put(replace(there, has_file=True))


def carry_out(changes: Mapping[str, Change], *plans: Plan) -> Done:
    """Change the devices of all clusters as planned; return what is newly attached, and to whom.

    Devices that go, go first: whoever is cut off is cut off before anyone else can open the volume.
    """
    for forced in (True, False):
        _part(changes, plans, forced=forced)
    new = [one for plan in plans for one in _show(changes[plan.cluster.cluster_id], plan)]
    affected = (client_id for plan in plans for _, client_id in plan.before)
    return Done(new, frozenset(affected))


def _show(change: Change, plan: Plan) -> list[Attachment]:
    cluster, new = plan.cluster, []
    for key, before in plan.before.items():
        after = cluster.catalog.attachments.get(key)
        if after is None or (after == before and key not in plan.gone):
            continue
        if before is None:
            new.append(after)
            change.undo.append(partial(cluster.hide, [after], cut=False))
        else:
            change.undo.append(partial(cluster.show, before))
        cluster.show(after)
    return new


def _part(changes: Mapping[str, Change], plans: Sequence[Plan], *, forced: bool) -> None:
    leaving = [(plan.cluster, plan.leaving(forced=forced)) for plan in plans]
    for cluster, attachments in leaving:
        for attachment in attachments:
            changes[cluster.cluster_id].undo.append(partial(cluster.show, attachment))
    for cluster, _ in leaving[:1]:
        cluster.federation.hide(leaving, cut=forced)
    for cluster, attachments in leaving:
        for attachment in attachments:
            _after(cluster, attachment, forced=forced)


def _after(cluster: Cluster, attachment: Attachment, *, forced: bool) -> None:
    owner, entry = cluster.located(attachment.global_id)
    if not entry.snapshot and owner is cluster:
        cluster.catalog.entries.put(cluster.measure(entry))
    if forced:
        cluster.forced.append((entry.wire_id, attachment.client_id))
        cluster.declared_open.get(attachment.client_id, set()).discard(attachment.global_id)


def _runs(cluster: Cluster, client_id: int) -> bool:
    client = cluster.catalog.clients.get(client_id)
    return client is not None and client.running


def _is_up(cluster: Cluster, client_id: int) -> bool:
    client = cluster.catalog.clients.get(client_id)
    return client is not None and client.in_step
