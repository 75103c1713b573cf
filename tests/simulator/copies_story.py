"""What happens to clusters that copy: more often than by chance what copies on their way suffer
from. They are cut, killed at any write and restarted, and time passes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Callable

from copies_machine import Clusters, check
from copies_model import GIB, LINKS, MIB_SECONDS, SLOWER, USUAL, World, link
from copies_steps import NOBODY, Calls, Step

from storpool_simulator import errors

if TYPE_CHECKING:
    import random

DELAY = 100  # of minimumDeleteDelay
DEATHS = 0.12  # of the calls


class Story(Calls):
    """What happens, step by step, and all of it as text."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        switches = {
            "linger": "0",
            "backup_base": chance.choice(["remove", "keep"]),
            "cut_copy": chance.choice(["wait", "wait", "fail"]),
            "recovering_use": chance.choice(["forward", "forward", "refuse"]),
            "deferred_deletion": chance.choice(["on", "on", "local"]),
        }
        self.clusters = Clusters(switches)
        self.world = World(switches, int(self.clusters["one"].now()))
        self.told = [str(switches)]
        for pair in LINKS:
            self.clusters.set_link(pair, seconds_per_gib=USUAL)

    # how it goes on

    def go(self, steps: int) -> None:
        """Let so many things happen."""
        self.do(self.register())
        for _ in range(steps):
            self._look_elsewhere()
            kinds = self._kinds()
            (kind,) = self.chance.choices([*kinds], weights=[*kinds.values()])
            step = kind()
            if step is not None and step.may_die and self.chance.random() < DEATHS:
                self.die_in(step)
            elif step is not None:
                self.do(step)

    def end(self) -> None:
        """Have all that was promised come, and nothing else."""
        for pair in LINKS:
            self.do(self.turn(pair, up=True))
        self.do(self.pause(1000 * MIB_SECONDS))
        assert {key for _, key in self.world.transfers} <= self._never()
        for name, volume in list(self.world.volumes.items()):
            self.do(self._of(volume.owner, "VolumeDelete", name, self._without(name)))
        check(self.clusters, self.world)

    def _look_elsewhere(self) -> None:
        """Look at something that is on its way for some time: what goes wrong takes many steps."""
        coming = sorted(key for _, key in self.world.transfers)
        if self.focus not in coming and self.chance.random() < 0.3:
            self.focus = self.chance.choice([*coming, NOBODY])

    def _never(self) -> set[str]:
        """Return what stands for ever: copies of what has failed."""
        return {key for _, key in self.world.failed}

    def do(self, step: Step) -> None:
        """Let one thing happen, and look at what has become of it."""
        self.told.append(step.text)
        said = step.call()
        assert said == step.said
        if said == "ok":
            step.then(self.world)
            self.world.settle()
        check(self.clusters, self.world)

    def die_in(self, step: Step) -> None:
        """Let one thing happen that is killed at one of its writes: it has, or it has not."""
        writes = self.chance.randint(max(0, step.writes - 2), step.writes + 2)
        self.told.append(f"killed after {writes} writes: {step.text}")
        with self.clusters.dying(writes):
            step.call()
        before, self.world = self.world, copy.deepcopy(self.world)
        try:
            if step.said == "ok":
                step.then(self.world)
                self.world.settle()
            self._begin_again()
        except (AssertionError, LookupError, errors.ApiError) as problem:
            self.told.append(f"it has not happened, as {problem}")
            self.world = before
            self._begin_again()

    def _begin_again(self) -> None:
        """Look at a new life."""
        self.world.begin_again()
        check(self.clusters, self.world)
        for pair in LINKS:
            self.clusters.set_link(pair, seconds_per_gib=self.world.speed[pair])
        check(self.clusters, self.world)

    def _kinds(self) -> dict[Callable[[], Step | None], float]:
        """Return what may happen now, and how often it does."""
        world = self.world
        coming, down = bool(world.transfers), bool(world.down)
        return {
            self.write: 3,
            self.backup: 1 if len(world.transfers) > 5 else 6,
            self.fetch: 6 if world.backups else 0,
            self.revert: (8 if down else 4) if world.here else 0,
            self.clone: 3 if world.here else 0,
            self.delete_near: 3 if world.here or world.bases else 0,
            self.delete_far: 2 if world.backups else 0,
            self.delete_volume: 1,
            self.unexport: 4 if world.backups else 0,
            self.end_fetch: 3 if world.here else 0,
            self.end_backup: 2 if coming else 0,
            self.export_early: 3 if coming or world.failed else 0,
            self.move: 3,
            self.register: 1,
            self.slow: 1,
            self.cut: (5 if coming else 1) if len(world.down) < len(LINKS) else 0,
            self.heal: 8 if down else 0,
            self.pause: 10 if coming else 2,
            self.kill: 2 if coming or world.failed else 0.5,
        }

    # what surrounds them

    def register(self) -> Step:
        """The other cluster registers our bridge with a minimumDeleteDelay, or without."""
        delay = self.chance.choice([None, DELAY, DELAY])

        def call() -> str:
            self.clusters.simulator.others["far"].set_minimum_delete_delay("one", delay)
            return "ok"

        def then(world: World) -> None:
            world.delay = delay

        return Step(f"minimumDeleteDelay {delay}", call, "ok", then, may_die=False)

    def slow(self) -> Step:
        """What is left comes at another speed."""
        pair, seconds = self.chance.choice(LINKS), self.chance.choice([USUAL, SLOWER])

        def call() -> str:
            self.clusters.set_link(pair, seconds_per_gib=seconds)
            return "ok"

        def then(world: World) -> None:
            world.speed[pair] = seconds

        return Step(f"{pair} at {seconds} s per GiB", call, "ok", then, may_die=False)

    def cut(self) -> Step:
        """More often where something comes."""
        transfers = self.world.transfers.items()
        busy = [link(target, one.source[0]) for (target, _), one in transfers]
        return self.turn(self.chance.choice([*LINKS, *busy]), up=False)

    def heal(self) -> Step:
        """What was held goes on."""
        return self.turn(self.chance.choice(sorted(self.world.down)), up=True)

    def turn(self, pair: tuple[str, str], *, up: bool) -> Step:
        """Cut bridges, or heal them."""
        trees = self.clusters.trees()

        def call() -> str:
            self.clusters.set_link(pair, up=up)
            return "ok"

        def then(world: World) -> None:
            if up:
                world.down.discard(pair)
            elif pair not in world.down:
                world.cut(pair, trees)

        return Step(f"{pair} up: {up}", call, "ok", then, may_die=False)

    def pause(self, seconds: int | None = None) -> Step:
        """Some copies end; often just now, or a second before."""
        some = seconds or self.chance.choice([1, 2, 4, 8, 64, 200, *3 * self._ends()])

        def call() -> str:
            self.clusters.wait(some)
            return "ok"

        # Each of the three clusters writes down what time it is; then copies end.
        return Step(f"wait {some} s", call, "ok", lambda world: world.wait(some), writes=4)

    def _ends(self) -> list[int]:
        """Return in how many seconds a copy on its way ends, or is not quite over, or half."""
        found = []
        for (target, _), one in self.world.transfers.items():
            seconds = int(one.left / GIB * self.world.speed[link(target, one.source[0])])
            found += [seconds, seconds - 1, seconds // 2]
        return [seconds for seconds in found if seconds > 0]

    def kill(self) -> Step:
        """Or restart: all goes on where it was."""
        is_killed = self.chance.random() < 0.6

        def call() -> str:
            if is_killed:
                self.clusters.kill()
            else:
                self.clusters.restart()
            return "ok"

        text = "kill" if is_killed else "restart"
        return Step(text, call, "ok", lambda _: self._begin_again(), may_die=False)
