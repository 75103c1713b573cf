"""Snapshots: of one volume, or of all disks of a running VM at one moment.

Engine asks for one disk after the other, with one correlation id. The first verb finds the VM's
other disks (`members.py`), holds all of them, writes one intent for all, and makes all snapshots in
one call; those of the others are reserved (`moments.py`), and the verbs for them claim them without
a call (`claim.py`). All of it fails as a whole: when one verb has failed, the later ones of the
same action do too, as only then Engine takes the whole snapshot back.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.cluster.plans import Plan
from storpool_ovirt.engine import (
    changes,
    claim,
    creation,
    intent,
    mapping,
    members,
    moments,
    ownership,
    recovery,
    tree,
)
from storpool_ovirt.engine.claim import Claim, Request
from storpool_ovirt.engine.members import Found, Member
from storpool_ovirt.engine.moments import Moment
from storpool_ovirt.light import TYPE_CHECKING, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.engine import left_over

# What older moments left is deleted while a guest is frozen: what takes longer waits for the next.
LEFT_OVER_SECONDS = 3.0


def taken(work: tree.Work, volume: str, begun: Claim | None = None) -> str:
    """Freeze a volume as it is now, together with the others of its VM; return its snapshot's id.

    `begun` is how far the verb has come without StorPool. Raises what its failure is, and Conflict
    where another verb of the same action has failed.
    """
    begun = begun or claim.tried(_tools(work), volume)
    request = begun.request
    if begun.answer is not None:
        return begun.answer
    if begun.node is None:
        origin = tree.checked(work, recovery.locked(work, volume))
        tree.check_volume(origin, "be snapshotted")
        return _alone(work, origin, ownership.proved_now(work, origin), request.why)
    try:
        node, answer = begun.node, None
        if node.pending:
            node = recovery.settled(work, volume)
            node, answer = _claimed(work, request, node, begun.was_asked)
        return answer or _made(work, request, node)
    except Exception as error:
        claim.silent_remember(_tools(work), request, error)
        raise


def _tools(work: tree.Work) -> claim.Tools:
    return claim.Tools(work.domain, work.mapping, work.log, work.root)


def _claimed(
    work: tree.Work, request: Request, node: mapping.Node, was_asked: bool = False
) -> tuple[mapping.Node, str | None]:
    """Return the row of a volume whose disk is held, and the snapshot of it that was claimed now;
    None where there is none."""
    node, place = moments.place(work.mapping, request.key, node.uuid)
    return node, claim.taken(_tools(work), request, node, place, was_asked)


def _alone(work: tree.Work, origin: mapping.Node, there: api.Volume, why: str) -> str:
    node = creation.new_snapshot(origin._replace(size_bytes=there.size_bytes))
    plan = creation.plan(work, node)
    with creation.begun(work, node, plan):
        global_id = volumes.snapshot(work.client, there.global_id, plan)
    work.mapping.complete(node.uuid, global_id)
    work.log.line(
        "snapshot_created",
        snapshot=node.uuid,
        global_id=global_id,
        volume=origin.uuid,
        consistency="disk",
        why=why,
    )
    return node.uuid


def _made(work: tree.Work, request: Request, node: mapping.Node) -> str:
    """Make the snapshot of a volume whose disk is held, and those of the others with it."""
    origin = tree.checked(work, node)
    tree.check_volume(origin, "be snapshotted")
    there = ownership.proved_now(work, origin)
    vm, why = members.vm_of(work, there)
    if not why:
        request.moment = moments.thought_of(request.key, vm, (origin.uuid,))
        found = members.of(work, origin, there, vm)
        action = "" if found.why else claim.action(_tools(work), vm, request.is_known_key)
        is_known = bool(action) or names.UUID.fits(request.key)
        why = found.why or ("" if is_known else claim.NO_UUID)
    if why:
        request.moment = None
        return _alone(work, origin, there, why)
    moment = request.moment = moments.thought_of(
        request.key, vm, found.uuids, action=action, client=found.client, note=found.apart
    )
    answered = _held(work, request, moment, found)
    if answered is not None:
        return answered
    return _together(work, request, moment, _settled(work, found))


def _held(work: tree.Work, request: Request, moment: Moment, found: Found) -> str | None:
    """Hold the disks of all, in the order of their ids; return the snapshot that was made meanwhile
    for the verb's own volume, None where there is none.

    Raises Locked, and Conflict where the action has failed.
    """
    own, disks = found.members[0].node.root, sorted({each.node.root for each in found.members})
    if disks[0] != own:
        work.mapping.session.unlock(own)
    work.mapping.lock_all(disks)
    if disks[0] != own:
        _, answered = _claimed(work, request, found.members[0].node)
        if answered is not None:
            return answered
    broken = moments.failed(work.mapping.session, moment, request.volume)
    if broken is not None and broken.is_of(moment.action):
        raise claim.refused(_tools(work), request, broken)
    return None


def _settled(work: tree.Work, found: Found) -> list[Member]:
    """Return the members as they are now that their disks are held, with what dead operations left
    on them put right.

    Raises Conflict where one is not the VM's any more: it is not left out without a word.
    """
    asked = found.members[0].node
    now = {node.uuid: node for node in members.rows(work.mapping, asked, found.uuids)}
    return [
        _as_it_is(work, member, now.get(member.node.uuid), found.vm) for member in found.members
    ]


def _as_it_is(work: tree.Work, seen: Member, now: mapping.Node | None, vm: str) -> Member:
    if now is not None and now.pending:
        now = recovery.settled(work, now.uuid)
    elif now is not None and _what_counts(now) == _what_counts(seen.node):
        return Member(now, seen.there)
    if now is not None and now.state == mapping.LIVE:
        there = ownership.proved(work, now)
        if members.vm_of(work, there)[0] == vm:
            return Member(now, there)
    raise errors.Conflict(
        f"volume {seen.node.uuid}",
        "is not the VM's any more: it was changed while the snapshot of all disks was to begin",
        "make the VM's snapshot again",
    )


def _what_counts(node: mapping.Node) -> tuple[object, ...]:
    return node.kind, node.root, node.size_bytes, node.state, node.global_id


def _together(work: tree.Work, request: Request, moment: Moment, together: Sequence[Member]) -> str:
    """Make the snapshots of all members, whose disks are held, at one moment."""
    snapshots = [
        creation.new_snapshot(each.node._replace(size_bytes=each.there.size_bytes))
        for each in together
    ]
    plans = [claim.plan(_tools(work), each, moment.mark) for each in snapshots]
    own, *others = [_aim(work, *each) for each in zip(snapshots, plans)]
    journal = work.mapping.journal
    condition = _room(work, snapshots)
    begun = moments.begun(moment, snapshots, journal.caller.correlation_id, condition)
    if not journal.begin(own, begun, only_if_changed=True, others=others):
        raise _no_room(work, snapshots)
    volume_ids = [each.there.global_id for each in together]
    try:
        global_ids = volumes.group_snapshot(work.client, list(zip(volume_ids, plans)))
    except tree.REFUSALS as error:
        _silent_undo(work, snapshots, plans)
        if isinstance(error, errors.NoSpace):  # it names what was not made, and nobody knows
            named = ", ".join(each.node.uuid for each in together)
            raise errors.NoSpace(f"snapshots of the volumes {named}", error.descr) from error
        raise
    journal.finish(moments.made(moment.mark, [each.uuid for each in snapshots], global_ids))
    request.moment = None
    made = [node._replace(global_id=each) for node, each in zip(snapshots, global_ids)]
    claim.log(_tools(work), made[0], moment)
    for each in made[1:]:
        work.log.line(
            "snapshot_reserved",
            snapshot=each.uuid,
            global_id=each.global_id,
            volume=each.source,
            moment=moment.mark,
        )
    _silent_drop_left_over(work, moment)
    return made[0].uuid


def _room(work: tree.Work, snapshots: Sequence[mapping.Node]) -> tuple[str, tuple[object, ...]]:
    """Return SQL for whether each disk may have one more, and its arguments."""
    if not work.domain.max_snapshots:
        return "true", ()
    from storpool_ovirt.engine import snapshot_limit

    return snapshot_limit.condition([each.root for each in snapshots], work.domain.max_snapshots)


def _no_room(work: tree.Work, snapshots: Sequence[mapping.Node]) -> errors.Conflict:
    from storpool_ovirt.engine import snapshot_limit

    disks = [each.root for each in snapshots]
    return snapshot_limit.reached(work.mapping.session, disks, work.domain.max_snapshots)


def _silent_undo(work: tree.Work, snapshots: Sequence[mapping.Node], plans: Sequence[Plan]) -> None:
    """Delete what a refused call has made all the same, and take the intent back.

    Where that fails, the journal keeps it, and whoever comes next to each disk does it.
    """
    from storpool_ovirt.engine import removal

    try:
        work.client.be_current()
        for node, plan in zip(snapshots, plans):
            global_id = volumes.find(work.client, "snapshot", plan)
            if global_id is not None:
                volumes.delete_snapshot(work.client, global_id)
                why = "not all of its group were made"
                removal.log_deleted(work, node, global_id, reason=why)
    except Exception as error:
        work.log.line("undo_failed", reason=error)
        return
    tree.silent_take_back(work, changes.forgotten([each.uuid for each in snapshots]))


def _silent_drop_left_over(work: tree.Work, moment: Moment) -> None:
    """Delete the snapshots of older moments that no verb asked for; what cannot be is left to the
    next time, or to `storpool-ovirt reconcile`."""
    from storpool_ovirt.engine import left_over, settlement

    try:
        limit = work.mapping.session.deadline.within(LEFT_OVER_SECONDS)
        quick = replace(work, client=work.client.limited(limit))
        found = left_over.of(work.mapping, moment, settlement.FRESH_SECONDS)
        for node in _nobodys(quick, found):
            _silent_drop(quick, node)
    except Exception as error:
        work.log.line("left_over_kept", reason=error)


def _nobodys(work: tree.Work, found: Sequence[left_over.LeftOver]) -> list[mapping.Node]:
    """Return those of which nothing says that Engine has them.

    A row that is old may be from a backup that was put back, and Engine was told of its snapshot
    since. So of an old one Engine's own database has to say that it has the volume, and not the
    snapshot.
    """
    old = [each.node for each in found if each.is_old]
    if not old:
        return [each.node for each in found]
    from storpool_ovirt.engine import engine_images

    asked = {uuid for node in old for uuid in (node.uuid, node.source) if uuid is not None}
    known = engine_images.known(work, asked) or frozenset()
    kept = [node for node in old if node.uuid in known or node.source not in known]
    for node in kept:
        reason = "it is old, and Engine's own database does not say that it is without it"
        work.log.line("left_over_kept", snapshot=node.uuid, reason=reason)
    return [each.node for each in found if each.node not in kept]


def _silent_drop(work: tree.Work, node: mapping.Node) -> None:
    from storpool_ovirt.engine import removal

    # Before StorPool is asked: whatever becomes of this process, nobody claims it any more.
    work.mapping.write(changes.marked([node.uuid], mapping.DELETING))
    try:
        there = ownership.proved(work, node)
        removal.drop_unused(work, there)
    except errors.NotFound:
        pass
    except tree.REFUSALS as error:
        work.log.line("left_over_kept", snapshot=node.uuid, reason=error)
        work.mapping.write(changes.marked([node.uuid], mapping.LIVE))
        return
    work.mapping.write(changes.forgotten([node.uuid]))
    removal.log_deleted(work, node, node.global_id, reason="no verb asked for it")


def _aim(work: tree.Work, node: mapping.Node, plan: Plan) -> intent.Intent:
    return intent.Intent(intent.MAKE, node.root, node.uuid, creation.written(work, node, plan))
