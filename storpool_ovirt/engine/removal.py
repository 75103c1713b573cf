"""What a delete takes: whole disks or single nodes, all or nothing where a device is open."""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.engine import changes, mapping, ownership, reverts, tree
from storpool_ovirt.light import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import delete_copies, disposal
    from storpool_ovirt.engine.operations import Operation
    from storpool_ovirt.option_values import CopyTo


def delete_nodes(  # noqa: PLR0913  what one delete is
    work: tree.Work,
    named: str,
    nodes: list[mapping.Node],
    doomed: list[mapping.Node],
    keep_seconds: int = 0,
    *,
    copy_to: CopyTo | None = None,
) -> None:
    """Delete these objects of a tree, volumes before snapshots, and their rows; `keep_seconds`: of
    what Engine had the trash keeps a copy for so long (`disposal.py`); `copy_to`: its volumes are
    copied there before, or nothing goes (`delete_copies.py`).

    None of them goes where one is open, or another owner's. `named` is the id that Engine uses for
    them.
    """
    if not doomed:
        if any(node.pending for node in nodes):  # an earlier try has done all but to say so
            _forget_tries(work, nodes, doomed)
        return
    ownership.check_clusters(work, doomed)
    work.client.be_current()  # whose they are, and which are there, is read as of now
    found = ownership.proved_all(work, doomed)
    for _, each in found:
        _check_platform(work, each)
    there = [(node, each.global_id) for node, each in found]
    going = _active(nodes, found)
    before = previous(nodes, [node.uuid for node in doomed]) if going is not None else None
    kept = _kept(work, nodes, doomed, found, keep_seconds)
    copied = _copied(work, nodes, found, copy_to) if copy_to is not None else None
    if len(there) > 1 or kept is not None or copied is not None:
        # None may go while another one's device is open, so all are let go in one atomic request
        # first; and what is kept is what no host writes any more.
        _release(work, there)
    plan = kept.written if kept is not None else None
    # Also what an earlier try has marked: by what it names an entry is known to take the disk
    uuids = [node.uuid for node in doomed if node.state != mapping.REMOVED]
    marked = [node.uuid for node in doomed if node.state in (mapping.PLANNED, mapping.LIVE)]
    told = _told_by(work, nodes, uuids)
    left = uuids if told else marked  # of one object alone
    beside = (copied.copy, [copied.part, *told]) if copied is not None else (None, told)
    work.mapping.begin_delete(named, nodes[0].root, uuids, plan, beside)
    if copied is not None:
        _copy(work, copied, left)
    with given_back(work, before, going):
        _take(work, there, left, kept)
    parts: Sequence[changes.Part] = ()
    if kept is not None:
        kept.silent_clear()
        parts = kept.parts()
    forget(work, nodes, [node.uuid for node in doomed], last=True, parts=parts)
    if any(node.pending for node in nodes):
        _forget_tries(work, nodes, doomed)


def _told_by(
    work: tree.Work, nodes: Sequence[mapping.Node], uuids: Sequence[str]
) -> list[changes.Part]:
    """Return what forgets the earlier tries to delete one object alone, as the entry of this one
    tells all that they do, in the statement that writes it; nothing where another one names it too.

    What those of several have deleted already, or any has brought into the trash or copied, is told
    by their own alone, until it is over.
    """
    if len(uuids) != 1 or not any(node.pending for node in nodes):
        return []
    tries = [each for each in _tries(work, nodes[0].root) if each.nodes.intersection(uuids)]
    if not tries or any(
        len(each.nodes) > 1 or each.plan.trash is not None or each.plan.copy is not None
        for each in tries
    ):
        return []
    return [changes.without_entries(each.id for each in tries)]


def _forget_tries(
    work: tree.Work, nodes: Sequence[mapping.Node], doomed: Sequence[mapping.Node]
) -> None:
    """Forget what was open on a disk and is ended by what is gone now: all of it with the disk,
    else the deletes that were to take no more than that."""
    going = {node.uuid for node in doomed}
    left = {node.uuid for node in nodes if node.state != mapping.REMOVED} - going
    if left:
        over = [each.id for each in _tries(work, nodes[0].root) if not each.nodes & left]
        work.mapping.write(changes.unchanged().after(changes.without_entries(over)))
    else:
        work.mapping.journal.undo_disk(nodes[0].root)


def _tries(work: tree.Work, disk: str) -> list[Operation]:
    """Return the deletes of others on a disk that did not end."""
    return [each for each in work.mapping.journal.of_disk(disk) if each.is_unfinished_delete]


@contextmanager
def given_back(
    work: tree.Work, before: mapping.Node | None, going: api.Volume | None
) -> Iterator[None]:
    """Have the volume that is the disk's active one again (`before`) be what the one that goes
    inside was: its class and policy before that goes, its VM when it is gone."""
    if before is None or going is None or before.state == mapping.REMOVED:
        yield
        return
    from storpool_ovirt.engine import vm_tag

    is_given = vm_tag.silent_give(work, before, going)
    try:
        yield
    except tree.REFUSALS:
        if is_given:
            vm_tag.silent_take_back(work, before, going)
        raise
    vm = names.vm_of(going.tags, work.domain.vm_tag)
    if vm:
        vm_tag.silent_name(work, before, vm)


