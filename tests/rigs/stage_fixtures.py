"""Fixtures of the stage: a real PostgreSQL, the simulator as a process, hosts, and an Engine that
calls our adapter.

A pytest plugin: ``pytest_plugins = ["stage_fixtures"]`` in conftest.py, or ``-p stage_fixtures``.
Imports are inside, so that tests which need none of it run where the demo's requirements are not
installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import signal
import uuid
from typing import TYPE_CHECKING

import pytest

from rigs import beside, clusters, transports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from ovirt_demo.flows import Domain
    from ovirt_demo.simulator import Simulator
    from ovirt_demo.vdsm import Host
    from rigs.forked_engine import Engine

_counter = itertools.count(1)


@dataclasses.dataclass
class Stage:
    """Everything that a flow needs.

    ``hosts`` are by client id; ``domain`` is the storage domain in ``engine``.
    """

    folder: Path
    simulator: Simulator
    database: Database
    hosts: dict[int, Host]
    engine: Engine
    domain: Domain

    @property
    def host1(self) -> Host:
        """The host with client id 1."""
        return self.hosts[1]

    @property
    def host2(self) -> Host:
        """The host with client id 2."""
        return self.hosts[2]


@pytest.fixture(scope="session", autouse=True)
def _end_on_sigterm() -> Iterator[None]:
    """A test run that is told to end takes its servers with it: pytest itself knows only Ctrl-C."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Give Engine's database on a PostgreSQL that lasts for the whole run.

    Do not stop it: see own_database.
    """
    from ovirt_demo import database

    with database.running(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def database(database_server: Database) -> Iterator[Database]:
    """Give a fresh, empty database."""
    fresh = database_server.fresh(f"test_{next(_counter)}_{uuid.uuid4().hex[:8]}")
    yield fresh
    fresh.drop()


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[Database]:
    """Give a database on a server of its own, for tests that stop or pause the server."""
    from ovirt_demo import database

    with database.running(tmp_path) as own:
        if not own.owned:
            pytest.skip("the server given by STORPOOL_OVIRT_TEST_DB is not ours to stop or pause")
        yield own


@pytest.fixture
def simulator_process(tmp_path: Path) -> Iterator[Simulator]:
    """Give a fresh simulator process with the hosts 1 and 2."""

    hosts = {client_id: tmp_path / f"host{client_id}" for client_id in (1, 2)}
    with clusters.process(tmp_path / "simulator", hosts) as process:
        yield process


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: Database,
    simulator_process: Simulator,
) -> Iterator[Stage]:
    """Give a fresh cluster with two hosts, a fresh database and an Engine with one storage
    domain. StorPool's services may be beside it (beside.py)."""
    made = make_stage(tmp_path, database, simulator_process, **beside.options(request))
    with beside.playing(request, made):
        yield made


def make_stage(
    folder: Path,
    database: Database,
    simulator: Simulator,
    *,
    is_quick: bool = False,
    **options: str,
) -> Stage:
    """Put the parts together; ``options`` are added to the driver options of the domain.

    ``is_quick``: verbs and commands share a start of Python (quick_starts.py).
    """
    from ovirt_demo import children, flows, vdsm
    from rigs import forked_engine

    helper = children.find("managedvolume-helper-storpool")
    hosts = {
        client_id: vdsm.Host(root, helper, name=f"host{client_id}.example")
        for client_id, root in simulator.hosts.items()
    }
    caller = forked_engine.Engine(
        folder / "engine",
        children.find("storpool-adapter"),
        {**simulator.driver_options(), **transports.options(), **options},
        database.url,
    )
    caller.is_quick = is_quick
    return Stage(folder, simulator, database, hosts, caller, flows.Domain(caller))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """Hold a device open, as a running VM does."""
    with path.open("rb"):
        yield
