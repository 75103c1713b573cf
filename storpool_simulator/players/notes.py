"""What VolumeCare keeps in the cluster's key-value store: its configuration and its backups.

That the configuration is there is known [kb]; the rest, and all names, are ours [inf]. A pass that
dies is finished by the next one: an intent is written before the snapshots are taken, and goes in
the same write as the note of the backup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from storpool_simulator.players import wire

BUCKET = "storpool_volumecare"
_CONFIG = "config"
_BACKUP, _INTENT, _REVERT = "backup", "taking", "reverting"


@dataclass(frozen=True)
class Backup:
    """Snapshots of one entity of one moment.

    `map` leads from volumes to snapshots as `~<global id>`, `until` is when it is to go.
    """

    kind: str
    entity: str
    policy: str
    create_ts: int
    until: int
    map: Mapping[str, str]

    @property
    def key(self) -> str:
        """Where it is in the bucket."""
        return f"{_BACKUP}/{self.entity}/{self.create_ts}"


@dataclass(frozen=True)
class Intent:
    """A backup that is about to be taken; `map` leads from global ids to keys of the backup's."""

    backup: Backup

    @property
    def key(self) -> str:
        """Where it is in the bucket: an entity has one."""
        return f"{_INTENT}/{self.backup.entity}"


@dataclass(frozen=True)
class Notes:
    """Everything in the bucket at one moment."""

    config: str | None
    backups: tuple[Backup, ...]
    intents: tuple[Intent, ...]
    reverting: frozenset[str]

    def of(self, entity: str) -> list[Backup]:
        """Return the backups of an entity, oldest first."""
        mine = [each for each in self.backups if each.entity == entity]
        return sorted(mine, key=lambda each: each.create_ts)


def read(api: wire.Api) -> Notes:
    """Return all notes; raises CallError."""
    pairs = api.pairs(BUCKET)
    return Notes(
        config=pairs.get(_CONFIG),
        backups=tuple(Backup(**facts) for facts in _of(pairs, _BACKUP)),
        intents=tuple(Intent(Backup(**facts)) for facts in _of(pairs, _INTENT)),
        reverting=frozenset(facts["entity"] for facts in _of(pairs, _REVERT)),
    )


def configure(api: wire.Api, text: str) -> None:
    """Write the configuration."""
    api.store(BUCKET, {_CONFIG: text})


def intend(api: wire.Api, intent: Intent) -> None:
    """Write that a backup is about to be taken."""
    api.store(BUCKET, {intent.key: json.dumps(asdict(intent.backup))})


def settle(api: wire.Api, intent: Intent, snapshots: Mapping[str, str] | None) -> Backup | None:
    """Write which snapshots were taken, and that nothing is under way; None for none."""
    if snapshots is None:
        api.store(BUCKET, {intent.key: ""})
        return None
    backup = replace(
        intent.backup,
        map={key: snapshots[global_id] for global_id, key in intent.backup.map.items()},
    )
    api.store(BUCKET, {backup.key: json.dumps(asdict(backup)), intent.key: ""})
    return backup


def forget(api: wire.Api, backup: Backup) -> None:
    """Drop the note of a backup."""
    api.store(BUCKET, {backup.key: ""})


def begin_revert(api: wire.Api, backup: Backup) -> None:
    """Write that an entity is being reverted: no backup of it is taken until `end_revert`."""
    facts = {"entity": backup.entity, "create_ts": backup.create_ts}
    api.store(BUCKET, {f"{_REVERT}/{backup.entity}": json.dumps(facts)})


def end_revert(api: wire.Api, entity: str) -> None:
    """Write that all volumes of an entity are reverted."""
    api.store(BUCKET, {f"{_REVERT}/{entity}": ""})


def _of(pairs: Mapping[str, str], kind: str) -> list[dict[str, Any]]:
    return [json.loads(text) for key, text in pairs.items() if key.startswith(f"{kind}/")]
