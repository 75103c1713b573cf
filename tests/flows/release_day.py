"""A day of a disk between two hosts, whatever their releases are: each action of an administrator,
and what went wrong on that day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovirt_demo import flows
from rigs.flow_stage import PIECE, Guest, told
from rigs.shared_stage import GIB, read

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.vdsm import Host
    from rigs.release_stage import Site


def live(site: Site) -> None:
    """Live through it; nothing is left of it but the cluster as it was."""
    disk = flows.create_disk(site.domain, 1)
    guest = site.start(disk, site.host1)
    guest.write(0, "written on host 1")
    guest = there_and_back(site, disk, guest)
    first = flows.create_snapshot(site.domain, disk)
    plug(site)
    guest = extend(site, disk, guest)
    site.stop(disk, guest)
    commit_twice(site, disk, first)
    copies(site, disk)
    lose_a_host(site, disk)
    flows.delete_disk(site.domain, disk)


def there_and_back(site: Site, disk: Disk, guest: Guest) -> Guest:
    """Migrate a running VM to host 2 and back; return its guest on host 1."""
    guest = migrated(site, disk, guest, site.host2)
    guest.write(1, "written on host 2")
    guest = migrated(site, disk, guest, site.host1)
    assert [guest.read(place) for place in (0, 1)] == ["written on host 1", "written on host 2"]
    return guest


def migrated(site: Site, disk: Disk, source: Guest, destination: Host) -> Guest:
    """Migrate a running VM; return its guest on the destination."""
    moved: list[Guest] = []

    def move() -> None:
        assert site.on_hosts(disk.active) == {1, 2}
        source.write(3, "last words")
        source.stop()
        moved.append(site.opened(destination, disk))

    flows.migrate(site.domain, destination, disk, move=move)
    assert site.on_hosts(disk.active) == {site.number(destination)}
    assert moved[0].read(3) == "last words"
    return moved[0]


def plug(site: Site) -> None:
    """Plug a second disk into the VM on host 1, unplug it, and do both again."""
    disk = flows.create_disk(site.domain, 1)
    for before, text in (("", "first"), ("first", "second")):
        guest = site.guest(site.host1, flows.hot_plug(site.domain, site.host1, disk))
        assert guest.read(0) == before
        guest.write(0, text)
        guest.stop()
        flows.hot_unplug(site.domain, disk)
        assert site.on_hosts(disk.active) == set()
    flows.delete_disk(site.domain, disk)


def extend(site: Site, disk: Disk, guest: Guest) -> Guest:
    """Grow the disk under the VM."""
    flows.extend_disk(site.domain, disk, 2)
    assert guest.size_bytes() == 2 * GIB
    guest.write(GIB // PIECE, "in the new part")
    return guest


def commit_twice(site: Site, disk: Disk, snapshot: str) -> None:
    """Preview the snapshot and commit it, two times; each time a VM sees what it had."""
    for host in (site.host2, site.host1):
        flows.preview(site.domain, disk, snapshot)
        flows.commit_preview(site.domain, disk)
        guest = site.start(disk, host)
        assert [guest.read(place) for place in (0, 2)] == ["written on host 1", ""]
        guest.write(2, f"committed on {host.name}")
        site.stop(disk, guest)


def copies(site: Site, disk: Disk) -> None:
    """Clone the disk, copy one in from elsewhere on host 1, and copy that out on host 2."""
    clone = flows.clone_disk(site.domain, disk)
    guest = site.start(clone, site.host2)
    assert guest.read(2) == "committed on host1.example"
    site.stop(clone, guest)
    found: list[str] = []

    def write(device: dict[str, Any]) -> None:
        guest = Guest(site.host1.local(device["path"]))
        guest.write(0, "from elsewhere")
        guest.stop()

    def look(device: dict[str, Any]) -> None:
        found.append(told(read(site.host2.local(device["path"]), PIECE)))

    copied = flows.copy_in(site.domain, site.host1, 1, write)
    flows.copy_out(site.domain, site.host2, copied, look)
    assert found == ["from elsewhere"]
    for each in (clone, copied):
        flows.delete_disk(site.domain, each)


def lose_a_host(site: Site, disk: Disk) -> None:
    """Lose host 1 with its VM, start it on host 2, have host 1 back after a boot, and the VM with
    it."""
    guest = site.start(disk, site.host1)
    lost = site.writer(site.host1, disk)
    site.lose(site.host1)
    disk.attached_to = None  # Engine takes the VM for down once the host was fenced
    again = site.start(disk, site.host2)
    again.write(0, "after the loss")
    assert not lost.write(0x58), "the lost host still writes"
    lost.stop()
    guest.stop()
    assert again.read(0) == "after the loss"
    site.come_back(site.host1)
    assert disk.active in site.host1.rows
    site.software[1].reboot()
    site.refresh(1)
    assert disk.active not in site.host1.rows
    guest = migrated(site, disk, again, site.host1)
    assert guest.read(0) == "after the loss"
    site.stop(disk, guest)
