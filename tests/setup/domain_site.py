"""What the tests of `storpool-ovirt domain` work with: Engine's machine with a data center and two
hosts, and Engine's API beside it."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rigs import engine_database, engine_machine, rest_engine

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.stage_fixtures import Stage

CONNECTOR = {"host": "host1", "storpool_volume_type": "local"}
NAME = "storpool"


@dataclasses.dataclass(frozen=True)
class Site:
    """Engine's machine, and what is asked there."""

    machine: engine_machine.EngineMachine
    folder: Path

    @property
    def tables(self) -> engine_database.EngineDatabase:
        """Engine's own database."""
        return self.machine.tables

    @property
    def address(self) -> list[str]:
        """The options that say where StorPool's API is."""
        options = self.machine.stage.simulator.driver_options()
        keys = ("sp_api_http_host", "sp_api_http_port")
        return [word for key in keys for word in ("--option", f"{key}={options[key]}")]

    @property
    def template(self) -> str:
        """A template of that cluster."""
        return self.machine.stage.simulator.driver_options()["sp_template"]

    def domain(self, *words: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
        """Run the command for a domain, with the token in its place."""
        self.machine.token_file()
        return self.machine.run("domain", name, *self.address, *words)

    def told(self, *words: str, name: str = NAME) -> dict[str, Any]:
        """Return the document of a run that has to succeed."""
        said = self.domain(*words, "--json", name=name)
        assert said.returncode == 0, said
        document: dict[str, Any] = json.loads(said.stdout)
        return document

    def create(self, api: rest_engine.RestEngine, *words: str) -> list[str]:
        """Return the words that have the command create a domain."""
        password = self.folder / "password"
        password.write_text(f"{api.password}\n")
        login = ["--url", api.url, "--user", api.user, "--password-file", str(password)]
        return ["--create", *login, "--ca-file", str(api.ca_file), *words]

    def stored(self, name: str = NAME) -> dict[str, Any]:
        """Return the options of a domain as Engine has stored them; there is just one."""
        rows = self.tables.execute(
            f"SELECT driver_options FROM {self.tables.storage} JOIN storage_domain_static d"
            " ON d.id = storage_domain_id WHERE d.storage_name = %s",
            name,
        )
        ((options,),) = rows
        assert isinstance(options, dict)
        return options

    def attached(self, name: str = NAME) -> list[tuple[object, ...]]:
        """Return the data centers of a domain, with the status there."""
        return self.tables.execute(
            "SELECT p.name, m.status FROM storage_pool_iso_map m JOIN storage_pool p"
            " ON p.id = m.storage_pool_id JOIN storage_domain_static d ON d.id = m.storage_id"
            " WHERE d.storage_name = %s",
            name,
        )

    def begin(self) -> None:
        """Have nothing in Engine but a data center with an NFS domain, a host that serves and one
        that is in maintenance."""
        self.tables.empty()
        center = self.tables.add_data_center("Default")
        self.tables.add_data_domain("nfs", center)
        self.tables.add_host("host1", center, connector=CONNECTOR)
        self.tables.add_host("host2", center, status=2)


@pytest.fixture(scope="module")
def module_site(
    module_stage: Stage, tmp_path_factory: pytest.TempPathFactory, database_server: Database
) -> Iterator[Site]:
    """Give an Engine of 4.5.7 for the tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    database = database_server.fresh(f"site_{uuid.uuid4().hex[:8]}")
    yield Site(engine_machine.made(module_stage, folder, database), folder)
    database.drop()


@pytest.fixture
def site(module_site: Site, shared: Stage) -> Site:
    """Give that Engine as it is in the beginning, and a StorPool with nothing wrong in it."""
    del shared
    module_site.begin()
    return module_site


@pytest.fixture(scope="module")
def module_api(module_site: Site) -> Iterator[rest_engine.RestEngine]:
    """Give Engine's API for the tests of a module."""
    with rest_engine.running(module_site.tables, module_site.folder / "pki") as running:
        yield running


@pytest.fixture
def api(module_api: rest_engine.RestEngine) -> rest_engine.RestEngine:
    """Give Engine's API with nothing wrong in it."""
    module_api.forget()
    return module_api
