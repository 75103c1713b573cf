"""The groups of snapshots that StorPool made at one moment, made again from their tag: a part of
rebuild.

Nothing tells which of them a verb gave to oVirt. So each comes back as one that oVirt has; what
Engine's own database does not have is told, and deleted by nobody but a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storpool_ovirt import names, sentences
from storpool_ovirt.admin import disk_rows, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, changes, engine_images, mapping, moments, tree, vm_tag


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
        thing = view.things.get(record.node.global_id or "")
        if record.node.moment is None and record.node.state == mapping.LIVE and thing is not None:
            _add(found, record.node.uuid, thing)
    for uuid, thing in new.items():
        _add(found, uuid, thing)
    for mark, things in sorted(found.items()):
        at = min(each.created_at for each in things.values())
        disks = frozenset(map(disk_rows.root_of, things.values()))
        yield Group(mark, tuple(sorted(things)), disks, at)


def write(work: tree.Work, group: Group, things: Iterable[api.Volume]) -> None:
    """Write one group, as far as its snapshots have got their rows.

    `things` are the objects of the cluster: its VM is the one that has volumes of its disks now.
    """
    vms = {
        vm_tag.of(work, each)
        for each in things
        if each.kind == "volume" and disk_rows.root_of(each) in group.disks
    } - {""}
    vm = vms.pop() if len(vms) == 1 else ""
    work.mapping.write(changes.moment_adopted(group.mark, vm, group.uuids, group.at))
    work.log.line("moment_rebuilt", moment=group.mark, vm=vm or "-", snapshots=len(group.uuids))


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
