"""What the tests of the adapter's faults share: arguments for every verb, a hurried Engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from rigs import refusals, transports
from rigs.shared_stage import at_once, engine_with, plain_arguments
from rigs.verb_samples import BUSY, VERBS

if TYPE_CHECKING:
    from ovirt_demo.engine import Engine, Result
    from rigs.stage_fixtures import Stage

Arguments = Mapping[str, Sequence[str]]
DEADLINE = 2 + transports.loading_seconds()  # of the verbs here
SOME = (
    "create_volume",
    "extend_volume",
    "connect_volume",
)  # a call that is not repeated, one that is, one that reads
ENOUGH = (
    10.0 + transports.loading_seconds()
)  # for a verb with that deadline on a machine that is busy with ten of them


@pytest.fixture(scope="module")
def arguments(module_stage: Stage) -> Arguments:
    """Give each verb arguments that would be good, with disks that no other verb locks."""
    engine = module_stage.engine
    return dict(
        zip(VERBS, at_once(*(lambda verb=verb: plain_arguments(engine, verb) for verb in VERBS)))
    )


@pytest.fixture
def hasty(shared: Stage) -> Iterator[Engine]:
    """Give an Engine whose verbs have two seconds."""
    yield engine_with(shared, sp_deadline=str(DEADLINE))


def all_at_once(
    engine: Engine, arguments: Arguments, verbs: Sequence[str] = BUSY
) -> dict[str, Result]:
    """Run these verbs at the same time, each on objects of its own."""
    return dict(
        zip(
            verbs,
            at_once(*(lambda verb=verb: engine.run(verb, *arguments[verb]) for verb in verbs)),
        )
    )


def all_refused(results: dict[str, Result], *words: str) -> None:
    """Check that each ended in time with one sentence that has one of these words."""
    for verb, result in results.items():
        sentence = refusals.of_verb(result)
        assert any(word in sentence for word in words), f"{verb}: {sentence}"
        assert result.seconds < ENOUGH, verb
