"""The bodies of requests as frozen values, parsed once.

The names of the fields are those of the official binding [sptypes].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from storpool_simulator import errors, switches
from storpool_simulator.model import fields
from storpool_simulator.model.fields import Fields

ON_ATTACHED = ("fail", "detach", "detachForce", "export")  # [sptypes] OnAttached
MC_MODES = ("move", "export")  # [sptypes] mcMode
LIMIT_TYPES = ("total", "perGiB")  # [sptypes] LimitType


@dataclass(frozen=True)
class Policy:
    """Where a volume is and how fast; None was not given [sptypes] VolumePolicyDesc."""

    replication: int | None = None
    place_all: str | None = None
    place_tail: str | None = None
    place_head: str | None = None
    bw: int | None = None
    iops: int | None = None
    limit_type: str | None = None
    reuse_server: bool | None = None

    def given(self) -> dict[str, object]:
        """Return the fields that were given, by the names of an Entry and a Template."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class VolumeCreate:
    """VolumeCreateDesc."""

    name: str | None
    size_bytes: int | None
    template: str | None
    parent: str | None
    base_on: str | None
    policy: Policy
    tags: Mapping[str, str]


@dataclass(frozen=True)
class VolumeUpdate:
    """VolumeUpdateDesc; a rename of "" drops the name [cs]."""

    rename: str | None
    size_bytes: int | None
    size_add_bytes: int | None
    shrink_ok: bool
    template: str | None
    policy: Policy
    tags: Mapping[str, str] | None


@dataclass(frozen=True)
class Lifetime:
    """When a snapshot is to be deleted; 0 means never, None was not given."""

    target_delete_date: int | None = None
    delete_after: int | None = None


@dataclass(frozen=True)
class SnapshotCreate:
    """VolumeSnapshotDesc, and one element of a group.

    A name of "" is none [cs]; None was not given, and one is generated [kb].
    """

    name: str | None
    bind: bool
    lifetime: Lifetime
    tags: Mapping[str, str]


@dataclass(frozen=True)
class SnapshotUpdate:
    """SnapshotUpdateDesc."""

    rename: str | None
    template: str | None
    bind: bool | None
    lifetime: Lifetime
    policy: Policy
    tags: Mapping[str, str] | None


@dataclass(frozen=True)
class Revert:
    """VolumeRevertDesc, with pve's revertSize."""

    to_snapshot: str
    revert_size: bool


@dataclass(frozen=True)
class Reassign:
    """One item of VolumesReassign; `detach` is None for "all".

    The last three are about other clusters, with their defaults [sptypes].
    """

    target: str
    snapshot: bool
    rw: tuple[int, ...]
    ro: tuple[int, ...]
    detach: tuple[int, ...] | None
    force: bool
    allow_remote_exported: bool = False
    on_remote_attached: str = "export"
    mc_mode: str = "move"


@dataclass(frozen=True)
class TemplateDesc:
    """VolumeTemplateCreateDesc and VolumeTemplateUpdateDesc; `name` is the new name."""

    name: str | None
    parent: str | None
    size_bytes: int | None
    policy: Policy
    tags: Mapping[str, str] | None
    propagate: bool


@dataclass(frozen=True)
class GroupUpdate:
    """PlacementGroupUpdateDesc."""

    rename: str | None
    add_disks: tuple[int, ...]
    remove_disks: tuple[int, ...]


@dataclass(frozen=True)
class MaintenanceSet:
    """MaintenanceSetDesc; what no still picture can break (copies, votes) is read and left."""

    node_id: int
    duration: int
    description: str
    most_nodes: int | None


def volume_create(body: Fields) -> VolumeCreate:
    """Parse VolumeCreate; `name: ""` is no name [cs]."""
    parsed = VolumeCreate(
        name=body.name("name") or None,
        size_bytes=body.size("size"),
        template=body.reference("template"),
        parent=body.reference("parent"),
        base_on=body.reference("baseOn"),
        policy=policy(body),
        tags=_new_tags(body),
    )
    body.end()
    if parsed.parent and parsed.base_on:
        raise errors.InvalidParamError("VolumeCreate: 'parent' and 'baseOn' exclude each other.")
    return parsed


def volume_update(body: Fields) -> VolumeUpdate:
    """Parse VolumeUpdate."""
    parsed = VolumeUpdate(
        rename=body.name("rename"),
        size_bytes=body.size("size"),
        size_add_bytes=body.size("sizeAdd"),
        shrink_ok=body.flag("shrinkOk") or False,
        template=body.reference("template"),
        policy=policy(body),
        tags=body.tags(),
    )
    body.end()
    if parsed.size_bytes and parsed.size_add_bytes:
        raise errors.InvalidParamError("VolumeUpdate: 'size' and 'sizeAdd' exclude each other.")
    return parsed


