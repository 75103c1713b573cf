"""What operations left that died, or whose answer nobody read: the part of the audit that the
journal proves."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt.admin import findings, survey
from storpool_ovirt.admin.findings import (
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
from storpool_ovirt.engine import intent, mapping, operations, settlement


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


def _is_here(view: survey.View, operation: operations.Operation) -> bool:
    cluster = operation.plan.cluster
    return view.is_here(operation.disk) and (
        not cluster or not view.clusters or cluster in view.clusters
    )


def _hung(operation: operations.Operation) -> Finding:
    pid = operation.process.pid
    return Finding(
        UNFINISHED,
        WARNING,
        f"disk {operation.disk}",
        operation.node,
        operation.disk,
        f"{operation} runs as process {pid} long after its time, and may hold the disk",
        f"look at process {pid} on Engine's machine; when it is killed, the next verb puts things"
        " right",
        operation.age_seconds,
    )


def _made(view: survey.View, operation: operations.Operation) -> Finding | None:
    """What was to be made: a disk, a snapshot or a preview that Engine does not know of."""
    record = view.records.get(operation.node)
    thing = _thing_of(view, operation.node, record)
    if operation.state == operations.UNDONE and (
        thing is None or record is not None or not operation.proved
    ):
        return None
    kind, severity = LEAK, WARNING
    why = _ending(operation)
    if record is not None and settlement.is_known(view.tree(operation.disk), operation):
        kind, severity, why = UNFINISHED, INFO, f"{why}; it is in use all the same"
    elif operation.has_done_its_work:
        kind = UNDELIVERED
    elif thing is None:
        kind = UNFINISHED
    what = findings.named(operation.plan.kind or "object", operation.node, thing)
    if thing is None and operation.plan.is_elsewhere(view.api_address):
        where = f"it went to the StorPool API at {operation.plan.api}, not to this one"
        mend = (
            "if that is another cluster, audit it with the options of its domain; else"
            f" storpool-ovirt reconcile --remove {operation.node} forgets it"
        )
        return Finding(
            kind,
            INFO,
            what,
            operation.node,
            operation.disk,
            f"{why}; {where}",
            mend,
            operation.age_seconds,
        )
    action: Action | None = Action(SETTLE, operation.node, operation.disk, number=operation.id)
    if operation.state == operations.UNDONE and thing is not None:
        why += ", was taken back, and took effect after that all the same"
        action = Action(DELETE, operation.node, operation.disk, thing.global_id, operation.id)
    mend = "storpool-ovirt reconcile" + (" deletes it" if thing is not None else " forgets it")
    if severity == INFO:
        mend = "storpool-ovirt reconcile closes the entry"
    elif not operation.proved or (thing is not None and not is_alone(view, thing)):
        action = None
        mend = (
            f"does oVirt list it? if so, storpool-ovirt reconcile --keep {operation.node} closes"
            f" the entry; if not, storpool-ovirt reconcile --remove {operation.node}"
            f" {'deletes' if thing is not None else 'forgets'} it"
        )
    return Finding(
        kind,
        severity,
        what,
        operation.node,
        operation.disk,
        why,
        mend,
        operation.age_seconds,
        action,
    )


def _changed(view: survey.View, operation: operations.Operation) -> Finding | None:
    """What was to grow or to go."""
    if operation.state == operations.UNDONE:
        return None
    record = view.records.get(operation.node)
    kind = (
        record.node.kind
        if record is not None
        else "disk"
        if operation.node == operation.disk
        else "object"
    )
    action = Action(SETTLE, operation.node, operation.disk, number=operation.id)
    facts = (f"{kind} {operation.node}", operation.node, operation.disk, _ending(operation))
    if operation.has_done_its_work:
        again = (
            "extend it in oVirt once more"
            if operation.kind == intent.GROW
            else "delete it in oVirt once more"
        )
        mend = (
            f"{again}, so that Engine shows what is true; storpool-ovirt reconcile closes the entry"
        )
        return Finding(UNDELIVERED, INFO, *facts, mend, operation.age_seconds, action)
    if operation.kind == intent.DROP and view.unmapped:
        mend = (
            "repeat it in oVirt; storpool-ovirt reconcile does nothing while there are unmapped"
            " objects"
        )
        return Finding(UNFINISHED, WARNING, *facts, mend, operation.age_seconds)
    mend = "repeat it in oVirt; or storpool-ovirt reconcile, which " + (
        "reads the size"
        if operation.kind == intent.GROW
        else "keeps what StorPool still has, or ends the delete where the disk has lost its volume"
    )
    return Finding(UNFINISHED, WARNING, *facts, mend, operation.age_seconds, action)


def _ending(operation: operations.Operation) -> str:
    """Tell in words who did what and how it ended."""
    who = str(operation) if operation.arguments else f"a {operation}"
    ending = {
        operations.RUNNING: "died before it knew the result",
        operations.FAILED: f"failed without knowing the result: {operation.note}",
        operations.DONE: "did its work and died before Engine had the answer",
        operations.UNDELIVERED: "did its work, but nobody read the answer",
        operations.UNDONE: "died",
    }[operation.state]
    restored = (
        "" if operation.proved else " (the entry comes from a restored backup and proves nothing)"
    )
    return f"{who}{restored} {ending}"


def is_alone(view: survey.View, thing: api.Volume) -> bool:
    """Tell whether nothing speaks for it that somebody has used the object since: else a person has
    to decide.

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


def _thing_of(view: survey.View, uuid: str, record: mapping.Record | None) -> api.Volume | None:
    if record is not None and record.node.global_id is not None:
        return view.things.get(record.node.global_id)
    return next(iter(view.ours.get(uuid, [])), None)
