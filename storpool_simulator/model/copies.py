"""Copies of snapshots from cluster to cluster: they take time, are cut, and go on.

A copy is a row of the cluster that it comes to; its source is held there until it has come. How far
it is, is reckoned from the row alone: by that cluster's clock and by what the bridges need for a
GiB. The bytes move when the time is over, or when somebody wants to read them before: reads go over
the bridge then [kb].
"""

from __future__ import annotations

from dataclasses import replace

from storpool_simulator import errors
from storpool_simulator.devices import storage
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.federation import Federation
from storpool_simulator.model.objects import Copy, Entry, Export

_GIB = 1 << 30
LEAST_BYTES = 1 << 20  # our choice: what the copy of an empty snapshot counts as


def begin(
    target: Cluster, change: Change, entry: Entry, source: tuple[Cluster, Entry], *, backup: bool
) -> Entry:
    """Take in a snapshot whose data are to come, inside a change of the cluster that it comes to.

    The data that its parent has already need not come. Returns the new snapshot.
    """
    cluster, original = source
    change.undo.append(lambda: target.files.remove(entry.global_id))
    size_bytes = cluster.files.stored_bytes(original.global_id)
    if entry.parent_id is not None:
        size_bytes -= target.files.stored_bytes(entry.parent_id)
    rate = target.federation.link(target.cluster_id, cluster.cluster_id).seconds_per_gib
    target.catalog.copies.put(
        Copy(
            global_id=entry.global_id,
            source_cluster=cluster.cluster_id,
            source_id=original.global_id,
            backup=backup,
            left_bytes=max(LEAST_BYTES, size_bytes),
            seconds_per_gib=rate,
            since=target.now(),
        )
    )
    return target.catalog.entries.put(entry)


def tend(federation: Federation) -> None:
    """Do what has become due or has changed since the last call: end, hold and resume copies."""
    if not any(cluster.catalog.copies.rows for cluster in federation.clusters):
        return
    with federation.lock:
        for target in federation.clusters:
            for global_id in [*target.catalog.copies.rows]:
                copy = target.catalog.copies.get(global_id)  # the end of one may be that of others
                if copy is not None and not copy.failed and not target.closed:
                    _step(target, copy)


def use(cluster: Cluster, snapshot: Entry) -> None:
    """Have the data of a snapshot here, inside a change of its cluster: somebody will read them.

    Raises BusyError when they cannot be had before the copy has ended, by the switch
    `recovering_use` or for ever; ApiError as `Federation.reached` when the bridge is cut.
    """
    copy = cluster.catalog.copies.get(snapshot.global_id)
    if copy is None or copy.filled:
        return
    if copy.failed or cluster.switches["recovering_use"] == "refuse":
        raise errors.BusyError(f"The data of '{snapshot.listed_name}' are not here yet.")
    _fill(cluster, _source(cluster, copy), copy)


def cancel(target: Cluster, copy: Copy) -> None:
    """Give up a copy: its data will not come.

    A snapshot on which nobody stands goes; another stays, recovering for ever. Copies that others
    are making of it, and that have no data yet, are given up too.
    """
    catalog = target.catalog
    is_kept = bool(catalog.children_count(copy.global_id) or catalog.attached(copy.global_id))
    if not (is_kept and copy.filled):
        for other, waiting in target.copies_of(copy.global_id):
            if not waiting.filled:
                cancel(other, waiting)
    with target.change() as change:
        entry = target.catalog.entries.rows[copy.global_id]
        if is_kept:
            target.catalog.copies.put(replace(copy, since=None, failed=True))
            target.catalog.look_at(copy.global_id)
        else:
            target.remove(change, entry)
    _let_go(target, copy)


def recovering(cluster: Cluster) -> int:
    """Return how many snapshots of a cluster wait for their data."""
    return len(cluster.catalog.copies.rows)


def heal(federation: Federation) -> None:
    """Mend what a crash between the writes of two clusters has left, at a start.

    A copy without its source was never promised to anybody; nor was an export for a backup of which
    the other side knows nothing. What has failed, or has its data, needs no source. The bridges of
    a copy on its way are as slow as they were.
    """
    for target in federation.clusters:
        for copy in [*target.catalog.copies]:
            source = federation.find(copy.source_cluster)
            if source is not None and copy.source_id not in source.catalog.entries.rows:
                if not copy.failed and not copy.filled:
                    cancel(target, copy)
            elif source is not None and copy.seconds_per_gib:
                link = federation.link(target.cluster_id, source.cluster_id)
                link.seconds_per_gib = copy.seconds_per_gib
    for cluster in federation.clusters:
        for export in [*cluster.catalog.exports]:
            if export.backup_id is not None and not _is_made(cluster, export):
                _end_export(cluster, export)


