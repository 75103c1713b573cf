"""Backups, which send what volumes hold now to another location, and what comes back.

A backup begins with a snapshot here, its base; a snapshot with an id and a visible id of its own is
made there [git 2152d9a] and gets the data. Who has asked is not kept waiting: the copy goes on
after the reply (`copies`). When it has ended, the backup is exported to us, and the base goes.
What comes back has the id that it had there: it is the same snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from storpool_simulator import errors
from storpool_simulator.model import copies, exports, policy, requests, snapshots, volumes
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.exports import Seen
from storpool_simulator.model.objects import Entry, Export
from storpool_simulator.model.remote_requests import Backup, FromRemote


@dataclass(frozen=True)
class Made:
    """A backup that is on its way: of which volume, from which base, and its id there."""

    volume: Entry
    base: Entry
    backup_id: str


def create(cluster: Cluster, request: Backup) -> list[Made]:
    """Carry out VolumeBackup and VolumesGroupBackup: all at one instant, and all or none [inf]."""
    with cluster.lock:
        target = _target(cluster, request.location)
        with cluster.change() as change:
            group = [cluster.catalog.volume(key) for key in request.volumes]
            if len({volume.global_id for volume in group}) != len(group):
                raise errors.InvalidParamError("VolumesGroupBackup: a volume is named twice.")
            has_tags = cluster.switches["backup_base_tags"] == "given"
            automatic = requests.SnapshotCreate(
                name=None,
                bind=False,
                lifetime=requests.Lifetime(),
                tags=request.tags if has_tags else {},
            )
            with cluster.devices.quiesce([volume.global_id for volume in group]):
                bases = [snapshots.make(cluster, change, volume, automatic) for volume in group]
            with target.change() as there:
                made = [
                    Made(volume, base, _send(target, there, (cluster, volume, base), request.tags))
                    for volume, base in zip(group, bases)
                ]
            for one in made:
                cluster.catalog.exports.put(
                    Export(one.base.global_id, target.location_id, one.backup_id)
                )
            return made


def fetch(cluster: Cluster, request: FromRemote) -> Entry:
    """Carry out SnapshotFromRemote: the copy has the remote's id [cloudstack-dr].

    Raises ObjectExistsError when it is here already, by that id or by its name.
    """
    with cluster.change() as change:
        if cluster.catalog.find(f"~{request.remote_id}") is not None:
            raise errors.ObjectExistsError(f"Snapshot '~{request.remote_id}' is here already.")
        cluster.catalog.check_free(request.name)
        found = exports.one_seen(cluster, request.location, request.remote_id)
        return _take(cluster, change, found, request)


def fetch_volume(cluster: Cluster, request: FromRemote) -> Entry:
    """Carry out VolumeFromRemote: a volume that stands on a copy, which goes with it.

    A copy that is here already is taken.
    """
    with cluster.change() as change:
        cluster.catalog.check_free(request.name)
        found = exports.one_seen(cluster, request.location, request.remote_id)
        key = f"~{request.remote_id}"
        if cluster.catalog.find(key) is None:
            unnamed = replace(request, name=None, tags={}, export=False)
            _take(cluster, change, found, unnamed, bound=True)
        wanted = requests.VolumeCreate(
            name=request.name,
            size_bytes=None,
            template=request.template,
            parent=key,
            base_on=None,
            policy=request.policy,
            tags=_tags(cluster, found.entry, request),
        )
        volume, _ = volumes.create_in(cluster, change, wanted)
        return volume


def _target(cluster: Cluster, location: str) -> Cluster:
    """Return the cluster of a location that takes backups: the first one that is known there."""
    location_id = exports.location_of(cluster, location)
    for neighbour in cluster.catalog.neighbours:
        if neighbour.location_id == location_id:
            return cluster.federation.reached(cluster, neighbour)
    raise errors.NoSuchObjectError(f"Location '{location}' has no cluster.")


def _send(
    target: Cluster, there: Change, source: tuple[Cluster, Entry, Entry], tags: Mapping[str, str]
) -> str:
    """Begin the copy of a base; return the id of the backup, which is one of the source's."""
    cluster, volume, base = source
    number, backup_id = cluster.new_id()
    template = policy.same_template(target, policy.of_template(cluster, base.template_id))
    policy.check_space(target, template.number, base.size_bytes)
    is_free = base.name is not None and target.catalog.find(base.name) is None
    entry = Entry(
        global_id=backup_id,
        number=number,
        snapshot=True,
        name=base.name if is_free else None,
        size_bytes=base.size_bytes,
        parent_id=_shared_parent(target, cluster, base),
        tags=dict(tags),
        created_at=base.created_at,
        created_from=volume.wire_id,
        created_from_number=volume.number,
        auto_name=True,
        backup_of=base.wire_id,
        backup_of_number=base.number,
        **policy.inherited(template),
    )
    copies.begin(target, there, entry, (cluster, base), backup=True)
    return backup_id


def _take(
    cluster: Cluster, change: Change, found: Seen, request: FromRemote, *, bound: bool = False
) -> Entry:
    original = found.entry
    template = cluster.catalog.template(request.template) if request.template else None
    values = policy.resolve(cluster, request.policy, template, None)
    policy.check_space(cluster, values["template_id"], original.size_bytes)
    tags = _tags(cluster, original, request)
    policy.check_combined(cluster, request.name, tags)
    entry = replace(
        original,
        global_id=request.remote_id,
        reverted_id=None,
        name=request.name,
        auto_name=request.name is None,
        parent_id=_shared_parent(cluster, found.cluster, original),
        tags=tags,
        bound=bound,
        stored_bytes=0,
        has_file=False,
        delete_at=0,
        **values,
    )
    entry = copies.begin(cluster, change, entry, (found.cluster, original), backup=False)
    if request.export:
        cluster.catalog.exports.put(Export(entry.global_id, found.cluster.location_id))
    return entry


def _tags(cluster: Cluster, original: Entry, request: FromRemote) -> dict[str, str]:
    inherits = request.tags is None and cluster.switches["fetched_tags"] == "remote"
    return dict(original.tags if inherits else request.tags or {})


def _shared_parent(target: Cluster, source: Cluster, snapshot: Entry) -> str | None:
    """Return the nearest ancestor of a snapshot that another cluster has too.

    That is the ancestor itself, or a backup of it; else the last backup of the same volume, whose
    base may be gone.
    """
    catalog = target.catalog
    for ancestor in (snapshot, *snapshots.ancestors(source, snapshot)):
        for known in (ancestor.wire_id, ancestor.backup_of):
            same = None if known is None else catalog.find(f"~{known}")
            backup_ids = () if known is None else catalog.entries.having("backup_of", known)
            found = [same, *map(catalog.entries.get, backup_ids)]
            usable = [entry for entry in found if entry is not None and _has_data(entry)]
            if usable:
                return usable[0].global_id
    of_volume = catalog.entries.having("backed_up", snapshot.created_from)
    older = [
        entry
        for entry in map(catalog.entries.get, of_volume)
        if entry is not None and _has_data(entry) and entry.number < snapshot.number
    ]
    return max(older, key=lambda entry: entry.number).global_id if older else None


def _has_data(entry: Entry) -> bool:
    return entry.snapshot and not entry.deleted and not entry.transient
