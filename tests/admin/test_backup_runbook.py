"""docs/backup.md: each of its commands, in their order, does what the page says, with two clusters
and the installed programs."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rigs import clusters, far_cluster, runbook, shared_stage
from rigs.admin_site import AdminSite
from rigs.stage_fixtures import make_stage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator

# The page has words for what is an administrator's own.
DISK, OTHER, VM, FRESH = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "de7f")
FEDERATION = [
    *("--cluster-id", far_cluster.HERE, "--cluster-name", "one"),
    *("--cluster", f"far={far_cluster.FAR}"),
]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, database_server: Database
) -> Iterator[AdminSite]:
    """An Engine, a cluster with two hosts, and one in another location; dates are kept there."""
    folder = tmp_path_factory.mktemp("runbook")
    database = database_server.fresh(f"runbook_{uuid.uuid4().hex[:8]}")
    hosts = {number: folder / f"host{number}" for number in (1, 2)}
    with clusters.process(folder / "simulator", hosts, options=FEDERATION) as process:
        stage = make_stage(folder, database, process)
        stage.engine.run("storage_stats", "true").require()
        yield AdminSite(stage, folder)
    database.drop()


def typed(site: AdminSite, line: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page as an administrator types it."""
    options = site.folder / "options.json"
    options.write_text(json.dumps(site.stage.engine.options))
    where = ["--database", site.stage.database.url, "--options", str(options)]
    environment = {**site.stage.engine.environment, "STORPOOL_OVIRT_ROOT": str(site.folder)}
    return runbook.typed(line, where, environment)


def rename_location(simulator: Simulator) -> None:
    """Have the other location the name that the page has for it."""
    with contextlib.suppress(AssertionError):
        shared_stage.post(simulator, "LocationRename", {"location": "rem", "name": "far"})


def test_the_page_is_played(site: AdminSite) -> None:
    """F62, F63: from the first copy to the last."""
    stage = site.stage
    rename_location(stage.simulator)
    known: dict[str, Any] = {"DISK": DISK, "OTHER": OTHER, "MACHINE": VM, "FRESH": FRESH}
    stage.engine.run("create_volume", FRESH, "1").require()
    for disk, size_gib in ((DISK, 1), (OTHER, 2)):
        stage.engine.run("create_volume", disk, str(size_gib)).require()
        tagged = {"tags": {"cvm": VM}}
        shared_stage.post(stage.simulator, f"VolumeUpdate/ovirt--{disk}", tagged)
    steps = runbook.steps("backup.md")
    assert len(steps) >= 5
    for step in steps:
        said = typed(site, runbook.filled(step.command, known))
        assert (said.returncode, "Traceback" in said.stderr) == (0, False), (step, said)
        runbook.check(step, said.stdout.splitlines(), known)
