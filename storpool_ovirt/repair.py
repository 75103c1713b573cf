"""Reconcile: carries out what the audit is sure of, one step at a time, and reads every precondition again before it.

It deletes only objects that carry this Engine's location, are past the grace period, and whose id Engine never learnt,
or that an administrator has named.  It forces nothing: what a host holds open stays, and is told.
"""

from __future__ import annotations

from typing import Callable

from storpool_ovirt import (
    api,
    attachments,
    audit,
    candidates,
    checks,
    errors,
    findings,
    journal,
    mapping,
    names,
    ownership,
    recovery,
    removal,
    trees,
    volumes,
)  # fmt: skip

NOTHING = "nothing to do any more"


def plan(report: audit.Report) -> list[findings.Finding]:
    """Return the findings that reconcile mends: it has an action for them, and they are past the grace period."""
    return [each for each in report.findings if each.action and findings.is_old(each, report.grace_seconds)]


def carry_out(engine: trees.Engine, action: findings.Action, grace_seconds: float) -> str:
    """Do one step, under the disk's lock, if all that it rests on is still so; return what was done, in words.

    Raises what the API and the mapping raise; nothing was deleted then that is not told.
    """
    with checks.held(engine, action.disk):
        return _STEPS[action.kind](engine, action, grace_seconds)


def remove(engine: trees.Engine, target: str, grace_seconds: float, dry_run: bool = False) -> str:
    """Delete what an administrator names and Engine does not know, or forget a row whose object is gone.

    `target` is `~globalId` of an object that the mapping does not know, or the id of what an operation that died has
    left, or of a row without an object.  Raises Conflict, NotFound or InUse with the reason when it is not such a
    thing; nothing has changed then.
    """
    if target.startswith("~"):
        return _remove_object(engine, target, grace_seconds, dry_run)
    node = trees.known(engine, names.uuid(target, "the id"))
    with checks.held(engine, node.root):
        return _remove_row(engine, node.uuid, dry_run)


def keep(engine: trees.Engine, uuid: str, dry_run: bool = False) -> str:
    """Close the journal's entries on an object that Engine knows, as an administrator says."""
    node = trees.known(engine, names.uuid(uuid, "the id"))
    with checks.held(engine, node.root):
        open_here = [each for each in recovery.open_on(engine, node.root) if each.node == node.uuid]
        checks.clusters(engine, node.root, open_here)
        if node.global_id is None and all(recovery.made(engine, each) is None for each in open_here):
            raise errors.NotFound(node.kind, uuid, "in StorPool: it was never made; delete it in oVirt")
        if dry_run:
            return f"would close {len(open_here)} entries on {node.kind} {uuid}"
        for operation in open_here:
            _told(operation, recovery.settle(engine, operation, node.uuid))
        if node.kind == "volume" and open_here:
            engine.mapping.write(mapping.activated(node.root, node.uuid))
    return f"closed {len(open_here)} entries on {node.kind} {uuid}"


def detach(engine: trees.Engine, uuid: str, dry_run: bool = False) -> str:
    """Detach an object from every host where it is closed; return what was done, in words."""
    node = trees.known(engine, names.uuid(uuid, "the id"))
    target = trees.target(node)
    if dry_run:
        held = attachments.holders(engine.client, target)
        return f"would detach {target} where it is closed, of {_clients(held)}"
    with checks.held(engine, node.root):
        return _detached(engine, node)


def _settle(engine: trees.Engine, action: findings.Action, grace_seconds: float) -> str:
    operation = next((each for each in recovery.open_on(engine, action.disk) if each.id == action.number), None)
    if operation is None or not operation.age_seconds >= grace_seconds:
        return NOTHING
    checks.clusters(engine, action.disk, [operation])
    checks.explained(engine, operation)
    if operation.kind == journal.DROP:
        checks.not_moved(engine, [each for each in engine.mapping.tree(action.disk) if each.state == mapping.DELETING])
    done = recovery.settle(engine, operation)
    if operation.kind == journal.DROP and done.startswith("left"):
        if not operation.proved:
            raise errors.Conflict(
                f"disk {action.disk}", "has lost its volume, and its entry comes from a restored backup",
                "storpool-ovirt rebuild; then delete the disk in oVirt, if it is not needed",
            )  # fmt: skip
        tree = engine.mapping.tree(action.disk)
        removal.delete_nodes(engine, action.disk, tree, tree)
        engine.mapping.journal.delivered()
        return f"deleted what was left of disk {action.disk}"
    return _told(operation, done)


