"""The way into the trash: how what a delete takes is kept for a while (`trash.py` has the rows).

A volume is copied first: a snapshot with a name and tags of its own, and the date at which StorPool
deletes it. The date is read back, as a cluster may not honour it; then the volume goes, and from
there on the delete only goes forward. A snapshot of the disk becomes one of the trash by one
request. So nothing of a disk that is in use ever has a date.

The journal's entry names every copy before it is made (`trash_copies.py` has those of deletes that
died).
"""

from __future__ import annotations

from storpool_ovirt import errors, names, storpool_conf, trash_names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.engine import intent, mapping, trash, trash_copies, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine.changes import Part
    from storpool_ovirt.engine.operations import Operation

# What goes on after its end has passed (a delete that died long ago) is kept for so long all the
# same: ours, as StorPool takes no date in the past.
LEAST_SECONDS = 60


class Disposal:
    """What one delete keeps by its plan; nothing may be in that where an earlier try has left
    copies."""

    def __init__(
        self,
        work: tree.Work,
        plan: intent.Trash,
        objects: Mapping[str, tuple[mapping.Node, api.Volume]],
        moved: Sequence[trash.Moved],
    ) -> None:
        self.plan = plan
        self.stale: Sequence[tuple[mapping.Node, str]] = ()
        self.active: set[str] = set()
        # The entries of this delete's earlier tries: an object that has the name of another one
        # was in the trash before, as of a database that was restored
        self.begun: set[str] = set()
        # When StorPool deletes what earlier tries have brought into the trash; 0: nothing is there
        self.until = 0.0
        self._work = work
        self._objects = objects
        self._moved = {each.node: each for each in moved}
        # By a copy of this run it is known that the cluster honours dates
        self._is_honoured = False

    @property
    def written(self) -> intent.Trash | None:
        """What the journal gets of it; None where nothing is kept."""
        return self.plan if self.plan.kept else None

    def copy(self) -> None:
        """Copy the volumes, each with its date; raise Conflict where StorPool gives it none."""
        for node, there in self._objects.values():
            if node.kind != "volume":
                continue
            # However many tries die, a volume has two copies at most
            earlier = [each for each in self.stale if each[0].uuid == node.uuid]
            trash_copies.silent_thin(self._work, earlier)
            entry, seconds = self.plan.kept[node.uuid].entry, self._seconds()
            tags = self._tags(node, there, trash_names.name(entry))
            seen = trash_copies.made(self._work, there, entry, tags, seconds)
            if not trash_copies.is_dated(seen, seconds):
                raise self._undated(node)
            self._is_honoured = True
            self._put_right(seen)
            self._note(node, seen)

    def takes(self, node: mapping.Node) -> bool:
        """Make a snapshot of the disk one of the trash; return whether it is to be kept at all.

        Raises Conflict where StorPool gives it no date.
        """
        if node.kind != "snapshot" or node.uuid not in self._objects:
            return False
        _, there = self._objects[node.uuid]
        entry = self.plan.kept[node.uuid].entry
        is_moved = entry in self.begun and there.name == trash_names.name(entry)
        # The try that moved it may have died before it put its date right
        ends_at = self.until or self.plan.ends_at  # a remove of it alone may have kept it less
        if not (is_moved and there.goes_at) or _is_off(ends_at, there.goes_at):
            self._move(node, there, trash_names.name(entry))
        self._note(node, there)
        self._tell(node, there.global_id)
        return True

    def _move(self, node: mapping.Node, there: api.Volume, name: str) -> None:
        client, seconds = self._work.client, self._seconds()
        tags = self._tags(node, there, name)
        change = {**{key: "" for key in there.tags if key not in tags}, **tags}
        rename = name if there.name != name else None
        try:
            volumes.change(client, there, name=rename, tags=change, delete_after=seconds)
        except errors.InputError:
            # Tags of others leave no room for ours: our row has them
            volumes.change(client, there, name=rename, delete_after=seconds)
        if self._is_honoured and not self.until:
            return
        seen = client.snapshot(names.address(there.global_id))
        if trash_copies.is_dated(seen, 0):
            self._put_right(seen)
            return
        if self._moved:  # a part of it is in the trash already
            self._work.log.line("trash_undated", node=node.uuid, global_id=there.global_id)
            return
        self._put_back(node, seen)
        raise self._undated(node)

    def _put_right(self, seen: api.Volume) -> None:
        """Have what has just got its date go when what is in the trash already goes: this machine's
        clock, or that of the one that began, may be days off, and StorPool is told seconds from
        now."""
        if _is_off(self.until, seen.goes_at):
            off = round(self.until - seen.goes_at)
            self._work.log.line("trash_redated", global_id=seen.global_id, seconds=off)
            seconds = max(LEAST_SECONDS, self._seconds() + off)
            volumes.change(self._work.client, seen, delete_after=seconds)

    def _put_back(self, node: mapping.Node, seen: api.Volume) -> None:
        """Make a snapshot one of its disk again: an earlier try may have moved it."""
        tags = {**self.plan.kept[node.uuid].tags, trash_names.TAG: ""}
        change = {**{key: "" for key in seen.tags if key not in tags}, **tags}
        name = names.object_name(node.uuid)
        volumes.change(self._work.client, seen, name=name, tags=change, delete_after=0)

    def has_copy(self, node: mapping.Node) -> bool:
        """Return whether the trash has what this node was."""
        return node.uuid in self._moved

    def told(self, node: mapping.Node, global_id: str) -> bool:
        """Write the line of a volume that is in the trash now; return whether it is."""
        if not self.has_copy(node):
            return False
        self._tell(node, global_id)
        return True

    def silent_take_back(self) -> bool:
        """Delete the copies of volumes that are all there; return whether none is left."""
        copied = [
            (node, self.plan.kept[node.uuid].entry)
            for node, _ in self._objects.values()
            if node.kind == "volume"
        ]
        return trash_copies.silent_drop(self._work, copied)

    def silent_clear(self) -> None:
        """Delete what earlier tries have copied of volumes that were copied again."""
        trash_copies.silent_drop(self._work, self.stale)

    def parts(self) -> tuple[Part, ...]:
        """Return what writes the rows of the trash."""
        if not self._moved:
            return ()
        by = self._work.mapping.journal.caller.correlation_id
        ends_at = float(self.plan.ends_at)
        return (trash.moved(self.plan.deletion, ends_at, list(self._moved.values()), by),)

    def _tags(self, node: mapping.Node, there: api.Volume, name: str) -> dict[str, str]:
        """Return the tags that an object has in the trash: no VM is named there, and no policy of
        VolumeCare's, which would snapshot it."""
        without = (self._work.domain.vm_tag, names.TAG_POLICY, names.TAG_SHARED)
        others = {key: value for key, value in there.tags.items() if value and key not in without}
        first = {key: others[key] for key in (names.TAG_QOS_CLASS,) if key in others}
        is_volume = node.kind == "volume"
        is_active = node.uuid in self.active
        mark = trash_names.mark(self.plan.ends_at, is_volume=is_volume, is_active=is_active)
        owner = tree.owner(self._work, node).tags
        return trash_names.tags(name, owner, mark, {**first, **others})

    def _seconds(self) -> int:
        return max(LEAST_SECONDS, round(self.plan.ends_at - self._work.now()))

    def _note(self, node: mapping.Node, seen: api.Volume) -> None:
        kept = self.plan.kept[node.uuid]
        self._moved[node.uuid] = trash.Moved(
            kept.entry, node.uuid, seen.global_id, seen.template, kept.tags
        )

    def _tell(self, node: mapping.Node, global_id: str) -> None:
        moved = self._moved[node.uuid]
        self._work.log.line(
            f"{node.kind}_trashed",
            **{node.kind: node.uuid},
            global_id=global_id,
            disk=node.root,
            trash=moved.entry,
            kept_as=moved.global_id,
            ends_at=self.plan.ends_at,
        )

    def _undated(self, node: mapping.Node) -> errors.Conflict:
        return errors.Conflict(
            f"{node.kind} {node.uuid}",
            "was not deleted: StorPool does not delete by itself what the trash keeps of it, or"
            " deletes it too early",
            "ask StorPool's support for deferred deletion; without it disks are deleted at once by"
            " sp_delete_delay=0 (snapshots: sp_snapshot_delete_delay=0) of the domain, or by"
            f" {storpool_conf.DELETE_DELAY_KEY}=0 ({storpool_conf.SNAPSHOT_DELETE_DELAY_KEY}=0) in"
            f" {storpool_conf.FILE} of Engine's machine",
        )


