"""The bodies of requests about exports, backups and copies, parsed once [sptypes]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storpool_simulator import errors
from storpool_simulator.model import fields, requests
from storpool_simulator.model.fields import Fields
from storpool_simulator.model.requests import Policy


@dataclass(frozen=True)
class Backup:
    """VolumeBackupDesc, with one volume, and VolumesGroupBackupDesc."""

    volumes: tuple[str, ...]
    location: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class FromRemote:
    """SnapshotFromRemoteDesc and VolumeFromRemoteDesc; None of the tags was not given."""

    location: str
    remote_id: str
    name: str | None
    template: str | None
    policy: Policy
    export: bool
    tags: Mapping[str, str] | None


@dataclass(frozen=True)
class SnapshotExport:
    """SnapshotExportDesc."""

    snapshot: str
    location: str


@dataclass(frozen=True)
class SnapshotUnexport:
    """SnapshotUnexportDesc; `location` is None for all."""

    snapshot: str
    location: str | None
    force: bool


@dataclass(frozen=True)
class RemoteUnexport:
    """SnapshotRemoteUnexportDesc; a date and a delay of 0 are none."""

    location: str
    remote_id: str
    target_delete_date: int
    delete_after: int


@dataclass(frozen=True)
class ClusterNamed:
    """VolumeExportDesc: another cluster, by its name or its id."""

    name: str | None
    cluster_id: str | None


def backup(body: Fields, *, either: bool) -> Backup:
    """Parse VolumeBackup; with `either`, `remote` is another word for `location` [addon mc]."""
    return _backup(body, (body.required("volume"),), either=either)


def group_backup(body: Fields, *, either: bool) -> Backup:
    """Parse VolumesGroupBackup."""
    volumes = body.raw("volumes")
    is_list = isinstance(volumes, list) and all(isinstance(one, str) for one in volumes)
    if not volumes or not isinstance(volumes, list) or not is_list:
        raise body.wrong("volumes", "a list of names that is not empty")
    return _backup(body, tuple(volumes), either=either)


def _backup(body: Fields, volumes: tuple[str, ...], *, either: bool) -> Backup:
    key = "remote" if either and body.text("location") is None else "location"
    parsed = Backup(volumes, body.required(key), body.tags() or {})
    body.end()
    return parsed


def from_remote(body: Fields, *, named: bool) -> FromRemote:
    """Parse SnapshotFromRemote, and with `named` VolumeFromRemote: the volume has a name."""
    parsed = FromRemote(
        location=body.required("remoteLocation"),
        remote_id=_global_id(body, "remoteId"),
        name=body.name("name") or None,
        template=body.reference("template"),
        policy=requests.policy(body),
        export=body.flag("export") or False,
        tags=body.tags(),
    )
    body.end()
    if named and parsed.name is None:
        raise errors.InvalidParamError(f"{body.what}: 'name' is missing.")
    return parsed


def snapshot_export(body: Fields) -> SnapshotExport:
    """Parse SnapshotExport."""
    parsed = SnapshotExport(body.required("snapshot"), body.required("location"))
    body.end()
    return parsed


def snapshot_unexport(body: Fields) -> SnapshotUnexport:
    """Parse SnapshotUnexport: exactly one of `location` and `all`."""
    location, of_all = body.text("location"), body.flag("all") or False
    parsed = SnapshotUnexport(body.required("snapshot"), location, body.flag("force") or False)
    body.end()
    if (location is not None) == of_all:
        raise errors.InvalidParamError(f"{body.what}: exactly one of 'location' and 'all'.")
    return parsed


def remote_unexports(body: Fields) -> list[RemoteUnexport]:
    """Parse SnapshotsRemoteUnexport."""
    listed = body.raw("remoteSnapshots")
    if not isinstance(listed, list) or not listed:
        raise body.wrong("remoteSnapshots", "a list that is not empty")
    body.end()
    what = f"{body.what} remoteSnapshots"
    return [_remote_unexport(Fields(one, what, body.switches)) for one in listed]


def _remote_unexport(item: Fields) -> RemoteUnexport:
    parsed = RemoteUnexport(
        location=item.required("location"),
        remote_id=_global_id(item, "globalSnapshotId"),
        target_delete_date=item.integer("targetDeleteDate") or 0,
        delete_after=item.integer("deleteAfter") or 0,
    )
    item.end()
    return parsed


def volume_export(body: Fields) -> ClusterNamed:
    """Parse VolumeExport: exactly one of `cluster` and `clusterId`."""
    parsed = ClusterNamed(body.text("cluster"), body.text("clusterId"))
    body.end()
    if (parsed.name is None) == (parsed.cluster_id is None):
        raise errors.InvalidParamError(f"{body.what}: exactly one of 'cluster' and 'clusterId'.")
    return parsed


def _global_id(body: Fields, key: str) -> str:
    """Return a global id, which comes without `~` [cloudstack-dr]."""
    value = body.required(key)
    if not fields.GLOBAL_ID.fullmatch(f"~{value}"):
        raise body.wrong(key, "a global id without '~'")
    return value
