"""Random lives of disks whose domain has a trash: created, written, snapshotted, cloned, previewed,
deleted, restored, purged, made again with the same id, killed at any line, request or statement,
ended at once or after other things have happened, and looked at again when time has passed.

    STORPOOL_OVIRT_LIVES=1000 STORPOOL_OVIRT_SEED=7 .venv/bin/pytest tests/engine/THIS_FILE -s

A life is known by the seed and its number: two runs with different seeds have no life in common. A
failure tells both, and all steps; STORPOOL_OVIRT_LIFE=412 lives that one alone.
"""

from __future__ import annotations

import collections
import os
import random
import sys
from typing import TYPE_CHECKING, NamedTuple

from trash_life import HOUR, STEP, TrashLife

from rigs import players, services
from rigs.disk_rig import Fault
from rigs.near_yard import opened_near
from rigs.yard import MANY_TIMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.near_yard import NearYard

LIVES, SEED = 40, "1"
STEPS_MIN, STEPS_MAX = 6, 24
PASSES = 1 / 6  # after so many steps one of StorPool's services makes a pass

QUERIES = (
    "VolumeSnapshot",
    "VolumeDelete",
    "SnapshotUpdate",
    "Snapshot",
    "SnapshotDelete",
    "KV/Set",
)
API_FAULTS = ("reset_before", "reset_after", "transient")
HOURS = (1, 7, 25)
# How a death goes on: more often than not something else happens first.
THEN = ("left", "left", "left", "again", "other", "reconcile")
# In a grim life hardly anything but deaths upon deaths happens to one disk or two.
GRIM_THEN = ("left",) * 9 + ("again", "other", "reconcile")
CALM, GRIM = "calm", "grim"


class Step(NamedTuple):
    """One thing that may happen: how often in a calm life and in a grim one, and when it can."""

    name: str
    calm: int
    grim: int
    can: Callable[[TrashLife], object]
    draw: Callable[[random.Random, TrashLife], tuple[object, ...]]


def place(dice: random.Random) -> int:
    """Return which of several things is meant."""
    return dice.randrange(12)


def free(dice: random.Random, life: TrashLife) -> str:
    """Return the id of a disk that nothing has."""
    return dice.choice(life.free)


def step_death(dice: random.Random, life: TrashLife) -> Fault:
    """Return a death somewhere in a delete: it has some eight requests and statements, and up to
    four for each object."""
    return Fault(STEP, lines=dice.randrange(3, 8 + 4 * len(life.model.nodes)))


def fault(dice: random.Random, life: TrashLife) -> Fault | None:
    """Return what goes wrong while something is deleted."""
    kind = dice.choice(("none", "line", "line", "step", "step", "step", "api"))
    if kind == "line":
        return Fault("death", lines=dice.randint(1, 400))
    if kind == "step":
        return step_death(dice, life)
    if kind == "api":
        times = dice.choice((1, 2, MANY_TIMES))
        return Fault(dice.choice(API_FAULTS), query=dice.choice(QUERIES), times=times)
    return None


def has(kind: str) -> Callable[[TrashLife], object]:
    """Where there is such an object."""
    return lambda life: life.model.chosen(0, kind) is not None


def placed(dice: random.Random, _: TrashLife) -> tuple[object, ...]:
    """Draw for what is done with one of several things."""
    return (place(dice),)


def dying(dice: random.Random, life: TrashLife) -> tuple[object, ...]:
    """Draw for a delete."""
    if life.mood == GRIM:
        wrong = fault(dice, life) if dice.random() < 1 / 4 else step_death(dice, life)
        return place(dice), wrong, dice.choice(GRIM_THEN)
    return place(dice), fault(dice, life), dice.choice(THEN)


def step_of(dice: random.Random) -> int:
    """Return before which request or statement an administrator's command dies, if it has so
    many."""
    return dice.randrange(60)


