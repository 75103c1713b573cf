"""The trash as the audit sees it: what went before its time or does not go at its time, what
somebody changed or uses, what has no row; and a cluster that is nearly full.

That something went at its time is no finding: `reconcile` takes its row away.
"""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import names, sentences, trash_names
from storpool_ovirt.admin import findings, survey, times, trash_proof
from storpool_ovirt.admin.findings import FULL, INFO, PURGE, TRASH, WARNING, Action, Finding
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, fullness
from storpool_ovirt.engine import trash as entries

# The row's end is of the database's clock, StorPool's date of its own: as far apart as they may be
# with nobody's doing. StorPool deletes in the background, so that too may take so long.
APART_SECONDS = 3600.0


def of_trash(view: survey.View) -> Iterator[Finding]:
    """Yield what is wrong with the trash."""
    for entry in view.trash:
        if entry.disk not in view.busy and view.is_in_reach(entry.global_id):
            yield from _of_entry(view, entry)
    known = {each.global_id for each in view.trash}
    known |= {each.global_id for each in view.records.values() if each.global_id}  # `drift.py` has
    for thing in view.in_trash.values():
        if thing.global_id not in known and trash_proof.is_own(thing, view.location):
            found = _rowless(view, thing)
            if found.disk not in view.busy:
                yield found


def of_space(view: survey.View) -> Iterator[Finding]:
    """Yield the finding where StorPool has hardly any room left."""
    if view.full is None:
        return
    yield Finding(
        kind=FULL,
        severity=WARNING,
        what=f"template {view.full.name}",
        uuid="",
        disk="",
        cause=f"{fullness.said(view.full)}; VMs that write stop when nothing is left",
        mend=freeing(len({each.deletion for each in view.trash})),
    )


def freeing(deletions: int) -> str:
    """Return what frees space, where the trash has so many deletions."""
    if not deletions:
        return (
            "the trash is empty: storpool-ovirt space tells what takes it; a disk that is deleted"
            " now frees it once it is purged (storpool-ovirt trash purge)"
        )
    count = sentences.counted(deletions, "deletion")
    return (
        f"storpool-ovirt trash purge --oldest N frees what was deleted first ({count} in the trash:"
        " storpool-ovirt trash list)"
    )


def way_back(view: survey.View, uuid: str) -> str:
    """Return what gives a lost node's data back, as its newest copy in the trash has them; "" where
    the trash has none that can be restored."""
    known = {each.global_id: each for each in view.trash}
    for thing in view.dropped(uuid):
        entry, row = trash_names.entry_of(thing.name), known.get(thing.global_id)
        if entry is None or thing.dying or trash_names.mark_of(thing.tags) is None:
            continue
        if row is not None and (
            row.ends_at == entries.PURGED_AT or trash_proof.changed(row, thing, view.location)
        ):
            continue
        first = "" if row is not None else "storpool-ovirt rebuild, then "
        until = f" until {times.stamp(thing.goes_at)}" if thing.goes_at else ""
        return (
            f"the trash has it{until}, as it was at {times.stamp(thing.created_at)}:"
            f" {first}storpool-ovirt trash restore {entry} --into NEW gives that to a new disk"
        )
    return ""


def is_over(view: survey.View, entry: entries.Entry, grace_seconds: float) -> bool:
    """Return whether an entry's time is over since so long, and StorPool has nothing of it any
    more."""
    return (
        entry.ends_at <= view.now - grace_seconds
        and entry.disk not in view.busy
        and view.is_in_reach(entry.global_id)
        and entry.global_id not in view.in_trash
    )


def _of_entry(view: survey.View, entry: entries.Entry) -> Iterator[Finding]:
    there = view.in_trash.get(entry.global_id)
    if there is None:
        if entry.ends_at > view.now + APART_SECONDS:
            yield _gone(view, entry)
        return
    changed = trash_proof.changed(entry, there, view.location)
    if changed:
        yield _changed(view, entry, there, changed)
        return
    if entry.ends_at == entries.PURGED_AT:
        yield _half_purged(view, entry)
    elif not there.goes_at:
        yield _undated(view, entry)
    elif abs(there.goes_at - entry.ends_at) > APART_SECONDS:
        yield _redated(view, entry, there)
    elif view.now > there.goes_at + APART_SECONDS:
        yield _late(view, entry, there)
    held = view.attachments_of(there.global_id, there.name)
    if held:
        yield _attached(view, entry, held)


