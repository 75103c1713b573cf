"""Disks are made what the levels say: what no hook saw, and what somebody changed by hand.

A look at everything tells which disks differ; each VM's are then done together, under their locks,
by what is so at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_ovirt import names, sentences
from storpool_ovirt.admin import policy_changes, policy_disks
from storpool_ovirt.admin.policy_changes import shown
from storpool_ovirt.admin.policy_disks import Standing
from storpool_ovirt.admin.policy_targets import Target
from storpool_ovirt.engine import mapping, records, tree
from storpool_ovirt.policy import levels, values


class Group(NamedTuple):
    """Disks that differ: those of one VM, or one without a VM; of each the tags that change."""

    vm: str
    vm_name: str
    disks: tuple[Standing, ...]
    changes: tuple[dict[str, str], ...]


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
    looked = told = 0
    groups: dict[str, list[tuple[Standing, dict[str, str]]]] = {}
    every = _everything(work, rows) if target is None else iter(_of(work, target, rows))
    for each in every:
        looked, told = looked + 1, told + each.is_told
        there = each.there
        changed = levels.changes(there.name, there.tags, each.said(), held.vm_tag(each)).tags
        if changed:
            groups.setdefault(each.vm or each.disk, []).append((each, changed))
    return Plan(
        tuple(
            Group(
                pairs[0][0].vm,
                pairs[0][0].vm_name,
                tuple(each for each, _ in pairs),
                tuple(changed for _, changed in pairs),
            )
            for _, pairs in sorted(groups.items())
        ),
        looked,
        is_blind=looked > 0 and not told,
    )


def mend(group: Group, work: tree.Work) -> list[Standing]:
    """Have the disks of a group be what is said now; return those that were changed. Raises
    Locked, and what the mapping and the API raise; then none of them was changed."""
    disks = [each.disk for each in group.disks]
    with policy_changes.held(work, disks):
        found = policy_changes.look(work, disks, policy_disks.rows(work))
        held = _Held(work)
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
            if key != names.TAG_MARK
        )
        yield f"disk {each.disk}{name}{of_vm}: {said or 'the note of who decides'}"


def summary(found: Plan, failed: int, dry_run: bool) -> str:
    """Return the last line."""
    number = sum(len(each.disks) for each in found.groups)
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


def _of(work: tree.Work, target: Target, rows: policy_disks.Rows) -> list[Standing]:
    return policy_changes.look(work, target.disks, rows)


def _everything(work: tree.Work, rows: policy_disks.Rows) -> Iterator[Standing]:
    """Yield how all disks stand that can be looked at."""
    trees: dict[str, list[mapping.Node]] = {}
    for record in records.all(work.mapping):
        trees.setdefault(record.root, []).append(record.node)
    sources = policy_disks.sources(work, trees, rows)
    things = {each.global_id: each for each in work.client.volumes()}
    for nodes in trees.values():
        node = policy_disks.active(nodes)
        there = things.get(node.global_id or "") if node is not None else None
        if node is None or there is None or node.pending or there.dying:
            continue
        if names.is_ours(there.tags, node.uuid, work.mapping.location):
            yield policy_disks.standing(sources, node, there)


class _Held:
    """Which volumes hosts have attached, asked for once, and only where somebody has to know."""

    def __init__(self, work: tree.Work) -> None:
        self._work = work
        self._found: set[str | None] | None = None

    def vm_tag(self, each: Standing) -> tuple[str, str] | None:
        """Return the tag of its VM that a volume is to have; None: as it is.

        What a host has attached is left as it is: there the hooks know better, and sooner.
        """
        there = each.there
        if not each.is_told or there.tags.get(each.vm_tag, "") == each.vm:
            return None
        if self._found is None:
            listed = self._work.client.attachments()
            self._found = {each for one in listed for each in (one.global_id, one.name)}
        if not self._found.isdisjoint(
            (there.global_id, names.address(there.global_id), there.name)
        ):
            return None
        return (each.vm_tag, each.vm)
