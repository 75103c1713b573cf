"""Copies in other locations: the calls that StorPool has for them, with typed replies.

A backup is one call for any number of volumes, of one moment. It answers before the data are over:
a snapshot here, the *base*, holds them meanwhile, and the copy there recovers. When it has come the
copy is exported to us, and listed, and StorPool does away with the base.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import replies
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from storpool_ovirt.cluster import api


class Made(NamedTuple):
    """A copy that was begun: its global id, which is the same in both locations, and its base's."""

    remote_id: str
    base_id: str | None


class Listed(NamedTuple):
    """A snapshot of another location that we may have (`storpool.sptypes.RemoteSnapshot`): all of
    its data are there.

    `local` tells that it is here too; `made_from` is the volume's id then, where that is told.
    """

    remote_id: str
    name: str
    location: str
    size_bytes: int
    created_at: float
    tags: Mapping[str, str]
    local: bool
    made_from: str | None


class Export(NamedTuple):
    """A snapshot of ours that another location may have; `is_base`: of a copy that is on its
    way."""

    global_id: str
    location: str
    is_base: bool


class Fetch(NamedTuple):
    """A copy that shall come here, and the name, the tags and the template that it gets."""

    location: str
    remote_id: str
    name: str
    tags: Mapping[str, str]
    template: str | None = None


class State(NamedTuple):
    """A copy as the cluster has it that it is in: whether its data are still to come, and when it
    goes by itself, in seconds since 1970; 0 is never."""

    recovering: bool
    goes_at: float


def locations(client: api.Client) -> dict[str, str]:
    """Return the id of each other location by its name (`LocationsList`)."""
    data = client._ask("cluster", "locationsList", "", ())

    def read(raw: Any) -> dict[str, str]:
        found = replies.entries(replies.mapping(raw).get("locations"))
        return {replies.text(each, "name"): replies.text(each, "id") for each in found}

    return client._read("locationsList", read, data)


def check_location(client: api.Client, location: str) -> str:
    """Return the id of a location; raise NotFound naming those that there are."""
    known = locations(client)
    if location not in known:
        there = ", ".join(sorted(known)) or "none"
        raise errors.NotFound(
            "location", location, f"in the StorPool cluster at {client.address}: it knows {there}"
        )
    return known[location]


def clusters(client: api.Client, location: str) -> list[str]:
    """Return the ids of the clusters of a location, as far as they are registered
    (`ClustersList`)."""
    location_id = locations(client).get(location)
    data = client._ask("cluster", "clustersList", "", ())

    def read(raw: Any) -> list[str]:
        found = replies.entries(replies.mapping(raw).get("clusters"))
        return [
            f"{location_id}.{replies.text(each, 'id')}"
            for each in found
            if replies.text(each, "location") == location
        ]

    return client._read("clustersList", read, data) if location_id else []


def backup(
    client: api.Client,
    volumes: Sequence[api.Volume],
    location: str,
    tags: Mapping[str, str],
) -> list[Made]:
    """Begin to copy what these volumes hold now, at one moment, all or none
    (`VolumesGroupBackup`); return the copies in the order of the volumes.

    Not repeated here. Raises NotFound for a volume or a location that is not there.
    """
    what = ", ".join(each.name for each in volumes)
    body = {
        "location": location,
        "volumes": [names.address(each.global_id) for each in volumes],
        "tags": dict(tags),
    }
    kind = "volume or location"
    data = client._ask(kind, "volumesGroupBackup", f"{what} to {location}", (body,), repeat=False)
    made = client._read_made("volumesGroupBackup", copies, data)
    found = [copy_of(made, each) for each in volumes]
    if None in found:
        missing = ", ".join(each.name for each, its in zip(volumes, found) if its is None)
        raise errors.Conflict(
            f"the copy of {what} in {location}",
            f"was made without {missing}",
            "not all of it is of one moment; try again",
        )
    return [each for each in found if each is not None]


def listed(client: api.Client) -> list[Listed]:
    """Return what other locations have for us (`SnapshotsRemoteList`).

    What cannot be reached now may be left out: what is missing proves nothing.
    """
    data = client._ask("cluster", "snapshotsRemoteList", "", ())
    return client._read(
        "snapshotsRemoteList", lambda raw: _listed(raw, "snapshots", _snapshot), data
    )


def exports(client: api.Client) -> list[Export]:
    """Return which snapshots of ours are other locations' too (`ExportsList`)."""
    data = client._ask("cluster", "exportsList", "", ())
    return client._read("exportsList", lambda raw: _listed(raw, "exports", _export), data)


def fetch(client: api.Client, wanted: Fetch) -> bool:
    """Have a snapshot of another location here, under the same global id (`SnapshotFromRemote`);
    return false where it was here already.

    Its data come after the call: who reads meanwhile reads over there, or waits. Raises NotFound
    where the location has none for us, Conflict where the name is another object's.
    """
    names.check_length(wanted.name, wanted.tags)
    body: dict[str, object] = {
        "remoteLocation": wanted.location,
        "remoteId": wanted.remote_id,
        "name": wanted.name,
        "tags": dict(wanted.tags),
    }
    if wanted.template is not None:
        body["template"] = wanted.template
    what = f"~{wanted.remote_id} of {wanted.location}"
    try:
        client._ask("copy or location", "snapshotFromRemote", what, (body,))
    except errors.Exists:
        try:
            client.snapshot(names.address(wanted.remote_id))
        except errors.NotFound:  # it is the name that is taken
            raise errors.Conflict(
                wanted.name, "is the name of another object", "delete or rename that one first"
            ) from None
        return False
    return True


