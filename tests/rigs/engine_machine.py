"""Engine's machine as a folder: oVirt's files of a release and ours, both databases, a simulator.

    site = engine_machine.made(shared, tmp_path, own, release="4.5.7")     # or "master"
    site.root                   the folder that stands for `/`: STORPOOL_OVIRT_ROOT
    site.engine                 the stand-in Engine that starts verbs there (ovirt_demo.engine)
    site.tables                 Engine's own database (rigs/engine_database.py)
    site.run("domain", ...)     storpool-ovirt there, as an administrator types it

`shared` is the fixture of rigs/shared_stage.py; `own` an empty database for Engine's own tables.
"""

from __future__ import annotations

import dataclasses
import subprocess
from typing import TYPE_CHECKING

from rigs import engine_database, transports

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database
    from ovirt_demo.engine import Engine
    from rigs.stage_fixtures import Stage

LIMIT_SECONDS = 90


@dataclasses.dataclass(frozen=True)
class EngineMachine:
    """See the module."""

    stage: Stage
    engine: Engine
    tables: engine_database.EngineDatabase

    @property
    def root(self) -> Path:
        """The folder that stands for `/`."""
        return self.engine.folder

    @property
    def environment(self) -> dict[str, str]:
        """What a shell there has."""
        return {"PATH": "/usr/sbin:/usr/bin", "STORPOOL_OVIRT_ROOT": str(self.root)}

    def command(self, *words: str) -> list[str]:
        """Return the command line of our command."""
        from ovirt_demo import children

        return [str(children.find("storpool-ovirt")), *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run our command to its end; no secret of the site may be in what it says."""
        said = subprocess.run(
            self.command(*words),
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**self.environment, **environment},
        )
        login = self.stage.database.login
        for secret in (login.password, self.stage.simulator.token, "Traceback"):
            assert secret not in said.stdout + said.stderr
        return said

    def divert(self, word: str) -> None:
        """Run storpool-engine-divert there."""
        from ovirt_demo import children

        program = children.find("storpool-engine-divert")
        subprocess.run([program, word], check=True, capture_output=True, env=self.environment)

    def token_file(self, mode: int = 0o640) -> Path:
        """Write the token where storpool-ovirt setup puts it; return its path."""
        path = self.root / "etc/ovirt-engine/storpool-ovirt/token"
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.write_text(f"{self.stage.simulator.token}\n")
        path.chmod(mode)
        return path


def made(shared: Stage, folder: Path, own: Database, release: str = "4.5.7") -> EngineMachine:
    """Make such a machine, with nothing in its tables but a fresh Engine's options."""
    from ovirt_demo import children, engine, engine_software, releases
    from storpool_ovirt.engine import client_file

    played = releases.ENGINE_MASTER if release == "master" else releases.ENGINE_4_5_7
    caller = engine.Engine(
        folder / "engine-machine",
        children.find("storpool-adapter"),
        {**shared.simulator.driver_options(), **transports.options()},
        shared.database.url,
        release=played,
    )
    software = engine_software.EngineSoftware(caller)
    software.install()
    if not played.dispatches:  # the other file of oVirt's package
        software.client.with_name(client_file.OF_THE_SAME_PACKAGE).touch()
    software.integrate()
    keys = caller.folder / engine_software.ENGINE_CONF / played.database_file
    with keys.open("a") as file:
        file.write(f"{played.database_keys}ENABLE=true\n")
    tables = engine_database.made(own, release)
    tables.write_conf(caller.folder)
    return EngineMachine(shared, caller, tables)
