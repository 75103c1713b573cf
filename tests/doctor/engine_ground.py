"""Engine's machine, with oVirt's files of a release and ours, of which anything may be broken; and
the doctor's checks, run there as the command runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import ovirt_demo
from rigs import engine_database

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
# As the command runs them: its own start, and what it finds in a table by their ids.
LOOK = """
import json, sys
from storpool_ovirt.doctor import checks, run, tables
sys.argv[0] = "{prefix}/bin/storpool-ovirt"
wanted = [each for each in tables.of(checks.ENGINE) if each.id in sys.argv[1:]]
fix = "--fix" in sys.argv
found = run.examined(checks.Site(checks.ENGINE), wanted, 10)
said = [each.result.action.do("") for each in found if fix and each.result.action]
rows = [
    (
        each.check.id,
        *list(vars(each.result).values())[:5],
        each.result.action.what if each.result.action else "",
    )
    for each in found
]
print(json.dumps([rows, said]))
"""


class Found(NamedTuple):
    """A result as the doctor tells it; `action` is what --fix would do."""

    id: str
    result: str
    cause: str
    risk: str
    fix: str
    subject: str
    action: str


class EnginesMachine:
    """A machine with a released Engine on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.write, self.do, self.tool = machine.write, machine.do, machine.tool

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks in it; with `fix`, do then what they say is safe."""
        words = [*ids, *(["--fix"] if fix else [])]
        code = LOOK.format(prefix=PREFIX)
        done = self.machine.run(f"{PREFIX}/bin/python3", "-c", code, *words)
        assert done.returncode == 0, done.stderr
        rows, self.said = json.loads(done.stdout)
        found = [Found(*row) for row in rows]
        for each in found:
            check(each)
        assert {each.id for each in found} == set(ids), found
        return found

    def one(self, check_id: str, *, fix: bool = False) -> Found:
        """Run a check that has one result."""
        [found] = self.look(check_id, fix=fix)
        return found

    def engine(self) -> None:
        """Put there what Engine's package of 4.5.7 has, as far as ours meets it."""
        self.write(CLIENT, PLAYER.read_text(), 0o755)
        self.write(f"{USR}/cinderlib/config.py", "PATHS = {}\n")
        self.write(DEFAULTS, 'PACKAGE_VERSION="4.5.7"\nCINDERLIB_DB_ENABLE=false\n')
        self.do(
            "install -d -m 0750 -o root -g ovirt /etc/ovirt-engine /etc/ovirt-engine/engine.conf.d"
        )
        self.do("install -d -m 0755 -o ovirt -g ovirt /var/log/ovirt-engine")

    def ours(self) -> None:
        """Do what docs/install.md says for pip."""
        self.do(
            f"mkdir -p {USR}/managedblock /usr/libexec/storpool-ovirt\n"
            "install -d -o ovirt -g ovirt -m 0700 /var/log/ovirt-engine/managedblock\n"
            f"ln -s {PREFIX}/bin/storpool-adapter {LINK}\n"
            f"ln -s {PREFIX}/bin/storpool-engine-d* /usr/libexec/storpool-ovirt/\n"
            "/usr/libexec/storpool-ovirt/storpool-engine-divert on\n"
        )


class ServedMachine(EnginesMachine):
    """The same with its databases on a real PostgreSQL, and a StorPool."""

    tables: engine_database.EngineDatabase
    mapping: Database
    simulator: Simulator

    @property
    def secrets(self) -> list[str]:
        """What no result may show."""
        return [self.simulator.token, self.mapping.login.password]

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks in it; no secret is told."""
        found = super().look(*ids, fix=fix)
        for secret in self.secrets:
            assert secret not in str(found)
        return found

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


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Give a StorPool for all tests of a module: none of them changes it for others."""
    from ovirt_demo import simulator as simulators

    folder = tmp_path_factory.mktemp("simulator")
    with simulators.running(folder / "simulator", {1: folder / "host1"}) as process:
        yield process


@pytest.fixture
def served(
    machine: Machine, database_server: Database, database: Database, simulator: Simulator
) -> Iterator[ServedMachine]:
    """Give Engine's machine with databases, a StorPool, a data center and no domain yet."""
    made = ServedMachine(machine)
    made.engine()
    made.ours()
    own = database_server.fresh(f"{database.name}_engine")
    made.tables = engine_database.made(own)
    made.tables.add_data_domain("nfs", made.tables.add_data_center())
    made.mapping, made.simulator = database, simulator
    made.connect()
    yield made
    own.drop()


@pytest.fixture
def engines(machine: Machine) -> Iterator[EnginesMachine]:
    """Give Engine's machine, all well."""
    made = EnginesMachine(machine)
    made.engine()
    made.ours()
    yield made
