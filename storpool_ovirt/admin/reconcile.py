"""Reconcile: carries out what the audit is sure of, one step at a time, and reads every
precondition again before it.

It deletes only objects that carry this Engine's location, are past the grace period, and whose id
Engine never learnt, or that an administrator has named. It forces nothing: what a host holds open
stays, and is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from storpool_ovirt import errors, names, sentences, sizes
from storpool_ovirt.admin import (
    audit,
    checks,
    findings,
    moment_rows,
    one_disk,
    policy_domains,
    policy_targets,
    reserved_steps,
    survey,
    trash_findings,
    trash_purge,
)
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Plan
from storpool_ovirt.engine import (
    candidates,
    changes,
    intent,
    mapping,
    moments,
    operations,
    outcomes,
    over_settlement,
    ownership,
    recovery,
    removal,
    reverts,
    settlement,
    tree,
    vm_tag,
)
from storpool_ovirt.engine import trash as entries
from storpool_ovirt.engine.operations import Operation

NOTHING = checks.NOTHING


def plan(report: audit.Report) -> list[findings.Finding]:
    """Return the findings that reconcile mends: it has an action for them, and they are past the
    grace period."""
    return [
        each
        for each in report.findings
        if each.action and findings.is_old(each, report.grace_seconds)
    ]


def note_visible_ids(work: tree.Work, view: survey.View) -> None:
    """Keep the visible ids of all volumes whose rows lack them, as a verb does with the one that it
    meets: by them a row follows its volume after a revert."""
    seen = [
        (record.node, view.things.get(record.node.global_id or ""))
        for uuid, record in view.records.items()
        if uuid not in view.drifted
    ]
    unknown = reverts.news(seen, view.location)
    if unknown:
        reverts.note_all(work.mapping, unknown)


def over(report: audit.Report) -> list[entries.Entry]:
    """Return the entries of the trash whose time is over, and of which StorPool has nothing any
    more."""
    view = report.view
    return [each for each in view.trash if trash_findings.is_over(view, each, report.grace_seconds)]


def forget(work: tree.Work, gone: list[entries.Entry]) -> None:
    """Take the rows of these entries away: they are told by nothing any more."""
    if gone:
        work.mapping.write(entries.forgotten([each.entry for each in gone]))
        work.log.line("trash_over", entries=len(gone))


def carry_out(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    """Do one step, under the disk's lock, if all that it rests on is still so; return what was
    done, in words.

    Raises what the API and the mapping raise; what was deleted before that is in the log.
    """
    with checks.held(work, action.disk):
        return _STEPS[action.kind](work, action, grace_seconds)


def remove(work: tree.Work, target: str, grace_seconds: float, dry_run: bool = False) -> str:
    """Delete what an administrator names and Engine does not know, or forget a row whose object is
    gone.

    `target` is `~globalId` of an object that the mapping does not know, or the id of what an
    operation that died has left, or of a row without an object. Raises Conflict, NotFound or InUse
    with the reason when it is not such a thing; nothing has changed then.
    """
    if target.startswith("~"):
        return _remove_object(work, target, grace_seconds, dry_run)
    node = policy_targets.known(work, names.uuid(target, "the id"))
    with checks.held(work, node.root):
        return _remove_row(work, node.uuid, dry_run)


def keep(work: tree.Work, uuid: str, dry_run: bool = False) -> str:
    """Close the journal's entries on an object that Engine knows, as an administrator says."""
    node = policy_targets.known(work, names.uuid(uuid, "the id"))
    with checks.held(work, node.root):
        open_here = [each for each in recovery.open_on(work, node.root) if each.node == node.uuid]
        entries = sentences.counted(len(open_here), "entry", "entries")
        checks.clusters(work, node.root, open_here)
        if node.reserved and node.state == mapping.LIVE and not open_here:
            return reserved_steps.kept_by_name(work, node, dry_run)
        if node.global_id is None and all(
            settlement.made(work, each) is None for each in open_here
        ):
            raise errors.NotFound(
                node.kind, uuid, "in StorPool: it was never made; delete it in oVirt"
            )
        if dry_run:
            return f"would close {entries} on {node.kind} {uuid}"
        for operation in open_here:
            try:
                _done(operation, settlement.settle(work, operation, node.uuid))
            except tree.REFUSALS:
                over = operation.plan.over
                if over is None or not over.others:
                    raise
                over_settlement.leave(work, operation)
        if node.kind == "volume" and open_here:
            vm_tag.activate(work, node)
    return f"closed {entries} on {node.kind} {uuid}"


def _followed(work: tree.Work, node: mapping.Node) -> mapping.Node:
    """Return a row as it is when it has followed its volume to another global id."""
    found = reverts.found_again(work, node)
    return tree.found_as(node, found) if found is not None else node


def detach(work: tree.Work, uuid: str, dry_run: bool = False) -> str:
    """Detach an object from every host where it is closed; return what was done, in words."""
    node = policy_targets.known(work, names.uuid(uuid, "the id"))
    if dry_run:
        target = tree.target(node)
        held = attachments.clients_of(work.client, target)
        return f"would detach {target} where it is closed, of {names.clients(held)}"
    with checks.held(work, node.root):
        return _detached(work, node)