BYS = ("entry", "deletion")
STEPS = (
    Step("create", 3, 1, lambda life: life.free, lambda dice, life: (free(dice, life),)),
    Step(
        "clone",
        3,
        1,
        lambda life: life.free and life.model.nodes,
        lambda dice, life: (place(dice), free(dice, life)),
    ),
    Step("write", 5, 4, has("disk"), placed),
    Step("snapshot", 4, 3, has("disk"), placed),
    Step("preview", 2, 4, has("snapshot"), placed),
    Step("connect", 1, 1, has("any"), placed),
    Step("undo", 2, 1, has("preview"), dying),
    Step("remove", 4, 4, has("snapshot"), dying),
    Step("delete", 7, 12, has("disk"), dying),
    Step(
        "restore",
        5,
        1,
        lambda life: life.free and life.kept_ones(),
        lambda dice, life: (
            place(dice),
            free(dice, life),
            dice.choice(BYS),
            dice.choice((True, False)),
            step_of(dice),
            dice.choice(THEN),
        ),
    ),
    Step(
        "purge",
        2,
        1,
        lambda life: life.kept_ones(),
        lambda dice, _: (place(dice), dice.choice(BYS), step_of(dice), dice.choice(THEN)),
    ),
    Step("hold", 1, 0, lambda life: life.kept_ones(held=True), placed),
    Step("wait", 3, 2, lambda _: True, lambda dice, _: (dice.choice(HOURS),)),
    Step("reconcile", 1, 2, lambda life: life.is_untidy, lambda *_: ()),
)


def live(
    yard: NearYard, done: collections.Counter[str], dice: random.Random, passes: random.Random
) -> None:
    """Live one life; a failure tells its steps. `passes` are dice of their own, for those of
    StorPool's services: without them the life would be the same."""
    hours, is_honoured = dice.choice((0, 6)), dice.random() > 1 / 6
    life = TrashLife(yard, done, hours * HOUR, is_honoured=is_honoured)
    life.mood = dice.choice((CALM, GRIM))
    yard.simulator.switches.set({"volumecare_tags": passes.choice(players.SNAPSHOT_TAGS)})
    told = [f"{life.mood}, a snapshot is kept {hours} h, dates are honoured: {is_honoured}"]
    try:
        life.create(life.free[0])
        for _ in range(dice.randint(STEPS_MIN, STEPS_MAX)):
            can = [step for step in STEPS if step.can(life)]
            [step] = dice.choices(can, [getattr(each, life.mood) for each in can])
            arguments = step.draw(dice, life)
            told.append(f"{step.name} {arguments}")
            getattr(life, step.name)(*arguments)
            life.check()
            done["steps"] += 1
            if passes.random() < PASSES:
                number = passes.randrange(2)
                told.append(f"pass {number}")
                yard.beside().play(number)
        told.append("the end")
        life.end()
    except BaseException as error:
        raise AssertionError("\n".join(["this life failed:", *told])) from error
    done["lives"] += 1


def test_whatever_happens_the_trash_has_what_was_deleted(
    module_database: Database, tmp_path: Path
) -> None:
    """T83, T71, T79: also where deletes, restores and purges die anywhere, or lose any answer, and
    whatever happens before somebody ends them; beside VolumeCare and storpool_qos, too."""
    wanted = os.environ.get("STORPOOL_OVIRT_LIVES")
    seed = os.environ.get("STORPOOL_OVIRT_SEED", SEED)
    alone = os.environ.get("STORPOOL_OVIRT_LIFE")
    numbers = [int(alone)] if alone else range(int(wanted or LIVES))
    done: collections.Counter[str] = collections.Counter()
    try:
        with opened_near(module_database, tmp_path) as yard:
            for number in numbers:
                try:
                    dice = [random.Random(f"{seed}/{number}{more}") for more in ("", "/passes")]
                    live(yard, done, *dice)
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}, life {number}") from error
            assert alone or services.idle(yard.beside().done) == []
    finally:
        if wanted:
            lines = [f"{count:8} {what}\n" for what, count in sorted(done.items())]
            sys.stdout.write("".join(lines))
