"""What operations left that died, or whose answer nobody read: the part of the audit that the
journal proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from storpool_ovirt import names, trash_names
from storpool_ovirt.admin import findings, survey
from storpool_ovirt.admin.findings import (
    CRITICAL,
    DELETE,
    INFO,
    LEAK,
    SETTLE,
    UNDELIVERED,
    UNFINISHED,
    WARNING,
    Action,
    Finding,
)
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import intent, operations, records, tree
from storpool_ovirt.engine.operations import UNDONE, Operation


def of_operations(view: survey.View) -> Iterator[Finding]:
    """Yield what operations left, and those that hang."""
    for operation in view.operations:
        if operation.is_open and operation.left_seconds < 0 and operation.is_alive():
            yield _hung(operation)
        elif operation.disk not in view.busy and _is_here(view, operation):
            found = (
                _made(view, operation)
                if operation.kind == intent.MAKE
                else _changed(view, operation)
            )
            if found is not None:
                yield found


def is_alone(view: survey.View, thing: api.Volume) -> bool:
    """Return whether nothing speaks for it that somebody has used the object since: else a person
    has to decide.

    Objects of ours that nobody explains are the sign of a database that is older than the cluster.
    What others made of it with copied tags keeps its data whatever becomes of the object, and says
    nothing of oVirt.
    """
    if view.unmapped:
        return False
    stands = (thing.name, f"~{thing.global_id}")
    # The volume that a snapshot was made of stands on it, and so do that volume's later snapshots.
    family = (thing.global_id, thing.made_from) if thing.kind == "snapshot" else (thing.global_id,)
    return not any(
        each.made_from == thing.global_id
        or (
            each.parent in stands
            and each.global_id not in family
            and each.made_from not in family[1:]
        )
        for each in view.children(thing)
        if not view.is_kept(each)
    )


def _is_here(view: survey.View, operation: Operation) -> bool:
    cluster = operation.plan.cluster
    return view.is_here(operation.disk) and (
        not cluster or not view.clusters or cluster in view.clusters
    )


def _hung(operation: Operation) -> Finding:
    pid = operation.process.pid
    return Finding(
        kind=UNFINISHED,
        severity=WARNING,
        what=f"disk {operation.disk}",
        uuid=operation.node,
        disk=operation.disk,
        cause=f"{operation} runs as process {pid} long after its time, and may hold the disk",
        mend=(
            f"look at process {pid} on Engine's machine; when it is killed, the next verb puts"
            " things right"
        ),
        age_seconds=operation.age_seconds,
    )


def _made(view: survey.View, operation: Operation) -> Finding | None:
    """Return the finding on what was to be made: a disk, a snapshot or a preview that Engine does
    not know of."""
    record = view.records.get(operation.node)
    if operation.plan.placeholder is not None and operation.is_open:
        return _restore(operation, record)
    thing = _thing_of(view, operation.node, record)
    if operation.state == UNDONE and (thing is None or record is not None or not operation.proved):
        return None
    kind, severity, why = LEAK, WARNING, _ending(operation)
    if record is not None and tree.is_known(view.tree(operation.disk), operation):
        kind, severity, why = UNFINISHED, INFO, f"{why}; it is in use all the same"
    elif operation.has_done_its_work:
        kind = UNDELIVERED
    elif thing is None:
        kind = UNFINISHED
    found = Finding(
        kind=kind,
        severity=severity,
        what=findings.named(operation.plan.kind or "object", operation.node, thing),
        uuid=operation.node,
        disk=operation.disk,
        cause=why,
        mend="storpool-ovirt reconcile closes the entry",
        age_seconds=operation.age_seconds,
        action=Action(SETTLE, operation.node, operation.disk, number=operation.id),
    )
    if thing is None and operation.plan.is_elsewhere(view.api_address):
        return _elsewhere(operation, found)
    if operation.state == UNDONE and thing is not None:
        found = _late(operation, found, thing)
    return found if severity == INFO else _with_step(view, operation, found, thing)


def _restore(operation: Operation, record: records.Record | None) -> Finding:
    """Return the finding on a disk that was to get its volume out of the trash."""
    has_volume = record is not None and record.global_id is not None
    ends = "closes the entry" if has_volume else "ends it, and so does the next verb on the disk"
    return Finding(
        kind=UNFINISHED,
        severity=INFO if has_volume else WARNING,
        what=f"disk {operation.disk}",
        uuid=operation.node,
        disk=operation.disk,
        cause=f"{_ending(operation)}: a restore out of the trash",
        mend=f"repeat it; or storpool-ovirt reconcile {ends}",
        age_seconds=operation.age_seconds,
        action=Action(SETTLE, operation.node, operation.disk, number=operation.id)
        if operation.proved or has_volume
        else None,
    )


def _elsewhere(operation: Operation, found: Finding) -> Finding:
    """Return the finding on what went to another address, so that nothing is known of it here."""
    return replace(
        found,
        severity=INFO,
        cause=(
            f"{found.cause}; it went to the StorPool API at {operation.plan.api}, not to this one"
        ),
        mend=(
            "if that is another cluster, audit it with the options of its domain; else"
            f" storpool-ovirt reconcile --remove {operation.node} forgets it"
        ),
        action=None,
    )


def _late(operation: Operation, found: Finding, thing: api.Volume) -> Finding:
    """Return the finding on what came after its operation had been taken back."""
    return replace(
        found,
        cause=f"{found.cause}, was taken back, and took effect after that all the same",
        action=Action(DELETE, operation.node, operation.disk, thing.global_id, operation.id),
    )


def _with_step(
    view: survey.View, operation: Operation, found: Finding, thing: api.Volume | None
) -> Finding:
    """Return the finding with what mends it: reconcile where it can be sure, else a person."""
    does = "deletes" if thing is not None else "forgets"
    if operation.proved and (thing is None or is_alone(view, thing)):
        return replace(found, mend=f"storpool-ovirt reconcile {does} it")
    return replace(
        found,
        mend=(
            f"does oVirt list it? if so, storpool-ovirt reconcile --keep {operation.node} closes"
            f" the entry; if not, storpool-ovirt reconcile --remove {operation.node} {does} it"
        ),
        action=None,
    )


def _changed(view: survey.View, operation: Operation) -> Finding | None:
    """Return the finding on what was to grow or to go."""
    if operation.state == UNDONE:
        return None
    is_growth = operation.kind == intent.GROW
    found = Finding(
        kind=UNFINISHED,
        severity=WARNING,
        what=f"{_kind_of(view, operation)} {operation.node}",
        uuid=operation.node,
        disk=operation.disk,
        cause=_ending(operation),
        mend="repeat it in oVirt; or storpool-ovirt reconcile, which "
        + (
            "reads the size"
            if is_growth
            else "keeps what StorPool still has, or ends the delete where the disk has lost its"
            " volume"
        ),
        age_seconds=operation.age_seconds,
        action=Action(SETTLE, operation.node, operation.disk, number=operation.id),
    )
    if operation.writes_over:
        mend = (
            "storpool-ovirt reconcile, which ends it: the disk has what was restored then, or what"
            " it had, and what it had is in the trash where it was written over"
        )
        found = replace(found, mend=mend)
        over = operation.plan.over
        if over is not None and over.begun and over.others:
            found = _half_restored(view, over, found)
    if operation.has_done_its_work:
        again = f"{'extend' if is_growth else 'delete'} it in oVirt once more"
        mend = (
            f"{again}, so that Engine shows what is true; storpool-ovirt reconcile closes the entry"
        )
        return replace(found, kind=UNDELIVERED, severity=INFO, mend=mend)
    if not is_growth and view.unmapped:
        mend = (
            "repeat it in oVirt; storpool-ovirt reconcile does nothing while there are unmapped"
            " objects"
        )
        return replace(found, mend=mend, action=None)
    return found


def _half_restored(view: survey.View, over: intent.Over, found: Finding) -> Finding:
    """Return the finding on a disk of several that a restore was to give the data of one moment:
    until it is ended, some may have them, and some not."""
    entries = {over.entry, *(each.entry for each in over.others)}
    has = ", ".join(
        f"disk {each.disk} has {_data(view, each.node, each.plan.over)}"
        for each in view.operations
        if each.plan.over is not None and each.plan.over.entry in entries
    )
    return replace(
        found,
        severity=CRITICAL,
        cause=f"{found.cause}; the disks of one VM may have data of two moments: {has}",
        mend=(
            "storpool-ovirt reconcile, which gives all of them what was restored, or all what they"
            " had, or says what a person has to decide; until then no host is told of them"
        ),
    )


def _data(view: survey.View, node: str, over: intent.Over) -> str:
    """Return in words which data a disk has, as far as what its volume stands on tells."""
    record = view.records.get(node)
    there = view.things.get(record.node.global_id or "") if record is not None else None
    if there is None:
        return "what is not known"
    source = view.things.get(over.source)
    if there.parent in (names.address(over.source), source.name if source is not None else None):
        return "what was restored"
    return "what it had" if there.parent == trash_names.name(over.entry) else "what is not known"


def _kind_of(view: survey.View, operation: Operation) -> str:
    record = view.records.get(operation.node)
    if record is not None:
        return record.node.kind
    return "disk" if operation.node == operation.disk else "object"


def _ending(operation: Operation) -> str:
    """Return in words who did what and how it ended."""
    who = str(operation) if operation.arguments else f"a {operation}"
    ending = {
        operations.RUNNING: "died before it knew the result",
        operations.FAILED: f"failed without knowing the result: {operation.note}",
        operations.DONE: "did its work and died before Engine had the answer",
        operations.UNDELIVERED: "did its work, but nobody read the answer",
        UNDONE: "died",
    }[operation.state]
    restored = (
        "" if operation.proved else " (the entry comes from a restored backup and proves nothing)"
    )
    return f"{who}{restored} {ending}"


def _thing_of(view: survey.View, uuid: str, record: records.Record | None) -> api.Volume | None:
    if record is not None and record.node.global_id is not None:
        return view.things.get(record.node.global_id)
    return next(iter(view.ours.get(uuid, [])), None)
