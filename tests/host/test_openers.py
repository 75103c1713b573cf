"""openers.py: who really has a device open, by real processes, mounts and devices on this
machine."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs import faulty_files, mounts
from rigs.device_users import VM, VM_UUID, everything_is_seen, using
from storpool_ovirt.host import openers

GLOBAL_ID = "sim.a.1"
SIZE = 16 << 20
# Looks as an ordinary user, who has one of the two devices open himself.
ORDINARY = """
import os, sys
from storpool_ovirt.host import openers
if os.geteuid() == 0:
    "".encode("unicode_escape")
    os.setgid(65534)
    os.setuid(65534)
with open(sys.argv[1] + "/dev/storpool-byid/sim.a.2", "rb"):
    host = openers.look(sys.argv[1])
print(host.blind)
print([(global_id, device.open) for global_id, device in host.devices.items()])
"""


def link(root: Path, to: Path, global_id: str = GLOBAL_ID) -> Path:
    """Give a host a device: a link as StorPool makes it."""
    folder = root / "dev" / "storpool-byid"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / global_id).symlink_to(to)
    return folder / global_id


def plain(root: Path, global_id: str = GLOBAL_ID) -> Path:
    """Give a host a device that is a plain file."""
    file = root / f"file-{global_id}"
    file.write_bytes(bytes(4096))
    return link(root, file, global_id)


def only(root: Path) -> openers.Device:
    """Look, and return the only device."""
    (device,) = openers.look(str(root)).devices.values()
    return device


@pytest.fixture
def block(tmp_path: Path) -> Iterator[Path]:
    """Give a host a block device."""
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root and /dev/loop-control")
    with loop(tmp_path / "disk.img") as device:
        link(tmp_path, device)
        yield device


@contextlib.contextmanager
def loop(file: Path, *options: str) -> Iterator[Path]:
    """Make a loop device over a file."""
    if not file.exists():
        file.write_bytes(bytes(SIZE))
    made = subprocess.run(
        ["losetup", "--find", "--show", *options, file],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=60)


# What is there


def test_a_machine_without_devices_has_none(tmp_path: Path) -> None:
    """Engine's machine, or a host where nothing is attached: nothing, and no error."""
    assert openers.look(str(tmp_path)).devices == {}


def test_only_what_storpool_names_is_a_device(tmp_path: Path) -> None:
    """Other links beside them are somebody else's; a link that leads nowhere is told as that."""
    plain(tmp_path)
    link(tmp_path, tmp_path / "nowhere", "sim.a.2")
    link(tmp_path, tmp_path / "nowhere", "README")
    devices = openers.look(str(tmp_path)).devices
    assert {name: device.node for name, device in devices.items()} == {
        GLOBAL_ID: str(tmp_path / f"file-{GLOBAL_ID}"),
        "sim.a.2": None,
    }


def test_since_when_is_the_age_of_the_link(tmp_path: Path) -> None:
    """T66: not that of what it leads to, which is older and is used again."""
    path = plain(tmp_path)
    os.utime(path, (0, 1_700_000_000), follow_symlinks=False)
    assert only(tmp_path).made_at == 1_700_000_000


# Processes


def test_nobody_has_it_open(tmp_path: Path) -> None:
    """T66: closed for certain where we may look into every process; else nobody can tell."""
    plain(tmp_path)
    host = openers.look(str(tmp_path))
    assert host.devices[GLOBAL_ID].open is (False if everything_is_seen() else None)
    assert bool(host.blind) is not everything_is_seen()


