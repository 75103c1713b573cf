"""A small model of what is sent between three clusters: what is where, with which contents, since
when and until when. It knows what was asked for and what has been answered, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

MIB, GIB = 1 << 20, 1 << 30
PIECES = 3  # of each volume; each has a MiB, or nothing yet
MIB_SECONDS = 8  # of a copy at the usual speed: what has no remainder in floats, so times are exact
USUAL, SLOWER = MIB_SECONDS << 10, MIB_SECONDS << 12  # seconds for a GiB

Content = tuple[int, ...]  # the byte of each piece; 0 is a hole
# A cluster and a snapshot in it: whose data come, or must have come.
Place = tuple[str, str]
# The snapshots and volumes of a cluster, each with the one that it stands on.
Tree = dict[str, Optional[str]]


def stored(content: Content) -> int:
    """Return how many bytes a content takes."""
    return MIB * sum(1 for byte in content if byte)


def link(one: str, other: str) -> tuple[str, str]:
    """Return the key of the bridges between two clusters."""
    return (one, other) if one < other else (other, one)


LINKS = (("far", "one"), ("far", "two"), ("one", "two"))


@dataclass
class Volume:
    """A volume, and the cluster that has it."""

    content: Content
    owner: str


@dataclass
class Backup:
    """A backup in "far"; `date` is when it is deleted, 0 for never."""

    content: Content
    base: str
    exported: bool = False
    deleted: bool = False
    date: int = 0


@dataclass
class Transfer:
    """Data on their way: `left` are bytes, `filled` if somebody has read them before their time;
    then the source may be `lost`."""

    source: Place
    left: float
    filled: bool = False
    lost: bool = False


@dataclass
class Move:
    """A volume that has a new owner, or is deleted there by now: its old one lists it as long as
    there are bytes `left`."""

    source: str
    target: str
    left: float


@dataclass
class World:
    """All of it. `here` has what was fetched and not deleted, `bases` what backups were made from
    and is not deleted; `failed` are snapshots whose data never come."""

    switches: dict[str, str]
    now: int
    delay: int | None = None
    volumes: dict[str, Volume] = field(default_factory=dict)
    backups: dict[str, Backup] = field(default_factory=dict)
    here: dict[str, Content] = field(default_factory=dict)
    bases: set[str] = field(default_factory=set)
    transfers: dict[Place, Transfer] = field(default_factory=dict)
    failed: dict[Place, bool] = field(default_factory=dict)  # whether it is filled
    moves: dict[str, Move] = field(default_factory=dict)
    down: set[tuple[str, str]] = field(default_factory=set)
    speed: dict[tuple[str, str], int] = field(default_factory=lambda: dict.fromkeys(LINKS, USUAL))

    # what is asked of it

    def is_up(self, one: str, other: str) -> bool:
        """Return whether the bridges between two clusters are up."""
        return link(one, other) not in self.down

    def is_seen(self, key: str) -> bool:
        """Return whether a backup is exported to us."""
        backup = self.backups.get(key)
        return backup is not None and backup.exported and not backup.deleted

    def travelling(self) -> set[Place]:
        """Return what is held: where data come to, and where they come from."""
        sources = {one.source for one in self.transfers.values() if not one.lost}
        return sources | self.transfers.keys()

    def has_data(self, place: Place) -> bool:
        """Return whether all data of a snapshot are there."""
        if place in self.failed:
            return self.failed[place]
        return place not in self.transfers or self.transfers[place].filled

    def use(self, place: Place) -> str:
        """Return what is said to somebody who wants to read a snapshot."""
        if self.has_data(place):
            return "ok"
        if place in self.failed or self.switches["recovering_use"] == "refuse":
            return "busy"
        source = self.transfers[place].source
        if not self.is_up(place[0], source[0]):
            return "multiCluster"
        return self.use(source)

    # what happens to it

    def fill(self, place: Place) -> None:
        """Have the data of a snapshot, and of what it comes from, there at once."""
        if not self.has_data(place):  # else it is no transfer, or is filled
            self.transfers[place].filled = True
            self.fill(self.transfers[place].source)

    def wait(self, seconds: int) -> None:
        """Let time pass: what ends ends."""
        self.now += seconds
        for (target, _), one in self.transfers.items():
            if self.is_up(target, one.source[0]):
                one.left -= seconds / self.speed[link(target, one.source[0])] * GIB
        for move in self.moves.values():
            if self.is_up(move.source, move.target):
                move.left -= seconds / self.speed[link(move.source, move.target)] * GIB
        self.settle()

    def settle(self) -> None:
        """End what has nothing left; a copy of a copy waits for data that nobody can have yet."""
        while True:
            due = [place for place in self.transfers if self._is_due(place)]
            if not due:
                break
            for place in due:
                self._end(place)
        for volume in [name for name, move in self.moves.items() if move.left <= 0]:
            del self.moves[volume]
        for backup in self.backups.values():
            backup.deleted = backup.deleted or 0 < backup.date <= self.now

    def _is_due(self, place: Place) -> bool:
        one = self.transfers[place]
        is_over = one.left <= 0 and self.is_up(place[0], one.source[0])
        return is_over and (one.filled or self.use(one.source) == "ok")

    def _end(self, place: Place) -> None:
        self.fill(place)
        del self.transfers[place]
        if place[0] == "far":
            self.backups[place[1]].exported = True
            self._end_base(place[1])

    def _end_base(self, key: str) -> None:
        if self.switches["backup_base"] == "remove":
            self.bases.discard(self.backups[key].base)

    def cancel(self, place: Place, trees: dict[str, Tree]) -> None:
        """Give a copy up: its snapshot goes unless somebody stands on it. What is a copy of it, and
        has no data yet, is given up too."""
        target, key = place
        tree, gone = trees[target], self.transfers.pop(place)
        is_kept = key in tree.values()
        for other in [one for one, each in self.transfers.items() if each.source == place]:
            if not self.transfers[other].filled and not (is_kept and gone.filled):
                self.cancel(other, trees)
            elif not is_kept:
                self.transfers[other].lost = True
        if is_kept:
            self.failed[place] = gone.filled
        else:
            tree.pop(key)
            if target == "far":
                self.backups[key].deleted = True
            else:
                self.here.pop(key, None)
        if target == "far":
            self._end_base(key)

    def cut(self, pair: tuple[str, str], trees: dict[str, Tree]) -> None:
        """Cut bridges: copies wait for them, or are given up."""
        self.down.add(pair)
        if self.switches["cut_copy"] == "fail":
            for target in ("one", "two", "far"):
                for place in [one for one in self.transfers if one[0] == target]:
                    one = self.transfers.get(place)
                    if one is not None and link(target, one.source[0]) == pair:
                        self.cancel(place, trees)

    def begin_again(self) -> None:
        """Take note of a new process: all bridges are up, and those without copies are fast."""
        self.down.clear()
        self.moves.clear()
        self.settle()
