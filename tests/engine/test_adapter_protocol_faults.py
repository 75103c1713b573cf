"""storpool-adapter with its surroundings broken: every verb ends in time, with the truth in one
sentence.

Each fault that it claims to survive is injected here for real: into the simulator, into PostgreSQL,
into the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from ovirt_demo.database import Database
from ovirt_demo.engine import Engine, Result
from rigs import canned_api
from rigs.clock import wait_until
from rigs.helper_stage import wait_for_call
from rigs.shared_stage import (
    GIB,
    answered,
    at_once,
    engine_with,
    make_disk,
    make_tree,
    new_id,
    plain_arguments,
    queries,
    refused,
    rows,
    snapshots,
    sql,
    state,
    verb_arguments,
    volumes,
    writes,
)
from rigs.stage_fixtures import Stage, make_stage
from rigs.verb_samples import BUSY, IDLE, VERBS

Arguments = Mapping[str, Sequence[str]]

DEADLINE = 2  # of the verbs here, in seconds
UNDER_WAY = (
    "SELECT query FROM pg_stat_activity WHERE application_name = 'storpool-ovirt' AND state ="
    " 'active' AND datname = current_database()"
)
SOME = (
    "create_volume",
    "extend_volume",
    "connect_volume",
)  # a call that is not repeated, one that is, one that reads
ENOUGH = 10.0  # for a verb with that deadline on a machine that is busy with ten of them


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
        sentence = refused(result)
        assert any(word in sentence for word in words), f"{verb}: {sentence}"
        assert result.seconds < ENOUGH, verb


def assert_unaltered(stage: Stage, before: tuple[Any, Any]) -> None:
    """Check that cluster and mapping are as they were."""
    changed = {*map(str, rows(stage.database))} ^ {*map(str, before[1])}
    assert not changed, "\n".join(sorted(changed))
    assert state(stage.simulator) == before[0]


# The API does not do what it should (T73)


def test_every_verb_ends_in_time_with_the_api_hung(
    shared: Stage, hasty: Engine, arguments: Arguments
) -> None:
    """T73, T41: an API that never answers: the sentence has its address, nothing is changed."""
    before = state(shared.simulator)
    shared.simulator.inject("hang", times=10_000)
    all_refused(all_at_once(hasty, arguments), f"API at 127.0.0.1:{shared.simulator.port}")
    assert [answered(result) for result in all_at_once(hasty, arguments, IDLE).values()] == ["", ""]
    shared.simulator.clear_faults()
    assert state(shared.simulator) == before


@pytest.mark.parametrize("kind", ["reset_before", "bad_gateway", "transient"])
def test_what_is_tried_again_ends_in_time(
    shared: Stage, hasty: Engine, arguments: Arguments, kind: str
) -> None:
    """T73, T41: resetting, a proxy's page, switching over, and no end of it: refused with the
    address, no change."""
    before = state(shared.simulator)
    shared.simulator.inject(kind, times=10_000)
    all_refused(all_at_once(hasty, arguments, SOME), f"API at 127.0.0.1:{shared.simulator.port}")
    shared.simulator.clear_faults()
    assert state(shared.simulator) == before


def test_every_verb_ends_in_time_with_nobody_at_the_apis_address(
    shared: Stage, arguments: Arguments
) -> None:
    """T73, T41: connections are refused: told with the address, also where it is tried again until
    the deadline."""
    engine = engine_with(shared, sp_api_http_port="1", sp_deadline=str(DEADLINE))
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
        engine = engine_with(shared, sp_api_http_port=str(canned.port), sp_deadline="1")
        address = f"API at 127.0.0.1:{canned.port}"
        all_refused(all_at_once(engine, arguments, SOME), address, "StorPool refused", "time limit")


def test_an_answer_that_comes_late_is_an_answer(shared: Stage, hasty: Engine) -> None:
    """T73: a slow API is waited for inside the deadline."""
    shared.simulator.inject("delay", seconds=0.5, times=2)
    disk = make_disk(hasty)
    assert answered(hasty.run("delete_volume", disk)) == ""


def test_a_create_whose_answer_never_came_is_finished_by_its_repetition(
    shared: Stage, hasty: Engine
) -> None:
    """T1, T87: the call took effect after the verb had given up: the same verb again makes no
    second volume."""
    source, disk, clone = make_disk(shared.engine), new_id(), new_id()
    shared.simulator.inject("delay", query="VolumeCreate", seconds=60, times=2)
    creates = {"create_volume": (disk, "1"), "clone_volume": (source, clone)}
    all_refused(all_at_once(hasty, creates, tuple(creates)), "API at")
    shared.simulator.clear_faults()
    for verb, arguments in creates.items():
        assert answered(hasty.run(verb, *arguments)) == ""
    named = [each["name"] for each in volumes(shared.simulator).values()]
    assert (named.count(f"ovirt--{disk}"), named.count(f"ovirt--{clone}")) == (1, 1)


@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
def test_what_a_failed_verb_may_have_made_goes_with_its_disk(
    shared: Stage, hasty: Engine, verb: str
) -> None:
    """T72: a snapshot or a preview whose answer was lost belongs to its disk: its delete finds
    it."""
    disk = make_disk(shared.engine)
    named = (
        (shared.engine.run("create_snapshot", disk).guid(),) if verb != "create_snapshot" else ()
    )
    before = len(volumes(shared.simulator)) + len(snapshots(shared.simulator))
    shared.simulator.inject(
        "reset_after", query="VolumeSnapshot" if verb == "create_snapshot" else "VolumeCreate"
    )
    shared.simulator.inject(
        "hang", query="Snapshot" if verb == "create_snapshot" else "Volume", times=100
    )
    refused(hasty.run(verb, disk, *named))
    shared.simulator.clear_faults()
    assert len(volumes(shared.simulator)) + len(snapshots(shared.simulator)) == before + 1
    assert answered(shared.engine.run("delete_volume", disk)) == ""
    assert len(volumes(shared.simulator)) + len(snapshots(shared.simulator)) == before - 1 - len(
        named
    )


@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
def test_what_a_failed_verb_may_have_made_is_undone_by_the_next(
    shared: Stage, hasty: Engine, verb: str
) -> None:
    """T71: a snapshot or a preview whose answer was lost cannot be named by Engine: the repetition
    takes it back."""
    disk = make_disk(shared.engine)
    named = (
        (shared.engine.run("create_snapshot", disk).guid(),) if verb != "create_snapshot" else ()
    )
    before = len(volumes(shared.simulator)) + len(snapshots(shared.simulator))
    shared.simulator.inject(
        "reset_after", query="VolumeSnapshot" if verb == "create_snapshot" else "VolumeCreate"
    )
    shared.simulator.inject(
        "hang", query="Snapshot" if verb == "create_snapshot" else "Volume", times=100
    )
    refused(hasty.run(verb, disk, *named))
    shared.simulator.clear_faults()
    made = shared.engine.run(verb, disk, *named).guid()
    assert len(volumes(shared.simulator)) + len(snapshots(shared.simulator)) == before + 1
    assert made in {**volumes(shared.simulator), **snapshots(shared.simulator)}


def test_an_extend_that_nobody_repeats_does_no_harm(shared: Stage, hasty: Engine) -> None:
    """T72: it took effect, its answer was lost, the user gave up: the disk is cloned, previewed,
    extended as before."""
    disk = make_disk(shared.engine)
    shared.simulator.inject("reset_after", query="VolumeUpdate", times=10_000)
    refused(hasty.run("extend_volume", disk, "3"))
    shared.simulator.clear_faults()
    assert volumes(shared.simulator)[disk]["size"] == 3 * GIB
    snapshot = shared.engine.run("create_snapshot", disk).guid()
    made = new_id(), shared.engine.run("create_volume_from_snapshot", disk, snapshot).guid()
    answered(shared.engine.run("clone_volume", disk, made[0]))
    assert all(volumes(shared.simulator)[each]["size"] == 3 * GIB for each in made)


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
    tree = make_tree(shared.engine)
    for verb, query in CHANGES.items():
        arguments = (
            ("delete_volume", tree.disk)
            if verb == "delete_volume"
            else (verb, *verb_arguments(tree)[verb])
        )
        before = {*volumes(shared.simulator), *snapshots(shared.simulator)}
        shared.simulator.clear_calls()
        shared.simulator.inject(kind, query=query, **({"seconds": 0.2} if kind == "stop" else {}))
        answered(shared.engine.run(*arguments))
        bodies = [
            json.dumps(call["body"]) for call in writes(shared.simulator) if call["query"] == query
        ]
        assert len({*bodies}) == 1, verb
        after = {*volumes(shared.simulator), *snapshots(shared.simulator)}
        if "create" in verb or "clone" in verb:
            assert len(after) == len(before) + 1, verb
    assert volumes(shared.simulator).get(tree.disk) is None


# The cluster says no


def test_a_wrong_pin_refuses_every_verb(shared: Stage, arguments: Arguments) -> None:
    """T77: pinned to another cluster, every verb refuses and no write is accepted; the two that do
    nothing succeed."""
    for error, verbs in (("objectDoesNotExist", BUSY), ("invalidParam", SOME)):
        shared.simulator.set_switches(unknown_cluster_error=error)
        engine = engine_with(shared, sp_cluster_id="zzz.z")
        before = state(shared.simulator), rows(shared.database)
        shared.simulator.clear_calls()
        all_refused(all_at_once(engine, arguments, verbs), "pinned to")
        sent = writes(shared.simulator)
        assert all(
            "/RemoteCommand/~zzz.z/" in call["path"] and call["status"] != 200 for call in sent
        )
        assert_unaltered(shared, before)
    assert [answered(each) for each in all_at_once(engine, arguments, IDLE).values()] == ["", ""]


@pytest.mark.parametrize(("error", "verbs"), [("unauthorized", BUSY), ("invalidParam", SOME)])
def test_a_wrong_token_refuses_every_verb(
    shared: Stage, arguments: Arguments, error: str, verbs: Sequence[str]
) -> None:
    """T24: with a token that StorPool does not take every verb says so; nothing is changed."""
    shared.simulator.set_switches(unauthorized_error=error)
    before = state(shared.simulator), rows(shared.database)
    all_refused(
        all_at_once(engine_with(shared, sp_auth_token="0000000000"), arguments, verbs),
        "StorPool refused",
    )
    assert_unaltered(shared, before)


def test_a_template_that_is_missing(shared: Stage) -> None:
    """T3, T24: what would use the template refuses and names it; nothing is left behind."""
    source = make_disk(shared.engine)
    before = state(shared.simulator), rows(shared.database)
    engine = engine_with(shared, sp_template="nosuch")
    for verb, arguments in {
        "storage_stats": ("true",),
        "create_volume": (new_id(), "1"),
        "clone_volume": (source, new_id()),
    }.items():
        assert "nosuch" in refused(engine.run(verb, *arguments))
    assert_unaltered(shared, before)


def test_no_space(shared: Stage) -> None:
    """T4: more than the template holds is refused with StorPool's words; no volume, no size and no
    row is left."""
    shared.simulator.set_switches(overprovision="false")
    disk = make_disk(shared.engine)
    before = state(shared.simulator), rows(shared.database)
    for verb, arguments in {
        "create_volume": (new_id(), "200000"),
        "extend_volume": (disk, "200000"),
    }.items():
        assert "no room" in refused(shared.engine.run(verb, *arguments))
    assert_unaltered(shared, before)
    assert "GiB" in refused(shared.engine.run("create_volume", new_id(), str(1 << 40)))


def test_storage_stats_is_the_gate(shared: Stage) -> None:
    """T24, T28: the verb that Engine runs before it adds a domain fails with the reason for each
    thing amiss."""
    wrong: dict[str, dict[str, str | None]] = {
        "127.0.0.1:1": {"sp_api_http_port": "1", "sp_deadline": "1"},
        "StorPool refused": {"sp_auth_token": "wrong"},
        "nosuch": {"sp_template": "nosuch"},
        "zzz.z": {"sp_cluster_id": "zzz.z"},
    }
    for words, options in wrong.items():
        assert words in refused(engine_with(shared, **options).run("storage_stats", "true"))
    engine = engine_with(shared)
    url = shared.engine.database_url
    for words, replaced in {
        "127.0.0.1:1 ": (f":{shared.database.port}/", ":1/"),
        "password authentication failed": (shared.database.password, "wrong"),
        "does not exist": (f"/{shared.database.name}", "/nosuch"),
    }.items():
        engine.database_url = url.replace(*replaced)
        sentence = refused(engine.run("storage_stats", "true"))
        assert words in sentence
        assert "mapping database" in sentence
    assert engine_with(shared).run("storage_stats", "true").map()


def test_a_role_that_may_not_make_tables(shared: Stage, database_server: Database) -> None:
    """T24: a database in which Engine's role may not create its schema is one sentence with
    PostgreSQL's reason."""
    if not database_server.owned:
        pytest.skip("the role of the server given by STORPOOL_OVIRT_TEST_DB may do anything")
    engine = engine_with(shared)
    engine.database_url = shared.engine.database_url.replace(
        f"/{shared.database.name}", "/postgres"
    )
    assert "permission denied" in refused(engine.run("storage_stats", "true"))


