"""What disks should be after each verb: a model of their trees, data and attachments, in plain
Python.

It knows the promises (an id alone decides; a repeat is a success; all or nothing where a device is
open) and nothing of how the product keeps them. Expectations are told before a verb runs
(`refusal`), effects are applied after it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import NamedTuple, Union

GIB = 1 << 30
BLOCK = 512
# Where tests write: at the ends of each GiB that a disk may have, so that growing and cutting are
# seen.
OFFSETS = (0, 4096, GIB - BLOCK, GIB, 2 * GIB - BLOCK, 2 * GIB, 3 * GIB - BLOCK, 4 * GIB - BLOCK)

PLANNED, LIVE, DELETING, REMOVED = "planned", "live", "deleting", "removed"

Argument = Union[str, int]


class Row(NamedTuple):
    """A row of the mapping, without what is only a hint (`connected`) or a record."""

    uuid: str
    kind: str
    root: str
    source: str | None
    size_bytes: int
    state: str
    global_id: str | None
    active: str | None
    replaced: str | None


@dataclass
class Node:
    """A volume or a snapshot of a disk's tree.

    `size_bytes` is what the mapping says and `real_bytes` what StorPool has: they differ only after
    a verb died. `exists` tells whether StorPool has the object.
    """

    uuid: str
    kind: str
    root: str
    source: str | None
    size_bytes: int
    state: str = LIVE
    active: str | None = None
    replaced: str | None = None
    exists: bool = True
    real_bytes: int = 0
    global_id: str | None = None
    data: dict[int, int] = field(default_factory=dict)

    def row(self) -> Row:
        """Return the mapping's row of this node."""
        return Row(*(getattr(self, name) for name in Row._fields))

    def read(self) -> dict[int, int]:
        """Return the byte that each block of the device is full of; what was never written reads
        zeros."""
        return {offset: self.data.get(offset, 0) for offset in OFFSETS if offset < self.real_bytes}


@dataclass(frozen=True)
class Pending:
    """What an operation left that died: `kind` is make, grow or drop."""

    kind: str
    disk: str
    uuid: str


