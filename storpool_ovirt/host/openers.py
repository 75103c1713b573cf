"""Who has StorPool's devices open on this very host: processes, mounted file systems, swap, other
devices on top.

StorPool knows who has a volume attached. Whether it is open only the host knows. It is
read from /proc and /sys, as proc(5) and the kernel's Documentation/ABI describe them; no device is
opened, as that alone would make a detach fail. Not seen is a process that has a device only mapped
into its memory, or registered in an io_uring.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from storpool_ovirt import errors, names, presence

# The programs that oVirt runs on disks, by the name that the kernel knows them by (15 characters at
# most).
EMULATORS = ("qemu-kvm", "qemu-system-")
COPIERS = ("qemu-img", "qemu-nbd")
# What others chose (names of VMs, mount points) takes no more of a line.
PLAIN_MAX = 200
# Where the /dev of a changed root may lie.
LOCAL = ("devtmpfs", "tmpfs", "ramfs", "rootfs", "overlay", "ext2", "ext3", "ext4", "xfs", "btrfs")


@dataclass(frozen=True)
class Process:
    """A process that has a device open.

    `vm`, `vm_uuid`: the virtual machine that it is. `arrived`: it was started to take in a VM that
    runs elsewhere, which its command line tells for as long as it lives.
    """

    pid: int
    name: str
    vm: str | None = None
    vm_uuid: str | None = None
    arrived: bool = False

    @property
    def is_vm(self) -> bool:
        """Whether it is a virtual machine."""
        return self.name.startswith(EMULATORS)

    @property
    def is_copy(self) -> bool:
        """Whether it is a program that copies disks."""
        return self.name.startswith(COPIERS)


@dataclass
class Device:
    """What this host knows of one device.

    `node` is what the link leads to, None where that is missing. `made_at`: since when the link is
    there, in seconds since 1970. `above`: what has it open and is no process, in words.
    `seen_all`: nothing was hidden from us.
    """

    path: str
    node: str | None
    made_at: float
    processes: list[Process] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    seen_all: bool = True

    @property
    def open(self) -> bool | None:
        """Whether anything has it open; None when this user cannot see it."""
        return True if self.processes or self.above else False if self.seen_all else None

    @property
    def is_there(self) -> bool:
        """Whether its link is there at this moment, as far as anybody can tell."""
        try:
            return presence.named(self.path)
        except errors.Unseen:
            return True


@dataclass(frozen=True)
class DeviceView:
    """The devices of this host by global id; `blind`: why one that looks closed may be open, ""
    where it may not.

    `all_listed`: what is not among the devices has none here.
    """

    devices: Mapping[str, Device]
    blind: str = ""
    all_listed: bool = True


def look(root: str = "") -> DeviceView:
    """Return the devices of this host, each with who has it open.

    Raises nothing: what is hidden is said to be.

    `root` is the folder that stands for the host's `/`.
    """
    devices: dict[str, Device] = {}
    numbers: dict[int, Device] = {}
    hidden: list[str] = []
    for global_id in filter(names.GLOBAL_ID.fits, _listed(root + names.DEVICE_FOLDER, hidden)):
        _add_device(root + names.device_path(global_id), global_id, devices, numbers, hidden)
    unlisted = list(hidden)
    nodes: dict[str, Device] = {}
    for device in devices.values():
        if device.node:
            # One that was reverted has two ids: whoever has it open has it open by both.
            same = nodes.setdefault(device.node, device)
            device.processes, device.above = same.processes, same.above
    for number, device in numbers.items():
        device.above += _stacked(number, hidden)
    _add_loops(nodes, hidden)
    _add_swaps(nodes, hidden)
    _add_processes(numbers, nodes, hidden)
    blind = _blind(unlisted, hidden)
    for device in devices.values():
        device.seen_all = not blind
    return DeviceView(devices, blind, not unlisted)


def _blind(unlisted: Sequence[str], hidden: Sequence[str]) -> str:
    """Return why something that looks closed, or absent, may not be so."""
    if os.geteuid() and not unlisted:
        return "only root sees the processes of all users"
    who = "this user" if os.geteuid() else "even root"
    return f"{who} may not look into {', '.join((unlisted or hidden)[:3])}" if hidden else ""


def _add_device(
    path: str,
    global_id: str,
    devices: dict[str, Device],
    numbers: dict[int, Device],
    hidden: list[str],
) -> None:
    try:
        device = devices[global_id] = Device(path, None, os.lstat(path).st_mtime)
        facts = os.stat(path)
    except OSError as error:
        # Detached at this moment, or a link that leads nowhere.
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            hidden.append(_why(path, error))
        return
    device.node = os.path.realpath(path)
    for number in _numbers(facts.st_rdev, hidden) if stat.S_ISBLK(facts.st_mode) else ():
        numbers[number] = device


def _numbers(number: int, hidden: list[str]) -> Iterator[int]:
    """Yield a block device's number and those of its partitions."""
    yield number
    folder = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for name in _listed(folder, hidden):
        if _text(f"{folder}/{name}/partition", hidden):
            major, _, minor = _text(f"{folder}/{name}/dev", hidden).partition(":")
            yield os.makedev(int(major), int(minor))