def drop_unused(work: tree.Work, there: api.Volume) -> None:
    """Delete an object that no host may have; raise InUse or Conflict naming those that have it
    open, or attached, Foreign where another platform uses it, and Conflict where nobody can tell
    whether it lives on.

    One that StorPool says not to be there may have been reverted since it was looked at: it is
    looked for by its name, and deleted by the global id that it has now.
    """
    from storpool_ovirt.cluster import identity

    _check_platform(work, there)
    for _ in range(reverts.LOOKS):
        if _dropped_unused(work, there):
            return
        named = there.kind, there.global_id, there.name
        known = identity.Known(*named, there.tags, there.serial, there.first_id)
        work.client.be_current()
        try:
            there = identity.find(work.client, known)
        except errors.NotFound:
            return
    raise errors.Conflict(
        f"{there.kind} {there.name}", "gets another global id again and again", "try again"
    )


def _dropped_unused(work: tree.Work, there: api.Volume) -> bool:
    try:
        return _drop(work, there.kind, there.global_id)
    except errors.InUse as error:
        if error.openers:
            raise
        from storpool_ovirt.cluster import attachments

        held = attachments.clients_of(
            work.client, attachments.Target(there.global_id, there.name, there.kind)
        )
        raise errors.Conflict(
            f"{there.kind} {there.name} (~{there.global_id})",
            f"is attached to {', '.join(f'client {client_id}' for client_id in held) or 'a host'}",
            "detach it there with the StorPool CLI, if nothing uses it",
        ) from error


def forget(
    work: tree.Work,
    nodes: list[mapping.Node],
    gone: list[str],
    last: bool = False,
    parts: Sequence[changes.Part] = (),
) -> mapping.Node | None:
    """Write that these nodes of a tree are gone; `last`: it is the result of our operation, with
    these parts. Return what became active as `activate_previous` does.

    The disk's id stays known as long as anything of it is left.
    """
    activated = activate_previous(work, nodes, gone)
    root = nodes[0].root
    rest = {node.uuid for node in nodes}.difference(gone)
    if root in gone and rest:
        gone = [uuid for uuid in gone if uuid != root]
        kept = changes.marked([root], mapping.REMOVED)
        if last and parts:  # a row of the trash is written when the disk's own is
            parts = (*parts, changes.Part("removed", kept.sql, kept.args))
        else:
            work.mapping.write(kept)
    elif all(node.state == mapping.REMOVED for node in nodes if node.uuid in rest):
        gone = [*gone, *rest]
    if last:
        work.mapping.complete_delete(gone, *parts)
    else:
        work.mapping.write(changes.forgotten(gone))
    return activated


def activate_previous(
    work: tree.Work, nodes: list[mapping.Node], gone: list[str]
) -> mapping.Node | None:
    """Write that the volume is active again which the active one had replaced, if that one went,
    and return its row; None where nothing changed."""
    active = previous(nodes, gone)
    if active is not None:
        work.mapping.write(changes.activated(active.root, active.uuid))
    return active


def previous(nodes: Sequence[mapping.Node], gone: Sequence[str]) -> mapping.Node | None:
    """Return the row of the volume that is the disk's active one again when these nodes of a tree
    have gone; None where that does not change."""
    by_uuid = {node.uuid: node for node in nodes}
    root = by_uuid.get(nodes[0].root) if nodes else None
    if root is None or root.uuid in gone or root.active not in gone:
        return None
    active: str | None = root.active
    while active is not None and active in gone:
        active = by_uuid[active].replaced if active in by_uuid else None
    return by_uuid[active if active is not None and active in by_uuid else root.uuid]


def log_deleted(work: tree.Work, node: mapping.Node, global_id: str | None, **why: str) -> None:
    """Write the line of an object that was deleted; `why` is its `reason`, where that is not the
    verb's own."""
    work.log.line(
        f"{node.kind}_deleted",
        **{node.kind: node.uuid},
        global_id=global_id,
        disk=node.root,
        **why,
    )


def refuse_unmapped(work: tree.Work, uuid: str) -> None:
    """Raise Conflict when the cluster has an object of this id that the mapping lacks.

    A delete that passed over it would lose it without a word.
    """
    try:
        there = volumes.read_any(work.client, names.object_name(uuid))
    except errors.NotFound:
        return
    raise errors.Conflict(
        f"{there.kind} {there.name} ({there.global_id})",
        "exists in StorPool but not in the mapping database",
        "was the database restored or replaced? nothing was deleted",
    )


def _kept(
    work: tree.Work,
    nodes: list[mapping.Node],
    doomed: list[mapping.Node],
    found: list[tuple[mapping.Node, api.Volume]],
    keep_seconds: int,
) -> disposal.Disposal | None:
    """Return what of this goes into the trash, also by what an earlier try has begun; None where
    nothing does."""
    if not keep_seconds and not any(node.pending for node in nodes):
        return None
    from storpool_ovirt.engine import disposal

    return disposal.planned(work, nodes, doomed, found, keep_seconds)


