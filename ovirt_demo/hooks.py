"""Vdsm's way to run hooks, and what it hands to them.

This is what oVirt's vdsm does in common/hooks.py, and Engine in LibvirtVmXmlBuilder (docs/host.md),
in our own words: every executable in the folder of a point, in the order of their names, with the
XML in a file that they may change, and with the VM's custom properties in their environment.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from ovirt_demo import children, vdsm

FOLDER = "/usr/libexec/vdsm/hooks"
BEFORE_VM_START, BEFORE_DISK_HOTPLUG = "before_vm_start", "before_disk_hotplug"
BEFORE_VM_MIGRATE_SOURCE = "before_vm_migrate_source"
AFTER_DISK_HOTUNPLUG = "after_disk_hotunplug"
HOOK_ERROR = 1500
LIMIT_SECONDS = 150.0  # ours: Vdsm waits without limit
STOP = 2  # the exit code after which no other hook runs


Properties = Mapping[str, str]
NONE: Properties = {}


@dataclass(frozen=True)
class HookRun:
    """One run of one hook."""

    script: Path
    returncode: int | None
    stderr: str
    seconds: float


@dataclass
class Hooks:
    """The hooks of a host.

    `user` runs them (vdsm on a real host); `observe` is called with each run. With `read_only` the
    XML cannot be written, which Vdsm never does: a hook that has not opened it for writing has not
    changed it.
    """

    host: vdsm.Host
    user: int | None = None
    observe: Callable[[HookRun], None] | None = None
    runs: list[HookRun] = field(default_factory=list)
    read_only: bool = False

    def install(self, point: str, program: Path, name: str = "50_storpool") -> Path:
        """Link a program into the folder of a point, as an administrator does; return the link."""
        link = self.host.local(f"{FOLDER}/{point}/{name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(program)
        return link

    def before_vm_start(self, document: str, vm_id: str = "", properties: Properties = NONE) -> str:
        """Run the hooks before a VM starts; return the XML that it starts with.

        Raises VdsmError: the VM does not start.
        """
        return self.run(BEFORE_VM_START, document, vm_id, properties)

    def before_disk_hotplug(
        self, document: str, vm_id: str = "", properties: Properties = NONE
    ) -> str:
        """Run the hooks before a disk is plugged; return the XML that is plugged.

        Raises VdsmError: the disk is not plugged.
        """
        return self.run(BEFORE_DISK_HOTPLUG, document, vm_id, properties)

    def before_vm_migrate_source(
        self, document: str, vm_id: str = "", properties: Properties = NONE
    ) -> str:
        """Run the hooks on a migration's source before it begins; return the XML.

        Raises VdsmError: the migration does not begin.
        """
        return self.run(BEFORE_VM_MIGRATE_SOURCE, document, vm_id, properties)

    def after_disk_hotunplug(
        self, document: str, vm_id: str = "", properties: Properties = NONE
    ) -> str:
        """Run the hooks after a disk was unplugged, with the XML of it, before it is detached.

        What they end with changes nothing.
        """
        return self.run(AFTER_DISK_HOTUNPLUG, document, vm_id, properties, raises=False)

    def run(
        self,
        point: str,
        document: str = "",
        vm_id: str = "",
        properties: Properties = NONE,
        *,
        raises: bool = True,
    ) -> str:
        """Run the hooks of a point, for a VM with these custom properties; return the document as
        they left it.

        Raises VdsmError with the last stderr, but where Vdsm only logs it.
        """
        failed: list[HookRun] = []
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "hook.xml"
            file.write_text(document, encoding="utf-8")
            if self.user is not None:
                for path in (folder, file):
                    os.chown(path, self.user, -1)
            if self.read_only:
                file.chmod(0o400)
            for script in self._scripts(point):
                run = self._run(script, environment(self.host.environment, file, vm_id, properties))
                if run.returncode != 0:
                    failed.append(run)
                if run.returncode == STOP:
                    break
            if failed and raises:
                raise vdsm.VdsmError(HOOK_ERROR, failed[-1].stderr)
            return file.read_text(encoding="utf-8")

    def _scripts(self, point: str) -> Sequence[Path]:
        folder = self.host.local(f"{FOLDER}/{point}")
        found = folder.iterdir() if folder.exists() else ()
        return sorted(file for file in found if _is_hook(file))

    def _run(self, script: Path, given: Mapping[str, str]) -> HookRun:
        began = time.monotonic()
        with subprocess.Popen(
            [script],
            cwd="/",
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        ) as process:
            returncode, _, stderr = children.communicate(process, None, LIMIT_SECONDS)
        run = HookRun(script, returncode, stderr.decode(errors="replace"), time.monotonic() - began)
        self.runs.append(run)
        if self.observe:
            self.observe(run)
        return run


def environment(
    own: Mapping[str, str], file: Path, vm_id: str, properties: Properties
) -> dict[str, str]:
    """Return what a hook has in its environment: Vdsm's own, in place of which a VM's custom
    properties stand, but none of them in the place of what Vdsm says of this VM."""
    return {**own, **properties, "_hook_domxml": str(file), "vmId": vm_id}


def _is_hook(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK) and not file.name.startswith(".")


def disk_xml(
    device: dict[str, Any], name: str = "vda", *, shareable: bool = False, managed: bool = True
) -> str:
    """Return the element that a VM starts with, as Engine writes it for an attached device.

    `device` is what Vdsm's attach returned. `managed` is so since cluster level 4.7. The element
    has no error_policy, which Engine writes for other kinds of disks alone.
    """
    path = device["managed_path"] if managed else device["path"]
    shared = "<shareable/>" if shareable else ""
    return (
        '<disk snapshot="no" type="block" device="disk">'
        f'<target dev="{name}" bus="virtio"/>'
        f'<source dev={quoteattr(path)}><seclabel model="dac" type="none" relabel="no"/></source>'
        '<driver name="qemu" cache="none" type="raw"/>'
        f"<serial>{device['vol_id']}</serial>{shared}"
        "</disk>"
    )


def plug_xml(device: dict[str, Any], name: str = "vdb", *, managed: bool = True) -> str:
    """Return the element that is plugged.

    Vdsm makes it anew from its own Drive (virt/vmdevices/storage.py, getXML). It never has
    `<shareable/>` for a managed disk, as Drive takes that from `shared` in Engine's metadata alone,
    and it always has an error_policy.
    """
    path = device["managed_path"] if managed else device["path"]
    return f"""\
