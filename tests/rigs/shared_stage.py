"""A stage that the tests of one module share, and the questions that they ask of it.

A pytest plugin, named in conftest.py behind stage_fixtures. Starting a simulator costs more than
most tests: each test works with ids of its own, and faults and switches are taken back after each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from rigs import behind, beside, clusters, quick_starts, verb_samples
from rigs.stage_fixtures import Stage, make_stage
from storpool_ovirt import names, trash_names

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from ovirt_demo.engine import Engine, Result
    from ovirt_demo.simulator import Simulator

GIB = 1 << 30
FACTS = (
    "globalId",
    "name",
    "size",
    "tags",
    "templateName",
)  # of an object: what never changes by itself
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Tree:
    """A disk with a snapshot and a volume that previews it."""

    disk: str
    snapshot: str
    preview: str


@pytest.fixture(scope="module")
def module_stage(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_server: Database,
) -> Iterator[Stage]:
    """Give the stage that the tests of a module share: two hosts, an Engine with one storage
    domain. Verbs and commands share a start of Python, but where the module wants real ones."""

    folder = tmp_path_factory.mktemp("stage")
    database = database_server.fresh(f"shared_{uuid.uuid4().hex[:8]}")
    with clusters.process(
        folder / "simulator", {number: folder / f"host{number}" for number in (1, 2)}
    ) as process:
        yield make_stage(
            folder,
            database,
            process,
            is_quick=not quick_starts.real(request),
            **beside.options(request),
        )
    database.drop()


@pytest.fixture
def shared(request: pytest.FixtureRequest, module_stage: Stage, instance: str) -> Iterator[Stage]:
    """Give the module's stage with nothing wrong in it, and no calls counted yet. StorPool's
    services may be beside it (beside.py)."""
    switches = module_stage.simulator.control("GET", "switches")
    behind.let_answer(module_stage.simulator, instance)
    with beside.playing(request, module_stage):
        module_stage.simulator.clear_calls()
        yield module_stage
        module_stage.simulator.clear_faults()
    module_stage.simulator.set_switches(**switches)
    for client_id in module_stage.hosts:
        module_stage.simulator.set_client(client_id, status="running", open=[], behind=False)


@pytest.fixture(scope="module")
def tree(module_stage: Stage) -> Tree:
    """Give a disk of 1 GiB with a snapshot and a preview: for tests that change nothing of it."""
    return make_tree(module_stage.engine)


def make_tree(engine: Engine) -> Tree:
    """Make a disk of 1 GiB, a snapshot of it and a preview of that."""
    disk = make_disk(engine)
    snapshot = engine.run("create_snapshot", disk).guid()
    return Tree(disk, snapshot, engine.run("create_volume_from_snapshot", disk, snapshot).guid())


def make_disk(engine: Engine, size_gib: int = 1) -> str:
    """Make a disk and return its id."""
    disk = new_id()
    engine.run("create_volume", disk, str(size_gib)).require()
    return disk


def new_id() -> str:
    """Return an id as Engine makes it."""
    return str(uuid.uuid4())


def engine_with(stage: Stage, **options: str | None) -> Engine:
    """Return the same Engine with other driver options (None: without this one)."""
    from ovirt_demo import children
    from rigs import forked_engine

    given = {**stage.engine.options, **options}
    made = forked_engine.Engine(
        stage.engine.folder,
        children.find("storpool-adapter"),
        {key: value for key, value in given.items() if value is not None},
        stage.database.url,
    )
    made.is_quick = stage.engine.is_quick
    made.observe = stage.engine.observe
    return made


def answered(result: Result) -> str:
    """Check that a verb answered with exactly one line and exit code 0, and return the payload."""
    head, end = f"{result.correlation_id}:".encode(), b"\n"
    assert result.output.startswith(head), result
    assert result.output.endswith(end), result
    assert result.output.count(end) == 1, result
    assert result.returncode == 0, result
    return result.output[len(head) : -len(end)].decode()


BARRIER = ("/ctrl/1.0/KV/Set/storpool-ovirt", "/ctrl/1.0/KV/Create/storpool-ovirt")


def queries(simulator: Simulator) -> list[str]:
    """List the queries since the last call of this, oldest first.

    Without the one that makes the barrier's bucket, once in the life of a cluster.
    """
    asked = [call["query"] for call in simulator.calls() if call["query"] != "KV/Create"]
    simulator.clear_calls()
    return asked


def writes(simulator: Simulator) -> list[dict[str, Any]]:
    """List the calls since the last clear_calls that could have changed something of anybody's.

    The barrier (`api.Client.be_current`) writes a key of ours that nobody reads.
    """
    return [
        call
        for call in simulator.calls()
        if call["method"] == "POST" and call["path"] not in BARRIER
    ]


def volumes(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """List the volumes by the id that oVirt knows, with their facts that must not change by
    themselves."""
    return {
        _uuid(each): {name: each[name] for name in FACTS} for each in simulator.api("VolumesList")
    }


def snapshots(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """List the snapshots that are not being deleted by the id that oVirt knows.

    What is in the trash is no disk's any more: `trash` has it.
    """
    living = [each for each in _living(simulator) if not trash_names.entry_of(each["name"])]
    return {_uuid(each): {name: each[name] for name in FACTS} for each in living}


def trash(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """List what is in the trash, by its entries."""
    entries = {trash_names.entry_of(each["name"]): each for each in _living(simulator)}
    return {entry: each for entry, each in entries.items() if entry is not None}


def _living(simulator: Simulator) -> list[dict[str, Any]]:
    """List the snapshots that stay, without those of VolumeCare that is beside it."""
    from rigs import services

    there = services.of(simulator)
    return [
        each
        for each in simulator.api("SnapshotsList")
        if not each["deleted"] and not each["transient"]
        if there is None or not there.is_theirs(each)
    ]


def _uuid(entry: dict[str, Any]) -> str:
    tags = names.with_long_uuid(dict(entry["tags"]))
    uuid_: str = tags.get("ovirt-uuid", entry["name"])
    return uuid_


def attached(simulator: Simulator, global_id: str | None = None) -> set[tuple[str, int, str]]:
    """List who has what attached how: (global id, client id, rights), of one object or of all."""
    rows = simulator.api("AttachmentsList")
    return {
        (each["globalId"], each["client"], each["rights"])
        for each in rows
        if global_id in (None, each["globalId"])
    }


def state(simulator: Simulator) -> list[Any]:
    """Return everything in the cluster, to be compared before and after."""
    return [volumes(simulator), snapshots(simulator), attached(simulator)]


def post(simulator: Simulator, query: str, body: Any) -> None:
    """Change something in the cluster as an administrator would."""
    connection = http.client.HTTPConnection(simulator.address, simulator.port, timeout=10)
    headers = {"Authorization": f"Storpool v1:{simulator.token}"}
    connection.request("POST", f"/ctrl/1.0/{query}", json.dumps(body), headers)
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    connection.close()


def rows(database: Database) -> list[Any]:
    """Return the mapping, to be compared before and after; each row has its columns by name.

    A verb that is refused may note the visible id of a volume that it met, so that is left out.
    """
    from psycopg2.extras import NamedTupleCursor

    with contextlib.closing(database.connect()) as connection:
        cursor = connection.cursor(cursor_factory=NamedTupleCursor)
        cursor.execute("SELECT * FROM storpool_ovirt.node ORDER BY uuid")
        return [each._replace(visible_id=None) for each in cursor.fetchall()]


def sql(database: Database, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement as Engine's database role."""
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def attach(stage: Stage, client_id: int, volume: str) -> Path:
    """Attach a volume to a host with the two programs, and return the device on this machine."""
    host = stage.hosts[client_id]
    info = stage.engine.run("connect_volume", volume, json.dumps(host.connector_info)).map()
    return host.local(host.attach(info)["path"])


