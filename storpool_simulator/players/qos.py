"""storpool_qos: once a minute the limits of everything in a tier are set as the tier says [kb].

A volume or snapshot is in a tier when its tag `qc`, or the name of its template, is that tier's
name [kb]. What is in none is left as it is, also where the tag names a tier that there is not: the
service says nothing of it [inf]. Limits that somebody sets by hand live until the next pass [cs].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storpool_simulator.players import tiers, wire

NAME = "qos"
PERIOD = 60.0  # seconds: "once a minute" [cs]
TAG = "qc"  # [kb]
# Where the service keeps its tiers is not known: in the key-value store, as VolumeCare does [inf].
BUCKET, KEY = "storpool_qos", "tiers"


@dataclass(frozen=True)
class _Rules:
    """The switches, as they are for one pass."""

    template_first: bool
    moves: bool


class Qos:
    """The service; a pass is `play`."""

    name = NAME
    period = PERIOD

    def __init__(self, api: wire.Api) -> None:
        self._api = api

    def provide(self, text: str) -> None:
        """Give the service its tiers, which have been checked; raises CallError."""
        self._api.store(BUCKET, {KEY: text})

    def play(self) -> dict[str, Any]:
        """Make one pass.

        Returns what was `changed` and what `failed`, by object: one that fails stops no other.
        Raises CallError when the lists cannot be had, ValueError for tiers that are none.
        """
        switches = self._api.switches()
        if switches["qos_service"] == "off":
            return {"off": True}
        known = tiers.parse(self._api.pairs(BUCKET).get(KEY, "{}"))
        rules = _Rules(
            template_first=switches["qos_wins"] == "template",
            moves=switches["qos_template"] == "follow",
        )
        changed: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for address, query, wanted in self._wanted(known, rules):
            try:
                self._api.post(f"{query}/{address}", wanted)
                changed[address] = wanted
            except wire.CallError as problem:
                failed[address] = str(problem)
        return {"changed": changed, "failed": failed}

    def _wanted(
        self, known: Mapping[str, tiers.Tier], rules: _Rules
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield what differs: an object's address, the query that changes it, its body."""
        templates = self._api.get("VolumeTemplatesList") if rules.moves else []
        names = {one["name"] for one in templates}
        for one in self._api.get("VolumesList"):
            change = _change(one, known, rules, names)
            if change:
                yield f"~{one['globalId']}", "VolumeUpdate", change
        for one in self._api.get("SnapshotsList"):
            is_going = one.get("deleted") or one.get("transient")
            change = {} if is_going else _change(one, known, rules, set())
            if change:
                yield f"~{one['globalId']}", "SnapshotUpdate", change


def tier_of(
    view: Mapping[str, Any], known: Mapping[str, tiers.Tier], template_first: bool
) -> str | None:
    """Return the name of the tier of a listed object, None for none."""
    candidates = [view.get("tags", {}).get(TAG), view.get("templateName")]
    if template_first:
        candidates.reverse()
    return next((each for each in candidates if each in known), None)


def _change(
    view: Mapping[str, Any],
    known: Mapping[str, tiers.Tier],
    rules: _Rules,
    templates: set[str],
) -> dict[str, Any]:
    """Return the update that an object needs, empty for none.

    With the switch `qos_template` a class chooses the template of its name too [sp-os].
    """
    name = tier_of(view, known, rules.template_first)
    if name is None:
        return {}
    limits = vars(known[name].limits(view["size"]))
    change: dict[str, Any] = {key: value for key, value in limits.items() if view[key] != value}
    if view.get("limitType", "total") != "total":
        change = {**limits, "limitType": "total"}  # these numbers are for the whole object
    if name in templates and view.get("templateName") != name:
        change = {**limits, **change, "template": name}
    return change
