"""Where the mapping, the cluster and the hosts have drifted apart: the part of the audit that looks
at things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from storpool_ovirt import names
from storpool_ovirt.admin import (
    findings,
    moment_rows,
    reserved,
    survey,
    times,
    trash_findings,
    trash_proof,
)
from storpool_ovirt.admin.findings import (
    CRITICAL,
    FOLLOW,
    GHOST,
    INFO,
    MOVED,
    RESIZE,
    RETAG,
    REVERTED,
    SIZE,
    TAGS,
    TRASH,
    UNFINISHED,
    WARNING,
    Action,
    Finding,
)
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, mapping, records


def of_rows(view: survey.View) -> Iterator[Finding]:
    """Yield rows without the right object."""
    left_out = view.busy | {each.disk for each in view.operations if each.is_open}
    for record in view.records.values():
        node = record.node
        if node.root in left_out or not view.here(node) or node.state == mapping.REMOVED:
            continue
        if node.state != mapping.LIVE:
            yield _astray(record)
            continue
        if node.root not in view.records:
            yield _rootless(record)
        if node.active is not None and node.active not in view.records:
            yield _inactive_root(record)
        yield from _of_object(view, record)


def _of_object(view: survey.View, record: records.Record) -> Iterator[Finding]:
    node = record.node
    dropped = view.in_trash.get(node.global_id or "")
    if dropped is not None:
        yield _dated(record, dropped)
        return
    thing = view.things.get(node.global_id or "")
    if thing is None:
        moved = _moved_away(view, record)
        if moved is not None or not reserved.is_gone(view, record):
            yield moved or _ghost(view, record)
        return
    if node.uuid in view.drifted:
        yield _reverted(view, record, thing)
    if thing.goes_at:
        yield _dated(record, thing)
    yield from _drifts(view, record, thing)


def _dated(record: records.Record, thing: api.Volume) -> Finding:
    """Return the finding on what is in use, and goes by itself."""
    node = record.node
    goes = f"StorPool deletes it at {times.stamp(thing.goes_at)} by itself" if thing.goes_at else ""
    where = f"it is in the trash, as {thing.name}" if trash_proof.is_marked(thing) else ""
    return findings.of_node(
        node,
        kind=TRASH,
        severity=CRITICAL,
        what=findings.named(node.kind, node.uuid, thing),
        cause=(
            f"{'; '.join(filter(None, (where, goes)))}; and the mapping has it in use: was the"
            " database restored from a backup, or did somebody give it a date?"
        ),
        mend=f"storpool-ovirt mend {node.uuid} takes it out of the trash, and the date away",
        age_seconds=record.age_seconds,
    )


def _reverted(view: survey.View, record: records.Record, thing: api.Volume) -> Finding:
    node = record.node
    return findings.of_node(
        node,
        kind=REVERTED,
        severity=WARNING,
        what=findings.named(node.kind, node.uuid, thing),
        cause=(
            f"the mapping has ~{view.drifted[node.uuid]} for it, which it was before a revert; its"
            " name, its tags and its visible id say that it is the same volume"
        ),
        mend="the next verb on it, or storpool-ovirt reconcile, writes its global id",
        action=Action(FOLLOW, node.uuid, node.root, thing.global_id),
    )


def _astray(record: records.Record) -> Finding:
    node = record.node
    return findings.of_node(
        node,
        kind=UNFINISHED,
        severity=WARNING,
        cause=f"its row is {node.state}, and nothing in the journal tells why",
        mend=(
            f"storpool-ovirt reconcile --remove {node.uuid} looks for the object, and keeps or"
            " forgets the row"
        ),
        age_seconds=record.age_seconds,
    )


def _rootless(record: records.Record) -> Finding:
    node = record.node
    return findings.of_node(
        node,
        kind=UNFINISHED,
        severity=WARNING,
        cause="the row of its disk is missing: a rebuild was interrupted",
        mend="storpool-ovirt rebuild",
        age_seconds=record.age_seconds,
    )


def _inactive_root(record: records.Record) -> Finding:
    node = record.node
    return findings.of_node(
        node,
        kind=UNFINISHED,
        severity=WARNING,
        cause=f"its VM's volume is told to be {node.active}, which the mapping does not know",
        mend="storpool-ovirt rebuild, or the next start of the VM, puts it right",
        age_seconds=record.age_seconds,
    )


def _moved_away(view: survey.View, record: records.Record) -> Finding | None:
    """Return the finding on what lives in another cluster of the name space, or may; None for what
    lives in none."""
    node = record.node
    where = view.moved.get(node.global_id or "")
    if where is None and not view.unseen:
        return None
    return findings.of_node(
        node,
        kind=MOVED,
        severity=WARNING,
        what=f"{node.kind} {node.uuid} (~{node.global_id})",
        cause=(
            f"it lives in StorPool cluster {where}, and the domain has no sp_multicluster"
            if where
            else f"it is not in this cluster, and the others could not be looked at: {view.unseen}"
        ),
        mend=(
            "move it back (VolumeAcquire), or add the domain with sp_multicluster"
            if where
            else "run the audit again when every cluster answers"
        ),
        age_seconds=record.age_seconds,
    )


def _ghost(view: survey.View, record: records.Record) -> Finding:
    node = record.node
    found = view.candidates(node).best
    cause, mend = _moved(node, found) if found else (_loss(view, record), _after_loss(view, node))
    return findings.of_node(
        node,
        kind=GHOST,
        severity=CRITICAL if node.kind == "volume" else WARNING,
        what=f"{node.kind} {node.uuid} (~{node.global_id})",
        cause=cause,
        mend=mend,
        age_seconds=record.age_seconds,
    )


def _moved(node: mapping.Node, found: tuple[api.Volume, ...]) -> tuple[str, str]:
    """Return cause and mend where something has the name or the tags of a lost object: it was
    reverted or restored by hand."""
    choice = "" if len(found) == 1 else " ~GLOBALID, with the id of the right one,"
    where = (
        "StorPool has it under another global id"
        if found[0].name == names.object_name(node.uuid)
        else (
            "StorPool does not have it under its name any more, and what carries its tags may be it"
        )
    )
    return (
        f"{where}: {candidates.those(found)}; it was reverted or restored by hand",
        f"storpool-ovirt mend {node.uuid}{choice} puts it right",
    )


def _loss(view: survey.View, record: records.Record) -> str:
    if record.uuid in view.late_deletes:
        return "a delete of it that had been taken back took effect after that"
    return f"StorPool does not have it any more; it was made by the request {record.correlation_id}"


def _after_loss(view: survey.View, node: mapping.Node) -> str:
    forgets = f"storpool-ovirt reconcile --remove {node.uuid} forgets"
    way_back = trash_findings.way_back(view, node.uuid)
    mend = (
        f"{way_back}; after that "
        if way_back
        else "was it deleted by hand? if StorPool's trash still has it, restore it there; else "
    )
    if node.kind == "snapshot":
        return f"{mend}delete the snapshot in oVirt, or {forgets} it"
    others = [
        each for each in view.tree(node.root) if each.kind == "volume" and each.uuid != node.uuid
    ]
    if others or node.root in view.unmapped:
        # The disk lives on in another volume: deleting it in oVirt would delete that one.
        return (
            f"{f'{way_back}; ' * bool(way_back)}the disk has other volumes, so do not delete it in"
            f" oVirt: storpool-ovirt rebuild, then {forgets} this one"
        )
    return f"{mend}delete the disk in oVirt, or {forgets} it"


def _drifts(view: survey.View, record: records.Record, thing: api.Volume) -> Iterator[Finding]:
    node = record.node
    what = findings.named(node.kind, node.uuid, thing)
    wrong = moment_rows.wrong_tags(thing, node, view.location, view.moments)
    if wrong:
        yield _tags(view, record, thing, wrong)
    if candidates.owner(thing, view.location):
        return  # whatever it is like, it is not ours to mend
    if thing.name != names.object_name(node.uuid):
        yield findings.of_node(
            node,
            kind=TAGS,
            severity=INFO,
            what=what,
            cause=(
                "it has no name"
                if names.kept_id(thing.name)
                else f"somebody renamed it to {names.shown(thing.name)}"
            ),
            mend=(
                f"storpool-ovirt mend {node.uuid} names it {names.object_name(node.uuid)} again: a"
                " lost answer is found by its name"
            ),
            age_seconds=record.age_seconds,
        )
    if thing.size_bytes != node.size_bytes:
        has, says = findings.gib(thing.size_bytes), findings.gib(node.size_bytes)
        yield findings.of_node(
            node,
            kind=SIZE,
            severity=WARNING,
            what=what,
            cause=(
                f"it has {has}, the mapping says {says}: it was resized, reverted or restored by"
                " hand, or by a request that came late"
            ),
            mend=(
                f"storpool-ovirt mend {node.uuid}, or reconcile, writes the size in the mapping;"
                " extend the disk in oVirt to what it has, so that Engine shows it too"
            ),
            age_seconds=record.age_seconds,
            action=Action(RESIZE, node.uuid, node.root, thing.global_id),
        )


def _tags(
    view: survey.View, record: records.Record, thing: api.Volume, wrong: Mapping[str, str]
) -> Finding:
    node = record.node
    mine = thing.tags.get(names.TAG_LOCATION) == view.location
    choice = ""
    if candidates.other_id(thing, node.uuid):
        mine, choice = False, f" ~{thing.global_id}"
    mend = f"storpool-ovirt mend {node.uuid}{choice} writes them again"
    other = candidates.owner(thing, view.location)
    if other:
        mine = False
        wanted = ", ".join(f"{key}={value}" for key, value in wrong.items())
        mend = (
            f"it belongs to {other} now; if it is this Engine's disk: set {wanted} with the"
            f" StorPool CLI on ~{thing.global_id}, then storpool-ovirt mend {node.uuid}; until then"
            " no verb touches it"
        )
    return findings.of_node(
        node,
        kind=TAGS,
        severity=WARNING,
        what=findings.named(node.kind, node.uuid, thing),
        cause=f"somebody changed its tags ({', '.join(sorted(wrong))})",
        mend=f"{mend}, and so does reconcile" if mine else mend,
        age_seconds=record.age_seconds,
        action=Action(RETAG, node.uuid, node.root, thing.global_id) if mine else None,
    )
