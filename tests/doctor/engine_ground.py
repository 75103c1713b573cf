"""Engine's machine, with oVirt's files of a release and ours, of which anything may be broken; and
the doctor's checks, run there as the command runs them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import looking
import pytest
from looking import Found, Wanted

import ovirt_demo
from rigs import clusters, engine_database
from rigs import machine as machines

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator
    from rigs.machine import Machine

PREFIX = "/opt/storpool-ovirt"
USR = "/usr/share/ovirt-engine"
CLIENT = f"{USR}/cinderlib/cinderlib-client.py"
LINK = f"{USR}/managedblock/storpool-adapter"
CONF_D = "/etc/ovirt-engine/engine.conf.d"
DEFAULTS = f"{USR}/services/ovirt-engine/ovirt-engine.conf"
PLAYER = Path(ovirt_demo.__file__).parent / "players" / "cinderlib_client.py"


class EnginesMachine:
    """A machine with a released Engine on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.write, self.do, self.tool = machine.write, machine.do, machine.tool
        self.environment: dict[str, str] = {}
        self.said: list[str] = []  # of the steps that the last look did

    @property
    def secrets(self) -> list[str]:
        """What no result may show."""
        return []

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks in it, which tell no secret; `fix` does what they say is safe."""
        wanted = Wanted("engine", ids, 10, fix)
        found, self.said, _ = looking.look(self.machine, wanted, self.secrets, self.environment)
        for each in found:
            check(each)
        assert {each.id for each in found} == set(ids), found
        return found

    def one(self, check_id: str, *, fix: bool = False) -> Found:
        """Run a check that has one result."""
        [found] = self.look(check_id, fix=fix)
        return found


class ServedMachine(EnginesMachine):
    """The same with its databases on a real PostgreSQL, and a StorPool."""

    tables: engine_database.EngineDatabase
    mapping: Database
    simulator: Simulator

    @property
    def secrets(self) -> list[str]:
        """What no result may show."""
        return [self.simulator.token, self.mapping.login.password]

    def connect(self) -> None:
        """Write what engine-setup writes, and what runs a statement in Engine's database."""
        self.tables.write_conf(self.machine.path(""))
        login = self.mapping.login
        told = {**vars(login), "database": self.mapping.name}
        lines = [f'CINDERLIB_DB_{key.upper()}="{value}"\n' for key, value in told.items()]
        self.write(
            f"{CONF_D}/10-setup-cinderlib-database.conf", "".join(lines), 0o640, "root:ovirt"
        )
        self.write(f"{CONF_D}/10-setup-cinderlib.conf", 'CINDERLIB_DB_ENABLE="True"\n')
        self.do(f"chmod 0640 {CONF_D}/*.conf; chown root:ovirt {CONF_D}/*.conf")
        where = f"-h {login.host} -p {login.port} -U {login.user} {self.tables.database.name}"
        psql = f"#!/bin/sh\nPGPASSWORD='{login.password}' exec psql -qAt {where} \"$@\"\n"
        self.write(f"{USR}/dbscripts/engine-psql.sh", psql, 0o755)

    def domain(self, name: str = "sp", sealed: str | None = None, **options: str | None) -> str:
        """Add a domain with what an administrator gives; None takes an option away."""
        given = {**self.simulator.driver_options(), "sp_auth_token": None, **options}
        wanted = {key: value for key, value in given.items() if value is not None}
        center = str(self.tables.execute("SELECT id::text FROM storage_pool")[0][0])
        return self.tables.add_domain(name, wanted, center, sealed=sealed)

    def token(self, mode: int = 0o640, owner: str = "root:ovirt") -> str:
        """Write the token's file where setup does, and return its path."""
        folder = "/etc/ovirt-engine/storpool-ovirt"
        self.do(f"install -d -m 0750 -o root -g ovirt {folder}")
        self.write(f"{folder}/token", f"{self.simulator.token}\n", mode, owner)
        return f"{folder}/token"


