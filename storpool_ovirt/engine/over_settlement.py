"""The settlement of a restore over data that died: all of its disks have what was restored, or all
have what they had.

Each disk has an entry of its own, which names the others. Who settles one holds all of them, looks
at all of them, and ends all of them in one statement, so that no disk goes forward alone:

- Each volume stands on the snapshot, or on its copy and was not written since: all go forward.
- One cannot: those that have the other data already get theirs back, from their copies.
- That cannot be either, or nobody knows which data one has: all stay as they are, and open. No verb
  uses one of the disks then, until a person has decided.

A disk that is alone is left as it is where it cannot go forward.
"""

from __future__ import annotations

import contextlib

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import (
    changes,
    intent,
    locks,
    mapping,
    overwriting,
    ownership,
    reverting,
    safety,
    trash,
    trash_copies,
    tree,
)
from storpool_ovirt.engine.outcomes import CLOSED, FINISHED, TAKEN_BACK, Outcome
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storpool_ovirt.engine.operations import Operation


class TwoMomentsError(errors.Conflict):
    """Disks of one VM have data of two moments, and nothing but a person can mend that."""


class Member(NamedTuple):
    """One disk of a restore that died: its row, its volume as it is now, and its copy; what the
    volume stands on, as which `own` objects, and whether it may have what was restored; what it
    had, and what keeps it from going forward, "" where nothing does."""

    over: intent.Over
    node: mapping.Node
    there: api.Volume | None
    copy: api.Volume | None
    stands: str
    own: frozenset[str]
    may_be_restored: bool
    before: reverting.Before
    not_forward: str

    @property
    def is_restored(self) -> bool:
        """Whether it certainly has what was restored."""
        return self.stands == reverting.ON_SOURCE

    @property
    def is_elsewhere(self) -> bool:
        """Whether it stands on neither."""
        return self.there is not None and self.stands == reverting.ELSEWHERE

    @property
    def is_of_others(self) -> bool:
        """Whether it certainly has what others have given it: it stands on neither, and both are
        there."""
        return self.is_elsewhere and self.copy is not None and not self.may_be_restored


def settle(work: tree.Work, operation: Operation, late: Callable[[], None]) -> Outcome:
    """End one that died, on a disk that we hold: forward, once it had begun, as long as nobody has
    used one of its disks since. No request of it may take effect any more; `late` waits until one
    that was asked again just now cannot either, or raises Locked.

    Raises TwoMomentsError where its disks have data of two moments and that cannot be mended,
    Locked where another one works on one of them, what the API raises.
    """
    over, node = operation.plan.over, work.mapping.node(operation.node)
    if over is None or node is None or node.global_id is None:
        work.mapping.journal.close(operation, changes.unchanged())
        return Outcome(CLOSED, "closed: the disk is gone")
    if not (operation.proved and over.begun):
        if over.begun and over.others:
            with _held(work, operation.disk, over):
                work.client.be_current()
                _check_one_moment(_looked(work, [operation, *_others(work, over)]))
        return _left_as_it_is(work, operation, node, over)
    with _held(work, operation.disk, over):
        work.client.be_current()
        return _settled(work, operation, over, late)


def leave(work: tree.Work, operation: Operation) -> None:
    """Have a restore that died over, on all of its disks, which stay as they are: a person has
    decided so."""
    over = operation.plan.over
    others = _others(work, over) if over is not None else []
    work.mapping.journal.close(operation, changes.unchanged(), others)


def _left_as_it_is(
    work: tree.Work, operation: Operation, node: mapping.Node, over: intent.Over
) -> Outcome:
    """End one that has written nothing over, or of which nobody knows."""
    work.client.be_current()
    try:
        node, there = _proved(work, node)
    except tree.REFUSALS as error:
        work.log.line("not_written_over", volume=node.uuid, trash=over.entry, reason=error)
        work.mapping.journal.close(operation, changes.unchanged())
        return Outcome(TAKEN_BACK, f"left as it is: {error}{_kept(over)}")
    why = "left as it is: the entry comes from a restored backup"
    if operation.proved:
        safety.silent_drop(work, node, over)
        why = "taken back: no data were written over"
    work.mapping.journal.close(operation, _resized(node, there.size_bytes))
    return Outcome(TAKEN_BACK, why)


def _check_one_moment(members: Sequence[Member]) -> None:
    """Raise TwoMomentsError where some of these have what was restored, and others have not, and
    the entry proves nothing: it came back with the database, also to a standby that took over."""
    if len({each.is_restored for each in members}) > 1:
        raise _two_moments(members, "the entry in the journal comes from a restored database")


