"""A life of disks whose domain has a trash: what Engine, guests, administrators and time do, beside
a model of what has to come of it (`trash_model.py`).

One cluster and one Engine serve all lives: what a life leaves is removed by hand at its end.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from trash_model import DELAY, EMPTY, SLACK_SECONDS, Node, Open, TrashModel

from rigs import kept_tags, trash_yard
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from storpool_ovirt import errors
from storpool_ovirt.admin import reconcile
from storpool_ovirt.admin.trash_purge import Which

if TYPE_CHECKING:
    from collections.abc import Callable

    from rigs.near_yard import NearYard
    from storpool_ovirt.admin import audit

DISKS = tuple(f"d{number}000000-0000-4000-8000-000000000000" for number in range(3))
HOUR = 3600
# The fault of a process that dies before its n-th request or statement.
STEP = "step"
DONE, DIED, REFUSED = "done", "died", "refused"
_numbers = itertools.count(1)


class TrashLife:
    """What is done, and what has to be true after each of it; `done` counts what was done."""

    def __init__(
        self,
        yard: NearYard,
        done: collections.Counter[str],
        snapshot_delay: int,
        *,
        is_honoured: bool = True,
    ) -> None:
        yard.given(
            delete_delay_seconds=DELAY,
            snapshot_delete_delay_seconds=snapshot_delay,
            **kept_tags.DOMAIN,
        )
        yard.simulator.switches.set({"deferred_deletion": "on" if is_honoured else "off"})
        yard.wipe()
        self.yard = yard
        self.done = done
        self.snapshot_delay = snapshot_delay
        self.mood = ""  # of whoever draws what happens
        self.model = TrashModel(yard)
        self.model.is_honoured = is_honoured

    # What Engine and guests do

    def create(self, disk: str) -> None:
        """Have Engine make a disk, perhaps with an id that was used before."""
        self.yard.verb("create", disk, GIB)
        self.model.nodes[disk] = Node("volume", disk, frozenset({EMPTY}))

    def clone(self, place: int, disk: str) -> None:
        """Have Engine clone a node into a new disk."""
        source = self._one(place, "any")
        if self._tried(source, "clone", source, disk):
            self.model.nodes[disk] = Node("volume", disk, self.model.nodes[source].data)

    def write(self, place: int) -> None:
        """Have a guest write to a disk's active volume."""
        seen = self.yard.see()
        disk = self._one(place, "disk")
        active = (seen.rows[disk].active or disk) if disk in seen.rows else disk
        thing = seen.things.get(f"ovirt--{active}")
        if thing is not None and thing.kind == "volume":
            data = b"%08d" % next(_numbers)
            with self.yard.held(thing.global_id, "volume") as path, path.open("r+b") as device:
                device.write(data)
            self.model.nodes[active].data = frozenset({data})
            self.done["written while open"] += self.model.is_open(disk)

    def snapshot(self, place: int) -> None:
        """Have Engine snapshot a disk."""
        seen = self.yard.see()
        disk = self._one(place, "disk")
        active = (seen.rows[disk].active or disk) if disk in seen.rows else disk
        [made] = self._tried(active, "snapshot", active) or [None]
        if made:
            self.model.nodes[made] = Node("snapshot", disk, self.model.nodes[active].data)

    def preview(self, place: int) -> None:
        """Have Engine preview a snapshot."""
        source = self._one(place, "snapshot")
        disk = self.model.nodes[source].disk
        [made] = self._tried(source, "preview", source) or [None]
        if made:
            self.model.nodes[made] = Node("volume", disk, self.model.nodes[source].data)

    def connect(self, place: int) -> None:
        """Have Engine ask how a host reaches something."""
        uuid = self._one(place, "any")
        self._tried(uuid, "connection", uuid)

    def undo(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine undo a preview: that is never kept."""
        uuid = self._one(place, "preview")
        self._deleted("delete", uuid, [uuid], [], DELAY, fault, then)

    def remove(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine delete a snapshot, or the volume that a commit has replaced."""
        uuid = self._one(place, "any")
        disk = self.model.nodes[uuid].disk
        rows = self.yard.see().rows
        if disk not in rows or (rows[disk].active or disk) != uuid:
            kept = [uuid] if self.snapshot_delay else []
            self._deleted("remove", uuid, [uuid], kept, self.snapshot_delay, fault, then)

    def delete(self, place: int, fault: Fault | None, then: str) -> None:
        """Have Engine delete a disk."""
        disk = self._one(place, "disk")
        whole = [uuid for uuid, node in self.model.nodes.items() if node.disk == disk]
        self._deleted("delete", disk, whole, whole, DELAY, fault, then)

    # What administrators and time do

    def restore(self, place: int, disk: str, by: str, made: bool, step: int, then: str) -> None:
        """Have something be restored into a fresh disk, or one that Engine makes later."""
        entry, named = self._kept_one(place, by)
        data = self.model.kept[entry].data
        if made:
            self.create(disk)
            self.model.nodes[disk].data |= data
        else:
            self.model.nodes[disk] = Node("volume", disk, data)
        self.model.restoring[disk] = made
        self.done["restores"] += 1
        # What was cloned of an older disk with this id tells of it as its source
        is_named = any(row.source == disk for row in self.yard.see().rows.values())

        def act(_: Fault | None) -> None:
            trash_yard.restored(self.yard, named, disk)

        ended = self._ended(act, at(step), may_refuse=made and is_named)
        if ended == DIED:
            self.done["restores that died"] += 1
            if then == "again":
                ended = self._ended(act, None, may_refuse=made and is_named)
            self._go_on(disk, then)
        if ended == DONE:
            self.model.nodes[disk].data = data

    def purge(self, place: int, by: str, step: int, then: str) -> None:
        """Have something be purged before its time, or all of its deletion."""
        entry, _ = self._kept_one(place, "entry")
        named = entry if by == "entry" else self.model.kept[entry].deletion
        for key, kept in self.model.kept.items():
            kept.is_dying |= named in (key, kept.deletion)
        self.done["purges"] += 1
        ended = self._ended(lambda _: self._purge(named), at(step))
        if ended == DIED:
            self.done["purges that died"] += 1
            if then == "again":
                with contextlib.suppress(errors.NotFound):
                    self._purge(named)
            self._go_on(named, then)
        self.model.follow()
        self._end_purges(named, has_to=ended == DONE or then == "again")

    def _purge(self, named: str) -> None:
        trash_yard.purged(self.yard, Which(uuid=named))

    def _end_purges(self, uuid: str, *, has_to: bool) -> None:
        """Have what was purged be gone where it has to be, and be as before where it is."""
        there, rows = self.yard.see().trash, {each.entry: each for each in self.model.entries()}
        for entry, kept in self.model.kept.items():
            if kept.is_dying and uuid in (entry, kept.deletion):
                assert kept.is_held or not has_to, "purged, and it is there"
                if entry in there and rows[entry].ends_at:
                    kept.is_dying = False  # nothing has come of it

    def hold(self, place: int) -> None:
        """Have somebody read something that is in the trash, or end that."""
        entry, _ = self._kept_one(place, "entry", held=True)
        kept, thing = self.model.kept[entry], self.yard.see().trash[entry]
        if kept.is_held:
            self.yard.let_go(thing.global_id, "snapshot")
        else:
            item = {"snapshot": f"~{thing.global_id}", "ro": [2]}
            self.yard.ask("VolumesReassignWait", {"reassign": [item]})
        kept.is_held = not kept.is_held
        self.done["holds"] += 1

    def wait(self, hours: int) -> None:
        """Let time pass."""
        self.yard.wait(hours * HOUR)

    def reconcile(self) -> None:
        """Have the audit's findings be mended, and what is over be forgotten, as the command
        does."""
        before, there = self.model.entries(), self.yard.see().trash
        report = self.yard.report()
        with self.yard.administrator("reconcile") as work:
            reconcile.forget(work, reconcile.over(report))
        left = {each.entry for each in self.model.entries()}
        for each in before:
            is_over = each.ends_at < self.yard.now and each.entry not in there
            assert is_over or each.entry in left, "a row was forgotten whose object is there"
            is_long = is_over and each.ends_at < self.yard.now - SLACK_SECONDS
            assert not is_long or each.entry not in left or self.model.open, "nobody forgets it"
            if each.entry not in left:
                del self.model.kept[each.entry]
                self.done["rows that were over"] += 1
        self._mend(report)
        self.model.follow()
        for entry in [entry for entry, kept in self.model.kept.items() if kept.is_dying]:
            self._end_purges(entry, has_to=False)

    # What has to be so

    def check(self) -> None:
        """Look how what was open has gone on, and that all is as it has to be, with its tags
        (T79)."""
        self.model.follow()
        self.model.check()
        kept_tags.check(self.yard)

    def end(self) -> None:
        """End all that is open, and check all data, in use and in the trash."""
        for entry, kept in self.model.kept.items():
            if kept.is_held:
                self.yard.let_go(self.yard.see().trash[entry].global_id, "snapshot")
        self.done["open at the end"] += bool(self.model.open)
        self.reconcile()
        for disk in {each.disk for each in self.model.open}:
            with contextlib.suppress(errors.Conflict):
                self.yard.verb("delete", disk)
        self.check()
        assert not self.model.open, "nothing ends it"
        seen = self.yard.see()
        for uuid in self.model.nodes:
            self.model.read(seen, uuid)
        for entry in self.model.kept:
            if entry in seen.trash:
                self.model.read_kept(seen, entry)
        assert self.yard.forced() == []
        self.yard.beside().end()

    # How

    def _tried(self, uuid: str, verb: str, *arguments: Any) -> list[Any]:
        """Have a verb run on something; return its answer, nothing where it was refused as
        something is open there."""
        disk = self.model.nodes[uuid].disk if uuid in self.model.nodes else uuid
        was_open = self.model.is_open(disk)
        self.done["verbs on what was open"] += was_open
        try:
            answer = [self.yard.verb(verb, *arguments)]
        except errors.Error as error:
            assert was_open, error
            answer = []
        if was_open:
            self.model.follow()
            if answer:
                assert uuid in self.model.nodes, "a verb has done something with what is gone"
        return answer

    def _deleted(
        self,
        verb: str,
        named: str,
        gone: list[str],
        kept: list[str],
        delay: int,
        fault: Fault | None,
        then: str,
    ) -> None:
        """Have something deleted; where that dies, go on as `then` says."""
        model = self.model
        disk = model.nodes[gone[0]].disk
        # Of what is being restored the trash gets what is there, and Engine had
        there = self.yard.see().things if model.restoring else {}
        unsure = frozenset(
            uuid
            for uuid, was_made in model.restoring.items()
            if uuid in gone and not (was_made and f"ovirt--{uuid}" in there)
        )
        # What died at its last statement alone has done all that is seen
        was_open = model.is_open(disk) or disk in model.unfinished()
        begun = Open(disk, frozenset(gone), frozenset(kept), self.yard.now + delay, unsure)
        model.open.append(begun)
        model.deleting = disk
        if fault is not None and fault.query == "SnapshotDelete":
            model.uncleared |= {uuid for each in model.open for uuid in each.gone}
        self.done[verb] += 1
        self.done["verbs on what was open"] += was_open
        may_refuse = was_open or bool(kept and not model.is_honoured)

        def act(api_fault: Fault | None) -> None:
            self.yard.verb(verb, named, fault=api_fault)

        ended = self._ended(act, fault, may_refuse)
        if ended == DIED:
            self.done["deletes that died"] += 1
            if then == "again":
                ended = self._ended(act, None, may_refuse)
            self._go_on(disk, then)
        self.done[f"deletes {ended}"] += 1
        model.follow()
        model.deleting = ""
        self.done["deletes that died and stayed open"] += begun in model.open
        assert begun not in model.open or was_open or (ended, then) == (DIED, "left"), "it is open"
        assert ended != DONE or not set(gone) & set(model.nodes), "it was deleted, and it is there"

    def _ended(
        self, act: Callable[[Fault | None], object], fault: Fault | None, may_refuse: bool = False
    ) -> str:
        """Have something be done, and return how it ended; it dies of its fault alone."""
        is_step = fault is not None and fault.kind == STEP
        try:
            if fault is not None and is_step:
                with trash_yard.dying(fault.lines):
                    act(None)
            else:
                act(fault)
        except Death:
            return DIED
        except errors.Error as error:
            if fault is not None and not is_step:
                return DIED
            assert may_refuse, error
            return REFUSED
        return DONE

    def _go_on(self, disk: str, then: str) -> None:
        if then == "left":
            return
        if then == "other" and disk in self.model.nodes:
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                self.yard.verb("connection", disk)
        self._mend(self.yard.report())

    def _mend(self, report: audit.Report) -> None:
        """Have what the audit found be mended, but for what cannot be while somebody reads it, as
        the command does."""
        is_held = any(kept.is_held for kept in self.model.kept.values())
        for found in reconcile.plan(report):
            with contextlib.suppress(*[errors.Conflict] * is_held):
                self.yard.carry_out([found])

    def _one(self, place: int, kind: str) -> str:
        found = self.model.chosen(place, kind)
        assert found is not None
        return found

    def kept_ones(self, *, held: bool = False) -> list[str]:
        """Return the entries that can be restored or purged: of which it is certain that they are
        there."""
        return [
            entry
            for entry, kept in self.model.kept.items()
            if not kept.is_dying
            and ((held and kept.is_held) or kept.goes_at > self.yard.now + 2 * SLACK_SECONDS)
        ]

    @property
    def is_untidy(self) -> bool:
        """Whether an administrator finds something to mend."""
        model = self.model
        is_over = any(kept.goes_at < self.yard.now for kept in model.kept.values())
        is_dying = any(kept.is_dying for kept in model.kept.values())
        return is_over or is_dying or bool(model.open or model.restoring)

    @property
    def free(self) -> list[str]:
        """The disks' ids that nothing has."""
        model = self.model
        return [each for each in DISKS if each not in model.disks and not model.is_open(each)]

    def _kept_one(self, place: int, by: str, *, held: bool = False) -> tuple[str, str]:
        """Return an entry, and the id by which it is named: its own, or that of its deletion, which
        means the volume that the VM wrote."""
        found = self.kept_ones(held=held)
        entry = found[place % len(found)]
        kept = self.model.kept[entry]
        if by == "entry":
            return entry, entry
        # What a purge that died has left counts too: nothing else stands for what the VM wrote
        same = [key for key, one in self.model.kept.items() if one.deletion == kept.deletion]
        first = [each for each in same if self.model.kept[each].active] or [entry]
        if first[0] not in found or (len(same) > 1 and not self.model.kept[first[0]].active):
            return entry, entry
        return first[0], kept.deletion


def at(step: int) -> Fault:
    """Return the death before this request or statement."""
    return Fault(STEP, lines=step)
