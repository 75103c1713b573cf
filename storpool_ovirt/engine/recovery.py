"""What operations left that died: finished or undone by the next verb that meets them, under the
disk's lock.

The journal tells what was begun and by whom; how one operation is settled is in `settlement.py`.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.engine import changes, database, intent, mapping, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.engine.operations import Operation

POLL_SECONDS = 0.2


def locked(work: tree.Work, uuid: str) -> mapping.Node:
    """Lock the disk that this node belongs to, put right what dead operations left on it, and
    return the node.

    Raises NotFound, Locked.
    """
    return locked_with_tree(work, uuid)[0]


def locked_with_tree(work: tree.Work, uuid: str) -> tuple[mapping.Node, dict[str, mapping.Node]]:
    """Do as `locked`; return the node, and those of its disk by their ids."""
    nodes = {node.uuid: node for node in work.mapping.held_tree(uuid)}
    node = mapping.there(nodes.get(uuid), uuid)
    if not node.pending:
        return node, nodes
    settle_disk(work, node.root, uuid)
    nodes = {node.uuid: node for node in work.mapping.tree(node.root)}
    return mapping.there(nodes.get(uuid), uuid), nodes


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
    all of it is to go; but for whose volume gave way to one out of the trash, as Engine had that.
    """
    nodes = work.mapping.held_tree(uuid, or_itself=True)
    if not nodes:
        _end_its_delete(work, uuid)
        return []
    root = nodes[0].root
    if not any(node.pending for node in nodes):
        return nodes
    left = open_on(work, root)
    check_cluster(work, nodes, left)
    if whole and root == uuid:
        _take_all_late(work, left)
        return work.mapping.tree(root) if _leave_restores(work, left) else nodes
    # A delete of this very node is what is going on now; but the volume that a VM writes is deleted
    # alone by no verb but `delete`, and a delete of the disk is none of its first volume.
    active = {each.active or each.uuid for each in nodes if each.uuid == each.root}
    is_repeated = whole or uuid not in active
    same = [
        each
        for each in left
        if is_repeated
        and (each.kind, each.node) == (intent.DROP, uuid)
        and not (each.is_unfinished_delete and each.takes_disk)
    ]
    for operation in same:
        # What another one has begun is told by its entry alone, until it is ended (`removal.py`)
        if operation.has_done_its_work:
            work.mapping.journal.close(operation, changes.unchanged())
    _settle_all(work, [each for each in left if each not in same], uuid)
    return work.mapping.tree(root)


def has_to_settle(work: tree.Work, node: mapping.Node) -> bool:
    """Return whether a verb that only reads this node has to put something right first: its make is
    open, a delete of it has begun, or the data of its disk are being written over."""
    if node.state == mapping.DELETING:
        return True
    left = [each for each in work.mapping.journal.of_disk(node.root) if each.is_open]
    return any(
        each.writes_over or (each.kind, each.node) == (intent.MAKE, node.uuid) for each in left
    )


def is_claimed(work: tree.Work, uuid: str) -> bool:
    """Return whether an earlier try to make this disk has not delivered its answer."""
    return _has_open_make(work, uuid, uuid)


def settle_disk(work: tree.Work, disk: str, named: str, again: bool = False) -> None:
    """Finish or undo everything that dead operations left on a disk that we hold."""
    left = open_on(work, disk)
    check_cluster(work, work.mapping.tree(disk), left)
    _settle_all(work, left, named, again)


