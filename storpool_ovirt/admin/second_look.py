"""What a rebuild looks at again before it writes: whether what gets a row is there and ours.

Of each object only what is asked of it is kept: all of them are held once already, as they were
first seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import names
from storpool_ovirt.admin import disk_rows, moment_rows
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, tree, vm_tag


class _Glance(NamedTuple):
    """What is kept of one object: whether it is ours by the id that its row gets; what it is like
    where it is not, or where that is asked for; its disk and its VM where they are."""

    kind: str
    global_id: str
    owned_elsewhere: bool
    is_ours: bool
    is_planned: bool
    thing: api.Volume | None
    disk: str
    vm: str


@dataclass(frozen=True)
class Now:
    """What the cluster has now, of what a rebuild is about.

    `ours` are the global ids of what is there and carries the tags of its row, `others` what is
    there and does not, `active` the volumes that disks are to have for their active ones. `vms` are
    the VMs that the volumes of disks name, where a moment has snapshots of these.
    """

    location: str
    ours: Set[str]
    others: Mapping[str, api.Volume]
    active: Mapping[str, api.Volume]
    vms: Mapping[str, Set[str]]

    def is_active(self, global_id: str | None, uuid: str) -> bool:
        """Return whether the object of this volume is there, and nobody else's."""
        thing = self.active.get(global_id or "")
        return (
            thing is not None
            and not candidates.owner(thing, self.location)
            and not candidates.other_id(thing, uuid)
        )


def look(
    work: tree.Work,
    location: str,
    found: disk_rows.Objects,
    moments: Iterable[moment_rows.Group],
    active: Iterable[tuple[str, str]],
) -> Now:
    """Read the cluster once more. Raises what the API raises."""
    disks = frozenset(disk for group in moments for disk in group.disks)
    wanted = frozenset(uuid for _, uuid in active)
    is_active = {each for each, uuid in found.uuids.items() if uuid in wanted}
    view, planned = found.view, found.by_uuid

    def glance(thing: api.Volume) -> api.Volume | _Glance | None:
        if candidates.is_fleeting(thing):
            return None
        seen = view.things.get(thing.global_id)
        uuid = seen.tags.get(names.TAG_UUID, "") if seen is not None else ""
        is_planned = seen is not None and planned.get(uuid) is seen
        ours = is_planned and names.is_ours(thing.tags, uuid, location)
        disk = disk_rows.root_of(thing) if disks and thing.kind == "volume" else ""
        vm = vm_tag.of(work, thing) if disk in disks else ""
        is_odd = (is_planned and not ours) or thing.global_id in is_active
        if seen and ours and not (is_odd or vm or thing.owned_elsewhere or seen.owned_elsewhere):
            return seen  # as it was: nothing more is held for it
        if not (ours or is_odd or vm):
            return None
        return _Glance(
            kind=thing.kind,
            global_id=thing.global_id,
            owned_elsewhere=thing.owned_elsewhere,
            is_ours=ours,
            is_planned=is_planned,
            thing=thing if is_odd else None,
            disk=disk if vm else "",
            vm=vm,
        )

    work.client.be_current()
    return _told(work.client.all_as(glance), location, is_active)


def _told(seen: Iterable[api.Volume | _Glance], location: str, is_active: Set[str]) -> Now:
    ours: set[str] = set()
    others: dict[str, api.Volume] = {}
    active: dict[str, api.Volume] = {}
    vms: dict[str, set[str]] = {}
    for each in seen:
        if not isinstance(each, _Glance):
            ours.add(each.global_id)
            continue
        if each.is_ours:
            ours.add(each.global_id)
        if each.vm:
            vms.setdefault(each.disk, set()).add(each.vm)
        if each.thing is not None and each.is_planned and not each.is_ours:
            others[each.global_id] = each.thing
        if each.thing is not None and each.global_id in is_active:
            active[each.global_id] = each.thing
    return Now(
        location=location,
        ours=ours,
        others=others,
        active=active,
        vms=vms,
    )