def planned(
    work: tree.Work,
    nodes: Sequence[mapping.Node],
    doomed: Sequence[mapping.Node],
    found: Sequence[tuple[mapping.Node, api.Volume]],
    keep_seconds: int,
) -> Disposal | None:
    """Return what is kept of these nodes for so long (0: nothing), of which StorPool has what was
    `found`; None where nothing is.

    What Engine never had is not kept: it was not finished, or its id was never told. Where an
    earlier try has brought something into the trash already, its end is that of the whole, whatever
    is asked for now.
    """
    left = _left(work, nodes)
    had = _had(nodes, doomed, left)
    there = {node.uuid: (node, each) for node, each in found if node in had}
    tries = [each for each in left if each.is_unfinished_delete and each.plan.trash is not None]
    earlier = [each.plan.trash for each in tries if each.plan.trash is not None]
    is_whole = len(doomed) == len(nodes) > 1
    alone = trash_copies.alone([each for each in tries if each.node != each.disk])
    moved, begun, until = _moved(work, had, there, earlier, alone if is_whole else ())
    kept = {uuid: _kept(each, earlier) for uuid, (_, each) in there.items()}
    ends_at = round(work.now()) + keep_seconds
    plan = intent.Trash(names.random_uuid(), ends_at, kept if keep_seconds else {})
    if begun is not None:
        gone = {each.node: intent.Kept(each.entry, each.tags) for each in moved}
        # StorPool's date counts; a few seconds are no other clock, and tags have the plan's end
        ends_at = round(until) if _is_off(until, begun.ends_at) else begun.ends_at
        plan = begun._replace(ends_at=ends_at, kept={**gone, **kept})
    if not plan.kept and not tries:
        return None
    objects = {uuid: each for uuid, each in there.items() if uuid in plan.kept}
    made = Disposal(work, plan, objects, moved)
    made.stale = _stale(had, earlier, plan)
    made.until = until
    made.begun = {kept.entry for each in earlier for kept in each.kept.values()}
    made.active = {each.active or each.uuid for each in nodes if each.uuid == each.root}
    return made