<disk device="disk" snapshot="no" type="block">
    <source dev={quoteattr(path)}>
        <seclabel model="dac" relabel="no" type="none" />
    </source>
    <target bus="virtio" dev="{name}" />
    <serial>{device["vol_id"]}</serial>
    <driver cache="none" error_policy="stop" io="native" name="qemu" type="raw" />
</disk>
"""


def domain_xml(*disks: str, vm_id: str = "") -> str:
    """Return a domain with these disks, with as much around them as a reader could stumble over."""
    vm_id = vm_id or str(uuid.uuid4())
    metadata = (
        "<ovirt-vm:vm><ovirt-vm:device devtype='disk' name='vda'>"
        "<ovirt-vm:managed type='bool'>true</ovirt-vm:managed>"
        "</ovirt-vm:device></ovirt-vm:vm>"
    )
    cdrom = (
        '<disk type="file" device="cdrom">'
        '<source file=""/><target dev="sdc" bus="sata"/><readonly/>'
        "<address bus='0' type='drive' unit='2'/>"
        "</disk>"
    )
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        '<domain type="kvm" xmlns:ovirt-vm="http://ovirt.org/vm/1.0">'
        f"<name>vm-{vm_id[:8]}</name><uuid>{vm_id}</uuid><memory>1048576</memory>"
        f"<metadata>{metadata}</metadata>"
        f"<devices><emulator>text</emulator>{cdrom}{''.join(disks)}<memballoon model='virtio'/>"
        "</devices></domain>\n"
    )
