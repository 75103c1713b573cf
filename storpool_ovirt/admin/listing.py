"""Who has what attached, since when and why: StorPool's list, the mapping's notes and what this
host knows, joined.

It changes nothing, and works with what it has: without the mapping database the ids come from the
tags, and nothing is known of times; away from a host nothing is known of open and closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from storpool_ovirt import errors, names, storpool_conf
from storpool_ovirt.admin import entries, one_disk
from storpool_ovirt.admin.entries import DISK, PREVIEW, SNAPSHOT, Entry, MappingSide, Sources, Thing
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import (
    candidates,
    database_url,
    host_notes,
    journal,
    mapping,
    records,
    reverts,
)
from storpool_ovirt.host import openers

# A database that hangs must not keep the rest of the list from who waits for it.
DATABASE_SECONDS = 30.0


@dataclass(frozen=True)
class Listing:
    """All attachments of ours, by disk, and beside them: whose list this is and what it cannot
    tell.

    `others` are those of objects that are not ours; None where only one disk was looked at. `hosts`
    are the names to be shown, `sections` the client ids that storpool.conf has for them as
    names. `here` is this machine's client id, `strays` the devices here that StorPool does not
    count as attached here, `blind` why a device that looks closed here may be open.
    """

    entries: tuple[Entry, ...]
    strays: tuple[openers.Device, ...]
    others: int | None
    clients: Mapping[int, str]
    hosts: Mapping[int, str]
    here: int | None
    known: MappingSide
    things: tuple[Thing, ...]
    api_address: str
    blind: str
    sections: Mapping[str, int]


def read_mapping(
    address: database_url.Database,
    deadline: Deadline,
    words: Words | None = None,
    disk: str | None = None,
) -> MappingSide:
    """Return what the mapping has, or why it cannot be read; `words` as for `look`.

    Of one `disk` (the id of any of its nodes) that has a row, it is what the mapping has of it. No
    failure of the database ends the command: it is needed most when much is broken.
    """
    try:
        caller = journal.Caller("-", "attachments")
        seconds = min(DATABASE_SECONDS, deadline.remaining() / 3)
        with (
            mapping.opened(address, deadline.within(seconds), caller, make=False) as there,
            there.session.snapshot(),
        ):
            if disk is not None:
                found = records.of_disk(there, names.uuid(disk, "the disk's id"))
                if found:
                    rows = {each.uuid: each for each in found}
                    notes = host_notes.of(there, rows)
                    return MappingSide(rows, notes, str(address), there.location, of_one_disk=True)
            rows = {each.uuid: each for each in records.each(there, words)}
            return MappingSide(rows, host_notes.of_all(there), str(address), there.location)
    except errors.Interrupted:
        raise
    except (errors.Unavailable, errors.NotFound) as error:
        return MappingSide({}, {}, problem=str(error))


def look(client: api.Client, known: MappingSide, root: str, words: Words | None = None) -> Listing:
    """Read everything, of one disk alone where `known` is. Raises what the API raises.

    `words`: what the mapping's rows have in common with the lists.
    """
    words = Words() if words is None else words
    client.be_current()
    if known.of_one_disk:
        objects = one_disk.objects(client, [each.node for each in known.records.values()])
    else:
        objects = [*client.volumes(words), *client.snapshots(words)]
    by_name = {each.name: each.global_id for each in objects}
    ids = {each.global_id for each in objects}

    def is_of_disk(each: api.Attachment) -> bool:
        return _global_id(each, by_name) in ids

    wanted = is_of_disk if known.of_one_disk else None
    before = client.attachments(words, wanted)
    sections, problem = _sections(root)
    here = sections.get(os.uname().nodename)
    nobody = openers.DeviceView({}, problem or "this machine is no client of StorPool", not problem)
    host = openers.look(root) if here is not None else nobody
    # What is attached or detached while the host is looked at is neither a stray nor missing.
    listed = client.attachments(words, wanted)
    clients = client.statuses(listed)
    had, have = (
        {_global_id(each, by_name) for each in seen if each.client_id == here}
        for seen in (before, listed)
    )
    # A volume that was reverted may have a link by the id that it had before, too.
    also = {
        kept: each.global_id
        for each in objects
        if (kept := names.kept_id(each.name)) is not None and kept != each.global_id
    }
    sources = Sources(
        known=known,
        clients=clients,
        hosts=storpool_conf.host_names(root),
        sections=sections,
        here=here,
        devices=_by_present_id(host.devices, also),
        had=had,
        all_listed=host.all_listed,
    )
    things = {thing.global_id: thing for thing in _things(objects, known)}
    found = list(_entries(sources, things, listed, by_name))
    strays = [host.devices[each] for each in sorted(host.devices.keys() - had - have - also.keys())]
    return Listing(
        entries=tuple(sorted(found, key=_order)),
        strays=tuple(each for each in strays if each.is_there),
        others=None if known.of_one_disk else len(listed) - len(found),
        clients=clients,
        hosts=sources.hosts,
        here=here,
        known=known,
        things=tuple(things.values()),
        api_address=client.address,
        blind=host.blind,
        sections=sections,
    )


def selected(listing: Listing, client: str | None, uuid: str | None) -> Listing:
    """Return the part for one client (its id, or its host's name) and one disk (the id of any of
    its nodes).

    Raises InputError or NotFound for what nobody knows.
    """
    entries: Iterable[Entry] = listing.entries
    strays = listing.strays
    if client is not None:
        client_id = _client(listing, client)
        entries = [each for each in entries if each.client_id == client_id]
        strays = strays if client_id == listing.here else ()
    if uuid is not None:
        wanted = names.uuid(uuid, "the disk's id")
        disks = {each.disk for each in listing.things if wanted in (each.uuid, each.disk)}
        disks |= {each.root for each in listing.known.records.values() if each.uuid == wanted}
        if not disks:
            raise errors.Mistyped(
                "disk", wanted, f"of oVirt's in the StorPool cluster at {listing.api_address}"
            )
        entries, strays = [each for each in entries if each.thing.disk in disks], ()
        listing = replace(listing, others=None)
    return replace(listing, entries=tuple(entries), strays=strays)


def _things(objects: Iterable[api.Volume], known: MappingSide) -> Iterable[Thing]:
    nodes = [record.node for record in known.records.values() if record.node.global_id]
    living = {each.global_id: each for each in objects if not candidates.is_fleeting(each)}
    moved = reverts.followed(nodes, living, known.location)
    rows = {
        moved[node.uuid].global_id if node.uuid in moved else node.global_id: node for node in nodes
    }
    for each in objects:
        node = rows.get(each.global_id)
        uuid = each.tags.get(names.TAG_UUID, "")
        if node is not None:
            root = known.records.get(node.root)
            active = root is None or (root.node.active or node.root) == node.uuid
            yield Thing(
                node.uuid, node.root, _kind(node.kind, node.uuid, node.root), each.global_id, active
            )
        elif _is_ours(each, uuid, known):
            disk = names.root_of(each.tags) or uuid
            yield Thing(uuid, disk, _kind(each.kind, uuid, disk), each.global_id)


def _is_ours(thing: api.Volume, uuid: str, known: MappingSide) -> bool:
    """Return whether an object without a row is ours; with a mapping at hand a copy of our tags
    alone is others'."""
    location = known.location or thing.tags.get(names.TAG_LOCATION, "")
    return names.is_ours(thing.tags, uuid, location) and (
        not known.location or candidates.is_named(thing)
    )