# The database does not do what it should


def test_every_verb_ends_in_time_with_postgresql_broken(
    shared: Stage, own_database: Database, arguments: Arguments
) -> None:
    """T73, T24: stopped, paused, paused or stopped in the middle of a verb; afterwards everything
    works as before."""
    stage = make_stage(shared.folder, own_database, shared.simulator, sp_deadline=str(DEADLINE))
    engine, disk = stage.engine, new_id()
    answered(engine.run("storage_stats", "true"))
    before = state(shared.simulator)
    own_database.stop_server()
    all_refused(all_at_once(engine, arguments), "mapping database")
    own_database.start_server()
    own_database.pause()
    all_refused(all_at_once(engine, arguments), "mapping database")
    own_database.resume()
    assert state(shared.simulator) == before
    for breaks, mends in (
        (own_database.pause, own_database.resume),
        (own_database.stop_server, own_database.start_server),
    ):
        disk = new_id()
        shared.simulator.clear_calls()
        shared.simulator.inject("delay", query="VolumeCreate", seconds=0.7)

        def break_it(breaks: Any = breaks) -> None:
            wait_for_call(shared, "VolumeCreate")
            breaks()

        result, _ = at_once(partial(engine.run, "create_volume", disk, "1"), break_it)
        assert result
        all_refused({"create_volume": result}, "mapping database")
        mends()
        assert answered(engine.run("create_volume", disk, "1")) == ""
        assert [each["name"] for each in volumes(shared.simulator).values()].count(
            f"ovirt--{disk}"
        ) == 1
        assert answered(engine.run("delete_volume", disk)) == ""