def on_attached(body: Fields, *, known: bool) -> str:
    """Parse VolumeDelete; return what to do with an attached volume."""
    value = body.choice("onAttached", ON_ATTACHED) if known else None
    body.end()
    return value or "fail"


def freeze(body: Fields) -> Lifetime:
    """Parse VolumeFreeze."""
    parsed = _lifetime(body)
    body.end()
    return parsed


def revert(body: Fields) -> Revert:
    """Parse VolumeRevert."""
    parsed = Revert(
        to_snapshot=body.required("toSnapshot"), revert_size=body.flag("revertSize") or False
    )
    body.end()
    return parsed


def rebase(body: Fields) -> str | None:
    """Parse VolumeRebase and SnapshotRebase; return the new parent, None for none."""
    parsed = body.reference("parentName")
    body.end()
    return parsed


def snapshot_create(body: Fields) -> SnapshotCreate:
    """Parse VolumeSnapshot."""
    parsed = SnapshotCreate(
        name=body.name("name"),
        bind=body.flag("bind") or False,
        lifetime=_lifetime(body),
        tags=_new_tags(body),
    )
    body.end()
    return parsed


def snapshot_update(body: Fields) -> SnapshotUpdate:
    """Parse SnapshotUpdate."""
    parsed = SnapshotUpdate(
        rename=body.name("rename"),
        template=body.reference("template"),
        bind=body.flag("bind"),
        lifetime=_lifetime(body),
        policy=policy(body),
        tags=body.tags(),
    )
    body.end()
    return parsed


def group_snapshot(body: Fields) -> list[tuple[str, SnapshotCreate]]:
    """Parse VolumesGroupSnapshot; return volumes and what to make of each.

    The common tags go to every snapshot [sptypes].
    """
    common = _new_tags(body)
    listed = body.raw("volumes")
    if not isinstance(listed, list) or not listed:
        raise body.wrong("volumes", "a list that is not empty")
    body.end()
    return [
        _group_element(Fields(one, f"{body.what} volumes", body.switches), common) for one in listed
    ]


def _group_element(item: Fields, common: Mapping[str, str]) -> tuple[str, SnapshotCreate]:
    parsed = SnapshotCreate(
        name=item.name("name", fields.SNAPSHOT_NAME),
        bind=False,
        lifetime=Lifetime(),
        tags={**common, **_new_tags(item)},
    )
    volume = item.required("volume")
    item.end()
    return volume, parsed


def reassign_items(value: object, what: str, settings: switches.Switches) -> list[Reassign]:
    """Parse the bare array of VolumesReassign."""
    if not isinstance(value, list):
        raise errors.InvalidParamError(f"{what} must be a JSON array.")
    return [_reassign_item(Fields(one, what, settings)) for one in value]


def _reassign_item(item: Fields) -> Reassign:
    volume, snapshot = item.text("volume"), item.text("snapshot")
    if (volume is None) == (snapshot is None):
        raise errors.InvalidParamError(
            f"{item.what}: exactly one of 'volume' and 'snapshot' is needed."
        )
    parsed = Reassign(
        target=volume or snapshot or "",
        snapshot=snapshot is not None,
        rw=item.client_ids("rw") or (),
        ro=item.client_ids("ro") or (),
        detach=_detached(item),
        force=item.flag("force") or False,
    )
    if not parsed.snapshot:
        parsed = _with_other_clusters(parsed, item)
    item.end()
    _check_rights(parsed, item)
    return parsed


def _with_other_clusters(parsed: Reassign, item: Fields) -> Reassign:
    return replace(
        parsed,
        allow_remote_exported=item.flag("allowRemoteExported") or False,
        on_remote_attached=item.choice("onRemoteAttached", ON_ATTACHED) or "export",
        mc_mode=item.choice("mcMode", MC_MODES) or "move",
    )


def _detached(item: Fields) -> tuple[int, ...] | None:
    if item.raw("detach") == "all":
        return None
    return item.client_ids("detach") or ()


def _check_rights(parsed: Reassign, item: Fields) -> None:
    wanted = {*parsed.rw, *parsed.ro}
    if parsed.snapshot and parsed.rw:
        raise errors.InvalidParamError(
            f"Snapshot '{parsed.target}' can not be attached read-write."
        )
    if set(parsed.rw) & set(parsed.ro):
        raise errors.InvalidParamError(f"{item.what}: a client is in 'rw' and in 'ro'.")
    contradicts = bool(wanted.intersection(parsed.detach or ()))
    if contradicts and item.switches["detach_and_rw"] == "error":
        raise errors.InvalidParamError(f"{item.what}: a client is in 'detach' and in 'rw' or 'ro'.")
    if not wanted and parsed.detach == () and item.switches["empty_item"] == "error":
        raise errors.InvalidParamError(f"{item.what}: nothing is asked for '{parsed.target}'.")


