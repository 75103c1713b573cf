"""What a virtual machine is made of: qemu, a kernel and a busybox that `.ci/vm-packages` put in a
folder of its own.

The kernel is a distribution's as it is; the rest of the guest is vm_init.sh and the modules that
its disks need.
"""

from __future__ import annotations

import dataclasses
import lzma
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER_KEY = "STORPOOL_OVIRT_VM"
FOLDER = "~/.cache/storpool-ovirt/vm"  # the same default as in .ci/vm-packages
TOOLS = ("qemu-system-x86_64", "setpriv", "mkfs.ext4", "e2fsck")
INIT = Path(__file__).with_name("vm_init.sh")
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
FOLDERS = ("bin", "dev", "modules", "proc", "run", "sys")
TTY_CONSOLE = (5, 1)


class Missing(Exception):
    """There can be no virtual machine here: what is missing."""


@dataclasses.dataclass(frozen=True)
class VmSite:
    """Where the parts are; `initramfs` is made anew for each run."""

    qemu: str
    kernel: Path
    initramfs: Path


def make(folder: Path) -> VmSite:
    """Find the parts and make the initramfs in `folder`; raises Missing."""
    found = {
        tool: shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        for tool in TOOLS
    }
    if lacking := [tool for tool, path in found.items() if path is None]:
        raise Missing(
            f"not installed: {', '.join(lacking)} (.ci/vm-packages installs what is missing)"
        )
    guest = Path(os.environ.get(FOLDER_KEY) or FOLDER).expanduser() / "guest"
    for part in ("vmlinuz", "busybox", "modules"):
        if not os.access(guest / part, os.R_OK):
            raise Missing(f"no {guest / part} that can be read (.ci/vm-packages puts it there)")
    initramfs = folder / "initramfs"
    initramfs.write_bytes(archive(guest))
    return VmSite(str(found[TOOLS[0]]), guest / "vmlinuz", initramfs)


def archive(guest: Path) -> bytes:
    """Return the guest's initramfs: a cpio archive of the kind newc."""
    modules = dict(_modules(guest / "modules", MODULES))
    entries = [_entry(number, name, stat.S_IFDIR | 0o755) for number, name in enumerate(FOLDERS, 1)]
    entries.append(_entry(11, "dev/console", stat.S_IFCHR | 0o600, device=TTY_CONSOLE))
    entries.append(
        _entry(12, "bin/busybox", stat.S_IFREG | 0o755, (guest / "busybox").read_bytes())
    )
    entries.append(_entry(13, "bin/sh", stat.S_IFLNK | 0o777, b"busybox"))
    entries.append(_entry(14, "init", stat.S_IFREG | 0o755, INIT.read_bytes()))
    entries.append(_entry(15, "modules/order", stat.S_IFREG | 0o644, "\n".join(modules).encode()))
    for number, (name, content) in enumerate(modules.items(), 20):
        entries.append(_entry(number, f"modules/{name}", stat.S_IFREG | 0o644, content))
    return b"".join([*entries, _entry(0, "TRAILER!!!", 0)])


def _modules(
    folder: Path, names: Sequence[str], seen: set[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Give these modules in an order in which they can be loaded; what the kernel has built in is
    no file."""
    seen = set() if seen is None else seen
    files = {
        re.sub(r"\.ko.*", "", path.name).replace("-", "_"): path for path in folder.rglob("*.ko*")
    }
    for name in names:
        if name in seen or name not in files:
            continue
        seen.add(name)
        content = files[name].read_bytes()
        if files[name].suffix == ".xz":
            content = lzma.decompress(content)
        needs = re.search(rb"\0depends=([^\0]*)\0", content)
        yield from _modules(
            folder, needs[1].decode().replace("-", "_").split(",") if needs else [], seen
        )
        yield name, content


def _entry(
    number: int, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    header = (
        b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
    )
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
