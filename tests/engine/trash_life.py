"""A life of disks whose domain has a trash, beside a model of what has to be in it.

One cluster and one Engine serve all lives: what a life leaves is removed by hand at its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from storpool_ovirt import errors

if TYPE_CHECKING:
    from rigs.yard import Yard

DISKS = tuple(f"d{number}000000-0000-4000-8000-000000000000" for number in range(3))
HOUR = 3600
DELAY = 48 * HOUR
# What is left of an entry's time when it is looked at: by whom a second more or less has passed
# is not asked.
SLACK_SECONDS = 120
_TABLES = "node, storpool_ovirt.operation, storpool_ovirt.moment, storpool_ovirt.trash"
_numbers = itertools.count(1)


@dataclasses.dataclass
class Node:
    """What Engine and a guest know of one object: what it is, of which disk, and its data."""

    kind: str
    disk: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class Kept:
    """What has to be in the trash: data, and until when by StorPool's clock."""

    node: str
    data: bytes
    ends_at: float


class Row(NamedTuple):
    """What is asked of a row of the trash."""

    entry: str
    node: str
    deletion: str


class TrashLife:
    """What Engine, guests and time do, and what has to be true after each of it."""

    def __init__(self, yard: Yard, snapshot_delay: int) -> None:
        self.yard = yard
        yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=snapshot_delay)
        self._delays = (DELAY, snapshot_delay)
        self.nodes: dict[str, Node] = {}
        self.kept: dict[str, Kept] = {}
        self.passed = 0.0
        self.wipe()

    @property
    def now(self) -> float:
        """The time by StorPool's clock."""
        return time.time() + self.passed

    def wipe(self) -> None:
        """Remove whatever is there of ours."""
        self.yard.sql(f"TRUNCATE storpool_ovirt.{_TABLES} CASCADE")
        for kind in ("Volume", "Snapshot"):
            for each in self.yard.ask(f"{kind}sList"):
                if each["tags"].get("ovirt-loc") == self.yard.location and not (
                    each.get("deleted") or each.get("transient")
                ):
                    self._detach(each["globalId"], kind.lower())
                    self.yard.ask(f"{kind}Delete/~{each['globalId']}", {})

    # What is done

    def create(self, disk: str) -> None:
        """Have Engine make a disk, perhaps with an id that was used before."""
        if disk in self.nodes:
            return
        self.yard.verb("create", disk, GIB)
        self.nodes[disk] = Node("volume", disk, bytes(8))

    def clone(self, place: int, disk: str) -> None:
        """Have Engine clone a node into a new disk."""
        source = self._chosen(place)
        if source is None or disk in self.nodes:
            return
        self.yard.verb("clone", source, disk)
        self.nodes[disk] = Node("volume", disk, self.nodes[source].data)

    def write(self, place: int) -> None:
        """Have a guest write to a disk's active volume."""
        disk = self._chosen(place, "disk")
        if disk is None:
            return
        active = self.yard.active(disk) or disk
        node = self.nodes[active]
        node.data = b"%08d" % next(_numbers)
        with self._device(self.yard.global_id(active)) as path, path.open("r+b") as device:
            device.write(node.data)

    def snapshot(self, place: int) -> None:
        """Have Engine snapshot a disk."""
        disk = self._chosen(place, "disk")
        if disk is None:
            return
        active = self.yard.active(disk) or disk
        made = self.yard.verb("snapshot", active)
        self.nodes[made] = Node("snapshot", disk, self.nodes[active].data)

    def preview(self, place: int) -> None:
        """Have Engine preview a snapshot."""
        source = self._chosen(place, "snapshot")
        if source is None:
            return
        made = self.yard.verb("preview", source)
        self.nodes[made] = Node("volume", self.nodes[source].disk, self.nodes[source].data)

    def undo(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine undo a preview: that is never kept."""
        chosen = self._chosen(place, "preview")
        if chosen is not None:
            self._deleted("delete", chosen, [], [chosen], fault, then)

    def remove(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine delete a snapshot, or the volume that a commit has replaced."""
        chosen = self._chosen(place)
        if chosen is None or self.yard.active(self.nodes[chosen].disk) == chosen:
            return
        kept = [chosen] if self._delays[1] else []
        self._deleted("remove", chosen, kept, [chosen], fault, then)

    def delete(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine delete a disk."""
        disk = self._chosen(place, "disk")
        if disk is not None:
            whole = [uuid for uuid, node in self.nodes.items() if node.disk == disk]
            self._deleted("delete", disk, whole, whole, fault, then)

    def wait(self, hours: int) -> None:
        """Let time pass for StorPool, and have it looked at what has ended."""
        self.yard.simulator.advance(hours * HOUR)
        self.passed += hours * HOUR

    # What has to be so

    def check(self) -> None:
        """What is in the trash is what has to be there; nothing in use has a date."""
        seen = self.yard.see()
        live = {row.global_id for row in seen.rows.values() if row.state == "live"}
        assert {f"ovirt--{uuid}" for uuid in self.nodes} == set(seen.things), "what is in use"
        listed = {each["globalId"]: each for each in self.yard.ask("SnapshotsList")}
        for global_id in live & listed.keys():
            assert not listed[global_id]["targetDeleteDate"], "a date on what is in use"
        for entry, kept in self.kept.items():
            left = kept.ends_at - self.now
            assert (entry in seen.trash) == (left > 0) or abs(left) < SLACK_SECONDS, kept
        assert set(seen.trash) <= set(self.kept), "something that nobody put there"
        assert {each.entry for each in self._entries()} == set(self.kept)

    def end(self) -> None:
        """Check all data, in use and in the trash."""
        self.check()
        seen = self.yard.see()
        for uuid, node in self.nodes.items():
            self._check_data(seen.things[f"ovirt--{uuid}"].global_id, node.kind, node.data)
        for entry, kept in self.kept.items():
            if entry in seen.trash:
                self._check_data(seen.trash[entry].global_id, "snapshot", kept.data)

    def _deleted(
        self,
        verb: str,
        named: str,
        kept: list[str],
        gone: list[str],
        fault: Fault | None,
        then: str,
    ) -> None:
        """Have something deleted; where that dies, go on as `then` says, and see how it ended."""
        before = {each.entry for each in self._entries()}
        ends_at = self.now + self._delays[verb == "remove" or len(gone) == 1 != len(kept)]
        if verb == "delete" and kept:
            ends_at = self.now + DELAY
        try:
            self.yard.verb(verb, named, fault=fault)
        except (Death, errors.Error) as error:
            assert fault is not None, error
            self._go_on(verb, named, then)
        rows = self.yard.see().rows
        left = [uuid for uuid in gone if uuid in rows and rows[uuid].state == "live"]
        assert left in ([], gone), f"a part of {verb} was taken back: {left}"
        new = [each for each in self._entries() if each.entry not in before]
        if left:
            assert then != "again"
            assert new == [], "what is in use is not in the trash"
            return
        assert sorted(each.node for each in new) == sorted(kept)
        assert len({each.deletion for each in new}) <= 1
        for each in new:
            self.kept[each.entry] = Kept(each.node, self.nodes[each.node].data, ends_at)
        for uuid in gone:
            del self.nodes[uuid]

    def _go_on(self, verb: str, named: str, then: str) -> None:
        if then == "again":
            self.yard.verb(verb, named)
        elif then == "other":
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                self.yard.verb("connection", self.nodes[named].disk)
        self.yard.reconcile()

    def _entries(self) -> list[Row]:
        return [
            Row(*row)
            for row in self.yard.sql(
                "SELECT entry::text, node::text, deletion::text FROM storpool_ovirt.trash"
            )
        ]

    def _chosen(self, place: int, kind: str = "") -> str | None:
        found = [
            uuid
            for uuid, node in self.nodes.items()
            if kind in ("", node.kind)
            or (kind == "disk" and node.disk == uuid)
            or (kind == "preview" and node.kind == "volume" and node.disk != uuid)
        ]
        return found[place % len(found)] if found else None

    @contextlib.contextmanager
    def _device(self, global_id: str, kind: str = "volume") -> Any:
        way = "rw" if kind == "volume" else "ro"
        self.yard.ask("VolumesReassignWait", {"reassign": [{kind: f"~{global_id}", way: [1]}]})
        yield self.yard.device(1, global_id)
        self._detach(global_id, kind)

    def _detach(self, global_id: str, kind: str) -> None:
        if any(each["globalId"] == global_id for each in self.yard.ask("AttachmentsList")):
            item = {kind: f"~{global_id}", "detach": "all"}
            self.yard.ask("VolumesReassignWait", {"reassign": [item]})

    def _check_data(self, global_id: str, kind: str, data: bytes) -> None:
        with self._device(global_id, kind) as path, path.open("rb") as device:
            assert device.read(len(data)) == data
