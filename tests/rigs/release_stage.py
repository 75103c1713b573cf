"""Engine and two hosts with the software of oVirt's releases and ours, on one simulator.

A pytest plugin, named in conftest.py behind flow_stage. Which releases those are a test says with
`released.be`; what is installed stays from one test of a module to the next.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from rigs import beside, clusters, hook_stage
from rigs.flow_stage import Guest, Play
from rigs.shared_stage import post, state, volumes
from rigs.stage_fixtures import Stage, make_stage

if TYPE_CHECKING:
    from ovirt_demo import releases
    from ovirt_demo.database import Database
    from ovirt_demo.flows import Disk
    from ovirt_demo.hooks import Hooks
    from ovirt_demo.vdsm import Host


class Site(Play):
    """The stage with installed software: `engine_software`, and `software` by client id."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        from ovirt_demo import engine_software, hooks, host_software, releases

        self.engine_software = engine_software.EngineSoftware(stage.engine)
        self.software = {
            number: host_software.HostSoftware(host, releases.VDSM_MASTER)
            for number, host in stage.hosts.items()
        }
        self.hooks: dict[int, Hooks] = {
            number: hooks.Hooks(host) for number, host in stage.hosts.items()
        }

    def be(self, engine: releases.Engine, *vdsms: releases.Vdsm) -> None:
        """Have these releases with ours beside them, and Engine know what its hosts say."""
        if not self.engine_software.has_ours:
            self.stage.engine.release = engine
            self.engine_software.install()
            self.engine_software.integrate()
        elif self.stage.engine.release != engine:
            self.engine_software.upgrade(engine)
        for (number, software), release in zip(self.software.items(), vdsms):
            if software.host.daemon is None or software.host.release != release:
                software.integrate()
                software.upgrade(release)
            self.refresh(number)

    def refresh(self, *numbers: int) -> None:
        """Have Engine ask these hosts for their capabilities; without numbers all."""
        for number in numbers or self.software:
            self.stage.hosts[number].refresh_capabilities()

    def number(self, host: Host) -> int:
        """Return the client id of a host."""
        [found] = [number for number, each in self.stage.hosts.items() if each is host]
        return found

    def attach(self, host: Host, *disks: Disk) -> list[dict[str, Any]]:
        """Do what comes before QEMU's start on a host: Engine's calls, then the hook's."""
        from ovirt_demo import flows, hooks

        devices = flows.run_vm(self.domain, host, *disks)
        elements = (hooks.disk_xml(each, f"vd{at:c}") for at, each in enumerate(devices, 97))
        self.hooks[self.number(host)].before_vm_start(hooks.domain_xml(*elements))
        return devices

    def start(self, disk: Disk, host: Host) -> Guest:
        """Run a VM with this disk, with all that Engine and Vdsm do."""
        [device] = self.attach(host, disk)
        return self.guest(host, device)

    def opened(self, host: Host, disk: Disk) -> Guest:
        """Open a disk on a host that has it, by the run link: a migrated VM knows no other."""
        from ovirt_demo import vdsm

        link = host.local(f"{vdsm.RUN_FOLDER}/{self.domain.id}_{disk.active}")
        return Guest(link.resolve())

    def types(self, host: Host) -> set[str]:
        """List the types of volumes in a host's rows."""
        return {row["connection_info"]["driver_volume_type"] for row in host.rows.values()}

    def writer(self, host: Host, disk: Disk) -> hook_stage.Writer:
        """Hold a disk open on a host that has it."""
        gid = volumes(self.cluster)[disk.active]["globalId"]
        return hook_stage.Writer(host.local(f"/dev/storpool-byid/{gid}"))

    def lose(self, host: Host) -> None:
        """Lose a host for StorPool; what runs there goes on, and Engine does not reach it."""
        self.cluster.set_client(self.number(host), status="down")

    def come_back(self, host: Host) -> None:
        """Have a lost host back, not rebooted."""
        self.cluster.set_client(self.number(host), status="running")

    def audit(self) -> str:
        """Run an administrator's audit; return what it says."""
        from ovirt_demo import children

        options = self.stage.folder / "options.json"
        options.write_text(json.dumps(self.stage.engine.options))
        where = ["--database", self.stage.database.url, "--options", str(options)]
        done = subprocess.run(
            [children.find("storpool-ovirt"), "audit", *where],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self.stage.engine.environment,
        )
        return done.stdout + done.stderr

    def empty(self) -> None:
        """Have no attachment and no row left of what a test gave up."""
        for number, host in self.stage.hosts.items():
            self.cluster.set_client(number, status="running", open=[], behind=False)
            for each in self.cluster.api("AttachmentsList"):
                kind = "volume" if each["rights"] == "rw" else "snapshot"
                item = {kind: f"~{each['globalId']}", "detach": "all", "force": True}
                post(self.cluster, "VolumesReassignWait", {"reassign": [item]})
            host.rows.clear()
            host.reboot()


@pytest.fixture(scope="module")
def released_stage(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_server: Database,
) -> Iterator[Site]:
    """Give the stage that the tests of a module share; nothing is installed there yet."""
    from ovirt_demo import simulator

    with contextlib.ExitStack() as running:
        folder = tmp_path_factory.mktemp("released")
        database = database_server.fresh(f"released_{uuid.uuid4().hex[:8]}")
        running.callback(database.drop)
        hosts = {number: folder / f"host{number}" for number in (1, 2)}
        try:
            process = running.enter_context(clusters.process(folder / "s", hosts, devices="loop"))
        except simulator.NoStart:
            process = running.enter_context(clusters.process(folder / "s", hosts, devices="file"))
        site = Site(make_stage(folder, database, process, **beside.options(request)))
        for software in site.software.values():
            running.callback(software.stop)
        yield site


@pytest.fixture
def released(request: pytest.FixtureRequest, released_stage: Site, instance: str) -> Iterator[Site]:
    """Give the stage; a test that succeeds leaves the cluster as it was. StorPool's services may be
    beside it (beside.py)."""
    from rigs import behind

    before = state(released_stage.cluster)
    behind.let_answer(released_stage.cluster, instance)
    with beside.playing(request, released_stage.stage):
        yield released_stage
    behind.let_answer(released_stage.cluster, "")
    released_stage.cluster.clear_faults()
    after = state(released_stage.cluster)
    rows = {number: [*host.rows] for number, host in released_stage.stage.hosts.items()}
    released_stage.empty()
    assert after == before
    assert not any(rows.values())
