"""The audit: where mapping, cluster and hosts do not agree, since when, why, and what mends it.

It changes nothing.  What it can prove from the journal (an object whose id Engine never learnt) it offers to
`storpool-ovirt reconcile`; what only somebody who knows Engine can decide it leaves to that person, with both
commands: an object without a row may be a left-over, or the only copy of a disk whose database was restored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import api, journal, mapping, names, truths

GIB = 1 << 30
# What is younger may still be under way: a request that was sent by a dead process, a disk between two calls of Engine.
GRACE_SECONDS = 900.0

LEAK, UNDELIVERED, UNFINISHED, UNMAPPED = "leak", "undelivered answer", "unfinished", "unmapped"
GHOST, ATTACHMENT, TAGS, SIZE, FOREIGN, CLUSTER = (
    "ghost", "stale attachment", "tag drift", "size drift", "foreign", "wrong cluster",
)  # fmt: skip
INFO, WARNING, CRITICAL = "info", "warning", "critical"


class Action(NamedTuple):
    """What reconcile can do: SETTLE an operation, DELETE an object, DETACH it, write its TAGS or its row's SIZE."""

    kind: str
    uuid: str
    disk: str
    global_id: str = ""
    number: int = 0


SETTLE, DELETE, DETACH, RETAG, RESIZE = "settle", "delete", "detach", "retag", "resize"


@dataclass(frozen=True)
class Finding:
    """One disagreement.  `mend` is the step for a person; `action` what reconcile does, where it can be sure."""

    kind: str
    severity: str
    what: str
    uuid: str
    disk: str
    cause: str
    mend: str
    age_seconds: float | None = None
    action: Action | None = None


@dataclass(frozen=True)
class Report:
    """All findings of one look, worst first, and what was looked at."""

    findings: tuple[Finding, ...]
    view: truths.View
    grace_seconds: float

    @property
    def severity(self) -> str:
        """The worst of all findings; info when there is none."""
        found = {each.severity for each in self.findings}
        return next((each for each in (CRITICAL, WARNING) if each in found), INFO)


def report(view: truths.View, grace_seconds: float = GRACE_SECONDS) -> Report:
    """Compare what was seen."""
    stranger = _wrong_cluster(view)
    found = [stranger] if stranger else [*_operations(view), *_rows(view), *_objects(view), *_attachments(view)]
    order = (CRITICAL, WARNING, INFO)
    found.sort(key=lambda each: (order.index(each.severity), each.kind, each.disk, each.uuid))
    return Report(tuple(found), view, grace_seconds)


def is_old(finding: Finding, grace_seconds: float) -> bool:
    """Tell whether a finding is past the grace period; what has no age is as old as it looks."""
    return finding.age_seconds is None or finding.age_seconds >= grace_seconds


def _wrong_cluster(view: truths.View) -> Finding | None:
    """Return the one finding when not a single object of ours is there: then nothing else means anything."""
    live = [record.node for record in view.records.values() if record.node.state == mapping.LIVE]
    known = {node.global_id for node in live}
    if len(live) < 2 or known & view.things.keys() or view.ours:
        return None
    return Finding(
        CLUSTER, CRITICAL, f"the StorPool cluster at {view.api_address}", "", "",
        f"none of the {len(live)} objects of the mapping is there, and nothing carries our location {view.location}",
        "check sp_api_http_host and sp_cluster_id, and that this is the mapping database of this Engine",
    )  # fmt: skip


# What operations left


def _operations(view: truths.View) -> Iterator[Finding]:
    for operation in view.operations:
        if operation.disk not in view.busy:
            found = _made(view, operation) if operation.kind == journal.MAKE else _changed(view, operation)
            if found is not None:
                yield found


def _made(view: truths.View, operation: journal.Operation) -> Finding | None:
    """What was to be made: a disk, a snapshot or a preview that Engine does not know of."""
    record = view.records.get(operation.node)
    thing = _thing_of(view, operation.node, record)
    if operation.state == journal.UNDONE and (thing is None or record is not None):
        return None
    kind, severity = LEAK, WARNING
    why = _ending(operation)
    if record is not None and _is_used(view, record.node, operation):
        kind, severity, why = UNFINISHED, INFO, f"{why}; the disk is in use all the same"
    elif operation.state in (journal.DONE, journal.UNDELIVERED):
        kind = UNDELIVERED
    elif thing is None:
        kind = UNFINISHED
    what = _named(str(operation.plan.get("kind", "object")), operation.node, thing)
    action = Action(SETTLE, operation.node, operation.disk, number=operation.id)
    if operation.state == journal.UNDONE and thing is not None:
        why += ", was taken back, and took effect after that all the same"
        action = Action(DELETE, operation.node, operation.disk, thing.global_id, operation.id)
    if thing is None and operation.plan.get("api", view.api_address) != view.api_address:
        where = f"it went to the StorPool API at {operation.plan['api']}, not to this one"
        mend = (
            "if that is another cluster, audit it with the options of its domain; else"
            f" storpool-ovirt reconcile --remove {operation.node} forgets it"
        )
        return Finding(kind, INFO, what, operation.node, operation.disk, f"{why}; {where}", mend, operation.age_seconds)
    mend = "storpool-ovirt reconcile" + (" deletes it" if thing is not None else " forgets it")
    if severity == INFO or not operation.proved:
        mend = "storpool-ovirt reconcile closes the entry"
    return Finding(kind, severity, what, operation.node, operation.disk, why, mend, operation.age_seconds, action)


