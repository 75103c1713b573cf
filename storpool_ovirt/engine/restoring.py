"""A disk gets its volume out of the trash: one with the disk's id and name that stands on what the
trash has, which stays there.

Engine makes the disk first, and its empty volume gives way; or it makes the disk afterwards, and
finds it as one that was made by an earlier try. While a volume gives way the row is only planned,
so no host is told of it, and StorPool deletes no volume that a host has. Its entry in the journal
names both, so whoever comes after a restore that died ends it.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.cluster.plans import Plan, Policy
from storpool_ovirt.engine import changes, intent, mapping, outcomes, tree
from storpool_ovirt.engine.changes import Change
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storpool_ovirt.engine.operations import Operation


def plan(
    work: tree.Work, node: mapping.Node, source: str, template: str | None, tags: Mapping[str, str]
) -> Plan:
    """Return what is made for a disk's row of the snapshot with the global id `source`; the tags
    are those of services and people."""
    from storpool_ovirt.engine import disk_policy

    limits = disk_policy.limits_of(work, tags)
    return Plan(
        tree.owner(work, node),
        node.size_bytes,
        Policy(tags=tags, template=template, limits=limits),
        parent=source,
        source_tag=names.TAG_SOURCE,
    )


def replace(work: tree.Work, node: mapping.Node, plan: Plan) -> str:
    """Have the empty volume of a disk that we hold give way to that of the plan; return its global
    id.

    Raises Conflict or InUse where it cannot give way, and what a create raises; the disk is empty
    then, as before.
    """
    empty = tree.global_id(node)
    _begin(work, node, plan, empty)
    try:
        _give_way(work, node, empty)
    except tree.REFUSALS:
        tree.silent_take_back(work, changes.completed(node.uuid, empty))
        raise
    try:
        global_id = volumes.create(work.client, plan)
    except tree.REFUSALS:
        _silent_empty_again(work, node)
        raise
    work.mapping.complete(node.uuid, global_id)
    return global_id


def settle(work: tree.Work, operation: Operation) -> outcomes.Outcome:
    """End a restore that died, on a disk that we hold: forward, as long as what gives way is empty
    and no host has it.

    Where the trash does not have it any more the disk is empty again, as Engine made it. Raises
    what the API raises.
    """
    journal = work.mapping.journal
    node = work.mapping.node(operation.node)
    if node is None or node.global_id is not None:
        journal.close(operation, changes.unchanged())
        return outcomes.Outcome(outcomes.CLOSED, "closed: the disk has its volume")
    work.client.be_current()
    if not operation.proved:
        return _as_it_is(work, operation, node)
    empty = str(operation.plan.placeholder)
    try:
        _check_empty(work, node, empty)
        _give_way(work, node, empty)
    except tree.REFUSALS as refusal:
        work.log.line("restore_undone", disk=node.uuid, reason=refusal)
        journal.close(operation, changes.completed(node.uuid, empty))
        return outcomes.Outcome(outcomes.TAKEN_BACK, f"taken back: {refusal}")
    outcome = outcomes.Outcome(outcomes.FINISHED, "finished: it came out of the trash")
    planned = _planned(work, operation, node)
    try:
        # It may be there, and what it was made of gone since
        found = volumes.find(work.client, "volume", planned)
        global_id = found or volumes.create(work.client, planned)
    except (errors.NotFound, errors.NoSpace) as refusal:
        work.log.line("restore_undone", disk=node.uuid, reason=refusal)
        global_id = _made_empty(work, node)
        outcome = outcomes.Outcome(outcomes.TAKEN_BACK, f"taken back, it is empty: {refusal}")
    journal.close(operation, changes.completed(node.uuid, global_id))
    return outcome


def leave(work: tree.Work, operation: Operation) -> None:
    """Give a restore that died up, as Engine deletes its disk, which we hold: the disk has the
    volume that has its name, whichever that is, and the trash gets it as it gets any disk's.

    Nothing is made or deleted. Where no volume is left there is nothing that the trash could get.
    """
    node = work.mapping.node(operation.node)
    if node is None or node.global_id is not None:
        work.mapping.journal.close(operation, changes.unchanged())
        return
    work.client.be_current()
    _as_it_is(work, operation, node)


def is_empty(work: tree.Work, node: mapping.Node, there: api.Volume) -> bool:
    """Return whether the volume of a disk has no data: it was made of nothing, and StorPool says
    that nothing is stored for it, by no snapshot of it either, as VolumeCare takes them. StorPool
    looks at all of its volumes for that."""
    from storpool_ovirt.cluster import sources

    try:
        sources.check(work.client, there, _empty_plan(work, node))
    except errors.Conflict:
        return False
    found = sources.stored(work.client, there)
    return bool(found) and not any(found)


def _begin(work: tree.Work, node: mapping.Node, plan: Plan, empty: str) -> None:
    """Write what is about to be done, with a row that has no object, if it is as it was: no host
    was told of its volume."""
    written = {**_making(work, node, plan), "placeholder": empty}
    emptied = Change(
        """
        UPDATE storpool_ovirt.node
        SET state = 'planned', global_id = NULL, visible_id = NULL, first_id = NULL
        WHERE uuid = %s AND state = 'live' AND global_id = %s AND NOT connected
        RETURNING 1
        """,
        (node.uuid, empty),
    )
    aim = intent.Intent(intent.MAKE, node.root, node.uuid, written)
    if not work.mapping.journal.begin(aim, emptied, only_if_changed=True):
        raise errors.Conflict(
            f"disk {node.uuid}", "was changed just now", "nothing was done; look at it, try again"
        )


def _give_way(work: tree.Work, node: mapping.Node, empty: str) -> None:
    """Delete the empty volume; absent is fine. Raises InUse, Conflict where a host has it, Foreign
    where it is another owner's."""
    there = _still(work, empty)
    if there is None:
        return
    from storpool_ovirt.engine import ownership, removal

    ownership.check(work, there, node)
    removal.drop_unused(work, there)
    removal.log_deleted(work, node, empty, reason="its disk comes out of the trash")


