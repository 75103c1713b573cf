"""Volumes that name a VM, and are not what that VM writes any more: a preview, or its undo, that
died or found no API, has left the name on the volume that it replaced.

VolumeCare takes such a one for one more disk of the VM. Where it has another policy than the rest,
the VM is ignored, and nobody is told. No hook sees it: oVirt starts the VM without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.admin import policy_disks, policy_domains
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import mapping, ownership, tree
from storpool_ovirt.policy import values

_CARE = values.TAG[values.VC]


class Leftover(NamedTuple):
    """Such a volume, and the VM that it names by a tag of this key."""

    node: mapping.Node
    there: api.Volume
    key: str
    vm: str


def replaced(nodes: Sequence[mapping.Node]) -> list[mapping.Node]:
    """Return which of a disk's rows are volumes that its VM does not write; none where nobody knows
    which it writes."""
    active = policy_disks.active(nodes)
    if active is None:
        return []
    return [
        each
        for each in nodes
        if each.uuid != active.uuid and each.kind == "volume" and each.state == mapping.LIVE
    ]


def found(
    node: mapping.Node, there: api.Volume | None, location: str, domains: policy_domains.Domains
) -> Leftover | None:
    """Return what such a volume has left; None where that is nothing, or the volume is not ours."""
    if there is None or there.kind != node.kind:
        return None
    key = domains.of(there.template, node.root).domain.vm_tag
    if not there.tags.get(key) or not names.is_ours(there.tags, node.uuid, location):
        return None
    return Leftover(node, there, key, there.tags[key])


def of_disk(work: tree.Work, disk: str, domains: policy_domains.Domains) -> Iterator[Leftover]:
    """Yield what is left of one disk, read as of now; raise what the mapping and the API raise, but
    for volumes that are not there, or not ours."""
    for node in replaced(work.mapping.tree(disk)):
        try:
            there = ownership.proved(work, node)
        except (errors.NotFound, errors.Conflict):
            continue
        left = found(node, there, work.mapping.location, domains)
        if left is not None:
            yield left


def clear(work: tree.Work, left: Leftover) -> None:
    """Take the VM off a volume whose disk is held, unless its VM writes it by now; and VolumeCare's
    policy where the volume in its place has one: else it is kept for the undo."""
    nodes = work.mapping.tree(left.node.root)
    active = policy_disks.active(nodes)
    node = next((each for each in replaced(nodes) if each.uuid == left.node.uuid), None)
    if node is None or active is None:
        return
    has_care = bool(ownership.proved(work, active).tags.get(_CARE))
    gone = [left.key, *((_CARE, *names.MARK_KEYS) if has_care else ())]
    there = ownership.proved(work, node)

    def cleared(now: api.Volume) -> dict[str, str]:
        return {each: "" for each in gone if now.tags.get(each)}

    if volumes.change(work.client, there, tags=cleared):
        work.log.line("vm_tagged", volume=there.name, global_id=there.global_id, vm="-")
