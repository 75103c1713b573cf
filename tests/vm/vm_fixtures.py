"""Virtual machines on the stage of Engine's flows: started with the device paths that the hosts'
Vdsm gives.

A pytest plugin, named in conftest.py behind flow_stage. A module that uses it says `pytestmark =
VIRTUAL`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import vm_site
import vm_stream
from vm_machine import Drive, Machine

from rigs.flow_stage import Play
from rigs.shared_stage import post, volumes

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.vdsm import Host

VIRTUAL = pytest.mark.parametrize("play", ["loop"], indirect=True)
"""For a whole module: guests need block devices that can be taken away."""
SERIAL_CHARACTERS = 20  # of a disk's id: QEMU cuts the rest off
PROOF_BLOCKS = (
    16  # more than two writes of a stream: some of them have begun after the moment in question
)
TOOL_SECONDS = 60.0


def serial(disk: Disk) -> str:
    """Return what a guest knows a disk by."""
    return disk.id[:SERIAL_CHARACTERS]


class Machines:
    """The virtual machines of one test, on the hosts of a stage."""

    def __init__(self, play: Play, site: vm_site.VmSite, folder: Path) -> None:
        self.play = play
        self.made: list[Machine] = []
        self._site = site
        self._folder = folder

    def drive(self, host: Host, disk: Disk, **facts: Any) -> Drive:
        """Describe a disk as Vdsm gives it to QEMU: by the host's run link, here already
        resolved."""
        from ovirt_demo import vdsm

        link = host.local(f"{vdsm.RUN_FOLDER}/{self.play.domain.id}_{disk.active}")
        return Drive(serial(disk), link.resolve(), **facts)

    def power_on(self, host: Host, *disks: Disk, incoming: bool = False, **facts: Any) -> Machine:
        """Start QEMU on a host that has the disks already, and do not wait for its guest."""
        name = f"vm{len(self.made) + 1}"
        drives = [self.drive(host, disk, **facts) for disk in disks]
        machine = Machine(self._site, self._folder, name, drives, incoming=incoming)
        self.made.append(machine)
        return machine

    def run(self, host: Host, *disks: Disk, **facts: Any) -> Machine:
        """Run a VM as Engine does, and wait until its guest has booted."""
        from ovirt_demo import flows

        flows.run_vm(self.play.domain, host, *disks)
        return self.power_on(host, *disks, **facts).ready()

    def start(self, vm_id: str, host: Host, *disks: Disk) -> Machine:
        """Run a VM of this id as Engine and Vdsm do, with the hook before its start, and wait
        until its guest has booted."""
        self.attach(vm_id, host, *disks)
        return self.power_on(host, *disks).ready()

    def attach(self, vm_id: str, host: Host, *disks: Disk) -> list[dict[str, Any]]:
        """Do what comes before a VM's start: Engine attaches its disks, Vdsm runs the hook; return
        the devices."""
        from ovirt_demo import children, flows, hooks

        devices = flows.run_vm(self.play.domain, host, *disks)
        made = hooks.Hooks(host)
        link = host.local(f"{hooks.FOLDER}/{hooks.BEFORE_VM_START}/50_storpool")
        if not link.exists():
            made.install(hooks.BEFORE_VM_START, children.find("storpool-vm-hook"))
        elements = [hooks.disk_xml(each, f"vd{at:c}") for at, each in enumerate(devices, 97)]
        made.before_vm_start(hooks.domain_xml(*elements, vm_id=vm_id), vm_id)
        return devices

    def writing(self, host: Host, *disks: Disk, **facts: Any) -> Machine:
        """Run a VM that writes a stream of blocks to each of its disks."""
        machine = self.run(host, *disks, **facts)
        for disk in disks:
            machine.run(f"stream {serial(disk)} 0 &")
        self.goes_on(machine, *disks)
        return machine

    def goes_on(self, machine: Machine, *disks: Disk) -> None:
        """Check that a VM writes its streams and that its guest has had no trouble."""
        for disk in disks:
            machine.further("stream", serial(disk), PROOF_BLOCKS)
        assert machine.status() == "running"
        assert machine.troubles() == []

    def halt(self, machine: Machine, disk: Disk) -> int:
        """End a stream and tell how many blocks it has."""
        machine.run(f"halt {serial(disk)}")
        return machine.until("ended", serial(disk))

    def ends_whole(self, machine: Machine, *disks: Disk) -> None:
        """Stop a VM, check that each disk has all that it wrote, by nobody else and without a gap,
        and delete them."""
        ends = {disk.id: self.halt(machine, disk) for disk in disks}
        self.stop(machine, *disks)
        for disk in disks:
            stream = self.stream(disk)
            assert stream.whole()
            assert stream.of(machine.boot_id) == [*range(ends[disk.id])]
        self.delete(*disks)

    def stop(self, machine: Machine, *disks: Disk) -> None:
        """Have the guest end, and let Engine see it."""
        from ovirt_demo import flows

        machine.stop()
        flows.stop_vm(self.play.domain, *disks)

    def delete(self, *disks: Disk) -> None:
        """Delete the disks; nothing of them may be attached anywhere."""
        from ovirt_demo import flows

        for disk in disks:
            assert self.play.on_hosts(disk.active) == set()
            flows.delete_disk(self.play.domain, disk)

    @contextlib.contextmanager
    def device(self, disk: Disk) -> Iterator[Path]:
        """Look at a disk on host 2, as an administrator would."""
        cluster, volume = self.play.cluster, volumes(self.play.cluster)[disk.active]["globalId"]
        post(cluster, "VolumesReassignWait", {"reassign": [{"volume": f"~{volume}", "ro": [2]}]})
        try:
            yield self.play.host2.local(f"/dev/storpool-byid/{volume}")
        finally:
            post(
                cluster,
                "VolumesReassignWait",
                {"reassign": [{"volume": f"~{volume}", "detach": [2]}]},
            )

    def stream(self, disk: Disk, image: str | None = None) -> vm_stream.Stream:
        """Read what the cluster has of a disk's active volume, or of another of its images."""
        volume = volumes(self.play.cluster)[image or disk.active]["globalId"]
        return vm_stream.read(self.play.cluster.folder / "state" / "data" / volume)

    def check(self, disk: Disk) -> tuple[int, str]:
        """Check a file system that is unmounted, and change nothing: e2fsck's exit code and
        words."""
        with self.device(disk) as device:
            return _tool("e2fsck", "-f", "-n", str(device.resolve()))

    def make_file_system(self, host: Host, disk: Disk) -> None:
        """Make an ext4 on a disk, on a host that has it."""
        code, said = _tool(
            "mkfs.ext4", "-q", "-F", "-E", "nodiscard", str(self.drive(host, disk).path)
        )
        assert code == 0, said


@pytest.fixture(scope="session")
def vm_parts(tmp_path_factory: pytest.TempPathFactory) -> vm_site.VmSite:
    """Give what guests are made of; where something is missing the tests are skipped, and say
    so."""
    try:
        return vm_site.make(tmp_path_factory.mktemp("guest"))
    except vm_site.Missing as error:
        pytest.skip(f"no virtual machines: {error}")


@pytest.fixture
def machines(vm_parts: vm_site.VmSite, play: Play, tmp_path: Path) -> Iterator[Machines]:
    """Give the means to run VMs; none of them outlives the test."""
    machines = Machines(play, vm_parts, tmp_path)
    yield machines
    for machine in machines.made:
        machine.kill()


def _tool(*command: str) -> tuple[int, str]:
    result = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"},
        timeout=TOOL_SECONDS,
    )
    return result.returncode, result.stdout.decode(errors="replace")
