"""Who has what attached, since when and why: StorPool's list, the mapping's notes and what this
host knows, joined.

It changes nothing, and works with what it has: without the mapping database the ids come from the
tags, and nothing is known of times; away from a host nothing is known of open and closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from storpool_ovirt import config, errors, names, storpool_conf
from storpool_ovirt.admin import purposes
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import candidates, host_notes, journal, mapping
from storpool_ovirt.host import openers

# A database that hangs must not keep the rest of the list from who waits for it.
DATABASE_SECONDS = 30.0

DISK, SNAPSHOT, PREVIEW = "disk", "snapshot", "preview"


@dataclass(frozen=True)
class Known:
    """What the mapping has: its rows, and for which hosts each was asked.

    `problem`: why it has nothing.
    """

    records: Mapping[str, mapping.Record]
    asked: Mapping[str, Sequence[host_notes.HostNote]]
    database: str = ""
    location: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Thing:
    """An object of ours. `active`: nothing says that the disk's VM writes another volume."""

    uuid: str
    disk: str
    kind: str
    global_id: str
    active: bool = True


@dataclass(frozen=True)
class Entry:
    """One attachment. Times are in seconds since 1970, None where nobody knows.

    `asked_at`: when Engine asked last for this host. `device` is set on this very host only,
    `missing` says that it has none although it has it attached. `sharers`: the other clients that
    have it attached.
    """

    thing: Thing
    client_id: int
    host: str | None
    down: bool
    access_mode: str
    sharers: tuple[int, ...]
    asked_at: float | None
    device: openers.Device | None
    missing: bool
    purpose: purposes.Purpose


@dataclass(frozen=True)
class Listing:
    """All attachments of ours, by disk, and beside them: whose list this is and what it cannot
    tell.

    `hosts` are the names to be shown, `sections` the client ids that storpool.conf has for them as
    names. `here` is this machine's client id, `strays` the devices here that StorPool does not
    count as attached here, `blind` why a device that looks closed here may be open.
    """

    entries: tuple[Entry, ...]
    strays: tuple[openers.Device, ...]
    others: int
    clients: Mapping[int, str]
    hosts: Mapping[int, str]
    here: int | None
    known: Known
    things: tuple[Thing, ...]
    api_address: str
    blind: str
    sections: Mapping[str, int]


def known(address: config.Database, deadline: Deadline) -> Known:
    """Read the mapping; where that cannot be, return the reason: who has what is asked most when
    much is broken."""
    try:
        caller = journal.Caller("-", "attachments")
        seconds = min(DATABASE_SECONDS, deadline.remaining() / 3)
        with (
            mapping.opened(address, deadline.within(seconds), caller, make=False) as there,
            there.session.snapshot(),
        ):
            records = {record.node.uuid: record for record in there.records()}
            return Known(records, host_notes.of_all(there), str(address), there.location)
    except errors.Interrupted:
        raise
    except (errors.Unavailable, errors.NotFound) as error:
        return Known({}, {}, problem=str(error))


