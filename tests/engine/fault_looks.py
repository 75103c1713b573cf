"""What there is in the world of the tests of fault points, seen at once, and told in lines without
ids and times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storpool_ovirt import names, trash_names


@dataclass(frozen=True)
class Look:
    """Everything there is: rows by id, objects by global id, attachments; what is open in the
    journal, and the rows of the trash."""

    rows: dict[str, dict[str, Any]]
    objects: dict[str, dict[str, Any]]
    attached: list[dict[str, Any]]
    operations: list[dict[str, Any]] = field(default_factory=list)
    trash: list[dict[str, Any]] = field(default_factory=list)

    def only(self, rows: set[str], objects: set[str]) -> Look:
        """Return the part of it that has these ids."""
        return Look(
            {uuid: row for uuid, row in self.rows.items() if uuid in rows},
            {global_id: each for global_id, each in self.objects.items() if global_id in objects},
            [each for each in self.attached if each["globalId"] in objects],
            [each for each in self.operations if each["node"] in rows],
            [each for each in self.trash if each["global_id"] in objects],
        )

    def made_since(self, before: Look) -> set[str]:
        """Return the ids of what is there now and was not before, without what is in the trash."""
        kept = {each["global_id"] for each in self.trash}
        new = self.objects.keys() - before.objects.keys() - kept
        return {self.objects[global_id]["tags"].get("ovirt-uuid", global_id) for global_id in new}


def timeless(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without the time until which something is in the trash, and with a disk's id in
    its long form."""
    mark = tags.get(trash_names.TAG)
    if not mark:
        return dict(tags)
    told = {**tags, trash_names.TAG: "end" + mark.strip("0123456789")}
    return {**told, names.TAG_ROOT: names.root_of(tags)} if names.TAG_ROOT in tags else told


def entries(own: Look, labels: Mapping[str, str]) -> dict[str, str]:
    """Return what the entries of the trash are called, and the deletion that they are of."""
    called = {each["deletion"]: "<deletion>" for each in own.trash}
    for each in own.trash:
        called[each["entry"]] = f"<entry of {labels.get(each['node'], each['node'])}>"
    return called


def is_fleeting(entry: Mapping[str, Any]) -> bool:
    """Return whether StorPool itself is about to drop an object."""
    return bool(entry.get("deleted") or entry.get("transient"))


def parent(entry: Mapping[str, Any], every: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of what an object stands on, past snapshots that are about to vanish."""
    name: str = entry["parentName"]
    while name in every and is_fleeting(every[name]):
        name = every[name]["parentName"]
    return name


def lines(seen: Look, known: Mapping[str, str]) -> list[str]:
    """Return what was seen, a line for each thing."""
    rows = [line("row", row, known) for row in seen.rows.values()]
    objects = [line("object", each, known) for each in seen.objects.values()]
    operations = [line("open", each, known) for each in seen.operations]
    trash = [line("trash", each, known) for each in seen.trash]
    attached = [line("attached", each, known) for each in seen.attached]
    return sorted([*rows, *objects, *operations, *trash, *attached])


def line(what: str, value: object, known: Mapping[str, str]) -> str:
    """Return one thing as a line, with the names of what is known in place of ids."""
    return f"{what} {json.dumps(named_in(value, known), sort_keys=True)}"


def named_in(value: object, known: Mapping[str, str]) -> object:
    """Return a value with the names of what is known in place of ids."""
    if isinstance(value, dict):
        return {key: named_in(each, known) for key, each in value.items()}
    return known.get(value, value) if isinstance(value, str) else value


def difference(expected: list[str], found: list[str]) -> str:
    """Tell which lines are missing and which are too many; nothing where all is the same."""
    missing = [f"\n    missing {line}" for line in expected if line not in found]
    return "".join([*missing, *(f"\n    extra {line}" for line in found if line not in expected)])
