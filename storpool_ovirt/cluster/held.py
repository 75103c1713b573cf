"""Who has which objects attached: found among all attachments of a cluster by sets.

A cluster may have tens of thousands of attachments and a VM dozens of disks, so the list is gone
through once, and not once for each disk. What is found for an object is exactly what
`Attachment.may_be_of` says of it, and what is certain what `Attachment.is_of` says.
"""

from __future__ import annotations

from storpool_ovirt import names
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.devices import Target
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def of(targets: Iterable[Target], listed: Iterable[api.Attachment]) -> list[api.Attachment]:
    """Return the attachments of these among what is listed, and those that may be, in its order."""
    ids: set[str | None] = set()
    named: set[str | None] = set()
    for target in targets:
        ids.add(target.global_id)
        named.update((names.address(target.global_id), target.name))
    named.discard(None)
    return [each for each in listed if each.global_id in ids or each.name in named]


class Held:
    """What is attached of some objects, by object; `all` has it in the order of the list."""

    def __init__(self, targets: Sequence[Target], listed: Iterable[api.Attachment]) -> None:
        self.all = of(targets, listed)
        self._by_id: dict[str | None, set[int]] = {}
        self._by_name: dict[str | None, set[int]] = {}
        for place, each in enumerate(self.all):
            self._by_id.setdefault(each.global_id, set()).add(place)
            self._by_name.setdefault(each.name, set()).add(place)

    def of(self, target: Target) -> list[api.Attachment]:
        """Return the attachments of one of them, and those that may be."""
        places = {*self._named(names.address(target.global_id)), *self._named(target.name)}
        return [self.all[place] for place in sorted(places.union(self._with_id(target)))]

    def certain(self, target: Target) -> list[api.Attachment]:
        """Return the attachments that are one of them's for certain."""
        return [each for each in self.of(target) if each.is_of(target.global_id, target.name)]

    def _with_id(self, target: Target) -> Iterable[int]:
        return self._by_id.get(target.global_id, ())

    def _named(self, name: str | None) -> Iterable[int]:
        return () if name is None else self._by_name.get(name, ())
