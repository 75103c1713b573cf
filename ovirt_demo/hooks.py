"""Vdsm's way to run hooks, and what it hands to them.

What oVirt's vdsm does in common/hooks.py, and Engine in LibvirtVmXmlBuilder (docs/host.md), in our
own words: every executable in the folder of a point, in the order of their names, with the XML in a
file that they may change.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from ovirt_demo import children, vdsm

FOLDER = "/usr/libexec/vdsm/hooks"
BEFORE_VM_START, BEFORE_DISK_HOTPLUG = "before_vm_start", "before_disk_hotplug"
BEFORE_VM_MIGRATE_SOURCE = "before_vm_migrate_source"
HOOK_ERROR = 1500
LIMIT_SECONDS = 150.0  # ours: Vdsm waits without limit
STOP = 2  # the exit code after which no other hook runs


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

    `user` runs them (vdsm on a real host); `observe` is called with each run.

    `read_only`: the XML cannot be written, which Vdsm never does: who has not opened it for writing
    has not changed it.
    """

    host: vdsm.Host
    user: int | None = None
    observe: Callable[[HookRun], None] | None = None
    runs: list[HookRun] = field(default_factory=list)
    read_only: bool = False

    def install(self, point: str, program: Path, name: str = "50_storpool") -> Path:
        """Link a program into the folder of a point, as an administrator does."""
        link = self.host.local(f"{FOLDER}/{point}/{name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(program)
        return link

    def before_vm_start(self, document: str, vm_id: str = "") -> str:
        """Run the hooks before a VM starts and return the XML that it starts with; raises
        VdsmError: it does not."""
        return self.run(BEFORE_VM_START, document, vm_id)

    def before_disk_hotplug(self, document: str, vm_id: str = "") -> str:
        """Run the hooks before a disk is plugged; raises VdsmError: it is not."""
        return self.run(BEFORE_DISK_HOTPLUG, document, vm_id)

    def before_vm_migrate_source(self, document: str, vm_id: str = "") -> str:
        """Run the hooks on a migration's source before it begins; raises VdsmError: it does not."""
        return self.run(BEFORE_VM_MIGRATE_SOURCE, document, vm_id)

    def run(self, point: str, document: str = "", vm_id: str = "") -> str:
        """Run the hooks of a point and return the document as they left it; raises VdsmError with
        the last stderr."""
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
                run = self._run(script, file, vm_id)
                if run.returncode != 0:
                    failed.append(run)
                if run.returncode == STOP:
                    break
            if failed:
                raise vdsm.VdsmError(HOOK_ERROR, failed[-1].stderr)
            return file.read_text(encoding="utf-8")

    def _scripts(self, point: str) -> Sequence[Path]:
        folder = self.host.local(f"{FOLDER}/{point}")
        found = folder.iterdir() if folder.exists() else ()
        return sorted(
            each
            for each in found
            if each.is_file() and os.access(each, os.X_OK) and each.name[0] != "."
        )

    def _run(self, script: Path, file: Path, vm_id: str) -> HookRun:
        began = time.monotonic()
        environment = {**self.host.environment, "_hook_domxml": str(file), "vmId": vm_id}
        with subprocess.Popen(
            [script],
            cwd="/",
            env=environment,
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


def disk_xml(
    device: dict[str, Any], name: str = "vda", *, shareable: bool = False, managed: bool = True
) -> str:
    """Return the element that a VM starts with, as Engine writes it for what Vdsm's attach
    returned.

    `managed`: since cluster level 4.7. It has no error_policy, which Engine writes for other kinds
    of disks alone.
    """
    path = device["managed_path"] if managed else device["path"]
    shared = "<shareable/>" if shareable else ""
    return (
        f'<disk snapshot="no" type="block" device="disk"><target dev="{name}" bus="virtio"/><source'
        f' dev={quoteattr(path)}><seclabel model="dac" type="none" relabel="no"/></source><driver'
        f' name="qemu" cache="none" type="raw"/><serial>{device["vol_id"]}</serial>{shared}</disk>'
    )


def plug_xml(device: dict[str, Any], name: str = "vdb", *, managed: bool = True) -> str:
    """Return the element that is plugged: Vdsm makes it anew from its own Drive
    (virt/vmdevices/storage.py, getXML).

    It never has `<shareable/>` for a managed disk, as Drive takes that from `shared` in Engine's
    metadata alone, and always an error_policy.
    """
    path = device["managed_path"] if managed else device["path"]
    return (
        f'<disk device="disk" snapshot="no" type="block">\n    <source dev={quoteattr(path)}>\n    '
        '    <seclabel model="dac" relabel="no" type="none" />\n    </source>\n    <target'
        f' bus="virtio" dev="{name}" />\n    <serial>{device["vol_id"]}</serial>\n    <driver'
        ' cache="none" error_policy="stop" io="native" name="qemu" type="raw" />\n</disk>\n'
    )


def domain_xml(*disks: str, vm_id: str = "") -> str:
    """Return a domain with these disks, with as much around them as a reader could stumble over."""
    vm_id = vm_id or str(uuid.uuid4())
    cdrom = (
        '<disk type="file" device="cdrom"><source file=""/><target dev="sdc"'
        " bus=\"sata\"/><readonly/><address bus='0' type='drive' unit='2'/></disk>"
    )
    return (
        f"<?xml version='1.0' encoding='UTF-8'?>\n"
        '<domain type="kvm"'
        f' xmlns:ovirt-vm="http://ovirt.org/vm/1.0"><name>vm-{vm_id[:8]}</name><uuid>{vm_id}</uuid>'
        f"<memory>1048576</memory><metadata><ovirt-vm:vm><ovirt-vm:device devtype='disk'"
        f" name='vda'>"
        f"<ovirt-vm:managed"
        f" type='bool'>true</ovirt-vm:managed></ovirt-vm:device></ovirt-vm:vm></metadata>"
        f"<devices><emulator>text</emulator>{cdrom}{''.join(disks)}<memballoon"
        " model='virtio'/></devices></domain>\n"
    )