@pytest.mark.parametrize("kind", ["plain", "block"])
def test_a_virtual_machine_is_named(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """T66: by the name and the id on its command line, as libvirt writes it."""
    device = plain(tmp_path) if kind == "plain" else request.getfixturevalue("block")
    with using(tmp_path / "bin", device.resolve(), *VM) as pid:
        found = only(tmp_path)
    assert found.processes == [openers.Process(pid, "qemu-kvm", "web01", VM_UUID)]
    assert (found.open, found.processes[0].is_vm, found.processes[0].is_copy) == (True, True, False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-name", "web01"], ("web01", None, False)),
        (["--name", "guest=a,,b,process=qemu:x"], ("a,b", None, False)),
        (["-name", "debug-threads=on"], (None, None, False)),
        (["-name", "guest=\x1b[2Jx"], ('"\\x1b[2Jx"', None, False)),
        (["-uuid", VM_UUID, "-incoming", "defer"], (None, VM_UUID, True)),
        ([], (None, None, False)),
    ],
)
def test_a_command_line_is_read_as_qemu_reads_it(
    tmp_path: Path, arguments: list[str], expected: tuple[str | None, str | None, bool]
) -> None:
    """T66: with and without keys; a destination is known; nothing in it reaches the terminal as a
    control character."""
    device = plain(tmp_path)
    with using(tmp_path / "bin", device, *arguments):
        (process,) = only(tmp_path).processes
    assert (process.vm, process.vm_uuid, process.arrived) == expected


def test_a_copy_and_any_other_program_are_told_apart(tmp_path: Path) -> None:
    """T66: all of them are told, each once."""
    device = plain(tmp_path)
    with (
        using(tmp_path / "bin", device, "convert", name="qemu-img"),
        using(tmp_path / "bin", device, name="dd"),
    ):
        found = only(tmp_path)
    assert sorted((each.name, each.is_copy, each.is_vm) for each in found.processes) == [
        ("dd", False, False),
        ("qemu-img", True, False),
    ]


def test_the_device_of_one_disk_is_not_that_of_another(tmp_path: Path) -> None:
    """Each process stands at the device that it has open."""
    devices = {global_id: plain(tmp_path, global_id) for global_id in ("sim.a.1", "sim.a.2")}
    with using(tmp_path / "bin", devices["sim.a.2"].resolve()) as pid:
        found = openers.look(str(tmp_path)).devices
    assert [[each.pid for each in found[global_id].processes] for global_id in devices] == [
        [],
        [pid],
    ]


def test_a_block_device_is_known_by_its_number(tmp_path: Path, block: Path) -> None:
    """A VM has device nodes of its own (libvirt's private /dev): its path says nothing."""
    facts = block.stat()
    (tmp_path / "dev" / "other").mkdir()
    node = tmp_path / "dev" / "other" / "node"
    os.mknod(node, facts.st_mode, facts.st_rdev)
    with using(tmp_path / "bin", node) as pid:
        assert [each.pid for each in only(tmp_path).processes] == [pid]