def _settle(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    operation = next(
        (each for each in recovery.open_on(work, action.disk) if each.id == action.number), None
    )
    if operation is None or not operation.age_seconds >= grace_seconds:
        return NOTHING
    checks.clusters(work, action.disk, [operation])
    # What is settled goes on as the verb of its domain would
    told, work = work, policy_domains.within(work, {action.disk: None})
    checks.explained(work, operation)
    if operation.kind == intent.DROP:
        checks.not_moved(
            work,
            [each for each in work.mapping.tree(action.disk) if each.state == mapping.DELETING],
        )
    outcome = settlement.settle(work, operation)
    if operation.kind == intent.DROP and outcome.is_left:
        if not operation.proved:
            raise errors.Conflict(
                f"disk {action.disk}",
                "has lost its volume, and its entry comes from a restored backup",
                "storpool-ovirt rebuild; then delete the disk in oVirt, if it is not needed",
            )
        nodes = work.mapping.tree(action.disk)
        work = policy_domains.within(told, {action.disk: _template(work, nodes)})
        keep_seconds = work.domain.delete_delay_seconds
        copy_to = work.domain.backup_on_delete
        removal.delete_nodes(work, action.disk, nodes, nodes, keep_seconds, copy_to=copy_to)
        work.mapping.journal.delivered()
        return f"deleted what was left of disk {action.disk}"
    return _done(operation, outcome)


def _template(work: tree.Work, nodes: Sequence[mapping.Node]) -> str | None:
    """Return the template of what is left of a disk; None where that has several, or none."""
    found = {each.template for each in one_disk.objects(work.client, nodes)}
    return found.pop() if len(found) == 1 else None


def _delete(work: tree.Work, action: findings.Action, grace_seconds: float) -> str:
    """Delete what was made after its operation had been taken back."""
    undone = any(
        each.id == action.number
        and each.state == operations.UNDONE
        and each.proved
        and each.age_seconds >= grace_seconds
        for each in work.mapping.journal.all()
    )
    if not undone or work.mapping.node(action.uuid) is not None:
        return NOTHING
    there = checks.read(work, names.address(action.global_id))
    _delete_ours(work, there, action.uuid)
    return f"deleted {there.kind} {there.name} (~{there.global_id})"


def _detach(work: tree.Work, action: findings.Action, _grace_seconds: float) -> str:
    node = tree.known(work, action.uuid)
    root = tree.known(work, node.root)
    if node.kind != "volume" or (root.active or root.uuid) == node.uuid:
        return NOTHING
    return _detached(work, node)


def _follow(work: tree.Work, action: findings.Action, _grace_seconds: float) -> str:
    """Have a row follow its volume to the global id that it got by a revert."""
    before = tree.known(work, action.uuid)
    if before.state != mapping.LIVE:
        return NOTHING
    there = ownership.proved(work, before)
    if there.global_id == before.global_id:
        return NOTHING
    return f"wrote the global id ~{there.global_id} in the mapping"


def _retag(work: tree.Work, action: findings.Action, _grace_seconds: float) -> str:
    node = _followed(work, tree.known(work, action.uuid))
    there = checks.read(work, names.address(tree.global_id(node)))
    location = work.mapping.location
    if there.global_id != node.global_id:
        return NOTHING
    if there.tags.get(names.TAG_LOCATION) != location or candidates.owner(there, location):
        return NOTHING
    if candidates.other_id(there, node.uuid):
        return NOTHING
    known = moments.all(work.mapping.session)
    volumes.change(work.client, there, tags=moment_rows.wrong_tags(there, node, location, known))
    work.log.line("tags_written", node=node.uuid, global_id=there.global_id)
    return "wrote its tags"


def _resize(work: tree.Work, action: findings.Action, _grace_seconds: float) -> str:
    node = tree.known(work, action.uuid)
    if node.pending or node.state != mapping.LIVE:
        return NOTHING
    node = _followed(work, node)
    there = checks.read(work, names.address(tree.global_id(node)))
    if there.global_id != node.global_id or candidates.owner(there, work.mapping.location):
        return NOTHING
    work.mapping.write(changes.resized(node.uuid, there.size_bytes))
    work.log.line("size_written", node=node.uuid, size_bytes=there.size_bytes)
    return f"wrote {there.size_bytes // sizes.GIB} GiB in the mapping"


def _purge(work: tree.Work, action: findings.Action, _grace_seconds: float) -> str:
    """End a purge that was begun."""
    begun = [
        each
        for each in entries.of(work.mapping, action.uuid)
        if each.entry == action.uuid and each.ends_at == entries.PURGED_AT
    ]
    if not begun:
        return NOTHING
    trash_purge.drop(work, begun[0])
    return f"purged {begun[0].kind} {begun[0].node} of disk {begun[0].disk}"


_STEPS: dict[str, Callable[[tree.Work, findings.Action, float], str]] = {
    findings.SETTLE: _settle,
    findings.DELETE: _delete,
    findings.DETACH: _detach,
    findings.RETAG: _retag,
    findings.RESIZE: _resize,
    findings.FOLLOW: _follow,
    findings.DISCARD: reserved_steps.discard,
    findings.KEEP: reserved_steps.keep,
    findings.END: reserved_steps.end,
    findings.PURGE: _purge,
}


def _remove_object(work: tree.Work, address: str, grace_seconds: float, dry_run: bool) -> str:
    there = checks.read(work, address)
    uuid = there.tags.get(names.TAG_UUID, "")
    checks.ours(work, there, uuid)
    disk = names.root_of(there.tags) or uuid
    with checks.held(work, disk):
        there = checks.read(
            work, address
        )  # it may have become another's while the disk was waited for
        checks.ours(work, there, uuid)
        if (names.root_of(there.tags) or uuid) != disk:
            raise errors.Conflict(
                candidates.said(there), "belongs to another disk since a moment ago", "try again"
            )
        if work.mapping.nodes(
            "WHERE global_id = %s OR (uuid::text = %s AND global_id IS NULL)",
            there.global_id,
            uuid,
        ):
            raise errors.Conflict(
                f"{there.kind} {address}", "is in the mapping", "delete its disk in oVirt"
            )
        age_seconds = work.now() - there.created_at
        if not age_seconds >= grace_seconds:
            raise errors.Conflict(
                f"{there.kind} {address}",
                f"is only {age_seconds:.0f} s old",
                "wait for the grace period to end",
            )
        if dry_run:
            return f"would delete {there.kind} {there.name} ({address})"
        _delete_ours(work, there, uuid)
    return f"deleted {there.kind} {there.name} ({address})"


def _remove_row(work: tree.Work, uuid: str, dry_run: bool) -> str:
    node = tree.known(work, uuid)
    left = recovery.open_on(work, node.root)
    checks.clusters(work, node.root, left)
    claims = [each for each in left if (each.kind, each.node) == (intent.MAKE, uuid)]
    claim = next((each for each in claims if each.is_open), None)
    if claim is not None and not tree.is_known(work.mapping.tree(node.root), claim):
        if dry_run:
            return f"would delete {node.kind} {uuid}"
        done = _done(claim, settlement.undo(work, claim, here=True))
        for each in claims:
            if each is not claim:
                work.mapping.journal.close(each, changes.unchanged())
        return f"{node.kind} {uuid}: {done}"
    if node.global_id is None:
        return f"would look for {node.kind} {uuid}" if dry_run else _find(work, node)
    try:
        there = checks.read(work, names.address(node.global_id))
    except errors.NotFound:
        checks.gone(work, node)
        if dry_run:
            return f"would forget {node.kind} {uuid}"
        removal.forget(work, work.mapping.tree(node.root), [uuid])
        work.log.line("row_forgotten", node=uuid, global_id=node.global_id, disk=node.root)
        return f"forgot {node.kind} {uuid}"
    if node.moment is not None and node.state == mapping.LIVE:
        return reserved_steps.removed_by_name(work, node, dry_run)
    raise errors.Conflict(
        f"{there.kind} {uuid} (~{there.global_id})", "is there", "delete its disk in oVirt"
    )


def _find(work: tree.Work, node: mapping.Node) -> str:
    """Complete the row of an object that was never seen, or forget it."""
    global_id = volumes.find(work.client, node.kind, Plan(tree.owner(work, node)))
    if global_id is None:
        work.mapping.write(changes.forgotten([node.uuid]))
        return f"forgot {node.kind} {node.uuid}: nothing was made"
    work.mapping.write(changes.completed(node.uuid, global_id))
    return f"found {node.kind} {node.uuid} (~{global_id})"


def _done(operation: Operation, outcome: outcomes.Outcome) -> str:
    """Return what was done, in words; raise Conflict when nothing was."""
    if outcome.is_left:
        what = f"{operation.plan.kind or 'object'} {operation.node}"
        raise errors.Conflict(what, f"was {outcome.text}")
    return outcome.text


def _delete_ours(work: tree.Work, there: api.Volume, uuid: str) -> None:
    """Delete an object without a row. Attached to any host it is in use: InUse."""
    checks.ours(work, there, uuid)
    removal.drop_unused(work, there)
    work.log.line(
        f"{there.kind}_deleted", **{there.kind: uuid}, global_id=there.global_id, reason="reconcile"
    )


def _detached(work: tree.Work, node: mapping.Node) -> str:
    node = _followed(work, node)
    _check_whose(work, node)
    target = tree.target(node)
    gone, still = attachments.detach_closed(work.client, target)
    for client_id in gone:
        work.log.line("released", target=target.name, client=client_id, reason="reconcile")
    done = f"detached {target} from {names.clients(gone)}"
    return f"{done}; it is open at {names.clients(still)}" if still else done


def _check_whose(work: tree.Work, node: mapping.Node) -> None:
    """Raise Foreign or Conflict when what has the row's global id is not ours.

    Where nothing has it the object was moved by hand, and what hosts have of the old one is
    detached before `mend`.
    """
    try:
        checks.read(work, names.address(tree.global_id(node)))
    except errors.NotFound:
        return
    ownership.proved(work, node)