def _is_made(cluster: Cluster, export: Export) -> bool:
    """Return whether a backup is being made, or may be: its cluster may not run now."""
    places = [
        neighbour.cluster_id
        for neighbour in cluster.catalog.neighbours
        if neighbour.location_id == export.location_id
    ]
    others = [cluster.federation.find(cluster_id) for cluster_id in places]
    if None in others:
        return True
    rows = [other.catalog.copies.get(export.backup_id or "") for other in others if other]
    return any(copy is not None and not copy.failed for copy in rows)


def _step(target: Cluster, copy: Copy) -> None:
    now = target.now()
    left = _left_bytes(copy, now)
    try:
        source = _source(target, copy)
    except errors.ApiError:
        if copy.since is not None:
            _hold(target, replace(copy, left_bytes=left, since=None))
        return
    rate = target.federation.link(target.cluster_id, source.cluster_id).seconds_per_gib
    if copy.since is None or rate != copy.seconds_per_gib:
        copy = replace(copy, left_bytes=left, since=now, seconds_per_gib=rate)
        _put(target, copy)
    if _left_bytes(copy, now) <= 0:
        _finish(target, source, copy)


def _left_bytes(copy: Copy, now: float) -> float:
    """Return how much is on its way."""
    if copy.since is None:
        return copy.left_bytes
    if not copy.seconds_per_gib:
        return 0
    return max(0.0, copy.left_bytes - (now - copy.since) / copy.seconds_per_gib * _GIB)


def _hold(target: Cluster, copy: Copy) -> None:
    """Have a copy wait for the bridges, or give it up, by the switch `cut_copy`.

    A cluster that does not run, or runs no more, is no cut bridge: its copies wait.
    """
    source = target.federation.find(copy.source_cluster)
    is_running = source is not None and not source.closed
    if is_running and target.switches["cut_copy"] == "fail":
        cancel(target, copy)
    else:
        _put(target, copy)


def _put(target: Cluster, copy: Copy) -> None:
    with target.change(quiet=True):
        target.catalog.copies.put(copy)


def _source(target: Cluster, copy: Copy) -> Cluster:
    """Return the cluster that a copy comes from, or raise ApiError when it cannot be reached."""
    neighbour = target.catalog.neighbours.get(copy.source_cluster)
    if neighbour is None:
        raise errors.NoSuchObjectError(f"Cluster {copy.source_cluster} is not registered.")
    return target.federation.reached(target, neighbour)


def _fill(target: Cluster, source: Cluster, copy: Copy) -> None:
    if copy.source_id in source.catalog.copies.rows:
        with source.change():
            use(source, source.catalog.entries.rows[copy.source_id])
    entry = target.catalog.entries.rows[copy.global_id]
    storage.copy_file(
        source.files.path(copy.source_id), target.files.path(copy.global_id), entry.size_bytes
    )
    target.catalog.copies.put(replace(copy, filled=True))
    target.catalog.entries.put(target.measure(entry))
    for child in target.catalog.children(copy.global_id):
        target.catalog.entries.put(target.measure(child))


def _finish(target: Cluster, source: Cluster, copy: Copy) -> None:
    """End a copy whose time is over; one whose source waits for its own data waits for them."""
    try:
        with target.change():
            if not copy.filled:
                _fill(target, source, copy)
            target.catalog.copies.drop(copy.global_id)
            if copy.backup:
                target.catalog.exports.put(Export(copy.global_id, source.location_id))
            target.catalog.look_at(copy.global_id)
    except errors.ApiError:
        return
    _let_go(target, copy)


def _let_go(target: Cluster, copy: Copy) -> None:
    """Have the source go its way: what was made for the copy alone is deleted."""
    source = target.federation.find(copy.source_cluster)
    if source is None or copy.source_id not in source.catalog.entries.rows:
        return
    export = source.catalog.exports.get((copy.source_id, target.location_id))
    if copy.backup and export is not None and export.backup_id == copy.global_id:
        _end_export(source, export)
    source.catalog.look_at(copy.source_id)


def _end_export(source: Cluster, export: Export) -> None:
    with source.change():
        source.catalog.exports.drop(export.key)
        base = source.catalog.entries.rows[export.global_id]
        if source.switches["backup_base"] == "remove" and not base.deleted:
            source.doom(base)
