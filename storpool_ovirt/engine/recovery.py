"""What operations left that died: finished or undone by the next verb that meets them, under the
disk's lock.

The journal tells what was begun and by whom. What Engine chose the id of (a disk) is finished
where StorPool has it; what only a dead process knew the id of (a snapshot, a preview) is undone, as
Engine can never name it. A size is read from StorPool. A delete is undone as far as its objects
are still there: Engine was never told that they are gone.

Nothing is deleted for an entry that may be older than what Engine knows: one of a restored backup,
or an old one (an image of the whole server that is put back brings entries along that look like new
ones, but for their age).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import (
    changes,
    database,
    intent,
    mapping,
    operations,
    ownership,
    removal,
    tree,
)

POLL_SECONDS = 0.2
# A verb that takes back what died does so while it is fresh; what is older is left to the audit.
FRESH_SECONDS = 3600.0
# A request of a dead process may take effect for so long (`api.REQUEST_SECONDS`): only then is it
# known what it left.
LATE_SECONDS = 30.0


def locked(work: tree.Work, uuid: str) -> mapping.Node:
    """Lock the disk that this node belongs to, put right what dead operations left on it, and
    return the node.

    Raises NotFound, Locked.
    """
    work.mapping.lock(tree.known(work, uuid).root)
    return settled(work, uuid)


def settled(work: tree.Work, uuid: str) -> mapping.Node:
    """Put right what dead operations left on a disk that we hold; return its node `uuid`.

    Raises NotFound.
    """
    node = tree.known(work, uuid)
    if not node.pending:
        return node
    settle_disk(work, node.root, uuid)
    return tree.known(work, uuid)


def locked_tree(work: tree.Work, uuid: str, whole: bool = False) -> list[mapping.Node]:
    """Lock the disk that this node belongs to and return its tree; empty when there is no such
    node.

    `whole`: where the disk itself is named, what dead operations left on it is not put right, as
    all of it is to go.
    """
    found = work.mapping.node(uuid)
    work.mapping.lock(found.root if found is not None else uuid)
    if found is None:
        found = work.mapping.node(uuid)  # it was made while we waited
        if found is not None and found.root != uuid:
            work.mapping.lock(found.root)
    tree = work.mapping.tree(found.root) if found is not None else []
    if found is None or not tree:
        operations = open_on(work, uuid)
        _take_all_late(work, operations)
        removal.refuse_unmapped(work, uuid)
        if any(each.is_open for each in operations):
            work.mapping.journal.undo_disk(
                uuid
            )  # a delete of the disk died before it could write this
        work.mapping.journal.deleted(uuid)
        return []
    if any(node.pending for node in tree):
        operations = open_on(work, found.root)
        check_cluster(work, tree, operations)
        if whole and found.root == uuid:
            _take_all_late(work, operations)
        else:
            # It is what is going on now; but the volume that a VM writes is deleted alone by no
            # verb but `delete`.
            active = {each.active or each.uuid for each in tree if each.uuid == each.root}
            same = [each for each in operations if (each.kind, each.node) == (intent.DROP, uuid)]
            same = same if whole or uuid not in active else []
            for operation in same:
                work.mapping.journal.close(operation, changes.unchanged())
            _settle_all(work, [each for each in operations if each not in same], uuid)
            tree = work.mapping.tree(found.root)
    return tree


def concerns(work: tree.Work, node: mapping.Node) -> bool:
    """Tell whether something is open on this very node that a verb has to put right which only
    reads."""
    operations = work.mapping.journal.of_disk(node.root)
    made = any(
        (each.node, each.kind) == (node.uuid, intent.MAKE) and each.is_open for each in operations
    )
    return made or node.state == mapping.DELETING


def is_claimed(work: tree.Work, uuid: str) -> bool:
    """Tell whether an earlier try to make this disk has not delivered its answer."""
    operations = work.mapping.journal.of_disk(uuid)
    return any(
        (each.kind, each.node) == (intent.MAKE, uuid) and each.is_open for each in operations
    )


def settle_disk(work: tree.Work, disk: str, named: str, again: bool = False) -> None:
    """Finish or undo everything that dead operations left on a disk that we hold."""
    operations = open_on(work, disk)
    check_cluster(work, work.mapping.tree(disk), operations)
    _settle_all(work, operations, named, again)


def open_on(work: tree.Work, disk: str) -> list[operations.Operation]:
    """Return what dead operations left on a disk that we hold.

    Its lock can be lost before its process ends (PostgreSQL was restarted): that one is waited
    for. Raises Locked.
    """
    waiting = work.mapping.session.deadline.within(database.LOCK_SECONDS)
    while True:
        operations = work.mapping.journal.of_disk(disk)
        alive = [each for each in operations if each.is_open and each.is_alive()]
        if not alive:
            return operations
        if waiting.remaining() <= POLL_SECONDS:
            dated = [each for each in alive if each.is_past]
            if dated or waiting.seconds < LATE_SECONDS:
                raise errors.Locked(f"disk {disk}", waiting.seconds, str((dated or alive)[0]))
            # The database's clock has gone back, and nobody knows since when these run: they had
            # time enough now.
            return [
                replace(each, age_seconds=waiting.seconds) if each in alive else each
                for each in operations
            ]
        work.sleep(POLL_SECONDS)


def check_cluster(
    work: tree.Work, tree: Sequence[mapping.Node], operations: Sequence[operations.Operation]
) -> None:
    """Raise WrongCluster when a disk lives in another cluster than the pinned one: what is seen
    here means nothing."""
    ownership.check_clusters(work, tree)
    pinned = work.domain.api.cluster_id
    for operation in operations:
        cluster = operation.plan.cluster
        if pinned and cluster and cluster != pinned:
            raise errors.WrongCluster(
                f"disk {operation.disk}",
                f"was begun in StorPool cluster {cluster}, the domain is pinned to {pinned}",
                "use the storage domain of that cluster",
            )


def settle(
    work: tree.Work, operation: operations.Operation, named: str | None = None, again: bool = False
) -> str:
    """Finish or undo one dead operation on a disk that we hold, and return what was done, in words.

    `named` is the id that Engine uses now: it knows that object, and the disk that it belongs to;
    `again`: it is about to be made once more.
    """
    if not operation.is_open:
        return _take_late(work, operation)
    if operation.kind != intent.MAKE and operation.has_done_its_work:
        work.mapping.journal.close(operation, changes.unchanged())
        done = "closed"
    elif operation.kind == intent.GROW:
        done = _read_size(work, operation)
    elif operation.kind == intent.DROP:
        done = _keep_what_is_there(work, operation)
    elif is_known(work.mapping.tree(operation.disk), operation, named):
        done = _finish(work, operation, again=again)
    elif not operation.proved:
        done = _finish(work, operation, keep=True)
    elif named is not None and not operation.is_fresh(FRESH_SECONDS):
        done = _set_aside(work, operation)
    else:
        done = undo(work, operation)
    work.log.line(
        "operation_settled",
        verb=operation.verb,
        of=operation.correlation_id,
        node=operation.node,
        disk=operation.disk,
        age=f"{operation.age_seconds:.0f}",
        done=done,
    )
    return done


def made(work: tree.Work, operation: operations.Operation) -> api.Volume | None:
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
        ownership.check(
            work,
            there,
            mapping.Node(operation.node, kind, operation.disk, None, 0, mapping.PLANNED),
        )
        volumes.check_source(work.client, there, _planned(operation))
    except errors.NotFound:
        return None
    except (
        errors.Conflict
    ) as error:  # the name is another owner's, or another operation's: ours was never made
        work.log.line("not_made", node=operation.node, of=operation.correlation_id, reason=error)
        return None
    return None if there.dying else there


def _planned(operation: operations.Operation) -> volumes.Plan:
    """Return what an operation was to make, as far as its entry tells what that is made of."""
    return volumes.Plan(
        names.object_name(operation.node),
        template=operation.plan.template,
        parent=operation.plan.parent,
        base_on=operation.plan.base_on,
        source_tag=operation.plan.source_tag,
    )


def is_known(
    tree: Sequence[mapping.Node], operation: operations.Operation, named: str | None = None
) -> bool:
    """Tell whether Engine knows what an operation made, all the same.

    Whoever names an object, or has described it to a host, knows it; a disk is known by whoever
    knows anything of it.
    """
    if named is not None and operation.node in (named, operation.disk):
        return True
    own = [node for node in tree if node.uuid == operation.node]
    return any(node.connected for node in own) or (
        operation.node == operation.disk and len(tree) > len(own)
    )


def undo(work: tree.Work, operation: operations.Operation, here: bool = False) -> str:
    """Delete what nobody knows the id of, and its row; `here`: it is certain that this is its
    cluster."""
    try:
        work.client.be_current()  # what is deleted, or was never made, is so as of now
        there = made(work, operation)
        if there is not None:
            removal.drop_unused(work, there)
            work.log.line(
                f"{there.kind}_deleted",
                **{there.kind: operation.node},
                global_id=there.global_id,
                disk=operation.disk,
                reason="its id was never delivered",
            )
    except tree.REFUSALS as error:
        work.log.line("undo_refused", node=operation.node, reason=error)
        _set_aside(work, operation)
        return f"left: {error}"
    if there is None and not here and operation.plan.is_elsewhere(work.client.address):
        return "left: it may be in another cluster"
    removal.activate_previous(work, work.mapping.tree(operation.disk), [operation.node])
    if there is not None:
        work.mapping.journal.close(operation, changes.forgotten([operation.node]))
        return "taken back: deleted"
    # The request of a process that was killed may still be on its way: what it makes then is known
    # for what it is.
    work.mapping.journal.undo(operation, changes.forgotten([operation.node]))
    return "taken back: nothing was made"


def _take_all_late(work: tree.Work, operations: Sequence[operations.Operation]) -> None:
    """Delete what came after all of what was taken back on a disk that is to go."""
    for operation in operations:
        if not operation.is_open:
            _take_late(work, operation, at_once=True)


def _take_late(work: tree.Work, operation: operations.Operation, at_once: bool = False) -> str:
    """Delete what came after its operation had been taken back.

    It is looked for once, when nothing can come any more; `at_once` where the disk that it belongs
    to is to go.
    """
    over = operation.age_seconds >= LATE_SECONDS
    node = work.mapping.node(operation.node)
    if node is not None and node.global_id is not None:
        work.mapping.journal.close(operation, changes.unchanged())
        return "closed: it was made again"
    if node is not None:
        return "may still come, in place of what is being made"
    if not (over or at_once):
        return "may still come"
    if operation.proved and made(work, operation) is not None:
        return undo(work, operation)
    if over:
        work.mapping.journal.nothing_came(operation)
    return "nothing came"


def clear_late(work: tree.Work, disk: str) -> bool:
    """Delete what came after its operation was taken back, where it has the name that another
    create of a disk needs.

    Tells whether there was any. Raises InUse, Conflict where a host has it.
    """
    work.client.be_current()
    cleared = False
    for operation in work.mapping.journal.of_disk(disk):
        if operation.is_open or not operation.proved or operation.node != disk:
            continue
        there = made(work, operation)
        if there is not None:
            removal.drop_unused(work, there)
            work.mapping.journal.close(operation, changes.unchanged())
            work.log.line(
                f"{there.kind}_deleted",
                **{there.kind: disk},
                global_id=there.global_id,
                disk=disk,
                reason="it came late, for a create that was taken back",
            )
            cleared = True
    return cleared


def _set_aside(work: tree.Work, operation: operations.Operation) -> str:
    """Leave what was made to the audit, but let no VM's disk be what Engine does not know."""
    removal.activate_previous(work, work.mapping.tree(operation.disk), [operation.node])
    return "left to the audit"


