"""What the administrator reads of a listing of attachments: short lines for people, JSON for
programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from storpool_ovirt import sentences
from storpool_ovirt.admin import entries, listing, times
from storpool_ovirt.cluster import api
from storpool_ovirt.host import openers

_OPEN = {True: "open", False: "closed", None: "unknown"}


def text(found: listing.Listing, now: float) -> Iterator[str]:
    """Yield the lines of a listing; `now` in seconds since 1970."""
    yield from _head(found)
    from storpool_ovirt.admin import columns  # its library is for people: --json does without

    facts = columns.lines([_facts(found, each, now) for each in found.entries])
    for thing, group in itertools.groupby(found.entries, key=lambda each: each.thing):
        rows = list(group)
        yield ""
        yield _title(thing, rows)
        for each in rows:
            yield f"  {next(facts)}"
            yield f"      {each.purpose.text}"
    yield from _tail(found)


def document(found: listing.Listing, now: float) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    known = found.known
    return {
        "api": found.api_address,
        "database": known.database or None,
        "location": known.location or None,
        "database_problem": known.problem or None,
        "looked_at": times.stamp(now),
        "this_client": found.here,
        "blind": found.blind or None,
        "clients_down": [_told(client_id) for client_id, _ in _down(found)],
        "attachments": [_object(each) for each in found.entries],
        "stray_devices": [each.path for each in found.strays],
        "others": found.others,
    }


def _head(found: listing.Listing) -> Iterator[str]:
    known = found.known
    where = f", mapping {known.database}, location {known.location}" if known.database else ""
    attachments = sentences.counted(len(found.entries), "attachment")
    disks = sentences.counted(len({each.thing.disk for each in found.entries}), "disk")
    hosts = sentences.counted(len({each.client_id for each in found.entries}), "host")
    yield f"StorPool API {found.api_address}{where}"
    yield f"{attachments} of {disks} on {hosts}"
    if known.problem:
        yield f"ids are from the tags and times are missing: {known.problem}"
    if found.here is None:
        yield f"open or closed is not known: {found.blind}, so run this on the host itself"
    elif any(each.device and each.device.open is None for each in found.entries):
        yield f"closed is not certain: {found.blind}"
    for client_id, name in _down(found):
        yield f"DOWN: client {client_id}{f' ({name})' if name else ''}"


def _title(thing: entries.Thing, rows: Sequence[entries.Entry]) -> str:
    of_disk = "" if thing.kind == entries.DISK else f" of disk {thing.disk}"
    writers = sum(each.access_mode == "rw" for each in rows)
    # Of all hosts, also where only one is listed.
    shared = writers and any(each.sharers for each in rows)
    mark = f": ATTACHED BY {len(rows[0].sharers) + 1} HOSTS" if shared else ""
    return f"{thing.kind} {thing.uuid}{of_disk} (~{thing.global_id}){mark}"


def _facts(found: listing.Listing, each: entries.Entry, now: float) -> tuple[str, ...]:
    here = " (here)" if each.client_id == found.here else ""
    state = "NO DEVICE" if each.missing else _OPEN[each.device.open if each.device else None]
    return (
        f"client {each.client_id}{here}",
        each.host or "-",
        each.access_mode,
        "DOWN" if each.down else "up",
        state,
        _since(each, now),
    )


def _since(each: entries.Entry, now: float) -> str:
    if each.device is not None:
        return f"since {times.when(each.device.made_at, now)}"
    if each.asked_at is not None:
        return f"asked {times.when(each.asked_at, now)}"
    return "since unknown"


def _tail(found: listing.Listing) -> Iterator[str]:
    if found.strays or found.others:
        yield ""
    for each in found.strays:
        use = ", ".join(_users(each)) or _OPEN[each.open]
        yield f"STRAY: {each.path} is here, but StorPool does not have it attached here: {use}"
    if found.others:
        owner = "this Engine's" if found.known.database else "oVirt's"
        others = sentences.counted(found.others, "attachment")
        yield f"left out: {others} of objects that are not {owner}"


def _users(device: openers.Device) -> list[str]:
    return [*(f"{each.name}, pid {each.pid}" for each in device.processes), *device.above]


def _object(each: entries.Entry) -> dict[str, Any]:
    device = each.device
    return {
        "client_id": int(each.client_id),
        "cluster_id": getattr(each.client_id, "cluster_id", None),
        "host": each.host,
        "client_down": each.down,
        "disk": each.thing.disk,
        "kind": each.thing.kind,
        "uuid": each.thing.uuid,
        "global_id": each.thing.global_id,
        "access_mode": each.access_mode,
        "shared_with": [_told(one) for one in each.sharers],
        "open": device.open if device else None,
        "processes": (
            []
            if device is None
            else [
                {
                    "pid": one.pid,
                    "name": one.name,
                    "vm": one.vm,
                    "vm_uuid": one.vm_uuid,
                    "arrived": one.arrived,
                }
                for one in device.processes
            ]
        ),
        "above": device.above if device else [],
        "device": device.node if device else None,
        "device_missing": each.missing,
        "attached_at": times.stamp(device.made_at) if device else None,
        "asked_at": times.stamp(each.asked_at) if each.asked_at is not None else None,
        "purpose": each.purpose.kind,
        "certain": each.purpose.certain,
        "why": each.purpose.text,
    }


def _told(client_id: int) -> int | str:
    """Return a client: its number, with its cluster where that is another one."""
    return str(client_id) if isinstance(client_id, api.RemoteClient) else client_id


def _down(found: listing.Listing) -> Iterable[tuple[int, str | None]]:
    return [
        (each, found.hosts.get(each))
        for each, status in sorted(found.clients.items())
        if status == api.DOWN
    ]
