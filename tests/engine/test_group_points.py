"""Snapshots of VMs with several disks, each of whose verbs is struck at every single point where it
talks to StorPool or PostgreSQL.

The points are discovered from an undisturbed run, as in test_fault_points.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fault_world
import group_points
import pytest
from fault_world import FaultWorld
from group_points import Trial
from wire_talks import AFTER, API, BEFORE, CUT, NONSENSE, SQL, TRANSIENT
from wires import Point

from ovirt_demo.database import Database

Record = Callable[[str, object], None]
WHENS = (BEFORE, AFTER)
# Locks are taken in the order of ids: whether Engine begins with the lowest of them is another way
# through the program.
ORDERS: dict[str, group_points.Order] = {
    "lowest": sorted,
    "highest": lambda disks: sorted(disks, reverse=True),
}
# Which disk Engine begins with, and which of its three verbs is struck
VERBS = [("lowest", 0), ("highest", 0), ("highest", 1), ("lowest", 2)]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, database_server: Database
) -> Iterator[FaultWorld]:
    """Give a cluster with bystanders, and an Engine behind wires, that the tests of this module
    share."""
    with fault_world.fresh(tmp_path_factory.mktemp("faults"), database_server) as made:
        yield made


@pytest.fixture(scope="module")
def known_points() -> dict[tuple[str, int], list[Point]]:
    """Give what undisturbed runs have shown."""
    return {}


@pytest.fixture(params=VERBS, ids=lambda verb: f"{verb[0]} first, verb {verb[1] + 1}")
def trial(
    world: FaultWorld,
    known_points: dict[tuple[str, int], list[Point]],
    request: pytest.FixtureRequest,
) -> Trial:
    """Give one verb of a snapshot of three disks, after an undisturbed run."""
    first, turn = request.param
    known = known_points.get(request.param, [])
    made = Trial(world, f"{first} first, verb {turn + 1}", known, ORDERS[first], turn)
    if request.param not in known_points:
        made.undisturbed()
        known_points[request.param] = made.points
    return made


def kill(trial: Trial, settle: group_points.Settle, record_property: Record) -> None:
    """Kill the verb at each of its points."""
    for point, when in trial.deaths():
        trial.kill(point, when, settle)
    record_property("kills", trial.strikes)
    trial.verdict()


def test_the_snapshot_after_a_killed_one_is_whole(trial: Trial, record_property: Record) -> None:
    """T78, T71: whichever verb is killed, wherever: the verbs after it fail, what was told stays,
    the next snapshot of the VM is whole and has removed the rest."""
    record_property("fault_points", len(trial.points))
    kill(trial, group_points.followed, record_property)


def test_the_same_correlation_id_serves_again(trial: Trial, record_property: Record) -> None:
    """T78, T71: a client with one correlation id for all it does gets its next snapshot whole,
    too."""
    kill(trial, group_points.followed_under_the_same_id, record_property)


def test_what_a_killed_snapshot_leaves_is_named_and_removed(
    trial: Trial, record_property: Record
) -> None:
    """T78, T72: without another snapshot: the audit names what nobody was told of, reconcile
    removes just that."""
    kill(trial, group_points.reconciled, record_property)


def test_a_snapshot_that_loses_postgresql_succeeds_or_fails_as_a_whole(
    trial: Trial, record_property: Record
) -> None:
    """T78, T73: PostgreSQL restarts at any point of any verb: ended in time, and the next snapshot
    is whole."""
    trial.disturb_each(SQL, [(when, CUT) for when in WHENS])
    record_property("other_faults", trial.strikes)
    trial.verdict()


def test_a_snapshot_whose_requests_are_lost_succeeds_or_fails_as_a_whole(
    trial: Trial, record_property: Record
) -> None:
    """T78, T87: at any request a reset, a "not now", a proxy's page; also the group itself."""
    trial.disturb_each(API, [(BEFORE, CUT), (AFTER, CUT), (BEFORE, TRANSIENT), (AFTER, NONSENSE)])
    record_property("other_faults", trial.strikes)
    trial.verdict()


def test_a_snapshot_whose_answers_never_come_ends_in_time(
    trial: Trial, record_property: Record
) -> None:
    """T78, T73: each kind of request takes effect and stays without an answer, also the group
    itself."""
    trial.hold_each()
    record_property("other_faults", trial.strikes)
    trial.verdict()


@pytest.mark.parametrize(
    "settle",
    [
        group_points.followed,
        group_points.followed_under_the_same_id,
        group_points.reconciled,
    ],
)
def test_an_answer_that_nobody_reads_is_a_failure(
    trial: Trial, settle: group_points.Settle
) -> None:
    """T78: what Engine was not told of is removed, the verbs after it fail, what was told stays."""
    trial.unheard(settle)
