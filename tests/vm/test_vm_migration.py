"""Virtual machines with real disks that migrate between the hosts, in Engine's order of calls, and
that fail to.

The guest writes numbered blocks all the time. After each test the cluster holds what it held
before: fixture `play`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from vm_fixtures import VIRTUAL, Machines
from vm_machine import Machine

from ovirt_demo import flows, vdsm

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while


def test_a_vm_migrates(machines: Machines) -> None:
    """3.8, T69: the guest writes on without an error; then the source has nothing, and the stream
    has no gap."""
    play = machines.play
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    source = machines.writing(play.host1, *disks)
    moved: list[Machine] = []

    def move() -> None:
        assert [play.on_hosts(disk.id) for disk in disks] == [{1, 2}] * 2
        moved.append(machines.power_on(play.host2, *disks, incoming=True))
        source.migrate_to(moved[0])
        machines.goes_on(moved[0], *disks)
        source.kill()

    flows.migrate(play.domain, play.host2, *disks, move=move)
    assert [play.on_hosts(disk.id) for disk in disks] == [{2}] * 2
    assert not [*play.host1.local("/dev/storpool-byid").iterdir()]
    machines.goes_on(moved[0], *disks)
    machines.ends_whole(moved[0], *disks)


@pytest.mark.parametrize("refused", [0, 1])
def test_the_destination_cannot_attach(machines: Machines, refused: int) -> None:
    """3.8 a, T69: the first disk or the second is refused there: the VM stays, and the destination
    has nothing."""
    play = machines.play
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    source = machines.writing(play.host1, *disks)
    flows.start_migration(play.domain, play.host2, *disks[:refused])
    play.cluster.inject("error_200", query="VolumesReassignWait", name="invalidParam")
    with pytest.raises(vdsm.VdsmError):
        flows.start_migration(play.domain, play.host2, *disks[refused:])
    flows.fail_migration(play.domain, *disks)
    assert [play.on_hosts(disk.id) for disk in disks] == [{1}] * 2
    machines.goes_on(source, *disks)
    machines.ends_whole(source, *disks)


def cancelled(source: Machine, destination: Machine) -> None:
    """An administrator cancels it half-way."""
    source.start_migration(destination, slow=True)
    source.until_migration("active")
    source.monitor.ask("migrate_cancel")


def killed(source: Machine, destination: Machine) -> None:
    """The destination's QEMU dies half-way."""
    source.start_migration(destination, slow=True)
    source.until_migration("active")
    destination.kill()


def killed_at_the_switch(source: Machine, destination: Machine) -> None:
    """The destination's QEMU dies when the guest has stopped at the source, and has its disks
    closed there."""
    source.start_migration(destination, pause=True)
    source.until_migration("pre-switchover")
    destination.kill()
    source.monitor.ask("migrate-continue", state="pre-switchover")


@pytest.mark.parametrize("failure", [cancelled, killed, killed_at_the_switch])
def test_the_move_fails(machines: Machines, failure: object) -> None:
    """3.8 b, c, T69: the VM goes on at the source and alone has the disk; the next migration is a
    success."""
    assert callable(failure)
    play = machines.play
    disk = flows.create_disk(play.domain, 1)
    source = machines.writing(play.host1, disk)

    def fail() -> None:
        destination = machines.power_on(play.host2, disk, incoming=True)
        failure(source, destination)
        assert source.migration_end() in ("failed", "cancelled")
        destination.kill()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        flows.migrate(play.domain, play.host2, disk, move=fail)
    source.until_status("running")
    assert play.on_hosts(disk.id) == {1}
    machines.goes_on(source, disk)
    flows.start_migration(play.domain, play.host2, disk)
    destination = machines.power_on(play.host2, disk, incoming=True)
    source.migrate_to(destination)
    source.kill()
    flows.finish_migration(play.domain, disk)
    machines.goes_on(destination, disk)
    machines.ends_whole(destination, disk)


def test_engine_takes_a_migration_for_done(machines: Machines, tmp_path: Path) -> None:
    """3.8 f: the VM still runs at the source when its disk is detached there: refused, and no harm
    is done."""
    play = machines.play
    disk = flows.create_disk(play.domain, 1)
    source = machines.writing(play.host1, disk)
    flows.start_migration(play.domain, play.host2, disk)
    play.fails_to_finish_migration(disk, tmp_path)
    machines.goes_on(source, disk)
    play.host2.detach_volume(play.domain.id, disk.active)
    disk.attached_to, disk.destination = play.host1, None
    machines.ends_whole(source, disk)
