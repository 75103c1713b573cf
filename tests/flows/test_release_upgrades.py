"""oVirt is upgraded under us: Engine and both hosts, in every order, with VMs that run all the time
and with what Engine knows of the hosts as old as it may be; and a downgrade.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

import pytest
import release_day

from ovirt_demo import flows, releases, vdsm
from rigs.release_stage import Site

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
BESIDE = True  # StorPool's services make passes all the while

Part = Union[int, str]
OLD, NEW = releases.VDSM_4_50_7, releases.VDSM_MASTER
ENGINE = "Engine"
ORDERS = list(itertools.permutations((ENGINE, 1, 2)))


@pytest.fixture
def released_457(released: Site) -> Iterator[Site]:
    """Give Engine 4.5.7 with two hosts of its time; a test may have upgraded all of them."""
    from ovirt_demo import engine_software

    released.engine_software.separate() if released.engine_software.has_ours else None
    for file in (released.stage.engine.folder / engine_software.ENGINE_CONF).glob("*"):
        file.unlink()
    released.be(releases.ENGINE_4_5_7, OLD, OLD)
    released.refresh()
    yield released


def upgraded(released: Site, part: Part) -> None:
    """Upgrade Engine or a host, and tell Engine nothing."""
    if isinstance(part, int):
        released.software[part].upgrade(NEW)
    else:
        released.engine_software.upgrade(releases.ENGINE_MASTER)


def started(released: Site, number: int) -> Disk:
    """Run a VM with a disk of its own on a host."""
    disk = flows.create_disk(released.domain, 1)
    released.start(disk, released.stage.hosts[number]).stop()
    return disk


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " ".join(map(str, order)))
def test_everything_is_upgraded_under_running_vms(
    released_457: Site, order: tuple[Part, ...]
) -> None:
    """Whoever comes first: VMs write on, their rows are left alone and serve to the end, and a VM
    starts on each host with what Engine knew before; in the end all is as on master."""
    released = released_457
    disks = {number: started(released, number) for number in (1, 2)}
    writers = {number: released.writer(host, disks[number]) for number, host in hosts(released)}
    rows = {number: dict(host.rows) for number, host in hosts(released)}
    for octet, part in enumerate(order, 1):
        upgraded(released, part)
        assert all(writer.write(octet) for writer in writers.values())
        assert rows == {number: dict(host.rows) for number, host in hosts(released)}
        if part != ENGINE:
            another = flows.create_disk(released.domain, 1)
            released.stop(another, released.start(another, released.stage.hosts[part]))
            flows.delete_disk(released.domain, another)
    for writer in writers.values():
        writer.stop()
    guest = released.opened(released.host1, disks[1])
    guest = release_day.migrated(released, disks[1], guest, released.host2)
    released.stop(disks[1], guest)
    flows.stop_vm(released.domain, disks[2])
    released.refresh()
    for number, host in hosts(released):
        guest = released.start(disks[number], host)
        assert released.types(host) == {"storpool"}
        released.stop(disks[number], guest)
        flows.delete_disk(released.domain, disks[number])
    assert released.stage.engine.release is releases.ENGINE_MASTER
    assert not released.engine_software.client.is_symlink()


def test_in_the_order_that_is_safe(released_457: Site) -> None:
    """docs/upgrade.md: a host after the other goes into maintenance, is upgraded and activated; the
    guest on them goes on, volumes get the type of each new Vdsm, and the audit finds nothing but
    what VolumeCare keeps."""
    released = released_457
    disk = flows.create_disk(released.domain, 1)
    guest = released.start(disk, released.host1)
    guest.write(0, "before")
    for leaving, staying in ((1, 2), (2, 1)):
        guest = release_day.migrated(released, disk, guest, released.stage.hosts[staying])
        assert not released.stage.hosts[leaving].rows
        upgraded(released, leaving)
        released.refresh(leaving)
        assert "storpool_volume_type" not in released.stage.hosts[leaving].connector_info
    upgraded(released, ENGINE)
    guest = release_day.migrated(released, disk, guest, released.host2)
    assert released.types(released.host2) == {"storpool"}
    said = released.audit()
    assert "whoever made it deletes it" in said, said  # VolumeCare's backup
    assert said.endswith("\nINFO: 0 critical, 0 warning, 1 info\n"), said
    assert guest.read(0) == "before"
    released.stop(disk, guest)
    flows.delete_disk(released.domain, disk)


@pytest.mark.parametrize("release", [NEW, releases.VDSM_MASTER_483], ids=lambda each: each.name)
def test_a_fence_after_an_upgrade_leaves_a_row_of_before(
    released_457: Site, release: releases.Vdsm
) -> None:
    """Upgraded under its VM, then fenced without a boot: the row of the old type has lost its
    device, and the VM comes back without a restart of vdsmd (929 if the host had changed its type
    in spite of that row)."""
    released = released_457
    disk, other = started(released, 1), flows.create_disk(released.domain, 1)
    released.software[1].upgrade(release)
    released.refresh(1)
    released.lose(released.host1)
    disk.attached_to = None
    guest = released.start(disk, released.host2)
    released.come_back(released.host1)
    assert released.types(released.host1) == {"local"}
    released.stop(other, released.start(other, released.host1))  # takes the dangling link away
    guest = release_day.migrated(released, disk, guest, released.host1)
    released.stop(disk, guest)
    for each in (disk, other):
        flows.delete_disk(released.domain, each)


def hosts(released: Site) -> list[tuple[int, vdsm.Host]]:
    """Return the hosts with their numbers."""
    return [*released.stage.hosts.items()]


def test_after_the_packages_and_before_the_restart(released_457: Site) -> None:
    """The files are master's, the daemons are not yet: attach, detach and capabilities go on as
    before, in the old shapes, with the new stock helper."""
    released = released_457
    disk = started(released, 1)
    software = released.software[1]
    software.release = NEW
    software.install()
    released.refresh(1)
    assert released.host1.release is OLD
    assert released.host1.connector_info["storpool_volume_type"] == "local"
    flows.stop_vm(released.domain, disk)
    assert not released.host1.rows
    released.refresh(1)
    assert released.host1.connector_info["storpool_volume_type"] == "local"
    released.stop(disk, released.start(disk, released.host1))
    software.restart()
    released.refresh(1)
    assert "storpool_volume_type" not in released.host1.connector_info
    flows.delete_disk(released.domain, disk)


def test_engine_knows_late_that_a_host_is_new(released_457: Site) -> None:
    """Its answers are `local` until it asks, which master takes too; while such a row is left the
    host says `local`, so the two never differ."""
    released = released_457
    disk, late = started(released, 1), flows.create_disk(released.domain, 1)
    released.software[1].upgrade(NEW)
    released.start(late, released.host1).stop()
    assert released.types(released.host1) == {"local"}
    released.refresh(1)
    assert released.host1.connector_info["storpool_volume_type"] == "local"
    flows.stop_vm(released.domain, disk)
    flows.stop_vm(released.domain, late)
    released.refresh(1)
    released.start(late, released.host1).stop()
    assert released.types(released.host1) == {"storpool"}
    flows.stop_vm(released.domain, late)
    for each in (disk, late):
        flows.delete_disk(released.domain, each)


def test_a_host_is_downgraded_under_a_running_vm(released_457: Site) -> None:
    """Until Engine asks, a start is refused there and undone (2009); once it has asked, all works,
    and the VM that ran all the time is detached as ever."""
    released = released_457
    released.be(releases.ENGINE_4_5_7, NEW, OLD)
    disk, other = started(released, 1), flows.create_disk(released.domain, 1)
    writer = released.writer(released.host1, disk)
    released.software[1].upgrade(OLD)
    with pytest.raises(vdsm.VdsmError) as caught:
        released.start(other, released.host1)
    assert caught.value.code == vdsm.UNSUPPORTED_DRIVER
    assert released.on_hosts(other.id) == set()
    released.refresh(1)
    released.stop(other, released.start(other, released.host1))
    assert writer.write(0x44)
    writer.stop()
    flows.stop_vm(released.domain, disk)
    assert released.on_hosts(disk.id) == set()
    released.stop(disk, released.start(disk, released.host1))
    for each in (disk, other):
        flows.delete_disk(released.domain, each)


@pytest.mark.parametrize(
    "release", [releases.VDSM_MASTER, releases.VDSM_MASTER_483], ids=lambda each: each.name
)
def test_a_lost_host_comes_back_with_another_vdsm(
    released_457: Site, release: releases.Vdsm
) -> None:
    """Its VM runs elsewhere, its row is of the old type: the first start of the new vdsmd clears
    it, and the VM comes back."""
    released = released_457
    disk = started(released, 1)
    released.lose(released.host1)
    disk.attached_to = None
    guest = released.start(disk, released.host2)
    released.come_back(released.host1)
    assert disk.active in released.host1.rows
    released.software[1].upgrade(release)
    assert disk.active not in released.host1.rows
    guest = release_day.migrated(released, disk, guest, released.host1)
    released.stop(disk, guest)
    flows.delete_disk(released.domain, disk)
