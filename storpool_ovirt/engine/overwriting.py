"""The data of disks are written over by those of snapshots: all of these disks or none.

Each volume stays what it is, with its name, its tags, its size and its place in the disk's tree:
StorPool reverts it in place by one request (`VolumeRevert`), so a disk is never without data. What
it had is in the trash before that (`safety.py`). Two steps:

1. The journal names what is about to happen, on each disk; the volumes are copied, and each copy's
   date is read back. Whoever dies here has changed nothing.
2. One statement writes the rows of the copies and that the operation has begun, on all disks. From
   here on it goes forward on all of them, whoever comes after it, or back (`over_settlement.py`).

What StorPool does with a revert of a volume that a host has is not documented. So nobody may have
it: no attachment is there as of now, before each step; no host was told of the disk in the last
minutes, which might attach it by that; and who asks for it meanwhile waits, as the disk is held and
the journal has it open.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, sizes
from storpool_ovirt.cluster import api, held, volumes
from storpool_ovirt.engine import (
    changes,
    host_notes,
    intent,
    mapping,
    ownership,
    reverting,
    safety,
    strangers,
    trash,
    trash_copies,
    tree,
)
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Callable

    from storpool_ovirt.engine.operations import Operation

# A host that was told of a disk attaches it by then, or never: Vdsm and our helper on it have less.
TOLD_SECONDS = 180.0
# What is written over, and from what, has to be there so long at least: a command's whole time.
LEFT_SECONDS = 900.0


class Aim(NamedTuple):
    """A row of a volume, the volume as it is now, and the snapshot whose data it gets."""

    node: mapping.Node
    there: api.Volume
    source: api.Volume


def aimed(work: tree.Work, node: mapping.Node, source: api.Volume) -> Aim:
    """Return what is written over for the row of a volume whose disk is held.

    Raises Conflict where the volume is smaller than the snapshot, or that goes soon, WrongCluster
    where that lives in another cluster, Foreign where another platform uses the volume, what
    `ownership.proved` raises.
    """
    tree.check_volume(node, "be written over")
    tree.checked(work, node)
    there = ownership.proved(work, node)
    strangers.check_platform(work, there)
    if _home(source) != _home(there):
        raise errors.WrongCluster(
            f"snapshot {source.name} (~{source.global_id})",
            f"lives in StorPool cluster {_home(source)}, and disk {node.root} in {_home(there)}",
            "restore it into a disk that was just made in oVirt",
        )
    if min(node.size_bytes, there.size_bytes) < source.size_bytes:
        raise errors.Conflict(
            f"disk {node.root}",
            f"has {_gib(node.size_bytes)}, and what is restored has {_gib(source.size_bytes)}",
            "extend the disk in oVirt first",
        )
    if source.goes_at and source.goes_at < work.now() + LEFT_SECONDS:
        raise errors.Conflict(
            f"snapshot {source.name} (~{source.global_id})",
            f"is deleted by StorPool in less than {LEFT_SECONDS / 60:.0f} minutes",
            "choose another one",
        )
    return Aim(tree.found_as(node, there), there, source)


def begun(work: tree.Work, disk: str) -> list[Operation]:
    """Return what was begun on a disk that we hold when who did that died: it goes forward once it
    is settled. What a restored backup tells of may have been ended long ago."""
    left = work.mapping.journal.of_disk(disk)
    return [
        each
        for each in left
        if each.writes_over and each.proved and each.plan.over is not None and each.plan.over.begun
    ]


def has_ended(work: tree.Work, left: Sequence[Operation], aim: Aim) -> bool:
    """Return whether one of these, which are settled now, has given the volume these very data:
    it stands on the snapshot, and what it had is kept."""
    return reverting.stands_on(aim.there, aim.source) and any(
        each.plan.over is not None
        and (each.node, each.plan.over.source) == (aim.node.uuid, aim.source.global_id)
        and trash_copies.found(work, aim.node, each.plan.over.entry) is not None
        for each in left
    )


def overwrite(
    work: tree.Work, aims: Sequence[Aim], check: Callable[[], object] | None = None
) -> list[trash.Entry]:
    """Give these volumes, of disks that we hold, the data of their snapshots; return the entries of
    the trash that have what they had. `check` is asked last before anything is written over, and
    raises where it must not be.

    Raises Conflict where a host has one of them, or may have it soon, and what StorPool refuses:
    all of them have their data of before then. Raises Conflict too where one was attached all the
    same while it was written over; that is done then.
    """
    check_closed(work, aims)
    ends_at = round(work.now()) + safety.delay_seconds(work)
    plans = _plans(aims, ends_at)
    first, *others = [_intent(work, aim, over) for aim, over in zip(aims, plans)]
    work.mapping.journal.begin(first, others=others)
    entries = _copied(work, aims, plans, check)
    now = _write_over(work, aims, entries)
    work.mapping.journal.finish(changes.unchanged())
    for aim, entry in zip(aims, entries):
        log(work, aim.node, aim.source.global_id, entry.entry)
    work.mapping.journal.delivered()
    _check_not_attached_since(work, aims, now)
    return entries


def check_closed(work: tree.Work, aims: Sequence[Aim]) -> None:
    """Raise Conflict while a host has one of these volumes, as of now, or may be about to attach
    it."""
    work.client.be_current()
    listed = work.client.attachments()
    for aim in aims:
        clients = holders(listed, tree.found_as(aim.node, aim.there))
        if clients:
            raise errors.Conflict(
                f"disk {aim.node.root}",
                f"is attached to {clients}, and its data cannot change below a VM",
                "stop its VM in oVirt, which detaches it; or storpool-ovirt reconcile --detach"
                f" {aim.node.uuid} where nothing uses it",
            )
    told = host_notes.since(work.mapping, [aim.node.uuid for aim in aims], TOLD_SECONDS)
    for uuid, note in told:
        raise errors.Conflict(
            f"disk {uuid}",
            f"was given to host {names.shown(note.host) if note.host else 'that is not known'} in"
            f" the last {TOLD_SECONDS / 60:.0f} minutes, which may be about to attach it",
            "see in oVirt that its VM is down, and try again then",
        )


def check_is_there(work: tree.Work, source: str) -> None:
    """Raise NotFound where a snapshot went, or was replaced, since it was looked at."""
    address = names.address(source)
    there = volumes.read(work.client, "snapshot", address)
    if there.dying or there.global_id != source:
        raise errors.NotFound("snapshot", address, "any more: StorPool is about to drop it")


def log(work: tree.Work, node: mapping.Node, source: str, entry: str) -> None:
    """Log that a volume was written over."""
    work.log.line(
        "written_over",
        volume=node.uuid,
        global_id=node.global_id,
        disk=node.root,
        source=source,
        trash=entry,
    )


def _plans(aims: Sequence[Aim], ends_at: int) -> list[intent.Over]:
    """Return what is planned for each, naming the others: whoever ends one ends all."""
    made = [intent.Other(each.node.root, names.random_uuid()) for each in aims]
    return [
        intent.Over(
            aim.source.global_id,
            own.entry,
            ends_at,
            others=tuple(each for each in made if each != own),
        )
        for aim, own in zip(aims, made)
    ]


def _intent(work: tree.Work, aim: Aim, over: intent.Over) -> intent.Intent:
    plan = intent.writing_over(over, work.client.address, work.domain.api.cluster_id)
    return intent.Intent(intent.GROW, aim.node.root, aim.node.uuid, plan)


def _copied(
    work: tree.Work,
    aims: Sequence[Aim],
    plans: Sequence[intent.Over],
    check: Callable[[], object] | None,
) -> list[trash.Entry]:
    """Copy all of the volumes, and write that it goes forward from here on; nothing is left of it
    where that is refused."""
    entries = []
    try:
        for (node, there, _), over in zip(aims, plans):
            copy = safety.made(work, node, there, over)
            entries.append(safety.entry(work, node, there, copy, over))
        check_closed(work, aims)
        for aim in aims:
            # Whoever was told of one before the journal had it open is seen by now
            check_is_there(work, aim.source.global_id)
        if check is not None:
            check()
    except tree.REFUSALS:
        for aim, over in zip(aims, plans):
            safety.silent_drop(work, aim.node, over)
        tree.silent_take_back(work, changes.unchanged())
        raise
    work.mapping.journal.begin_writing_over(trash.written(entries))
    return entries


def _check_not_attached_since(
    work: tree.Work, aims: Sequence[Aim], now: Sequence[api.Volume]
) -> None:
    """Raise Conflict where a host has one of these volumes now, under the id that it had or that it
    has: what it read before that, it may still have."""
    work.client.be_current()
    listed = work.client.attachments()
    for aim, there in zip(aims, now):
        nodes = [tree.found_as(aim.node, each) for each in (aim.there, there)]
        clients = holders(listed, *nodes)
        if clients:
            raise errors.Conflict(
                f"disk {aim.node.root}",
                f"was attached to {clients} while its data were written over",
                "what it had is in the trash; stop what uses it there, and restore once more",
            )


def _write_over(
    work: tree.Work, aims: Sequence[Aim], entries: Sequence[trash.Entry]
) -> list[api.Volume]:
    """Revert all of the volumes, and return them; where StorPool refuses one, those that were get
    their data back. The copies stay in the trash in either case."""
    done = []
    asked_again = work.client.tally.asked_again
    try:
        for aim, entry in zip(aims, entries):
            now = reverting.reverted(work, aim.there, aim.source.global_id)
            before = reverting.Before(entry.size_bytes, entry.tags)
            reverting.put_right(work, aim.node, now, before, aim.source.global_id)
            done.append(now)
    except tree.REFUSALS:
        # Where a try that was repeated may take effect late, the journal keeps what was begun: the
        # next verb waits until it cannot, and looks.
        if work.client.tally.asked_again == asked_again and _silent_back(work, aims, entries):
            tree.silent_take_back(work, changes.unchanged())
        raise
    return done


def _silent_back(work: tree.Work, aims: Sequence[Aim], entries: Sequence[trash.Entry]) -> bool:
    """Give those of these volumes their data of before that have other ones by now: also one whose
    revert was carried out, and what belongs to it refused; return whether all have them. Those that
    have not go forward later."""
    try:
        work.client.be_current()
        for aim, entry in reversed([*zip(aims, entries)]):
            now = volumes.still(work.client, aim.there)
            stands = (
                reverting.stands(work, now, aim.source.global_id, entry.entry)[0]
                if now
                else reverting.ELSEWHERE
            )
            if now is None or stands == reverting.ELSEWHERE:
                work.log.line("undo_failed", volume=aim.node.uuid, reason="it was changed since")
                return False
            if stands == reverting.ON_SOURCE:
                there = reverting.reverted(work, now, entry.global_id)
                before = reverting.Before(entry.size_bytes, entry.tags)
                reverting.put_right(work, aim.node, there, before)
                reverting.silent_limit(work, there, before)
                work.log.line("data_given_back", volume=aim.node.uuid, trash=entry.entry)
    except errors.Error as error:
        work.log.line("undo_failed", reason=error)
        return False
    return True


def _home(there: api.Volume) -> str:
    """Return the cluster in which something lives."""
    return there.cluster_id or names.cluster_of(there.global_id)


def holders(listed: Sequence[api.Attachment], *nodes: mapping.Node) -> str:
    """Return which clients have these volumes by a list of attachments; "" where none has."""
    found = [each.client_id for each in held.of([tree.target(node) for node in nodes], listed)]
    return names.clients(found) if found else ""


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / sizes.GIB:g} GiB"
