"""Which snapshots there are: those of several disks that StorPool made at one moment, and those of
single disks.

The mapping tells what belongs together and what oVirt was told; StorPool's lists tell what is
there. It changes nothing. Both cannot be read at one moment: what is missing is looked for in the
mapping once more, as it may just have been deleted.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from storpool_ovirt import names
from storpool_ovirt.admin import rows_seen, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import candidates, mapping, moments, records, tree, vm_tag

# What a snapshot is consistent with. VM: all disks that were asked for, as of one moment. PART: the
# same, but other disks of that request are known that are not of this moment. LEFT: some were
# deleted since. INCOMPLETE: StorPool lacks some. DISK: the disk itself. FAILED: oVirt was told that
# the snapshot failed. MAKING: it is being made right now.
VM, PART, LEFT, INCOMPLETE = "vm", "part", "left", "incomplete"
DISK, FAILED, MAKING = "disk", "failed", "being made"

# What a request made of single disks is shown with its group so long before or after it: Engine
# asks for one disk after the other, and a client may use one correlation id for all it ever does.
SAME_REQUEST_SECONDS = 600.0


class Member(NamedTuple):
    """One snapshot, by its row: there may be hundreds of thousands of them.

    `made_at` is in seconds since 1970, None where StorPool does not have it; `freed_bytes` is what
    its delete would free, None where that was not asked; `vm` is the VM that has its volume now.
    """

    record: records.Record
    made_at: float | None
    freed_bytes: int | None
    vm: str

    @property
    def uuid(self) -> str:
        """Its id in oVirt."""
        return self.record.uuid

    @property
    def disk(self) -> str:
        """The disk that it is of."""
        return self.record.root

    @property
    def volume(self) -> str | None:
        """What it was made of."""
        return self.record.source

    @property
    def global_id(self) -> str:
        """Its id in StorPool, "" where it never was there."""
        return self.record.global_id or ""

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.record.size_bytes

    @property
    def claimed(self) -> bool:
        """Whether a verb gave its id to oVirt, or may have."""
        return not self.record.reserved

    @property
    def request(self) -> str:
        """The correlation id of the verb that made it."""
        return self.record.correlation_id.lower()

    @property
    def is_missing(self) -> bool:
        """Whether StorPool does not have it."""
        return self.made_at is None


@dataclass(frozen=True)
class Group:
    """The snapshots of one moment; `lacking` are the volumes that were asked for and have none of
    it.

    `others` are of the same request, but each was made alone, at a moment of its own.
    """

    moment: moments.Moment
    at: float
    consistency: str
    members: tuple[Member, ...]
    lacking: tuple[str, ...]
    others: tuple[Member, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether its snapshots are made, and oVirt may count on them."""
        return self.consistency not in (FAILED, MAKING)


@dataclass(frozen=True)
class Listing:
    """All snapshots of this Engine, oldest first, and whose list this is.

    `elsewhere` counts those in other clusters than were looked at. `vm`: only what is of this VM.
    """

    groups: tuple[Group, ...]
    singles: tuple[Member, ...]
    location: str
    api_address: str
    database: str
    elsewhere: int = 0
    missing: int = 0
    vm: str = ""


class _Glance(NamedTuple):
    """What is asked of an object; `uuid` is the id in oVirt of a volume of ours, "" else."""

    kind: str
    global_id: str
    owned_elsewhere: bool
    is_fleeting: bool
    made_at: float
    uuid: str
    vm: str


def look(work: tree.Work, with_space: bool = False) -> Listing:
    """Read everything. Raises what the mapping and the API raise.

    `with_space`: StorPool is asked what a delete of each would free, which has it look at all of
    its snapshots.
    """
    words = Words()
    rows = rows_seen.read(work, words)
    work.client.be_current()
    living, vms, ids = _listed(work, words)
    clusters = survey.clusters(work, ids)
    here = [each for each in _snapshots(rows) if _is_here(each, clusters)]
    if any(_is_live(each) and each.global_id not in living for each in here):
        seen = {each.uuid for each in here}
        rows = rows_seen.read(work, words)
        here = [each for each in _snapshots(rows) if each.uuid in seen]
    freed = work.client.snapshot_spaces() if with_space else {}
    members = {each.uuid: _member(each, living, freed, vms) for each in here}
    by_moment: dict[int | None, list[records.Record]] = {}
    for each in here:
        by_moment.setdefault(each.moment, []).append(each)
    busy = {each.node for each in rows.operations if each.is_open and each.is_alive()}
    groups = [
        _group(each, by_moment.get(each.id, ()), members, busy, work.now())
        for each in rows.moments.values()
    ]
    alone = [members[each.uuid] for each in by_moment.get(None, ()) if _is_live(each)]
    together, singles = _joined(list(filter(None, groups)), alone)
    return Listing(
        groups=tuple(sorted(together, key=lambda each: (each.at, each.moment.id))),
        singles=tuple(sorted(singles, key=lambda each: each.made_at or 0.0)),
        location=work.mapping.location,
        api_address=work.client.address,
        database=str(work.mapping.session.address),
        elsewhere=len(_snapshots(rows)) - len(here),
        missing=sum(members[each.uuid].is_missing for each in here if _is_live(each)),
    )


def of_vm(found: Listing, vm: str) -> Listing:
    """Return the part of one VM: the groups that were made of it, and the snapshots of single disks
    whose volumes it has now."""
    groups = tuple(each for each in found.groups if each.moment.vm == vm)
    singles = tuple(each for each in found.singles if each.vm == vm)
    of_groups = (each for group in groups for each in (*group.members, *group.others))
    return replace(
        found,
        groups=groups,
        singles=singles,
        missing=sum(each.is_missing for each in (*of_groups, *singles)),
        vm=vm,
    )


