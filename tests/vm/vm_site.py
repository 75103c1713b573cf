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
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

FOLDER_KEY = "STORPOOL_OVIRT_VM"
FOLDER = "~/.cache/storpool-ovirt/vm"  # the same default as in .ci/vm-packages
TOOLS = ("qemu-system-x86_64", "setpriv", "mkfs.ext4", "e2fsck")
INIT = Path(__file__).with_name("vm_init.sh")
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
AGENT, AGENT_MODULE = "qemu-ga", "virtio_console"
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


def make(folder: Path, *, agent: bool = False) -> VmSite:
    """Find the parts and make the initramfs in `folder`, with a guest agent or without; raises
    Missing."""
    found = {
        tool: shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        for tool in TOOLS
    }
    if lacking := [tool for tool, path in found.items() if path is None]:
        raise Missing(
            f"not installed: {', '.join(lacking)} (.ci/vm-packages installs what is missing)"
        )
    guest = Path(os.environ.get(FOLDER_KEY) or FOLDER).expanduser() / "guest"
    for part in ("vmlinuz", "busybox", "modules", *[AGENT] * agent):
        if not os.access(guest / part, os.R_OK):
            raise Missing(f"no {guest / part} that can be read (.ci/vm-packages puts it there)")
    initramfs = folder / "initramfs"
    initramfs.write_bytes(archive(guest, agent_files(guest / AGENT) if agent else {}))
    return VmSite(str(found[TOOLS[0]]), guest / "vmlinuz", initramfs)


def agent_files(program: Path) -> dict[str, bytes]:
    """Return the guest agent and the libraries that it is linked to, which QEMU's packages need as
    well, by their paths."""
    said = subprocess.run(
        ["ldd", str(program)], check=True, stdout=subprocess.PIPE, text=True, env={"LANG": "C"}
    ).stdout
    if lacking := re.findall(r"(\S+) => not found", said):
        raise Missing(f"not installed, for the guest agent: {', '.join(lacking)}")
    libraries = {path: Path(path).read_bytes() for path in re.findall(r"(/\S+) \(0x", said)}
    return {f"/bin/{AGENT}": program.read_bytes(), **libraries}


def archive(guest: Path, more: Mapping[str, bytes]) -> bytes:
    """Return the guest's initramfs: a cpio archive of the kind newc."""
    modules = dict(_modules(guest / "modules", (*MODULES, *[AGENT_MODULE] * bool(more))))
    folders = [*FOLDERS]
    for path in more:
        above = [str(each).strip("/") for each in reversed(PurePosixPath(path).parents)]
        folders += [each for each in above if each and each not in folders]
    entries = [_entry(number, name, stat.S_IFDIR | 0o755) for number, name in enumerate(folders, 1)]
    entries += [
        _entry(number, path.strip("/"), stat.S_IFREG | 0o755, content)
        for number, (path, content) in enumerate(more.items(), 1000)
    ]
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
