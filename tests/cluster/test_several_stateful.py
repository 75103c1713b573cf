"""The product on two clusters through what happens to them: against a model of a few lines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rigs import two_clusters
from rigs.core_fixtures import GIB, Core
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

HOSTS = [(ONE, 1), (ONE, 2), (TWO, 1), (TWO, 4)]
DISKS_MAX = 3
PIECE = 512
AWAY = (errors.ApiUnavailable, errors.DeadlineExceeded)


@dataclass
class Disk:
    """What is known of one disk: where it lives, its size, what it holds, who has it."""

    global_id: str
    name: str
    owner: str
    size_bytes: int = GIB
    data: bytes = b""
    held: set[tuple[str, int]] = field(default_factory=set)

    @property
    def target(self) -> attachments.Target:
        """How hosts know it."""
        return attachments.Target(self.global_id, self.name)


class SeveralMachine(RuleBasedStateMachine):
    """Disks of two clusters, with moves, cuts and restarts by others."""

    together = "take"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._running: Any = None
        self.disks: list[Disk] = []
        self.made = 0
        self.is_cut = False

    @initialize(unreachable=st.sampled_from(["error", "omit"]))
    def start(self, unreachable: str) -> None:
        """Start both."""
        self.switches = {"mc_unreachable": unreachable, "remote_multicluster": self.together}
        self._open()

    def _open(self) -> None:
        self._running = two_clusters.opened(Path(self._folder.name), **self.switches)
        self.pair: Pair = self._running.__enter__()

    def teardown(self) -> None:
        """Stop both."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
        self._folder.cleanup()

    def _core(self, cluster_id: str) -> Core:
        return self.pair.one if cluster_id == ONE else self.pair.two

    def _one(self, number: int) -> Disk:
        return self.disks[number % len(self.disks)]

    def _device(self, disk: Disk, host: tuple[str, int]) -> Path:
        return Path(self._core(host[0]).root(host[1]) + names.device_path(disk.global_id))

    # What the product does

    @precondition(lambda self: len(self.disks) < DISKS_MAX and not self.is_cut)
    @rule(cluster_id=st.sampled_from([ONE, TWO]))
    def create(self, cluster_id: str) -> None:
        """Make a disk in a cluster; again is the same one."""
        self.made += 1
        plan = Plan(Owner(f"ovirt--{self.made}", {"a": str(self.made)}), GIB)
        global_id = volumes.create(self.pair.client(cluster_id), plan)
        other = TWO if cluster_id == ONE else ONE
        assert volumes.create(self.pair.client(other), plan) == global_id
        self.disks.append(Disk(global_id, plan.name, cluster_id))

    @precondition(lambda self: self.disks and not self.is_cut)
    @rule(number=st.integers(0, 9), host=st.sampled_from(HOSTS))
    def attach(self, number: int, host: tuple[str, int]) -> None:
        """It comes to the host's cluster, and whoever has it keeps it."""
        disk = self._one(number)
        side = self._core(host[0]).host(host[1])
        attachments.attach(self.pair.client(host[0]), side, disk.target, "rw")
        disk.held.add(host)
        disk.owner = host[0]

    @precondition(lambda self: self.disks and not self.is_cut)
    @rule(number=st.integers(0, 9), host=st.sampled_from(HOSTS))
    def detach(self, number: int, host: tuple[str, int]) -> None:
        """One host lets go; what it does not have is a success."""
        disk = self._one(number)
        side = self._core(host[0]).host(host[1])
        attachments.detach(self.pair.client(host[0]), side, disk.target)
        disk.held.discard(host)

    @precondition(lambda self: self.disks and not self.is_cut)
    @rule(number=st.integers(0, 9), through=st.sampled_from([ONE, TWO]))
    def delete(self, number: int, through: str) -> None:
        """Engine's delete lets go of it everywhere first."""
        disk = self._one(number)
        attachments.release(self.pair.client(through), [disk.target], {})
        assert volumes.delete(self.pair.client(through), disk.global_id)
        self.disks.remove(disk)

    @precondition(lambda self: self.disks and not self.is_cut)
    @rule(number=st.integers(0, 9), through=st.sampled_from([ONE, TWO]))
    def grow(self, number: int, through: str) -> None:
        """It grows where it lives."""
        disk = self._one(number)
        disk.size_bytes += GIB
        client = self.pair.client(through)
        generation = volumes.grow(client, disk.global_id, disk.size_bytes)
        assert attachments.wait_for_hosts(client, generation, disk.target) == []

    # What others do

    @precondition(lambda self: any(disk.held for disk in self.disks))
    @rule(number=st.integers(0, 9), data=st.binary(min_size=1, max_size=8))
    def write(self, number: int, data: bytes) -> None:
        """A guest writes, whoever owns it and whether a bridge is up or not."""
        held = [(disk, host) for disk in self.disks for host in sorted(disk.held)]
        disk, host = held[number % len(held)]
        disk.data = data.ljust(PIECE, b".")
        with self._device(disk, host).open("r+b", buffering=0) as device:
            device.write(disk.data)

    @precondition(lambda self: self.disks and not self.is_cut)
    @rule(number=st.integers(0, 9), acquires=st.booleans())
    def move(self, number: int, acquires: bool) -> None:
        """An administrator has the other cluster own it, sent or fetched."""
        disk = self._one(number)
        here, there = (self.pair.one, self.pair.two)[:: 1 if disk.owner == ONE else -1]
        if acquires:
            body = {"onRemoteAttached": "export"}
            there.post(f"MultiCluster/VolumeAcquire/{disk.name}", body)
        else:
            to = {"cluster": "two" if disk.owner == ONE else "one", "onAttached": "export"}
            here.post(f"VolumeMoveToRemote/{disk.name}", to)
        disk.owner = TWO if disk.owner == ONE else ONE

    @rule()
    def cut(self) -> None:
        """The bridge goes down."""
        self.is_cut = True
        self.pair.cut()

    @rule()
    def heal(self) -> None:
        """It is up again."""
        self.is_cut = False
        self.pair.heal()

    @rule()
    def restart(self) -> None:
        """Both are started anew from their state."""
        self._running.__exit__(None, None, None)
        self._open()
        if self.is_cut:
            self.pair.cut()

    @precondition(lambda self: self.disks and self.is_cut)
    @rule(number=st.integers(0, 9), through=st.sampled_from([ONE, TWO]))
    def look_in_vain(self, number: int, through: str) -> None:
        """T57: with the bridge down nothing is absent, and nothing of another cluster goes."""
        disk = self._one(number)
        client = self.pair.client(through, seconds=0.4)
        with pytest.raises(AWAY):
            client.volumes()
        client = self.pair.client(through, seconds=0.4)
        with pytest.raises(AWAY):
            attachments.release(client, [disk.target], {})
        if disk.owner != through:
            client = self.pair.client(through, seconds=0.4)
            with pytest.raises(AWAY):
                client.volume(disk.name)

    # What is so

    @invariant()
    def each_host_has_its_own(self) -> None:
        """Who has what is as the model says, and each reads what was written last."""
        if self._running is None:
            return
        held = {(disk.global_id, host[1], host[0]) for disk in self.disks for host in disk.held}
        assert self.pair.attached() == held
        for disk in self.disks:
            for host in disk.held:
                if disk.data:
                    with self._device(disk, host).open("rb", buffering=0) as device:
                        assert device.read(PIECE) == disk.data

    @invariant()
    def each_disk_is_listed_once(self) -> None:
        """Through each cluster's API, where it lives, as large as it is."""
        if self._running is None or self.is_cut:
            return
        told = sorted((disk.global_id, disk.owner, disk.size_bytes) for disk in self.disks)
        for through in (ONE, TWO):
            listed = self.pair.client(through).volumes()
            found = sorted((each.global_id, each.cluster_id, each.size_bytes) for each in listed)
            assert found == told


class ApartMachine(SeveralMachine):
    """The same where StorPool takes no call for one cluster and for all."""

    together = "refuse"


LIMITS = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("machine", [SeveralMachine, ApartMachine])
def test_what_is_so_stays_so(machine: type[SeveralMachine]) -> None:
    """T57: whatever comes after whatever, by either way to StorPool."""
    run_state_machine_as_test(machine, settings=LIMITS)
