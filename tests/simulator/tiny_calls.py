"""Random calls that make sense often enough, for the tiny model and the simulator alike.

A call names what earlier calls of its history made by their labels (`Ref`), so that a history still
is one when calls are taken out of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from tiny_model import CLIENTS, Model, Thing

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY, NO_ID = "nobody", "no.such.id"
STEP = 512 << 10
MANY = 24  # things, from which on more is deleted than made
NAMES = (*(f"v{number}" for number in range(8)), "")
TEMPLATES = ("nvme", "hdd", "t1", "t2")
BUCKETS = ("b1", "b2")


@dataclass(frozen=True)
class Ref:
    """What a call of the history made, by its name or by one of its ids: of now, or the first."""

    label: str
    by: str

    def resolved(self, model: Model) -> str:
        """Return how a request names it."""
        thing = model.labelled(self.label)
        if thing is None:
            return NO_ID if self.by == "bare id" else NOBODY
        if self.by == "name" and thing.name is not None and not thing.deleted:
            return thing.name
        global_id = thing.ids[0] if self.by == "first id" else thing.ids[-1]
        return global_id if self.by == "bare id" else f"~{global_id}"


@dataclass(frozen=True)
class Call:
    """A method of the binding, or `advance` and `open`, with its arguments."""

    label: str
    method: str
    arguments: tuple[Any, ...]


def resolved(value: Any, model: Model) -> Any:
    """Return arguments as they go over the wire."""
    if isinstance(value, Ref):
        return value.resolved(model)
    if isinstance(value, (list, tuple)):
        return [resolved(each, model) for each in value]
    if isinstance(value, dict):
        return {key: resolved(each, model) for key, each in value.items()}
    return value


class Dice:
    """Chooses calls, each from what there is."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._made = 0

    def call(self, model: Model) -> Call:
        """Return the next call of a history."""
        self._made += 1
        crowded = len(model.things) > MANY
        weights = [
            weight * (3 if crowded and "elete" in name else 1)
            for name, (weight, _) in METHODS.items()
        ]
        (method,) = self._dice.choices([*METHODS], weights)
        return Call(f"t{self._made}", method, METHODS[method][1](self, model))

    # what is named

    def _thing(self, model: Model, *, volume: bool, by: Sequence[str] = ()) -> Ref:
        kinds = by or ("name", "id", "id", "first id")
        fitting = [each for each in model.things if each.volume == volume]
        usable = [each for each in fitting if each.usable]
        chosen = (
            usable if usable and self._mostly() else (model.things if self._rarely() else fitting)
        )
        if not chosen or self._rarely():
            return Ref(NOBODY, "name")
        return Ref(self._dice.choice(chosen).label, self._dice.choice(kinds))

    def _volume(self, model: Model) -> Ref:
        return self._thing(model, volume=True)

    def _snapshot(self, model: Model) -> Ref:
        return self._thing(model, volume=False)

    def _ancestor(self, model: Model, of: Ref) -> Ref:
        thing = model.labelled(of.label)
        chain = [] if thing is None else [*model.chain(thing)]
        return (
            Ref(self._dice.choice(chain).label, "id")
            if chain and self._mostly()
            else self._snapshot(model)
        )

    def _template(self, model: Model) -> str:
        """Return the name of a template, hardly ever of none."""
        names = [each.name for each in model.templates]
        return self._dice.choice(names) if names and self._mostly() else NOBODY

    def _size(self, thing: Thing | None = None) -> int:
        before = 0 if thing is None else (thing.size or 0)
        return before + STEP * self._dice.randint(0 if thing else 1, 4)

    def _mostly(self) -> bool:
        return self._dice.random() < 0.9

    def _maybe(self, chance: float = 0.4) -> bool:
        return self._dice.random() < chance

    def _rarely(self) -> bool:
        return self._dice.random() < 0.04

    def _some(self, **fields: Any) -> dict[str, Any]:
        """Return some of these fields."""
        return {key: value for key, value in fields.items() if value is not None and self._maybe()}

    def _tags(self, *, new: bool) -> dict[str, str]:
        if self._rarely():
            return {"big": "x" * 199}
        texts = ("1", "two", "3-3", "") if new else ("1", "two", "")
        keys = ("virt", "qc", "vm")
        return {key: self._dice.choice(texts) for key in keys if self._maybe()}

    # volumes

    def _volume_create(self, model: Model) -> tuple[Any, ...]:
        body = self._some(name=self._dice.choice(NAMES), tags=self._tags(new=True))
        body.update(self._some(template=self._template(model)))
        origin = self._dice.choice(("", "parent", "baseOn"))
        if origin:
            body[origin] = self._volume(model) if origin == "baseOn" else self._snapshot(model)
        if not origin or self._maybe(0.3):
            body["size"] = self._size()
        return (body,)

    def _volume_update(self, model: Model) -> tuple[Any, ...]:
        key = self._volume(model)
        body = self._some(
            rename=self._dice.choice(NAMES),
            size=self._size(model.labelled(key.label)) if self._mostly() else STEP,
            template=self._template(model),
            tags=self._tags(new=False),
            shrinkOk=True,
        )
        if "size" not in body:
            body.update(self._some(sizeAdd=STEP))
        return key, body

    def _volume_delete(self, model: Model) -> tuple[Any, ...]:
        key = self._volume(model)
        if self._maybe(0.3):
            return key, {"onAttached": self._dice.choice(("fail", "detach", "detachForce"))}
        return (key,)

    def _volume_freeze(self, model: Model) -> tuple[Any, ...]:
        key = self._volume(model)
        return (key, {"deleteAfter": self._dice.randint(1, 6)}) if self._maybe() else (key,)

    def _volume_revert(self, model: Model) -> tuple[Any, ...]:
        key = self._volume(model)
        return key, {"toSnapshot": self._ancestor(model, key), **self._some(revertSize=True)}

    def _volume_rebase(self, model: Model) -> tuple[Any, ...]:
        key = self._volume(model)
        return key, self._some(parentName=self._ancestor(model, key))

    # snapshots

    def _snapshot_create(self, model: Model) -> tuple[Any, ...]:
        names = self._dice.choice(NAMES)
        body = self._some(
            name=names, tags=self._tags(new=True), deleteAfter=self._dice.randint(1, 9)
        )
        return self._volume(model), {**body, **({"bind": True} if self._maybe(0.15) else {})}

    def _snapshot_create_group(self, model: Model) -> tuple[Any, ...]:
        items = [
            {
                "volume": self._volume(model),
                **self._some(name=self._dice.choice(NAMES), tags=self._tags(new=True)),
            }
            for _ in range(self._dice.randint(1, 3))
        ]
        return ({"volumes": items, **self._some(tags=self._tags(new=True))},)

    def _snapshot_update(self, model: Model) -> tuple[Any, ...]:
        body = self._some(
            rename=self._dice.choice(NAMES),
            template=self._template(model),
            tags=self._tags(new=False),
            deleteAfter=self._dice.choice((0, 3, 50)),
        )
        if self._maybe(0.15):
            body["bind"] = self._dice.choice((True, False))
        return self._snapshot(model), body

    def _snapshot_delete_by_id(self, model: Model) -> tuple[Any, ...]:
        found = self._thing(model, volume=False, by=("bare id",))
        return (found if found.label != NOBODY else NO_ID,)

    def _snapshot_rebase(self, model: Model) -> tuple[Any, ...]:
        key = self._snapshot(model)
        return key, self._some(parentName=self._ancestor(model, key))

    # attachments

    def _volumes_reassign(self, model: Model) -> tuple[Any, ...]:
        return ([self._item(model) for _ in range(self._dice.randint(1, 3))],)

    def _volumes_reassign_wait(self, model: Model) -> tuple[Any, ...]:
        return ({"reassign": self._volumes_reassign(model)[0], **self._some(attachTimeout=5)},)

    def _item(self, model: Model) -> dict[str, Any]:
        is_volume = self._maybe(0.8)
        kind = "volume" if is_volume else "snapshot"
        item: dict[str, Any] = {kind: self._volume(model) if is_volume else self._snapshot(model)}
        for key in ("rw", "ro", "detach"):
            if self._maybe(0.1 if key == "rw" and not is_volume else 0.4):
                item[key] = self._clients()
        if "detach" in item and self._maybe():
            item["detach"] = "all"
        return {**item, **self._some(force=True)}

    def _clients(self) -> list[int]:
        chosen = self._dice.sample(CLIENTS, self._dice.randint(1, 2))
        return [99] if self._rarely() else sorted(chosen)

    def _open(self, model: Model) -> tuple[Any, ...]:
        attached = [each for each in model.things if each.clients]
        if not attached:
            return (NOBODY, 1)
        thing = self._dice.choice(attached)
        return thing.label, self._dice.choice(sorted(thing.clients))

    def _advance(self, _model: Model) -> tuple[Any, ...]:
        return (self._dice.choice((2, 3, 10)),)

    # templates, the key-value store, and looks

    def _volume_template_create(self, model: Model) -> tuple[Any, ...]:
        body = self._some(size=self._size(), parent=self._thing(model, volume=False, by=("name",)))
        if isinstance(body.get("parent"), Ref):  # by its name only, says the schema
            thing = model.labelled(body["parent"].label)
            if thing is None or thing.name is None or not thing.usable:
                body["parent"] = NOBODY
        return ({"name": self._dice.choice(TEMPLATES), **body},)

    def _volume_template_update(self, model: Model) -> tuple[Any, ...]:
        body = self._some(rename=self._dice.choice(TEMPLATES), size=self._size())
        return self._template(model), body

    def _volume_template_delete(self, model: Model) -> tuple[Any, ...]:
        return (self._template(model),)

    def _bucket(self, _model: Model) -> tuple[Any, ...]:
        return (self._dice.choice(BUCKETS),)

    def _kvs_update(self, _model: Model) -> tuple[Any, ...]:
        pairs = {key: self._dice.choice(("", "x", "y")) for key in ("a", "b/c") if self._maybe(0.7)}
        return self._dice.choice(BUCKETS), {
            "set": pairs,
            **self._some(runIfVersionIs=self._dice.randint(0, 3)),
        }

    def _just_a_volume(self, model: Model) -> tuple[Any, ...]:
        return (self._volume(model),)

    def _just_a_snapshot(self, model: Model) -> tuple[Any, ...]:
        return (self._snapshot(model),)


