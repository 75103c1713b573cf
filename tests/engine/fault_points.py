"""Trials of one verb in one situation, stopped or disturbed at each point where it talks to a
server.

A trial runs a verb undisturbed, which discovers its points and its final state, and then again and
again from a fresh scene with new ids, with one strike each time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Callable

import fault_looks
import fault_world
import vm_ground
from wire_talks import AFTER, API, BEFORE, HOLD, KILL, Strike
from wires import Point

from ovirt_demo import engine
from rigs import refusals, shared_stage
from storpool_ovirt import errors, trash_names
from storpool_ovirt.admin import audit, reconcile, survey

PATIENT_SECONDS = 10  # for faults that a verb gets over, or tells at once
HASTY_SECONDS = (
    1,
    4,
    16,
)  # for answers that never come: a machine that is too slow for the first gets the next
LATE_SECONDS = 2.0  # what a process may take beyond its deadline, start and end included
KILLED = 128 + 9
# The last thing that a verb does: its answer is written before
DELIVERED = "DELETE FROM storpool_ovirt.operation"

SetUp = Callable[[fault_world.FaultWorld], fault_world.Scene]


@dataclass
class Strikes:
    """A verb's points, and what went wrong when it was struck there."""

    world: fault_world.FaultWorld
    name: str
    points: list[Point]
    strikes: int = field(default=0, init=False)
    failures: list[str] = field(default_factory=list, init=False)

    def disturb(self, point: Point, when: str, how: str) -> None:
        """Put something else in the verb's way there, and see that it does as it should."""
        raise NotImplementedError

    def deaths(self) -> list[tuple[Point, str]]:
        """Return when a verb is killed: before each point, and after the last one.

        After an answer and before what is asked for next is the same death to the servers: what a
        verb does in between goes with it.
        """
        before = [(point, BEFORE) for point in self.points]
        return [*before, *((point, AFTER) for point in self.points[-1:])]

    def disturb_each(self, wire: str, faults: Iterable[tuple[str, str]]) -> None:
        """Try each of these at each point of a wire."""
        points = [point for point in self.points if point.wire == wire]
        for point, (when, how) in itertools.product(points, faults):
            self.disturb(point, when, how)

    def hold_each(self) -> None:
        """Have no answer come at the first point of each query: not at all of them, as each costs a
        deadline."""
        first = {point.label: point for point in reversed(self.points) if point.wire == API}
        for point in first.values():
            self.disturb(point, AFTER, HOLD)

    def verdict(self) -> None:
        """Fail with all that went wrong."""
        told = "\n".join(self.failures)
        assert not self.failures, f"{len(self.failures)} of {self.strikes}:\n{told}"

    def _delivered(self, point: Point, when: str) -> bool:
        """Tell whether the verb is over at this point: its answer is written, and that this is
        so."""
        return when == AFTER and point == self.points[-1] and point.label.startswith(DELIVERED)

    @contextlib.contextmanager
    def _judged(self, point: Point, strike: Strike) -> Iterator[None]:
        self.strikes += 1
        try:
            yield
        except (AssertionError, engine.VerbFailed) as error:
            where = f"{strike.how} {strike.when} {point.wire} point {point.number} ({point.label})"
            self.failures.append(f"{self.name}, {where}: {error}")


@dataclass
class Trial(Strikes):
    """One verb in one situation, and the state after an undisturbed run."""

    set_up: SetUp
    state: list[str]

    def kill(self, point: Point, when: str, settle: Settle | None = None) -> None:
        """Kill the verb there; then `settle` (else a repetition of the verb) has to put things
        right."""
        strike = Strike(point.number, point.wire, when, KILL)
        with self._judged(point, strike):
            scene = self.world.begin(self.set_up)
            result = self.world.call(scene, strike)
            assert self.world.wires.struck, "it never came to this point"
            assert result.returncode == KILLED
            if self._delivered(point, when):
                answer = result.answer
                assert answer is not None
                self.check(scene, answer)
                return
            (settle or repeated)(self, scene)

    def left(self, point: Point, when: str) -> list[str]:
        """Kill the verb there, and return the state that it leaves."""
        scene = self.world.begin(self.set_up)
        result = self.world.call(scene, Strike(point.number, point.wire, when, KILL))
        assert (result.returncode, self.world.wires.struck) == (KILLED, point)
        return self.world.state(scene, "")

    def disturb(self, point: Point, when: str, how: str) -> None:
        """Put something else in the verb's way there: it ends in time, and if it failed a
        repetition succeeds."""
        strike = Strike(point.number, point.wire, when, how)
        with self._judged(point, strike):
            for deadline in HASTY_SECONDS if how == HOLD else (PATIENT_SECONDS,):
                scene = self.world.begin(self.set_up)
                result = self.world.call(scene, strike, deadline)
                assert result.seconds < deadline + LATE_SECONDS
                if self.world.wires.struck:
                    break
            assert self.world.wires.struck, "it never came to this point"
            if result.returncode == 0:
                self.check(scene, shared_stage.answered(result))
            else:
                refusals.of_verb(result)
                repeated(self, scene)

    def check(self, scene: fault_world.Scene, answer: str) -> None:
        """Check that all is as after an undisturbed run, and that nothing of others has changed."""
        wrong = fault_looks.difference(self.state, self.world.state(scene, answer))
        assert not wrong, wrong


Settle = Callable[["Trial", fault_world.Scene], None]


def undisturbed(world: fault_world.FaultWorld, set_up: SetUp) -> tuple[list[Point], list[str]]:
    """Run the verb of a scene with nothing in its way and with a real start; return its points and
    the state after it."""
    scene = world.begin(set_up)
    answer = shared_stage.answered(world.call_really(scene))
    return world.wires.points, world.state(scene, answer)


def reconciled(trial: Trial, scene: fault_world.Scene) -> None:
    """Do not repeat the verb: the audit names what it left, reconcile removes it, and a second
    audit finds nothing."""
    left = trial.world.look(scene)
    vm_ground.age(trial.world, vm_ground.A_MINUTE)
    try:
        with trial.world.administrator(scene) as engine:
            report = audit.report(survey.look(engine), grace_seconds=0)
            named = {finding.uuid for finding in report.findings}
            unnamed = left.made_since(trial.world.before) - named
            assert not unnamed, f"nobody names {unnamed}"
            assert {each["node"] for each in left.operations} <= named, "what is open is named"
            for finding in reconcile.plan(report):
                if finding.action is not None:
                    reconcile.carry_out(engine, finding.action, 0)
            again = audit.report(survey.look(engine), grace_seconds=0)
            # What is in the trash is told as such, and is nothing that was left
            found = [each for each in again.findings if trash_names.PREFIX not in each.what]
            assert not found, found
    except errors.NotFound:
        assert left.objects == trial.world.before.objects, "without tables nothing was made"
    after = trial.world.look(scene)
    trial.world.check_bystanders()
    assert not after.made_since(trial.world.before), (
        "it has left an object that Engine does not know"
    )
    rows = {row["global_id"] for row in after.rows.values() if row["state"] != "removed"}
    assert rows == after.objects.keys() & rows, "every row has its object"
    assert not after.operations


def repeated(trial: Trial, scene: fault_world.Scene) -> None:
    """Repeat the verb as Engine would, and check that all is as if it had never been disturbed."""
    trial.check(scene, shared_stage.answered(trial.world.call(scene)))
