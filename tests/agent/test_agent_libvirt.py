"""The program itself before a real libvirtd with real QEMUs (no guest runs in them: tests/vm has
guests): growth, and a libvirtd that dies, hangs and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from agent_stage import GIB, LIMIT_SECONDS, until

from ovirt_demo import children
from rigs import host_files, libvirt_daemon
from storpool_ovirt import errors
from storpool_ovirt.agent import udev
from storpool_ovirt.agent.hypervisor import Disk, Domain
from storpool_ovirt.agent.libvirt_binding import Libvirt

BYID = "/dev/storpool-byid"
RUN_FOLDER = "/run/vdsm/managedvolumes"
DOMAIN = """\
<domain type="qemu"><name>{name}</name><memory unit="MiB">16</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="usb" model="none"/><memballoon model="none"/>
    {disks}
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
  </devices>
</domain>
"""
DISK = """\
<disk type="block" device="disk"><driver name="qemu" type="raw" cache="none" io="native"/>
  <source dev="{path}"/><target dev="{target}" bus="virtio"/></disk>
"""


class Machine:
    """A hypervisor with a libvirtd of its own; its devices are loop devices."""

    def __init__(self, folder: Path, daemon: libvirt_daemon.Daemon) -> None:
        self.root = folder
        self.daemon = daemon
        self._loops: dict[int, tuple[str, Path]] = {}
        for each in (BYID, RUN_FOLDER, "/var/log/storpool-ovirt"):
            (folder / each[1:]).mkdir(parents=True, exist_ok=True)
        host_files.conf(
            folder,
            f"SP_OVIRT_AGENT_LIBVIRT={daemon.uri}\nSP_OVIRT_AGENT_PERIOD=1\nSP_OURID=1\n",
        )

    def device(self, number: int, size_bytes: int = GIB) -> str:
        """Attach a disk of ours, and return its run link."""
        data = self.root / f"data{number}"
        data.touch()
        os.truncate(data, size_bytes)
        made = subprocess.run(
            ["losetup", "--find", "--show", str(data)], check=False, capture_output=True, text=True
        )
        if made.returncode:
            pytest.skip(f"no loop devices: {made.stderr.strip()}")
        self._loops[number] = (made.stdout.strip(), data)
        node = self.root / f"{BYID[1:]}/a.b.{number}"
        node.symlink_to(made.stdout.strip())
        link = f"{RUN_FOLDER}/sd_{number}"
        (self.root / link[1:]).symlink_to(node)
        return link

    def resize(self, number: int, size_bytes: int) -> None:
        """Give a device another size."""
        device, data = self._loops[number]
        os.truncate(data, size_bytes)
        subprocess.run(["losetup", "--set-capacity", device], check=True)

    def start(self, name: str, *paths: str) -> None:
        """Start a VM."""
        disks = "".join(
            DISK.format(path=path, target=f"vd{at:c}") for at, path in enumerate(paths, 97)
        )
        file = self.root / f"{name}.xml"
        file.write_text(DOMAIN.format(name=name, disks=disks))
        self.daemon.virsh("create", str(file))

    def shown(self, name: str, target: str) -> int:
        """Tell what QEMU shows its guest."""
        said = self.daemon.virsh("domblkinfo", name, target)
        return int(said.partition("Capacity:")[2].split()[0])

    def lines(self, event: str) -> list[str]:
        """Return what the agent's log has of an event."""
        file = self.root / "var/log/storpool-ovirt/vm-agent.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [each for each in lines if f" - {event}" in each]

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program; it ends at once when it is told to, with 0."""
        process = subprocess.Popen(
            [children.find("storpool-vm-agent")],
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(self.root)},
        )
        try:
            until(lambda: self.lines("started"), "the program")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_SECONDS) == 0
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Take the devices away."""
        for device, _ in self._loops.values():
            subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Give a hypervisor."""
    try:
        Libvirt("qemu:///none")._libvirt_module()
    except errors.LibvirtUnavailable as error:
        pytest.skip(f"no libvirt binding: {error.why}")
    try:
        with libvirt_daemon.running({RUN_FOLDER: tmp_path / RUN_FOLDER[1:]}) as daemon:
            made = Machine(tmp_path, daemon)
            try:
                yield made
            finally:
                for name in daemon.virsh("list", "--name").split():
                    daemon.virsh("destroy", name)
                made.close()
    except libvirt_daemon.Missing as error:
        pytest.skip(f"no libvirtd: {error}")


def test_growth_reaches_qemu(machine: Machine) -> None:
    """To the byte, on the disk that grew alone, for a VM that comes later too; nothing shrinks."""
    paths = [machine.device(1), machine.device(2)]
    machine.start("first", *paths)
    with machine.agent():
        machine.resize(2, 2 * GIB + 4096)
        until(lambda: machine.shown("first", "vdb") == 2 * GIB + 4096, "the growth")
        assert machine.shown("first", "vda") == GIB
        machine.start("later", machine.device(3))
        machine.resize(3, 3 * GIB)
        until(lambda: machine.shown("later", "vda") == 3 * GIB, "the growth of the later VM")
        machine.resize(3, GIB)
        until(lambda: machine.lines("disk_shrunk"), "the line of the device that shrank")
        assert machine.shown("later", "vda") == 3 * GIB
    assert len(machine.lines("disk_grown")) == 2
    assert len(machine.lines("disk_shrunk")) == 1
    assert not machine.lines("trace")


def test_libvirtd_dies_and_comes_back(machine: Machine) -> None:
    """What grew meanwhile is shown then; so it is after a hang, and a VM's end is no failure."""
    machine.start("first", machine.device(1))
    machine.start("second", machine.device(2))
    with machine.agent() as process:
        machine.resize(1, 2 * GIB)
        until(lambda: machine.shown("first", "vda") == 2 * GIB, "the growth")
        machine.daemon.restart()
        machine.resize(1, 3 * GIB)
        until(lambda: machine.shown("first", "vda") == 3 * GIB, "the growth after a crash")
        machine.daemon.stop()
        machine.resize(1, 4 * GIB)
        time.sleep(2)  # two rounds of the agent hang
        assert process.poll() is None
        machine.daemon.go_on()
        until(lambda: machine.shown("first", "vda") == 4 * GIB, "the growth after a hang")
        machine.daemon.virsh("destroy", "second")
        machine.resize(1, 5 * GIB)
        until(lambda: machine.shown("first", "vda") == 5 * GIB, "the growth beside a VM's end")
    assert not machine.lines("turn_failed")
    assert not machine.lines("trace")