def _finish(
    work: tree.Work, operation: operations.Operation, keep: bool = False, again: bool = False
) -> str:
    """Complete the row where the object is there, drop it where not.

    `keep` the entry for the audit; `again`: the same is about to be made once more.
    """
    book = work.mapping.journal
    node = work.mapping.node(operation.node)
    if node is None or node.global_id is not None:
        if keep:
            return "left to the audit"
        book.close(operation, changes.unchanged())
        return "closed: Engine knows it"
    # A row that is dropped because nothing was made is dropped for what is so now
    work.client.be_current()
    there = made(work, operation)
    if there is None and operation.plan.is_elsewhere(work.client.address) and not again:
        return "left: it may be in another cluster"
    if there is None:
        book.undo(operation, changes.forgotten([operation.node]))
        return "taken back: nothing was made"
    if there.size_bytes != node.size_bytes:
        work.mapping.write(changes.resized(node.uuid, there.size_bytes))
    if node.kind == "volume" and node.uuid != node.root:
        work.mapping.write(changes.activated(node.root, node.uuid))
    change = changes.completed(node.uuid, there.global_id)
    if keep:
        work.mapping.write(change)
    else:
        book.close(operation, change)
    return "finished: it exists"


def _settle_all(
    work: tree.Work, operations: Sequence[operations.Operation], named: str, again: bool = False
) -> None:
    """Settle these, when no request of a delete among them can take effect any more.

    Raises Locked if that is long.
    """
    deletes = [
        each
        for each in operations
        if each.kind == intent.DROP and each.is_open and not each.has_done_its_work
    ]
    seconds = LATE_SECONDS - min((each.age_seconds for each in deletes), default=LATE_SECONDS)
    if seconds > 0:
        if work.mapping.session.deadline.remaining() < 2 * seconds:
            raise errors.Locked(
                f"disk {deletes[0].disk}", LATE_SECONDS - seconds, f"{deletes[0]} died half-way"
            )
        work.sleep(seconds)
    for operation in operations:
        settle(work, operation, named, again)