def _check_empty(work: tree.Work, node: mapping.Node, empty: str) -> None:
    """Raise Conflict when what is to give way has data by now."""
    there = _still(work, empty)
    if there is not None and not is_empty(work, node, there):
        raise errors.Conflict(
            f"volume {node.uuid} (~{empty})", "is not empty any more", "it is left as it is"
        )


def _still(work: tree.Work, empty: str) -> api.Volume | None:
    """Return the volume that is to give way; None where it is not there any more."""
    try:
        there = volumes.read(work.client, "volume", names.address(empty))
    except errors.NotFound:
        return None
    return there if there.global_id == empty and not there.dying else None


def _planned(work: tree.Work, operation: Operation, node: mapping.Node) -> Plan:
    told = operation.plan
    return plan(work, node, str(told.parent), told.template, dict(told.policy_tags))


def _empty_plan(work: tree.Work, node: mapping.Node) -> Plan:
    """Return the plan of a disk as Engine makes it; it knows itself by the tag of its source."""
    return Plan(
        tree.owner(work, node),
        node.size_bytes,
        Policy(template=work.domain.template),
        source_tag=names.TAG_SOURCE,
    )


def _made_empty(work: tree.Work, node: mapping.Node) -> str:
    """Make the empty volume as Engine's create makes one; return its global id."""
    from storpool_ovirt.engine import disk_policy

    planned = disk_policy.planned(work, _empty_plan(work, node), disk_policy.of_domain(work))
    return volumes.create(work.client, planned)


def _making(work: tree.Work, node: mapping.Node, plan: Plan) -> Mapping[str, object]:
    return intent.making(node.kind, plan, work.client.address, work.domain.api.cluster_id)


def _silent_empty_again(work: tree.Work, node: mapping.Node) -> None:
    """Make the empty volume once more after a refusal, which stays the error that is raised.

    Where that cannot be, the entry stays, and the next verb on the disk ends it.
    """
    try:
        global_id = _made_empty(work, node)
    except errors.Error as error:
        work.log.line("undo_failed", disk=node.uuid, reason=error)
        return
    tree.silent_take_back(work, changes.completed(node.uuid, global_id))


def _as_it_is(work: tree.Work, operation: Operation, node: mapping.Node) -> outcomes.Outcome:
    """Write which volume a disk has; nothing is made or deleted."""
    try:
        there = volumes.read(work.client, "volume", names.object_name(node.uuid))
    except errors.NotFound:
        return outcomes.Outcome(outcomes.LEFT, "left to the audit")
    from storpool_ovirt.engine import ownership

    ownership.check(work, there, node)
    work.mapping.journal.close(operation, changes.completed(node.uuid, there.global_id))
    return outcomes.Outcome(outcomes.FINISHED, "finished: it exists")
