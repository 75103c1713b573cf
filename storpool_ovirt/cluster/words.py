"""Texts and numbers of long lists, each held once: most of what a list of all objects says is in it
several times, or in another list too."""

from __future__ import annotations

import sys

from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SHAPES_MAX = 256  # ours: more sets of keys than the tags of one cluster's objects have


class Words:
    """What is there already (`setdefault`) is used in place of another one that says the same.

    `ids` are global ids and oVirt's, `names` those of objects, which are of no use when the lists
    were read; `others` may be anything that is in few forms. Apart, these take less memory.
    """

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.others: dict[Any, Any] = {}
        self._shapes: dict[tuple[str, ...], type] = {}

    def leaned(self, row: Any, ids: Sequence[str], others: Sequence[str]) -> Any:
        """Return a named tuple with what is there already in these fields."""
        kept = {}
        for known, fields in ((self.ids, ids), (self.others, others)):
            for field in fields:
                value = getattr(row, field)
                kept[field] = known.setdefault(value, value)
        return row._replace(**kept)

    def tags(self, read: dict[str, str]) -> dict[str, str]:
        """Return the same tags in less memory.

        Python keeps the keys of the attributes of all objects of one class once, so a dictionary of
        an object's attributes takes some 110 bytes where one of its own would take 190. There is a
        class for each set of keys, as long as these are few.
        """
        keys = tuple(read)
        shape = self._shapes.get(keys)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX or any(key.startswith("__") for key in keys):
                return read
            shape = self._shapes[tuple(map(sys.intern, keys))] = type("Tags", (), {})
        kept = shape()
        for key, value in read.items():
            setattr(kept, key, self.ids.setdefault(value, value))
        found: dict[str, str] = vars(kept)
        return found
