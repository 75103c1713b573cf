"""Snapshots that StorPool made at one moment with those of other disks of their VM, and whose id no
verb gave to oVirt: a part of the audit.

One call makes the snapshots of all disks of a VM, and each disk's own verb takes its own one up
within `moments.CLAIM_SECONDS`. What is not taken up by then never will be: the disk was left out of
the snapshot in oVirt, or Engine gave up before it came to it. Nobody can name such a snapshot, so
it is space and nothing else; reconcile takes it away, or the VM's next snapshot that has this disk
and others.
"""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt.admin import died, findings, rows_seen, survey
from storpool_ovirt.admin.findings import (
    DISCARD,
    END,
    GHOST,
    INFO,
    KEEP,
    RESERVED,
    UNFINISHED,
    WARNING,
    Action,
    Finding,
)
from storpool_ovirt.engine import candidates, mapping, moments, records, settlement


def of_moments(view: survey.View) -> Iterator[Finding]:
    """Yield the snapshots that nobody takes up any more, and the moments that nobody ends."""
    for record in view.records.values():
        found = of_row(view, record)
        if found is not None:
            yield found
    for moment in view.moments.values():
        found = of_moment(view, moment)
        if found is not None:
            yield found


def of_row(view: survey.View, record: records.Record) -> Finding | None:
    """Return the finding on one such snapshot; None for any other row, while its moment or anything
    on its disk may still go on, and where it is missing and `drift.py` tells of that."""
    if not rows_seen.is_reserved(record) or record.root in view.busy or not view.here(record):
        return None
    node = record.node
    moment = view.moments.get(node.moment or 0)
    age_seconds = age_of(view, record)
    thing = view.things.get(node.global_id or "")
    if not is_over(view, node.moment, age_seconds):
        return None
    if thing is None:
        return _gone(record, age_seconds) if is_gone(view, record) else None
    found = findings.of_node(
        node,
        kind=RESERVED,
        severity=INFO,
        what=findings.named(node.kind, node.uuid, thing),
        cause=_cause(view, moment, thing.global_id),
        mend=f"storpool-ovirt reconcile{_or_snapshot(moment)} deletes it",
        age_seconds=age_seconds,
        action=Action(DISCARD, node.uuid, node.root, thing.global_id),
    )
    if view.images is not None and node.uuid in view.images:
        return findings.with_step(
            found,
            WARNING,
            f"{found.cause}; but Engine's own database has it: a database was restored",
            "storpool-ovirt reconcile notes that oVirt has it",
            Action(KEEP, node.uuid, node.root, thing.global_id),
        )
    doubt = _doubt(view, record)
    if doubt:
        return findings.with_step(
            found,
            WARNING,
            f"{found.cause}; but {doubt}",
            f"does oVirt list it? if so, storpool-ovirt reconcile --keep {node.uuid} notes that; if"
            f" not, storpool-ovirt reconcile --remove {node.uuid} deletes it",
        )
    return found


def of_moment(view: survey.View, moment: moments.Moment) -> Finding | None:
    """Return the finding on a moment that nobody ends; None for any other, and while it may still
    go on."""
    if moment.state != moments.BEGUN or not is_over(view, moment.id, moment.age_seconds):
        return None
    return _begun(view, moment)


def age_of(view: survey.View, record: records.Record) -> float | None:
    """Return how long ago the moment of such a snapshot was; where that has no row, how old the
    snapshot's is."""
    moment = view.moments.get(record.node.moment or 0)
    return moment.age_seconds if moment is not None else record.age_seconds


def is_gone(view: survey.View, record: records.Record) -> bool:
    """Return whether nothing is left of such a snapshot but a row that nobody needs: its delete
    died half-way."""
    node = record.node
    is_lost = node.global_id not in view.things and not view.candidates(node).best
    return (
        node.reserved
        and is_lost
        and not (view.unseen or node.global_id in view.moved)
        and not (_is_known(view, node) or _is_restored(view, node))
    )