def give_up(client: api.Client, location: str, remote_id: str, after_seconds: int) -> None:
    """Tell another location that we use a copy no more, and that it shall delete it after so long
    (`SnapshotsRemoteUnexport`).

    It may ignore the time without a word (StorPool's knowledge base, "deferred deletion"): look
    with `state` afterwards. Raises NotFound where it is not ours to give up, or was already.
    """
    item = {"location": location, "globalSnapshotId": remote_id, "deleteAfter": after_seconds}
    body = {"remoteSnapshots": [item]}
    client._ask("copy", "snapshotsRemoteUnexport", f"~{remote_id} of {location}", (body,))


def state(client: api.Client, location: str, remote_id: str) -> State:
    """Return a copy as its location has it, asked by `RemoteCommand/`.

    Raises NotFound where every cluster of the location says that it has none; ApiUnavailable or
    Rejected where one cannot be asked.
    """
    there = clusters(client, location)
    missing = errors.NotFound("copy", f"~{remote_id}", f"in location {location}")
    failed: errors.Error | None = None if there else _unasked(location)
    for cluster_id in there:
        far = client._alone(cluster_id)
        far.give_up_after(0)
        try:
            found = far._list("copy", "snapshotList", (names.address(remote_id),), _state)
        except errors.NotFound as error:
            missing = error
        except (errors.ApiUnavailable, errors.Rejected, errors.WrongCluster) as error:
            failed = error
        else:
            if found and found[0] is not None:
                return found[0]
    raise failed or missing


def is_recovering(client: api.Client, global_id: str) -> bool:
    """Return whether the data of a snapshot that was fetched are still to come.

    Raises NotFound where it is not here any more.
    """
    address = names.address(global_id)
    for found in client._list("snapshot", "snapshotList", (address,), _state):
        if found is not None:
            return found.recovering
    raise errors.NotFound("snapshot", address, "any more: StorPool is about to drop it")


def tagged(client: api.Client, location: str, key: str, value: str) -> list[api.Volume]:
    """Return the copies of a location that carry this tag, on their way or there, asked by
    `RemoteCommand/`; raise as `state` does where a cluster cannot be asked."""
    there = clusters(client, location)
    if not there:
        raise _unasked(location)
    found = []
    for cluster_id in there:
        far = client._alone(cluster_id)
        far.give_up_after(0)
        found += [
            each for each in far.snapshots() if each.tags.get(key) == value and not each.dying
        ]
    return found


def _unasked(location: str) -> errors.Error:
    return errors.Rejected(f"location {location}", "unknown", "no cluster of it is registered here")


def copies(raw: Any) -> dict[str, Made]:
    """Return what a backup made, by the keys of its reply. Raises OddReply."""
    each = replies.part(raw, "backups")
    return {key: _copy(replies.mapping(each[key])) for key in each}


def copy_of(made: Mapping[str, Made], volume: api.Volume) -> Made | None:
    """Return the copy of a volume in a reply, whose keys are names, or ids with and without `~`;
    None where it has none."""
    ids = (volume.global_id, volume.first_id, names.kept_id(volume.name))
    known = [each for each in ids if each]
    keys = (volume.name, *map(names.address, known), *known)
    return next((made[key] for key in keys if key in made), None)


def _copy(raw: Mapping[str, Any]) -> Made:
    remote_id = str(replies.global_id(raw, "remoteId"))
    return Made(remote_id, replies.global_id(raw, "snapshotGlobalId", None))


def _listed(raw: Any, key: str, parse: Any) -> list[Any]:
    return [parse(each) for each in replies.entries(replies.mapping(raw).get(key))]


def _snapshot(raw: Mapping[str, Any]) -> Listed:
    return Listed(
        remote_id=str(replies.global_id(raw, "remoteId")),
        name=replies.text(raw, "name"),
        location=replies.text(raw, "location"),
        size_bytes=replies.number(raw, "size"),
        created_at=float(replies.number(raw, "creationTimestamp", 0)),
        tags=replies.tags(raw),
        local=bool(replies.text(raw, "localSnapshot", "")),
        made_from=replies.global_id(raw, "createdFromGlobalId", None),
    )


def _export(raw: Mapping[str, Any]) -> Export:
    return Export(
        str(replies.global_id(raw, "globalId")),
        replies.text(raw, "location"),
        bool(raw.get("backingUp")),
    )


def _state(raw: Mapping[str, Any]) -> State | None:
    if bool(raw.get("deleted")) or replies.text(raw, "name").startswith("*"):
        return None  # it is listed for a while
    goes_at = float(replies.number(raw, "targetDeleteDate", 0)) or replies.NEVER
    return State(bool(raw.get("recoveringFromRemote")), goes_at)