def look(client: api.Client, known: Known, root: str) -> Listing:
    """Read everything. Raises what the API raises."""
    client.be_current()
    before = client.attachments()
    objects = {each.global_id: each for each in (*client.volumes(), *client.snapshots())}
    clients = {each.client_id: each.status for each in client.clients()}
    hosts = storpool_conf.host_names(root)
    sections, problem = _sections(root)
    here = sections.get(os.uname().nodename)
    nobody = openers.Host({}, problem or "this machine is no client of StorPool", not problem)
    host = openers.look(root) if here is not None else nobody
    devices = host.devices
    # What is attached or detached while the host is looked at is neither a stray nor missing.
    listed = client.attachments()
    things = {thing.global_id: thing for thing in _things(objects.values(), known)}
    by_name = {each.name: each.global_id for each in objects.values()}
    held: dict[str, list[api.Attachment]] = {}
    for each in listed:
        held.setdefault(_global_id(each, by_name), []).append(each)
    had, have = (
        {_global_id(each, by_name) for each in seen if each.client_id == here}
        for seen in (before, listed)
    )
    joint = _Joint(known, clients, hosts, sections, here, devices, had, host.all_listed)
    ours = {
        global_id: sorted(rows, key=_client_of)
        for global_id, rows in held.items()
        if global_id in things
    }
    entries = [
        joint.entry(things[global_id], each, rows)
        for global_id, rows in ours.items()
        for each in rows
    ]
    return Listing(
        tuple(
            sorted(entries, key=lambda each: (each.thing.disk, *_order(each.thing), each.client_id))
        ),
        tuple(
            devices[each] for each in sorted(devices.keys() - had - have) if devices[each].is_there
        ),
        len(listed) - len(entries),
        clients,
        hosts,
        here,
        known,
        tuple(things.values()),
        client.address,
        host.blind,
        sections,
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
        disks |= {
            each.node.root for each in listing.known.records.values() if each.node.uuid == wanted
        }
        if not disks:
            raise errors.NotFound(
                "disk", wanted, f"of oVirt's in the StorPool cluster at {listing.api_address}"
            )
        entries, strays = [each for each in entries if each.thing.disk in disks], ()
    return replace(listing, entries=tuple(entries), strays=strays)


@dataclass(frozen=True)
class _Joint:
    """What is put together for each attachment.

    `had`: what this host had before it was looked at, by global id.

    `all_listed`: what is not among the devices has none here.
    """

    known: Known
    clients: Mapping[int, str]
    hosts: Mapping[int, str]
    sections: Mapping[str, int]
    here: int | None
    devices: Mapping[str, openers.Device]
    had: Set[str]
    all_listed: bool

    def entry(self, thing: Thing, mine: api.Attachment, rows: Sequence[api.Attachment]) -> Entry:
        """Return one attachment with all that is known of it."""
        asked = self.known.asked.get(thing.uuid, ())
        times = self._times(asked, rows)
        sides = {each.client_id: self._side(each.client_id, times) for each in rows}
        side = sides[mine.client_id]
        writers = [
            each.client_id
            for each in rows
            if each.client_id != mine.client_id and each.access_mode == "rw"
        ]
        free = [each for each in asked if each.at not in times.values() and each.host]
        here = mine.client_id == self.here
        device = self.devices.get(thing.global_id) if here else None
        missing = (
            here
            and self.all_listed
            and thing.global_id in self.had
            and (device is None or device.node is None)
        )
        facts = purposes.Facts(
            side,
            [sides[each] for each in writers],
            [
                str(each.host)
                for each in free
                if side.asked_at is not None and each.at > side.asked_at
            ],
            [
                str(each.host)
                for each in free
                if side.asked_at is not None and each.at < side.asked_at
            ],
            thing.kind == SNAPSHOT,
            thing.active,
            device,
            not self.known.problem,
        )
        sharers = tuple(sorted(each.client_id for each in rows if each.client_id != mine.client_id))
        return Entry(
            thing=thing,
            client_id=mine.client_id,
            host=self.hosts.get(mine.client_id),
            down=side.down,
            access_mode=mine.access_mode,
            sharers=sharers,
            asked_at=side.asked_at,
            device=device,
            missing=missing,
            purpose=purposes.of(facts),
        )

    def _side(self, client_id: int, times: Mapping[int, float]) -> purposes.Side:
        host = self.hosts.get(client_id)
        down = self.clients.get(client_id) == api.DOWN
        return purposes.Side(host or f"client {client_id}", down, times.get(client_id))

    def _times(
        self, asked: Sequence[host_notes.HostNote], rows: Sequence[api.Attachment]
    ) -> dict[int, float]:
        """Return when each client was asked for, by its host's name; one client without a name
        takes what is left."""
        left = list(asked)
        times = {}
        for client_id in (each.client_id for each in rows if each.client_id in self.hosts):
            for each in left:
                if any(
                    _same_host(each.host, name) for name in self._sections_of.get(client_id, ())
                ):
                    times[client_id] = each.at
                    left.remove(each)
                    break
        nameless = [each.client_id for each in rows if each.client_id not in self.hosts]
        if len(nameless) == 1:
            others = [each.at for each in left if not self._is_named(each.host)]
            times.update({nameless[0]: others[0]} if others else {})
        return times

    def _is_named(self, host: str | None) -> bool:
        """Tell whether that is the name of a client that has one."""
        whole, short, shortened = self._names
        name = (host or "").lower()
        first = name.partition(".")[0]
        return host is not None and (
            name in whole or first in short or ("." not in name and first in shortened)
        )

    @cached_property
    def _sections_of(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for name, client_id in self.sections.items():
            found.setdefault(client_id, []).append(name)
        return found

    @cached_property
    def _names(self) -> tuple[Set[str], Set[str], Set[str]]:
        """The names of all clients: as they are, those that are short, and what the others are for
        short."""
        whole = frozenset(name.lower() for name in self.sections)
        short = frozenset(name for name in whole if "." not in name)
        return whole, short, frozenset(name.partition(".")[0] for name in whole)


def _same_host(one: str | None, other: str) -> bool:
    """Tell whether two names are one host's: either may be short."""
    if one is None:
        return False
    first, second = one.lower(), other.lower()
    short = first.partition(".")[0] == second.partition(".")[0] and (
        "." not in first or "." not in second
    )
    return first == second or short


def _things(objects: Iterable[api.Volume], known: Known) -> Iterable[Thing]:
    rows = {
        record.node.global_id: record.node
        for record in known.records.values()
        if record.node.global_id
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
            disk = each.tags.get(names.TAG_ROOT, uuid)
            yield Thing(uuid, disk, _kind(each.kind, uuid, disk), each.global_id)


def _is_ours(thing: api.Volume, uuid: str, known: Known) -> bool:
    """Tell whether an object without a row is ours; with a mapping at hand a copy of our tags alone
    is others'."""
    location = known.location or thing.tags.get(names.TAG_LOCATION, "")
    return names.is_ours(thing.tags, uuid, location) and (
        not known.location or candidates.is_named(thing)
    )


def _kind(kind: str, uuid: str, disk: str) -> str:
    return SNAPSHOT if kind == "snapshot" else DISK if uuid == disk else PREVIEW


def _client_of(attachment: api.Attachment) -> int:
    return attachment.client_id


def _order(thing: Thing) -> tuple[int, str]:
    return (DISK, PREVIEW, SNAPSHOT).index(thing.kind), thing.uuid


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
        {client_id for name, client_id in listing.sections.items() if _same_host(given, name)}
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
