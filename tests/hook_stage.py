"""The start hook on the hosts of the shared stage: VMs whose disks Vdsm has attached, and Vdsm's way to run it.

A pytest plugin, named in conftest.py behind helper_stage.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shared_stage import attached, check_sentence, volumes
from stage_fixtures import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storpool_ovirt.demo.flows import Disk
    from storpool_ovirt.demo.hooks import HookRun, Hooks
    from storpool_ovirt.demo.vdsm import Host

POINTS = ("before_vm_start", "before_disk_hotplug")


@dataclasses.dataclass
class Starts:
    """The stage with the hook installed on its hosts."""

    stage: Stage
    hooks: dict[int, Hooks]

    def disks(self, count: int = 1) -> list[Disk]:
        """Make disks."""
        from storpool_ovirt.demo import flows

        return [flows.create_disk(self.stage.domain, 1) for _ in range(count)]

    def attach(self, host: int, *disks: Disk) -> list[dict[str, Any]]:
        """Attach these for a VM on a host, as Engine does before it has Vdsm create the VM; return the devices."""
        from storpool_ovirt.demo import flows

        return flows.run_vm(self.stage.domain, self.stage.hosts[host], *disks)

    def start(self, host: int, *disks: Disk, **looks: bool) -> None:
        """Attach these and run the hook for a VM that has them; raises vdsm.VdsmError: the VM does not start."""
        self.hooks[host].before_vm_start(self.xml(*self.attach(host, *disks), **looks))

    def xml(self, *devices: dict[str, Any], **looks: bool) -> str:
        """Return the domain of a VM with these."""
        from storpool_ovirt.demo import hooks

        return hooks.domain_xml(*(hooks.disk_xml(each, f"vd{at:c}", **looks) for at, each in enumerate(devices, 97)))

    def on_hosts(self, disk: Disk) -> set[tuple[int, str]]:
        """List the clients that have a disk's active volume, and how."""
        global_id = volumes(self.stage.simulator)[disk.active]["globalId"]
        return {(client_id, rights) for _, client_id, rights in attached(self.stage.simulator, global_id)}

    def device(self, host: int, disk: Disk) -> Path:
        """Return a disk's device on a host."""
        return self.stage.hosts[host].local(
            f"/dev/storpool-byid/{volumes(self.stage.simulator)[disk.active]['globalId']}"
        )


def refused(hooks: Hooks) -> str:
    """Check that the last hook refused with exit code 2 and one sentence, last on stderr, and return the sentence."""
    run: HookRun = hooks.runs[-1]
    assert run.returncode == 2, run
    assert run.stderr.endswith("\n")
    line = run.stderr.splitlines()[-1]
    assert line.startswith("StorPool: ")
    return check_sentence(line[len("StorPool: ") :])


def installed(host: Host, program: Path | None = None, user: int | None = None) -> Hooks:
    """Link the hook into the folders of a host's Vdsm."""
    from storpool_ovirt.demo import children, hooks

    made = hooks.Hooks(host, user)
    for point in POINTS:
        made.install(point, program or children.find("storpool-vm-hook"))
    return made


@pytest.fixture(scope="module")
def _hooks(module_stage: Stage) -> dict[int, Hooks]:
    return {number: installed(host) for number, host in module_stage.hosts.items()}


@pytest.fixture
def starts(shared: Stage, _hooks: dict[int, Hooks]) -> Iterator[Starts]:
    """Give the shared stage with the hook on both hosts; what Vdsm keeps of a test's VMs is forgotten after it."""
    yield Starts(shared, _hooks)
    for host in shared.hosts.values():
        host.rows.clear()
        host.reboot()


class Writer:
    """A VM as far as storage sees it: a process's open device, to which it writes."""

    def __init__(self, device: Path) -> None:
        self._descriptor = os.open(device, os.O_RDWR | os.O_SYNC)

    def write(self, octet: int) -> bool:
        """Write a block at the beginning, down to the storage; false when that fails."""
        try:
            return os.pwrite(self._descriptor, bytes([octet]) * 4096, 0) == 4096
        except OSError:
            return False

    def stop(self) -> None:
        """Close the device."""
        os.close(self._descriptor)
