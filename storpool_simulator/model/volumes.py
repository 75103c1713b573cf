"""Volumes: made empty or from another object, changed, reverted, frozen, deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import attachments, copies, policy, requests, snapshots
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.federation import changing
from storpool_simulator.model.objects import Entry, Template, Work


def create(cluster: Cluster, request: requests.VolumeCreate) -> tuple[Entry, Entry | None]:
    """Carry out VolumeCreate.

    Returns the volume, and the transient snapshot of a clone by `baseOn` or None [sptypes].
    """
    with cluster.change() as change:
        return create_in(cluster, change, request)


def create_in(
    cluster: Cluster, change: Change, request: requests.VolumeCreate
) -> tuple[Entry, Entry | None]:
    """Do the same inside a change."""
    catalog = cluster.catalog
    template = catalog.template(request.template) if request.template else None
    base = catalog.volume(request.base_on) if request.base_on else None
    parent = None if base is not None else _parent(cluster, request, template)
    catalog.check_free(request.name)
    policy.check_combined(cluster, request.name, request.tags)
    values = policy.resolve(cluster, request.policy, template, base or parent)
    size_bytes = _size(cluster, request, template, base or parent)
    policy.check_space(cluster, values["template_id"], size_bytes)
    cluster.files.check_size(size_bytes)
    volume = _new(cluster, request, parent, values, size_bytes)
    change.undo.append(lambda: cluster.files.remove(volume.global_id))
    if base is not None:
        return _clone(cluster, change, base, volume)
    if parent is not None:
        copies.use(cluster, parent)
        cluster.files.copy(parent.global_id, volume.global_id, size_bytes)
    return catalog.entries.put(cluster.measure(volume)), None


def update(cluster: Cluster, key: str, request: requests.VolumeUpdate) -> Entry:
    """Carry out VolumeUpdate: name, size, template, policy, tags; attached devices follow."""
    with cluster.change() as change:
        old = cluster.catalog.volume(key)
        new = replace(old, **snapshots.changed_policy(cluster, request.template, request.policy))
        new = snapshots.renamed(cluster, new, request.rename)
        new = replace(new, tags=policy.updated_tags(cluster, new.tags, request.tags))
        new = replace(new, size_bytes=_new_size(old, request))
        policy.check_combined(cluster, new.name, new.tags)
        if new.size_bytes > old.size_bytes:
            policy.check_space(cluster, new.template_id, new.size_bytes - old.size_bytes)
        cluster.catalog.entries.put(new)
        _resize(cluster, change, old, new)
        if new.name != old.name:
            change.after.append(lambda: cluster.show_again(new))
        return new


def delete(cluster: Cluster, key: str, on_attached: str = "fail") -> None:
    """Carry out VolumeDelete; the volume's snapshots survive [kb].

    An attached volume is busy [csi] unless `on_attached` helps [cs].
    """
    with cluster.lock:
        volume = cluster.catalog.volume(key)
        detaches = on_attached in ("detach", "detachForce")
        attached = cluster.federation.attached(volume.global_id) if detaches else ()
        others = {one.cluster_id: one for one, _ in attached if one is not cluster}
        with changing([cluster, *others.values()]) as changes:
            if detaches:
                force = on_attached == "detachForce"
                attachments.detach_everywhere(cluster, changes, volume, force=force)
            attachments.check_detached(cluster, volume)
            cluster.remove(changes[cluster.cluster_id], volume)


def freeze(cluster: Cluster, key: str, lifetime: requests.Lifetime) -> None:
    """Carry out VolumeFreeze: the volume becomes a snapshot of the same name and id.

    A volume that is attached is busy, also read-only by the switch `freeze_attached` [inf].
    """
    with cluster.change() as change:
        volume = cluster.catalog.volume(key)
        attached = cluster.federation.attached(volume.global_id)
        is_read_only = all(attachment.read_only for _, attachment in attached)
        if not is_read_only or cluster.switches["freeze_attached"] == "never":
            attachments.check_detached(cluster, volume)
        snapshot = replace(
            cluster.measure(volume),
            snapshot=True,
            auto_name=volume.own_name is None,
            delete_at=snapshots.delete_date(cluster, lifetime) or 0,
        )
        cluster.catalog.entries.put(snapshot)
        change.after.append(lambda: cluster.show_again(snapshot))


def revert(cluster: Cluster, key: str, request: requests.Revert) -> Entry:
    """Carry out VolumeRevert: the content of a snapshot, in place; return the volume.

    It is written down first, then done: a process that dies while it copies finishes when it starts
    again.
    """
    with cluster.lock:
        with cluster.change() as change:
            old = cluster.catalog.volume(key)
            snapshot = cluster.catalog.usable_snapshot(request.to_snapshot)
            copies.use(cluster, snapshot)
            _check_revertable(cluster, old)
            new = _with_another_id(cluster, replace(old, parent_id=snapshot.global_id))
            new = replace(new, size_bytes=_reverted_size(cluster, old, snapshot, request))
            if cluster.switches["revert_limits"] == "snapshot":
                new = replace(new, **policy.limits(snapshot))
            policy.check_combined(cluster, new.name, new.tags)
            cluster.catalog.entries.put(new)
            cluster.catalog.work.put(Work(new.global_id, snapshot.global_id))
            if new.wire_id != old.wire_id:
                change.after.append(lambda: cluster.show_again(new))
        with cluster.devices.quiesce([new.global_id]):
            cluster.files.overwrite(snapshot.global_id, new.global_id, new.size_bytes)
        if new.size_bytes != old.size_bytes:
            cluster.devices.resize(new.global_id, new.size_bytes)
        with cluster.change(quiet=True):
            cluster.catalog.work.drop(new.global_id)
            return cluster.catalog.entries.put(cluster.measure(new))


def _with_another_id(cluster: Cluster, volume: Entry) -> Entry:
    """Return a volume as a revert names it.

    An unnamed one is replaced by a new one, which has a new global id and the name `~old`, or keeps
    that of an earlier revert; the visible id stays [git 76ce668]. For one with a name the id "may
    change" too [pve 7d8e8b0]: the switch `revert_identity` decides.
    """
    rule = cluster.switches["revert_identity"]
    if rule == "keep" or (rule == "unnamed" and volume.own_name is not None):
        return volume
    name = volume.name or f"~{volume.wire_id}"
    return replace(volume, name=name, reverted_id=cluster.new_id()[1])


def _reverted_size(
    cluster: Cluster, volume: Entry, snapshot: Entry, request: requests.Revert
) -> int:
    """Return the size after a revert.

    It is known that a volume was not shrunk without revertSize [pve a536de7]. That a smaller one
    loses the end of the snapshot's data is hard to believe: callers revert volumes that they have
    made with a rounded size.
    """
    rule = "snapshot" if request.revert_size else cluster.switches["revert_size"]
    if rule == "snapshot":
        return snapshot.size_bytes
    return max(volume.size_bytes, snapshot.size_bytes) if rule == "grow" else volume.size_bytes


def _check_revertable(cluster: Cluster, volume: Entry) -> None:
    """Raise when the switch `revert_attached` refuses: what StorPool refuses is unknown."""
    rule = cluster.switches["revert_attached"]
    if rule == "attached":
        attachments.check_detached(cluster, volume)
    elif rule == "open":
        for other, attachment in cluster.federation.attached(volume.global_id):
            if not attachment.read_only and other.holders(attachment):
                attachments.check_detached(cluster, volume)


def _parent(
    cluster: Cluster, request: requests.VolumeCreate, template: Template | None
) -> Entry | None:
    if request.parent:
        return cluster.catalog.usable_snapshot(request.parent)
    if template is not None and template.parent_id is not None:
        return cluster.catalog.usable_snapshot(_key(cluster, template.parent_id))
    return None


def _key(cluster: Cluster, global_id: str) -> str:
    """Return how an object that we know by our id is addressed."""
    entry = cluster.catalog.entries.get(global_id)
    return f"~{global_id if entry is None else entry.wire_id}"


def _size(
    cluster: Cluster,
    request: requests.VolumeCreate,
    template: Template | None,
    source: Entry | None,
) -> int:
    size_bytes = request.size_bytes
    if size_bytes is None:
        return _default_size(template, source)
    is_small = source is not None and size_bytes < source.size_bytes
    if source is not None and is_small and cluster.switches["small_child"] == "refuse":
        raise errors.InvalidParamError(
            f"VolumeCreate: {size_bytes} is smaller than '{source.listed_name}'."
        )
    return size_bytes


def _default_size(template: Template | None, source: Entry | None) -> int:
    if source is not None:
        return source.size_bytes
    if template is not None and template.size_bytes:
        return template.size_bytes
    raise errors.InvalidParamError("VolumeCreate: 'size' is missing.")


def _new(
    cluster: Cluster,
    request: requests.VolumeCreate,
    parent: Entry | None,
    values: dict[str, Any],
    size_bytes: int,
) -> Entry:
    number, global_id = cluster.new_id()
    return Entry(
        global_id=global_id,
        number=number,
        snapshot=False,
        name=request.name,
        size_bytes=size_bytes,
        parent_id=None if parent is None else parent.global_id,
        tags=dict(request.tags),
        created_at=int(cluster.now()),
        **values,
    )


def _clone(cluster: Cluster, change: Change, base: Entry, volume: Entry) -> tuple[Entry, Entry]:
    """Copy by a transient snapshot of the source, which is collected later [sptypes]."""
    automatic = requests.SnapshotCreate(
        name=None, bind=False, lifetime=requests.Lifetime(), tags={}
    )
    with cluster.devices.quiesce([base.global_id]):
        transient = snapshots.make(cluster, change, base, automatic, transient=True)
        cluster.files.copy(base.global_id, volume.global_id, volume.size_bytes)
    volume = replace(volume, parent_id=transient.global_id)
    return cluster.catalog.entries.put(cluster.measure(volume)), transient


def _new_size(old: Entry, request: requests.VolumeUpdate) -> int:
    size_bytes = request.size_bytes or old.size_bytes + (request.size_add_bytes or 0)
    if size_bytes < old.size_bytes and not request.shrink_ok:
        raise errors.InvalidParamError(f"'{old.listed_name}' would shrink: 'shrinkOk' is needed.")
    return size_bytes


def _resize(cluster: Cluster, change: Change, old: Entry, new: Entry) -> None:
    """Grow a file before the row says so, and shrink it after.

    So a crash between never loses acknowledged bytes.
    """
    if new.size_bytes > old.size_bytes:
        cluster.files.check_size(new.size_bytes)
        change.undo.append(lambda: cluster.files.resize(old.global_id, old.size_bytes))
        cluster.files.resize(new.global_id, new.size_bytes)
    elif new.size_bytes < old.size_bytes:
        change.after.append(lambda: cluster.files.resize(new.global_id, new.size_bytes))
    if new.size_bytes != old.size_bytes:
        change.after.append(lambda: cluster.devices.resize(new.global_id, new.size_bytes))