def _snapshots(rows: rows_seen.Rows) -> list[records.Record]:
    return [each for each in rows.records.values() if each.kind == "snapshot"]


def _is_live(record: records.Record) -> bool:
    return record.state == mapping.LIVE


def _is_here(record: records.Record, clusters: frozenset[str]) -> bool:
    return record.global_id is None or names.cluster_of(record.global_id) in clusters


def _listed(work: tree.Work, words: Words) -> tuple[dict[str, float], dict[str, str], set[str]]:
    """Return when each snapshot was made that StorPool has, by its global id; which VM has a volume
    of ours now, by the volume's id; and the global ids of all that it lists, which tell its
    clusters."""
    shared = words.ids.setdefault

    def glance(thing: api.Volume) -> _Glance:
        is_volume = thing.kind == "volume"
        uuid = thing.tags.get(names.TAG_UUID, "") if is_volume else ""
        is_ours = names.is_ours(thing.tags, uuid, work.mapping.location)
        if not (is_volume and is_ours and candidates.is_named(thing)):
            uuid = ""
        vm = vm_tag.of(work, thing) if uuid else ""
        return _Glance(
            kind=thing.kind,
            global_id=shared(thing.global_id, thing.global_id),
            owned_elsewhere=thing.owned_elsewhere,
            is_fleeting=candidates.is_fleeting(thing),
            made_at=words.others.setdefault(thing.created_at, thing.created_at),
            uuid=shared(uuid, uuid),
            vm=shared(vm, vm),
        )

    found = work.client.all_as(glance)
    living = {
        each.global_id: each.made_at
        for each in found
        if each.kind == "snapshot" and not each.is_fleeting
    }
    vms = {each.uuid: each.vm for each in found if each.uuid}
    shown = (each for each in found if each.kind == "volume" or not each.is_fleeting)
    return living, vms, {each.global_id for each in shown}


def _member(
    record: records.Record,
    living: Mapping[str, float],
    freed: Mapping[str, int],
    vms: Mapping[str, str],
) -> Member:
    global_id = record.global_id or ""
    made_at = living.get(global_id)
    freed_bytes = freed.get(global_id) if made_at is not None else None
    return Member(record, made_at, freed_bytes, vms.get(record.source or record.root, ""))


def _group(
    moment: moments.Moment,
    own: Sequence[records.Record],
    members: Mapping[str, Member],
    busy: set[str],
    now: float,
) -> Group | None:
    """Return what there is of one moment, whose rows are `own`; None where all of it was
    deleted."""
    there = [members[each.uuid] for each in own if _is_live(each)]
    complete = {each.volume for each in there if not each.is_missing}
    lacking = tuple(each for each in moment.volumes if each not in complete)
    if moment.state == moments.BEGUN and any(each.uuid in busy for each in own):
        consistency, lacking = MAKING, ()
    elif moment.state != moments.MADE:
        consistency = FAILED
    elif not there:
        return None
    else:
        consistency = _consistency(moment, there, lacking)
    made = [each.made_at for each in there if each.made_at is not None]
    at = min(made, default=now - (moment.age_seconds or 0.0))
    order = {uuid: number for number, uuid in enumerate(moment.volumes)}
    there.sort(key=lambda each: (order.get(each.volume or "", len(order)), each.uuid))
    return Group(moment, at, consistency, tuple(there), lacking)


def _consistency(moment: moments.Moment, there: Iterable[Member], lacking: tuple[str, ...]) -> str:
    if any(each.is_missing for each in there):
        return INCOMPLETE
    if moment.note:  # which disks of the VM could not be of this moment
        return PART
    return LEFT if lacking else VM


def _joined(groups: Sequence[Group], alone: Iterable[Member]) -> tuple[list[Group], list[Member]]:
    """Return the groups with what their requests made of single disks, and the other single ones.

    One request may be for several VMs: whose a disk is, its tag tells; one without a tag is shown
    with a group only where the request has groups of one VM.
    """
    known: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda each: each.at):
        known.setdefault(group.moment.key, []).append(group)
    times = {key: [each.at for each in of_key] for key, of_key in known.items()}
    others: dict[int, list[Member]] = {}
    singles = []
    for each in alone:
        made_at = each.made_at or 0.0
        of_key, at = known.get(each.request, []), times.get(each.request, [])
        first = bisect.bisect_left(at, made_at - SAME_REQUEST_SECONDS)
        last = bisect.bisect_right(at, made_at + SAME_REQUEST_SECONDS)
        near = [group for group in of_key[first:last] if _is_near(group, each)]
        own = [group for group in near if group.moment.vm == each.vm]
        if not own and not each.vm and len({group.moment.vm for group in near}) == 1:
            own = near
        if own:
            closest = min(own, key=lambda group: abs(group.at - made_at))
            others.setdefault(closest.moment.id, []).append(each)
        else:
            singles.append(each)
    return [_with(each, others.get(each.moment.id, [])) for each in groups], singles


def _is_near(group: Group, alone: Member) -> bool:
    moment = group.moment
    return (
        bool(moment.vm and moment.key)
        and alone.volume not in moment.volumes
        and alone.made_at is not None
        and abs(alone.made_at - group.at) <= SAME_REQUEST_SECONDS
    )


def _with(group: Group, others: Sequence[Member]) -> Group:
    if not others:
        return group
    consistency = PART if group.consistency in (VM, LEFT) else group.consistency
    ordered = sorted(others, key=lambda each: (each.made_at or 0.0, each.uuid))
    return replace(group, others=tuple(ordered), consistency=consistency)