def test_it_ends_at_once_while_libvirtd_hangs(machine: Machine) -> None:
    """SIGTERM waits for no call."""
    machine.start("first", machine.device(1))
    with machine.agent():
        until(lambda: machine.lines("started"), "its start")
        machine.daemon.stop()
        time.sleep(1.5)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    machine.daemon.go_on()


def test_udev_comes_before_the_next_look(machine: Machine) -> None:
    """Where the kernel tells of a new size, it is shown at once and not an hour later."""
    uevents = udev.opened()
    if uevents is None:
        pytest.skip("no uevents here")
    machine.start("first", machine.device(1))
    machine.resize(1, GIB + 4096)
    time.sleep(0.2)
    told = uevents.resized()
    uevents.close()
    if not told:
        pytest.skip("the kernel tells nothing of loop devices' sizes here")
    conf = machine.root / "etc/storpool.conf"
    conf.write_text(conf.read_text().replace("PERIOD=1\n", "PERIOD=3600\n"))
    with machine.agent():
        until(lambda: machine.shown("first", "vda") == GIB + 4096, "the first look")
        machine.resize(1, 2 * GIB)
        until(lambda: machine.shown("first", "vda") == 2 * GIB, "udev's word")


def test_what_libvirt_refuses(machine: Machine) -> None:
    """Each failure is one of ours: a VM that is gone or was started again, a size that is not
    there, an agent that is not there, a libvirtd that is not there."""
    machine.start("first", machine.device(1))
    libvirt = Libvirt(machine.daemon.uri)
    [domain] = libvirt.domains()
    [disk] = domain.disks
    assert (disk.target, disk.path, disk.writable) == ("vda", f"{RUN_FOLDER}/sd_1", True)
    assert not domain.has_agent
    assert not libvirt.is_moving(domain)
    with pytest.raises(errors.LibvirtRefused, match="blockResize"):
        libvirt.grow(domain, disk, 9 * GIB)
    with pytest.raises(errors.GuestSilent):
        libvirt.is_frozen(domain)
    with pytest.raises(errors.GuestSilent):
        libvirt.thaw(domain)
    machine.daemon.virsh("destroy", "first")
    machine.start("first", disk.path)
    with pytest.raises(errors.NotFound):
        libvirt.shown_bytes(domain, disk)
    [again] = libvirt.domains()
    assert again.run != domain.run
    machine.daemon.restart()
    with suppress(errors.LibvirtUnavailable):
        libvirt.domains()
    assert libvirt.domains() == [again]
    libvirt.close()
    assert libvirt.domains() == [again]
    with pytest.raises(errors.LibvirtUnavailable):
        Libvirt("qemu+unix:///system?socket=/nowhere").shown_bytes(
            Domain("u", 1, "vm", ()), Disk("vda", "")
        )
    libvirt.close()
