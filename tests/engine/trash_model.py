"""What has to be in use and in the trash after each step of a life, also while deaths are open.

A delete that died is open until somebody ends it: until then each object that it takes is there, or
its copy is. How it ended is taken from what is seen, and held against what it may be.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from storpool_ovirt import trash_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.disk_rig import Seen
    from rigs.near_yard import NearYard

# By whom a second more or less has passed is not asked.
SLACK_SECONDS = 120
# What the trash gets after its end has passed is kept for so long all the same (`disposal.py`).
LEAST_SECONDS = 60
# For how long the domain keeps a disk that is deleted.
DELAY = 48 * 3600
EMPTY = bytes(8)


@dataclasses.dataclass
class Node:
    """What Engine and a guest know of one object; `data` is what it may read, one thing unless a
    restore is open."""

    kind: str
    disk: str
    data: frozenset[bytes]


@dataclasses.dataclass
class Kept:
    """What has to be in the trash, by the clock of the yard until `ends_at`, `goes_at` for
    StorPool; `is_dying`: a purge of it is open. A person who holds it (`is_held`) keeps it there.
    """

    node: str
    data: frozenset[bytes]
    deletion: str
    active: bool
    ends_at: float
    goes_at: float
    is_dying: bool = False
    is_held: bool = False


@dataclasses.dataclass(frozen=True)
class Open:
    """A delete that nobody has ended: what it takes, what of that the trash keeps, or may keep, and
    when that ends."""

    disk: str
    gone: frozenset[str]
    kept: frozenset[str]
    ends_at: float
    maybe: frozenset[str] = frozenset()


class Entry(NamedTuple):
    """What is asked of a row of the trash."""

    entry: str
    node: str
    deletion: str
    active: bool
    global_id: str
    ends_at: float


class TrashModel:
    """What is in use, what is kept, and what is open."""

    def __init__(self, yard: NearYard) -> None:
        self.yard = yard
        self.nodes: dict[str, Node] = {}
        self.kept: dict[str, Kept] = {}
        self.open: list[Open] = []
        # Disks that get something out of the trash, and whether Engine had made them
        self.restoring: dict[str, bool] = {}
        # Of what is open and has brought a part into the trash: until when that is
        self.begun: dict[Open, float] = {}
        # Of what is open, of which something was not there any more when it was looked at
        self.broken: set[Open] = set()
        # The disk of which Engine deletes something in this step
        self.deleting = ""
        self.is_honoured = True
        # What was deleted while StorPool deleted no snapshot: an earlier try's copy may be left
        self.uncleared: set[str] = set()

    @property
    def disks(self) -> list[str]:
        """The disks that Engine has, in the order in which they were made."""
        return list(dict.fromkeys(node.disk for node in self.nodes.values()))

    def is_open(self, disk: str) -> bool:
        """Return whether something on a disk waits for somebody who ends it."""
        return disk in self.restoring or any(each.disk == disk for each in self.open)

    # How what was open has ended

    def follow(self) -> None:
        """Take over what has become of what is open."""
        seen, entries = self.yard.see(), self.entries()
        busy = {disk for _, disk, _ in seen.pending}
        self._note_begun(seen, {each.entry for each in entries})
        ended = [each for each in self.open if each not in self.broken]
        by_others = {uuid for each in self.open if each in self.broken for uuid in each.gone}
        # A restore that is taken back takes the disk with it that Engine never had
        by_others |= {disk for disk, was_made in self.restoring.items() if not was_made}
        for disk in {each.disk for each in self.open}:
            self._follow_disk(disk, seen, entries, is_busy=disk in self.unfinished())
        for each in ended:
            if each not in self.open and each.disk != self.deleting:
                assert each.gone <= {*self.nodes, *by_others}, "not taken back, and all was there"
        self.broken |= {each for each in self.open if self._is_broken(seen, each)}
        for disk in [each for each in self.restoring if each not in busy]:
            self._follow_restore(disk, seen)
        rows = {each.entry: each for each in entries}
        for entry, kept in [(entry, each) for entry, each in self.kept.items() if each.is_dying]:
            if entry not in rows:
                assert entry not in seen.trash, "a row went before its object"
                del self.kept[entry]
            elif not rows[entry].ends_at:
                assert not kept.is_held or entry in seen.trash

    def _note_begun(self, seen: Seen, rows: set[str]) -> None:
        """Note until when that is of which a delete has brought a part into the trash, and has not
        ended: this counts for all of it."""
        for entry, thing in seen.trash.items():
            node, end = thing.tags["ovirt-uuid"], _end(thing.tags)
            is_new = entry not in rows and entry not in self.kept
            for each in self.open:
                is_its = node in each.gone and abs(end - each.ends_at) < SLACK_SECONDS
                is_gone = f"ovirt--{node}" not in seen.things and node not in self.uncleared
                if is_new and is_its and is_gone:
                    self.begun.setdefault(each, end)

    def unfinished(self) -> set[str]:
        """Return the disks on which a change is open; where one is done and an answer is missing
        alone, nothing is."""
        return {
            disk
            for (disk,) in self.yard.sql(
                "SELECT disk::text FROM storpool_ovirt.operation"
                " WHERE state NOT IN ('undone', 'done', 'undelivered')"
            )
        }

    def _is_broken(self, seen: Seen, each: Open) -> bool:
        return any(f"ovirt--{uuid}" not in seen.things for uuid in each.gone)

    def _follow_disk(self, disk: str, seen: Seen, entries: list[Entry], *, is_busy: bool) -> None:
        here = [each for each in self.open if each.disk == disk]
        takes = frozenset().union(*(each.gone for each in here))
        gone = {uuid for uuid in takes if _state(seen, uuid) in ("", "removed")}
        new = [each for each in entries if each.entry not in self.kept and each.node in takes]
        for each in here:
            alone = each.gone.difference(*(other.gone for other in here if other is not each))
            assert alone & gone in (frozenset(), alone), "a part of a delete was taken back"
        self._take_over(here, gone, new)
        left = [each for each in here if not each.gone & gone]
        if not is_busy:
            for uuid in takes - gone:
                assert _state(seen, uuid) == "live", "in use, and it cannot be used"
                copies = [each for each, thing in seen.trash.items() if _is_of(thing, uuid)]
                assert set(copies) <= set(self.kept), "what was taken back has left a copy"
            left = []
        self.open = [each for each in self.open if each not in here or each in left]
        for each in set(here).difference(left):
            self.begun.pop(each, None)
        if not any(node.disk == disk for node in self.nodes.values()):
            self.restoring.pop(disk, None)

    def _take_over(self, here: list[Open], gone: set[str], new: list[Entry]) -> None:
        """Have what is gone be in the trash, as far as it has to be."""
        assert {each.node for each in new} <= gone, "what is in use is not in the trash"
        for uuid in gone:
            by = [each for each in here if uuid in each.gone]
            found = [each for each in new if each.node == uuid]
            has_to = all(uuid in each.kept - each.maybe for each in by)
            has_to = has_to and not self._is_over(by)
            may = any(uuid in each.kept for each in by)
            assert len(found) <= may, "kept, and it was not to be, or twice"
            assert found or not has_to, f"{uuid} is lost"
            for each in found:
                self._check_end(each, by, gone)
                self.kept[each.entry] = self._kept(each)
            del self.nodes[uuid]
        if len(here) == 1 and not self._is_over(here):
            assert len({each.deletion for each in new}) <= 1, "one delete, several deletions"

    def _kept(self, each: Entry) -> Kept:
        goes_at = max(each.ends_at, self.yard.now + LEAST_SECONDS)
        node = self.nodes[each.node]
        return Kept(each.node, node.data, each.deletion, each.active, each.ends_at, goes_at)

    def _check_end(self, entry: Entry, by: list[Open], gone: set[str]) -> None:
        ends = [each.ends_at for each in by]
        if not self._is_over(by):
            begun = [self.begun[each] for each in by if each in self.begun]
            # What was removed alone before is kept for as long as the rest of its disk, if that
            # went: a delete that was taken back has no say
            wholes = [each for each in by if len(each.gone) > 1 and each.gone <= gone]
            whole = [each.ends_at for each in wholes if each not in self.begun]
            ends = [*begun, *whole] or ends
        else:  # the copies of what died are gone: what is left of it is kept as by a new delete
            ends = [*ends, self.yard.now + DELAY]
        assert any(abs(entry.ends_at - each) < SLACK_SECONDS for each in ends), "kept for how long?"

    def _is_over(self, by: list[Open]) -> bool:
        """Return whether the end has passed of what a delete that died had kept."""
        return min(each.ends_at for each in by) < self.yard.now + SLACK_SECONDS

    def _follow_restore(self, disk: str, seen: Seen) -> None:
        was_made = self.restoring[disk]
        if _state(seen, disk) == "":
            assert not was_made, "a disk of Engine's has no row"
            assert f"ovirt--{disk}" not in seen.things
            del self.nodes[disk], self.restoring[disk]
            return
        assert _state(seen, disk) == "live"
        self.read(seen, disk)
        del self.restoring[disk]

    # What has to be so

    def check(self) -> None:
        """Check that nothing is lost, left over, or dated that is in use."""
        seen = self.yard.see()
        open_nodes = {uuid for each in self.open for uuid in each.gone}
        named = {f"ovirt--{uuid}" for uuid in self.nodes}
        missing = {name.removeprefix("ovirt--") for name in named - set(seen.things)}
        assert set(seen.things) <= named, "something that nobody has"
        assert missing <= open_nodes | set(self.restoring), "something in use is lost"
        for each in self.open:
            for uuid in missing & each.kept - each.maybe - set(self.restoring):
                self._check_copied(seen, each, uuid)
        self._check_dates()
        rows = {each.entry: each for each in self.entries()}
        assert set(rows) <= set(self.kept), "a row that nothing has"
        for entry, kept in self.kept.items():
            if not kept.is_dying:
                self._check_kept(seen, entry, kept, rows)
        for entry, thing in seen.trash.items():
            may_have = open_nodes | self.uncleared
            assert entry in self.kept or any(_is_of(thing, uuid) for uuid in may_have), (
                "something that nobody put there"
            )

    def _check_copied(self, seen: Seen, each: Open, uuid: str) -> None:
        by = [other for other in self.open if uuid in other.gone]
        if all(uuid in other.kept for other in by) and not self._is_over(by):
            copies = [entry for entry, thing in seen.trash.items() if _is_of(thing, uuid)]
            assert set(copies) - set(self.kept), f"{uuid} of {each.disk} is lost"

    def _check_kept(self, seen: Seen, entry: str, kept: Kept, rows: dict[str, Entry]) -> None:
        left = kept.goes_at - self.yard.now
        is_there = entry in seen.trash
        if kept.is_held:
            assert is_there, "it went while somebody read it"
        else:
            assert is_there == (left > 0) or abs(left) < SLACK_SECONDS, kept
        assert entry in rows or not is_there, "an object without its row"
        assert entry in rows or kept.ends_at < self.yard.now, "a row is lost"
        if entry in rows:
            assert abs(rows[entry].ends_at - kept.ends_at) < 1, "an end was changed"
        if is_there:
            thing = seen.trash[entry]
            assert _is_of(thing, kept.node), "another one's data"
            assert abs(_end(thing.tags) - kept.ends_at) < 1, "row and tag have different ends"

    def _check_dates(self) -> None:
        for each in self.yard.ask("SnapshotsList"):
            if each.get("deleted") or each.get("transient"):
                continue
            if self.yard.beside().is_theirs(each):
                continue
            goes_at, entry = each["targetDeleteDate"], trash_names.entry_of(each["name"])
            if each["name"].startswith("ovirt--"):
                assert not goes_at, "a date on what is in use"
            elif entry is not None and (self.is_honoured or entry in self.kept):
                wanted = _end(each["tags"])
                latest = max(wanted, self.yard.now + LEAST_SECONDS)
                assert wanted - SLACK_SECONDS < goes_at < latest + SLACK_SECONDS, "a wrong date"

    def read(self, seen: Seen, uuid: str) -> None:
        """Check the data of what is in use; from now on it is known which they are."""
        node, thing = self.nodes[uuid], seen.things[f"ovirt--{uuid}"]
        node.data &= {self._read(thing.global_id, node.kind)}
        assert node.data, f"{uuid} has other data"

    def read_kept(self, seen: Seen, entry: str) -> None:
        """Check the data of what is in the trash."""
        kept = self.kept[entry]
        if not kept.is_held:  # it is attached already
            kept.data &= {self._read(seen.trash[entry].global_id, "snapshot")}
            assert kept.data, f"{kept.node} has other data in the trash"

    def entries(self) -> list[Entry]:
        """Return the rows of the trash."""
        return [
            Entry(*row)
            for row in self.yard.sql(
                "SELECT entry::text, node::text, deletion::text, active, global_id,"
                " extract(epoch FROM ends_at)::float FROM storpool_ovirt.trash"
            )
        ]

    def _read(self, global_id: str, kind: str) -> bytes:
        with self.yard.held(global_id, kind) as path, path.open("rb") as device:
            return device.read(len(EMPTY))

    def chosen(self, place: int, kind: str) -> str | None:
        """Return the object of this kind that a number means: a disk, a snapshot, a preview, or
        any."""
        found = list(self._all(kind))
        return found[place % len(found)] if found else None

    def _all(self, kind: str) -> Iterator[str]:
        if kind == "disk":
            yield from self.disks
            return
        for uuid, node in self.nodes.items():
            is_preview = node.kind == "volume" and node.disk != uuid and node.disk in self.nodes
            if kind in ("any", node.kind) or (kind == "preview" and is_preview):
                yield uuid


def _state(seen: Seen, uuid: str) -> str:
    return seen.rows[uuid].state if uuid in seen.rows else ""


def _is_of(thing: Any, uuid: str) -> bool:
    return bool(thing.tags["ovirt-uuid"] == uuid)


def _end(tags: Any) -> float:
    mark = trash_names.mark_of(tags)
    assert mark is not None, "in the trash without its mark"
    return float(mark[0])
