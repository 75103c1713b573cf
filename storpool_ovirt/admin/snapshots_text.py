"""What the administrator reads of a listing of snapshots: short lines for people, JSON for
programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storpool_ovirt import sentences
from storpool_ovirt.admin import findings, lazily, snapshots, times

_LACKING_SHOWN = 5
WHERE_VM_IDS_ARE = "a VM's id is in its details in WebAdmin (General, VM ID)"


def text(found: snapshots.Listing, now: float) -> Iterator[str]:
    """Yield the lines of a listing; `now` in seconds since 1970."""
    yield from _head(found)
    from storpool_ovirt.admin import columns  # its library is for people: --json does without

    with_space = any(each.freed_bytes is not None for each in _members(found))
    rows = columns.lines(
        lazily.Each(lambda: (_facts(each, with_space) for each in _members(found)))
    )
    for group in found.groups:
        yield ""
        yield from _title(group, now)
        for _ in group.members:
            yield f"  {next(rows)}"
        for each in group.others:
            yield f"  {next(rows)}  {_when(each.made_at, now)}, made alone"
    if found.singles:
        yield ""
        yield "of one disk each, with no other disk of the same moment"
    for each in found.singles:
        when = _when(each.made_at, now)
        yield f"  {next(rows)}  {when}{f'  VM {each.vm}' if each.vm else ''}"


def document(found: snapshots.Listing, now: float) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    return {
        "api": found.api_address,
        "database": found.database,
        "location": found.location,
        "vm": found.vm or None,
        "looked_at": times.stamp(now),
        "elsewhere": found.elsewhere,
        "missing": found.missing,
        "groups": lazily.Each(lambda: map(_group, found.groups)),
        "singles": lazily.Each(lambda: map(_single, found.singles)),
    }


def _members(found: snapshots.Listing) -> Iterator[snapshots.Member]:
    for group in found.groups:
        yield from group.members
        yield from group.others
    yield from found.singles


def _group(each: snapshots.Group) -> dict[str, Any]:
    return {
        "vm": each.moment.vm or None,
        "at": times.stamp(each.at),
        "consistency": each.consistency,
        "mark": each.moment.mark or None,
        "correlation_id": each.moment.key or None,
        "action": each.moment.action or None,
        "note": each.moment.note or None,
        "lacking": list(each.lacking),
        "members": [_object(member) for member in each.members],
        "others": [{"vm": other.vm or None, **_object(other)} for other in each.others],
    }


def _single(each: snapshots.Member) -> dict[str, Any]:
    return {"vm": each.vm or None, "consistency": snapshots.DISK, **_object(each)}


def _head(found: snapshots.Listing) -> Iterator[str]:
    yield (f"StorPool API {found.api_address}, mapping {found.database}, location {found.location}")
    if found.vm and not (found.groups or found.singles):
        yield f"no snapshot of VM {found.vm} is known: {WHERE_VM_IDS_ARE}"
        return
    made = [each for each in found.groups if each.is_there]
    groups = sentences.counted(len(made), "moment of several disks", "moments of several disks")
    members = sentences.counted(sum(len(each.members) for each in made), "snapshot")
    alone = len(found.singles) + sum(len(each.others) for each in found.groups)
    singles = sentences.counted(alone, "snapshot of one disk", "snapshots of one disk")
    yield f"{groups} with {members}, {singles}{''.join(_not_made(found))}"
    if found.missing:
        yield sentences.counted(
            found.missing,
            "snapshot is missing in StorPool: storpool-ovirt audit",
            "snapshots are missing in StorPool: storpool-ovirt audit",
        )
    if found.elsewhere:
        yield sentences.counted(
            found.elsewhere,
            "snapshot lives in another cluster: give the options of its domain",
            "snapshots live in other clusters: give the options of their domain",
        )


def _not_made(found: snapshots.Listing) -> Iterator[str]:
    failed = [each for each in found.groups if each.consistency == snapshots.FAILED]
    left = sum(len(each.members) for each in failed)
    if failed:
        yield f", {sentences.counted(len(failed), 'failed moment')}"
    if left:
        yield f" with {sentences.counted(left, 'snapshot')} left"
    making = sum(each.consistency == snapshots.MAKING for each in found.groups)
    if making:
        moments = sentences.counted(making, "moment")
        yield f", {moments} being made"


def _title(group: snapshots.Group, now: float) -> Iterator[str]:
    moment = group.moment
    vm = f"VM {moment.vm or 'unknown'}"
    yield f"{vm}, {_when(group.at, now)}: {_consistency(group)}"
    request = f"request {moment.key}" if moment.key else "made again from the tags"
    yield f"  {request}, {moment.mark}" if moment.mark else f"  {request}"


def _consistency(group: snapshots.Group) -> str:
    return "; ".join((_own(group), *_besides(group)))


def _own(group: snapshots.Group) -> str:
    moment = group.moment
    disks = sentences.counted(len(moment.volumes), "disk")
    if group.consistency == snapshots.MAKING:
        return f"{disks}, being made right now"
    if group.consistency == snapshots.FAILED:
        return f"FAILED, and oVirt was told so: {moment.note or 'its process died'}"
    missing = sum(each.is_missing for each in group.members)
    claimed = sum(each.claimed for each in group.members)
    given = "" if claimed == len(group.members) else f", {claimed} given to oVirt"
    if missing:
        there = len(group.members) - missing
        return f"INCOMPLETE, {there} of {disks} at one moment, {missing} missing in StorPool{given}"
    if not group.lacking:
        return f"{disks} at one moment{given}"
    named = ", ".join(group.lacking[:_LACKING_SHOWN])
    more = len(group.lacking) - _LACKING_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"{len(group.members)} of {disks} left of one moment, none any more of {named}{rest}{given}"
    )


def _besides(group: snapshots.Group) -> Iterator[str]:
    """Yield which disks of the same request are not of this moment."""
    if group.others:
        disks = sentences.counted(len(group.others), "disk")
        yield f"+{disks} of the same request, at another moment"
    if group.is_there and group.moment.note:
        yield f"not of this moment: {group.moment.note}"


def _facts(each: snapshots.Member, with_space: bool) -> tuple[str, ...]:
    state = (
        "MISSING in StorPool"
        if each.is_missing
        else "given to oVirt"
        if each.claimed
        else "NOT GIVEN to oVirt"
    )
    freed = "-" if each.freed_bytes is None else f"frees {findings.gib(each.freed_bytes)}"
    return (
        f"disk {each.disk}",
        f"snapshot {each.uuid}",
        f"~{each.global_id}",
        findings.gib(each.size_bytes),
        *([freed] if with_space else []),
        state,
    )


def _when(at: float | None, now: float) -> str:
    return "-" if at is None else times.when(at, now)


def _object(each: snapshots.Member) -> dict[str, Any]:
    return {
        "snapshot": each.uuid,
        "disk": each.disk,
        "volume": each.volume,
        "global_id": each.global_id or None,
        "size_bytes": each.size_bytes,
        "freed_bytes": each.freed_bytes,
        "claimed": each.claimed,
        "missing": each.is_missing,
        "at": None if each.made_at is None else times.stamp(each.made_at),
    }