def _copied(
    work: tree.Work,
    nodes: list[mapping.Node],
    found: list[tuple[mapping.Node, api.Volume]],
    to: CopyTo,
) -> delete_copies.DeleteCopy | None:
    """Return what of this is copied to another location before it goes; None where Engine had none
    of its volumes."""
    from storpool_ovirt.engine import delete_copies, disposal

    had = {node.uuid for node in disposal.had(work, nodes, [node for node, _ in found])}
    members = [
        (tree.found_as(node, there), there)
        for node, there in found
        if node.kind == "volume" and node.uuid in had
    ]
    return delete_copies.planned(work, to, members)


def _copy(work: tree.Work, copied: delete_copies.DeleteCopy, left: list[str]) -> None:
    """Have it copied; all is as before where StorPool says no."""
    from storpool_ovirt.engine import delete_copies

    try:
        delete_copies.send(work, copied)
    except tree.REFUSALS:
        tree.silent_take_back(work, changes.marked(left, mapping.LIVE))
        raise


def _take(
    work: tree.Work,
    there: list[tuple[mapping.Node, str]],
    left: list[str],
    kept: disposal.Disposal | None,
) -> None:
    """Delete these objects, or bring them into the trash; all is as before where the first one is
    refused."""
    gone = False
    asked_again = work.client.tally.asked_again
    try:
        if kept is not None:
            kept.copy()
        for node, global_id in sorted(there, key=lambda pair: pair[0].kind, reverse=True):
            if kept is None or not kept.takes(node):
                _delete_object(work, node, global_id, kept)
            gone = True
    except tree.REFUSALS:
        # With a part of it gone already, the journal keeps what was begun: the next verb looks
        # what is left. So it does where a try that was repeated may take effect late, whatever the
        # repetition was told: no copy goes while its volume may.
        may_go = kept is not None and work.client.tally.asked_again > asked_again
        if not (gone or may_go) and (kept is None or kept.silent_take_back()):
            tree.silent_take_back(work, changes.marked(left, mapping.LIVE))
        raise


def _active(
    nodes: list[mapping.Node], found: list[tuple[mapping.Node, api.Volume]]
) -> api.Volume | None:
    """Return the disk's active volume, where that is among what was found."""
    active = {node.active for node in nodes if node.uuid == node.root}
    return next((each for node, each in found if node.uuid in active), None)


def _delete_object(
    work: tree.Work, node: mapping.Node, global_id: str, kept: disposal.Disposal | None
) -> None:
    is_copied = kept is not None and kept.has_copy(node)
    for _ in range(reverts.LOOKS):
        if _dropped(work, node, global_id, is_copied):
            break
        there = _left(work, node, global_id)
        if there is None:
            break
        global_id = there.global_id
    else:
        raise reverts.restless(node)
    if kept is None or not kept.told(node, global_id):
        log_deleted(work, node, global_id)


def _left(work: tree.Work, node: mapping.Node, global_id: str) -> api.Volume | None:
    """Return a node's object that was there a moment ago, and of which StorPool said to a delete
    that it does not exist; None where it is gone.

    It may have been reverted meanwhile, and live on under another global id. Raises as
    `ownership.proved` does: it may have been moved to another cluster, or one that may have it is
    silent.
    """
    row = work.mapping.node(node.uuid)
    if row is None:
        return None
    work.client.be_current()
    try:
        return ownership.proved(work, row._replace(global_id=row.global_id or global_id))
    except errors.NotFound:
        return None


def _dropped(work: tree.Work, node: mapping.Node, global_id: str, is_copied: bool) -> bool:
    """Delete a node's object, let go by hosts where it is closed; return whether it was there.

    One that `is_copied` was let go before; who has it now may have written since.
    """
    try:
        return _drop(work, node.kind, global_id)
    except errors.InUse:
        if is_copied:
            raise
        _release(work, [(node, global_id)])
        return _drop(work, node.kind, global_id)


def _drop(work: tree.Work, kind: str, global_id: str) -> bool:
    return (volumes.delete if kind == "volume" else volumes.delete_snapshot)(work.client, global_id)


def _check_platform(work: tree.Work, there: api.Volume) -> None:
    if names.other_platform(there.tags, work.domain.vm_tag):
        from storpool_ovirt.engine import strangers

        strangers.check_platform(work, there)


def _release(work: tree.Work, objects: list[tuple[mapping.Node, str]]) -> None:
    from storpool_ovirt import storpool_conf
    from storpool_ovirt.cluster import attachments

    targets = [
        attachments.Target(global_id, names.object_name(node.uuid), node.kind)
        for node, global_id in objects
    ]
    nodes = [node for node, _ in objects]
    known = storpool_conf.host_names(work.root)

    def check(attached: Sequence[api.Attachment]) -> None:
        if attached:
            from storpool_ovirt.engine import strangers

            strangers.check_hosts(work, nodes, attached, known)

    for each in attachments.release(work.client, targets, known, check):
        work.log.line("released", target=each.name, client=each.client_id, reason="delete")