def is_over(view: survey.View, number: int | None, age_seconds: float | None) -> bool:
    """Return whether no verb can take up a snapshot of this moment any more: it is older than that
    is allowed, and no verb is at work on any of its disks' snapshots."""
    if age_seconds is None or not age_seconds > moments.CLAIM_SECONDS:
        return False
    return number not in view.live_moments


def _is_restored(view: survey.View, node: mapping.Node) -> bool:
    moment = view.moments.get(node.moment or 0)
    return moment is None or not moment.proved


def _is_known(view: survey.View, node: mapping.Node) -> bool:
    """Return whether somebody has asked for a snapshot by its id, or Engine's database has it."""
    return node.connected or node.uuid in (view.images or ()) or node.uuid in view.sources


def _doubt(view: survey.View, record: records.Record) -> str:
    """Return why somebody may know a snapshot all the same; "" where nothing says so."""
    node = record.node
    thing = view.things[node.global_id or ""]
    if _is_restored(view, node):
        return "its row comes from a restored backup, and proves nothing"
    if _is_known(view, node):
        return "it was asked for by its id"
    if view.unmapped:
        return "there are objects that nobody explains: was the database restored?"
    if view.attachments_of(thing.global_id, thing.name):
        return "a host has it attached"
    if candidates.wrong_tags(thing, node, view.location):
        return "its tags were changed"
    is_alone = died.is_alone(view, thing)
    return _doubt_of_age(view, record) if is_alone else "something was made of it"


def _doubt_of_age(view: survey.View, record: records.Record) -> str:
    """Return why an old row proves nothing; "" for one that does.

    An image of the server that was put back has the same marks as before. So of what is old
    Engine's own database has to say that it has the volume, and not the snapshot, as for the VM's
    next snapshot.
    """
    if (age_of(view, record) or 0.0) <= settlement.FRESH_SECONDS:
        return ""
    if view.images is None:
        return "it is old, and Engine's own database, which would tell, cannot be read here"
    if record.source not in view.images:
        return "it is old, and Engine's own database does not have its disk"
    return ""


def _gone(record: records.Record, age_seconds: float | None) -> Finding:
    node = record.node
    return findings.of_node(
        node,
        kind=GHOST,
        severity=INFO,
        what=f"{node.kind} {node.uuid} (~{node.global_id})",
        cause="no verb gave it to oVirt, and StorPool does not have it: its delete died half-way",
        mend="storpool-ovirt reconcile forgets it",
        age_seconds=age_seconds,
        action=Action(DISCARD, node.uuid, node.root, node.global_id or ""),
    )


def _or_snapshot(moment: moments.Moment | None) -> str:
    is_looked_for = moment is not None and bool(moment.vm) and moment.proved
    return ", or the VM's next snapshot of this disk with others," if is_looked_for else ""


def _cause(view: survey.View, moment: moments.Moment | None, global_id: str) -> str:
    vm = f"VM {moment.vm}" if moment is not None and moment.vm else "its VM"
    request = f" (request {moment.key})" if moment is not None and moment.key else ""
    freed = view.freed.get(global_id)
    space = f"; without it at least {findings.gib(freed)} were free" if freed is not None else ""
    return (
        f"it was made at one moment with those of other disks of {vm}{request}, and no verb asked"
        f" for it: the disk was left out of that snapshot in oVirt, or Engine gave up{space}"
    )


def _begun(view: survey.View, moment: moments.Moment) -> Finding:
    """Return the finding on a moment of which nobody wrote whether it was made."""
    left = moment.id in view.row_moments
    number = len(moment.volumes)
    return Finding(
        kind=UNFINISHED,
        severity=INFO,
        what=f"moment {moment.mark or moment.id} of VM {moment.vm}",
        uuid="",
        disk="",
        cause=(
            f"the request {moment.key} died while it made the snapshots of {number} disks, and"
            " oVirt was told that it failed"
        ),
        mend=(
            "storpool-ovirt reconcile takes its snapshots back, and then notes that it failed"
            if left
            else "storpool-ovirt reconcile notes that it failed"
        ),
        age_seconds=moment.age_seconds,
        action=Action(END, "", "", number=moment.id),
    )