def test_a_disk_that_another_verb_works_on(shared: Stage, hasty: Engine) -> None:
    """T19, T61: a verb that meets another one on its disk ends in time, says so, and asks StorPool
    nothing."""
    disk = make_disk(shared.engine)
    met: dict[str, Result] = {}

    def meet() -> None:
        wait_for_call(shared, "VolumeUpdate")
        arguments = {
            "extend_volume": (disk, "3"),
            "delete_volume": (disk,),
            "create_snapshot": (disk,),
        }
        try:
            met.update(all_at_once(hasty, arguments, tuple(arguments)))
        finally:
            shared.simulator.clear_faults()

    shared.simulator.clear_calls()
    shared.simulator.inject("delay", query="VolumeUpdate", seconds=60)
    extended, _ = at_once(lambda: shared.engine.run("extend_volume", disk, "2"), meet)
    assert extended is not None
    assert answered(extended) == ""
    assert queries(shared.simulator) == [
        "KV/Set",
        "Volume",
        "VolumeUpdate",
    ], "those of the verb that has the disk"
    assert volumes(shared.simulator)[disk]["size"] == 2 * GIB
    all_refused(met, "another operation works on")


def test_a_table_that_somebody_has_locked(shared: Stage, hasty: Engine) -> None:
    """T73: an administrator's statement holds our table: the verb ends in time, and names the
    database."""
    disk = make_disk(shared.engine)
    connection = shared.database.connect()
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE storpool_ovirt.node IN ACCESS EXCLUSIVE MODE")
            arguments = {
                "extend_volume": (disk, "3"),
                "create_volume": (new_id(), "1"),
                "connect_volume": (disk, "{}"),
            }
            all_refused(all_at_once(hasty, arguments, tuple(arguments)), "mapping database")
    finally:
        connection.close()
    # PostgreSQL looks for its client only after a statement: what was waiting for the table may
    # still be carried out.
    wait_until(lambda: not sql(shared.database, UNDER_WAY), "the end of the statements")
    assert sql(
        shared.database, f"SELECT size_bytes FROM storpool_ovirt.node WHERE uuid = '{disk}'"
    ) == [(GIB,)]
