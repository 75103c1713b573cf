"""The settlement of one operation that died, or whose answer Engine never got, on a disk that we
hold: what it left is finished, undone, or left to the audit.

What Engine chose the id of (a disk) is finished where StorPool has it; what only a dead process
knew the id of (a snapshot, a preview) is undone, as Engine can never name it. A size is read from
StorPool. A delete is undone as far as its objects are still there: Engine was never told that they
are gone.

Nothing is deleted for an entry that may be older than what Engine knows: one of a restored backup,
or an old one (an image of the whole server that is put back brings entries along that look like new
ones, but for their age).
"""

from __future__ import annotations

from storpool_ovirt import errors, names, sentences
from storpool_ovirt.cluster import api, sources, volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy
from storpool_ovirt.engine import changes, intent, mapping, ownership, removal, tree
from storpool_ovirt.engine.operations import Operation
from storpool_ovirt.engine.outcomes import AWAITED, CLOSED, FINISHED, LEFT, TAKEN_BACK, Outcome
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A verb that takes back what died does so while it is fresh; what is older is left to the audit.
FRESH_SECONDS = 3600.0
# A request of a dead process may take effect for so long (`api.REQUEST_SECONDS`): only then is it
# known what it left.
LATE_SECONDS = 30.0

_TO_THE_AUDIT = Outcome(LEFT, "left to the audit")
_ELSEWHERE = Outcome(LEFT, "left: it may be in another cluster")
_NEVER_MADE = Outcome(TAKEN_BACK, "taken back: nothing was made")


def settle(
    work: tree.Work, operation: Operation, named: str | None = None, again: bool = False
) -> Outcome:
    """Finish or undo one dead operation, and return what became of it.

    `named` is the id that Engine uses now: it knows that object, and the disk that it belongs to;
    `again`: it is about to be made once more.
    """
    if not operation.is_open:
        return take_late(work, operation)
    if operation.kind == intent.MAKE:
        outcome = _settle_make(work, operation, named, again)
    else:
        outcome = _settle_change(work, operation)
    work.log.line(
        "operation_settled",
        verb=operation.verb,
        of=operation.correlation_id,
        node=operation.node,
        disk=operation.disk,
        age=f"{operation.age_seconds:.0f}",
        done=outcome.text,
    )
    return outcome


def made(work: tree.Work, operation: Operation) -> api.Volume | None:
    """Return what an operation made, if StorPool has it; by its global id where that is known, else
    by its name.

    Raises Foreign when it is another owner's now, Conflict when something else is in its place.
    """
    node = work.mapping.node(operation.node)
    if node is not None and node.global_id is not None:
        try:
            return ownership.proved(work, node)
        except errors.NotFound:
            return None
    kind = "snapshot" if operation.plan.kind == "snapshot" else "volume"
    try:
        there = volumes.read(work.client, kind, names.object_name(operation.node))
        ownership.check(work, there, _intended(operation, kind))
        sources.check(work.client, there, _planned(operation))
    except errors.NotFound:
        return None
    except errors.Conflict as error:
        # The name is another owner's, or another operation's: ours was never made.
        work.log.line("not_made", node=operation.node, of=operation.correlation_id, reason=error)
        return None
    return None if there.dying else there


def undo(work: tree.Work, operation: Operation, here: bool = False) -> Outcome:
    """Delete what nobody knows the id of, and its row; `here`: this is certainly its cluster."""
    nodes = work.mapping.tree(operation.disk)
    try:
        work.client.be_current()  # what is deleted, or was never made, is so as of now
        there = made(work, operation)
        if there is not None:
            with removal.given_back(work, removal.previous(nodes, [operation.node]), there):
                drop(work, operation, there, "its id was never delivered")
    except tree.REFUSALS as error:
        work.log.line("undo_refused", node=operation.node, reason=error)
        _set_aside(work, operation)
        return Outcome(LEFT, f"left: {error}")
    if there is None and not here and operation.plan.is_elsewhere(work.client.address):
        return _ELSEWHERE
    removal.activate_previous(work, nodes, [operation.node])
    forgotten = changes.forgotten([operation.node])
    if there is not None:
        work.mapping.journal.close(operation, forgotten)
        return Outcome(TAKEN_BACK, "taken back: deleted")
    # The request of a process that was killed may still be on its way: what it makes then is known
    # for what it is.
    work.mapping.journal.undo(operation, forgotten)
    return _NEVER_MADE


def drop(work: tree.Work, operation: Operation, there: api.Volume, reason: str) -> None:
    """Delete what an operation has made; raise InUse, Conflict where a host has it."""
    removal.drop_unused(work, there)
    work.log.line(
        f"{there.kind}_deleted",
        **{there.kind: operation.node},
        global_id=there.global_id,
        disk=operation.disk,
        reason=reason,
    )


