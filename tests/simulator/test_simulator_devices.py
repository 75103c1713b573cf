"""What hosts see of the simulator: devices, links, cuts, sizes, holders; of both kinds, loop
devices where possible."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import platform
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest

from rigs.clock import wait_until
from storpool_simulator.devices import devices, storage

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SIZE = 16 * MIB
V, W = "d.n.v", "d.n.w"
BLOCK = 4096
CONFIG = devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo")
LIMIT_SECONDS = 20.0
NOBODY = 65534
BLKGETSIZE64 = 0x80081272


class DeviceRig:
    """Three hosts, their folders, and the data files behind them."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        self.kind = kind
        self.files = storage.Storage(folder / "state" / "data")
        self.devices = self.again()

    def again(self) -> devices.Devices:
        """Start Devices, as every run of the API does."""
        hosts = {number: self.folder / f"host{number}" for number in (1, 2, 3)}
        self.devices = devices.Devices(self.kind, self.folder / "state", hosts)
        self.devices.start(CONFIG)
        return self.devices

    def show(
        self,
        client_id: int,
        global_id: str = V,
        name: str | None = None,
        read_only: bool = False,
        size: int = SIZE,
    ) -> Path:
        """Attach, and create before when needed; answers the link by id."""
        if not self.files.path(global_id).exists():
            self.files.create(global_id, size)
        node = devices.Node(global_id, name, self.files.path(global_id), size, read_only)
        self.devices.show(client_id, node)
        return self.by_id(client_id, global_id)

    def by_id(self, client_id: int, global_id: str = V) -> Path:
        """The link that every attachment has."""
        return self.folder / f"host{client_id}" / "dev" / "storpool-byid" / global_id

    def by_name(self, client_id: int, name: str) -> Path:
        """The link that a named one has."""
        return self.folder / f"host{client_id}" / "dev" / "storpool" / name

    def digest(self, global_id: str = V) -> str:
        """What the data is now."""
        return hashlib.sha256(self.files.path(global_id).read_bytes()).hexdigest()


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    """A descriptor for a while."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def put(path: Path, content: bytes) -> None:
    """Write as one writes to a device: without cutting a plain file short."""
    with path.open("r+b") as device:
        device.write(content)


def aligned(content: bytes) -> mmap.mmap:
    """Memory as O_DIRECT wants it."""
    memory = mmap.mmap(-1, (len(content) + BLOCK - 1) // BLOCK * BLOCK)
    memory[: len(content)] = content
    return memory


def run(*arguments: object) -> None:
    """Run a program that has to succeed."""
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True)


def loop_obstacle(folder: Path) -> str | None:
    """Why there are no loop devices here."""
    try:
        devices.Devices("loop", folder, {})
    except devices.DeviceError as problem:
        return str(problem)
    return None


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[DeviceRig]:
    """Loop devices."""
    obstacle = loop_obstacle(tmp_path / "state")
    if obstacle:
        pytest.skip(obstacle)
    rig = DeviceRig("loop", tmp_path)
    try:
        yield rig
    finally:
        rig.devices.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DeviceRig]:
    """Plain files."""
    rig = DeviceRig("file", tmp_path)
    try:
        yield rig
    finally:
        rig.devices.close()


@pytest.fixture(params=["loop", "file"])
def rig(request: pytest.FixtureRequest) -> DeviceRig:
    """Both kinds, one after the other."""
    chosen: DeviceRig = request.getfixturevalue(request.param)
    return chosen


# hosts' folders and links


def test_every_host_has_its_storpool_conf(rig: DeviceRig) -> None:
    """storpool.conf has the cluster's keys, SP_OURID in the section of the node's name, and is
    private [spconfig]."""
    conf = rig.folder / "host2" / "etc" / "storpool.conf"
    lines = conf.read_text().splitlines()
    section = lines.index(f"[{platform.node()}]")
    assert set(lines[1:section]) >= {
        "SP_API_HTTP_HOST=127.0.0.1",
        "SP_API_HTTP_PORT=8123",
        "SP_AUTH_TOKEN=1234567890",
        "SP_CLUSTER_ID=d.n",
        "SP_CLUSTER_NAME=demo",
    }
    assert lines[section + 1 :] == ["SP_OURID=2"]
    assert conf.stat().st_mode & 0o007 == 0


def test_the_device_is_there_when_show_returns(rig: DeviceRig) -> None:
    """After an attach the link by id exists without polling, and leads to something that reads
    zeros [pve] (T27)."""
    link = rig.show(1)
    assert link.is_symlink()
    with link.open("rb") as device:
        assert device.read() == bytes(SIZE)
    assert not rig.by_id(2).exists()


def test_loop_kind_gives_block_devices(loop: DeviceRig) -> None:
    """As root a host sees a real block device of the volume's size in sectors of 512 bytes [kb]
    [sptypes]."""
    link = loop.show(1, size=5 * 512)
    assert stat.S_ISBLK(link.stat().st_mode)
    assert size_of(link) == 5 * 512


def test_a_named_object_has_a_link_by_name_too(rig: DeviceRig) -> None:
    """/dev/storpool has the name, /dev/storpool-byid always the global id [kb] [brick-c]."""
    rig.show(1, name="os--volume-1")
    assert rig.by_name(1, "os--volume-1").resolve() == rig.by_id(1).resolve()
    rig.show(1, W)
    assert sorted(link.name for link in rig.by_name(1, "x").parent.iterdir()) == ["os--volume-1"]


def test_a_rename_moves_the_link_and_leaves_an_open_device_alone(rig: DeviceRig) -> None:
    """The link by name follows the name, the device stays the same [inf]."""
    link = rig.show(1, name="old")
    with opened(link) as fd:
        target = link.resolve()
        rig.show(1, name="new")
        assert link.resolve() == target == rig.by_name(1, "new").resolve()
        assert not rig.by_name(1, "old").is_symlink()
        rig.show(1)
        assert not rig.by_name(1, "new").is_symlink()
        os.pwrite(fd, b"still here", 0)
        os.fsync(fd)
    assert rig.files.path(V).read_bytes()[:10] == b"still here"


def test_two_objects_may_swap_their_names(rig: DeviceRig) -> None:
    """A name that has gone to another object is not taken away with the object that had it before
    [inf]."""
    rig.show(1, V, name="a")
    rig.show(1, W, name="a")
    rig.show(1, V, name="b")
    assert rig.by_name(1, "a").resolve() == rig.by_id(1, W).resolve()
    assert rig.by_name(1, "b").resolve() == rig.by_id(1, V).resolve()
    rig.devices.hide(1, V, cut=False)
    assert [link.name for link in rig.by_name(1, "a").parent.iterdir()] == ["a"]


@pytest.mark.parametrize("name", [".", "..", "#x:y-z.1", "x" * 199])
def test_every_name_that_storpool_allows_can_be_shown(rig: DeviceRig, name: str) -> None:
    """The pattern of names allows things that a folder cannot hold: those have the link by id alone
    [sptypes]."""
    rig.show(1, name=name)
    assert rig.by_id(1).exists()
    rig.devices.hide(1, V, cut=False)
    assert list(rig.by_name(1, "x").parent.iterdir()) == []


def test_showing_twice_is_one_device(rig: DeviceRig) -> None:
    """A repeated attach with the same rights is a success that changes nothing [brick-c] (T11)."""
    target = rig.show(1, name="a").resolve()
    assert rig.show(1, name="a").resolve() == target


def test_hide_takes_device_and_links_away_and_may_be_repeated(rig: DeviceRig) -> None:
    """After a detach no link is left; a detach of what is not attached is a success [cinder] (T16,
    T36)."""
    rig.show(1, name="a")
    rig.show(2, name="a")
    rig.devices.hide(1, V, cut=False)
    rig.devices.hide(1, V, cut=False)
    assert not rig.by_id(1).is_symlink()
    assert not rig.by_name(1, "a").is_symlink()
    assert rig.by_id(2).exists()


def test_a_client_without_a_folder_is_refused(rig: DeviceRig) -> None:
    """A device can only be shown to a host that was given."""
    rig.files.create(V, SIZE)
    with pytest.raises(devices.DeviceError, match="client 9"):
        rig.devices.show(9, devices.Node(V, None, rig.files.path(V), SIZE, read_only=False))


# reading and writing


def test_what_was_written_is_in_the_volume_after_a_detach(rig: DeviceRig) -> None:
    """A detach of a closed device loses nothing, whichever host reads next [kb]."""
    put(rig.show(1), b"w" * MIB)
    rig.devices.hide(1, V, cut=False)
    with rig.show(2).open("rb") as device:
        assert device.read(MIB) == b"w" * MIB
    assert rig.files.path(V).stat().st_size == SIZE


def test_two_hosts_see_each_others_writes(rig: DeviceRig) -> None:
    """What one host has written past its cache, the other reads: the basis of live migration
    [addon] [pve]."""
    direct = os.O_DIRECT if rig.kind == "loop" else 0
    with (
        opened(rig.show(1), os.O_RDWR | direct) as one,
        opened(rig.show(2), os.O_RDWR | direct) as two,
    ):
        for turn in range(20):
            writer, reader = (one, two) if turn % 2 else (two, one)
            content = struct.pack("<Q", turn) * (BLOCK // 8)
            os.pwrite(writer, aligned(content), turn % 3 * BLOCK)
            memory = aligned(bytes(BLOCK))
            os.preadv(reader, [memory], turn % 3 * BLOCK)
            assert memory[:] == content


def test_a_new_volume_on_a_used_device_reads_zeros(rig: DeviceRig) -> None:
    """A new volume reads zeros also where a deleted one was, through every cache (T27, T31)."""
    for _ in range(3):
        link = rig.show(1)
        with link.open("r+b") as device:
            assert device.read() == bytes(SIZE)
            device.seek(0)
            device.write(b"secret" * 1000)
        rig.devices.hide(1, V, cut=False)
        rig.files.remove(V)


def test_read_only_refuses_writes(rig: DeviceRig) -> None:
    """An attachment with rights ro cannot be written, buffered or direct, and can be read
    [sptypes]."""
    link = rig.show(1, read_only=True)
    if rig.kind == "file" and os.geteuid() == 0:
        assert (
            link.stat().st_mode & 0o222 == 0
        )  # modes do not bind root: a listed limit of plain files
        return
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_DIRECT):
        with pytest.raises(PermissionError), opened(link, flags) as fd:
            os.pwrite(fd, aligned(b"x" * BLOCK), 0)
    assert rig.files.path(V).read_bytes() == bytes(SIZE)
    with opened(link, os.O_RDONLY) as fd:
        assert os.pread(fd, 10, 0) == bytes(10)


def test_rights_change_in_place(rig: DeviceRig) -> None:
    """ro to rw and back needs no new device, and an open one goes on [addon]."""
    link = rig.show(1, read_only=True)
    target = link.resolve()
    with opened(link, os.O_RDONLY) as fd:
        assert rig.show(1, read_only=False).resolve() == target
        with opened(link) as writer:
            os.pwrite(writer, b"now", 0)
            os.fsync(writer)
        assert os.pread(fd, 3, 0) == b"now"
        assert rig.show(1, read_only=True).resolve() == target
        assert os.pread(fd, 3, 0) == b"now"
    if rig.kind == "loop":
        with pytest.raises(PermissionError), opened(link) as writer:
            os.pwrite(writer, b"no more", 0)
    assert rig.files.path(V).read_bytes()[:3] == b"now"


def test_read_only_is_for_one_host_alone(loop: DeviceRig) -> None:
    """Each attachment has rights of its own [sptypes]."""
    loop.show(1, read_only=True)
    put(loop.show(2), b"rw")
    with loop.by_id(1).open("rb") as device:
        assert device.read(2) == b"rw"


def test_discard_gives_space_back(loop: DeviceRig) -> None:
    """Volumes are thin: a discarded range takes no space and reads zeros [kb]."""
    link = loop.show(1)
    put(link, b"d" * SIZE)
    assert loop.files.stored_bytes(V) >= SIZE
    run("blkdiscard", link)
    assert loop.files.stored_bytes(V) == 0
    with link.open("rb") as device:
        assert device.read() == bytes(SIZE)


def test_a_full_disk_below_is_an_error_and_not_a_success(loop: DeviceRig, tmp_path: Path) -> None:
    """When the data file cannot take a write, the writer is told so."""
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", small)
    try:
        data = small / "data"
        data.touch()
        os.truncate(data, SIZE)
        loop.devices.show(1, devices.Node(V, None, data, SIZE, read_only=False))
        with (
            opened(loop.by_id(1), os.O_RDWR | os.O_DIRECT) as fd,
            pytest.raises(OSError, match=r"space|Input/output"),
        ):
            os.pwrite(fd, aligned(b"f" * (4 * MIB)), 0)
        loop.devices.hide(1, V, cut=True)
    finally:
        run("umount", small)


# sizes


def size_of(path: Path) -> int:
    """What the device itself says."""
    if not stat.S_ISBLK(path.stat().st_mode):
        return path.stat().st_size
    with opened(path, os.O_RDONLY) as fd:
        (size,) = struct.unpack("Q", fcntl.ioctl(fd, BLKGETSIZE64, bytes(8)))
    return int(size)


def test_growing_is_seen_by_all_open_devices(rig: DeviceRig) -> None:
    """A resize has reached every attached device when it returns, open ones too, and the new part
    is usable (T38)."""
    links = [rig.show(1), rig.show(2)]
    with opened(links[0]) as fd:
        rig.files.resize(V, 2 * SIZE)
        rig.devices.resize(V, 2 * SIZE)
        assert [size_of(link) for link in links] == [2 * SIZE, 2 * SIZE]
        os.pwrite(fd, b"end", 2 * SIZE - 3)
        os.fsync(fd)
    assert rig.files.path(V).read_bytes()[-3:] == b"end"


def test_shrinking_keeps_later_growth_empty(rig: DeviceRig) -> None:
    """What a shrink cut off does not come back when the volume grows again (T27)."""
    link = rig.show(1)
    put(link, b"s" * SIZE)
    for size in (MIB, SIZE):
        rig.files.resize(V, size)
        rig.devices.resize(V, size)
        assert size_of(link) == size
    with link.open("rb") as device:
        assert device.read() == b"s" * MIB + bytes(SIZE - MIB)


def test_a_size_that_was_missed_is_taken_over_when_shown(rig: DeviceRig) -> None:
    """A simulator killed between the growth of the data and of the device heals when it starts
    again (D3)."""
    link = rig.show(1)
    rig.files.resize(V, 2 * SIZE)
    rig.show(1, size=2 * SIZE)
    assert size_of(link) == 2 * SIZE


def test_resize_of_something_that_is_not_attached_succeeds(rig: DeviceRig) -> None:
    """A volume without attachments needs no device to follow."""
    rig.devices.resize(W, MIB)


# who holds it


def test_a_closed_device_has_no_holders(rig: DeviceRig) -> None:
    """A device that nobody has open may be detached without force [kb] (T36)."""
    rig.show(1)
    assert rig.devices.holders(1, V) == ()
    assert rig.devices.holders(2, V) == ()


def test_an_open_descriptor_is_seen_on_its_own_host_only(rig: DeviceRig) -> None:
    """A process that has the device open holds it, on the host whose device it opened [brick-c]."""
    rig.show(2)
    with opened(rig.show(1), os.O_RDONLY):
        (holder,) = rig.devices.holders(1, V)
        assert holder.startswith(f"pid {os.getpid()} ")
        assert rig.devices.holders(2, V) == ()
    assert rig.devices.holders(1, V) == ()


def test_another_process_is_seen(rig: DeviceRig) -> None:
    """The holder is named by its process id and its program."""
    with (
        rig.show(1).open("rb") as device,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=device) as child,
    ):
        device.close()
        wait_until(
            lambda: rig.devices.holders(1, V) == (f"pid {child.pid} cat",), "cat as the only holder"
        )
        assert child.stdin is not None
        child.stdin.close()
    assert rig.devices.holders(1, V) == ()


def test_a_memory_map_holds_it(rig: DeviceRig) -> None:
    """A map keeps a device in use after its descriptor was closed."""
    with opened(rig.show(1)) as fd:
        memory = mmap.mmap(fd, BLOCK)
    memory.close() if rig.devices.holders(1, V) == () else None
    assert not memory.closed, "the map was not seen"
    memory.close()
    assert rig.devices.holders(1, V) == ()


def test_a_mount_holds_it(loop: DeviceRig, tmp_path: Path) -> None:
    """A mounted file system holds the device, though no process has it open [kb]."""
    link = loop.show(1)
    run("mkfs.ext4", "-q", link)
    point = tmp_path / "mnt"
    point.mkdir()
    run("mount", link, point)
    try:
        assert loop.devices.holders(1, V) == (f"mounted at {point}",)
    finally:
        run("umount", point)
    assert loop.devices.holders(1, V) == ()


def test_a_mount_in_another_namespace_holds_it(loop: DeviceRig, tmp_path: Path) -> None:
    """A host that is a mount namespace of its own hides its mounts from the rest of the machine,
    but not from this."""
    link = loop.show(1)
    run("mkfs.ext4", "-q", link)
    point = tmp_path / "mnt"
    point.mkdir()
    script = f"mount {link} {point} && echo mounted && read _"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "mounted\n"
        assert not os.path.ismount(point)
        assert loop.devices.holders(1, V) == (f"mounted at {point}",)
        child.communicate("\n")
    wait_until(lambda: loop.devices.holders(1, V) == (), "the namespace to be gone")


def test_a_loop_device_over_a_plain_file_holds_it(file: DeviceRig, loop: DeviceRig) -> None:
    """Root may use a plain file through a loop device of his own, which no process has open."""
    link = file.show(1)
    made = subprocess.run(
        ["losetup", "-f", "--show", link], check=True, capture_output=True, text=True
    )
    try:
        assert file.devices.holders(1, V) == (
            f"loop device {made.stdout.strip().rpartition('/')[2]}",
        )
    finally:
        run("losetup", "-d", made.stdout.strip())


# cutting off


def test_a_direct_writer_is_cut_off(loop: DeviceRig) -> None:
    """After a forced detach, I/O on the old device fails, the data is as it was, the other host
    goes on [inf] (T80)."""
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as old,
        opened(loop.show(2), os.O_RDWR | os.O_DIRECT) as new,
    ):
        os.pwrite(old, aligned(b"o" * BLOCK), 0)
        loop.devices.hide(1, V, cut=True)
        before = loop.digest()
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                os.pwrite(old, aligned(b"late" * 1024), 0)
            with pytest.raises(OSError, match="Input/output"):
                os.preadv(old, [aligned(bytes(BLOCK))], 0)
        assert loop.digest() == before
        os.pwrite(new, aligned(b"n" * BLOCK), BLOCK)
        assert loop.files.path(V).read_bytes()[: 2 * BLOCK] == b"o" * BLOCK + b"n" * BLOCK


def test_dirty_pages_never_land_after_a_cut(loop: DeviceRig) -> None:
    """What a cut host has in its cache is lost, and its cached reads fail too (T80)."""
    with opened(loop.show(1)) as fd:
        os.pwrite(fd, b"clean", 8 * MIB)
        os.fsync(fd)
        with loop.devices.quiesce([V]):  # so that the kernel does not write out early
            os.pwrite(fd, b"dirty" * BLOCK, 0)
            before = loop.digest()
            loop.devices.hide(1, V, cut=True)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(fd)
        for offset in (0, 8 * MIB):
            with pytest.raises(OSError, match="Input/output"):
                os.pread(fd, 10, offset)
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"again", 0)
            os.fsync(fd)
    assert loop.digest() == before


def test_a_mounted_file_system_is_cut_off(loop: DeviceRig, tmp_path: Path) -> None:
    """A mounted file system whose volume is detached by force fails, and nothing of it lands any
    more (T31, T80)."""
    link = loop.show(1)
    run("mkfs.ext4", "-q", link)
    point = tmp_path / "mnt"
    point.mkdir()
    run("mount", link, point)
    try:
        (point / "first").write_bytes(b"f" * MIB)
        os.sync()
        (point / "second").write_bytes(b"s" * MIB)
        loop.devices.hide(1, V, cut=True)
        before = loop.digest()
        with (
            pytest.raises(OSError, match=r"Input/output|Read-only"),
            (point / "third").open("wb") as third,
        ):
            third.write(b"t" * MIB)
            os.fsync(third.fileno())
        os.sync()
    finally:
        run("umount", point)
    assert loop.digest() == before
    with loop.show(1).open("rb") as device:
        assert device.read() == loop.files.path(V).read_bytes()


def test_the_device_of_a_cut_holder_never_becomes_another_volume(loop: DeviceRig) -> None:
    """While someone still holds the old device open, its node serves nobody else (T31)."""
    with opened(loop.show(1)) as fd:
        old = loop.by_id(1).resolve()
        loop.devices.hide(1, V, cut=True)
        for number in range(20):
            assert loop.show(1, f"d.n.{number}").resolve() != old
        assert loop.show(1).resolve() != old
        with pytest.raises(OSError, match="Input/output"):
            os.pread(fd, 1, 0)


def test_who_slips_in_before_a_plain_detach_reaches_nothing_either(rig: DeviceRig) -> None:
    """A device that is opened between the look and the detach is dead as well (T31)."""
    with opened(rig.show(1)) as fd:
        os.pwrite(fd, b"in time", 0)
        rig.devices.hide(1, V, cut=False)
        before = rig.digest()
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"too late", 0)
            os.fsync(fd)
        assert rig.digest() == before
    assert rig.files.path(V).read_bytes()[:7] == b"in time"


def test_a_plain_file_holder_is_left_with_a_dead_inode(file: DeviceRig) -> None:
    """Kind file: after a cut the old holder writes to an inode that is nobody's; the other host's
    path has the data."""
    with opened(file.show(1)) as old:
        os.pwrite(old, b"before", 0)
        other = file.show(2)
        file.devices.hide(1, V, cut=True)
        os.pwrite(old, b"after!", 0)
    other.open("r+b").close()
    assert other.read_bytes()[:6] == b"before"
    with other.open("r+b") as device:
        device.write(b"other!")
    assert file.files.path(V).read_bytes()[:6] == b"other!"


def test_plain_files_refuse_a_cut_while_another_host_has_it_open(file: DeviceRig) -> None:
    """Kind file: a cut that would disturb another host's open device is refused before anything has
    changed."""
    with opened(file.show(1)) as one, opened(file.show(2)):
        with pytest.raises(devices.DeviceError, match="client 1 while client 2"):
            file.devices.hide(1, V, cut=True)
        assert file.by_id(1).exists()
        os.pwrite(one, b"same", 0)
        assert file.by_id(2).read_bytes()[:4] == b"same"


def test_several_hosts_can_be_cut_off_together(rig: DeviceRig) -> None:
    """One request may force several hosts off at once, plain files included [addon]."""
    with opened(rig.show(1)) as one, opened(rig.show(3)) as three:
        rig.show(2)
        rig.devices.hide_all([(1, V), (3, V)], cut=True)
        for fd in (one, three):
            with contextlib.suppress(OSError):
                os.pwrite(fd, b"late", 0)
                os.fsync(fd)
        with rig.by_id(2).open("rb") as device:
            assert device.read() == bytes(SIZE)
    assert rig.digest() == hashlib.sha256(bytes(SIZE)).hexdigest()


def test_reattaching_after_a_cut_works_while_the_old_holder_lives(rig: DeviceRig) -> None:
    """A host that was forced off may have the volume again; the old descriptor stays dead (T56)."""
    with opened(rig.show(1)) as old:
        rig.devices.hide(1, V, cut=True)
        put(rig.show(1), b"again")
        with contextlib.suppress(OSError):
            os.pwrite(old, b"zombi", 0)
            os.fsync(old)
        with rig.by_id(1).open("rb") as device:
            assert device.read(5) == b"again"


# points in time


class Writer:
    """Writes a growing number to block 0, 1, ... in order, each write done before the next."""

    BLOCKS = 8

    def __init__(self, path: Path, direct: bool = True) -> None:
        self.count = 0
        self._flags = os.O_RDWR | (os.O_DIRECT if direct else 0)
        self.problem: OSError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(path,))

    def __enter__(self) -> Writer:
        self._thread.start()
        wait_until(lambda: self.count > 20, "the writer to be at work")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()

    def _write(self, path: Path) -> None:
        memory = aligned(bytes(BLOCK))
        try:
            with opened(path, self._flags) as fd:
                while not self._stop.is_set():
                    memory[:] = struct.pack("<Q", self.count + 1) * (BLOCK // 8)
                    for block in range(self.BLOCKS):
                        os.pwrite(fd, memory, block * MIB)
                    self.count += 1
        except OSError as problem:
            self.problem = problem

    @classmethod
    def is_point_in_time(cls, path: Path) -> bool:
        """Is this what a power failure could have left?"""
        content = path.read_bytes()
        whole = [content[block * MIB : block * MIB + BLOCK] for block in range(cls.BLOCKS)]
        numbers = [struct.unpack_from("<Q", block)[0] for block in whole]
        torn = any(block != block[:8] * (BLOCK // 8) for block in whole)
        return (
            not torn and numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1
        )


def test_a_snapshot_under_a_running_writer_is_a_point_in_time(loop: DeviceRig) -> None:
    """A snapshot holds a prefix of what the writer wrote, and the writer sees no error (T47)."""
    put(loop.show(1), b"f" * SIZE)  # so that a copy takes longer than the writer's turn
    with Writer(loop.show(1)) as writer:
        for number in range(10):
            before = writer.count
            with loop.devices.quiesce([V]):
                loop.files.copy(V, f"d.n.s{number}", SIZE)
            assert loop.files.path(f"d.n.s{number}").exists()
            assert Writer.is_point_in_time(loop.files.path(f"d.n.s{number}"))
            wait_until(lambda before=before: writer.count > before, "the writer to go on")  # type: ignore[misc]
    assert writer.problem is None


def test_a_group_snapshot_is_one_point_in_time(loop: DeviceRig) -> None:
    """Volumes held together give one instant: what was written second is never there without the
    first (T47)."""
    one, two = loop.show(1, V), loop.show(1, W)
    stop = threading.Event()
    turns = [0]

    def write() -> None:
        with (
            opened(one, os.O_RDWR | os.O_DIRECT) as first,
            opened(two, os.O_RDWR | os.O_DIRECT) as second,
        ):
            while not stop.is_set():
                turns[0] += 1
                memory = aligned(struct.pack("<Q", turns[0]) * (BLOCK // 8))
                os.pwrite(first, memory, 0)
                os.pwrite(second, memory, 0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            before = turns[0]
            wait_until(lambda before=before: turns[0] > before, "the writer to go on")  # type: ignore[misc]
            with loop.devices.quiesce([V, W]):
                loop.files.copy(V, "d.n.sv", SIZE)
                loop.files.copy(W, "d.n.sw", SIZE)
            numbers = [
                struct.unpack_from("<Q", loop.files.path(copy).read_bytes())[0]
                for copy in ("d.n.sv", "d.n.sw")
            ]
            assert numbers[0] - numbers[1] in {0, 1}
    finally:
        stop.set()
        thread.join(LIMIT_SECONDS)


def test_a_revert_under_an_open_device_keeps_the_device(rig: DeviceRig) -> None:
    """After a revert the same open device reads the old content [kb]."""
    direct = os.O_DIRECT if rig.kind == "loop" else 0
    with opened(rig.show(1), os.O_RDWR | direct) as fd:
        os.pwrite(fd, aligned(b"1" * BLOCK), 0)
        rig.files.copy(V, W, SIZE)
        os.pwrite(fd, aligned(b"2" * BLOCK), 0)
        os.pwrite(fd, aligned(b"2" * BLOCK), 8 * MIB)
        with rig.devices.quiesce([V]):
            rig.files.overwrite(W, V, SIZE)
        memory = aligned(bytes(2 * BLOCK))
        os.preadv(fd, [memory], 0)
        assert memory[:] == b"1" * BLOCK + bytes(BLOCK)
        os.preadv(fd, [memory], 8 * MIB)
        assert memory[:] == bytes(2 * BLOCK)


def test_a_held_volume_does_not_hold_others_or_its_readers(loop: DeviceRig) -> None:
    """While one volume is copied, its reads and everything on other volumes go on."""
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as held,
        opened(loop.show(1, W), os.O_RDWR | os.O_DIRECT) as free,
    ):
        done = threading.Event()

        def write() -> None:
            os.pwrite(held, aligned(b"h" * BLOCK), 0)
            done.set()

        threads = [threading.Thread(target=write) for _ in range(100)]
        with loop.devices.quiesce([V]):
            for thread in threads:
                thread.start()
            for turn in range(100):
                os.pwrite(free, aligned(b"f" * BLOCK), turn * BLOCK)
                os.preadv(held, [aligned(bytes(BLOCK))], BLOCK)
            loop.show(2, "d.n.x")
            assert not done.is_set()
            assert loop.files.path(V).read_bytes()[:1] == b"\0"
        for thread in threads:
            thread.join(LIMIT_SECONDS)
        assert done.is_set()
    assert loop.files.path(V).read_bytes()[:BLOCK] == b"h" * BLOCK


def test_holds_may_overlap(loop: DeviceRig) -> None:
    """A volume that is held twice goes on when both have ended."""
    with opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as fd:
        thread = threading.Thread(target=os.pwrite, args=(fd, aligned(b"o" * BLOCK), 0))
        with loop.devices.quiesce([V, W]):
            with loop.devices.quiesce([V]):
                thread.start()
            os.preadv(fd, [aligned(bytes(BLOCK))], 0)
            assert loop.files.path(V).read_bytes()[:1] == b"\0"
        thread.join(LIMIT_SECONDS)
        assert loop.files.path(V).read_bytes()[:1] == b"o"


def test_a_held_writer_can_be_cut_off(loop: DeviceRig) -> None:
    """A write that waits when its host is forced off fails, and does not land when the hold ends
    (T80)."""
    with opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as fd:
        problems: list[OSError] = []

        def write() -> None:
            try:
                os.pwrite(fd, aligned(b"x" * BLOCK), 0)
            except OSError as problem:
                problems.append(problem)

        thread = threading.Thread(target=write)
        with loop.devices.quiesce([V]):
            thread.start()
            loop.devices.hide(1, V, cut=True)
            thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
        assert len(problems) == 1
    assert loop.files.path(V).read_bytes() == bytes(SIZE)


def test_a_host_can_be_made_slow(loop: DeviceRig) -> None:
    """A drill may delay every read and write of one host; others are as fast as before."""
    loop.devices.delay(1, 0.2)
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as slow,
        opened(loop.show(2), os.O_RDWR | os.O_DIRECT) as quick,
    ):
        before = time.monotonic()
        os.pwrite(slow, aligned(b"s" * BLOCK), 0)
        assert time.monotonic() - before >= 0.2
        loop.devices.delay(1, 0)
        assert loop.files.path(V).read_bytes()[:1] == b"s"
        loop.devices.delay(1, 3600)
        os.preadv(quick, [aligned(bytes(BLOCK))], 0)
        thread = threading.Thread(target=os.pwrite, args=(slow, aligned(b"t" * BLOCK), 0))
        thread.start()
        os.preadv(quick, [aligned(bytes(BLOCK))], 0)
        assert thread.is_alive()
        loop.devices.delay(1, 0)
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
    assert loop.files.path(V).read_bytes()[:1] == b"t"


def test_a_slow_host_can_be_cut_off_at_once(loop: DeviceRig) -> None:
    """What is on its long way when its host is forced off fails at once and never lands (T80)."""
    loop.devices.delay(1, 3600)
    with opened(loop.show(1)) as fd:
        os.pwrite(
            fd, b"late" * BLOCK, 0
        )  # whole pages: for a part of one the kernel would read it first
        loop.devices.hide(1, V, cut=True)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(fd)
    assert loop.files.path(V).read_bytes() == bytes(SIZE)


def test_plain_files_cannot_be_delayed(file: DeviceRig) -> None:
    """What a kind cannot do it says."""
    with pytest.raises(devices.DeviceError, match="plain files"):
        file.devices.delay(1, 1.0)


# starting again and ending


def test_an_orderly_end_and_a_new_start_keep_the_data(rig: DeviceRig) -> None:
    """After close nothing is left on the hosts; the next start shows the same data again."""
    put(rig.show(1, name="a"), b"kept")
    rig.devices.close()
    assert list(rig.by_id(1).parent.iterdir()) == []
    assert list(rig.by_name(1, "a").parent.iterdir()) == []
    rig.again()
    with rig.show(1).open("rb") as device:
        assert device.read(4) == b"kept"


PREVIOUS_RUN = """
import os, signal, sys
from pathlib import Path
from storpool_simulator.devices import devices