# How often each method is called, and who chooses its arguments.
METHODS: dict[str, tuple[int, Callable[[Dice, Model], tuple[Any, ...]]]] = {
    "volumeCreate": (18, Dice._volume_create),
    "volumeUpdate": (8, Dice._volume_update),
    "volumeDelete": (3, Dice._volume_delete),
    "volumeFreeze": (2, Dice._volume_freeze),
    "volumeRevert": (7, Dice._volume_revert),
    "volumeRebase": (3, Dice._volume_rebase),
    "snapshotCreate": (11, Dice._snapshot_create),
    "snapshotCreateGroup": (4, Dice._snapshot_create_group),
    "snapshotUpdate": (6, Dice._snapshot_update),
    "snapshotDelete": (5, Dice._just_a_snapshot),
    "snapshotDeleteById": (2, Dice._snapshot_delete_by_id),
    "snapshotRebase": (2, Dice._snapshot_rebase),
    "volumesReassign": (9, Dice._volumes_reassign),
    "volumesReassignWait": (4, Dice._volumes_reassign_wait),
    "open": (4, Dice._open),
    "advance": (5, Dice._advance),
    "volumeTemplateCreate": (2, Dice._volume_template_create),
    "volumeTemplateUpdate": (2, Dice._volume_template_update),
    "volumeTemplateDelete": (1, Dice._volume_template_delete),
    "kvsCreate": (1, Dice._bucket),
    "kvsDelete": (1, Dice._bucket),
    "kvsUpdate": (3, Dice._kvs_update),
    "volumeList": (3, Dice._just_a_volume),
    "volumeListSnapshots": (2, Dice._just_a_volume),
    "snapshotList": (2, Dice._just_a_snapshot),
}
