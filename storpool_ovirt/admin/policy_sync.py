"""Disks are made what the levels say: what no hook saw, and what somebody changed by hand.

A look at everything tells which disks differ; each VM's are then done together, under their locks,
by what is so at that moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from storpool_ovirt import names, sentences
from storpool_ovirt.admin import (
    policy_changes,
    policy_disks,
    policy_domains,
    policy_leftovers,
    policy_targets,
)
from storpool_ovirt.admin.policy_changes import shown
from storpool_ovirt.admin.policy_disks import Standing
from storpool_ovirt.admin.policy_leftovers import Leftover
from storpool_ovirt.admin.policy_targets import Target
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import policies, records, tree
from storpool_ovirt.policy import levels, values

_CARE = values.TAG[values.VC]


class Group(NamedTuple):
    """Disks that differ: those of one VM, or one without a VM; of each the tags that change.

    `beside` are the other disks of the VM that were looked at, `left` the volumes that were
    replaced on disks of these and name a VM all the same.
    """

    vm: str
    vm_name: str
    disks: tuple[Standing, ...]
    changes: tuple[dict[str, str], ...]
    beside: tuple[str, ...] = ()
    left: tuple[Leftover, ...] = ()

    @property
    def number(self) -> int:
        """How many disks are changed."""
        return len({*(each.disk for each in self.disks), *(each.node.root for each in self.left)})


class Plan(NamedTuple):
    """What differs, among so many disks; `is_blind`: Engine could not be asked."""

    groups: tuple[Group, ...]
    looked: int
    is_blind: bool


def plan(work: tree.Work, target: Target | None) -> Plan:
    """Look which disks differ, of all or of what is meant. Raises what the mapping and the API
    raise."""
    work.client.be_current()
    rows = policy_disks.rows(work)
    held = _Held(work)
    if target is None:
        every, left = _everything(work, rows)
    else:
        every, left = _of(work, target, rows, held)
    changed = _changed(every, held)
    return Plan(
        tuple(_groups(every, changed, [each for each in left if not held.has(each.there)])),
        len(every),
        is_blind=bool(every) and not any(each.is_told for each in every),
    )


def mend(group: Group, work: tree.Work) -> list[Standing]:
    """Have the disks of a group be what is said now; return those that were changed. Raises
    Locked, and what the mapping and the API raise; then none of them was changed, but for volumes
    that name a VM no more."""
    disks = {each.disk for each in group.disks}
    if any(_CARE in each for each in group.changes):
        disks.update(group.beside)
    with policy_changes.held(work, sorted({*disks, *(each.node.root for each in group.left)})):
        held = _Held(work)
        for left in group.left:  # first: no disk shall be in a VM twice
            if not held.has(left.there):
                policy_leftovers.clear(work, left)
        rows = policy_disks.rows(work)
        found = policy_disks.together(policy_changes.look(work, sorted(disks), rows))
        tags = {each.disk: held.vm_tag(each) for each in found}
        vms = {disk: tag[1] for disk, tag in tags.items() if tag is not None}
        return policy_changes.follow(work, found, dict.fromkeys(values.FIELDS), vms)


def told(group: Group) -> Iterator[str]:
    """Yield the lines that tell what differs."""
    for each, changed in zip(group.disks, group.changes):
        name = f" ({each.alias})" if each.alias else ""
        of_vm = f" of VM {group.vm}" if group.vm else ""
        of_vm += f" ({group.vm_name})" if group.vm and group.vm_name else ""
        said = ", ".join(
            f"{key} {shown(value)} in place of {shown(each.there.tags.get(key, ''))}"
            for key, value in changed.items()
            if key not in names.MARK_KEYS
        )
        yield f"disk {each.disk}{name}{of_vm}: {said or 'the note of who decides'}"
    for left in group.left:
        yield (
            f"disk {left.node.root}: its volume {left.node.uuid}, which another one has replaced,"
            f" names VM {left.vm} no more"
        )


def summary(found: Plan, failed: int, dry_run: bool) -> str:
    """Return the last line."""
    number = sum(each.number for each in found.groups)
    disks = f"{number} of {sentences.counted(found.looked, 'disk', 'disks')}"
    what = f"{disks} {'would change' if dry_run else 'changed'}"
    left = f", {sentences.counted(failed, 'group', 'groups')} not" if failed else ""
    blind = (
        "; Engine's database cannot be asked here, so VMs' properties and what they have plugged in"
        " are not known"
        if found.is_blind
        else ""
    )
    return f"{what}{left}{blind}"


def _changed(every: Sequence[Standing], held: _Held) -> dict[str, dict[str, str]]:
    """Return which tags change, by disk, of those that differ."""
    found = {}
    for each in policy_disks.together(every):
        there = each.there
        changed = levels.changes(there.name, there.tags, each.said(), held.vm_tag(each)).tags
        if changed:
            found[each.disk] = changed
    return found


def _groups(
    every: Sequence[Standing],
    changed: dict[str, dict[str, str]],
    left: Sequence[Leftover],
) -> Iterator[Group]:
    leftovers: dict[str, list[Leftover]] = {}
    for one in left:
        leftovers.setdefault(one.node.root, []).append(one)
    members: dict[str, list[Standing]] = {}
    for each in every:
        members.setdefault(each.vm or each.disk, []).append(each)
    for _, found in sorted(members.items()):
        differ = [each for each in found if each.disk in changed]
        of_them = [one for each in found for one in leftovers.get(each.disk, ())]
        if differ or of_them:
            yield Group(
                found[0].vm,
                found[0].vm_name,
                tuple(differ),
                tuple(changed[each.disk] for each in differ),
                tuple(each.disk for each in found if each.disk not in changed),
                tuple(of_them),
            )


def _of(
    work: tree.Work, target: Target, rows: policy_disks.Rows, held: _Held
) -> tuple[list[Standing], list[Leftover]]:
    """Return how the disks stand that are meant, and what their replaced volumes have left; of a
    disk whose policy of VolumeCare's changes all disks of its VM are meant."""
    disks: Collection[str] = target.disks
    found = policy_changes.look(work, sorted(disks), rows)
    if target.scope == policies.DISK and any(
        _CARE in each for each in _changed(found, held).values()
    ):
        vms = {each.vm for each in found if each.vm}
        disks = {*disks, *(each for vm in vms for each in policy_targets.disks_of_vm(work, vm))}
        found = policy_changes.look(work, sorted(disks), rows)
    domains = policy_domains.look(work, disks)
    left = [
        each for disk in sorted(disks) for each in policy_leftovers.of_disk(work, disk, domains)
    ]
    return found, left