def _gone(view: survey.View, entry: entries.Entry) -> Finding:
    where = view.moved.get(entry.global_id)
    until = times.stamp(entry.ends_at)
    if where is not None or view.unseen:
        cause = (
            f"it lives in StorPool cluster {where}, and the domain has no sp_multicluster"
            if where
            else f"it is not in this cluster, and the others could not be looked at: {view.unseen}"
        )
        mend = "look at it with the options of that cluster's domain"
    else:
        cause = f"it was to be kept until {until}, and StorPool does not have it any more"
        mend = (
            "somebody deleted it, or changed its date: nothing brings it back; storpool-ovirt trash"
            f" purge {entry.entry} forgets the row"
        )
    return _finding(view, entry, WARNING, cause, mend)


def _changed(
    view: survey.View, entry: entries.Entry, there: api.Volume, changed: list[str]
) -> Finding:
    other = candidates.owner(there, view.location)
    return _finding(
        view,
        entry,
        WARNING,
        f"somebody changed its {', its '.join(changed)}; now it is {candidates.said(there)}",
        (
            f"it belongs to {other} now, and is neither restored nor purged"
            if other
            else f"storpool-ovirt trash restore {entry.entry} tells what it has to be like: until"
            " then it is neither restored nor purged"
        ),
    )


def _half_purged(view: survey.View, entry: entries.Entry) -> Finding:
    return _finding(
        view,
        entry,
        WARNING,
        "a purge of it died, or could not end",
        f"storpool-ovirt trash purge {entry.entry}, or storpool-ovirt reconcile, ends it",
        action=Action(PURGE, entry.entry, entry.disk, entry.global_id),
    )


def _undated(view: survey.View, entry: entries.Entry) -> Finding:
    return _finding(
        view,
        entry,
        WARNING,
        f"it was to go at {times.stamp(entry.ends_at)}, and StorPool has no date for it: it"
        " stays for ever",
        f"storpool-ovirt trash purge {entry.entry} when it is not needed, or set its"
        " targetDeleteDate in StorPool again",
    )


def _redated(view: survey.View, entry: entries.Entry, there: api.Volume) -> Finding:
    return _finding(
        view,
        entry,
        INFO,
        f"it was to go at {times.stamp(entry.ends_at)}, and StorPool's date for it is"
        f" {times.stamp(there.goes_at)}: somebody changed that",
        "nothing has to be done, if that was meant; StorPool's date counts",
    )


def _late(view: survey.View, entry: entries.Entry, there: api.Volume) -> Finding:
    return _finding(
        view,
        entry,
        WARNING,
        f"it was to go at {times.stamp(there.goes_at)}, and StorPool has not deleted it",
        f"storpool-ovirt trash purge {entry.entry} deletes it; see StorPool's management service",
    )


def _attached(view: survey.View, entry: entries.Entry, held: list[api.Attachment]) -> Finding:
    clients = names.clients({each.client_id for each in held})
    return _finding(
        view,
        entry,
        WARNING,
        f"{clients} has it attached: somebody reads it, and StorPool does not delete it meanwhile",
        "detach it there with the StorPool CLI, when nothing uses it; storpool-ovirt trash restore"
        " makes a disk of it",
    )


def _rowless(view: survey.View, thing: api.Volume) -> Finding:
    uuid = thing.tags.get(names.TAG_UUID, "")
    until = (
        f"StorPool deletes it at {times.stamp(thing.goes_at)}"
        if thing.goes_at
        else "StorPool has no date for it, so it stays for ever"
    )
    return Finding(
        kind=TRASH,
        severity=INFO if thing.goes_at else WARNING,
        what=findings.named(thing.kind, uuid, thing),
        uuid=uuid,
        disk=names.root_of(thing.tags) or uuid,
        cause=(
            "it is in the trash, and the mapping does not know it: its table was lost, or restored"
            f" from a backup; {until}"
        ),
        mend="storpool-ovirt rebuild takes it into the mapping, so that it can be restored",
        age_seconds=max(0.0, view.now - thing.created_at),
    )


def _finding(  # noqa: PLR0913  what a finding has, but for what its entry tells
    view: survey.View,
    entry: entries.Entry,
    severity: str,
    cause: str,
    mend: str,
    *,
    action: Action | None = None,
) -> Finding:
    return Finding(
        kind=TRASH,
        severity=severity,
        what=f"{entry.kind} {entry.node} (~{entry.global_id})",
        uuid=entry.node,
        disk=entry.disk,
        cause=cause,
        mend=mend,
        age_seconds=max(0.0, view.now - entry.deleted_at),
        action=action,
    )
