"""Histories of one host: its Vdsm is updated and downgraded, Engine's copy of its words is old or
new, disks are attached, detached and taken by force from elsewhere, the host is rebooted.

The real programs at each step, as Vdsm starts them. test_volume_type.py has all histories there
are, as a model.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rigs import clusters
from rigs.shared_stage import GIB, attached, post, volumes
from storpool_ovirt import names

if TYPE_CHECKING:
    from ovirt_demo.simulator import Simulator

SD = "11111111-2222-4333-8444-555555555555"
VOLUMES = 2
STEPS = st.one_of(
    st.sampled_from(["released", "master", "files", "restart", "reboot", "ask", "look"]),
    st.tuples(st.sampled_from(["attach", "attach", "detach", "take"]), st.integers(0, VOLUMES - 1)),
)
LIVE: list[Any] = [("attach", 0), ("attach", 1)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Give a cluster with one host."""

    folder = tmp_path_factory.mktemp("cluster")
    with clusters.process(folder / "simulator", {1: folder / "host1"}) as running:
        yield running


class Life:
    """A host with Vdsm 4.50.7, two volumes, and Engine's side of their attaches.

    `asked`: Engine has asked the host since Vdsm's last start.
    """

    def __init__(self, cluster: Simulator, root: Path) -> None:
        from ovirt_demo import children, host_software, releases, vdsm

        self.vdsm = vdsm
        self.releases = {"released": releases.VDSM_4_50_7, "master": releases.VDSM_MASTER}
        self.cluster = cluster
        self.host = vdsm.Host(root, children.find("managedvolume-helper-storpool"))
        self.software = host_software.HostSoftware(self.host, releases.VDSM_4_50_7)
        self.software.install()
        self.software.integrate()
        self.software.restart()
        self.asked = False
        self.volumes = [str(uuid.uuid4()) for _ in range(VOLUMES)]
        for volume in self.volumes:
            made = {
                "name": f"ovirt--{volume}",
                "size": GIB,
                "template": "hybrid",
                "tags": {"ovirt-uuid": volume, "virt": "ovirt"},
            }
            post(cluster, "VolumeCreate", made)
        there = volumes(cluster)
        self.global_ids = [there[volume]["globalId"] for volume in self.volumes]

    def step(self, name: str, volume: int = 0) -> None:
        """Take a step."""
        if name in self.releases:
            self.software.upgrade(self.releases[name])
            self.asked = False
        elif name == "files":  # the other Vdsm's, under the one that runs
            self.software.release = next(
                each for each in self.releases.values() if each != self.software.release
            )
            self.software.install()
        elif name in ("restart", "reboot"):
            getattr(self.software, name)()
            self.asked = False
        elif name == "ask":
            self.host.refresh_capabilities()
            self.asked = True
        elif name == "look":  # not Engine
            self.host.helper("connector_info", None).document()
        else:
            getattr(self, name)(volume)

    def attach(self, volume: int) -> None:
        """Attach as Engine does, which asks a host that was started before it sends anything."""
        if not self.asked:
            self.step("ask")
        vol_id, device = self.volumes[volume], self.device(volume)
        was_there = vol_id in self.host.rows and device.exists()
        try:
            self.host.attach_volume(SD, vol_id, self.info(volume))
        except self.vdsm.VdsmError as error:
            there = f"volume {vol_id} is already attached"
            assert was_there and error.code == self.vdsm.ALREADY_ATTACHED, (error, there)
        else:
            assert self.clients(volume) == {1}
            assert device.exists()

    def detach(self, volume: int) -> None:
        """Detach as Engine does; afterwards nothing of it is here."""
        vol_id = self.volumes[volume]
        had_row = vol_id in self.host.rows
        self.host.detach_volume(SD, vol_id)
        assert vol_id not in self.host.rows
        assert not had_row or self.clients(volume) == set()

    def take(self, volume: int) -> None:
        """Have another host start a VM with it."""
        away = {"volume": f"~{self.global_ids[volume]}", "detach": [1], "force": True}
        if self.clients(volume):
            post(self.cluster, "VolumesReassignWait", {"reassign": [away]})

    def info(self, volume: int) -> dict[str, Any]:
        """Return what connect_volume answers for what Engine has of this host."""
        kind = self.host.connector_info.get(names.VOLUME_TYPE_KEY, names.VOLUME_TYPE)
        data = {
            "volume": self.volumes[volume],
            "global_id": self.global_ids[volume],
            "access_mode": "rw",
        }
        return {"adapter": "storpool", "driver_volume_type": kind, "data": data}

    def device(self, volume: int) -> Path:
        """Return where the device is, if anywhere."""
        return self.host.local(f"/dev/storpool-byid/{self.global_ids[volume]}")

    def clients(self, volume: int) -> set[int]:
        """List who has it in StorPool."""
        return {client for _, client, _ in attached(self.cluster, self.global_ids[volume])}

    def end(self) -> None:
        """Take everything off; nothing is left."""
        for volume in range(VOLUMES):
            self.detach(volume)
            if self.clients(volume):  # without a row, as after a reboot: the boot hook's
                self.step("reboot")
            assert self.clients(volume) == set()
        self.software.stop()
        self.software.separate()
        assert [each for each in self.software.left() if "storpool" in each] == []


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, max_size=10))
@example(steps=[*LIVE, "master", ("take", 0), ("attach", 0), ("detach", 1), ("attach", 1)])
@example(steps=["master", *LIVE, "released", ("take", 0), ("attach", 0), ("detach", 1)])
@example(steps=["master", "ask", *LIVE, "released", "look", ("take", 1), ("attach", 1), "reboot"])
@example(steps=[*LIVE, "files", "ask", ("take", 0), "restart", ("attach", 0), "ask", "released"])
def test_no_history_ends_in_a_mismatch(cluster: Simulator, steps: list[Any]) -> None:
    """T95: an attach succeeds, or finds the volume attached with its device here (927), never a row
    that tells another type (929), and never a type that Vdsm undoes (2009)."""
    life = Life(cluster, cluster.hosts[1])
    with contextlib.ExitStack() as stack:
        stack.callback(life.software.stop)
        for step in steps:
            life.step(*step) if isinstance(step, tuple) else life.step(step)
        life.end()