def open_on(work: tree.Work, disk: str) -> list[Operation]:
    """Return what dead operations left on a disk that we hold.

    Its lock can be lost before its process ends (PostgreSQL was restarted): that one is waited
    for. Raises Locked.
    """
    from storpool_ovirt.engine.settlement import LATE_SECONDS

    waiting = work.mapping.session.deadline.within(database.LOCK_SECONDS)
    while True:
        found = work.mapping.journal.of_disk(disk)
        alive = [each for each in found if each.is_open and each.is_alive()]
        if not alive:
            return found
        if waiting.remaining() <= POLL_SECONDS:
            dated = [each for each in alive if each.is_past]
            if dated or waiting.seconds < LATE_SECONDS:
                raise errors.Locked(f"disk {disk}", waiting.seconds, str((dated or alive)[0]))
            # The database's clock has gone back, and nobody knows since when these run: they had
            # time enough now.
            return [
                each._replace(age_seconds=waiting.seconds) if each in alive else each
                for each in found
            ]
        work.sleep(POLL_SECONDS)


def check_cluster(
    work: tree.Work, nodes: Sequence[mapping.Node], left: Sequence[Operation]
) -> None:
    """Raise WrongCluster when a disk lives in another cluster than the pinned one: what is seen
    here means nothing."""
    from storpool_ovirt.engine import ownership

    ownership.check_clusters(work, nodes)
    pinned = work.domain.api.cluster_id
    for operation in left:
        cluster = operation.plan.cluster
        if pinned and cluster and cluster != pinned:
            raise errors.WrongCluster(
                f"disk {operation.disk}",
                f"was begun in StorPool cluster {cluster}, the domain is pinned to {pinned}",
                "use the storage domain of that cluster",
            )


def clear_late(work: tree.Work, disk: str) -> bool:
    """Delete what came after its operation was taken back, and has the name that a create of the
    disk needs now.

    Returns whether there was any. Raises InUse, Conflict where a host has it.
    """
    from storpool_ovirt.engine import settlement

    work.client.be_current()
    cleared = False
    for operation in work.mapping.journal.of_disk(disk):
        if operation.is_open or not operation.proved or operation.node != disk:
            continue
        there = settlement.made(work, operation)
        if there is not None:
            reason = "it came late, for a create that was taken back"
            settlement.drop(work, operation, there, reason)
            work.mapping.journal.close(operation, changes.unchanged())
            cleared = True
    return cleared


def _end_its_delete(work: tree.Work, uuid: str) -> None:
    """End what is open on a disk of which there is nothing any more."""
    from storpool_ovirt.engine import removal

    left = open_on(work, uuid)
    _take_all_late(work, left)
    removal.refuse_unmapped(work, uuid)
    if any(each.is_open for each in left):
        # A delete of the disk died before it could write this.
        work.mapping.journal.undo_disk(uuid)
    work.mapping.journal.deleted(uuid)


def _take_all_late(work: tree.Work, left: Sequence[Operation]) -> None:
    """Delete what came after all of what was taken back on a disk that is to go."""
    from storpool_ovirt.engine import settlement

    for operation in left:
        if not operation.is_open:
            settlement.take_late(work, operation, at_once=True)


def _leave_restores(work: tree.Work, left: Sequence[Operation]) -> bool:
    """Give up the restores on a disk that is to go; return whether there are any."""
    restores = [each for each in left if each.is_open and each.plan.placeholder is not None]
    if restores:
        from storpool_ovirt.engine import restoring

        for operation in restores:
            restoring.leave(work, operation)
    return bool(restores)


def _has_open_make(work: tree.Work, disk: str, uuid: str) -> bool:
    return any(
        (each.kind, each.node) == (intent.MAKE, uuid) and each.is_open
        for each in work.mapping.journal.of_disk(disk)
    )


def _settle_all(
    work: tree.Work, left: Sequence[Operation], named: str, again: bool = False
) -> None:
    """Settle these, when no request of a delete among them can take effect any more.

    Raises Locked if that is long.
    """
    from storpool_ovirt.engine import settlement

    deletes = [each for each in left if each.is_unfinished_delete]
    if deletes:
        seconds = max(settlement.late_seconds(each) for each in deletes)
        settlement.wait_for_late(work, deletes[0], seconds)
    for operation in left:
        settlement.settle(work, operation, named, again)
