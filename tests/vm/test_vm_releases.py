"""Virtual machines that migrate between hosts of two releases of Vdsm: the guest writes all the
time, and every block of it is where it has to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import vm_site
from vm_fixtures import Machines
from vm_machine import Machine

from ovirt_demo import flows, releases
from rigs.release_stage import Site

BESIDE = True  # StorPool's services make passes all the while


@pytest.fixture
def machines(released: Site, vm_parts: vm_site.VmSite, tmp_path: Path) -> Iterator[Machines]:
    """Give the means to run VMs on hosts with the software of a release."""
    if released.cluster.devices != "loop":
        pytest.skip("guests need block devices that can be taken away: loop devices, as root")
    made = Machines(released, vm_parts, tmp_path)
    yield made
    for machine in made.made:
        machine.kill()


def moved(machines: Machines, source: Machine, disk: flows.Disk, number: int) -> Machine:
    """Migrate a VM to a host of this number; return it there."""
    play = machines.play
    destination = play.stage.hosts[number]
    arrived: list[Machine] = []

    def move() -> None:
        assert play.on_hosts(disk.id) == {1, 2}
        arrived.append(machines.power_on(destination, disk, incoming=True))
        source.migrate_to(arrived[0])
        source.kill()

    flows.migrate(play.domain, destination, disk, move=move)
    assert play.on_hosts(disk.id) == {number}
    machines.goes_on(arrived[0], disk)
    return arrived[0]


def test_a_vm_migrates_from_a_released_host_to_master_and_back(
    machines: Machines, released: Site
) -> None:
    """T69: Engine 4.5.7; the row on each host has the type that its Vdsm takes, the guest notices
    nothing, and its stream has no gap."""
    released.be(releases.ENGINE_4_5_7, releases.VDSM_4_50_7, releases.VDSM_MASTER)
    disk = flows.create_disk(released.domain, 1)
    machine = machines.writing(released.host1, disk)
    assert released.types(released.host1) == {"local"}
    machine = moved(machines, machine, disk, 2)
    assert released.types(released.host2) == {"storpool"}
    machine = moved(machines, machine, disk, 1)
    assert released.types(released.host1) == {"local"}
    machines.ends_whole(machine, disk)


def test_vdsm_is_upgraded_under_a_running_vm(machines: Machines, released: Site) -> None:
    """4.50.7 becomes master while the guest writes: the row of before is left alone, the VM
    migrates away, and its disk is detached by it; the host is `storpool` from then on."""
    released.be(releases.ENGINE_4_5_7, releases.VDSM_4_50_7, releases.VDSM_4_50_7)
    disk = flows.create_disk(released.domain, 1)
    machine = machines.writing(released.host1, disk)
    row = released.host1.rows[disk.id]
    released.software[1].upgrade(releases.VDSM_MASTER)
    machines.goes_on(machine, disk)
    assert released.host1.rows[disk.id] == row
    machine = moved(machines, machine, disk, 2)
    assert not released.host1.rows
    released.refresh(1)
    machine = moved(machines, machine, disk, 1)
    assert released.types(released.host1) == {"storpool"}
    machines.ends_whole(machine, disk)
