"""A virtual machine that libvirt runs, with a guest agent: a domain as Vdsm makes it.

Vdsm's own are persistent in nothing, too (createXML): who ends one has nothing to undefine. What is
not Vdsm's: no KVM, and the guest's kernel and initramfs come from outside.
"""

from __future__ import annotations

import contextlib
import json
import socket
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vm_guest import KERNEL_OPTIONS, MEMORY_MB, Guest
from vm_site import VmSite
from vm_wire import LIMIT_SECONDS, Wire, looks

from ovirt_demo import hooks
from rigs import libvirt_daemon

FROZEN, THAWED = "frozen", "thawed"


class Domain(Guest):
    """A running domain of one host's libvirtd."""

    def __init__(
        self, daemon: libvirt_daemon.Daemon, vm_id: str, talk: socket.socket, console: Path
    ) -> None:
        super().__init__(vm_id, Wire(f"{vm_id}'s guest", talk), console)
        self.daemon = daemon

    def status(self) -> str:
        """Tell libvirt's word: running, paused, shut off ..."""
        return self.daemon.virsh("domstate", self.name)

    def agent(self, command: str) -> Any:
        """Have the guest agent carry out a command."""
        asked = json.dumps({"execute": command})
        return json.loads(self.daemon.virsh("qemu-agent-command", self.name, asked))["return"]

    def with_agent(self) -> None:
        """Wait until the guest agent answers."""
        for _ in looks(f"the guest agent of {self.name}"):
            with contextlib.suppress(libvirt_daemon.CommandError):
                self.agent("guest-ping")
                return

    def freeze(self) -> None:
        """Freeze its file systems, as Vdsm's VM.freeze does when Engine asks for it."""
        self.daemon.virsh("domfsfreeze", self.name)
        assert self.freeze_status() == FROZEN

    def freeze_status(self) -> str:
        """Ask the guest agent whether the file systems are frozen: frozen or thawed."""
        return str(self.agent("guest-fsfreeze-status"))

    def until_thawed(self) -> None:
        """Wait until they are not."""
        for _ in looks(f"{self.name} to be thawed"):
            if self.freeze_status() == THAWED:
                return

    def capacity(self, target: str) -> int:
        """Tell how large libvirt shows a disk."""
        said = self.daemon.virsh("domblkinfo", self.name, target)
        [capacity] = [line.split()[1] for line in said.splitlines() if line.startswith("Capacity:")]
        return int(capacity)

    def plug_file(self, file: Path, target: str) -> None:
        """Plug a disk of an image domain."""
        kind = ("--driver", "qemu", "--subdriver", "raw", "--live")
        self.daemon.virsh("attach-disk", self.name, str(file), target, *kind)

    def kill(self) -> None:
        """End it, in whatever state it is."""
        with contextlib.suppress(libvirt_daemon.CommandError):
            self.daemon.virsh("destroy", self.name)
        self._talk.close()

    def stop(self) -> None:
        """Have the guest end by itself: all that it wrote is on its disks."""
        self.catch_up()
        self._talk.send("sync; poweroff -f")
        for _ in looks(f"{self.name} to end"):
            if not self.daemon.virsh("list", "--name").split().count(self.name):
                break
        self._talk.close()


class Description:
    """A domain that is to run, and the socket by which its guests' talk comes."""

    def __init__(
        self,
        site: VmSite,
        folder: Path,
        devices: Sequence[Mapping[str, Any]],
        vm_id: str = "",
    ) -> None:
        self.vm_id = vm_id or str(uuid.uuid4())
        self.console = folder / f"{self.vm_id}.console"
        self._file = folder / f"{self.vm_id}.xml"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(LIMIT_SECONDS)
        self._site = site
        self._devices = devices

    def xml(self, talk: Path) -> str:
        """Return the domain, its disks as Engine writes them."""
        disks = "".join(
            hooks.disk_xml(dict(device), f"vd{at:c}") for at, device in enumerate(self._devices, 97)
        )
        return f"""\
<domain type="qemu" xmlns:ovirt-vm="http://ovirt.org/vm/1.0">
  <name>{self.vm_id}</name>
  <uuid>{self.vm_id}</uuid>
  <memory unit="MiB">{MEMORY_MB}</memory>
  <metadata><ovirt-vm:vm><ovirt-vm:clusterVersion>4.8</ovirt-vm:clusterVersion></ovirt-vm:vm>
  </metadata>
  <os>
    <type arch="x86_64" machine="pc">hvm</type>
    <kernel>{self._site.kernel}</kernel>
    <initrd>{self._site.initramfs}</initrd>
    <cmdline>{KERNEL_OPTIONS}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode="maximum"/>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>{self._site.qemu}</emulator>
    {disks}
    <controller type="usb" model="none"/>
    <memballoon model="none"/>
    <serial type="file"><source path="{self.console}"/><target port="0"/></serial>
    <serial type="unix"><source mode="connect" path="{talk}"/><target port="1"/></serial>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
  </devices>
</domain>
"""

    def run(self, daemon: libvirt_daemon.Daemon) -> Domain:
        """Start it, and wait until its guest and the guest agent answer."""
        talk = daemon.folder / f"{self.vm_id[:8]}.talk"
        self._listener.bind(str(talk))
        self._listener.listen()
        self._file.write_text(self.xml(talk))
        daemon.virsh("create", str(self._file))
        domain = self.arrived(daemon)
        domain.ready().with_agent()
        return domain

    def migrate(self, source: Domain, destination: libvirt_daemon.Daemon) -> Domain:
        """Migrate it; return what it is there."""
        way = destination.folder / f"{self.vm_id[:8]}.way"
        to = ["--desturi", destination.uri, "--migrateuri", f"unix://{way}"]
        source.daemon.virsh("migrate", "--live", "--domain", self.vm_id, *to)
        domain = self.arrived(destination)
        domain.take_over(source)
        return domain

    def arrived(self, daemon: libvirt_daemon.Daemon) -> Domain:
        """Return the domain whose QEMU has just come to this host."""
        talk, _ = self._listener.accept()
        talk.settimeout(None)
        return Domain(daemon, self.vm_id, talk, self.console)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