def _delete(engine: trees.Engine, action: findings.Action, grace_seconds: float) -> str:
    """Delete what was made after its operation had been taken back."""
    undone = any(
        each.id == action.number and each.state == journal.UNDONE and each.proved and each.age_seconds >= grace_seconds
        for each in engine.mapping.journal.all()
    )
    if not undone or engine.mapping.node(action.uuid) is not None:
        return NOTHING
    there = checks.read(engine, names.address(action.global_id))
    _delete_ours(engine, there, action.uuid)
    return f"deleted {there.kind} {there.name} (~{there.global_id})"


def _detach(engine: trees.Engine, action: findings.Action, _grace_seconds: float) -> str:
    node = trees.known(engine, action.uuid)
    root = trees.known(engine, node.root)
    if node.kind != "volume" or (root.active or root.uuid) == node.uuid:
        return NOTHING
    return _detached(engine, node)


def _retag(engine: trees.Engine, action: findings.Action, _grace_seconds: float) -> str:
    node = trees.known(engine, action.uuid)
    there = checks.read(engine, names.address(trees.global_id(node)))
    location = engine.mapping.location
    if there.tags.get(names.TAG_LOCATION) != location or candidates.owner(there, location):
        return NOTHING
    if candidates.other_id(there, node.uuid):
        return NOTHING
    volumes.change(engine.client, there, tags=candidates.wrong_tags(there, node, location))
    engine.log.line("tags_written", node=node.uuid, global_id=there.global_id)
    return "wrote its tags"


def _resize(engine: trees.Engine, action: findings.Action, _grace_seconds: float) -> str:
    node = trees.known(engine, action.uuid)
    if node.pending or node.state != mapping.LIVE:
        return NOTHING
    there = checks.read(engine, names.address(trees.global_id(node)))
    if candidates.owner(there, engine.mapping.location):
        return NOTHING
    engine.mapping.write(mapping.resized(node.uuid, there.size_bytes))
    engine.log.line("size_written", node=node.uuid, size_bytes=there.size_bytes)
    return f"wrote {there.size_bytes >> 30} GiB in the mapping"


_STEPS: dict[str, Callable[[trees.Engine, findings.Action, float], str]] = {
    findings.SETTLE: _settle,
    findings.DELETE: _delete,
    findings.DETACH: _detach,
    findings.RETAG: _retag,
    findings.RESIZE: _resize,
}


def _remove_object(engine: trees.Engine, address: str, grace_seconds: float, dry_run: bool) -> str:
    there = checks.read(engine, address)
    uuid = there.tags.get(names.TAG_UUID, "")
    checks.ours(engine, there, uuid)
    disk = there.tags.get(names.TAG_ROOT) or uuid
    with checks.held(engine, disk):
        there = checks.read(engine, address)  # it may have become another's while the disk was waited for
        checks.ours(engine, there, uuid)
        if (there.tags.get(names.TAG_ROOT) or uuid) != disk:
            raise errors.Conflict(candidates.said(there), "belongs to another disk since a moment ago", "try again")
        records = engine.mapping.records()
        if any(there.global_id == each.node.global_id or (each.node.uuid == uuid and each.node.global_id is None)
               for each in records):  # fmt: skip
            raise errors.Conflict(f"{there.kind} {address}", "is in the mapping", "delete its disk in oVirt")
        age_seconds = engine.now() - there.created_at
        if not age_seconds >= grace_seconds:
            raise errors.Conflict(
                f"{there.kind} {address}", f"is only {age_seconds:.0f} s old", "wait for the grace period to end"
            )
        if dry_run:
            return f"would delete {there.kind} {there.name} ({address})"
        _delete_ours(engine, there, uuid)
    return f"deleted {there.kind} {there.name} ({address})"