def take_late(work: tree.Work, operation: Operation, at_once: bool = False) -> Outcome:
    """Delete what came after its operation had been taken back.

    It is looked for once, when nothing can come any more; `at_once` where the disk that it belongs
    to is to go.
    """
    over = operation.age_seconds >= LATE_SECONDS
    node = work.mapping.node(operation.node)
    if node is not None and node.global_id is not None:
        work.mapping.journal.close(operation, changes.unchanged())
        return Outcome(CLOSED, "closed: it was made again")
    if node is not None:
        return Outcome(AWAITED, "may still come, in place of what is being made")
    if not (over or at_once):
        return Outcome(AWAITED, "may still come")
    if operation.proved and made(work, operation) is not None:
        return undo(work, operation)
    if over:
        work.mapping.journal.nothing_came(operation)
    return Outcome(CLOSED, "nothing came")


def late_seconds(operation: Operation) -> float:
    """Return how long a request of an operation that died may still take effect.

    Where a volume was copied for the trash, no copy may go while one that deletes the volume is
    under way, or writes over it; so it counts from when the process had to end, if nobody knows
    when it did.
    """
    if operation.plan.trash is None and operation.plan.over is None:
        return LATE_SECONDS - operation.age_seconds
    return min(LATE_SECONDS, LATE_SECONDS + operation.left_seconds)


def wait_for_late(work: tree.Work, operation: Operation, seconds: float) -> None:
    """Wait so long, if at all, until no request of an operation that died can take effect any more.
    Raises Locked where the caller has no time for that."""
    if seconds <= 0:
        return
    if work.mapping.session.deadline.remaining() < 2 * seconds:
        raise errors.Locked(
            f"disk {operation.disk}", LATE_SECONDS - seconds, f"{operation} died half-way"
        )
    work.sleep(seconds)


def _intended(operation: Operation, kind: str) -> mapping.Node:
    """Return the row of what an operation was to make, as far as tags tell of it."""
    return mapping.Node(
        uuid=operation.node,
        kind=kind,
        root=operation.disk,
        source=None,
        size_bytes=0,
        state=mapping.PLANNED,
    )


def _planned(operation: Operation) -> Plan:
    """Return what an operation was to make, as far as its entry tells what that is made of."""
    return Plan(
        Owner(names.object_name(operation.node)),
        policy=Policy(template=operation.plan.template),
        parent=operation.plan.parent,
        base_on=operation.plan.base_on,
        source_tag=operation.plan.source_tag,
    )


def _settle_make(work: tree.Work, operation: Operation, named: str | None, again: bool) -> Outcome:
    if operation.plan.placeholder is not None:
        from storpool_ovirt.engine import restoring

        return restoring.settle(work, operation)
    if tree.is_known(work.mapping.tree(operation.disk), operation, named):
        return _finish(work, operation, again=again)
    if not operation.proved:
        return _finish(work, operation, keep=True)
    if named is not None and not operation.is_fresh(FRESH_SECONDS):
        return _set_aside(work, operation)
    return undo(work, operation)


def _set_aside(work: tree.Work, operation: Operation) -> Outcome:
    """Leave what was made to the audit, but let no VM's disk be what Engine does not know."""
    from storpool_ovirt.engine import vm_tag

    nodes = work.mapping.tree(operation.disk)
    before = removal.previous(nodes, [operation.node])
    if before is not None:
        with vm_tag.switched(work, before, operation.node):
            removal.activate_previous(work, nodes, [operation.node])
    return _TO_THE_AUDIT


def _finish(
    work: tree.Work, operation: Operation, keep: bool = False, again: bool = False
) -> Outcome:
    """Complete the row where the object is there, drop it where not.

    `keep`: the entry stays for the audit; `again`: the same is about to be made once more.
    """
    journal = work.mapping.journal
    node = work.mapping.node(operation.node)
    if node is None or node.global_id is not None:
        if keep:
            return _TO_THE_AUDIT
        journal.close(operation, changes.unchanged())
        return Outcome(CLOSED, "closed: Engine knows it")
    # A row that is dropped because nothing was made is dropped for what is so now
    work.client.be_current()
    there = made(work, operation)
    if there is None and operation.plan.is_elsewhere(work.client.address) and not again:
        return _ELSEWHERE
    if there is None:
        journal.undo(operation, changes.forgotten([operation.node]))
        return _NEVER_MADE
    if there.size_bytes != node.size_bytes:
        work.mapping.write(changes.resized(node.uuid, there.size_bytes))
    if node.kind == "volume" and node.uuid != node.root:
        from storpool_ovirt.engine import vm_tag

        vm_tag.activate(work, node._replace(global_id=there.global_id))
    completed = changes.completed(node.uuid, there.global_id)
    if keep:
        work.mapping.write(completed)
    else:
        journal.close(operation, completed)
    return Outcome(FINISHED, "finished: it exists")


