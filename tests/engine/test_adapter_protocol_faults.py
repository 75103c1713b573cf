"""The adapter as Engine runs it, with an API that does not do what it should."""

from __future__ import annotations

import json

import pytest
from protocol_ground import DEADLINE, SOME, Arguments, all_at_once, all_refused

from ovirt_demo.engine import Engine
from rigs import canned_api, refusals, shared_stage
from rigs.stage_fixtures import Stage
from rigs.verb_samples import IDLE

# The API does not do what it should (T73)


def test_every_verb_ends_in_time_with_the_api_hung(
    shared: Stage, hasty: Engine, arguments: Arguments
) -> None:
    """T73, T41: an API that never answers: the sentence has its address, nothing is changed."""
    before = shared_stage.state(shared.simulator)
    shared.simulator.inject("hang", times=10_000)
    all_refused(all_at_once(hasty, arguments), f"API at 127.0.0.1:{shared.simulator.port}")
    assert [
        shared_stage.answered(result) for result in all_at_once(hasty, arguments, IDLE).values()
    ] == ["", ""]
    shared.simulator.clear_faults()
    assert shared_stage.state(shared.simulator) == before


@pytest.mark.parametrize("kind", ["reset_before", "bad_gateway", "transient"])
def test_what_is_tried_again_ends_in_time(
    shared: Stage, hasty: Engine, arguments: Arguments, kind: str
) -> None:
    """T73, T41: resetting, a proxy's page, switching over, and no end of it: refused with the
    address, no change."""
    before = shared_stage.state(shared.simulator)
    shared.simulator.inject(kind, times=10_000)
    all_refused(all_at_once(hasty, arguments, SOME), f"API at 127.0.0.1:{shared.simulator.port}")
    shared.simulator.clear_faults()
    assert shared_stage.state(shared.simulator) == before


def test_every_verb_ends_in_time_with_nobody_at_the_apis_address(
    shared: Stage, arguments: Arguments
) -> None:
    """T73, T41: connections are refused: told with the address, also where it is tried again until
    the deadline."""
    engine = shared_stage.engine_with(shared, sp_api_http_port="1", sp_deadline=str(DEADLINE))
    all_refused(all_at_once(engine, arguments), "API at 127.0.0.1:1 ")