def _everything(work: tree.Work, rows: policy_disks.Rows) -> tuple[list[Standing], list[Leftover]]:
    """Return how all disks stand that can be looked at, and what their replaced volumes have
    left."""
    words = Words()
    # Of 100,000 disks nothing is held but what is asked for: no row of a snapshot, no text twice
    trees: dict[str, list[records.Record]] = {}
    with work.mapping.session.snapshot():
        for record in records.each(work.mapping, words):
            if record.kind == "volume":
                trees.setdefault(record.root, []).append(record)
    sources = policy_disks.sources(work, trees, rows)
    things = {each.global_id: each for each in work.client.volumes(words)}
    location = work.mapping.location
    found: list[Standing] = []
    left: list[Leftover] = []
    for own in trees.values():
        nodes = [each.node for each in own]
        node = policy_disks.active(nodes)
        there = things.get(node.global_id or "") if node is not None else None
        if node is None or there is None or node.pending or there.dying:
            continue
        if names.is_ours(there.tags, node.uuid, location):
            found.append(_lean(policy_disks.standing(sources, node, there), words))
            for each in policy_leftovers.replaced(nodes):
                thing = things.get(each.global_id or "")
                left += filter(
                    None, [policy_leftovers.found(each, thing, location, sources.domains)]
                )
    return found, left


def _lean(each: Standing, words: Words) -> Standing:
    """Return the same with levels that many disks have in common."""
    said = tuple(each.by_level.items())
    return replace(each, by_level=words.others.setdefault(said, each.by_level))


class _Held:
    """Which volumes hosts have attached, asked for once, and only where somebody has to know."""

    def __init__(self, work: tree.Work) -> None:
        self._work = work
        self._found: set[str | None] | None = None

    def vm_tag(self, each: Standing) -> tuple[str, str] | None:
        """Return the tag of its VM that a volume is to have; None: as it is.

        What a host has attached, and names a VM, is left as it is: there the hooks know better,
        and sooner. One that names none gets its name: a start that could not write it, or was
        before there were hooks, is not repeated for as long as the VM runs.
        """
        there = each.there
        named = there.tags.get(each.vm_tag, "")
        if not each.is_told or named == each.vm:
            return None
        return None if named and self.has(there) else (each.vm_tag, each.vm)

    def has(self, there: api.Volume) -> bool:
        """Return whether a host has this volume."""
        if self._found is None:
            listed = self._work.client.attachments()
            self._found = {each for one in listed for each in (one.global_id, one.name)}
        return not self._found.isdisjoint(
            (there.global_id, names.address(there.global_id), there.name)
        )