def _changed(view: truths.View, operation: journal.Operation) -> Finding | None:
    """What was to grow or to go."""
    if operation.state == journal.UNDONE:
        return None
    record = view.records.get(operation.node)
    kind = record.node.kind if record is not None else "disk" if operation.node == operation.disk else "object"
    action = Action(SETTLE, operation.node, operation.disk, number=operation.id)
    facts = (f"{kind} {operation.node}", operation.node, operation.disk, _ending(operation))
    if operation.state in (journal.DONE, journal.UNDELIVERED):
        again = "extend it in oVirt once more" if operation.kind == journal.GROW else "delete it in oVirt once more"
        mend = f"{again}, so that Engine shows what is true; storpool-ovirt reconcile closes the entry"
        return Finding(UNDELIVERED, INFO, *facts, mend, operation.age_seconds, action)
    mend = "repeat it in oVirt; or storpool-ovirt reconcile, which " + (
        "reads the size" if operation.kind == journal.GROW
        else "keeps what StorPool still has, or ends the delete where the disk has lost its volume"
    )  # fmt: skip
    return Finding(UNFINISHED, WARNING, *facts, mend, operation.age_seconds, action)


def _ending(operation: journal.Operation) -> str:
    """Tell in words who did what and how it ended."""
    who = str(operation) if operation.arguments else f"a {operation}"
    ending = {
        journal.RUNNING: "died before it knew the result",
        journal.FAILED: f"failed without knowing the result: {operation.note}",
        journal.DONE: "did its work and died before Engine had the answer",
        journal.UNDELIVERED: "did its work, but nobody read the answer",
        journal.UNDONE: "died",
    }[operation.state]
    restored = "" if operation.proved else " (the entry comes from a restored backup and proves nothing)"
    return f"{who}{restored} {ending}"


def _is_used(view: truths.View, node: mapping.Node, operation: journal.Operation) -> bool:
    """Tell whether Engine has used the object since, so that it knows it (`recovery.settle` has the same rule)."""
    return (
        not operation.proved
        or node.connected
        or (operation.node == operation.disk and len(view.tree(operation.disk)) > 1)
    )


# Rows without the right object


def _rows(view: truths.View) -> Iterator[Finding]:
    pending = {each.disk for each in view.operations if each.state != journal.UNDONE}
    for record in view.records.values():
        node = record.node
        if node.state != mapping.LIVE or node.root in view.busy | pending or not view.here(node):
            continue
        thing = view.things.get(node.global_id or "")
        if thing is None:
            yield _ghost(record)
            continue
        yield from _drifts(view, record, thing)


def _ghost(record: mapping.Record) -> Finding:
    node = record.node
    return Finding(
        GHOST, CRITICAL if node.kind == "volume" else WARNING, f"{node.kind} {node.uuid} (~{node.global_id})",
        node.uuid, node.root,
        f"StorPool does not have it any more; it was made by the request {record.correlation_id}",
        "was it deleted by hand? if StorPool's trash still has it, restore it there; else delete the disk or the"
        f" snapshot in oVirt, or storpool-ovirt reconcile --remove {node.uuid} forgets it",
        record.age_seconds,
    )  # fmt: skip


def _drifts(view: truths.View, record: mapping.Record, thing: api.Volume) -> Iterator[Finding]:
    node = record.node
    what = _named(node.kind, node.uuid, thing)
    wanted = names.tags(node.uuid, view.location, node.root)
    wrong = sorted(key for key, value in wanted.items() if thing.tags.get(key) != value)
    if wrong:
        mine = thing.tags.get(names.TAG_LOCATION) == view.location
        mine = mine and thing.tags.get(names.TAG_UUID, node.uuid) == node.uuid
        yield Finding(
            TAGS, WARNING, what, node.uuid, node.root, f"somebody changed its tags ({', '.join(wrong)})",
            "storpool-ovirt reconcile writes them again" if mine else
            f"if it is this Engine's disk: set {', '.join(f'{key}={value}' for key, value in wanted.items())} with the"
            f" StorPool CLI on ~{thing.global_id}; until then no verb touches it",
            record.age_seconds, Action(RETAG, node.uuid, node.root, thing.global_id) if mine else None,
        )  # fmt: skip
    if thing.name != names.object_name(node.uuid):
        yield Finding(
            TAGS, INFO, what, node.uuid, node.root, f"somebody renamed it to {names.shown(thing.name)}",
            f"rename ~{thing.global_id} to {names.object_name(node.uuid)} with the StorPool CLI: a lost answer is found"
            " by its name", record.age_seconds,
        )  # fmt: skip
    if thing.size_bytes != node.size_bytes:
        yield Finding(
            SIZE, WARNING, what, node.uuid, node.root,
            f"it has {_gib(thing.size_bytes)}, the mapping says {_gib(node.size_bytes)}: it was resized by hand",
            "storpool-ovirt reconcile writes the size in the mapping; extend the disk in oVirt to what it has, so that"
            " Engine shows it too", record.age_seconds, Action(RESIZE, node.uuid, node.root, thing.global_id),
        )  # fmt: skip


