"""Many verbs at once, started as Engine starts them, and what may be there after them.

A verb takes effect at some moment between its start and its end, so two that overlap may have come
in either order. The history of an object is therefore intervals: at any time it is there, or it is
not, or nobody can tell; and a verb's answer has to be true at some moment of its run.
"""

from __future__ import annotations

import collections
import json
import random
import re
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from ovirt_demo import engine
from rigs import refusals, services
from rigs.shared_stage import FACTS, answered, new_id, sql
from rigs.stage_fixtures import Stage
from storpool_ovirt import trash_names

LIMIT_SECONDS = (
    60.0  # until a condition is true that becomes true within moments where nothing is wrong
)
FOREVER = float("inf")


# What mapping and cluster have


class Node(NamedTuple):
    """An object as the mapping or as the cluster tells of it."""

    uuid: str
    kind: str
    root: str
    global_id: str
    size_bytes: int


class Row(NamedTuple):
    """A row of the mapping."""

    node: Node
    state: str
    active: str | None


def mapped(stage: Stage) -> list[Row]:
    """List the rows of the mapping."""
    columns = "uuid::text, kind, root::text, global_id, size_bytes, state, active::text"
    return [
        Row(Node(*row[:5]), *row[5:])
        for row in sql(stage.database, f"SELECT {columns} FROM storpool_ovirt.node")
    ]


def listed(stage: Stage) -> list[Node]:
    """List what the cluster has with the tags of an Engine, but for snapshots that it deletes
    already, and for what is in the trash."""
    found = []
    for kind, query in (("volume", "VolumesList"), ("snapshot", "SnapshotsList")):
        for each in stage.simulator.api(query):
            if (
                "ovirt-loc" in each["tags"]
                and not each.get("deleted")
                and not each.get("transient")
                and not trash_names.entry_of(each["name"])
            ):
                uuid = each["name"].partition("ovirt--")[2]
                root = each["tags"].get("ovirt-root", uuid)
                found.append(Node(uuid, kind, root, each["globalId"], each["size"]))
    return found


def disagreements(stage: Stage, roots: Collection[str] | None = None) -> list[str]:
    """Tell where mapping and cluster disagree: in these disks, or in all."""
    rows = [row for row in mapped(stage) if roots is None or row.node.root in roots]
    things = [thing for thing in listed(stage) if roots is None or thing.root in roots]
    live = {row.node for row in rows if row.state == "live"}
    volumes = {(row.node.root, row.node.uuid) for row in rows if row.node.kind == "volume"}
    twice = [
        uuid
        for uuid, count in collections.Counter(thing.uuid for thing in things).items()
        if count > 1
    ]
    return [
        *(f"{row.node} is {row.state}" for row in rows if row.state not in ("live", "removed")),
        *(f"{node} is only in the mapping" for node in live - {*things}),
        *(f"{thing} is only in the cluster" for thing in {*things} - live),
        *(f"two objects have the name of {uuid}" for uuid in twice),
        *(
            f"disk {row.node.uuid} has the active volume {row.active}, which is not there"
            for row in rows
            if row.active and (row.node.root, row.active) not in volumes
        ),
    ]


def others(stage: Stage) -> list[dict[str, object]]:
    """List the facts of what has no tags of an Engine, but for what the cluster itself made of a
    clone and is about to drop, and VolumeCare's."""
    there = services.of(stage.simulator)
    found = [*stage.simulator.api("VolumesList"), *stage.simulator.api("SnapshotsList")]
    lasting = [
        each
        for each in found
        if not (each.get("deleted") or each.get("transient"))
        if there is None or not there.is_theirs(each)
    ]
    return [
        {name: each[name] for name in FACTS} for each in lasting if "ovirt-loc" not in each["tags"]
    ]


# What a crowd did


@dataclass(frozen=True)
class Event:
    """One verb that has ended: what Engine was told, and between which moments it was so."""

    verb: str
    arguments: tuple[str, ...]
    began: float
    ended: float
    payload: str = ""
    refusal: str = ""

    @property
    def subject(self) -> str:
        """The id that the verb needs or takes."""
        return self.arguments[1 if self.verb == "create_volume_from_snapshot" else 0]

    @property
    def target(self) -> str:
        """The id that the verb makes; "" when it makes none."""
        named = {"create_volume": 0, "clone_volume": 1}
        if self.verb in named:
            return self.arguments[named[self.verb]]
        return (
            self.payload if self.verb in ("create_snapshot", "create_volume_from_snapshot") else ""
        )

    def overlaps(self, other: Event) -> bool:
        """Tell whether the two may have come in either order."""
        return self is not other and self.began < other.ended and other.began < self.ended


