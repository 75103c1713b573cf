"""Where the mapping, the cluster and the hosts have drifted apart: the part of the audit that looks at things."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import api, findings, journal, mapping, names, truths
from storpool_ovirt.findings import (
    ATTACHMENT,
    CRITICAL,
    DETACH,
    FOREIGN,
    GHOST,
    INFO,
    RESIZE,
    RETAG,
    SIZE,
    TAGS,
    UNFINISHED,
    UNMAPPED,
    WARNING,
    Action,
    Finding,
)

GIB = 1 << 30


def of_rows(view: truths.View) -> Iterator[Finding]:
    """Yield rows without the right object."""
    pending = {each.disk for each in view.operations if each.is_open}
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
    what = findings.named(node.kind, node.uuid, thing)
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


def of_objects(view: truths.View) -> Iterator[Finding]:
    """Yield objects without a row."""
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
    return Finding(UNMAPPED, severity, findings.named(thing.kind, uuid, thing), uuid, root, cause, mend, age_seconds)


def _foreign(view: truths.View, uuid: str, thing: api.Volume) -> Finding | None:
    """What has a name of ours and is another's: told only where it takes the place of ours, or belongs to nobody."""
    owner = thing.tags.get(names.TAG_LOCATION)
    taken = uuid in view.records
    if not taken and owner:
        return None  # another Engine's disk in a cluster that both use
    why = f"belongs to the Engine of location {owner}" if owner else "carries no location"
    return Finding(
        FOREIGN, WARNING if taken else INFO, findings.named(thing.kind, uuid, thing), uuid, uuid,
        f"it has a name of ours, but {why}" + (", and the mapping has this id" if taken else ""),
        "nothing here touches it; rename or delete it with the StorPool CLI if it is not needed",
        max(0.0, view.now - thing.created_at),
    )  # fmt: skip


def of_attachments(view: truths.View) -> Iterator[Finding]:
    """Yield what hosts have and should not, or may have for no reason."""
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
        if view.clients.get(each.client_id, api.DOWN) == api.DOWN:
            yield Finding(
                ATTACHMENT, WARNING, what, node.uuid, node.root,
                f"client {each.client_id} has it attached and is down",
                f"bring the host with SP_OURID={each.client_id} back; if it is lost for good, make sure that it is off,"
                f" then storpool-ovirt fence-host {each.client_id}",
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


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:g} GiB"