def reassign_wait(value: object, settings: switches.Switches) -> tuple[list[Reassign], int | None]:
    """Parse VolumesReassignWait; return the items and attachTimeout in seconds.

    By the switch `array_on_wait` the bare array of VolumesReassign is taken too: Proxmox sends it
    [pve].
    """
    what = "VolumesReassignWait"
    if isinstance(value, list) and settings.on("array_on_wait"):
        return reassign_items(value, what, settings), None
    body = Fields(value, what, settings)
    items = reassign_items(body.raw("reassign"), what, settings)
    timeout = body.integer("attachTimeout")
    body.end()
    return items, timeout


def template(body: Fields, *, create: bool) -> TemplateDesc:
    """Parse VolumeTemplateCreate and VolumeTemplateUpdate."""
    parsed = TemplateDesc(
        name=body.name("name" if create else "rename", fields.TEMPLATE_NAME) or None,
        parent=body.reference("parent"),
        size_bytes=body.size("size"),
        policy=policy(body),
        tags=_new_tags(body) if create else body.tags(),
        propagate=not create and (body.flag("propagate") or False),
    )
    body.end()
    if create and parsed.name is None:
        raise errors.InvalidParamError(f"{body.what}: 'name' is missing.")
    return parsed


def abandon_disk(body: Fields) -> None:
    """Parse VolumeAbandonDisk."""
    if body.integer("diskId") is None:
        raise body.wrong("diskId", "a disk id")
    body.end()


def bucket_set(body: Fields) -> tuple[Mapping[str, str], int | None]:
    """Parse KV/Set; return the pairs, and the version that the caller knows."""
    pairs, version = body.raw("set"), body.integer("runIfVersionIs")
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise body.wrong("set", "an object of strings")
    body.end()
    return pairs, version


def group_update(body: Fields) -> GroupUpdate:
    """Parse PlacementGroupUpdate."""
    parsed = GroupUpdate(
        rename=body.name("rename", fields.GROUP_NAME) or None,
        add_disks=body.disk_ids("addDisks"),
        remove_disks=body.disk_ids("rmDisks"),
    )
    body.end()
    return parsed


def disk_description(body: Fields) -> str:
    """Parse DiskSetDescription; "" takes the description away."""
    text = body.text("description")
    body.end()
    if text is None or not fields.DISK_DESCRIPTION.fullmatch(text):
        raise body.wrong("description", f"a text of {fields.DISK_DESCRIPTION.pattern}")
    return text


def maintenance_set(body: Fields) -> MaintenanceSet:
    """Parse MaintenanceSet."""
    parsed = MaintenanceSet(
        node_id=_needed(body, "nodeId"),
        duration=_needed(body, "duration"),
        description=body.text("description") or "",
        most_nodes=body.integer("maxNodesInMaintenance"),
    )
    for key in ("minOkReplicas", "maxReplicationDecrease", "votingSafetyMargin"):
        body.integer(key)
    body.end()
    return parsed


def maintenance_complete(body: Fields) -> int:
    """Parse MaintenanceComplete; return the id of the node."""
    node_id = _needed(body, "nodeId")
    body.end()
    return node_id


def _needed(body: Fields, key: str) -> int:
    value = body.integer(key)
    if value is None:
        raise body.wrong(key, "a number")
    return value


def policy(body: Fields) -> Policy:
    """Parse the fields of VolumePolicyDesc but the tags."""
    replication = body.integer("replication", least=1)
    if replication is not None and replication > 3:
        raise body.wrong("replication", "1, 2 or 3")
    return Policy(
        replication=replication,
        place_all=body.text("placeAll"),
        place_tail=body.text("placeTail"),
        place_head=body.text("placeHead"),
        bw=body.limit("bw"),
        iops=body.limit("iops"),
        limit_type=_limit_type(body),
        reuse_server=body.flag("reuseServer"),
    )


def _limit_type(body: Fields) -> str | None:
    """Return whether the limits are for all of a volume or for each GiB of it [kb]."""
    known = body.switches.on("limit_type")
    return body.choice("limitType", LIMIT_TYPES) if known else None


def _new_tags(body: Fields) -> Mapping[str, str]:
    """Return the tags of a new object."""
    given = body.tags() or {}
    if body.switches["tag_empty_new"] == "keep":
        return given
    return {key: value for key, value in given.items() if value}


def _lifetime(body: Fields) -> Lifetime:
    return Lifetime(body.integer("targetDeleteDate"), body.integer("deleteAfter"))
