"""Random lives of VMs with several disks: snapshots, faults, deaths, previews and administrators,
held against what Engine was told and what guests wrote."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, ClassVar

import random_lives
from disk_life import choose
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from test_disks_stateful import OVERCOME, SWITCHES
from vm_life import CONSTANT, GIB, MOST_DISKS, ODD, Trouble, VmLife

from rigs import services
from rigs.disk_rig import Fault
from rigs.yard import MANY_TIMES

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

LIVES, STEPS = 25, 12  # about half a minute

QUERIES = tuple(
    (
        "VolumesGroupSnapshot VolumeSnapshot Volume Snapshot AttachmentsList VolumesList"
        " SnapshotDelete KV/Set"
    ).split()
)
variants = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in SWITCHES.items()}
    | {"group_partial": st.sampled_from(("none", "error", "listed"))}
)
faults = st.one_of(
    st.builds(
        Fault, st.sampled_from(OVERCOME), st.sampled_from([None, *QUERIES]), st.integers(1, 3)
    ),
    st.builds(Fault, st.sampled_from(("refuse", "error_200")), st.sampled_from(QUERIES)),
    st.builds(Fault, st.just("death"), lines=st.integers(1, 250)),
    st.builds(Fault, st.just("undelivered")),
    st.builds(Fault, st.just("busy"), times=st.integers(0, 9)),
    # The answer never comes (`query` says what becomes of the call), or the group is made in part
    st.builds(
        Fault,
        st.just("lost"),
        st.sampled_from(("reset_before", "reset_after")),
        lines=st.just(MANY_TIMES),
    ),
    st.builds(
        Fault,
        st.just("part"),
        st.sampled_from((None, "reset_after")),
        st.integers(1, 2),
        st.just(1),
    ),
)
troubles = st.one_of(st.none(), st.builds(Trouble, st.integers(0, 3), faults))
numbers = st.integers(0, 999)  # picks one of what there is at that moment
guests = st.integers(0, 1)


class Vms(VmLife, RuleBasedStateMachine):
    """One Engine, two VMs, and what may happen to them."""

    passes: ClassVar[collections.Counter[str]] = collections.Counter()

    @initialize(switches=variants, clients=st.sampled_from(((1, 1), (1, 2))))
    def start(self, switches: dict[str, str], clients: tuple[int, int]) -> None:
        """A new cluster, of one of the kinds that StorPool may be."""
        self.open(switches, clients)

    # What Engine asks

    @rule(
        number=guests,
        order=numbers,
        unticked=st.sampled_from((0, 0, 1)),
        key=st.sampled_from(("new", "new", "constant", "odd")),
        trouble=troubles,
    )
    def snapshot(
        self, number: int, order: int, unticked: int, key: str, trouble: Trouble | None
    ) -> None:
        """T78: of all disks of a VM, or of all but some."""
        volumes = self.asked(self.guests[number], order, unticked)
        correlation_id = {"constant": CONSTANT, "odd": ODD}.get(key) or self.new_id()
        is_over = not order % 2  # what earlier actions left over cannot be claimed any more
        if correlation_id == CONSTANT and not self.is_fresh:
            is_over = True
            self.pass_time()
        elif is_over:
            self.let_a_minute_pass()
        self.act([volumes], correlation_id, trouble)
        is_all = {*self.grouped(self.guests[number])} <= {*volumes}
        is_undisturbed = is_all and trouble is None
        self.is_fresh = is_undisturbed and (is_over or correlation_id == CONSTANT)
        if is_undisturbed and is_over and correlation_id != ODD:
            self.check_left(self.guests[number])

    @rule(order=numbers, trouble=troubles)
    def export(self, order: int, trouble: Trouble | None) -> None:
        """T78: of two VMs under one correlation id, one VM after the other."""
        orders = [self.asked(guest, order) for guest in self.guests]
        self.act(orders, self.new_id(), trouble)

    @precondition(lambda self: self.told)
    @rule(number=numbers)
    def remove(self, number: int) -> None:
        """A snapshot of a group goes like any other."""
        snapshot = choose([*self.told], number)
        self.log("remove", snapshot)
        self.yard.verb("remove", snapshot)
        del self.told[snapshot]

    @rule(number=numbers, guest=guests, gib=st.integers(1, 3), death=st.integers(0, 120))
    def extend(self, number: int, guest: int, gib: int, death: int) -> None:
        """A disk grows, or what grows it dies: the next snapshot puts that right."""
        volumes = self.guests[guest].volumes
        if volumes:
            self.grow(choose(volumes, number), gib * GIB, death)

    @precondition(lambda self: self.told)
    @rule(number=numbers)
    def preview(self, number: int) -> None:
        """A VM is stopped, a preview of one of its snapshots takes the disk's place, it starts."""
        snapshot = choose([*self.told], number)
        self.log("preview", snapshot)
        self.replace_by_preview(snapshot)

    @precondition(lambda self: self.replaced)
    @rule(number=numbers)
    def undo(self, number: int) -> None:
        """The preview goes, and the disk is what it was."""
        volume = choose([*self.replaced], number)
        self.log("undo", volume)
        self.undo_preview(volume)

    @rule(number=numbers, guest=guests)
    def delete(self, number: int, guest: int) -> None:
        """A whole disk goes, with all of its snapshots."""
        there = self.guests[guest]
        if len(there.volumes) > 1:
            volume = choose(there.volumes, number)
            self.log("delete", volume)
            self.delete_disk(there, volume)

    # What happens to VMs

    @rule(number=guests)
    def grow_vm(self, number: int) -> None:
        """A VM gets a disk."""
        guest = self.guests[number]
        if len(guest.volumes) < MOST_DISKS:
            self.log("plug a new disk")
            self.plug(guest, self.make())

    @rule(number=numbers, guest=guests, hook=st.booleans())
    def unplug_one(self, number: int, guest: int, hook: bool) -> None:
        """A VM loses a disk that stays its own; Engine asks for snapshots of it too."""
        there = self.guests[guest]
        if there.plugged:
            volume = choose(sorted(there.plugged), number)
            self.log("unplug", volume)
            self.unplug(there, volume, hook=hook)

    @rule(number=numbers, guest=guests, other=st.booleans())
    def plug_one(self, number: int, guest: int, other: bool) -> None:
        """A VM gets it back, or the other one does."""
        there = self.guests[guest]
        out = [each for each in there.volumes if each not in there.plugged]
        if out:
            volume = choose(out, number)
            to = self.guests[1 - guest] if other else there
            self.log("plug", volume, to.tag)
            there.volumes.remove(volume)
            self.plug(to, volume)

    @rule(number=numbers, guest=guests)
    def share(self, number: int, guest: int) -> None:
        """A disk becomes shareable, and belongs to no VM; or it is one VM's again."""
        there = self.guests[guest]
        if there.plugged:
            volume = choose(sorted(there.plugged), number)
            self.log("share", volume)
            self.mark_shared(there, volume)

    # Time, StorPool's services, and the administrator

    @rule(number=numbers)
    def service_pass(self, number: int) -> None:
        """VolumeCare takes all disks of a VM, or storpool_qos looks at all volumes."""
        self.log("pass", number % 2)
        self.yard.beside().play(number)

    @rule()
    def pass_time(self) -> None:
        """A minute passes: what was made then belongs to no action of now."""
        self.log("a minute")
        self.let_a_minute_pass()
        self.is_fresh = True

    @rule()
    def reconcile(self) -> None:
        """T72: what nobody was told of is named and removed."""
        self.log("reconcile")
        self.put_right()

    @invariant()
    def nothing_told_is_lost(self) -> None:
        """What Engine was told is there, whatever happened."""
        if self.rig is not None:
            self.check_told()

    def teardown(self) -> None:
        """One more snapshot of each VM is whole, and has removed what was left of its disks;
        reconcile does so with all else."""
        if self.rig is None:
            return
        try:
            if self.is_sound:
                self.end_well()
        finally:
            self.passes.update(self.rig.beside().done)
            self.rig.close()


def test_random_lives_of_vms(database: Database, tmp_path: Path) -> None:
    """T78, T79, T71, T72, T76: whatever happens in whatever order, also beside VolumeCare, the
    snapshots of one action are of one moment, what was told stays, and the rest goes."""
    random_lives.lived(Vms, LIVES, STEPS, database, tmp_path)
    assert services.idle(Vms.passes) == []
