"""Whose an object is, and what it is of theirs, for the account of space: each has one role, and
counts there alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from storpool_ovirt import names, trash_names
from storpool_ovirt.admin import rows_seen
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, mapping, records, reverts, trash

# Of this Engine: a disk's own volume, the volume of a preview, a snapshot, one that was made with
# those of other disks and that no verb gave to oVirt, and what was deleted and can be had back.
DISK, PREVIEW, SNAPSHOT, RESERVED, TRASH = "disk", "preview", "snapshot", "reserved", "trash"
# Kept by others: snapshots and copies of our disks that no verb of ours made. What StorPool is
# about to drop. The other cluster's copy of what is on its way. All else.
KEPT, LEAVING, MOVING, OTHER = "kept", "leaving", "moving", "other"
ROLES = (DISK, PREVIEW, SNAPSHOT, RESERVED, TRASH, KEPT, LEAVING, MOVING, OTHER)
OF_A_DISK = (DISK, PREVIEW, SNAPSHOT, RESERVED)


class Thing(NamedTuple):
    """A volume or a snapshot. It is a tuple, as 300,000 of them are held.

    `name` is "" where it is the one that goes with `uuid`, oVirt's id of it; `disk` is that of its
    disk, "" for one of another's. `owner` are the words for whose another's is, `vm` is the VM that
    a volume names. `used_bytes` is StorPool's `spaceUsed`: of a volume all that it holds with its
    parents, of a snapshot what its delete alone would free. `goes_at` is when StorPool deletes it,
    0 for never, `created_at` when it was made, both in seconds since 1970. `mapped`: the mapping
    has a row of it.
    """

    role: str
    kind: str
    global_id: str
    name: str
    parent: str
    uuid: str
    disk: str
    owner: str
    vm: str
    size_bytes: int
    stored_bytes: int
    used_bytes: int
    goes_at: float
    created_at: float
    template: str
    cluster_id: str | None
    owned_elsewhere: bool
    mapped: bool

    @property
    def called(self) -> str:
        """Its name in StorPool."""
        return self.name or names.object_name(self.uuid)

    @property
    def addresses(self) -> tuple[str, str]:
        """How others name it as their parent."""
        return self.called, names.address(self.global_id)


class Mine(NamedTuple):
    """What an object is of this Engine's."""

    role: str
    uuid: str = ""
    disk: str = ""
    mapped: bool = False


