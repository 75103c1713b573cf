"""What the tests of `storpool-ovirt audit | reconcile | rebuild` work with: a stage and an
administrator's shell."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
from typing import TYPE_CHECKING

from rigs import engine_database, quick_starts, shared_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rigs.stage_fixtures import Stage

LIMIT_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class AdminSite:
    """A stage with nothing in it, and an administrator's shell."""

    stage: Stage
    folder: Path

    def run(
        self, verb: str, *arguments: str, told: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command; `told`: with options that say where database and API are."""
        from ovirt_demo import children

        options = self.folder / "options.json"
        if told and not options.exists():
            options.write_text(json.dumps(self.stage.engine.options))
        where = ["--database", self.stage.database.url, "--options", str(options)] if told else []
        start = quick_starts.run if self.stage.engine.is_quick else quick_starts.really_run
        said = start(
            [children.find("storpool-ovirt"), verb, *where, *arguments],
            {
                **self.stage.engine.environment,
                "STORPOOL_OVIRT_ROOT": str(self.folder),
                **environment,
            },
            LIMIT_SECONDS,
        )
        for secret in (self.stage.database.login.password, self.stage.simulator.token, "Traceback"):
            assert secret not in said.stdout + said.stderr
        return said

    def leak(self, disk: str) -> str:
        """Make a snapshot whose id nobody reads, and return it."""
        before = shared_stage.snapshots(self.stage.simulator)
        with self.stage.engine.started("create_snapshot", disk, correlation_id="corr-5") as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait(LIMIT_SECONDS) == 1
        return (shared_stage.snapshots(self.stage.simulator).keys() - before.keys()).pop()

    def lose(self, disk: str) -> None:
        """Delete a disk's volume by hand."""
        shared_stage.post(self.stage.simulator, f"VolumeDelete/ovirt--{disk}", {})

    def location(self) -> str:
        """Return this Engine's location."""
        return str(
            shared_stage.sql(self.stage.database, "SELECT location FROM storpool_ovirt.meta")[0][0]
        )


@contextlib.contextmanager
def on_engine(
    site: AdminSite, domains: Mapping[str, Mapping[str, object]]
) -> Iterator[engine_database.EngineDatabase]:
    """Have the administrator be on Engine's machine, whose storpool.conf has where the API is, and
    no more: Engine's database has these domains, with options beside those of the API."""
    database = site.stage.database.fresh(f"domains_{shared_stage.new_id()[:8]}")
    made = engine_database.made(database, "4.5.7")
    for name, options in domains.items():
        made.add_domain(name, {**site.stage.engine.options, "adapter": "storpool", **options})
    made.write_conf(site.folder)
    there = site.stage.simulator
    told_ = {"SP_API_HTTP_HOST": there.address, "SP_API_HTTP_PORT": there.port}
    lines = (f"{key}={value}" for key, value in {**told_, "SP_AUTH_TOKEN": there.token}.items())
    (site.folder / "etc" / "storpool.conf").write_text("\n".join(lines))
    yield made
    database.drop()


@contextlib.contextmanager
def opened_site(shared: Stage, folder: Path) -> Iterator[AdminSite]:
    """Give a stage with empty tables and an empty cluster."""
    shared.engine.run("storage_stats", "true").require()
    yield AdminSite(shared, folder)
    for kind in ("Volume", "Snapshot"):
        for thing in shared.simulator.api(f"{kind}sList"):
            if not thing.get("deleted") and not thing.get("transient"):
                everywhere = {kind.lower(): f"~{thing['globalId']}", "detach": "all", "force": True}
                shared_stage.post(
                    shared.simulator, "VolumesReassignWait", {"reassign": [everywhere]}
                )
                shared_stage.post(shared.simulator, f"{kind}Delete/~{thing['globalId']}", {})
    shared_stage.sql(shared.database, "DROP SCHEMA storpool_ovirt CASCADE")


def told(said: subprocess.CompletedProcess[str], code: int) -> list[str]:
    """Check how the command ended, and return the lines that it printed."""
    assert (said.returncode, said.stderr) == (code, ""), said
    return said.stdout.splitlines()
