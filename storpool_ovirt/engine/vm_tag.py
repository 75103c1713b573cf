"""The tag that names a disk's VM goes where the disk's active volume goes.

A preview's volume takes it from the one that it replaces, and gives it back when it is deleted.
First it is taken away, then it is written: whatever dies in between, no disk is in a VM twice, and
the VM's next start writes what is missing. Nothing of it fails a verb, which has done its work.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.engine import mapping, tree
from storpool_ovirt.light import TYPE_CHECKING, replace

if TYPE_CHECKING:
    from storpool_ovirt.cluster import api


def silent_move(work: tree.Work, source: mapping.Node, target: mapping.Node) -> None:
    """Have the volume of `target` name the VM that the one of `source` names, and that one none.

    A disk's own volume that no host was ever given names none, and is not asked.
    """
    from storpool_ovirt.engine import ownership

    if not _may_name(source):
        return
    brief = _brief(work)
    try:
        there = ownership.proved(brief, source)
        vm = of(work, there)
        if not vm:
            return
        _write(brief, there, "")
    except errors.Error as error:
        work.log.line("vm_not_tagged", volume=target.uuid, reason=error)
    else:
        silent_name(work, target, vm)


def silent_name(work: tree.Work, node: mapping.Node, vm: str) -> None:
    """Have a volume name this VM, if it is one that may."""
    from storpool_ovirt.engine import ownership

    if not _may_name(node):
        return
    brief = _brief(work)
    try:
        _write(brief, ownership.proved(brief, node), vm)
    except errors.Error as error:
        work.log.line("vm_not_tagged", volume=node.uuid, vm=vm, reason=error)


def of(work: tree.Work, there: api.Volume) -> str:
    """Return the VM that a volume names; "" where it names none."""
    return names.vm_of(there.tags, work.domain.vm_tag)


def _may_name(node: mapping.Node) -> bool:
    """Return whether a volume may name a VM.

    A preview's volume has the tag from the one before it, a disk's own only from a host; so it gets
    none here that has had none.
    """
    return node.connected or node.uuid != node.root


def _write(work: tree.Work, there: api.Volume, vm: str) -> None:
    from storpool_ovirt.cluster import vm_tags

    vm_tags.write(work.client, there, vm_tags.Tag(work.domain.vm_tag, vm), work.log)


def _brief(work: tree.Work) -> tree.Work:
    """Return the tools of a verb with a limit of their own, as the verb is done already."""
    from storpool_ovirt.cluster import vm_tags

    limit = work.mapping.session.deadline.within(vm_tags.SECONDS)
    return replace(work, client=work.client.limited(limit))