class Owners:
    """What the mapping tells of whose an object is, beside the object's own tags."""

    def __init__(
        self,
        rows: Iterable[records.Record],
        entries: Iterable[trash.Entry],
        location: str,
        vm_tag: str,
    ) -> None:
        self._rows = {each.uuid: each for each in rows}
        self._by_id = {
            each.global_id: each for each in self._rows.values() if each.global_id is not None
        }
        self._trash = {each.global_id: (each.node, each.disk) for each in entries}
        self._location = location
        self._vm_tag = vm_tag
        # Snapshots tell of what they were made by the global id that it had then.
        self._roots = {
            each.first_id: each.root for each in self._rows.values() if each.first_id is not None
        }
        self._owners: dict[str, str] = {}
        self._seen: set[str] = set()
        self._reverted: dict[str, api.Volume] = {}  # perhaps
        self._beneath: set[str] = set()  # perhaps

    def thing(self, there: api.Volume, stored_bytes: int, used_bytes: int) -> Thing:
        """Return what an object is, as it was listed."""
        self._seen.add(there.global_id)
        found = self._mine(there)
        if not found.mapped:
            self._note(there)
        is_named = found.uuid and there.name == names.object_name(found.uuid)
        is_volume = found.role in (DISK, PREVIEW)
        return Thing(
            role=found.role,
            kind=there.kind,
            global_id=there.global_id,
            name="" if is_named else there.name,
            parent=there.parent,
            uuid=found.uuid,
            disk=found.disk,
            owner=self._owner(there) if found.role == OTHER else "",
            vm=names.vm_of(there.tags, self._vm_tag) if is_volume else "",
            size_bytes=there.size_bytes,
            stored_bytes=stored_bytes,
            used_bytes=used_bytes,
            goes_at=there.goes_at,
            created_at=there.created_at,
            template=there.template,
            cluster_id=there.cluster_id,
            owned_elsewhere=there.owned_elsewhere,
            mapped=found.mapped,
        )

    def settled(self, things: list[Thing]) -> list[Thing]:
        """Return the same when all were seen: volumes that a revert gave another id are of their
        rows, and snapshots of others on which ours stand are kept of those."""
        volumes = (each for each in self._lost() if each.kind == "volume")
        lost = [each.node for each in volumes] if self._reverted else []
        moved = {
            there.global_id: self._rows[uuid]
            for uuid, there in reverts.followed(lost, self._reverted, self._location).items()
        }
        if moved:
            self._seen.update(str(each.global_id) for each in moved.values())
            things = [_as_row(each, moved.get(each.global_id)) for each in things]
        if self._beneath:
            above = _above(things)
            things = [
                each._replace(role=KEPT, disk=above[each.global_id], owner="")
                if each.role == OTHER
                and each.global_id in self._beneath
                and each.global_id in above
                else each
                for each in things
            ]
        return _once(things)

    def unseen(self, clusters: frozenset[str]) -> tuple[int, int]:
        """Return how many rows have no object that was seen: in these clusters, and in others."""
        lost = [names.cluster_of(str(each.global_id)) in clusters for each in self._lost()]
        return sum(lost), len(lost) - sum(lost)

    def _lost(self) -> Iterator[records.Record]:
        for each in self._rows.values():
            if each.state == mapping.LIVE and each.global_id and each.global_id not in self._seen:
                yield each

    def disk_of(self, uuid: str) -> str | None:
        """Return the disk of one of oVirt's ids by the mapping; None where it has no such id."""
        row = self._rows.get(uuid)
        return None if row is None else row.root

    def _owner(self, there: api.Volume) -> str:
        """Return whose another's object is, in words held once; "" where nothing tells."""
        found = candidates.owner(there, self._location)
        found = found or ("Cinder" if names.cinder_id_of(there.name) else "")
        return self._owners.setdefault(found, found)

    def _mine(self, there: api.Volume) -> Mine:
        tagged = there.tags.get(names.TAG_UUID, "")
        is_tagged = names.is_ours(there.tags, tagged, self._location)
        if candidates.is_fleeting(there):
            going = (tagged, names.root_of(there.tags) or tagged) if is_tagged else ("", "")
            return Mine(LEAVING, *going)
        row, deleted = self._by_id.get(there.global_id), self._trash.get(there.global_id)
        if row is not None:
            reserved = rows_seen.is_reserved(row)
            return Mine(_role(row.kind, row.uuid, row.root, reserved), row.uuid, row.root, True)
        if deleted is not None:
            return Mine(TRASH, *deleted, True)
        if is_tagged:
            return self._tagged(there, tagged)
        of = self._source(there)
        return Mine(KEPT, "", of) if of else Mine(OTHER)

    def _tagged(self, there: api.Volume, uuid: str) -> Mine:
        """Return what carries this Engine's tags and has no row."""
        root = names.root_of(there.tags) or uuid
        if there.kind == "snapshot" and trash_names.entry_of(there.name):
            return Mine(TRASH, uuid, root)
        if not candidates.is_named(there):
            return Mine(KEPT, "", root)
        planned = self._rows.get(uuid)
        is_planned = planned is not None and planned.global_id is None
        return Mine(_role(there.kind, uuid, root, False), uuid, root, is_planned)

    def _source(self, there: api.Volume) -> str:
        """Return the disk of ours of which others made a snapshot; "" for none."""
        if there.kind != "snapshot" or not there.made_from or names.uuid_of(there.name):
            return ""
        source = self._by_id.get(there.made_from)
        return self._roots.get(there.made_from, "") if source is None else source.root

    def _note(self, there: api.Volume) -> None:
        """Keep of what has no row what may tell more when all were seen; of most there is
        nothing."""
        uuid = names.uuid_of(there.name)
        if there.kind == "volume":
            if names.kept_id(there.name) in self._by_id or uuid in self._rows:
                self._reverted[there.global_id] = there
        elif there.made_from is None and not names.is_own_mark(there.name, there.tags):
            # StorPool does not tell of what it was made
            self._beneath.add(there.global_id)


def _role(kind: str, uuid: str, disk: str, reserved: bool) -> str:
    if kind == "volume":
        return DISK if uuid == disk else PREVIEW
    return RESERVED if reserved else SNAPSHOT


def _as_row(thing: Thing, row: records.Record | None) -> Thing:
    if row is None:
        return thing
    role = _role(row.kind, row.uuid, row.root, False)
    return thing._replace(role=role, uuid=row.uuid, disk=row.root, owner="", mapped=True)


def _above(things: Iterable[Thing]) -> Mapping[str, str]:
    """Return which of our disks stand on a snapshot, directly or on others, by its global id."""
    parents = {each.parent for each in things}
    by_address = {
        address: each
        for each in things
        if each.kind == "snapshot"
        for address in each.addresses
        if address in parents
    }
    found: dict[str, str] = {}
    for each in things:
        there: Thing | None = each if each.role in (DISK, PREVIEW) else None
        while there is not None:
            there = by_address.get(there.parent)
            if there is None or there.global_id in found:
                break
            found[there.global_id] = each.disk
    return found


def _once(things: list[Thing]) -> list[Thing]:
    """Return the things with the other cluster's copy of what is on its way as such: it takes space
    there, and is no other object."""
    if not any(each.owned_elsewhere for each in things):
        return things
    owned = {(each.kind, each.global_id) for each in things if not each.owned_elsewhere}
    return [
        each._replace(role=MOVING)
        if each.owned_elsewhere and (each.kind, each.global_id) in owned
        else each
        for each in things
    ]
