"""The hypervisor as the agent sees it: the VMs that run, their disks, and the few calls that the
agent may make.

This is the seam to libvirt: `libvirt_binding.py` is behind it on a host. Each method may wait as
long as libvirt lets it; `lanes.py` sees that this holds up nothing else. Of what it changes there
are two things: the size that a guest is shown, and the end of a freeze.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storpool_ovirt import errors
from storpool_ovirt.host import domain_xml

# What guests have under this name is qemu-ga, or what answers like it (Vdsm, virt/vm.py).
GUEST_AGENT_CHANNEL = "org.qemu.guest_agent.0"
# What nobody snapshots: it holds no file system that a freeze is for.
NO_DISKS = ("cdrom", "floppy")


@dataclass(frozen=True)
class Disk:
    """A disk of a running VM: its name there ("sda"), and the path of its device on the host, ""
    where it has none."""

    target: str
    path: str
    writable: bool = True


@dataclass(frozen=True)
class Domain:
    """A VM that runs here.

    `run` is another number each time it was started or came here. `has_agent`: a guest agent is
    connected.
    """

    uuid: str
    run: int
    name: str
    disks: Sequence[Disk]
    has_agent: bool = False


class Hypervisor(Protocol):
    """One connection to the hypervisor, used by one thread.

    Every method raises LibvirtUnavailable when the connection is of no use any more, NotFound for a
    VM that does not run here any more, LibvirtRefused for what it does not do.
    """

    def domains(self) -> list[Domain]:
        """Return the VMs that run here."""

    def shown_bytes(self, domain: Domain, disk: Disk) -> int:
        """Return the size of a disk that the guest is shown."""

    def is_moving(self, domain: Domain) -> bool:
        """Return whether a VM is on its way to another host, or from it."""

    def grow(self, domain: Domain, disk: Disk, size_bytes: int) -> None:
        """Show the guest a disk of this size."""

    def is_frozen(self, domain: Domain) -> bool:
        """Return whether the guest's file systems are frozen.

        Raises GuestSilent when its agent does not say so, Locked when others talk to it.
        """

    def thaw(self, domain: Domain) -> None:
        """Thaw the guest's file systems; raise as `is_frozen` does."""

    def close(self) -> None:
        """Let go of the connection; never raises."""


def parsed(uuid: str, run: int, name: str, document: str) -> Domain:
    """Return a VM as libvirt's XML of it tells; raise InputError where that cannot be read."""
    root = domain_xml.parsed(document.encode())
    disks = []
    for element in root.all("devices/disk"):
        if element.get("device", "disk") in NO_DISKS:
            continue
        target = element.first("target")
        if target is None:
            raise errors.InputError("a disk", "has no target", "libvirt's has one")
        writable = element.first("readonly") is None
        disks.append(Disk(target.get("dev"), domain_xml.path_of(element), writable))
    channels = (each.first("target") for each in root.all("devices/channel"))
    states = [
        each.get("state")
        for each in channels
        if each is not None and each.get("name") == GUEST_AGENT_CHANNEL
    ]
    return Domain(uuid, run, name, tuple(disks), "connected" in states)
