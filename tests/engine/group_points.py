"""Trials of a VM's snapshot, one of whose verbs is stopped or disturbed at each point where it
talks to a server.

A trial makes the whole snapshot undisturbed, which discovers the points of the verb in question,
and then again and again with new VMs, with one strike each time. Engine goes on to ask for the
other disks, and later for another snapshot of the VM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

import vm_ground
from fault_points import HASTY_SECONDS, KILLED, LATE_SECONDS, PATIENT_SECONDS, Strikes
from fault_world import FaultWorld, Scene
from vm_ground import Action, Vm
from wire_talks import HOLD, KILL, Strike
from wires import Point

from ovirt_demo import engine
from rigs import refusals, shared_stage
from storpool_ovirt.admin import audit, reconcile, survey

Order = Callable[[Sequence[str]], "list[str]"]


@dataclass
class Trial(Strikes):
    """A verb of a VM's snapshot: the `turn` in which Engine asks for its disk, of those in this
    `order`."""

    order: Order
    turn: int
    struck: Point | None = None

    def undisturbed(self) -> None:
        """Find the points; check that the snapshot is whole, and costs one group."""
        order = self._begin()[1]
        action = Action(shared_stage.new_id())
        self.world.simulator.calls.clear()
        for turn, disk in enumerate(order):
            self._ask(action, disk)
            if turn == self.turn:
                self.points = self.world.wires.points
        asked = self.world.simulator.calls.queries()
        assert asked.count("VolumesGroupSnapshot") == 1, asked
        assert "VolumeSnapshot" not in asked
        assert action.is_whole
        self.check_settled(action)

    def kill(self, point: Point, when: str, settle: Settle) -> None:
        """Kill the verb there; Engine goes on, and `settle` has to put things right."""
        strike = Strike(point.number, point.wire, when, KILL)
        with self._judged(point, strike):
            vm, order = self._begin()
            action = Action(shared_stage.new_id())
            result = self._go(action, order, strike)
            assert self.struck, "it never came to this point"
            assert result.returncode == KILLED
            if self._delivered(point, when):
                action.answers[order[self.turn]] = result.answer
            self._judge(action)
            settle(self, vm, action)

    def disturb(self, point: Point, when: str, how: str) -> None:
        """Put something else in the verb's way there: it ends in time, and the next snapshot of the
        VM is whole."""
        strike = Strike(point.number, point.wire, when, how)
        with self._judged(point, strike):
            for deadline in HASTY_SECONDS if how == HOLD else (PATIENT_SECONDS,):
                vm, order = self._begin()
                action = Action(shared_stage.new_id())
                result = self._go(action, order, strike, deadline)
                assert result.seconds < deadline + LATE_SECONDS
                if self.struck:
                    break
            assert self.struck, "it never came to this point"
            if result.returncode != 0:
                refusals.of_verb(result)
            self._judge(action)
            followed(self, vm, action)

    def unheard(self, settle: Settle) -> None:
        """Have nobody read the verb's answer: Engine has gone."""
        vm, order = self._begin()
        action = Action(shared_stage.new_id())
        for turn, disk in enumerate(order):
            if turn != self.turn:
                self._ask(action, disk)
                continue
            scene = Scene(("create_snapshot", disk), correlation_id=action.correlation_id)
            assert self.world.unheard(scene) == 1
            action.answers[disk] = None
            action.was_written = True
        self._judge(action)
        settle(self, vm, action)

    def _begin(self) -> tuple[Vm, list[str]]:
        made: list[Vm] = []

        def set_up(world: FaultWorld) -> Scene:
            made.append(vm_ground.running(world))
            return Scene(())

        self.world.begin(set_up)
        return made[0], self.order(made[0].disks)

    def _go(
        self, action: Action, order: list[str], strike: Strike, deadline: int | None = None
    ) -> engine.Result:
        """Ask for all disks, with a strike in its turn; return that verb's result."""
        for turn, disk in enumerate(order):
            if turn != self.turn:
                self._ask(action, disk)
                continue
            result = self._ask(action, disk, strike, deadline)
            self.struck = self.world.wires.struck
        return result

    def _ask(
        self,
        action: Action,
        disk: str,
        strike: Strike | None = None,
        deadline: int | None = None,
    ) -> engine.Result:
        scene = Scene(("create_snapshot", disk), correlation_id=action.correlation_id)
        result = self.world.call(scene, strike, deadline)
        if result.returncode == 0:
            action.answers[disk] = shared_stage.answered(result)
            return result
        action.answers[disk] = None
        action.was_written |= bool(vm_ground.traces(self.world, action.correlation_id))
        return result

    def _judge(self, action: Action) -> None:
        found = vm_ground.wrong(self.world.see(), action)
        assert not found, found

    def again(self, vm: Vm, correlation_id: str | None = None) -> Action:
        """Make another snapshot of the VM, with nothing in the way, and check that it is whole."""
        action = Action(correlation_id or shared_stage.new_id())
        for disk in self.order(vm.disks):
            result = self._ask(action, disk)
            assert result.returncode == 0, f"the next snapshot failed: {result.answer}"
        self._judge(action)
        return action

    def check_settled(self, *actions: Action) -> None:
        """Check that what Engine was told is all there is, and that everything agrees."""
        world = self.world
        told = {uuid for action in actions for uuid in action.told}
        look, seen = world.look(Scene(())), world.see()
        world.check_bystanders()
        made = look.made_since(world.before)
        assert made == told, f"too many {made - told}, too few {told - made}"
        assert not vm_ground.disagreements(seen), vm_ground.disagreements(seen)
        assert not vm_ground.unclaimed(world)
        with world.administrator(Scene(())) as work:
            report = audit.report(survey.look(work), grace_seconds=0)
        assert not report.findings, report.findings


Settle = Callable[[Trial, Vm, Action], None]


def followed(trial: Trial, vm: Vm, action: Action) -> None:
    """Snapshot the VM once more, when nothing of the first action can be claimed any more: what
    nobody was told of is gone then."""
    vm_ground.age(trial.world, vm_ground.A_MINUTE)
    trial.check_settled(action, trial.again(vm))


def followed_under_the_same_id(trial: Trial, vm: Vm, action: Action) -> None:
    """Do the same for a client that gives every request the same correlation id.

    Of a verb that was killed before it wrote anything nobody knows that its action is over: that
    takes a minute.
    """
    if not (action.was_written or action.is_whole):
        vm_ground.age(trial.world, vm_ground.A_MINUTE)
    trial.check_settled(action, trial.again(vm, action.correlation_id))


def reconciled(trial: Trial, vm: Vm, action: Action) -> None:
    """Do nothing but audit and reconcile: the audit names all that nobody was told of."""
    world = trial.world
    untold = world.look(Scene(())).made_since(world.before) - {*action.told}
    vm_ground.age(world, vm_ground.A_MINUTE)
    with world.administrator(Scene(())) as work:
        report = audit.report(survey.look(work), grace_seconds=0)
        named = {finding.uuid for finding in report.findings}
        assert untold <= named, f"nobody names {untold - named}"
        for finding in reconcile.plan(report):
            if finding.action is not None:
                reconcile.carry_out(work, finding.action, 0)
    trial.check_settled(action)
