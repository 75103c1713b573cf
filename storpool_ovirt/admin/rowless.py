"""Objects without a row: of this Engine, of others with a copy of its tags, of others with a name
like ours."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import names
from storpool_ovirt.admin import findings, others, survey
from storpool_ovirt.admin.findings import CRITICAL, FOREIGN, INFO, UNMAPPED, WARNING, Finding
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates


def of_objects(view: survey.View) -> Iterator[Finding]:
    """Yield objects without a row."""
    for root, things in view.unmapped.items():
        for thing in things:
            yield _unmapped(view, thing.tags[names.TAG_UUID], root, thing)
    yield from others.of_view(view)
    for thing in view.things.values():
        uuid = names.uuid_of(thing.name) or ""
        tagged = thing.tags.get(names.TAG_UUID, "")
        if (
            uuid
            and not view.is_mapped(thing.global_id)
            and not names.is_ours(thing.tags, tagged, view.location)
        ):
            found = _foreign(view, uuid, thing)
            if found is not None:
                yield found


def _unmapped(view: survey.View, uuid: str, root: str, thing: api.Volume) -> Finding:
    removes = (
        f"storpool-ovirt reconcile --remove ~{thing.global_id} deletes it, if it is not needed"
    )
    record = view.records.get(uuid)
    if record is None:
        cause = (
            "it carries our tags, but the mapping does not know it: the database was restored from"
            " an older backup, or it was copied by hand"
        )
        mend = (
            "storpool-ovirt rebuild takes it into the mapping, if oVirt still has the disk; else"
            f" {removes}"
        )
    elif record.node.global_id in view.things:
        cause = "the mapping has another object for this id"
        mend = (
            f"if this one is the disk: storpool-ovirt mend {uuid} ~{thing.global_id}; else"
            f" {removes}"
        )
    else:
        cause = "the mapping has another object for this id, which StorPool does not have any more"
        mend = f"storpool-ovirt mend {uuid} takes it for that one"
    held = view.attachments_of(thing.global_id, thing.name)
    if held:
        cause += f"; {', '.join(f'client {each.client_id}' for each in held)} has it attached"
    severity = CRITICAL if record is not None or held else WARNING
    age_seconds = max(0.0, view.now - thing.created_at)
    return Finding(
        kind=UNMAPPED,
        severity=severity,
        what=findings.named(thing.kind, uuid, thing),
        uuid=uuid,
        disk=root,
        cause=cause,
        mend=mend,
        age_seconds=age_seconds,
    )


def _foreign(view: survey.View, uuid: str, thing: api.Volume) -> Finding | None:
    """Return the finding on what has a name of ours and is another's.

    None where it neither takes the place of ours nor belongs to nobody.
    """
    other = candidates.owner(thing, view.location)
    record = view.records.get(uuid)
    if record is None and other:
        return None  # another Engine's disk in a cluster that both use
    mend = "nothing here touches it; rename or delete it with the StorPool CLI if it is not needed"
    if record is not None and not other:
        choice = f" ~{thing.global_id}" if record.node.global_id in view.things else ""
        mend = (
            f"if it is the disk, reverted or restored by hand: storpool-ovirt mend {uuid}{choice};"
            f" else {mend}"
        )
    lacks = (
        "no location"
        if names.TAG_LOCATION not in thing.tags
        else f"not the tags of this Engine ({view.location})"
    )
    why = f"belongs to {other}" if other else f"carries {lacks}"
    return Finding(
        kind=FOREIGN,
        severity=WARNING if record is not None else INFO,
        what=findings.named(thing.kind, uuid, thing),
        uuid=uuid,
        disk=uuid,
        cause=f"it has a name of ours, but {why}"
        + (", and the mapping has this id" if record is not None else ""),
        mend=mend,
        age_seconds=max(0.0, view.now - thing.created_at),
    )
