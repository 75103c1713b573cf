"""Mend: the rows of a disk and their objects agree again after a revert, a restore or another
change by hand.

A revert or a restore may give a volume another global id or size, and takes its tags; verbs then
touch it no more, and rightly so. An administrator says that it is the disk all the same. Nothing
is deleted and nothing is forced: tags and name are written to the object, global id and size to the
mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.admin import checks, findings, moment_rows, times
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import (
    candidates,
    changes,
    mapping,
    moments,
    records,
    recovery,
    reverts,
    trash,
    tree,
)


@dataclass(frozen=True)
class Drift:
    """A row, the object that is to be its own, and what has to be written so that the two agree.

    `is_reverted`: it is the very volume of the row, which got another global id by a revert.
    """

    node: mapping.Node
    there: api.Volume
    tags: Mapping[str, str]
    is_reverted: bool = False

    @property
    def is_moved(self) -> bool:
        """Whether the object has another global id than the row tells."""
        return self.there.global_id != self.node.global_id

    @property
    def is_resized(self) -> bool:
        """Whether the object has another size than the row tells."""
        return self.there.size_bytes != self.node.size_bytes

    @property
    def new_name(self) -> str | None:
        """The name that the object is to get, None where it has it."""
        name = names.object_name(self.node.uuid)
        return name if self.there.name != name else None

    @property
    def is_dated(self) -> bool:
        """Whether StorPool deletes the object by itself, as it does with the trash."""
        return self.there.goes_at > 0

    def lines(self) -> list[str]:
        """Return what differs, for people; nothing where all is well."""
        there, node, found = self.there, self.node, []
        if self.is_moved:
            found.append(
                f"  global id: the mapping has {_address(node.global_id)}, it is ~{there.global_id}"
            )
        if self.new_name is not None:
            found.append(f"  name: it has {names.shown(there.name)}, it gets {self.new_name}")
        for key, value in sorted(self.tags.items()):
            was = names.shown(there.tags[key]) if key in there.tags else "none"
            found.append(f"  tag {key}: it has {was}, it gets {value or 'none'}")
        if self.is_dated:
            found.append(f"  date: it goes at {times.stamp(there.goes_at)}, it gets none")
        if self.is_resized:
            found.append(
                f"  size: the mapping has {findings.gib(node.size_bytes)}, it is"
                f" {findings.gib(there.size_bytes)}"
            )
        return [f"{node.kind} {node.uuid}: {candidates.said(there)}", *found] if found else []


def mend(work: tree.Work, uuid: str, chosen: str | None = None, dry_run: bool = False) -> list[str]:
    """Make the row of a disk, a snapshot or a preview and its object agree; of a whole disk, those
    of all its nodes.

    `chosen` is the global id of the right object, where a person has to tell. Returns what
    differed, line by line, and at last what was done. Raises NotFound, Conflict, Foreign with the
    reason where it cannot be; nothing has changed then.
    """
    named = tree.known(work, names.uuid(uuid, "the disk's id"))
    with checks.held(work, named.root):
        nodes = _tree(work, named)
        finder = _Finder(work)
        whole = named.uuid == named.root and chosen is None
        found = [finder.drift(node, chosen) for node in nodes if whole or node.uuid == named.uuid]
        wrong = [each for each in found if each.lines()]
        lines = [line for each in wrong for line in each.lines()]
        if dry_run:
            return [*lines, f"{len(wrong)} would be mended"]
        for each in wrong:
            _carry_out(work, each)
    return [*lines, *_advice(wrong), f"{len(wrong)} mended: now run storpool-ovirt audit"]


def _tree(work: tree.Work, named: mapping.Node) -> list[mapping.Node]:
    """Return the rows of the disk that have an object; raise Conflict where an operation has to be
    ended first."""
    left = recovery.open_on(work, named.root)
    checks.clusters(work, named.root, left)
    node = tree.known(work, named.uuid)
    pending = [each for each in left if each.is_open]
    if pending or node.state in (mapping.PLANNED, mapping.DELETING):
        why = f"{pending[0]} left something on it" if pending else f"its row is {node.state}"
        raise errors.Conflict(
            f"{node.kind} {node.uuid}", f"cannot be mended: {why}", "storpool-ovirt reconcile first"
        )
    if node.state == mapping.REMOVED and node.uuid != node.root:
        raise errors.NotFound(node.kind, node.uuid, "any more: it was deleted")
    return [each for each in work.mapping.tree(named.root) if each.state == mapping.LIVE]


class _Finder:
    """Finds the objects of the rows of one disk, in the cluster as it is now."""

    def __init__(self, work: tree.Work) -> None:
        self._work = work
        self._location = work.mapping.location
        self._things = candidates.living(work.client)
        self._attachments = work.client.attachments()
        self._moments = moments.all(work.mapping.session)
        self._rows = {each.global_id: each.uuid for each in records.all(work.mapping)}

    def drift(self, node: mapping.Node, chosen: str | None) -> Drift:
        """Return the object of a row, and how it differs; raise what `mend` tells."""
        found = candidates.of(self._things, node, self._location)
        there = self._object(node, found, chosen)
        drift = Drift(
            node,
            there,
            {
                **moment_rows.wrong_tags(there, node, self._location, self._moments),
                **({trash_names.TAG: ""} if trash_names.TAG in there.tags else {}),
            },
            is_reverted=reverts.is_its_volume(there, node, self._location),
        )
        self._check(drift, found)
        return drift

    def _object(
        self, node: mapping.Node, found: candidates.Candidates, chosen: str | None
    ) -> api.Volume:
        if chosen is not None:
            return self._chosen(node, chosen)
        for each in found.best:
            is_moved = each.global_id != node.global_id
            if is_moved and reverts.is_its_volume(each, node, self._location):
                return each  # it was reverted: what has its old id is another one
        if not found.best:
            raise errors.NotFound(
                node.kind,
                f"{node.uuid} ({_address(node.global_id)})",
                "in StorPool, under its global id, its name or its tags: restore it there first, or"
                " give the global id of the right object",
            )
        there = found.best[0]
        if len(found.best) > 1:
            raise _unsure(node, f"may be {' or '.join(map(candidates.said, found.best))}")
        other = candidates.other_id(there, node.uuid)
        if other and not candidates.owner(there, self._location):
            raise _unsure(
                node,
                f"is {candidates.said(there)}, it seems, but that one's tag says"
                f" {names.shown(other)}",
            )
        return there

    def _chosen(self, node: mapping.Node, chosen: str) -> api.Volume:
        global_id = chosen.lstrip("~")
        for each in self._things:
            if each.global_id == global_id:
                return each
        where = f"in the StorPool cluster at {self._work.client.address}"
        raise errors.NotFound(node.kind, names.shown(names.address(global_id)), where)

    def _check(self, drift: Drift, found: candidates.Candidates) -> None:
        """Raise where this object cannot be that of the row, or not yet."""
        node, there = drift.node, drift.there
        what = candidates.said(there)
        other = candidates.owner(there, self._location)
        if other:
            raise errors.Foreign(
                what,
                f"belongs to {other}, so it is left alone",
                f"if it is this Engine's {node.kind} {node.uuid}, correct that tag with the"
                " StorPool CLI first",
            )
        if there.kind != node.kind:
            raise errors.Conflict(
                what,
                f"is a {there.kind}, and {node.uuid} is a {node.kind}",
                f"make a {node.kind} of it with the StorPool CLI, and give its global id",
            )
        row = self._rows.get(there.global_id, node.uuid)
        if row != node.uuid:
            raise errors.Conflict(what, f"is that of {row} in the mapping", "give another one")
        if drift.new_name is not None and found.named is not None:
            raise errors.Conflict(
                candidates.said(found.named),
                f"has the name that {what} would get",
                "rename that one first with the StorPool CLI, or delete it if it is not needed",
            )
        self._work.client.check_cluster(there.global_id, what)
        if drift.new_name is not None:
            self._check_not_reached_by_its_name(there)
        if drift.is_moved and not drift.is_reverted:
            self._check_closed(node)
            self._check_not_others(node, there)

    def _check_not_reached_by_its_name(self, there: api.Volume) -> None:
        """Raise Conflict while hosts have a volume by the id that it had before a revert: that is
        its name, and with the name the link goes."""
        if names.kept_id(there.name) in (None, there.global_id):
            return
        held = self._clients_of(there)
        if held:
            raise errors.Conflict(
                candidates.said(there),
                f"is attached to {held} by the id in its name, which a new name takes away",
                "stop its VM in oVirt, which detaches it; then mend it",
            )

    def _clients_of(self, there: api.Volume) -> str:
        return ", ".join(
            f"client {client_id}"
            for client_id in sorted(
                {
                    each.client_id
                    for each in self._attachments
                    if each.is_of(there.global_id, there.name)
                }
            )
        )

    def _check_not_others(self, node: mapping.Node, there: api.Volume) -> None:
        """Raise Conflict where what is to get this row is another volume of oVirt's or Cinder's, or
        is in use."""
        what = candidates.said(there)
        named, tagged = names.named_id(there.name), there.tags.get(names.TAG_UUID, "")
        others = [each for each in (named, tagged) if each and each != node.uuid]
        if others:
            raise errors.Conflict(
                what,
                f"is {others[0]} by its name or its tags, and not {node.uuid}",
                "give another one, or rename it and take that tag from it with the StorPool CLI"
                " first",
            )
        held = self._clients_of(there)
        if held:
            raise errors.Conflict(
                what,
                f"is attached to {held}, so somebody has it",
                "stop what uses it and detach it with the StorPool CLI, or give another one",
            )

    def _check_closed(self, node: mapping.Node) -> None:
        """Raise Conflict while a host has what the mapping has: Vdsm there would refuse the other
        one (error 929)."""
        held = [
            each
            for each in self._attachments
            if node.global_id and each.is_of(node.global_id, None)
        ]
        if held:
            hosts = ", ".join(sorted({f"client {each.client_id}" for each in held}))
            raise errors.Conflict(
                f"{node.kind} {node.uuid}",
                f"is still attached to {hosts} as ~{node.global_id}, and Vdsm compares (its"
                " error 929)",
                "stop its VM in oVirt, which detaches it, or storpool-ovirt reconcile --detach"
                f" {node.uuid} where nothing uses it; then mend it",
            )


def _carry_out(work: tree.Work, drift: Drift) -> None:
    """Write the object first: who dies in between finds the rest with the next run."""
    node, there = drift.node, drift.there
    if drift.tags or drift.new_name is not None or drift.is_dated:
        never = 0 if drift.is_dated else None
        volumes.change(work.client, there, name=drift.new_name, tags=drift.tags, delete_after=never)
    with work.mapping.session.transaction():
        dropped = [each.entry for each in trash.of(work.mapping, node.uuid) if _is(each, there)]
        if dropped:
            work.mapping.write(trash.forgotten(dropped))
        if drift.is_reverted and drift.is_moved:
            reverts.follow(work.mapping, node, there)
        if drift.is_moved and not drift.is_reverted:
            work.mapping.write(changes.replaced(node.uuid, there.global_id, there.serial or None))
        if drift.is_resized:
            work.mapping.write(changes.resized(node.uuid, there.size_bytes))
    work.log.line(
        "mended",
        node=node.uuid,
        disk=node.root,
        global_id=there.global_id,
        was=node.global_id or "-",
        size_bytes=there.size_bytes,
        name=drift.new_name or "-",
        tags=",".join(sorted(drift.tags)) or "-",
    )


def _is(entry: trash.Entry, there: api.Volume) -> bool:
    """Return whether an object is what the trash has as this entry."""
    return entry.global_id == there.global_id


def _advice(mended: Sequence[Drift]) -> list[str]:
    lines = []
    if any(_is_known_by_another_id(each) for each in mended):
        lines.append(
            "a host whose Vdsm still has a row of the old one refuses to attach it (error 929):"
            " restart vdsmd there"
        )
    lines += [
        f"oVirt shows another size: extend disk {each.node.root} there to"
        f" {findings.gib(each.there.size_bytes)} or more"
        for each in mended
        if each.is_resized and each.node.kind == "volume"
    ]
    return lines


def _is_known_by_another_id(drift: Drift) -> bool:
    """Return whether hosts are told another global id of a volume from now on."""
    node, there = drift.node, drift.there
    before = reverts.lasting_id(there) if drift.is_reverted else node.global_id
    named = there.global_id if drift.new_name is not None else reverts.lasting_id(there)
    return node.kind == "volume" and before != named


def _unsure(node: mapping.Node, why: str) -> errors.Conflict:
    return errors.Conflict(
        f"{node.kind} {node.uuid}",
        why,
        f"tell which one it is: storpool-ovirt mend {node.uuid} ~GLOBALID",
    )


def _address(global_id: str | None) -> str:
    return names.address(global_id) if global_id else "none"
