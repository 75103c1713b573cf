"""Storage domains by the role: storpool-ovirt domain makes them once, and refuses other ones."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import controller
import pytest

from rigs import engine_database, engine_machine, rest_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.stage_fixtures import Stage

# The role is root's on Engine's machine: it gives root the file with the password.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root a file")
NAME = "storpool"
CONNECTOR = {"host": "host1", "storpool_volume_type": "local"}


class Site:
    """Engine's machine as a folder, its API, and this machine's Ansible, which plays there what the
    role does for domains."""

    def __init__(
        self, machine: engine_machine.EngineMachine, api: rest_engine.RestEngine, folder: Path
    ) -> None:
        self.machine = machine
        self.api = api
        self.folder = folder
        place = folder / "collections" / "ansible_collections" / "storpool"
        place.mkdir(parents=True)
        (place / "ovirt").symlink_to(controller.COLLECTION)
        (folder / "tmp").mkdir()
        self.machine.token_file()

    @property
    def tables(self) -> engine_database.EngineDatabase:
        """Engine's own database."""
        return self.machine.tables

    def begin(self) -> None:
        """Have nothing in Engine but a data center with an NFS domain, and a host."""
        self.tables.empty()
        center = self.tables.add_data_center("Default")
        self.tables.add_data_domain("nfs", center)
        self.tables.add_host("host1", center, connector=CONNECTOR)
        self.api.forget()

    def play(self, *options: str, api: dict[str, str] | None = None, **domain: Any) -> Any:
        """Play it, and look that no secret is in what it writes, and no file is left."""
        address = self.machine.stage.simulator.driver_options()
        kept = ("sp_api_http_host", "sp_api_http_port", "sp_template")
        wanted = {
            "name": NAME,
            "data_center": "Default",
            "options": {key: address[key] for key in kept},
            **domain,
        }
        login = {
            "api_url": self.api.url,
            "api_user": self.api.user,
            "api_password": self.api.password,
            "api_ca_file": str(self.api.ca_file),
            "command": self.machine.command()[0],
            **(api or {}),
        }
        task = {
            "ansible.builtin.include_role": {
                "name": "storpool.ovirt.engine",
                "tasks_from": "domains",
            },
            "vars": {
                "engine_storpool_domains": [wanted],
                **{f"engine_storpool_{name}": value for name, value in login.items()},
            },
        }
        book = self.folder / "play.yml"
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
        book.write_text(json.dumps([play]))
        words = ["-i", "localhost,", "-c", "local", *options, str(book)]
        done = subprocess.run(
            [controller.BIN / "ansible-playbook", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=controller.LIMIT_SECONDS,
            env={
                **os.environ,
                **controller.ENVIRONMENT,
                **self.machine.environment,
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
                "TMPDIR": str(self.folder / "tmp"),
            },
        )
        played = controller.read(done)
        # Of the password what looks the same however it is written.
        secrets = (self.api.password[:7], self.machine.stage.simulator.token)
        assert not [each for each in secrets if each in played.text]
        assert not [each for each in (self.folder / "tmp").rglob("*") if each.is_file()]
        return played


@pytest.fixture(scope="module")
def module_site(
    module_stage: Stage, tmp_path_factory: pytest.TempPathFactory, database_server: Database
) -> Iterator[Site]:
    """An Engine of 4.5.7 for the tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    database = database_server.fresh(f"site_{uuid.uuid4().hex[:8]}")
    machine = engine_machine.made(module_stage, folder, database)
    with rest_engine.running(machine.tables, folder / "pki") as api:
        yield Site(machine, api, folder)
    database.drop()


@pytest.fixture
def site(module_site: Site, shared: Stage) -> Site:
    """That Engine as it is in the beginning."""
    del shared
    module_site.begin()
    return module_site


@needs_root
def test_a_domain_is_made_once(site: Site) -> None:
    """Check mode proves that it would work, and adds nothing; then it is there and active; again
    nothing is changed. The password is in no output, also at -vvv, and in no file afterwards."""
    checked = site.play("--check", "--diff", "-vvv").check(changed=1)
    assert f"{NAME}: would be created" in checked.text
    assert "POST storagedomains" not in site.api.asked
    made = site.play("--diff", "-vvv").check(changed=1)
    assert f"{NAME}: created" in made.text
    assert site.api.asked.count("POST storagedomains") == 1
    again = site.play().check(changed=0)
    assert f"{NAME}: is there" in again.text
    site.play("--check").check(changed=0)
    assert site.api.asked.count("POST storagedomains") == 1


@needs_root
def test_one_with_other_options_is_a_failure(site: Site) -> None:
    """That names each difference, also in check mode; the domain stays as it is."""
    site.play().check(changed=1)
    options = {**site.machine.stage.simulator.driver_options(), "sp_template": "other"}
    kept = {key: options[key] for key in ("sp_api_http_host", "sp_api_http_port", "sp_template")}
    for mode in ([], ["--check"]):
        said = site.play(*mode, options=kept).failure()
        assert "sp_template" in said
        assert "other options" in said or "differ" in said, said


@needs_root
def test_what_cannot_work_is_a_failure_before_anything_is_made(site: Site) -> None:
    """An option that is none, a password that is wrong or not given, a token for all to
    read."""
    assert "sp_tempalte" in site.play(options={"sp_tempalte": "x"}).failure()
    refused = site.play(options={"sp_auth_token": site.machine.stage.simulator.token}).failure()
    assert "sp_auth_token is no option here, as all could read it" in refused
    assert (
        "give the role engine_storpool_api_password"
        in site.play(api={"api_password": ""}).failure()
    )
    said = site.play(api={"api_password": "no such password"}).failure()
    assert "to let admin@ovirt@internalsso in" in said
    assert "POST storagedomains" not in site.api.asked