kind, folder, *wanted = sys.argv[1:]
hosts = {n: Path(folder) / f"host{n}" for n in (1, 2, 3)}
run = devices.Devices(kind, Path(folder) / "state", hosts)
run.start(devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo"))
for client_id, global_id in (one.split(":") for one in wanted):
    data = Path(folder) / "state" / "data" / global_id
    node = devices.Node(global_id, global_id, data, data.stat().st_size, read_only=False)
    run.show(int(client_id), node)
print("shown", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def previous_run(rig: DeviceRig, *wanted: str) -> Iterator[None]:
    """Another process is the API; it is killed when this ends."""
    rig.devices.close()
    for global_id in (V, W):
        rig.files.create(global_id, SIZE)
    arguments = [sys.executable, "-c", PREVIOUS_RUN, rig.kind, str(rig.folder), *wanted]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"shown\n"
        yield
        run.kill()


def test_a_writer_does_not_notice_that_the_api_was_killed(rig: DeviceRig) -> None:
    """StorPool's client goes on without its API: no error, no new device, and the next API takes it
    over [kb]."""
    with previous_run(rig, f"1:{V}"):
        target = rig.by_id(1).resolve()
        writer = Writer(rig.by_id(1), direct=rig.kind == "loop")
        writer.__enter__()
    before = writer.count
    wait_until(lambda: writer.count > before, "the writer to go on without an API")
    rig.again()
    before = writer.count
    assert rig.show(1).resolve() == target
    rig.devices.keep([(1, V)])
    wait_until(lambda: writer.count > before, "the writer to go on with the new API")
    assert rig.devices.holders(1, V)[0].startswith(f"pid {os.getpid()} ")
    writer.__exit__()
    assert writer.problem is None


def test_an_api_that_dies_while_it_holds_lets_go(loop: DeviceRig) -> None:
    """A volume is not held for ever because the API was killed in the middle of a snapshot (D3)."""
    script = PREVIOUS_RUN.replace(
        'print("shown"', f'held = run.quiesce(["{V}"]); held.__enter__(); print("shown"'
    )
    loop.show(1)
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, "loop", str(loop.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as run,
        opened(loop.by_id(1), os.O_RDWR | os.O_DIRECT) as fd,
    ):
        assert run.stdout is not None
        assert run.stdout.readline() == b"shown\n"
        thread = threading.Thread(target=os.pwrite, args=(fd, aligned(b"w" * BLOCK), 0))
        thread.start()
        os.preadv(fd, [aligned(bytes(BLOCK))], 0)
        assert thread.is_alive()
        run.kill()
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()


def test_keep_removes_what_nobody_wants_any_more(rig: DeviceRig) -> None:
    """Of what an earlier run left, only that stays which the cluster still knows (T50)."""
    with previous_run(rig, f"1:{V}", f"1:{W}", f"2:{V}"):
        rig.by_name(1, "stale").symlink_to("/dev/null")
    rig.again()
    assert sorted(link.name for link in rig.by_name(1, "x").parent.iterdir()) == [V, W]
    rig.show(1, V, name="new")
    rig.devices.keep([(1, V)])
    assert [link.name for link in rig.by_id(1).parent.iterdir()] == [V]
    assert [link.name for link in rig.by_name(1, "x").parent.iterdir()] == ["new"]
    assert list(rig.by_id(2).parent.iterdir()) == []


def test_an_unwanted_holder_is_cut_off_at_the_next_start(rig: DeviceRig) -> None:
    """A forced detach that was recorded but not carried out before a kill is carried out at the
    next start (D3)."""
    with previous_run(rig, f"1:{V}", f"2:{V}"):
        fd = os.open(rig.by_id(1), os.O_RDWR)
    try:
        rig.again()
        rig.show(2)
        rig.devices.keep([(2, V)])
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"late", 0)
            os.fsync(fd)
    finally:
        os.close(fd)
    assert rig.files.path(V).read_bytes() == bytes(SIZE)
    assert rig.by_id(2).exists()


def test_plain_files_that_a_killed_cut_left_behind_are_healed(file: DeviceRig) -> None:
    """Killed between the new inode of a volume and that of another host's link: the next start
    moves it (D3)."""
    with previous_run(file, f"2:{V}"):
        pass
    storage.copy_file(file.files.path(V), file.files.path(V), SIZE)
    put(file.files.path(V), b"new")
    file.again()
    assert file.show(2).read_bytes()[:3] == b"new"


def test_root_has_loop_devices(loop: DeviceRig) -> None:
    """auto is loop where loop devices can be had."""
    assert devices.Devices("auto", loop.folder / "other", {}).kind == "loop"


def test_what_the_file_system_refuses_is_one_sentence(file: DeviceRig) -> None:
    """A link that cannot be made is an error that names the host and the object."""
    file.by_id(1).mkdir()
    (file.by_id(1) / "in the way").touch()
    with pytest.raises(devices.DeviceError, match=rf"{V} cannot be shown to client 1: "):
        file.show(1)


def test_a_kind_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A wrong kind is one sentence that names the right ones."""
    with pytest.raises(devices.DeviceError, match="auto, loop, file"):
        devices.Devices("nbd", tmp_path, {})


def as_ordinary_user(what: Callable[[Path], None]) -> None:
    """Run it in a child process that is nobody, in a folder that nobody may use."""
    if os.geteuid() != 0:
        pytest.skip("becoming an ordinary user needs root")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(NOBODY, NOBODY, NOBODY)
                what(Path(name))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_an_ordinary_user_has_plain_files() -> None:
    """auto is file for an ordinary user, and loop is refused with the reason."""

    def look(folder: Path) -> None:
        assert devices.Devices("auto", folder, {}).kind == "file"
        with pytest.raises(devices.DeviceError, match="only root"):
            devices.Devices("loop", folder, {})

    as_ordinary_user(look)


def test_an_ordinary_user_cannot_write_what_is_read_only() -> None:
    """Kind file: read-only is a mode, which lasts as long as no host may write."""

    def look(folder: Path) -> None:
        rig = DeviceRig("file", folder)
        link = rig.show(1, read_only=True)
        with pytest.raises(PermissionError):
            link.open("r+b")
        assert link.read_bytes() == bytes(SIZE)
        put(rig.show(2), b"rw")
        rig.devices.hide(2, V, cut=False)
        with pytest.raises(PermissionError):
            link.open("r+b")
        put(rig.show(1, read_only=False), b"mine")

    as_ordinary_user(look)


def test_an_ordinary_users_holder_is_seen_and_cut_off() -> None:
    """Kind file works without root: open devices are seen, and a cut holder reaches the data never
    again."""

    def look(folder: Path) -> None:
        rig = DeviceRig("file", folder)
        with opened(rig.show(1)) as fd:
            assert len(rig.devices.holders(1, V)) == 1
            rig.devices.hide(1, V, cut=True)
            os.pwrite(fd, b"late", 0)
        assert rig.files.path(V).read_bytes() == bytes(SIZE)
        rig.devices.close()

    as_ordinary_user(look)