def _remove_row(engine: trees.Engine, uuid: str, dry_run: bool) -> str:
    node = trees.known(engine, uuid)
    operations = recovery.open_on(engine, node.root)
    checks.clusters(engine, node.root, operations)
    claims = [each for each in operations if (each.kind, each.node) == (journal.MAKE, uuid)]
    claim = next((each for each in claims if each.is_open), None)
    if claim is not None and not recovery.is_known(engine.mapping.tree(node.root), claim):
        if dry_run:
            return f"would delete {node.kind} {uuid}"
        done = _told(claim, recovery.undo(engine, claim, here=True))
        for each in claims:
            if each is not claim:
                engine.mapping.journal.close(each, mapping.unchanged())
        return f"{node.kind} {uuid}: {done}"
    if node.global_id is None:
        return f"would look for {node.kind} {uuid}" if dry_run else _find(engine, node)
    try:
        there = checks.read(engine, names.address(node.global_id))
    except errors.NotFound:
        checks.gone(engine, node)
        if dry_run:
            return f"would forget {node.kind} {uuid}"
        removal.forget(engine, engine.mapping.tree(node.root), [uuid])
        engine.log.line("row_forgotten", node=uuid, global_id=node.global_id, disk=node.root)
        return f"forgot {node.kind} {uuid}"
    raise errors.Conflict(f"{there.kind} {uuid} (~{there.global_id})", "is there", "delete its disk in oVirt")


def _find(engine: trees.Engine, node: mapping.Node) -> str:
    """Complete the row of an object that was never seen, or forget it."""
    plan = volumes.Plan(names.object_name(node.uuid), trees.tags(engine, node))
    global_id = volumes.find(engine.client, node.kind, plan)
    if global_id is None:
        engine.mapping.write(mapping.forgotten([node.uuid]))
        return f"forgot {node.kind} {node.uuid}: nothing was made"
    engine.mapping.write(mapping.completed(node.uuid, global_id))
    return f"found {node.kind} {node.uuid} (~{global_id})"


def _told(operation: journal.Operation, done: str) -> str:
    """Return what was done; raise Conflict when nothing was."""
    if done.startswith("left"):
        raise errors.Conflict(f"{operation.plan.get('kind', 'object')} {operation.node}", f"was {done}")
    return done


def _delete_ours(engine: trees.Engine, there: api.Volume, uuid: str) -> None:
    """Delete an object without a row.  Attached to any host it is in use: InUse."""
    checks.ours(engine, there, uuid)
    removal.drop_unused(engine, there)
    engine.log.line(f"{there.kind}_deleted", **{there.kind: uuid}, global_id=there.global_id, reason="reconcile")


def _detached(engine: trees.Engine, node: mapping.Node) -> str:
    _check_whose(engine, node)
    target = trees.target(node)
    gone, still = attachments.detach_closed(engine.client, target)
    for client_id in gone:
        engine.log.line("released", target=target.name, client=client_id, reason="reconcile")
    done = f"detached {target} from {_clients(gone)}"
    return f"{done}; it is open at {_clients(still)}" if still else done


def _check_whose(engine: trees.Engine, node: mapping.Node) -> None:
    """Raise Foreign or Conflict when what has the row's global id is not ours.

    Where nothing has it the object was moved by hand, and what hosts have of the old one is detached before `mend`.
    """
    try:
        checks.read(engine, names.address(trees.global_id(node)))
    except errors.NotFound:
        return
    ownership.proved(engine, node)


def _clients(client_ids: list[int]) -> str:
    return ", ".join(f"client {client_id}" for client_id in sorted(client_ids)) or "no client"
