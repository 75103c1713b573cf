"""Engine's flows, with the programs that Engine and Vdsm run, while VolumeCare and storpool_qos
work on the same volumes all the time."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import flows
from rigs import admin_site, clusters, players
from rigs.clock import wait_until
from rigs.flow_stage import Play
from rigs.repeated import repeated
from rigs.shared_stage import attached, sql, volumes
from rigs.stage_fixtures import make_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator


@pytest.fixture(params=["own", "none", "copied"])
def beside(
    tmp_path: Path, database_server: Database, request: pytest.FixtureRequest
) -> Iterator[Play]:
    """Give a stage whose cluster has both players: each volume is taken each minute and kept for
    three, and each has the tier `silver`, which its template's name is."""
    hosts = {number: tmp_path / f"host{number}" for number in (1, 2)}
    made = players.files(tmp_path, every="1m", keep="3m", of_all="hourly")
    given = [*players.options(made), f"--switch=volumecare_tags={request.param}"]
    database = database_server.fresh(f"beside_{uuid.uuid4().hex[:8]}")
    with clusters.process(
        tmp_path / "simulator", hosts, devices="file", options=given, templates=["silver"]
    ) as process:
        yield Play(make_stage(tmp_path, database, process))
    database.drop()


@contextlib.contextmanager
def hurried(cluster: Simulator) -> Iterator[None]:
    """Have a minute pass again and again, so that both make their passes all the time; nobody may
    have failed for another reason than that an object came or went."""
    failures: list[Any] = []

    def hurry() -> None:
        cluster.advance(60)
        for name, state in cluster.control("GET", "players").items():
            failed = state["last"].get("failed", {"": state["last"].get("error")})
            failures.extend((name, why) for why in failed.values())

    with repeated(hurry, 0.02):
        yield
    assert {why for _, why in failures if "objectDoesNotExist" not in str(why)} == set()


def passes(cluster: Simulator) -> int:
    """Return how many passes VolumeCare has made."""
    return int(cluster.control("GET", "players")["volumecare"]["passes"])


def theirs(cluster: Simulator) -> dict[str, Any]:
    """Return the snapshots that no verb made."""
    living = (
        each
        for each in cluster.api("SnapshotsList")
        if not each["deleted"] and not each["transient"]
    )
    return {each["globalId"]: each for each in living if "@" in each["name"]}


def audited(play: Play, folder: Path) -> dict[str, Any]:
    """Return what the command `storpool-ovirt audit` tells of what is not just made."""
    site = admin_site.AdminSite(play.stage, folder)
    said = site.run("audit", "--json", "--grace", "0")
    assert said.returncode == 0, said
    return dict(json.loads(said.stdout))


def test_all_flows(beside: Play, tmp_path: Path) -> None:
    """T76: from create to delete, over a migration, previews, clones and growth: each flow ends as
    it does alone, the data is right, nobody's snapshot is touched, and the audit is content."""
    play, cluster = beside, beside.cluster
    with hurried(cluster):
        disk = flows.create_disk(play.domain, 1)
        guest = play.start(disk, play.host1)
        guest.write(0, "first")
        snapshot = flows.create_snapshot(play.domain, disk)
        guest.write(0, "second")
        flows.extend_disk(play.domain, disk, 2)
        guest.stop()
        flows.migrate(play.domain, play.host2, disk)
        flows.stop_vm(play.domain, disk)
        flows.preview(play.domain, disk, snapshot)
        assert play.reads(disk, "first")
        flows.undo_preview(play.domain, disk)
        assert play.reads(disk, "second")
        clone = flows.clone_disk(play.domain, disk)
        assert play.reads(clone, "second")
        flows.preview(play.domain, disk, snapshot)
        flows.commit_preview(play.domain, disk)
        assert play.reads(disk, "first")
        last = flows.create_snapshot(play.domain, disk)
        flows.remove_snapshot(play.domain, disk, last)
        count = passes(cluster)
        wait_until(lambda: passes(cluster) > count + 1, "two passes")
    assert theirs(cluster)
    kinds = {each["kind"] for each in audited(play, tmp_path)["findings"]}
    assert kinds == {"kept by others"}
    assert {each["iops"] for each in cluster.api("VolumesList")} == {players.IOPS}
    with hurried(cluster):
        flows.delete_disk(play.domain, clone)
        flows.delete_disk(play.domain, disk)
    assert volumes(cluster) == {}
    assert attached(cluster) == set()
    assert sql(play.stage.database, "SELECT count(*) FROM storpool_ovirt.node") == [(0,)]
    cluster.advance(300)
    assert theirs(cluster) == {}