def _by_present_id(
    devices: Mapping[str, openers.Device], also: Mapping[str, str]
) -> Mapping[str, openers.Device]:
    """Return the devices by global id; one with two links is open by whichever it was opened."""
    found = dict(devices)
    for kept, global_id in also.items():
        device, present = devices.get(kept), devices.get(global_id)
        if device is not None and (present is None or device.open):
            found[global_id] = device
    return found


def _kind(kind: str, uuid: str, disk: str) -> str:
    return SNAPSHOT if kind == "snapshot" else DISK if uuid == disk else PREVIEW


def _entries(
    sources: Sources,
    things: Mapping[str, Thing],
    listed: Sequence[api.Attachment],
    by_name: Mapping[str, str],
) -> Iterator[Entry]:
    """Yield an entry for each attachment of one of these things."""
    held: dict[str, list[api.Attachment]] = {}
    for each in listed:
        held.setdefault(_global_id(each, by_name), []).append(each)
    for global_id, rows in held.items():
        if global_id in things:
            rows.sort(key=lambda each: each.client_id)
            yield from (sources.entry(things[global_id], each, rows) for each in rows)


def _order(entry: Entry) -> tuple[str, int, str, int]:
    thing = entry.thing
    kind = (DISK, PREVIEW, SNAPSHOT).index(thing.kind)
    return thing.disk, kind, thing.uuid, entry.client_id


def _global_id(attachment: api.Attachment, by_name: Mapping[str, str]) -> str:
    """Return the global id of what is attached; older releases list names only."""
    return attachment.global_id or by_name.get(attachment.name) or attachment.name.lstrip("~")


def _sections(root: str) -> tuple[dict[str, int], str]:
    """Return the client ids by section of storpool.conf, and why that may not be all."""
    problem = ""
    try:
        ids = storpool_conf.client_ids(root)
    except errors.ConfigError as error:
        ids, problem = {}, str(error)
    numbers = {name: names.client_id(our_id) for name, our_id in ids.items()}
    return {
        name: client_id for name, client_id in numbers.items() if client_id is not None
    }, problem


def _client(listing: Listing, given: str) -> int:
    there = {*listing.clients, *(each.client_id for each in listing.entries)}
    if given.isascii() and given.isdigit():
        number = names.client_id(given)
        if number is None or number not in there:
            raise errors.NotFound(
                "client",
                names.shown(given, 20).strip('"'),
                f"in the StorPool cluster at {listing.api_address}",
            )
        return number
    found = sorted(
        {
            client_id
            for name, client_id in listing.sections.items()
            if entries.is_same_host(given, name)
        }
    )
    if len(found) == 1:
        storpool_conf.section_of(
            found[0], {name: str(client_id) for name, client_id in listing.sections.items()}
        )
    else:
        raise errors.InputError(
            f"the host {names.shown(given)}",
            f"is {'not in' if not found else 'more than one in'} {storpool_conf.FILE}",
            "give its SP_OURID",
        )
    return found[0]