def check(found: Found) -> None:
    """Check that a result can be used: what is wrong has a risk and a step."""
    assert found.cause, found
    assert "internal error" not in found.cause, found
    if found.result in ("warning", "critical"):
        assert found.risk, found
        assert found.fix, found


@pytest.fixture(scope="session")
def engine_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what Engine's package of 4.5.7 has, as far as ours meets it, and what docs/install.md
    adds to it."""
    folder = tmp_path_factory.mktemp("engine-layer")
    put(folder, f"{CLIENT}.ovirt", PLAYER.read_text(), 0o755)
    put(folder, f"{USR}/cinderlib/config.py", "PATHS = {}\n")
    put(folder, DEFAULTS, 'PACKAGE_VERSION="4.5.7"\nCINDERLIB_DB_ENABLE=false\n')
    put(folder, f"{CONF_D}/10-setup-protocols.conf", "ENGINE_PORT=443\n", 0o640)
    for link, program in (
        (CLIENT, "storpool-engine-dispatcher"),
        (LINK, "storpool-adapter"),
        ("/usr/libexec/storpool-ovirt/storpool-engine-divert", "storpool-engine-divert"),
    ):
        path = Path(f"{folder}{link}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(f"{PREFIX}/bin/{program}")
    # A layer gives its modes to what is below it.
    for path in (folder, *(each for each in folder.rglob("*") if each.is_dir())):
        path.chmod(0o755)
    ovirt = machines.USERS["ovirt"][0]
    for name, mode, owner in (
        ("/etc/ovirt-engine", 0o750, 0),
        (CONF_D, 0o750, 0),
        ("/var/log/ovirt-engine", 0o755, ovirt),
        ("/var/log/ovirt-engine/managedblock", 0o700, ovirt),
    ):
        path = Path(f"{folder}{name}")
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, owner, ovirt)
    return folder


def put(folder: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Write a file of a layer."""
    path = Path(f"{folder}{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Give a StorPool for all tests of a module: none of them changes it for others."""

    folder = tmp_path_factory.mktemp("simulator")
    with clusters.process(folder / "simulator", {1: folder / "host1"}) as process:
        yield process


@pytest.fixture(scope="module")
def engine_tables(database_server: Database) -> Iterator[engine_database.EngineDatabase]:
    """Give Engine's own database for a module: what a test leaves in it is taken away."""
    own = database_server.fresh(f"engine_{uuid.uuid4().hex[:8]}")
    made = engine_database.made(own)
    made.execute("CREATE TABLE kept AS SELECT * FROM vdc_options")
    yield made
    own.drop()


@pytest.fixture(scope="module")
def mapping_database(database_server: Database) -> Iterator[Database]:
    """Give the mapping database for a module."""
    fresh = database_server.fresh(f"mapping_{uuid.uuid4().hex[:8]}")
    yield fresh
    fresh.drop()


# As it was made, with a data center that has a master domain
_ANEW = """
    TRUNCATE vdc_options, storage_domain_static, storage_domain_dynamic, storage_pool, cluster,
        storage_pool_iso_map, vds_static, vds_dynamic, cinder_storage;
    INSERT INTO vdc_options SELECT * FROM kept;
"""


@pytest.fixture
def engines(
    machine_layers: tuple[Path, Path], engine_layer: Path, tmp_path: Path
) -> Iterator[EnginesMachine]:
    """Give Engine's machine, all well."""
    made = machines.Machine(tmp_path / "machine", *machine_layers, engine_layer)
    yield EnginesMachine(made)
    made.end()


@pytest.fixture
def served(
    engines: EnginesMachine,
    engine_tables: engine_database.EngineDatabase,
    mapping_database: Database,
    simulator: Simulator,
) -> ServedMachine:
    """Give the same with databases, a StorPool, a data center and no domain yet."""
    made = ServedMachine(engines.machine)
    engine_tables.execute(_ANEW)
    engine_tables.add_data_domain("nfs", engine_tables.add_data_center())
    made.tables, made.mapping, made.simulator = engine_tables, mapping_database, simulator
    made.connect()
    return made
