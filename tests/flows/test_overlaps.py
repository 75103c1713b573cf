"""Calls that overlap: two verbs on one object, a crowd of verbs on a few disks, helpers that are
killed in the middle.

Verbs that overlap share one start of Python (`forked_engine`); those of which one comes after the
other, to compare with, are real starts.

What may come of it is never written down here: two verbs that overlap must end as the same two do
one after the other, a crowd as its history allows (crowd.py), and a host as its plan says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import crowd_hosts
import pytest

from ovirt_demo import engine
from rigs import beside, forked_engine, refusals, services, shared_stage
from rigs.clock import wait_until
from rigs.forked import Run
from rigs.shared_stage import (
    GIB,
    answered,
    at_once,
    attached,
    connection_info,
    make_disk,
    new_id,
    post,
)
from rigs.stage_fixtures import Stage

# StorPool's services make passes in the midst of verbs, too
BESIDE = beside.AMID

# Two verbs on one object


# What is there, and the two verbs. D is a disk, S its snapshot, V a preview, C a clone, F a name
# that another has.
PAIRS = {
    "create, create": ("", "create_volume D 1", "create_volume D 1"),
    "create, create of another size": ("", "create_volume D 1", "create_volume D 2"),
    "create, delete": ("", "create_volume D 1", "delete_volume D"),
    "create, delete of another's name": ("F", "create_volume F 1", "delete_volume F"),
    "clone, clone": ("D", "clone_volume D C", "clone_volume D C"),
    "clone, delete of the source": ("D", "clone_volume D C", "delete_volume D"),
    "connect, delete": ("D", "connect_volume D {}", "delete_volume D"),
    "connect, remove of the first volume": ("DSV", "connect_volume D {}", "remove_snapshot D D"),
    "connect, undo of the preview": ("DSV", "connect_volume V {}", "delete_volume V"),
    "delete, create": ("D", "delete_volume D", "create_volume D 1"),
    "delete, delete": ("DS", "delete_volume D", "delete_volume D"),
    "extend, extend": ("D", "extend_volume D 2", "extend_volume D 3"),
    "preview, preview": (
        "DS",
        "create_volume_from_snapshot D S",
        "create_volume_from_snapshot D S",
    ),
    "preview, remove of its snapshot": (
        "DS",
        "create_volume_from_snapshot D S",
        "remove_snapshot S D",
    ),
    "remove, remove": ("DS", "remove_snapshot S D", "remove_snapshot S D"),
    "snapshot, delete": ("D", "create_snapshot D", "delete_volume D"),
    "snapshot, extend": ("D", "create_snapshot D", "extend_volume D 2"),
    "snapshot, snapshot": ("D", "create_snapshot D", "create_snapshot D"),
}

Ids = dict[str, str]
Call = Sequence[str]
Outcome = tuple[Any, ...]


@pytest.fixture(scope="module")
def forked(module_stage: Stage) -> Iterator[forked_engine.Engine]:
    """Give the Engine of the stage with verbs that share one start."""
    with forked_engine.of(module_stage.engine) as made:
        yield made


@pytest.fixture
def overlapping(shared: Stage, forked: forked_engine.Engine) -> Iterator[Stage]:
    """Give the stage with these verbs, in whose midst services make passes, and none in that of
    real starts; nothing of it is left in the cluster, as they would take it all each time."""
    forked.observe, shared.engine.observe = shared.engine.observe, None
    yield dataclasses.replace(shared, engine=forked)
    forked.observe = None
    made = services.of(shared.simulator)
    assert made is not None
    for kind in ("Volume", "Snapshot"):
        for each in shared.simulator.api(f"{kind}sList"):
            if not (each.get("deleted") or each.get("transient") or made.is_theirs(each)):
                post(shared.simulator, f"{kind}Delete/~{each['globalId']}", {})


@pytest.mark.parametrize("pair", PAIRS)
def test_two_verbs_at_once_end_as_one_after_the_other(
    shared: Stage, overlapping: Stage, pair: str
) -> None:
    """T19, T61: wherever in the first the second begins, answers, mapping and cluster are those of
    one order."""
    there, *verbs = PAIRS[pair]
    orders = [verbs] if verbs[0] == verbs[1] else [verbs, verbs[::-1]]
    expected, scenes = [], [(verbs, freely)]
    for order in orders:
        outcome, asked = _one_after_the_other(shared, there, order)
        expected.append(outcome)
        scenes += [
            (order, partial(while_asked, asked[0])),
            (order, partial(before_heard, asked[-1])),
        ]
        scenes += [(order, behind_a_third)] if "D" in there else []
    for order, way in scenes:
        ids = _prepared(overlapping, there)
        results = way(overlapping, *(_call(ids, text) for text in (*order, "extend_volume D 1")))
        said = "; ".join(
            f"{text}: {result.output.decode().strip()}" for text, result in zip(order, results)
        )
        assert _outcome(shared, ids, order, results) in expected, f"{way} {ids} {said}"
        assert crowd.disagreements(shared, {*ids.values()}) == [], f"{way} {ids} {said}"


def _prepared(stage: Stage, there: str) -> Ids:
    """Make what a pair needs and return the ids by their letters."""
    ids = {letter: new_id() for letter in "DCF"}
    makes = {
        "D": "create_volume D 1",
        "S": "create_snapshot D",
        "V": "create_volume_from_snapshot D S",
    }
    for letter in there:
        if letter == "F":
            post(
                stage.simulator,
                "VolumeCreate",
                {"name": f"ovirt--{ids['F']}", "size": GIB, "template": "hybrid"},
            )
        else:
            ids[letter] = answered(stage.engine.run(*_call(ids, makes[letter]))) or ids[letter]
    return ids


def _call(ids: Ids, text: str) -> list[str]:
    return [ids.get(word, word) for word in text.split()]


def _one_after_the_other(
    stage: Stage, there: str, order: Sequence[str]
) -> tuple[Outcome, list[str]]:
    """Return what comes of these verbs in this order, and what the first one asks the cluster."""
    ids = _prepared(stage, there)
    stage.simulator.clear_calls()
    results = [stage.engine.run(*_call(ids, order[0]))]
    asked = shared_stage.queries(stage.simulator)
    results.append(stage.engine.run(*_call(ids, order[1])))
    return _outcome(stage, ids, order, results), asked


def _outcome(
    stage: Stage, ids: Ids, order: Sequence[str], results: Sequence[engine.Result]
) -> Outcome:
    """Return how each of the verbs ended and what they left, with letters in place of ids."""
    for result in results:
        answered(result) if result.returncode == 0 else refusals.of_verb(result)
    letters = {value: letter for letter, value in ids.items()}
    rows = [row for row in crowd.mapped(stage) if row.node.root in letters]
    letters.update({row.node.uuid: "new" for row in rows if row.node.uuid not in letters})
    left = [
        (
            letters[row.node.uuid],
            row.node.kind,
            row.node.size_bytes,
            row.state,
            letters.get(row.active or ""),
        )
        for row in rows
    ]
    ends = sorted((text, result.returncode) for text, result in zip(order, results))
    return (*ends, *sorted(left, key=str))


# How two verbs overlap for certain

WAITING = (
    "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
)


class Watched(forked_engine.Engine):
    """An Engine that knows the process of the verb that it started last."""

    process: Run | None = None

    @contextlib.contextmanager
    def started(self, verb: str, *arguments: str, correlation_id: str) -> Iterator[Run]:
        """Start a verb and give the process."""
        with super().started(verb, *arguments, correlation_id=correlation_id) as process:
            self.process = process
            yield process


def freely(stage: Stage, first: Call, second: Call, _third: Call) -> list[engine.Result]:
    """Start two verbs at the same moment."""
    return at_once(partial(stage.engine.run, *first), partial(stage.engine.run, *second))


def while_asked(
    query: str, stage: Stage, first: Call, second: Call, _third: Call
) -> list[engine.Result]:
    """Run the second while the cluster has not yet done what the first one asked for."""
    with _pool(stage) as pool:
        one = _held(stage, pool, stage.engine, first, query)
        two = _up_to_the_lock(stage, pool, second)
        stage.simulator.clear_faults()
        return [one.result(), two.result()]


def before_heard(
    query: str, stage: Stage, first: Call, second: Call, _third: Call
) -> list[engine.Result]:
    """Run the second while the cluster has done what the first one asked for, and the first has not
    heard of it."""
    given = stage.engine
    watched = Watched(given.folder, given.program.readlink(), given.options, given.database_url)
    watched.keeper, watched.observe = given.keeper, given.observe
    with _pool(stage) as pool:
        one = _held(stage, pool, watched, first, query)
        wait_until(lambda: watched.process is not None, "the process of which the call is")
        process = watched.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            stage.simulator.clear_faults()
            wait_until(lambda: _asked(stage, query, done=True), f"the answer to {query}")
            two = _up_to_the_lock(stage, pool, second)
        finally:
            process.send_signal(signal.SIGCONT)
        return [one.result(), two.result()]


def behind_a_third(stage: Stage, first: Call, second: Call, third: Call) -> list[engine.Result]:
    """Run two verbs up to the lock of their disk, which a third one holds: what they read before it
    is old then."""
    with _pool(stage) as pool:
        before = _held(stage, pool, stage.engine, third, "VolumeUpdate")
        one = _up_to_the_lock(stage, pool, first)
        two = _up_to_the_lock(stage, pool, second, 2 - one.done())
        stage.simulator.clear_faults()
        answered(before.result())
        return [one.result(), two.result()]


@contextlib.contextmanager
def _pool(stage: Stage) -> Iterator[ThreadPoolExecutor]:
    """Give threads for verbs; what holds a verb up is taken away before they are waited for."""
    with ThreadPoolExecutor(3) as pool:
        try:
            yield pool
        finally:
            stage.simulator.clear_faults()


def _held(
    stage: Stage, pool: ThreadPoolExecutor, caller: engine.Engine, call: Call, query: str
) -> Future[engine.Result]:
    """Start a verb and return when its call is under way; there it stays until the faults are
    cleared."""
    stage.simulator.clear_calls()
    stage.simulator.inject("delay", query=query, seconds=crowd.LIMIT_SECONDS)
    running = pool.submit(caller.run, *call)
    wait_until(lambda: running.done() or _asked(stage, query), query)
    assert not running.done(), f"{call} ended without {query}: {running.result()}"
    return running


def _asked(stage: Stage, query: str, *, done: bool = False) -> bool:
    calls = stage.simulator.calls()
    return any(
        call["query"] == query and (call["status"] is not None or not done) for call in calls
    )


def _up_to_the_lock(
    stage: Stage, pool: ThreadPoolExecutor, call: Call, waiting: int = 1
) -> Future[engine.Result]:
    """Start a verb and return when it has ended or is the last of so many that wait for their
    disk."""
    with contextlib.closing(stage.database.connect()) as connection, connection.cursor() as cursor:

        def waits() -> bool:
            cursor.execute(WAITING)
            return cursor.rowcount >= waiting

        running = pool.submit(stage.engine.run, *call)
        wait_until(lambda: running.done() or waits(), f"{call} to end or to wait")
    return running


# A crowd


def test_a_crowd_of_verbs(stage: Stage) -> None:
    """T19, T61, T72, T74, T76, T79: of 32 verbs at a time each tells the truth, and they leave what
    they said."""
    verbs = int(os.environ.get("STORPOOL_OVIRT_CROWD", "300"))
    foreign = new_id()
    post(
        stage.simulator,
        "VolumeCreate",
        {"name": f"ovirt--{foreign}", "size": GIB, "template": "hybrid"},
    )
    before = crowd.others(stage)
    disks = [new_id() for _ in range(8)]
    stage.engine.observe = None  # passes come at any moment instead
    made = services.of(stage.simulator)
    assert made is not None
    with forked_engine.of(stage.engine) as forked:
        # The same verbs each time
        mob = crowd.Crowd(forked, [*disks, foreign], 32, random.Random(1))
        with made.all_the_while():
            mob.run(verbs, limit_seconds=30 + verbs / 4)
    history = crowd.History(mob.events, {foreign})
    sys.stdout.write(crowd.told(mob.events))
    assert history.wrong() == []
    assert crowd.disagreements(stage) == []
    assert history.contradicted({thing.uuid for thing in crowd.listed(stage)}) == []
    assert (attached(stage.simulator), crowd.others(stage)) == (set(), before)
    for result in at_once(*(partial(stage.engine.run, "delete_volume", disk) for disk in disks)):
        answered(result)
    assert (crowd.listed(stage), crowd.mapped(stage), crowd.others(stage)) == ([], [], before)


# Hosts that lose their helpers

RUNS, VOLUMES = 200, 6


def test_helpers_that_are_killed_on_two_hosts(shared: Stage) -> None:
    """T11, T16, T36, T50, T69: wherever helpers died, the next attach and detach work, and data and
    list are right."""
    drives = []
    for number in range(VOLUMES):
        moments = itertools.islice(itertools.cycle(crowd_hosts.FAULTS), number, None)
        info = connection_info(shared, make_disk(shared.engine))
        chance = random.Random(number)  # the same steps each time
        drives.append(crowd_hosts.Drive(info, chance, -(-RUNS // VOLUMES), moments))
    hosts = crowd_hosts.Hosts(shared)
    shared.simulator.clear_calls()
    hosts.run(drives)
    at_once(*(partial(hosts.settle, drive) for drive in drives))
    assert attached(shared.simulator) == set()
    for host in shared.hosts.values():
        assert not [
            *host.local("/dev/storpool-byid").iterdir(),
            *host.local("/dev/storpool").iterdir(),
        ]
        assert all(map(_free, host.local("/run/storpool-ovirt").glob("*.lock")))
    said = json.dumps([call["body"] for call in shared.simulator.calls()])
    assert '"force": false' in said
    assert '"force": true' not in said
    assert "detachForce" not in said
    certain = {*itertools.product(("attach", "detach"), crowd_hosts.FAULTS)} - {
        ("attach", "away"),
        ("detach", "away"),
    }
    sys.stdout.write(f"killed: {dict(hosts.killed)}")
    assert certain <= {*+hosts.killed}


def _free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