NONSENSE: dict[str, canned_api.Answer] = {
    "closed": canned_api.CLOSE,
    "dripping": canned_api.DRIP,
    "empty": (200, b""),
    "page": (200, b"<html>welcome</html>"),
    "list": (200, b"[]"),
    "error without parts": (500, b'{"error": {}}'),
    "nested": (200, b"[" * 200_000),
    "data is null": (200, b'{"generation": 1, "data": null}'),
    "data without ok": (200, b'{"generation": 1, "data": {"generation": 1}}'),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_never_taken_for_an_answer(
    shared: Stage, arguments: Arguments, kind: str
) -> None:
    """T73: what is no answer of StorPool's ends each kind of verb in time ([spapi] ApiOk: `ok` is
    constant true)."""
    with canned_api.answering([NONSENSE[kind]]) as canned:
        engine = shared_stage.engine_with(
            shared, sp_api_http_port=str(canned.port), sp_deadline="1"
        )
        address = f"API at 127.0.0.1:{canned.port}"
        all_refused(all_at_once(engine, arguments, SOME), address, "StorPool refused", "time limit")


def test_an_answer_that_comes_late_is_an_answer(shared: Stage, hasty: Engine) -> None:
    """T73: a slow API is waited for inside the deadline."""
    shared.simulator.inject("delay", seconds=0.5, times=2)
    disk = shared_stage.make_disk(hasty)
    assert shared_stage.answered(hasty.run("delete_volume", disk)) == ""


def test_a_create_whose_answer_never_came_is_finished_by_its_repetition(
    shared: Stage, hasty: Engine
) -> None:
    """T1, T87: the call took effect after the verb had given up: the same verb again makes no
    second volume."""
    source, disk, clone = (
        shared_stage.make_disk(shared.engine),
        shared_stage.new_id(),
        shared_stage.new_id(),
    )
    shared.simulator.inject("delay", query="VolumeCreate", seconds=60, times=2)
    creates = {"create_volume": (disk, "1"), "clone_volume": (source, clone)}
    all_refused(all_at_once(hasty, creates, tuple(creates)), "API at")
    shared.simulator.clear_faults()
    for verb, arguments in creates.items():
        assert shared_stage.answered(hasty.run(verb, *arguments)) == ""
    named = [each["name"] for each in shared_stage.volumes(shared.simulator).values()]
    assert (named.count(f"ovirt--{disk}"), named.count(f"ovirt--{clone}")) == (1, 1)


@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
def test_what_a_failed_verb_may_have_made_goes_with_its_disk(
    shared: Stage, hasty: Engine, verb: str
) -> None:
    """T72: a snapshot or a preview whose answer was lost belongs to its disk: its delete finds
    it."""
    disk = shared_stage.make_disk(shared.engine)
    named = (
        (shared.engine.run("create_snapshot", disk).guid(),) if verb != "create_snapshot" else ()
    )
    before = len(shared_stage.volumes(shared.simulator)) + len(
        shared_stage.snapshots(shared.simulator)
    )
    shared.simulator.inject(
        "reset_after", query="VolumeSnapshot" if verb == "create_snapshot" else "VolumeCreate"
    )
    if named:  # the look at the volume that a preview replaces
        shared.simulator.inject("delay", query="Volume", seconds=0)
    shared.simulator.inject(
        "hang", query="Snapshot" if verb == "create_snapshot" else "Volume", times=100
    )
    refusals.of_verb(hasty.run(verb, disk, *named))
    shared.simulator.clear_faults()
    assert (
        len(shared_stage.volumes(shared.simulator)) + len(shared_stage.snapshots(shared.simulator))
        == before + 1
    )
    assert shared_stage.answered(shared.engine.run("delete_volume", disk)) == ""
    assert len(shared_stage.volumes(shared.simulator)) + len(
        shared_stage.snapshots(shared.simulator)
    ) == before - 1 - len(named)


@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
def test_what_a_failed_verb_may_have_made_is_undone_by_the_next(
    shared: Stage, hasty: Engine, verb: str
) -> None:
    """T71: a snapshot or a preview whose answer was lost cannot be named by Engine: the repetition
    takes it back."""
    disk = shared_stage.make_disk(shared.engine)
    named = (
        (shared.engine.run("create_snapshot", disk).guid(),) if verb != "create_snapshot" else ()
    )
    before = len(shared_stage.volumes(shared.simulator)) + len(
        shared_stage.snapshots(shared.simulator)
    )
    shared.simulator.inject(
        "reset_after", query="VolumeSnapshot" if verb == "create_snapshot" else "VolumeCreate"
    )
    shared.simulator.inject(
        "hang", query="Snapshot" if verb == "create_snapshot" else "Volume", times=100
    )
    refusals.of_verb(hasty.run(verb, disk, *named))
    shared.simulator.clear_faults()
    made = shared.engine.run(verb, disk, *named).guid()
    assert (
        len(shared_stage.volumes(shared.simulator)) + len(shared_stage.snapshots(shared.simulator))
        == before + 1
    )
    assert made in {
        **shared_stage.volumes(shared.simulator),
        **shared_stage.snapshots(shared.simulator),
    }


def test_an_extend_that_nobody_repeats_does_no_harm(shared: Stage, hasty: Engine) -> None:
    """T72: it took effect, its answer was lost, the user gave up: the disk is cloned, previewed,
    extended as before."""
    disk = shared_stage.make_disk(shared.engine)
    shared.simulator.inject("reset_after", query="VolumeUpdate", times=10_000)
    refusals.of_verb(hasty.run("extend_volume", disk, "3"))
    shared.simulator.clear_faults()
    assert shared_stage.volumes(shared.simulator)[disk]["size"] == 3 * shared_stage.GIB
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    made = (
        shared_stage.new_id(),
        shared.engine.run("create_volume_from_snapshot", disk, snapshot).guid(),
    )
    shared_stage.answered(shared.engine.run("clone_volume", disk, made[0]))
    assert all(
        shared_stage.volumes(shared.simulator)[each]["size"] == 3 * shared_stage.GIB
        for each in made
    )


CHANGES = {
    "create_volume": "VolumeCreate",
    "clone_volume": "VolumeCreate",
    "create_snapshot": "VolumeSnapshot",
    "create_volume_from_snapshot": "VolumeCreate",
    "extend_volume": "VolumeUpdate",
    "remove_snapshot": "SnapshotDelete",
    "delete_volume": "VolumeDelete",
}


@pytest.mark.parametrize("kind", ["reset_after", "transient", "stop"])
def test_a_call_that_is_interrupted_has_its_effect_once(shared: Stage, kind: str) -> None:
    """T87: the management service moves in mid-call: each verb succeeds, once, and repeats the same
    body or none."""
    tree = shared_stage.make_tree(shared.engine)
    for verb, query in CHANGES.items():
        arguments = (
            ("delete_volume", tree.disk)
            if verb == "delete_volume"
            else (verb, *shared_stage.verb_arguments(tree)[verb])
        )
        before = {
            *shared_stage.volumes(shared.simulator),
            *shared_stage.snapshots(shared.simulator),
        }
        shared.simulator.clear_calls()
        shared.simulator.inject(kind, query=query, **({"seconds": 0.2} if kind == "stop" else {}))
        shared_stage.answered(shared.engine.run(*arguments))
        bodies = [
            json.dumps(call["body"])
            for call in shared_stage.writes(shared.simulator)
            if call["query"] == query
        ]
        assert len({*bodies}) == 1, verb
        after = {*shared_stage.volumes(shared.simulator), *shared_stage.snapshots(shared.simulator)}
        if "create" in verb or "clone" in verb:
            assert len(after) == len(before) + 1, verb
    assert shared_stage.volumes(shared.simulator).get(tree.disk) is None