REFUSALS = {
    "absent": r"there is no ",
    "foreign": r"does not carry our tags|exists in StorPool but not in the mapping database",
    "taken": r"exists with \d+ bytes|was created (from|as) ",
    "used up": r"is being deleted: an id cannot be used again",
    "active": r"is the active volume of its disk",
    "smaller": r"would cut data off",
    "unfinished": r"was never finished",
    "locked": r"another operation works on",
}
NEEDING = (
    "create_snapshot",
    "create_volume_from_snapshot",
    "extend_volume",
    "connect_volume",
    "clone_volume",
)
DROPPING = ("delete_volume", "remove_snapshot")


def kind_of(refusal: str) -> str:
    """Return the kind of a refusal; "unknown" for a sentence that a crowd should never see."""
    return next(
        (kind for kind, pattern in REFUSALS.items() if re.search(pattern, refusal)), "unknown"
    )


class History:
    """What a crowd did, and what follows from it for each object.

    `foreign` are ids whose names others have.
    """

    def __init__(self, events: Collection[Event], foreign: Collection[str]) -> None:
        self.events = sorted(events, key=lambda event: event.began)
        self.foreign = foreign
        self.roots: dict[str, str] = {}
        self._makes: dict[str, list[Event]] = collections.defaultdict(list)
        self._drops: dict[str, list[Event]] = collections.defaultdict(list)
        for event in self.events:
            if event.target and not event.refusal:
                disk = event.verb in ("create_volume", "clone_volume")
                self.roots[event.target] = (
                    event.target if disk else self.roots.get(event.subject, event.subject)
                )
                self._makes[event.target].append(event)
            if event.verb in DROPPING and not event.refusal:
                self._drops[event.subject].append(event)

    def there(self, uuid: str, began: float = FOREVER, ended: float = FOREVER) -> bool | None:
        """Tell whether an object was there, or was not, from the one moment to the other; None:
        that depends."""
        makes = [make for make in self._makes[uuid] if make.began < ended]
        drops = [drop for drop in self._drops_of(uuid) if drop.began < ended]
        if any(
            make.ended < began and all(drop.ended < make.began for drop in drops) for make in makes
        ):
            return True
        if not makes or any(
            drop.ended < began and all(make.ended < drop.began for make in makes) for drop in drops
        ):
            return False
        return None

    def wrong(self) -> list[str]:
        """Tell which answers no order of the verbs explains."""
        reasons = (
            (event, self._untrue(event) if event.refusal else self._unearned(event))
            for event in self.events
        )
        return [f"{event}: {reason}" for event, reason in reasons if reason]

    def contradicted(self, there: Collection[str]) -> list[str]:
        """Tell which objects are there, or are not, against what the answers said."""
        verdicts = {uuid: self.there(uuid) for uuid in {*self.roots, *there}}
        return [uuid for uuid, verdict in verdicts.items() if verdict not in (None, uuid in there)]

    def _drops_of(self, uuid: str) -> list[Event]:
        whole = [
            drop for drop in self._drops[self.roots.get(uuid, uuid)] if drop.verb == "delete_volume"
        ]
        return [*self._drops[uuid], *(drop for drop in whole if drop.subject != uuid)]

    def _unearned(self, event: Event) -> str:
        """Tell why a success cannot be true."""
        if event.verb in DROPPING and event.subject in self.foreign:
            return "it is another owner's"
        # The volume that a disk's id means where it is to grow may be another than the disk's
        # first.
        grows = event.verb == "extend_volume" and self.roots.get(event.subject) == event.subject
        absent = self.there(event.subject, event.began, event.ended) is False
        return "it was not there" if event.verb in NEEDING and absent and not grows else ""

    def _untrue(self, event: Event) -> str:
        """Tell why a refusal cannot be true."""
        subject, target = (
            self.there(uuid, event.began, event.ended) for uuid in (event.subject, event.target)
        )
        others = [other for other in self.events if other.overlaps(event)]
        explained = {
            "absent": event.verb in NEEDING and subject is not True,
            "foreign": {event.subject, event.target} & {*self.foreign},
            "taken": target is not False,
            "used up": any(drop.began < event.ended for drop in self._drops[event.target]),
            "active": event.verb == "remove_snapshot" and subject is not False,
            "smaller": event.verb == "extend_volume",
            "unfinished": any(other.target == event.subject for other in others),
            "locked": others,
        }
        kind = kind_of(event.refusal)
        return "" if explained.get(kind) else f"{kind} was never so"


