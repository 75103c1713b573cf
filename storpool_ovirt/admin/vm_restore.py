"""A VM gets what its disks had at a moment of which others have a backup: all of its disks, or
none.

The VM is down, by Engine's own database, and no host has any of its disks. Each disk stays what it
is, and what it had is in the trash (`engine/overwriting.py`). The snapshots of the backup are
others': nothing of them is changed.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterator, Sequence

from storpool_ovirt import errors, names, sentences
from storpool_ovirt.admin import policy_domains, times, trash_restore, vm_backups
from storpool_ovirt.admin.vm_backups import Backups, Moment
from storpool_ovirt.engine import engine_vm_states, overwriting, recovery, trash, tree

_FORM = "%Y-%m-%dT%H:%M:%SZ"
_SHOWN = 5  # moments that one sentence names


def moment(given: str) -> str:
    """Return a moment as `backups` tells it; raise InputError for what is none."""
    try:
        return times.stamp(timegm(time.strptime(given, _FORM)))
    except (ValueError, OverflowError) as error:
        raise errors.InputError(
            names.shown(given),
            "is no moment",
            "give one as storpool-ovirt backups tells it, like 2026-03-01T12:00:00Z",
        ) from error


def restore(work: tree.Work, typed: str, at: str) -> list[str]:
    """Give all disks of a VM what they had at that moment; return what was done, line by line.

    Raises NotFound, Conflict, InUse, Foreign, WrongCluster with the reason where it cannot be; all
    disks have their data of before then. Repeated it is done once more, but for one that had died:
    that is ended.
    """
    vm = engine_vm_states.vm(work, vm_backups.found(work, typed).id)
    vm.check_down()
    roots, elsewhere = _plugged(work, vm)
    work = policy_domains.within(work, dict.fromkeys(roots))
    work.mapping.lock_all(roots)
    try:
        work.client.be_current()
        died = [each for root in roots for each in overwriting.begun(work, root)]
        for root in roots:
            recovery.settled(work, root)
        work.client.be_current()
        found = vm_backups.look(work, vm_backups.found(work, vm.id))
        _check_held(vm, found, roots)
        chosen = _chosen(found, at)
        aims = [
            overwriting.aimed(work, each.active, chosen.snapshots[each.uuid][0])
            for each in found.disks
        ]
        if all(overwriting.has_ended(work, died, aim) for aim in aims):
            return [f"{vm} has it: what an earlier run began was ended"]
        copies = overwriting.overwrite(work, aims, lambda: _check_still(work, vm, roots))
        left = [*_left_alone(found), *_left_elsewhere(elsewhere)]
        return [*_done(vm, chosen, copies), *left, *_taken(work, found)]
    finally:
        work.mapping.session.unlock_all()


def _plugged(
    work: tree.Work, vm: engine_vm_states.Vm
) -> tuple[list[str], list[engine_vm_states.Disk]]:
    """Return the disks of this Engine's that a VM has for itself, and those that are not ours."""
    disks = engine_vm_states.disks(work, vm.id)
    wanted = [each.id for each in disks]
    rows = work.mapping.nodes("WHERE uuid = root AND uuid = ANY (%s::uuid[])", wanted)
    ours = {each.uuid for each in rows}
    roots = sorted(each.id for each in disks if each.id in ours and not each.is_shareable)
    return roots, [each for each in disks if each.id not in ours]


def _check_held(vm: engine_vm_states.Vm, found: Backups, roots: Sequence[str]) -> None:
    """Raise Conflict where the VM has other disks than those that are held."""
    own = {each.uuid for each in found.disks}
    if not own <= set(roots) <= own | set(found.shareable):
        raise errors.Conflict(str(vm), "has got or lost a disk just now", "try again")


def _check_still(work: tree.Work, vm: engine_vm_states.Vm, roots: Sequence[str]) -> None:
    """Raise Conflict where the VM is not down any more, or has other disks."""
    now = engine_vm_states.vm(work, vm.id)
    now.check_down()
    if _plugged(work, now)[0] != list(roots):
        raise errors.Conflict(str(vm), "has got or lost a disk just now", "try again")


def _chosen(found: Backups, at: str) -> Moment:
    """Return the backup of a moment that has all disks, each of them clearly; raise NotFound,
    Conflict where there is none."""
    named = [each for each in found.moments if each.stamp == at]
    if not named:
        there = ", ".join(each.stamp for each in found.moments[:_SHOWN]) or "none"
        raise errors.NotFound(
            f"backup of {found.vm} of", at, f"in the cluster; the latest are: {there}"
        )
    whole = [each for each in named if each.is_whole(found.disks)]
    if len(whole) > 1:
        raise errors.Conflict(
            str(found.vm), f"has {len(whole)} backups of {at}", "choose another moment"
        )
    unclear = next((each for each in named if each.unclear()), None)
    if not whole and unclear is not None:
        disk = unclear.unclear()[0]
        several = ", ".join(f"{one.name} (~{one.global_id})" for one in unclear.snapshots[disk])
        raise errors.Conflict(
            f"the backup of {at}",
            f"has several snapshots of disk {disk}, {several}, and nothing tells which of them"
            " belongs to those of the other disks",
            "choose another moment; or delete with the StorPool CLI what is no part of the backup,"
            " where you know that, and try again",
        )
    if not whole:
        missing = ", ".join(named[0].missing(found.disks))
        raise errors.Conflict(
            f"the backup of {at}",
            f"has nothing of {missing}, and a VM gets all of its disks or none",
            "choose another moment; or unplug in oVirt what is to stay as it is, and try again",
        )
    return whole[0]


def _done(vm: engine_vm_states.Vm, chosen: Moment, copies: Sequence[trash.Entry]) -> Iterator[str]:
    many = sentences.counted(len(copies), "disk")
    yield f"restored {vm} to {chosen.stamp}: {many}"
    for copy in copies:
        yield f"  disk {copy.disk}"
        yield from (f"  {line}" for line in trash_restore.kept(copy))


def _left_alone(found: Backups) -> Iterator[str]:
    for uuid in found.shareable:
        yield f"  disk {uuid} may be other VMs' too, and was left as it is"


def _left_elsewhere(disks: Sequence[engine_vm_states.Disk]) -> Iterator[str]:
    """Yield a line for each disk of the VM that is not ours."""
    for each in disks:
        alias = f" ({each.alias})" if each.alias else ""
        yield f"  disk {each.id}{alias} is not in StorPool, and was left as it is"


def _taken(work: tree.Work, found: Backups) -> Iterator[str]:
    """Yield a line for each backup that was taken meanwhile: it may have one disk of before, and
    another one of after."""
    try:
        work.client.be_current()
        there = vm_backups.moments(work, found.vm.id, found.disks)
    except errors.Error as error:
        work.log.line("not_looked_at_since", vm=found.vm.id, reason=error)
        return
    known = {one.global_id for each in found.moments for one in each.all()}
    for each in there:
        if not known.issuperset(one.global_id for one in each.all()):
            yield (
                f"  the backup of {each.stamp} was taken meanwhile: its disks may be of two"
                " moments, so do not use it"
            )