@contextlib.contextmanager
def _held(work: tree.Work, disk: str, over: intent.Over) -> Iterator[None]:
    """Hold the other disks, too. Those before ours are not waited for, as who holds one of them may
    wait for ours."""
    session, taken = work.mapping.session, []
    try:
        for each in sorted({one.disk for one in over.others} - {disk}):
            if each > disk:
                locks.hold(session, each)
            elif not session.try_lock(each):
                raise errors.Locked(f"disk {each}", 0, "one restore is ended on all of its disks")
            taken.append(each)
        yield
    finally:
        with contextlib.suppress(errors.Error):  # the connection's end unlocks too
            for each in taken:
                session.unlock(each)


def _others(work: tree.Work, over: intent.Over) -> list[Operation]:
    """Return what is open of the same restore on the other disks."""
    entries = {each.entry for each in over.others}
    return [
        each
        for disk in sorted({one.disk for one in over.others})
        for each in work.mapping.journal.of_disk(disk)
        if each.writes_over and each.plan.over is not None and each.plan.over.entry in entries
    ]


def _settled(
    work: tree.Work, operation: Operation, over: intent.Over, late: Callable[[], None]
) -> Outcome:
    others = _others(work, over)
    members = _looked(work, [operation, *others])
    failed = None
    if not any(each.not_forward for each in members):
        failed = _forward(work, members, late)
        if failed is None:
            _close(work, operation, others, members)
            if members[0].copy is None:
                # Or it stood on that before, and does again, as its copy went
                return Outcome(CLOSED, f"closed: it stands on ~{over.source}, and its copy is gone")
            return Outcome(FINISHED, f"finished: it has the data of ~{over.source}{_kept(over)}")
        members = [
            each._replace(not_forward=failed) if not each.is_restored else each
            for each in _looked(work, [operation, *others])
        ]
    for each in members:
        if each.not_forward:
            work.log.line(
                "not_written_over",
                volume=each.node.uuid,
                trash=each.over.entry,
                reason=each.not_forward,
            )
    _back(work, members, late)
    _close(work, operation, others, members)
    why = next((each.not_forward for each in members if each.not_forward), failed)
    return Outcome(TAKEN_BACK, f"left as it is: {why}{_kept(over)}")


def _close(
    work: tree.Work, operation: Operation, others: Sequence[Operation], members: Sequence[Member]
) -> None:
    """Have all of it over, and the rows know the sizes of the volumes."""
    for each in members:
        with contextlib.suppress(*tree.REFUSALS):
            size_bytes = ownership.proved(work, each.node).size_bytes
            work.mapping.write(_resized(each.node, size_bytes))
    work.mapping.journal.close(operation, changes.unchanged(), others)


def _looked(work: tree.Work, operations: Sequence[Operation]) -> list[Member]:
    """Return all disks of a restore as they are now; one that is gone is none of it any more."""
    seen = [
        (node, each.plan.over)
        for each in operations
        for node in [work.mapping.node(each.node)]
        if node is not None and node.global_id is not None and each.plan.over is not None
    ]
    return [_member(work, node, over) for node, over in seen]


def _member(work: tree.Work, node: mapping.Node, over: intent.Over) -> Member:
    try:
        node, there = _proved(work, node)
    except tree.REFUSALS as error:
        before = reverting.Before(node.size_bytes, {})
        may_be = not isinstance(error, errors.NotFound)
        return Member(
            over=over,
            node=node,
            there=None,
            copy=None,
            stands=reverting.ELSEWHERE,
            own=frozenset(),
            may_be_restored=may_be,
            before=before,
            not_forward=str(error),
        )
    entry = next(iter(trash.of(work.mapping, over.entry)), None)
    before = reverting.Before(node.size_bytes, there.tags)
    if entry is not None:
        before = reverting.Before(entry.size_bytes, entry.tags)
    stands, own = reverting.stands(work, there, over.source, over.entry)
    copy = trash_copies.found(work, node, over.entry)
    # What stands on neither was not restored where the snapshot is there to be stood on
    may_be = stands == reverting.ON_SOURCE or (
        stands == reverting.ELSEWHERE and bool(_source_gone(work, over))
    )
    found = Member(
        over=over,
        node=node,
        there=there,
        copy=copy,
        stands=stands,
        own=own,
        may_be_restored=may_be,
        before=before,
        not_forward="",
    )
    return found._replace(not_forward=_not_forward(work, found))


def _not_forward(work: tree.Work, member: Member) -> str:
    """Return what keeps a volume from having the other data, and nothing else."""
    if member.is_restored:
        # Without its copy it may stand on that as it did before, with data of its own
        is_unsure = member.copy is None and bool(member.over.others)
        is_other = is_unsure and reverting.is_written(work, member.own)
        return "it was written since, and its copy is gone" if is_other else ""
    goes_at = member.copy.goes_at if member.copy is not None else 0
    if member.stands != reverting.ON_COPY or goes_at < work.now() + overwriting.LEFT_SECONDS:
        return "what it stands on was changed since"
    return _source_gone(work, member.over) or _used(work, member)