def had(
    work: tree.Work, nodes: Sequence[mapping.Node], doomed: Sequence[mapping.Node]
) -> list[mapping.Node]:
    """Return those of these nodes of a tree that Engine had; the others never were its data."""
    return _had(nodes, doomed, _left(work, nodes))


def _is_off(until: float, at: float) -> bool:
    """Return whether a date is another clock's than that by which earlier tries have brought
    something into the trash (`Disposal.until`)."""
    return bool(until) and abs(until - at) > LEAST_SECONDS


def _moved(
    work: tree.Work,
    had: Sequence[mapping.Node],
    there: Mapping[str, tuple[mapping.Node, api.Volume]],
    earlier: Sequence[intent.Trash],
    alone: Collection[str],
) -> tuple[list[trash.Moved], intent.Trash | None, float]:
    """Return what earlier tries have brought into the trash of what is not there any more, the plan
    by which it came, also where a snapshot of the disk has its name already, and when StorPool
    deletes that, in seconds since 1970; 0 where it does not. A volume's date counts before that of
    a snapshot, which may not have been put right yet. Entries of snapshots that were removed
    `alone` do not tell when all of their disk goes, also where a later plan has them."""
    moved, begun, dates = [], None, {"volume": 0.0, "snapshot": 0.0}
    for node in had:
        for plan in earlier:
            kept = plan.kept.get(node.uuid)
            if kept is None:
                continue
            if node.uuid in there:
                thing = there[node.uuid][1]
                if thing.name == trash_names.name(kept.entry):
                    if kept.entry not in alone:
                        begun = begun or plan
                        dates["snapshot"] = max(dates["snapshot"], thing.goes_at)
                    break
                continue
            copy = trash_copies.found(work, node, kept.entry)
            if copy is not None:
                begun = begun or plan
                dates[node.kind] = max(dates[node.kind], copy.goes_at)
                moved.append(
                    trash.Moved(kept.entry, node.uuid, copy.global_id, copy.template, kept.tags)
                )
                break
    return moved, begun, dates["volume"] or dates["snapshot"]


def _kept(there: api.Volume, earlier: Sequence[intent.Trash]) -> intent.Kept:
    """Return what is kept of an object: a snapshot of a disk may be in the trash already, and then
    the tags are those that it had before."""
    entry = trash_names.entry_of(there.name) if there.kind == "snapshot" else None
    for plan in earlier:
        for kept in plan.kept.values():
            if kept.entry == entry:
                return kept
    return intent.Kept(entry or names.random_uuid(), there.tags)


def _stale(
    had: Sequence[mapping.Node], earlier: Sequence[intent.Trash], plan: intent.Trash
) -> list[tuple[mapping.Node, str]]:
    """Return the copies that earlier tries may have made of volumes, and which are not used."""
    used = {each.entry for each in plan.kept.values()}
    return [
        (node, each.kept[node.uuid].entry)
        for node in had
        for each in earlier
        if node.kind == "volume"
        and node.uuid in each.kept
        and each.kept[node.uuid].entry not in used
    ]


def _left(work: tree.Work, nodes: Sequence[mapping.Node]) -> list[Operation]:
    """Return what others have left open on the disk, the newest first."""
    if not any(node.pending for node in nodes):
        return []
    return [each for each in reversed(work.mapping.journal.of_disk(nodes[0].root)) if each.is_open]


def _had(
    nodes: Sequence[mapping.Node], doomed: Sequence[mapping.Node], left: Sequence[Operation]
) -> list[mapping.Node]:
    """Return those of these nodes that Engine had."""
    unknown = _unknown(nodes, left)
    return [
        node
        for node in doomed
        if node.global_id is not None
        and node.state != mapping.REMOVED
        and not node.reserved
        and node.uuid not in unknown
    ]


def _unknown(nodes: Sequence[mapping.Node], left: Sequence[Operation]) -> set[str]:
    """Return the nodes that Engine never had: their makes died, or nobody read the answer."""
    makes = [each for each in left if each.kind == intent.MAKE]
    return {each.node for each in makes if not tree.is_known(nodes, each)}