def connection_info(stage: Stage, volume: str) -> dict[str, Any]:
    """Return what connect_volume prints for a volume."""
    return stage.engine.run("connect_volume", volume, "{}").map()


def write(device: Path, data: bytes, offset: int = 0) -> None:
    """Write to a device as a guest does, down to the storage."""
    descriptor = os.open(device, os.O_WRONLY)
    try:
        assert os.pwrite(descriptor, data, offset) == len(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(device: Path, length: int, offset: int = 0) -> bytes:
    """Read from a device, past the page cache where it is a block device."""
    descriptor = os.open(device, os.O_RDONLY)
    try:
        if stat.S_ISBLK(os.fstat(descriptor).st_mode):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def at_once(*jobs: Callable[[], _T]) -> list[_T]:
    """Run these at the same time and return their results in order."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def verb_arguments(tree: Tree) -> dict[str, Sequence[str]]:
    """Return good arguments for each verb, with the objects of a tree and new ids."""
    return {
        verb: verb_samples.arguments(verb, tree.disk, tree.snapshot, new_id())
        for verb in verb_samples.VERBS
    }


def plain_arguments(engine: Engine, verb: str) -> Sequence[str]:
    """Return good arguments for one verb, with just the objects made that it needs: a disk is plain
    where it can be."""
    if verb in verb_samples.OF_NOTHING:
        return verb_arguments(Tree("", "", ""))[verb]
    disk = make_disk(engine)
    named = verb in verb_samples.OF_SNAPSHOTS
    snapshot = engine.run("create_snapshot", disk).guid() if named else ""
    return verb_arguments(Tree(disk, snapshot, ""))[verb]


def every_verb(engine: Engine) -> None:
    """Run each of the verbs once, with success: a disk's whole life."""
    disk = new_id()
    tree = Tree(disk, "", "")
    answered(engine.run("create_volume", disk, "1"))
    tree = Tree(disk, engine.run("create_snapshot", disk).guid(), "")
    first, last = ("create_volume", "create_snapshot"), ("remove_snapshot", "delete_volume")
    for verb in (*(verb for verb in verb_samples.VERBS if verb not in first + last), *last):
        answered(engine.run(verb, *verb_arguments(tree)[verb]))
