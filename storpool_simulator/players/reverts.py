"""What `storpool_vcctl` tells and does: the backups that there are, and a VM taken back to one.

All disks of a VM are reverted, or none: it is refused before the first where one is not in the
backup [dr], or is attached, which says that the VM runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from storpool_simulator.players import entities, notes, vc_config, wire

_HOUR = 3600


class RevertError(Exception):
    """A revert is refused, and nothing was changed; the text is one sentence."""


def status(api: wire.Api) -> list[dict[str, Any]]:
    """Return what `status --json` prints: an element for each entity with backups [dr].

    Backups are oldest first [inf]; one whose snapshots are gone is not told.
    """
    noted, now = notes.read(api), api.now()
    alive = _alive(api)
    told: dict[str, dict[str, Any]] = {}
    for backup in sorted(noted.backups, key=lambda each: (each.entity, each.create_ts)):
        if alive.issuperset(backup.map.values()):
            element = {"type": backup.kind, "id": {"name": backup.entity}, "history": []}
            told.setdefault(backup.entity, element)["history"].append(_history(backup, now))
    return list(told.values())


def revert(api: wire.Api, entity_name: str, create_ts: int, *, detach: bool = False) -> list[str]:
    """Take all volumes of an entity back to a backup; return the addresses of what was reverted.

    With `detach` they are detached from all clients first; that is not forced, so StorPool refuses
    it where somebody has one open. Raises RevertError, and CallError for a call that failed: from
    the first revert on VolumeCare takes no backup of the entity until a revert of it has come to
    its end.
    """
    noted = notes.read(api)
    backup = _backup(noted, entity_name, create_ts)
    config = vc_config.parse(noted.config or "")
    found = {each.name: each for each in entities.found(config, api.get("VolumesList"))}
    if entity_name not in found:
        raise RevertError(f"{entity_name} has no volumes any more")
    volumes = found[entity_name].volumes
    _check_complete(api, volumes, backup)
    _free(api, volumes, detach)
    notes.begin_revert(api, backup)
    for volume in volumes:
        body = {"toSnapshot": backup.map[volume.key]}
        api.post(f"VolumeRevert/{volume.address}", body)
    notes.end_revert(api, entity_name)
    return [volume.address for volume in volumes]


def _alive(api: wire.Api) -> set[str]:
    """Return the addresses of the snapshots that are there to stay."""
    return {f"~{one['globalId']}" for one in api.get("SnapshotsList") if not one.get("deleted")}


def _history(backup: notes.Backup, now: float) -> dict[str, Any]:
    location = next(iter(backup.map.values()))[1:].rpartition(".")[0]
    return {
        "create_ts": backup.create_ts,
        "age_in_h": round((now - backup.create_ts) / _HOUR, 2),
        "id": {"location": location},
        "entity_id": {"name": backup.entity},
        "extra_info": {"sp": {"map": dict(backup.map)}},
    }


def _backup(noted: notes.Notes, entity_name: str, create_ts: int) -> notes.Backup:
    for backup in noted.of(entity_name):
        if backup.create_ts == create_ts:
            return backup
    raise RevertError(f"{entity_name} has no backup {create_ts}")


def _check_complete(
    api: wire.Api, volumes: Iterable[entities.Volume], backup: notes.Backup
) -> None:
    alive = _alive(api)
    for volume in volumes:
        snapshot = backup.map.get(volume.key)
        if snapshot is None:
            raise RevertError(f"{volume.name} is not in the backup {backup.create_ts}")
        if snapshot not in alive:
            raise RevertError(f"{snapshot}, the snapshot of {volume.name}, is gone")


def _free(api: wire.Api, volumes: Sequence[entities.Volume], detach: bool) -> None:
    ids = {volume.global_id: volume for volume in volumes}
    attached: dict[str, list[int]] = {}
    for one in api.get("AttachmentsList"):
        if one["globalId"] in ids:
            attached.setdefault(one["globalId"], []).append(one["client"])
    if not attached:
        return
    if not detach:
        each = ", ".join(
            f"{ids[key].name} by client {', '.join(map(str, clients))}"
            for key, clients in attached.items()
        )
        raise RevertError(f"the VM may run: attached are {each}; stop it, or give --detach")
    items = [{"volume": ids[key].address, "detach": "all"} for key in attached]
    api.post("VolumesReassignWait", {"reassign": items})