# The crowd itself


class Draw(NamedTuple):
    """What chance has chosen for one verb before any has run."""

    verb: str
    disk: str
    other: str
    choice: float
    size: str


WEIGHTS = {
    "create_volume": 8,
    "extend_volume": 5,
    "create_snapshot": 6,
    "create_volume_from_snapshot": 6,
    "remove_snapshot": 4,
    "clone_volume": 4,
    "connect_volume": 4,
    "delete_volume": 2,
    "storage_stats": 1,
}
RECENT = 5  # of a disk's snapshots and previews that a verb may name: some are gone, most are not


@dataclass
class Crowd:
    """Verbs on the same few disks, many at a time."""

    caller: engine.Engine
    disks: Sequence[str]
    at_a_time: int
    random: random.Random
    events: list[Event] = field(default_factory=list)
    _made: dict[tuple[str, str], list[str]] = field(
        default_factory=lambda: collections.defaultdict(list)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, verbs: int, limit_seconds: float) -> None:
        """Run so many verbs: whenever one ends the next one starts; none starts after the limit."""
        end = time.monotonic() + limit_seconds
        draws = [self._draw() for _ in range(verbs)]
        with ThreadPoolExecutor(self.at_a_time) as pool:
            for done in [pool.submit(self._run, draw, end) for draw in draws]:
                done.result()

    def _draw(self) -> Draw:
        disk, other = self.random.sample(self.disks, 2)
        [verb] = self.random.choices([*WEIGHTS], [*WEIGHTS.values()])
        return Draw(verb, disk, other, self.random.random(), str(self.random.randint(1, 4)))

    def _run(self, draw: Draw, end: float) -> None:
        if time.monotonic() > end:
            return
        verb, *arguments = self._call(draw)
        began = time.monotonic()
        result = self.caller.run(verb, *arguments)
        ended = time.monotonic()
        told = (
            {"payload": answered(result)}
            if result.returncode == 0
            else {"refusal": refusals.of_verb(result)}
        )
        event = Event(verb, tuple(arguments), began, ended, **told)
        with self._lock:
            self.events.append(event)
            if event.payload and event.target:
                self._made[draw.disk, verb].append(event.target)

    def _call(self, draw: Draw) -> list[str]:
        """Fill in the ids that are known by now."""
        with self._lock:
            snapshots = self._made[draw.disk, "create_snapshot"][-RECENT:]
            previews = self._made[draw.disk, "create_volume_from_snapshot"][-RECENT:]
        if not snapshots and draw.verb in ("create_volume_from_snapshot", "remove_snapshot"):
            return ["create_snapshot", draw.disk]
        volume = self._one([draw.disk, *previews], draw)
        arguments = {
            "create_volume": [draw.disk, draw.size],
            "extend_volume": [volume, draw.size],
            "create_snapshot": [volume],
            "create_volume_from_snapshot": [draw.disk, self._one(snapshots or [""], draw)],
            "remove_snapshot": [self._one([*snapshots, draw.disk, *previews], draw), draw.disk],
            "clone_volume": [self._one([draw.disk, *snapshots, *previews], draw), draw.other],
            "connect_volume": [
                self._one([draw.disk, *snapshots, *previews], draw),
                json.dumps({"host": new_id()}),
            ],
            "delete_volume": [self._one([draw.disk, *previews], draw)],
            "storage_stats": ["true"],
        }
        return [draw.verb, *arguments[draw.verb]]

    def _one(self, ids: Sequence[str], draw: Draw) -> str:
        return ids[int(draw.choice * len(ids))]


def told(events: Collection[Event]) -> str:
    """Count what a crowd did: verbs that succeeded, and refusals by their kinds."""
    done = collections.Counter(event.verb for event in events if not event.refusal)
    refusals = collections.Counter(
        f"{event.verb} {kind_of(event.refusal)}" for event in events if event.refusal
    )
    return (
        f"{len(events)} verbs, succeeded {dict(sorted(done.items()))}, refused"
        f" {dict(sorted(refusals.items()))}"
    )