def _stacked(number: int, hidden: list[str]) -> list[str]:
    """Return the devices that the kernel has on top of one: LVM, multipath, RAID."""
    found = _listed(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/holders", hidden)
    labels = {name: _text(f"/sys/block/{name}/dm/name", hidden) for name in found}
    return [f"{name} ({label})" if label else name for name, label in labels.items()]


def _add_loops(nodes: Mapping[str, Device], hidden: list[str]) -> None:
    for name in _listed("/sys/block", hidden):
        device = (
            nodes.get(_text(f"/sys/block/{name}/loop/backing_file", hidden))
            if name.startswith("loop")
            else None
        )
        if device is not None:
            device.above.append(f"loop device {name}")


def _add_swaps(nodes: Mapping[str, Device], hidden: list[str]) -> None:
    for line in _kernel_lines("/proc/swaps", hidden)[1:]:
        path = re.split("[ \t]", line, maxsplit=1)[0]
        if path in nodes:
            nodes[path].above.append("swap")


def _add_processes(
    numbers: Mapping[int, Device], nodes: Mapping[str, Device], hidden: list[str]
) -> None:
    """Add the processes and the mounts of their namespaces; note those that we may not look
    into."""
    namespaces: set[str] = set()
    for pid in _listed("/proc", hidden):
        if not pid.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            try:
                for device in _held(pid, numbers, nodes):
                    device.processes.append(_process(pid))
                namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            except (FileNotFoundError, ProcessLookupError):
                raise
            except OSError:
                hidden.append(f"pid {pid} ({_plain(_text(f'/proc/{pid}/comm'))})")
                continue
            if namespace not in namespaces:
                namespaces.add(namespace)
                _add_mounts(pid, numbers, nodes, hidden)


def _held(pid: str, numbers: Mapping[int, Device], nodes: Mapping[str, Device]) -> list[Device]:
    held: list[Device] = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            target = os.readlink(f"{folder}/{name}")
            device = nodes.get(target)
            # The number decides, as a VM has device nodes of its own. Only what lies in a /dev is
            # looked at, and on a file system of this machine: to ask for a file on a dead NFS
            # server would hang.
            if (
                device is None
                and "/dev/" in target
                and (target.startswith("/dev/") or _is_local(pid, name))
            ):
                facts = os.stat(f"{folder}/{name}")
                device = numbers.get(facts.st_rdev) if stat.S_ISBLK(facts.st_mode) else None
            if device is not None and device not in held:
                held.append(device)
    return held


def _is_local(pid: str, name: str) -> bool:
    """Return whether an open file of a process lies on a file system that the kernel answers for by
    itself."""
    facts = dict(
        line.partition(":\t")[::2] for line in _kernel_lines(f"/proc/{pid}/fdinfo/{name}", [])
    )
    for line in _kernel_lines(f"/proc/{pid}/mountinfo", []):
        fields = line.split(" ")
        if fields[0] == facts.get("mnt_id"):
            return fields[fields.index("-") + 1] in LOCAL
    return False


def _add_mounts(
    pid: str, numbers: Mapping[int, Device], nodes: Mapping[str, Device], hidden: list[str]
) -> None:
    for line in _kernel_lines(f"/proc/{pid}/mountinfo", hidden):
        fields = line.split(" ")
        major, _, minor = fields[2].partition(":")
        # Btrfs has a number of its own, and tells its device by path.
        source = fields[fields.index("-") + 2]
        device = numbers.get(os.makedev(int(major), int(minor))) or nodes.get(source)
        if (
            device is not None
            and (point := f"file system at {_plain(fields[4])}") not in device.above
        ):
            device.above.append(point)


def _process(pid: str) -> Process:
    name = _plain(_text(f"/proc/{pid}/comm"))
    process = Process(int(pid), name)
    if not process.is_vm:
        return process
    arguments = _text(f"/proc/{pid}/cmdline").split("\0")
    vm, vm_uuid = _vm_name(_option(arguments, "-name")), _option(arguments, "-uuid")
    return Process(
        int(pid), name, vm and _plain(vm), vm_uuid and _plain(vm_uuid), "-incoming" in arguments
    )


def _option(arguments: list[str], name: str) -> str | None:
    places = [place for place, each in enumerate(arguments[:-1]) if each in (name, f"-{name}")]
    return arguments[places[0] + 1] if places else None


def _vm_name(option: str | None) -> str | None:
    """Return the VM's name of `guest=NAME,debug-threads=on`, or of a plain NAME (qemu(1),
    -name)."""
    for part in (option or "").replace(",,", "\0").split(","):
        key, equals, value = part.partition("=")
        if key == "guest" or not equals:
            return (value if equals else key).replace("\0", ",") or None
    return None


def _listed(folder: str, hidden: list[str]) -> list[str]:
    """Return the names in a folder, none where it is not there; note one that we may not look
    into."""
    try:
        return presence.listed(folder)
    except errors.Unseen as error:
        hidden.append(f"{error.what}, which {error.why}")
        return []


def _text(path: str, hidden: list[str] | None = None) -> str:
    """Return what the kernel has in a file, without the end of its last line; nothing where it is
    not there.

    One that we may not look into is noted.
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            return file.read().removesuffix("\n")
    except OSError as error:
        # A process that has ended, or is about to, has no mounts (EINVAL).
        if hidden is not None and error.errno not in (
            errno.ENOENT,
            errno.ENOTDIR,
            errno.ESRCH,
            errno.EINVAL,
        ):
            hidden.append(_why(path, error))
        return ""


def _why(path: str, error: OSError) -> str:
    return f"{path} ({error.strerror})"


def _kernel_lines(path: str, hidden: list[str]) -> list[str]:
    """Return the lines of a file of the kernel's.

    It writes blanks and the ends of lines in names as \\040 and \\012 (proc(5)); every other
    character is the name's.
    """
    return [line for line in _text(path, hidden).split("\n") if line]


def _plain(text: str) -> str:
    """Return foreign text fit for a terminal: whole, where it can be seen and is not too long."""
    return text if text.isprintable() and len(text) <= PLAIN_MAX else names.shown(text, PLAIN_MAX)