def _read_size(work: tree.Work, operation: operations.Operation) -> str:
    """Write the size that the volume has."""
    node = work.mapping.node(operation.node)
    change = changes.unchanged()
    if node is not None and node.global_id is not None:
        try:
            change = changes.resized(node.uuid, ownership.proved(work, node).size_bytes)
        except (errors.NotFound, errors.Conflict) as error:
            work.log.line("size_not_read", node=node.uuid, reason=error)
    work.mapping.journal.close(operation, change)
    return "size read"


def _keep_what_is_there(work: tree.Work, operation: operations.Operation) -> str:
    """Take a delete back for what StorPool still has, unless a whole disk was to go and has lost
    its volume."""
    work.client.be_current()  # no row goes because an object was not there a moment ago
    tree = work.mapping.tree(operation.disk)
    doomed = [node for node in tree if node.state == mapping.DELETING]
    # What is only planned has an entry of its own that tells.
    gone = [
        node.uuid for node in doomed if node.global_id is not None and ownership.is_gone(work, node)
    ]
    root = next((node for node in tree if node.uuid == operation.disk), None)
    if root is not None and (root.active or root.uuid) in gone and operation.node == operation.disk:
        return "left: the disk has lost its volume, delete it again"
    if gone:
        removal.forget(work, tree, gone)
    kept = [node.uuid for node in doomed if node.uuid not in gone]
    # Kept in the journal as taken back: should a late request delete one of them, the audit knows
    # the cause.
    work.mapping.journal.undo(operation, changes.marked(kept, mapping.LIVE))
    return f"delete taken back for {len(kept)} of {len(doomed)} objects"