def test_a_file_of_a_server_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T73: a folder that is named dev, on a file system that a dead server holds, must not make us
    wait for it."""
    plain(tmp_path)
    file = tmp_path / "dev" / "elsewhere"
    file.write_bytes(b"x")
    stat, asked = os.stat, []

    def watched(path: str, *arguments: object, **facts: object) -> os.stat_result:
        asked.append(str(path))
        return stat(path, *arguments, **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(openers.os, "stat", watched)
    with file.open("rb") as opened:
        own = f"/proc/{os.getpid()}/fd/{opened.fileno()}"
        only(tmp_path)
        assert own in asked
        asked.clear()
        monkeypatch.setattr(openers, "LOCAL", ("none",))
        only(tmp_path)
        assert own not in asked


def test_an_ordinary_user_is_told_that_he_cannot_tell() -> None:
    """T66, T23: what he sees open is open; what looks closed may be open."""
    with tempfile.TemporaryDirectory(prefix="holders-") as folder:
        root = Path(folder)
        for global_id in ("sim.a.1", "sim.a.2"):
            plain(root, global_id)
        root.chmod(0o755)
        with using(root / "bin", root / "file-sim.a.1"):
            said = subprocess.run(
                [sys.executable, "-c", ORDINARY, folder],
                capture_output=True,
                text=True,
                check=False,
            )
    assert said.stderr == ""
    blind, opened = said.stdout.splitlines()
    assert blind == "only root sees the processes of all users"
    seen = (
        None if os.geteuid() == 0 else True
    )  # the process that has the first one open is root's, or his own
    assert opened == str([("sim.a.1", seen), ("sim.a.2", True)])


# What is no process


def test_a_mounted_file_system_is_told(tmp_path: Path, block: Path) -> None:
    """T66: no process has the device open then; also where the mount is in another namespace."""
    point = tmp_path / "mnt"
    with mounts.mounted_elsewhere(block, point):
        found = only(tmp_path)
    assert (found.open, found.above, found.processes) == (True, [f"file system at {point}"], [])


@pytest.mark.parametrize(
    "name",
    ["a\rb", "a\x85b", "a\u2028 b", "a\u3000b\x1c", "a\n1 1 1:1 / / - x /dev/sda"],
    ids=ascii,
)
def test_the_name_of_a_mount_makes_no_line_of_its_own(tmp_path: Path, name: str) -> None:
    """T66: any user may mount where they like in a namespace of theirs: no name of theirs stops the
    look at others."""
    point = tmp_path / "mnt" / name
    point.mkdir(parents=True)
    with mounts.namespace('mount -t tmpfs none "$0"', point) as child:
        if child is None:
            pytest.skip("only root may mount here")
        with using(tmp_path / "bin", plain(tmp_path)) as pid:
            assert [each.pid for each in only(tmp_path).processes] == [pid]


def test_a_device_on_top_is_told(tmp_path: Path, block: Path) -> None:
    """T66: a loop device over it has it open, and no process does."""
    with loop(block) as above:
        found = only(tmp_path)
    assert (found.open, found.above) == (True, [f"loop device {above.name}"])


def test_a_partition_counts(tmp_path: Path) -> None:
    """T66: who has a partition of a disk open has the disk open."""
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root and /dev/loop-control")
    with loop(tmp_path / "disk.img", "--partscan") as device:
        partition = Path(f"{device}p1")
        try:
            subprocess.run(["addpart", device, "1", "2048", "2048"], check=True, timeout=60)
        except FileNotFoundError:
            pytest.skip("addpart of util-linux is not installed")
        if not partition.exists():
            pytest.skip("this machine makes no nodes of a loop device's partitions")
        link(tmp_path, device)
        with using(tmp_path / "bin", partition) as pid:
            assert [each.pid for each in only(tmp_path).processes] == [pid]


# What may not be looked into


@pytest.mark.parametrize("code", faulty_files.ERRORS)
@pytest.mark.parametrize("place", ["dev/storpool-byid", "/sys/block", "/proc/swaps", "/proc/self"])
def test_what_cannot_be_looked_into_is_not_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    """A folder of devices, of /sys or of /proc that does not open: no device is called closed,
    or missing, and it is told what hides it.
    """
    plain(tmp_path)
    here = place.replace("self", str(os.getpid()))
    hidden = tmp_path / here if not here.startswith("/") else Path(here)
    faulty_files.inject(monkeypatch, hidden, code)
    host = openers.look(str(tmp_path))
    assert host.all_listed == (place != "dev/storpool-byid")
    assert all(device.open is None for device in host.devices.values())
    if not os.geteuid() or not host.all_listed:
        told = f"pid {os.getpid()} " if "/proc/" in here and "swaps" not in here else str(hidden)
        assert f"may not look into {told}" in host.blind or told in host.blind


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_one_device_that_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Its link leads in a circle: it has no device; for any other reason nobody can say so."""
    plain(tmp_path)
    faulty_files.inject(monkeypatch, tmp_path / "dev" / "storpool-byid" / GLOBAL_ID, code)
    host = openers.look(str(tmp_path))
    assert host.all_listed == (code == errno.ELOOP)


def test_a_device_with_two_ids_is_open_by_both(tmp_path: Path) -> None:
    """A volume that was reverted has the link of before and that of now: whoever has its device
    open has it open by either."""
    path = plain(tmp_path)
    link(tmp_path, path.resolve(), "sim.a.2")
    plain(tmp_path, "sim.a.3")
    with path.open("rb"):
        devices = openers.look(str(tmp_path)).devices
        assert devices[GLOBAL_ID].open
        assert devices["sim.a.2"].open
        assert not devices["sim.a.3"].open
        assert devices["sim.a.2"].processes == devices[GLOBAL_ID].processes


def test_a_block_device_with_two_ids_is_open_by_both(tmp_path: Path, block: Path) -> None:
    """The same for a block device, and for what the kernel has on top of it."""
    link(tmp_path, block, "sim.a.2")
    with block.open("rb"):
        devices = openers.look(str(tmp_path)).devices
    assert [bool(device.open) for device in devices.values()] == [True, True]
