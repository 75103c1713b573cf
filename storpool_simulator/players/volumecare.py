"""VolumeCare: snapshots of all volumes of a VM at one moment, by policy, for as long as it says.

A pass looks at what an earlier one left half done, takes what is due, and lets go what is over. It
works on lists of one moment: a volume that goes meanwhile makes the group call fail as a whole, and
the next pass takes the VM as it is then.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from storpool_simulator.players import entities, notes, vc_config, wire

_log = logging.getLogger(__name__)
NAME = "volumecare"
PERIOD = 60.0  # seconds; our own: how often the real one looks is not known


@dataclass
class Report:
    """What a pass did, by the names of entities; what failed or was skipped has its sentence."""

    taken: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scene:
    """What a pass goes by: notes, configuration, lists of the cluster, time and switches."""

    noted: notes.Notes
    config: vc_config.Config
    snapshots: Mapping[str, Mapping[str, Any]]
    now: int
    tags: str
    retention: str


class VolumeCare:
    """The service; a pass is `play`."""

    name = NAME
    period = PERIOD

    def __init__(self, api: wire.Api) -> None:
        self._api = api

    def provide(self, text: str) -> None:
        """Give the service its configuration, which was checked, if the cluster has none yet.

        "Once the configuration is transferred, the text file will become obsolete" [kb]. Raises
        CallError.
        """
        if notes.read(self._api).config is None:
            notes.configure(self._api, text)

    def play(self) -> dict[str, Any]:
        """Make one pass; return its report.

        Raises CallError when the cluster cannot be looked at, ValueError for a configuration that
        is none. What fails for one entity stops no other.
        """
        switches = self._api.switches()
        if switches["volumecare_service"] == "off":
            return {"off": True}
        report = Report()
        self._settle(report)
        volumes = self._api.get("VolumesList")
        scene = self._scene(switches)
        for entity in entities.found(scene.config, volumes):
            self._guard(report, entity.name, functools.partial(self._visit, scene, entity, report))
        if report.taken:
            scene = self._scene(switches)
        for backup in scene.noted.backups:
            self._guard(report, backup.entity, functools.partial(self._retain, scene, backup))
        return vars(report)

    def _scene(self, switches: Mapping[str, str]) -> _Scene:
        # Notes first: what they name can only be gone by now, never be unknown to the list.
        noted = notes.read(self._api)
        listed = self._api.get("SnapshotsList")
        return _Scene(
            noted=noted,
            config=vc_config.parse(noted.config or ""),
            snapshots={f"~{one['globalId']}": one for one in listed if not one.get("deleted")},
            now=int(self._api.now()),
            tags=switches["volumecare_tags"],
            retention=switches["volumecare_retention"],
        )

    @staticmethod
    def _guard(report: Report, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except wire.CallError as problem:
            report.failed[name] = str(problem)

    # what is due

    def _visit(self, scene: _Scene, entity: entities.Entity, report: Report) -> None:
        if entity.name in scene.noted.reverting:
            report.skipped[entity.name] = "it is being reverted"
            return
        try:
            policy = entity.policy(scene.config)
        except ValueError as problem:
            report.skipped[entity.name] = str(problem)
            _log.warning("VolumeCare ignores %s: %s", entity.name, problem)
            return
        mine = scene.noted.of(entity.name)
        # The pass that is nearest to the moment takes it: the clock is no whole number of passes.
        if policy is None or (
            mine and scene.now < mine[-1].create_ts + policy.interval - PERIOD / 2
        ):
            return
        self._take(scene, entity, policy)
        report.taken[entity.name] = scene.now

    def _take(self, scene: _Scene, entity: entities.Entity, policy: vc_config.Policy) -> None:
        backup = notes.Backup(
            kind=entity.kind,
            entity=entity.name,
            policy=policy.name,
            create_ts=scene.now,
            until=scene.now + policy.keep,
            map={volume.global_id: volume.key for volume in entity.volumes},
        )
        intent = notes.Intent(backup)
        notes.intend(self._api, intent)
        elements = [
            {"volume": volume.address, "tags": _tags(scene.tags, backup, volume)}
            for volume in entity.volumes
        ]
        try:
            reply = self._api.post("VolumesGroupSnapshot", {"volumes": elements})
        except wire.RefusedError:
            notes.settle(self._api, intent, None)
            raise
        made = {one["volumeGlobalId"]: f"~{one['snapshotGlobalId']}" for one in reply["snapshots"]}
        notes.settle(self._api, intent, made)

    # what an earlier pass left

    def _settle(self, report: Report) -> None:
        """Finish what a pass that died, or whose answer was lost, left between intent and note."""
        noted = notes.read(self._api)
        if not noted.intents:
            return
        listed = self._api.get("SnapshotsList")
        known = {address for backup in noted.backups for address in backup.map.values()}
        for intent in noted.intents:
            made = _made(intent, listed, known)
            expected = dict.fromkeys(intent.backup.map, 1)
            is_whole = {volume: len(each) for volume, each in made.items()} == expected
            if made and not is_whole:
                left = ", ".join(sorted(one for each in made.values() for one in each))
                report.skipped[intent.backup.entity] = (
                    f"left alone, as it is not certain that an earlier pass made them: {left}"
                )
            whole = {volume: each[0] for volume, each in made.items()} if is_whole else None
            notes.settle(self._api, intent, whole)

    # what is over

    def _retain(self, scene: _Scene, backup: notes.Backup) -> None:
        """Have the snapshots of a backup go at their time, and its note once they are gone."""
        alive = [scene.snapshots[each] for each in backup.map.values() if each in scene.snapshots]
        if not alive:
            notes.forget(self._api, backup)
        for one in alive:
            address = f"~{one['globalId']}"
            if scene.now >= backup.until:
                _unless_gone(self._api, f"SnapshotDelete/{address}", {})
            elif scene.retention == "date" and not one.get("targetDeleteDate"):
                body = {"targetDeleteDate": backup.until}
                _unless_gone(self._api, f"SnapshotUpdate/{address}", body)


def _tags(mode: str, backup: notes.Backup, volume: entities.Volume) -> Mapping[str, str]:
    """Return the tags of a snapshot: which it has is not known, so a switch says."""
    if mode == "none":
        return {}
    if mode == "copied":
        return volume.tags
    return {vc_config.POLICY_TAG: backup.policy, "vc-time": str(backup.create_ts)}


def _made(
    intent: notes.Intent, listed: Iterable[Mapping[str, Any]], known: set[str]
) -> dict[str, list[str]]:
    """Return the snapshots that a group call may have made, by the global id of their volume.

    They have no name of their own, are not older than the intent, and no backup has them.
    """
    made: dict[str, list[str]] = {}
    for one in listed:
        address, source = f"~{one['globalId']}", one.get("createdFromGlobalId", "")
        is_own = one.get("autoName") and not one.get("deleted") and not one.get("transient")
        is_new = one["creationTimestamp"] >= intent.backup.create_ts and address not in known
        if is_own and is_new and source in intent.backup.map:
            made.setdefault(source, []).append(address)
    return made


def _unless_gone(api: wire.Api, query: str, body: Mapping[str, Any]) -> None:
    with contextlib.suppress(wire.GoneError):
        api.post(query, body)
