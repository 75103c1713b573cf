"""The groups of snapshots that StorPool made at one moment, made again from their tag: a part of
rebuild.

Nothing tells which of them a verb gave to oVirt. So each comes back as one that oVirt has; what
Engine's own database does not have is told, and deleted by nobody but a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from storpool_ovirt import names, sentences
from storpool_ovirt.admin import disk_rows, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import (
    candidates,
    engine_images,
    mapping,
    moments,
    records,
    tree,
)

# Groups that are written by one statement: ours, more make it no faster.
BATCH_GROUPS = 500


@dataclass(frozen=True)
class Group:
    """The snapshots of one moment whose rows do not tell so, by the value of their tag; `at` is in
    seconds since 1970."""

    mark: str
    uuids: tuple[str, ...]
    disks: frozenset[str]
    at: float


def lacking(view: survey.View, new: Mapping[str, api.Volume]) -> Iterator[Group]:
    """Yield the groups that the mapping lacks, or has in part; `new` are the objects that get a
    row."""
    found: dict[str, dict[str, api.Volume]] = {}
    for record in view.records.values():
        thing = view.things.get(record.global_id or "")
        if record.moment is None and record.state == mapping.LIVE and thing is not None:
            _add(found, record.uuid, thing)
    for uuid, thing in new.items():
        _add(found, uuid, thing)
    for mark, things in sorted(found.items()):
        at = min(each.created_at for each in things.values())
        disks = frozenset(map(disk_rows.root_of, things.values()))
        yield Group(mark, tuple(sorted(things)), disks, at)


def write(work: tree.Work, groups: Sequence[Group], vms: Mapping[str, Set[str]]) -> None:
    """Write groups, as far as their snapshots have got their rows.

    `vms` are those that the volumes of each disk name: a group's is the one that has volumes of its
    disks now.
    """
    for at in range(0, len(groups), BATCH_GROUPS):
        batch = [_adopted(group, vms) for group in groups[at : at + BATCH_GROUPS]]
        records.adopt_moments(work.mapping, batch)
        for each in batch:
            count = len(each.uuids)
            work.log.line("moment_rebuilt", moment=each.mark, vm=each.vm or "-", snapshots=count)


def _adopted(group: Group, vms: Mapping[str, Set[str]]) -> records.Adopted:
    found = {vm for disk in group.disks for vm in vms.get(disk, ())}
    vm = found.pop() if len(found) == 1 else ""
    return records.Adopted(group.mark, vm, group.uuids, group.at)


def told(work: tree.Work, groups: Sequence[Group], here: bool) -> Iterator[str]:
    """Yield what is to be known of the groups that come back; `here`: this is Engine's own
    machine."""
    uuids = [uuid for group in groups for uuid in group.uuids]
    if not uuids:
        return
    snapshots = sentences.counted(len(uuids), "snapshot")
    of_moments = sentences.counted(
        len(groups), "moment of several disks", "moments of several disks"
    )
    yield f"{snapshots} of {of_moments}: each comes back as one that oVirt has"
    known = engine_images.known(work, uuids) if here else None
    if known is None:
        yield (
            "whether oVirt has each of them is not told, as Engine's own database cannot be read"
            " here: it may lack some that no verb gave to it"
        )
        return
    for uuid in uuids:
        if uuid not in known:
            yield (
                f"oVirt does not have snapshot {uuid}: it takes space, and storpool-ovirt reconcile"
                f" --remove {uuid} deletes it, once it has its row"
            )


def wrong_tags(
    thing: api.Volume, node: mapping.Node, location: str, known: Mapping[int, moments.Moment]
) -> dict[str, str]:
    """Return what `candidates.wrong_tags` does, and the tag of its moment where a row's object does
    not carry it; `known` are the moments by their number.

    No verb asks for that tag, so that it is wrong says nothing of whose the object is.
    """
    wrong = candidates.wrong_tags(thing, node, location)
    moment = known.get(node.moment or 0)
    if moment is not None and thing.tags.get(names.TAG_MOMENT) != moment.mark:
        wrong[names.TAG_MOMENT] = moment.mark
    return wrong


def _add(found: dict[str, dict[str, api.Volume]], uuid: str, thing: api.Volume) -> None:
    mark = thing.tags.get(names.TAG_MOMENT, "")
    if thing.kind == "snapshot" and mark:
        found.setdefault(mark, {})[uuid] = thing
