"""What reconcile does about the snapshots that no verb gave to oVirt (`reserved.py`).

All that a step rests on is seen anew under the disk's lock, under which a verb takes its snapshot
up too.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.admin import checks, findings, reserved, survey
from storpool_ovirt.engine import (
    changes,
    engine_images,
    mapping,
    ownership,
    recovery,
    removal,
    tree,
)


def discard(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    """Delete a snapshot of which nothing says that anybody knows it; raise Conflict where something
    says so by now."""
    found = _seen(work, action, grace_seconds)
    if found is None or found.action != action:
        return _refused(found)
    node = tree.known(work, action.uuid)
    checks.clusters(work, node.root, recovery.open_on(work, node.root))
    return _forgotten(work, node) if found.kind == findings.GHOST else _deleted(work, node)


def keep(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    """Note that oVirt has a snapshot, as its own database says; raise Conflict where that is not so
    any more."""
    found = _seen(work, action, grace_seconds)
    if found is None or found.action != action:
        return _refused(found)
    return _kept(work, tree.known(work, action.uuid))


def end(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    """Note that a group of snapshots that died was not made, once nothing is left of it."""
    view = survey.look(work)
    moment = view.moments.get(action.number)
    found = reserved.of_moment(view, moment) if moment is not None else None
    if moment is None or found is None or not findings.is_old(found, grace_seconds):
        return checks.NOTHING
    left = [record.node for record in view.records.values() if record.node.moment == moment.id]
    if left:
        raise errors.Conflict(
            f"moment {moment.mark} of VM {moment.vm}",
            f"still has the row of snapshot {left[0].uuid} of disk {left[0].root}",
            "storpool-ovirt audit tells what is open on that disk",
        )
    work.mapping.write(changes.moment_died(moment.id))
    work.log.line("moment_failed", moment=moment.mark, vm=moment.vm, reason="its process died")
    return "noted that it failed"


def kept_by_name(work: tree.Work, node: mapping.Node, dry_run: bool) -> str:
    """Note that oVirt has a snapshot, as an administrator says."""
    if dry_run:
        return f"would note that oVirt has {node.kind} {node.uuid}"
    return f"{_kept(work, node)}: {node.kind} {node.uuid}"


def removed_by_name(work: tree.Work, node: mapping.Node, dry_run: bool) -> str:
    """Delete a snapshot of several disks' moment that oVirt does not have, as an administrator
    says.

    Of one that a verb may have given to oVirt, Engine's own database has to say so too. Raises
    Conflict where its moment may still go on, or oVirt has it.
    """
    what = f"{node.kind} {node.uuid} (~{node.global_id})"
    view = survey.look(work)
    age_seconds = reserved.age_of(view, view.records[node.uuid])
    if node.reserved and not reserved.is_over(view, node.moment, age_seconds):
        raise errors.Conflict(
            what, "is of a moment that may still go on", "try again in some minutes"
        )
    family = [each.uuid for each in view.tree(node.root)]
    known = engine_images.known(work, family)
    if known is not None and node.uuid in known:
        raise errors.Conflict(what, "is in Engine's own database", "delete it in oVirt")
    # Another Engine's database knows nothing of the whole disk.
    if not node.reserved and not known:
        raise errors.Conflict(what, "is there, and oVirt may have it", "delete its disk in oVirt")
    user = next(
        (each.node for each in view.records.values() if each.node.source == node.uuid), None
    )
    if user is not None:
        raise errors.Conflict(
            what, f"is what {user.kind} {user.uuid} was made of", "so oVirt has it: delete it there"
        )
    if dry_run:
        return f"would delete {what}"
    return f"{_deleted(work, node)} {node.uuid}"


def _seen(
    work: tree.Work, action: findings.Action, grace_seconds: float
) -> findings.Finding | None:
    """Return what the audit says of a snapshot now; None where that is nothing, or it is younger
    than the grace period."""
    view = survey.look(work)
    record = view.records.get(action.uuid)
    found = reserved.of_row(view, record) if record is not None else None
    return found if found is not None and findings.is_old(found, grace_seconds) else None


def _refused(found: findings.Finding | None) -> str:
    if found is None:
        return checks.NOTHING
    raise errors.Conflict(found.what, f"is not what it was a moment ago: {found.cause}", found.mend)


def _forgotten(work: tree.Work, node: mapping.Node) -> str:
    checks.gone(work, node)
    work.mapping.write(changes.forgotten([node.uuid]))
    work.log.line("row_forgotten", node=node.uuid, global_id=node.global_id, disk=node.root)
    return "forgot its row"


def _deleted(work: tree.Work, node: mapping.Node) -> str:
    """Delete a snapshot and its row. Attached to any host it is in use: InUse."""
    there = ownership.proved(work, node)
    work.mapping.begin_delete(node.uuid, node.root, [node.uuid])
    try:
        removal.drop_unused(work, there)
    except tree.REFUSALS:
        tree.silent_take_back(work, changes.marked([node.uuid], mapping.LIVE))
        raise
    work.mapping.complete_delete([node.uuid])
    work.mapping.journal.delivered()
    removal.log_deleted(work, node, there.global_id, reason="no verb gave it to oVirt")
    return "deleted the snapshot"


def _kept(work: tree.Work, node: mapping.Node) -> str:
    work.mapping.write(changes.told(node.uuid))
    work.log.line("snapshot_known", snapshot=node.uuid, disk=node.root)
    return "noted that oVirt has it"
