"""claims.py: which Engine a location belongs to, told in StorPool's key-value store; nothing fails
for it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from rigs.disk_rig import TEMPLATE
from rigs.yard import Yard
from storpool_ovirt.admin import survey
from storpool_ovirt.engine import claims, disks, tree

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def engine_on(
    yard: Yard, machine: str, boot: str = "first", at: float = 1000.0
) -> Iterator[tree.Work]:
    """Give an Engine with this yard's database that runs on another machine, or after another start
    of it."""
    root = yard.folder / f"{machine}-{boot}"
    for path, text in (("etc/machine-id", machine), ("proc/sys/kernel/random/boot_id", boot)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    with yard.administrator() as engine:
        # Without a template the first look at the space makes a volume, to see whether it can be
        # made.
        domain = dataclasses.replace(engine.domain, template=TEMPLATE)
        yield dataclasses.replace(engine, domain=domain, root=str(root), now=lambda: at)


def seen(yard: Yard, machine: str, boot: str = "first", at: float = 1000.0) -> list[str]:
    """Ask for the domain's space on a machine, and return machine and boot of the others that are
    told there then."""
    with engine_on(yard, machine, boot, at) as engine:
        assert disks.stats(engine)["total_capacity_gb"]
        claim = claims.read(engine.client, engine.mapping.location)
        assert claim is not None
        return [
            f"{each.machine}-{each.boot}" for each in claims.differences(claim, claims.this(engine))
        ]


def writes(yard: Yard) -> int:
    """Count the writes into the claims' bucket."""
    return sum(each.path.count(f"KV/Set/{claims.BUCKET}") for each in yard.simulator.calls.list())


def test_the_first_look_at_the_domain_claims_its_location(yard: Yard) -> None:
    """A claim is written once, and again only to say that its Engine is alive: one read more for a
    verb, no write."""
    assert seen(yard, "prod") == []
    assert writes(yard) == 1
    assert seen(yard, "prod", at=1000 + claims.SEEN_SECONDS) == []
    assert writes(yard) == 1
    assert seen(yard, "prod", at=1002 + claims.SEEN_SECONDS) == []
    assert writes(yard) == 2
    assert seen(yard, "prod", at=5) == [], (
        "a clock that went back is written too, else it would be silent for long"
    )
    assert writes(yard) == 3


def test_an_engine_that_is_restored_a_second_time_is_noticed_by_both(yard: Yard) -> None:
    """A restore on another machine has the location of the one that lives: both are told, the log
    says it once."""
    assert seen(yard, "prod") == []
    assert seen(yard, "copy") == ["prod-first"]
    assert seen(yard, "copy") == ["prod-first"]
    assert seen(yard, "prod") == ["copy-first"]
    assert (yard.folder / "verbs.log").read_text().count("location_of_another") == 1
    assert seen(yard, "copy", boot="second") == ["prod-first"], (
        "a start of the other machine makes no third one"
    )
    assert seen(yard, "prod") == ["copy-first"]


def test_a_start_of_the_machine_is_no_other_engine(yard: Yard) -> None:
    """The same machine with the same database after a start is the same Engine."""
    for boot in ("first", "second", "third"):
        assert seen(yard, "prod", boot) == []


def test_an_image_of_the_whole_machine_that_runs_beside_it_is_noticed(yard: Yard) -> None:
    """Nothing tells a copy of the whole machine apart but its start: one that was over and comes
    again is a second."""
    assert seen(yard, "prod", "first") == []
    assert seen(yard, "prod", "of the copy") == [], "it may be a start of the same machine"
    assert seen(yard, "prod", "first") == ["prod-of the copy"]
    assert seen(yard, "prod", "of the copy") == ["prod-first"]


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_a_claim_that_was_written_a_moment_ago_is_not_overwritten(yard: Yard, changes: int) -> None:
    """T55: "there is none" by an instance that is behind would let a copy take the living Engine's
    location."""
    seen(yard, "prod")
    with engine_on(yard, "copy") as engine, yard.trouble("old", query="KV/Get", changes=changes):
        claims.note(engine, engine.mapping.journal.check()[0])
    with engine_on(yard, "copy") as engine:
        claim = claims.read(engine.client, engine.mapping.location)
    assert claim is not None
    assert (claim.engine.machine, [each.machine for each in claim.others]) == ("prod", ["copy"])


def test_whose_a_location_is_is_told_as_of_the_look_that_it_belongs_to(yard: Yard) -> None:
    """What was claimed before the barrier of a look at everything is seen in it, as all else."""
    with engine_on(yard, "copy") as engine:
        claims.take(engine)
    with engine_on(yard, "prod") as engine:
        claims.take(engine)
    with engine_on(yard, "copy") as engine, yard.trouble("old", query="KV/Get", changes=2, times=3):
        claim = survey.look(engine).claim
    assert claim is not None
    assert claim.engine.machine == "prod"


def test_an_administrator_says_which_engine_is_the_one_now(yard: Yard) -> None:
    """After a restore that is meant, one word ends the warning; the other one is warned if it
    lives."""
    seen(yard, "prod")
    assert seen(yard, "copy") == ["prod-first"]
    with engine_on(yard, "copy") as engine:
        before = claims.take(engine)
        assert before is not None
        assert before.engine.machine == "prod"
    assert seen(yard, "copy") == []
    assert seen(yard, "prod") == ["copy-first"]
    assert seen(yard, "copy") == ["prod-first"]


@pytest.mark.parametrize(
    "value", ["", "no json", "[]", "{}", '{"engine": 1}', '{"engine": {"at": 1e999}}', "9" * 100]
)
def test_a_claim_that_cannot_be_read_is_replaced(yard: Yard, value: str) -> None:
    """What somebody else has written there stops nothing."""
    seen(yard, "prod")
    with engine_on(yard, "prod") as engine:
        engine.client.pair_set(claims.BUCKET, engine.mapping.location, value)
        assert claims.read(engine.client, engine.mapping.location) is None
    assert seen(yard, "prod") == []


@pytest.mark.parametrize(
    "text", ['{"at": NaN}', '{"boot": {"deep": [1]}}', '{"host": "x\\u0000\\u2028y"}']
)
def test_odd_values_of_a_claim_harm_nobody(yard: Yard, text: str) -> None:
    """Numbers that are none make no claim; texts stay texts."""
    seen(yard, "prod")
    with engine_on(yard, "prod") as engine:
        pair = engine.client.pair(claims.BUCKET, engine.mapping.location)
        value = json.loads(pair.value)
        value["engine"].update(json.loads(text))
        engine.client.pair_set(claims.BUCKET, engine.mapping.location, json.dumps(value))
    seen(yard, "prod")


@pytest.mark.parametrize(
    "kind", ["hang", "reset_before", "reset_after", "bad_gateway", "error_200", "transient"]
)
@pytest.mark.parametrize("query", ["KV/Get", "KV/Set", "KV/Create"])
def test_no_verb_fails_for_a_claim(yard: Yard, query: str, kind: str) -> None:
    """The store may hang, refuse or talk nonsense: the domain's space is told, within the claim's
    own limit."""
    with engine_on(yard, "prod") as engine, yard.trouble(kind, query=query, times=50, seconds=0.05):
        started = yard.clock.now
        assert disks.stats(engine)["total_capacity_gb"]
        assert yard.clock.now - started <= claims.NOTE_SECONDS