class Model:
    """All disks. `open` are devices that hosts hold; `foreign` are ids whose names others have
    taken."""

    def __init__(self, foreign: frozenset[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self.attached: set[tuple[str, int]] = set()
        self.open: set[tuple[str, int]] = set()
        self.foreign = foreign
        self.pending: list[Pending] = []

    def tree(self, root: str) -> list[Node]:
        """Return the nodes of a disk."""
        return [node for node in self.nodes.values() if node.root == root]

    def active(self, uuid: str) -> str:
        """Return the volume that is meant where this id is to grow: a disk's own id means its
        active one."""
        node = self.nodes[uuid]
        return node.active or uuid if node.uuid == node.root else uuid

    def doomed(self, verb: str, uuid: str) -> list[Node]:
        """Return the nodes that go with this id."""
        node = self.nodes.get(uuid)
        if node is None:
            return []
        return self.tree(uuid) if verb == "delete" and node.root == uuid else [node]

    def meets(self, verb: str, *arguments: Argument) -> list[tuple[str, str]]:
        """Return the disks on which a verb puts right what died, each with the id that it names
        there."""
        uuid = str(arguments[0])
        node = self.nodes.get(uuid)
        met = [(node.root, uuid)] if node is not None else []
        if verb == "connection" and node is not None:
            made = any((each.kind, each.uuid) == ("make", uuid) for each in self.pending)
            met = met if made or node.state == DELETING else []
        if (verb == "delete" and node is not None and node.root == uuid) or (
            verb == "create" and node not in self.tree(uuid)
        ):
            met = []
        if verb == "clone" and node is not None and str(arguments[1]) in self.nodes:
            met.append((str(arguments[1]), str(arguments[1])))
        return [pair for pair in met if any(each.disk == pair[0] for each in self.pending)]

    def settle(self, disk: str, named: str) -> None:
        """Do what the next verb does about operations that died on this disk, of which it names a
        node."""
        for each in [each for each in self.pending if each.disk == disk]:
            node = self.nodes.get(each.uuid)
            if each.kind == "drop":
                if self._lost(each):
                    continue
                self._restore(disk)
            elif each.kind == "grow" and node is not None:
                node.size_bytes = node.real_bytes
            elif each.kind == "make" and node is not None:
                self._finish_or_undo(node, known=each.uuid in (named, disk))
            self.pending.remove(each)

    def refusal(self, verb: str, *arguments: Argument) -> str | None:
        """Name the class of the error that a verb has to raise; None where it has to succeed."""
        uuid = str(arguments[0])
        if verb == "create":
            return self._taken(uuid, None, int(arguments[1]))
        if verb == "clone":
            return self._not_live(uuid) or self._taken(str(arguments[1]), uuid, None)
        if verb in ("delete", "remove"):
            return self._not_deletable(verb, uuid)
        if verb == "extend" and uuid in self.nodes:
            uuid = self.active(uuid)
        refused = self._not_live(uuid)
        if (
            refused is None
            and verb in ("snapshot", "extend")
            and self.nodes[uuid].kind == "snapshot"
        ):
            return "Conflict"
        if refused is None and verb == "extend" and int(arguments[1]) < self.nodes[uuid].real_bytes:
            return "Conflict"
        return refused

    def touched(self, verb: str, *arguments: Argument) -> set[str]:
        """Return the ids whose rows and objects a verb may change, beside what it makes under a new
        id."""
        uuid = str(arguments[0])
        if verb == "clone":
            return {str(arguments[1])}
        if verb in ("delete", "remove"):
            return {node.uuid for node in self.doomed(verb, uuid)} | self._roots(uuid)
        if verb == "extend" and uuid in self.nodes:
            return {self.active(uuid)}
        return {uuid} | (self._roots(uuid) if verb in ("preview", "connection") else set())

    def apply(self, verb: str, *arguments: Argument, made: str = "") -> None:
        """Do what a verb does when it succeeds; `made` is the id that it returned."""
        uuid = str(arguments[0])
        made_disk = {"create": uuid, "clone": str(arguments[-1])}.get(verb)
        self.pending = [each for each in self.pending if each.uuid != made_disk]
        if verb == "create":
            self._make_disk(uuid, None, int(arguments[1]), {})
        elif verb == "clone":
            source = self.nodes[uuid]
            self._make_disk(
                str(arguments[1]), uuid, source.size_bytes, source.data, source.real_bytes
            )
        elif verb == "snapshot":
            self.nodes[made] = self.from_source(made, "snapshot", uuid)
        elif verb == "preview":
            self._preview(uuid, made)
        elif verb == "extend":
            node = self.nodes[self.active(uuid)]
            node.size_bytes = int(arguments[1])
            node.real_bytes = max(node.real_bytes, node.size_bytes)
        elif verb == "connection":
            self._connect(self.nodes[uuid])
        else:
            self._delete(verb, uuid)

    def from_source(self, uuid: str, kind: str, source: str) -> Node:
        """Return a new node of the tree that `source` is in, with the data that it has now."""
        origin = self.nodes[source]
        data = copy.copy(origin.data)
        return Node(
            uuid,
            kind,
            origin.root,
            source,
            origin.size_bytes,
            real_bytes=origin.real_bytes,
            data=data,
        )

    def _lost(self, drop: Pending) -> bool:
        """Tell whether the delete of a whole disk has taken the volume that the VM writes."""
        root = self.nodes.get(drop.disk)
        active = self.nodes.get(root.active or root.uuid) if root is not None else None
        return (
            drop.uuid == drop.disk
            and active is not None
            and active.state == DELETING
            and not active.exists
        )

    def _restore(self, disk: str) -> None:
        doomed = [node for node in self.tree(disk) if node.state == DELETING]
        gone = {node.uuid for node in doomed if not node.exists and node.global_id is not None}
        root = self.nodes.get(disk)
        if root is not None and disk not in gone and root.active in gone:
            root.active = self._previous(root, gone)
        for node in doomed:
            node.state = LIVE if node.global_id is not None else PLANNED
        for uuid in gone:
            if uuid == disk and len(gone) < len(self.tree(disk)):
                self.nodes[disk].state = REMOVED
            else:
                del self.nodes[uuid]

    def _finish_or_undo(self, node: Node, known: bool) -> None:
        if known and node.state != PLANNED:
            return
        if known and node.exists:
            node.state, node.size_bytes = LIVE, node.real_bytes
            return
        root = self.nodes[node.root]
        if root.active == node.uuid and root is not node:
            root.active = self._previous(root, {node.uuid})
        del self.nodes[node.uuid]

    def _roots(self, uuid: str) -> set[str]:
        return {self.nodes[uuid].root} if uuid in self.nodes else set()

    def _not_live(self, uuid: str) -> str | None:
        node = self.nodes.get(uuid)
        if node is None or node.state in (DELETING, REMOVED):
            return "NotFound"
        return "Conflict" if node.state == PLANNED else None

    def _taken(self, uuid: str, source: str | None, size_bytes: int | None) -> str | None:
        node = self.nodes.get(uuid)
        if node is None:
            return "Conflict" if uuid in self.foreign else None
        same = (node.kind, node.root, node.source) == ("volume", uuid, source) and node.state in (
            PLANNED,
            LIVE,
        )
        return None if same and size_bytes in (None, node.size_bytes) else "Conflict"

    def _not_deletable(self, verb: str, uuid: str) -> str | None:
        if uuid in self.foreign:
            return "Conflict"
        node = self.nodes.get(uuid)
        gone = node is None or node.state == REMOVED
        if verb == "remove" and not gone and uuid == (self.nodes[node.root].active or node.root):
            return "Conflict"
        doomed = {node.uuid for node in self.doomed(verb, uuid)}
        return "InUse" if any(holder in doomed for holder, _ in self.open) else None

    def _make_disk(
        self,
        uuid: str,
        source: str | None,
        size_bytes: int,
        data: dict[int, int],
        real_bytes: int = 0,
    ) -> None:
        there = self.nodes.get(uuid)
        if there is None or not there.exists:
            real_bytes = max(size_bytes, real_bytes)
            self.nodes[uuid] = Node(
                uuid,
                "volume",
                uuid,
                source,
                size_bytes,
                active=uuid,
                real_bytes=real_bytes,
                data=copy.copy(data),
            )
        else:
            there.state = LIVE

    def _preview(self, source: str, made: str) -> None:
        node = self.from_source(made, "volume", source)
        root = self.nodes[node.root]
        node.replaced = root.active or root.uuid
        current = self.nodes.get(node.replaced)
        node.size_bytes = max(node.size_bytes, current.size_bytes if current else 0)
        node.real_bytes = max(node.real_bytes, node.size_bytes)
        self.nodes[made] = node
        root.active = made

    def _connect(self, node: Node) -> None:
        if node.kind == "volume":
            self.nodes[node.root].active = node.uuid

    def _delete(self, verb: str, uuid: str) -> None:
        node = self.nodes.get(uuid)
        if node is None:
            return
        gone = {each.uuid for each in self.doomed(verb, uuid)}
        root = self.nodes[node.root]
        if gone == {each.uuid for each in self.tree(root.uuid)}:
            self.pending = [each for each in self.pending if each.disk != root.uuid]
        if root.active in gone and root.uuid not in gone:
            root.active = self._previous(root, gone)
        self.attached = {(each, client_id) for each, client_id in self.attached if each not in gone}
        if verb == "remove" and uuid == root.uuid:
            root.state, root.exists = REMOVED, False
            return
        for each in gone:
            del self.nodes[each]

    def _previous(self, root: Node, gone: set[str]) -> str:
        """Return what the active volume had replaced, if that is still there; else the disk's first
        volume."""
        active = root.active
        while active in gone:
            active = self.nodes[active].replaced if active is not None else None
        return active if active in self.nodes else root.uuid
