"""Entries of the listing: one attachment each, with all that is known of it from the cluster, the
mapping and this host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from storpool_ovirt.admin import purposes
from storpool_ovirt.cluster import api
from storpool_ovirt.engine.host_notes import HostNote
from storpool_ovirt.engine.records import Record
from storpool_ovirt.host import openers

DISK, SNAPSHOT, PREVIEW = "disk", "snapshot", "preview"


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
class MappingSide:
    """What the mapping has: its rows, and for which hosts each was asked.

    `problem`: why it has nothing. `of_one_disk`: it has the rows of one disk alone.
    """

    records: Mapping[str, Record]
    notes: Mapping[str, Sequence[HostNote]]
    database: str = ""
    location: str = ""
    problem: str = ""
    of_one_disk: bool = False


@dataclass(frozen=True)
class Sources:
    """What an entry is made from.

    `clients` are the states of all clients, `hosts` their names to be shown, `sections` the client
    ids that storpool.conf has for them as names, `here` is this machine's. `had`: what this host
    had before it was looked at, by global id. `all_listed`: what is not among the devices has none
    here.
    """

    known: MappingSide
    clients: Mapping[int, str]
    hosts: Mapping[int, str]
    sections: Mapping[str, int]
    here: int | None
    devices: Mapping[str, openers.Device]
    had: Set[str]
    all_listed: bool

    def entry(self, thing: Thing, mine: api.Attachment, rows: Sequence[api.Attachment]) -> Entry:
        """Return one attachment with all that is known of it."""
        asked = self.known.notes.get(thing.uuid, ())
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
            side=side,
            others=[sides[each] for each in writers],
            later=[
                str(each.host)
                for each in free
                if side.asked_at is not None and each.at > side.asked_at
            ],
            earlier=[
                str(each.host)
                for each in free
                if side.asked_at is not None and each.at < side.asked_at
            ],
            snapshot=thing.kind == SNAPSHOT,
            active=thing.active,
            device=device,
            mapped=not self.known.problem,
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

    def _times(self, asked: Sequence[HostNote], rows: Sequence[api.Attachment]) -> dict[int, float]:
        """Return when each client was asked for, by its host's name; one client without a name
        takes what is left."""
        left = list(asked)
        times = {}
        for client_id in (each.client_id for each in rows if each.client_id in self.hosts):
            for each in left:
                if any(
                    is_same_host(each.host, name) for name in self._sections_of.get(client_id, ())
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
        """Return whether that is the name of a client that has one."""
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


def is_same_host(one: str | None, other: str) -> bool:
    """Return whether two names are one host's: either may be short."""
    if one is None:
        return False
    first, second = one.lower(), other.lower()
    short = first.partition(".")[0] == second.partition(".")[0] and (
        "." not in first or "." not in second
    )
    return first == second or short
