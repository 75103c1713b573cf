"""The audit: where mapping, cluster and hosts do not agree, since when, why, and what mends it.

It changes nothing.  What it can prove from the journal (an object whose id Engine never learnt) it offers to
`storpool-ovirt reconcile`; what only somebody who knows Engine can decide it leaves to that person, with both
commands: an object without a row may be a left-over, or the only copy of a disk whose database was restored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import api, journal, mapping, names, recovery, truths

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
    here = [node for node in live if view.here(node)]
    known = {node.global_id for node in here}
    if view.ours or known & view.things.keys() or (len(here) < 2 and (view.clusters or not live)):
        return None
    return Finding(
        CLUSTER, CRITICAL, f"the StorPool cluster at {view.api_address}", "", "",
        f"none of the {len(here or live)} objects of the mapping is there, and nothing carries our location"
        f" {view.location}",
        "check sp_api_http_host and sp_cluster_id, and that this is the mapping database of this Engine",
    )  # fmt: skip


# What operations left


def _operations(view: truths.View) -> Iterator[Finding]:
    for operation in view.operations:
        if operation.state != journal.UNDONE and operation.left_seconds < 0 and operation.is_alive():
            yield _hung(operation)
        elif operation.disk not in view.busy and _is_here(view, operation):
            found = _made(view, operation) if operation.kind == journal.MAKE else _changed(view, operation)
            if found is not None:
                yield found


def _is_here(view: truths.View, operation: journal.Operation) -> bool:
    cluster = operation.plan.get("cluster")
    return view.is_here(operation.disk) and (not cluster or not view.clusters or cluster in view.clusters)


def _hung(operation: journal.Operation) -> Finding:
    pid = operation.process.split(":")[1]
    return Finding(
        UNFINISHED, WARNING, f"disk {operation.disk}", operation.node, operation.disk,
        f"{operation} runs as process {pid} long after its time, and may hold the disk",
        f"look at process {pid} on Engine's machine; when it is killed, the next verb puts things right",
        operation.age_seconds,
    )  # fmt: skip


def _made(view: truths.View, operation: journal.Operation) -> Finding | None:
    """What was to be made: a disk, a snapshot or a preview that Engine does not know of."""
    record = view.records.get(operation.node)
    thing = _thing_of(view, operation.node, record)
    if operation.state == journal.UNDONE and (thing is None or record is not None or not operation.proved):
        return None
    kind, severity = LEAK, WARNING
    why = _ending(operation)
    if record is not None and recovery.is_known(view.tree(operation.disk), operation):
        kind, severity, why = UNFINISHED, INFO, f"{why}; it is in use all the same"
    elif operation.state in (journal.DONE, journal.UNDELIVERED):
        kind = UNDELIVERED
    elif thing is None:
        kind = UNFINISHED
    what = _named(str(operation.plan.get("kind", "object")), operation.node, thing)
    if thing is None and operation.plan.get("api", view.api_address) != view.api_address:
        where = f"it went to the StorPool API at {operation.plan['api']}, not to this one"
        mend = (
            "if that is another cluster, audit it with the options of its domain; else"
            f" storpool-ovirt reconcile --remove {operation.node} forgets it"
        )
        return Finding(kind, INFO, what, operation.node, operation.disk, f"{why}; {where}", mend, operation.age_seconds)
    action: Action | None = Action(SETTLE, operation.node, operation.disk, number=operation.id)
    if operation.state == journal.UNDONE and thing is not None:
        why += ", was taken back, and took effect after that all the same"
        action = Action(DELETE, operation.node, operation.disk, thing.global_id, operation.id)
    mend = "storpool-ovirt reconcile" + (" deletes it" if thing is not None else " forgets it")
    if severity == INFO:
        mend = "storpool-ovirt reconcile closes the entry"
    elif not operation.proved or (thing is not None and not is_alone(view, thing)):
        action = None
        mend = (
            f"does oVirt list it? if so, storpool-ovirt reconcile --keep {operation.node} closes the entry; if not,"
            f" storpool-ovirt reconcile --remove {operation.node} deletes it"
        )
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
    if operation.kind == journal.DROP and view.unmapped:
        mend = "repeat it in oVirt; storpool-ovirt reconcile does nothing while there are unmapped objects"
        return Finding(UNFINISHED, WARNING, *facts, mend, operation.age_seconds)
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


def is_alone(view: truths.View, thing: api.Volume) -> bool:
    """Tell whether nothing speaks for it that somebody has used the object since: else a person has to decide.

    Objects of ours that nobody explains are the sign of a database that is older than the cluster.
    """
    if view.unmapped:
        return False
    stands = (thing.name, f"~{thing.global_id}")
    # The volume that a snapshot was made of stands on it, and so do that volume's later snapshots.
    family = (thing.global_id, thing.made_from) if thing.kind == "snapshot" else (thing.global_id,)
    return not any(
        each.made_from == thing.global_id
        or (each.parent in stands and each.global_id not in family and each.made_from not in family[1:])
        for each in view.things.values()
    )


# Rows without the right object


def _rows(view: truths.View) -> Iterator[Finding]:
    pending = {each.disk for each in view.operations if each.state != journal.UNDONE}
    for record in view.records.values():
        node = record.node
        if node.root in view.busy | pending or not view.here(node) or node.state == mapping.REMOVED:
            continue
        if node.state != mapping.LIVE:
            yield _astray(record)
            continue
        if node.root not in view.records:
            yield _rootless(record)
        if node.active is not None and node.active not in view.records:
            yield _inactive_root(record)
        thing = view.things.get(node.global_id or "")
        if thing is None:
            yield _ghost(view, record)
            continue
        yield from _drifts(view, record, thing)


def _astray(record: mapping.Record) -> Finding:
    node = record.node
    return Finding(
        UNFINISHED, WARNING, f"{node.kind} {node.uuid}", node.uuid, node.root,
        f"its row is {node.state}, and nothing in the journal tells why",
        f"storpool-ovirt reconcile --remove {node.uuid} looks for the object, and keeps or forgets the row",
        record.age_seconds,
    )  # fmt: skip


def _rootless(record: mapping.Record) -> Finding:
    node = record.node
    return Finding(
        UNFINISHED, WARNING, f"{node.kind} {node.uuid}", node.uuid, node.root,
        "the row of its disk is missing: a rebuild was interrupted", "storpool-ovirt rebuild", record.age_seconds,
    )  # fmt: skip


def _inactive_root(record: mapping.Record) -> Finding:
    node = record.node
    return Finding(
        UNFINISHED, WARNING, f"{node.kind} {node.uuid}", node.uuid, node.root,
        f"its VM's volume is told to be {node.active}, which the mapping does not know",
        "storpool-ovirt rebuild, or the next start of the VM, puts it right", record.age_seconds,
    )  # fmt: skip


def _ghost(view: truths.View, record: mapping.Record) -> Finding:
    node = record.node
    late = any(
        each.kind == journal.DROP and each.state == journal.UNDONE and node.uuid in str(each.plan.get("nodes"))
        for each in view.operations
    )
    cause = "a delete of it that had been taken back took effect after that" if late else (
        f"StorPool does not have it any more; it was made by the request {record.correlation_id}"
    )  # fmt: skip
    others = [each for each in view.tree(node.root) if each.kind == "volume" and each.uuid != node.uuid]
    mend = "was it deleted by hand? if StorPool's trash still has it, restore it there; else "
    if node.kind == "snapshot":
        mend += f"delete the snapshot in oVirt, or storpool-ovirt reconcile --remove {node.uuid} forgets it"
    elif others or node.root in view.unmapped:
        # The disk lives on in another volume: deleting it in oVirt would delete that one.
        mend = (
            "the disk has other volumes, so do not delete it in oVirt: storpool-ovirt rebuild, then"
            f" storpool-ovirt reconcile --remove {node.uuid} forgets this one"
        )
    else:
        mend += f"delete the disk in oVirt, or storpool-ovirt reconcile --remove {node.uuid} forgets it"
    return Finding(
        GHOST, CRITICAL if node.kind == "volume" else WARNING, f"{node.kind} {node.uuid} (~{node.global_id})",
        node.uuid, node.root, cause, mend, record.age_seconds,
    )  # fmt: skip


def _drifts(view: truths.View, record: mapping.Record, thing: api.Volume) -> Iterator[Finding]:
    node = record.node
    what = _named(node.kind, node.uuid, thing)
    wanted = names.tags(node.uuid, view.location, node.root)
    wrong = sorted(key for key, value in wanted.items() if thing.tags.get(key) != value)
    if node.uuid == node.root and thing.tags.get(names.TAG_ROOT, node.root) not in ("", node.root):
        wrong.append(names.TAG_ROOT)
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
            f"it has {_gib(thing.size_bytes)}, the mapping says {_gib(node.size_bytes)}: it was resized"
            " by hand, or by a request that came late",
            "storpool-ovirt reconcile writes the size in the mapping; extend the disk in oVirt to what it has, so that"
            " Engine shows it too", record.age_seconds, Action(RESIZE, node.uuid, node.root, thing.global_id),
        )  # fmt: skip


# Objects without a row


def _objects(view: truths.View) -> Iterator[Finding]:
    mapped = {record.node.global_id for record in view.records.values()}
    for root, things in view.unmapped.items():
        for thing in things:
            yield _unmapped(view, thing.tags[names.TAG_UUID], root, thing)
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
    held = view.holders(thing.global_id, thing.name)
    if held:
        cause += f"; {', '.join(f'client {each.client_id}' for each in held)} has it attached"
    severity = CRITICAL if twice or held else WARNING
    age_seconds = max(0.0, view.now - thing.created_at)
    return Finding(UNMAPPED, severity, _named(thing.kind, uuid, thing), uuid, root, cause, mend, age_seconds)


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
        yield _inactive(view, node, what, where, str(root.node.active))
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


def _inactive(view: truths.View, node: mapping.Node, what: str, where: str, active: str) -> Finding:
    """A volume that is attached and is not the one that the VM writes; or the mapping is wrong about which that is."""
    record = view.records.get(active)
    other = record is not None and record.node.global_id is not None and view.holders(
        record.node.global_id, names.object_name(active))  # fmt: skip
    if other:
        return Finding(
            ATTACHMENT, WARNING, what, node.uuid, node.root,
            f"{where} has it attached, but the VM's volume is {active}",
            "storpool-ovirt reconcile detaches it where it is closed", None,
            Action(DETACH, node.uuid, node.root, node.global_id or ""),
        )  # fmt: skip
    return Finding(
        ATTACHMENT, INFO, what, node.uuid, node.root,
        f"{where} has it attached; the mapping takes {active} for the VM's volume, which no host has",
        "a copy left it attached, or the mapping is older than the cluster: the next connect_volume, or"
        " storpool-ovirt rebuild, puts it right",
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
