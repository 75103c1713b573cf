"""Snapshots: made of one volume or of many at one instant, changed, deleted.

A snapshot becomes the parent of its volume, and the volume's old parent becomes the snapshot's
parent [spapi].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import attachments, fields, policy, requests
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.objects import Entry


def create(cluster: Cluster, key: str, request: requests.SnapshotCreate) -> Entry:
    """Carry out VolumeSnapshot; it works on attached, open volumes too [pve]."""
    with cluster.change() as change:
        volume = cluster.catalog.volume(key)
        with cluster.devices.quiesce([volume.global_id]):
            return make(cluster, change, volume, request)


@dataclass(frozen=True)
class Stop:
    """A fault strikes a group: after so many of its snapshots no other one can be made."""

    after: int
    error: errors.ApiError


def create_group(
    cluster: Cluster,
    group: Sequence[tuple[str, requests.SnapshotCreate]],
    stop: Stop | None = None,
) -> list[tuple[Entry, Entry]]:
    """Carry out VolumesGroupSnapshot; return (volume, snapshot) pairs.

    All are made at one instant [spapi], and all or none [inf]: the switch `group_partial` says what
    comes of the others where one cannot be made. Whether a volume may be in it twice says the
    switch `group_twice`.
    """
    with cluster.change() as change:
        with cluster.devices.quiesce(_together(cluster, [key for key, _ in group])):
            pairs, problems = _each(cluster, change, group, stop)
        if problems and (not pairs or cluster.switches["group_partial"] == "none"):
            raise problems[0]
    if problems and cluster.switches["group_partial"] == "error":
        raise problems[0]
    return pairs


def _together(cluster: Cluster, keys: Sequence[str]) -> list[str]:
    """Return the ids of the volumes of a group that are there."""
    found = [cluster.catalog.find(key) for key in keys]
    ids = [one.global_id for one in found if one is not None and not one.snapshot]
    if len(set(ids)) != len(ids) and cluster.switches["group_twice"] == "refuse":
        raise errors.InvalidParamError("VolumesGroupSnapshot: a volume is named twice.")
    return ids


def _each(
    cluster: Cluster,
    change: Change,
    group: Sequence[tuple[str, requests.SnapshotCreate]],
    stop: Stop | None,
) -> tuple[list[tuple[Entry, Entry]], list[errors.ApiError]]:
    """Make the snapshots of a group that can be made; return their pairs, and why others are not
    made."""
    pairs: list[tuple[Entry, Entry]] = []
    problems: list[errors.ApiError] = []
    for number, (key, request) in enumerate(group):
        try:
            if stop is not None and number >= stop.after:
                raise stop.error
            volume = cluster.catalog.volume(key)
            pairs.append((volume, make(cluster, change, volume, request)))
        except errors.ApiError as error:
            problems.append(error)
    return pairs, problems


def make(
    cluster: Cluster,
    change: Change,
    volume: Entry,
    request: requests.SnapshotCreate,
    *,
    transient: bool = False,
) -> Entry:
    """Make a snapshot of a volume whose writes wait, and return it.

    Its tags are those given; none are taken from the volume [kb].
    """
    cluster.catalog.check_free(request.name or None)
    policy.check_combined(cluster, request.name, request.tags)
    number, global_id = cluster.new_id()
    snapshot = replace(
        cluster.measure(volume),
        global_id=global_id,
        number=number,
        snapshot=True,
        name=request.name or _automatic_name(cluster, volume, number, request.name),
        tags=dict(request.tags),
        created_at=int(cluster.now()),
        created_from=volume.wire_id,
        created_from_number=volume.number,
        backup_of=None,
        backup_of_number=0,
        reverted_id=None,
        auto_name=not request.name,
        bound=request.bind,
        transient=transient,
        delete_at=delete_date(cluster, request.lifetime) or 0,
        gone_at=cluster.now() + cluster.switches.seconds("linger") if transient else 0,
    )
    if not transient:  # of a transient one nobody can read the data
        change.undo.append(lambda: cluster.files.remove(global_id))
        cluster.files.copy(volume.global_id, global_id, volume.size_bytes)
    else:
        snapshot = replace(snapshot, stored_bytes=0, has_file=False)
    cluster.catalog.entries.put(snapshot)
    volume = replace(volume, parent_id=global_id)
    cluster.catalog.entries.put(cluster.measure(volume))
    return snapshot


def update(cluster: Cluster, key: str, request: requests.SnapshotUpdate) -> None:
    """Carry out SnapshotUpdate: name, template, policy, tags, bound or not, when to delete."""
    with cluster.change() as change:
        old = cluster.catalog.usable_snapshot(key)
        new = replace(old, **changed_policy(cluster, request.template, request.policy))
        new = renamed(cluster, new, request.rename)
        new = replace(new, tags=policy.updated_tags(cluster, new.tags, request.tags))
        if request.rename is not None:
            new = replace(new, auto_name=new.own_name is None)
        if request.bind is not None:
            new = replace(new, bound=request.bind)
        delete_at = delete_date(cluster, request.lifetime)
        if delete_at is not None:
            new = replace(new, delete_at=delete_at)
        policy.check_combined(cluster, new.name, new.tags)
        cluster.catalog.entries.put(new)
        if new.name != old.name:
            change.after.append(lambda: cluster.show_again(new))


def delete(cluster: Cluster, key: str) -> None:
    """Carry out SnapshotDelete, which begins here and ends later.

    Children keep the data [kb] [pve].
    """
    with cluster.change():
        entry = cluster.catalog.snapshot(key)
        attachments.check_detached(cluster, entry, cluster.switches["delete_attached_snapshot"])
        exported = cluster.catalog.exported_to(entry.global_id)
        if exported and cluster.switches["delete_exported"] == "busy":
            raise errors.BusyError(f"'{entry.listed_name}' is exported.")
        if not entry.deleted:
            cluster.doom(entry)


def rebase(cluster: Cluster, entry: Entry, parent_key: str | None) -> None:
    """Carry out VolumeRebase and SnapshotRebase: stand on another ancestor, or on nothing."""
    with cluster.change():
        parent_id = None
        if parent_key:
            parent_id = cluster.catalog.snapshot(parent_key).global_id
            if parent_id not in {ancestor.global_id for ancestor in ancestors(cluster, entry)}:
                raise errors.InvalidParamError(
                    f"'{parent_key}' is not an ancestor of '{entry.listed_name}'."
                )
        cluster.catalog.entries.put(cluster.measure(replace(entry, parent_id=parent_id)))


def ancestors(cluster: Cluster, entry: Entry) -> list[Entry]:
    """Return the chain of parents, nearest first."""
    return list(each_ancestor(cluster, entry))


def each_ancestor(cluster: Cluster, entry: Entry) -> Iterator[Entry]:
    """Yield the chain of parents, nearest first."""
    parent = cluster.parent(entry)
    while parent is not None:
        yield parent
        parent = cluster.parent(parent)


def renamed(cluster: Cluster, entry: Entry, rename: str | None) -> Entry:
    """Return the object with a new name: none for "" [cs], no change for None.

    What has no name of its own has none to lose: the id that it had keeps leading to it. Raises
    ObjectExistsError when the name is taken.
    """
    if rename is None or (not rename and entry.own_name is None):
        return entry
    cluster.catalog.check_free(rename or None, owner=entry)
    return replace(entry, name=rename or None)


def changed_policy(
    cluster: Cluster, template: str | None, given: requests.Policy
) -> dict[str, Any]:
    """Return what an update changes about template and policy."""
    values: dict[str, Any] = {}
    if template:
        values = policy.inherited(cluster.catalog.template(template))
    return {**values, **policy.explicit(cluster, given)}


def delete_date(cluster: Cluster, lifetime: requests.Lifetime) -> int | None:
    """Return when to delete: a moment in seconds, 0 for never, None for not given.

    Raises InvalidParamError for a moment in the past [sptypes], or one that has no 64 bits. Dates
    count for nothing when the switch `deferred_deletion` is off.
    """
    if cluster.switches["deferred_deletion"] == "off":
        return None
    if lifetime.delete_after is not None:
        moment = int(cluster.now()) + lifetime.delete_after if lifetime.delete_after else 0
        if moment > fields.LARGEST:
            raise errors.InvalidParamError("'deleteAfter' is too far away.")
        return moment
    if lifetime.target_delete_date and lifetime.target_delete_date < cluster.now():
        raise errors.InvalidParamError("'targetDeleteDate' is in the past.")
    return lifetime.target_delete_date


def group_reply(cluster: Cluster, pairs: Sequence[tuple[Entry, Entry]]) -> dict[str, Any]:
    """Return a GroupSnapshotsResult: `remoteId` is the id of the snapshot [sptypes].

    `snapshotName` is read from it [addon mc], and not in the binding.
    """
    newest = cluster.switches["reply_fields"] == "newest"
    rows = [_group_row(volume, snapshot) for volume, snapshot in pairs]
    if newest:
        rows = [{**row, "snapshotName": row["snapshot"]} for row in rows]
    return {"snapshots": rows}


def _group_row(volume: Entry, snapshot: Entry) -> dict[str, Any]:
    return {
        "volume": volume.listed_name,
        "volumeGlobalId": volume.wire_id,
        "snapshot": snapshot.listed_name,
        "remoteId": snapshot.wire_id,
        "snapshotGlobalId": snapshot.wire_id,
    }


def _automatic_name(
    cluster: Cluster, volume: Entry, number: int, asked_for: str | None
) -> str | None:
    """Return `<volume>@<serial>` [kb], or None: then it is listed by its id.

    That is what the name "" asks for [cs]. Without a name one is generated, also of an unnamed
    volume [pve b3e0726]: how it looks then is a guess, but for that the pattern of names allows no
    `~` in it [sptypes].
    """
    if asked_for == "" and cluster.switches["empty_name"] == "unnamed":
        return None
    if volume.own_name is not None:
        return f"{volume.own_name}@{number}"
    if cluster.switches["unnamed_auto_name"] == "gid":
        return None
    return f"{volume.kept_id or volume.wire_id}@{number}"
