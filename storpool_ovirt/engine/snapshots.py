"""Snapshots: of one volume, or of all disks of a running VM at one moment.

Engine asks for one disk after the other, with one correlation id. The first verb finds the VM's
other disks (`members.py`), holds all of them, writes one intent for all, and makes all snapshots in
one call; those of the others are reserved (`moments.py`), and the verbs for them claim them without
a call. All of it fails as a whole: when one verb has failed, the later ones of the same action do
too, as only then Engine takes the whole snapshot back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from storpool_ovirt import config, errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.cluster.plans import Plan
from storpool_ovirt.engine import (
    actions,
    changes,
    creation,
    intent,
    mapping,
    members,
    moments,
    operations,
    ownership,
    recovery,
    removal,
    tree,
)
from storpool_ovirt.engine.members import Found, Member
from storpool_ovirt.engine.moments import Moment

# What older moments left is deleted while a guest is frozen: what takes longer waits for the next.
LEFT_OVER_SECONDS = 3.0
NO_UUID = "the correlation id is no UUID"
_BROKEN_OFF = "an earlier verb of it was broken off"


@dataclasses.dataclass
class _Request:
    """One verb: the volume that was asked for, and what is known by now of what has to fail with
    it.

    `key` is by what the verbs of one action are known; `why` tells why there are no others.
    `moment` is remembered as failed when the verb fails; None: nothing has to be.
    """

    volume: str
    key: str
    why: str = ""
    moment: Moment | None = None


def taken(work: tree.Work, volume: str) -> str:
    """Freeze a volume as it is now, together with the others of its VM; return its snapshot's id.

    Raises what its failure is, and Conflict where another verb of the same action has failed.
    """
    request = _asked(work, volume)
    if request.why:
        origin = tree.checked(work, recovery.locked(work, volume))
        tree.check_volume(origin, "be snapshotted")
        return _alone(work, origin, ownership.proved_now(work, origin), request.why)
    root = tree.known(work, volume).root
    try:
        work.mapping.lock(root)
        node, snapshot = _claimed(work, request)
        return snapshot or _made(work, request, node)
    except Exception as error:
        _silent_remember(work, request, error)
        raise


def _asked(work: tree.Work, volume: str) -> _Request:
    key = work.mapping.journal.caller.correlation_id.lower()
    why = ""
    if not work.domain.group_snapshot:
        why = "sp_group_snapshot is off"
    elif not names.UUID.match(key) and work.domain.snapshot_key == config.CORRELATION_KEY:
        why = NO_UUID
    return _Request(volume, key, why, moments.thought_of(key, "", (volume,)))


def _silent_remember(work: tree.Work, request: _Request, error: Exception) -> None:
    """Write that the action has failed, for the verbs of the other disks; never raises.

    Engine takes a VM's snapshot back only where none of its disks succeeded (CreateSnapshotDisk,
    isSnapshotUsed).
    """
    if request.moment is None:
        return
    try:
        session = work.mapping.session
        moments.remember_failure(session, request.moment, work.log.sentence(error))
    except Exception as unwritten:
        work.log.line("failure_not_remembered", volume=request.volume, reason=unwritten)


# Claims


def _claimed(work: tree.Work, request: _Request) -> tuple[mapping.Node, str | None]:
    """Return the row of a volume whose disk is held, and the snapshot that was made of it together
    with others, which is answered from now on; None where there is none.

    Raises Conflict where the action has failed.
    """
    node, place = moments.place(work.mapping, request.key, request.volume)
    was_asked = place is not None and place.was_asked
    if node.pending:
        recovery.settled(work, request.volume)
        node, place = moments.place(work.mapping, request.key, request.volume)
    if place is None or not place.has_to_say(request.volume):
        return node, None
    if was_asked:
        moments.refuse(work.mapping.session, place.moment, request.volume, _BROKEN_OFF)
        return node, None
    moment, snapshot = place.moment, place.snapshot
    if not moment.is_of(_action(work, moment.vm)):
        return node, None
    if snapshot is None or not place.is_usable:
        raise _refused(work, request, moment)
    tree.checked(work, node)
    tree.checked(work, snapshot)
    aim = _aim(work, snapshot, _plan(work, snapshot, moment.mark))
    journal = work.mapping.journal
    if not journal.begin(
        aim, moments.claimed(snapshot), only_if_changed=True, state=operations.DONE
    ):
        raise _refused(work, request, moment)
    _log(work, snapshot, moment)
    return node, snapshot.uuid


def _action(work: tree.Work, vm: str) -> str:
    return actions.of(work, vm) if work.domain.snapshot_key == config.ENGINE_KEY else ""


def _refused(work: tree.Work, request: _Request, moment: Moment) -> errors.Conflict:
    """Write that Engine is told of a failed action for this volume too; return the error."""
    why = moment.note if moment.state == moments.FAILED else _BROKEN_OFF
    moments.refuse(work.mapping.session, moment, request.volume, why)
    request.moment = None
    return errors.Conflict(
        f"volume {request.volume}",
        f"is not snapshotted, as the snapshot of its VM's disks has failed: {why}",
        "make the VM's snapshot again",
    )


# One volume


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


# All volumes of a VM


def _made(work: tree.Work, request: _Request, node: mapping.Node) -> str:
    """Make the snapshot of a volume whose disk is held, and those of the others with it."""
    origin = tree.checked(work, node)
    tree.check_volume(origin, "be snapshotted")
    there = ownership.proved_now(work, origin)
    vm, why = members.vm_of(work, there)
    if not why:
        request.moment = moments.thought_of(request.key, vm, (origin.uuid,))
        found = members.of(work, origin, there, vm)
        action = "" if found.why else _action(work, vm)
        is_known = bool(action) or names.UUID.match(request.key) is not None
        why = found.why or ("" if is_known else NO_UUID)
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


def _held(work: tree.Work, request: _Request, moment: Moment, found: Found) -> str | None:
    """Hold the disks of all, in the order of their ids; return the snapshot that was made meanwhile
    for the verb's own volume, None where there is none.

    Raises Locked, and Conflict where the action has failed.
    """
    own, disks = found.members[0].node.root, sorted({each.node.root for each in found.members})
    if disks[0] != own:
        work.mapping.session.unlock(own)
    work.mapping.lock_all(disks)
    if disks[0] != own:
        _, answered = _claimed(work, request)
        if answered is not None:
            return answered
    broken = moments.failed(work.mapping.session, moment, request.volume)
    if broken is not None and broken.is_of(moment.action):
        raise _refused(work, request, broken)
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


def _together(
    work: tree.Work, request: _Request, moment: Moment, together: Sequence[Member]
) -> str:
    """Make the snapshots of all members, whose disks are held, at one moment."""
    snapshots = [
        creation.new_snapshot(each.node._replace(size_bytes=each.there.size_bytes))
        for each in together
    ]
    plans = [_plan(work, each, moment.mark) for each in snapshots]
    own, *others = [_aim(work, *each) for each in zip(snapshots, plans)]
    journal = work.mapping.journal
    begun = moments.begun(moment, snapshots, journal.caller.correlation_id)
    journal.begin(own, begun, others=others)
    volume_ids = [each.there.global_id for each in together]
    try:
        global_ids = volumes.group_snapshot(work.client, list(zip(volume_ids, plans)))
    except tree.REFUSALS:
        _silent_undo(work, snapshots, plans)
        raise
    journal.finish(moments.made(moment.mark, [each.uuid for each in snapshots], global_ids))
    request.moment = None
    made = [node._replace(global_id=each) for node, each in zip(snapshots, global_ids)]
    _log(work, made[0], moment)
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


def _silent_undo(work: tree.Work, snapshots: Sequence[mapping.Node], plans: Sequence[Plan]) -> None:
    """Delete what a refused call has made all the same, and take the intent back.

    Where that fails, the journal keeps it, and whoever comes next to each disk does it.
    """
    try:
        work.client.be_current()
        for node, plan in zip(snapshots, plans):
            global_id = volumes.find(work.client, "snapshot", plan)
            if global_id is not None:
                volumes.delete_snapshot(work.client, global_id)
                _log_deleted(work, node, global_id, "not all of its group were made")
    except Exception as error:
        work.log.line("undo_failed", reason=error)
        return
    tree.silent_take_back(work, changes.forgotten([each.uuid for each in snapshots]))


def _silent_drop_left_over(work: tree.Work, moment: Moment) -> None:
    """Delete the snapshots of older moments that no verb asked for; what cannot be is left to the
    next time, or to `storpool-ovirt reconcile`."""
    try:
        limit = work.mapping.session.deadline.within(LEFT_OVER_SECONDS)
        quick = dataclasses.replace(work, client=work.client.limited(limit))
        for node in moments.left_over(work.mapping, moment):
            _silent_drop(quick, node)
    except Exception as error:
        work.log.line("left_over_kept", reason=error)


def _silent_drop(work: tree.Work, node: mapping.Node) -> None:
    try:
        there = ownership.proved(work, node)
        removal.drop_unused(work, there)
    except errors.NotFound:
        pass
    except tree.REFUSALS as error:
        work.log.line("left_over_kept", snapshot=node.uuid, reason=error)
        return
    work.mapping.write(changes.forgotten([node.uuid]))
    _log_deleted(work, node, node.global_id, "no verb asked for it")


def _plan(work: tree.Work, node: mapping.Node, mark: str) -> Plan:
    """Return what is to be made for a snapshot of a moment: it says of which."""
    owner = tree.owner(work, node)
    return Plan(dataclasses.replace(owner, tags={**owner.tags, names.TAG_MOMENT: mark}))


def _aim(work: tree.Work, node: mapping.Node, plan: Plan) -> intent.Intent:
    return intent.Intent(intent.MAKE, node.root, node.uuid, creation.written(work, node, plan))


def _log(work: tree.Work, node: mapping.Node, moment: Moment) -> None:
    why = {"why": moment.note} if moment.note else {}
    work.log.line(
        "snapshot_created",
        snapshot=node.uuid,
        global_id=node.global_id,
        volume=node.source,
        consistency="part" if moment.note else "vm",
        **why,
        moment=moment.mark,
        disks=len(moment.volumes),
    )


def _log_deleted(work: tree.Work, node: mapping.Node, global_id: str | None, reason: str) -> None:
    work.log.line(
        "snapshot_deleted",
        snapshot=node.uuid,
        global_id=global_id,
        disk=node.root,
        reason=reason,
    )