def _settle_change(work: tree.Work, operation: Operation) -> Outcome:
    """Settle what was to grow or to go."""
    if operation.has_done_its_work:
        work.mapping.journal.close(operation, changes.unchanged())
        return Outcome(CLOSED, "closed")
    if operation.plan.over is not None:
        from storpool_ovirt.engine import over_settlement

        if operation.plan.over.begun:
            wait_for_late(work, operation, late_seconds(operation))
        return over_settlement.settle(
            work, operation, lambda: wait_for_late(work, operation, LATE_SECONDS)
        )
    if operation.kind == intent.GROW:
        return _read_size(work, operation)
    return _keep_what_is_there(work, operation)


def _read_size(work: tree.Work, operation: Operation) -> Outcome:
    """Write the size that the volume has."""
    node = work.mapping.node(operation.node)
    change = changes.unchanged()
    if node is not None and node.global_id is not None:
        try:
            change = changes.resized(node.uuid, ownership.proved(work, node).size_bytes)
        except (errors.NotFound, errors.Conflict) as error:
            work.log.line("size_not_read", node=node.uuid, reason=error)
    work.mapping.journal.close(operation, change)
    return Outcome(FINISHED, "size read")


def _keep_what_is_there(work: tree.Work, operation: Operation) -> Outcome:
    """Take a delete back for what StorPool still has, unless a whole disk was to go and has lost
    its volume."""
    work.client.be_current()  # no row goes because an object was not there a moment ago
    nodes = work.mapping.tree(operation.disk)
    doomed = [node for node in nodes if node.state == mapping.DELETING]
    # What is only planned has an entry of its own that tells.
    known = [node for node in doomed if node.global_id is not None]
    gone = [node.uuid for node in known if ownership.is_gone(work, node)]
    root = next((node for node in nodes if node.uuid == operation.disk), None)
    trashed = operation.plan.trash is not None
    if trashed and operation.proved and _has_begun(work, operation, doomed, gone):
        try:
            return _go_forward(work, operation, nodes)
        except errors.Conflict as error:  # put back, where StorPool honours no date
            if _has_begun(work, operation, doomed, gone):
                raise
            work.log.line("trash_undated", node=operation.node, reason=error)
    elif _another_has_begun(work, operation, doomed, gone):
        return Outcome(AWAITED, "ends with a later delete, of which a part is in the trash")
    if root is not None and (root.active or root.uuid) in gone and operation.node == operation.disk:
        return Outcome(LEFT, "left: the disk has lost its volume, delete it again")
    if trashed:
        from storpool_ovirt.engine import trash_copies

        # Of a volume that another delete's settlement has taken back, too
        trash_copies.undo(work, operation, nodes)
    if gone:
        removal.forget(work, nodes, gone)
    kept = [node.uuid for node in doomed if node.uuid not in gone]
    # Kept in the journal as taken back: should a late request delete one of them, the audit knows
    # the cause.
    work.mapping.journal.undo(operation, changes.marked(kept, mapping.LIVE))
    return Outcome(
        TAKEN_BACK,
        f"delete taken back for {len(kept)} of {sentences.counted(len(doomed), 'object')}",
    )


def _has_begun(
    work: tree.Work,
    operation: Operation,
    doomed: Sequence[mapping.Node],
    gone: Sequence[str],
) -> bool:
    from storpool_ovirt.engine import trash_copies

    return trash_copies.has_begun(work, operation, doomed, gone)


def _another_has_begun(
    work: tree.Work,
    operation: Operation,
    doomed: Sequence[mapping.Node],
    gone: Sequence[str],
) -> bool:
    """Return whether another delete that died on this disk has brought something into the trash:
    what is gone is its doing, so nothing is taken back."""
    return any(
        each.id != operation.id
        and each.proved
        and each.is_unfinished_delete
        and each.plan.trash is not None
        and _has_begun(work, each, doomed, gone)
        for each in work.mapping.journal.of_disk(operation.disk)
    )


def _go_forward(work: tree.Work, operation: Operation, nodes: Sequence[mapping.Node]) -> Outcome:
    """Finish a delete of which a part is in the trash already: nobody can put that back alone."""
    from storpool_ovirt.engine import disposal

    doomed = [node for node in nodes if operation.takes_disk or node.uuid == operation.node]
    # Should nobody find it there, it is kept for as long as it was to be all the same
    until = operation.plan.trash.ends_at if operation.plan.trash is not None else 0
    seconds = max(disposal.LEAST_SECONDS, round(until - work.now()))
    removal.delete_nodes(work, operation.node, list(nodes), doomed, seconds)
    work.mapping.journal.delivered()
    return Outcome(FINISHED, "finished: it is in the trash")