def _source_gone(work: tree.Work, over: intent.Over) -> str:
    """Return that the snapshot with what is restored is gone; "" where it is there."""
    try:
        overwriting.check_is_there(work, over.source)
    except tree.REFUSALS as error:
        return str(error)
    return ""


def _used(work: tree.Work, member: Member) -> str:
    """Return how a volume is, or was, used since it was copied, or got the other data."""
    if reverting.is_written(work, member.own):
        return "it was written since"
    holders = overwriting.holders(work.client.attachments(), member.node)
    return f"it is attached to {holders}" if holders else ""


def _forward(work: tree.Work, members: Sequence[Member], late: Callable[[], None]) -> str | None:
    """Give all of them the other data; return why StorPool refuses that for one.

    Raises what it refuses of what belongs to that: no disk is to be used so, smaller than Engine
    knows it, or without its tags.
    """
    for each, there in [(each, each.there) for each in members if each.there is not None]:
        over, now = each.over, there
        if not each.is_restored:
            try:
                now = _reverted(work, there, over.source, late)
            except tree.REFUSALS as error:
                return str(error)
        source = over.source if each.copy is not None else ""
        reverting.put_right(work, each.node, now, each.before, source)
        if each.is_restored:
            reverting.silent_limit(work, now, each.before)
        else:
            overwriting.log(work, each.node, over.source, over.entry)
    return None


def _reverted(
    work: tree.Work, there: api.Volume, source: str, late: Callable[[], None]
) -> api.Volume:
    """Revert a volume; where the request was asked again its first try may take effect late,
    whatever the other one was told, and is waited for: nobody may write before."""
    asked_again = work.client.tally.asked_again
    try:
        return reverting.reverted(work, there, source)
    finally:
        if work.client.tally.asked_again > asked_again:
            late()


def _back(work: tree.Work, members: Sequence[Member], late: Callable[[], None]) -> None:
    """Give those that may have what was restored theirs back, as another one cannot have it.

    Raises TwoMomentsError where one cannot have them back, or nobody knows which data one has: all
    stay as they are. So do those that others have reverted, all of them, and one that is alone.
    """
    if len(members) == 1 or all(each.is_of_others for each in members):
        return
    is_unclear = all(each.is_elsewhere for each in members)
    unclear = [
        each for each in members if each.is_elsewhere and (is_unclear or not each.may_be_restored)
    ]
    if unclear:
        told = [
            each._replace(may_be_restored=each in unclear or each.is_restored) for each in members
        ]
        raise _two_moments(told, f"volume {unclear[0].node.uuid} was changed since")
    done = [each for each in members if each.may_be_restored]
    for each in done:
        why = _used(work, each) if each.copy is not None else "its copy is gone"
        if why:
            raise _two_moments(members, why)
    copied = [(each, each.there, each.copy) for each in done if each.there and each.copy]
    for each, there, copy in copied:
        try:
            now = _reverted(work, there, copy.global_id, late)
        except tree.REFUSALS as error:
            raise _two_moments(members, str(error)) from error
        reverting.put_right(work, each.node, now, each.before)
        reverting.silent_limit(work, now, each.before)
        work.log.line("data_given_back", volume=each.node.uuid, trash=each.over.entry)


def _two_moments(members: Sequence[Member], not_back: str) -> TwoMomentsError:
    done = sorted(
        (each.node for each in members if each.may_be_restored), key=lambda each: each.root
    )
    left = [each for each in members if not each.may_be_restored]
    named = names.disks([each.root for each in done])
    others = ""
    if left:
        why = next((each.not_forward for each in left if each.not_forward), "")
        others = f", and {names.disks([each.node.root for each in left])} cannot get it ({why})"
    return TwoMomentsError(
        names.disks(sorted(each.node.root for each in members)),
        f"of one VM may have data of two moments, as a restore died: {named} may have what was"
        f" restored, which cannot be taken back ({not_back}){others}",
        f"storpool-ovirt reconcile --keep {done[0].uuid} leaves them as they are; then, before the"
        " VM starts, give all of them one moment: storpool-ovirt restore VM --at another one",
    )


def _proved(work: tree.Work, node: mapping.Node) -> tuple[mapping.Node, api.Volume]:
    """Return a row, which may have followed its volume just now, and the volume."""
    there = ownership.proved(work, node)
    return tree.found_as(tree.known(work, node.uuid), there), there


def _resized(node: mapping.Node, size_bytes: int) -> changes.Change:
    return changes.resized(node.uuid, max(node.size_bytes, size_bytes))


def _kept(over: intent.Over) -> str:
    return f"; what it had is in the trash as {over.entry}" if over.begun else ""