# Objects without a row


def _objects(view: truths.View) -> Iterator[Finding]:
    mapped = {record.node.global_id for record in view.records.values()}
    journaled = {each.node for each in view.operations if each.kind == journal.MAKE}
    for uuid, things in view.ours.items():
        root = next((each.tags.get(names.TAG_ROOT, uuid) for each in things), uuid)
        if root in view.busy or (uuid in journaled and uuid not in view.records):
            continue
        for thing in things:
            planned = uuid in view.records and view.records[uuid].node.global_id is None
            if thing.global_id not in mapped and not planned:
                yield _unmapped(view, uuid, root, thing)
    for thing in view.things.values():
        uuid = names.uuid_of(thing.name) or ""
        if uuid and thing.global_id not in mapped and thing.tags.get(names.TAG_LOCATION) != view.location:
            found = _foreign(view, uuid, thing)
            if found is not None:
                yield found


def _unmapped(view: truths.View, uuid: str, root: str, thing: api.Volume) -> Finding:
    twice = uuid in view.records
    cause = "the mapping has another object for this id" if twice else (
        "it carries our tags, but the mapping does not know it: the database was restored from an older backup, or"
        " it was copied by hand"
    )  # fmt: skip
    mend = f"storpool-ovirt reconcile --remove ~{thing.global_id} deletes it, if it is not needed"
    if not twice:
        mend = f"storpool-ovirt rebuild takes it into the mapping, if oVirt still has the disk; else {mend}"
    return Finding(UNMAPPED, CRITICAL if twice else WARNING, _named(thing.kind, uuid, thing), uuid, root, cause, mend,
                   max(0.0, view.now - thing.created_at))  # fmt: skip


def _foreign(view: truths.View, uuid: str, thing: api.Volume) -> Finding | None:
    """What has a name of ours and is another's: told only where it takes the place of ours, or belongs to nobody."""
    owner = thing.tags.get(names.TAG_LOCATION)
    taken = uuid in view.records
    if not taken and owner:
        return None  # another Engine's disk in a cluster that both use
    why = f"belongs to the Engine of location {owner}" if owner else "carries no location"
    return Finding(
        FOREIGN, WARNING if taken else INFO, _named(thing.kind, uuid, thing), uuid, uuid,
        f"it has a name of ours, but {why}" + (", and the mapping has this id" if taken else ""),
        "nothing here touches it; rename or delete it with the StorPool CLI if it is not needed",
        max(0.0, view.now - thing.created_at),
    )  # fmt: skip


# Hosts


def _attachments(view: truths.View) -> Iterator[Finding]:
    for record in view.records.values():
        node = record.node
        if node.global_id is None or node.root in view.busy:
            continue
        held = view.holders(node.global_id, names.object_name(node.uuid))
        if held:
            yield from _held(view, record, held)


def _held(view: truths.View, record: mapping.Record, held: list[api.Attachment]) -> Iterator[Finding]:
    node = record.node
    what = f"{node.kind} {node.uuid} (~{node.global_id})"
    where = ", ".join(f"client {each.client_id}" for each in held)
    root = view.records.get(node.root)
    if node.kind == "volume" and root is not None and (root.node.active or node.root) != node.uuid:
        yield Finding(
            ATTACHMENT, WARNING, what, node.uuid, node.root,
            f"{where} has it attached, but the VM's volume is {root.node.active}",
            "storpool-ovirt reconcile detaches it where it is closed", None,
            Action(DETACH, node.uuid, node.root, node.global_id or ""),
        )  # fmt: skip
    for each in held:
        if view.clients.get(each.client_id, "down") == "down":
            yield Finding(
                ATTACHMENT, WARNING, what, node.uuid, node.root,
                f"client {each.client_id} has it attached and is down",
                f"bring the host with SP_OURID={each.client_id} back; if it is lost for good, make sure that it is off,"
                " then detach it there by force with the StorPool CLI",
            )  # fmt: skip
    if len([each for each in held if each.access_mode == "rw"]) > 1:
        yield Finding(
            ATTACHMENT, INFO, what, node.uuid, node.root,
            f"{where} have it attached: a migration under way, a shareable disk, or what a failed migration left",
            f"if it should not be so: storpool-ovirt reconcile --detach {node.uuid} detaches it where it is closed",
        )  # fmt: skip


# Words and look-ups


def _thing_of(view: truths.View, uuid: str, record: mapping.Record | None) -> api.Volume | None:
    if record is not None and record.node.global_id is not None:
        return view.things.get(record.node.global_id)
    return next(iter(view.ours.get(uuid, [])), None)


def _named(kind: str, uuid: str, thing: api.Volume | None) -> str:
    return f"{thing.kind} {uuid} (~{thing.global_id})" if thing is not None else f"{kind} {uuid}"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:g} GiB"
