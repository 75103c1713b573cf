"""Each verb in each situation, struck at every single point where it talks to StorPool or
PostgreSQL.

The points are discovered from an undisturbed run, so a verb that gets another statement or request
gets its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fault_looks
import fault_scenes
import fault_world
import pytest
from fault_points import Trial, reconciled, undisturbed
from fault_world import FaultWorld
from wire_talks import AFTER, API, BEFORE, CUT, NONSENSE, SQL, TRANSIENT
from wires import Point

from ovirt_demo.database import Database
from rigs import verb_samples

Record = Callable[[str, object], None]

WHENS = (BEFORE, AFTER)
SITUATIONS = [*fault_scenes.SCENES]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, database_server: Database
) -> Iterator[FaultWorld]:
    """Give a cluster with bystanders, and an Engine behind wires, that the tests of this module
    share."""
    with fault_world.fresh(tmp_path_factory.mktemp("faults"), database_server) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed_runs() -> dict[str, tuple[list[Point], list[str]]]:
    """Give what undisturbed runs have shown: one is enough for all tests of a situation."""
    return {}


@pytest.fixture
def trial(
    world: FaultWorld, undisturbed_runs: dict[str, tuple[list[Point], list[str]]], name: str
) -> Trial:
    """Give a verb's situation after an undisturbed run."""
    set_up = fault_scenes.SCENES[name]
    if name not in undisturbed_runs:
        undisturbed_runs[name] = undisturbed(world, set_up)
    points, state = undisturbed_runs[name]
    return Trial(world, name, points, set_up, state)


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_killed_verb_is_finished_by_its_repetition(trial: Trial, record_property: Record) -> None:
    """T71: killed at any point and repeated: the state of an undisturbed run, no object more,
    others untouched."""
    for point, when in trial.deaths():
        trial.kill(point, when)
    record_property("fault_points", len(trial.points))
    record_property("kills", trial.strikes)
    assert bool(trial.points) == (trial.name not in verb_samples.IDLE)
    trial.verdict()


@pytest.mark.parametrize("name", ["create_snapshot, attached", "delete_volume of a whole tree"])
def test_a_death_after_an_answer_leaves_what_one_before_the_next_request_leaves(
    trial: Trial,
) -> None:
    """The others need not kill at both."""
    for point, following in zip(trial.points, trial.points[1:]):
        after, before = trial.left(point, AFTER), trial.left(following, BEFORE)
        assert after == before, f"{point}, {following}: {fault_looks.difference(before, after)}"


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_a_killed_verb_leaves_is_named_and_removed(
    trial: Trial, record_property: Record
) -> None:
    """T72: killed at any point and not repeated: audit names what Engine does not know, reconcile
    removes just that."""
    for point, when in trial.deaths():
        trial.kill(point, when, reconciled)
    record_property("kills", trial.strikes)
    trial.verdict()


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_verb_that_loses_postgresql_tells_it_and_can_be_repeated(
    trial: Trial, record_property: Record
) -> None:
    """T73, T71: PostgreSQL restarts at any point: ended in time, one sentence or success, the same
    state in the end."""
    trial.disturb_each(SQL, [(when, CUT) for when in WHENS])
    record_property("other_faults", trial.strikes)
    trial.verdict()


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_request_that_is_lost_or_answered_wrong_has_its_effect_once(
    trial: Trial, record_property: Record
) -> None:
    """T87, T73: at any request a reset, a "not now", a proxy's page: ended in time, the effect is
    there once."""
    trial.disturb_each(API, [(BEFORE, CUT), (AFTER, CUT), (BEFORE, TRANSIENT), (AFTER, NONSENSE)])
    record_property("other_faults", trial.strikes)
    trial.verdict()


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_request_whose_answer_never_comes_ends_in_time(
    trial: Trial, record_property: Record
) -> None:
    """T73, T87: each query takes effect and stays without an answer: ended in time, a repetition
    ends in one effect."""
    trial.hold_each()
    record_property("other_faults", trial.strikes)
    trial.verdict()
