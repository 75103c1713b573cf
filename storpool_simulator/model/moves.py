"""A volume or snapshot moves to another cluster of its location, and stays attached where it is.

In the first phase the room is taken and the object is the target's: its data file is there, its
devices stay. In the second its data is said to cross the bridge, for as long as that takes; until
then the source lists it as well, as a source of a move. Parents with one child go with it, from the
first one with several children upward they are copied; templates are kept by name [git 2152d9a].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from storpool_simulator import errors
from storpool_simulator.model import attachments, copies, policy, remote_moves, snapshots
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.federation import Federation, changing
from storpool_simulator.model.objects import Entry, Move, VolumeExport

GIB = 1 << 30


# calls


def move(source: Cluster, entry: Entry, request: remote_moves.MoveToRemote) -> None:
    """Carry out VolumeMoveToRemote and SnapshotMoveToRemote."""
    _move(source, _target(source, request), entry, request.on_attached)


def acquire(asking: Cluster, key: str, on_attached: str) -> None:
    """Carry out VolumeAcquire: bring a volume here; nothing is done for one that is [spapi]."""
    with asking.lock:
        owner = asking.federation.owner(asking, key)
        entry = owner.catalog.volume(key)
        if owner.cluster_id != asking.cluster_id:
            _move(owner, asking, entry, on_attached)


def _target(cluster: Cluster, request: remote_moves.MoveToRemote) -> Cluster:
    """Return the cluster that is meant; volumes go to clusters of the same location [kb]."""
    for known in cluster.catalog.neighbours:
        if request.names(known):
            if known.location_id != cluster.location_id:
                raise errors.InvalidParamError(f"Cluster '{known.name}' is in another location.")
            return cluster.federation.reached(cluster, known)
    raise errors.NoSuchObjectError(f"Cluster '{request.name or request.cluster_id}' is not known.")


def _move(source: Cluster, target: Cluster, entry: Entry, on_attached: str) -> None:
    federation = source.federation
    if on_attached == "fail":
        attachments.check_detached(source, entry)
    detaches = on_attached in ("detach", "detachForce")
    holders = federation.attached(entry.global_id) if detaches else ()
    involved = {one.cluster_id: one for one, _ in holders}
    for one in (source, target):  # the target is the last: see `heal`
        involved.pop(one.cluster_id, None)
        involved[one.cluster_id] = one
    with changing(involved.values()) as changes:
        if detaches:
            force = on_attached == "detachForce"
            attachments.detach_everywhere(source, changes, entry, force=force)
        begin(changes, source, target, entry)
    target.show_again(entry)


# the first phase


def begin(changes: Mapping[str, Change], source: Cluster, target: Cluster, entry: Entry) -> None:
    """Make the target the owner, inside changes of both; who has it attached keeps it.

    Raises ApiError, and nothing is done, for a template or a name that the target cannot take, and
    NoSpaceError: the room is taken first.
    """
    found = _chain(source, entry)
    # What another cluster's clients wrote is not in the row before it is measured.
    moving, copying = ([source.measure(one) for one in part] for part in found)
    chain = [*moving, *copying]
    for one in chain:
        copies.use(source, one)
        is_coming = one.global_id in source.catalog.copies.rows
        if one in moving and (is_coming or source.copies_of(one.global_id)):
            raise errors.BusyError(f"'{one.listed_name}' is being copied from cluster to cluster.")
    templates = {one.global_id: _template(source, target, one) for one in chain}
    _check_room(target, chain, templates)
    parent_id = None
    for one in reversed(chain):
        is_copy = one in copying
        known = target.catalog.entries.get(one.global_id)
        if known is None or not is_copy:
            _take(changes[target.cluster_id], source, target, one, copied=is_copy)
            there = replace(one, template_id=templates[one.global_id], parent_id=parent_id)
            there = replace(there, moved_to=None, moves=one.moves + (not is_copy), slave=is_copy)
            target.catalog.entries.put(there)
        parent_id = one.global_id
    _export_again(source, target, moving)
    _leave(changes[source.cluster_id], source, target, moving)


def _chain(source: Cluster, entry: Entry) -> tuple[list[Entry], list[Entry]]:
    """Return what moves and what is copied, nearest first.

    What is being deleted, and what is transient, is left to its cluster.
    """
    moving: list[Entry] = [entry]
    copying: list[Entry] = []
    for one in snapshots.ancestors(source, entry):
        if one.deleted or one.transient or one.moved_to is not None:
            continue
        goes_along = source.catalog.children_count(one.global_id) == 1 and not one.slave
        (moving if goes_along and not copying else copying).append(one)
    return moving, copying


def _template(source: Cluster, target: Cluster, entry: Entry) -> int:
    """Return the number of the target's template of the same name.

    Where it has none the switch `move_template` decides.
    """
    template = source.catalog.templates.get(entry.template_id)
    if template is None:
        return 0
    if target.catalog.has_template(template.name):
        return target.catalog.template(template.name).number
    if source.switches["move_template"] == "drop":
        return 0
    there = target.catalog.meta.cluster_name
    raise errors.NoSuchObjectError(f"Cluster '{there}' has no template '{template.name}'.")


def _check_room(target: Cluster, chain: list[Entry], templates: Mapping[str, int]) -> None:
    new = [one for one in chain if target.catalog.entries.get(one.global_id) is None]
    for template_id in set(templates.values()):
        mine = (one.size_bytes for one in new if templates[one.global_id] == template_id)
        policy.check_space(target, template_id, sum(mine))


def _take(change: Change, source: Cluster, target: Cluster, entry: Entry, *, copied: bool) -> None:
    """Have the data at the target: the same file for what moves, so that its devices stay."""
    known = target.catalog.entries.get(entry.global_id)
    target.catalog.check_free(entry.name, owner=known)
    if not entry.has_file:
        return
    path = source.files.path(entry.global_id)
    if known is None:
        change.undo.append(lambda: target.files.remove(entry.global_id))
    if copied:
        target.files.take_copy(path, entry.global_id, entry.size_bytes)
    else:
        target.files.take_over(path, entry.global_id)


def _leave(change: Change, source: Cluster, target: Cluster, moving: list[Entry]) -> None:
    """Have the source list what it no longer owns, until the data has crossed the bridge."""
    for one in moving:
        source.catalog.end_exports(one.global_id)
        source.catalog.entries.put(replace(one, moved_to=target.cluster_id))
        change.after.append(partial(source.files.remove, one.global_id))
    ids = [one.global_id for one in moving]
    for under_way in [*target.catalog.moves]:
        _forget(target, under_way, set(ids))
    seconds = source.federation.link(source.cluster_id, target.cluster_id).seconds_per_gib
    size_bytes = sum(one.stored_bytes for one in moving)
    started = Move(ids[0], target.cluster_id, ids, size_bytes, seconds, source.now())
    if seconds and size_bytes:
        source.catalog.moves.put(started)
    else:
        _finish(source, started)


def _forget(cluster: Cluster, under_way: Move, global_ids: set[str]) -> None:
    """End a move from here of what has just come back."""
    left = [one for one in under_way.global_ids if one not in global_ids]
    if len(left) < len(under_way.global_ids):
        cluster.catalog.moves.drop(under_way.global_id)
        if left:
            cluster.catalog.moves.put(replace(under_way, global_id=left[0], global_ids=left))


def _export_again(source: Cluster, target: Cluster, moving: list[Entry]) -> None:
    """Have who may attach or copy them from the source, or has them attached, do so from here."""
    for one in moving:
        global_id = one.global_id
        may = {*source.catalog.may_attach(global_id)}
        may |= {cluster.cluster_id for cluster, _ in source.federation.attached(global_id)}
        for cluster_id in sorted(may - {target.cluster_id}):
            target.catalog.volume_exports.put(VolumeExport(global_id, cluster_id))
        for key in source.catalog.exports.having("object", global_id):
            target.catalog.exports.put(source.catalog.exports.rows[key])


# the second phase


def tend(federation: Federation) -> None:
    """Do what has become due or has changed since the last call: end, hold and resume moves."""
    if not any(cluster.catalog.moves.rows for cluster in federation.clusters):
        return
    with federation.lock:
        for source in federation.clusters:
            for under_way in [*source.catalog.moves]:
                if not source.closed:
                    _step(source, under_way)


def _step(source: Cluster, under_way: Move) -> None:
    federation, now = source.federation, source.now()
    seconds = federation.link(source.cluster_id, under_way.target_id).seconds_per_gib
    is_up = federation.reachable(source, under_way.target_id) is not None
    left_bytes = under_way.left_bytes
    if under_way.since is not None and under_way.seconds_per_gib:
        left_bytes -= (now - under_way.since) / under_way.seconds_per_gib * GIB
    if left_bytes <= 0 or (is_up and not seconds):
        with source.change():
            source.catalog.moves.drop(under_way.global_id)
            _finish(source, under_way)
    elif is_up != (under_way.since is not None) or seconds != under_way.seconds_per_gib:
        since = now if is_up else None
        changed = replace(under_way, left_bytes=left_bytes, seconds_per_gib=seconds, since=since)
        with source.change(quiet=True):
            source.catalog.moves.put(changed)


def _finish(source: Cluster, done: Move) -> None:
    """Take out what the source still listed; what stood on it stands on its parent."""
    for global_id in done.global_ids:
        entry = source.catalog.entries.get(global_id)
        if entry is None or entry.moved_to != done.target_id:
            continue
        for child in source.catalog.children(global_id):
            source.catalog.entries.put(replace(child, parent_id=entry.parent_id))
        source.catalog.entries.drop(global_id)


def heal(federation: Federation) -> None:
    """Go on with moves in which a process died: the target owned it, the source did not know yet.

    Both have the same data file then, and of two owners the one with more moves is the later one.
    """
    for source in federation.clusters:
        for entry in [*source.catalog.entries]:
            if entry.moved_to is None and not entry.slave:
                _heal(federation, source, entry)


def _heal(federation: Federation, source: Cluster, entry: Entry) -> None:
    for target in federation.clusters:
        there = target.catalog.entries.get(entry.global_id)
        if there is None or there.slave or there.moved_to or there.moves <= entry.moves:
            continue
        if not _same_file(source, target, entry.global_id):
            continue
        with source.change() as change:
            _leave(change, source, target, [entry])


def _same_file(source: Cluster, target: Cluster, global_id: str) -> bool:
    here, there = source.files.path(global_id), target.files.path(global_id)
    if not here.exists() and not there.exists():
        return True  # neither holds data
    return here.exists() and there.exists() and here.samefile(there)
